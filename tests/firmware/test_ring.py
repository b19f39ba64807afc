"""The ring against a plain model in Python, one call at a time, and between two threads under the sanitizers."""

import ctypes

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.firmware import host_c

SIZE = 2048


class Ring(ctypes.Structure):
    _fields_ = (
        ("samples", ctypes.c_int16 * SIZE),
        *((name, ctypes.c_uint32) for name in ("written", "dropped", "gaps", "read", "passed")),
        ("gap", ctypes.c_bool),
    )


class Model:
    """What ring.h says: a queue, and a gap at its end that must be reached before anything is taken again."""

    def __init__(self):
        self.queue, self.waits, self.gap, self.dropped = [], False, False, 0

    def write(self, samples: list[int]) -> None:
        if self.waits or len(self.queue) + len(samples) > SIZE:
            self.waits = True
            self.dropped += len(samples)
        else:
            self.queue += samples

    def read(self, n: int) -> tuple[list[int], bool]:
        out, self.queue = self.queue[:n], self.queue[n:]
        gap = self.gap and bool(out)
        self.gap = self.gap and not out
        if self.waits and not self.queue:
            self.waits, self.gap = False, True
        return out, gap


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    out = tmp_path_factory.mktemp("ring") / "ring.so"
    host_c.run(*host_c.GCC, *host_c.STRICT, "-shared", "-fPIC", host_c.SRC / "ring.c", "-o", out)
    library = ctypes.CDLL(str(out))
    library.gunshot_ring_read.restype = ctypes.c_size_t
    return library


CALLS = st.lists(st.tuples(st.sampled_from("wr"), st.one_of(st.integers(0, 300), st.integers(0, 2500))), max_size=60)


@pytest.mark.slow
@settings(deadline=None, max_examples=300, derandomize=True)
@given(CALLS, st.one_of(st.just(0), st.integers(2**32 - 5000, 2**32 - 1)), st.integers(0, 2**32 - 1))
@example([("w", 2048), ("w", 1), ("r", 2047), ("w", 1), ("r", 1), ("w", 5), ("r", 9)], 2**32 - 1, 2**32 - 1)
@example([("w", 2049), ("r", 0), ("w", 3), ("r", 0), ("r", 3), ("r", 3)], 0, 0)
def test_any_calls_give_what_the_model_gives(ring, calls, begun, dropped):
    """From counters anywhere, so that they wrap; samples are numbered, so that each has its place."""
    c, model, number = Ring(), Model(), 0
    ring.gunshot_ring_init(ctypes.byref(c))
    c.written = c.read = begun
    c.dropped = c.gaps = c.passed = dropped
    for call, n in calls:
        if call == "w":
            samples = (np.arange(number, number + n) % 65_521).astype(np.uint16).view(np.int16)
            number += n
            model.write(samples.tolist())
            ring.gunshot_ring_write(ctypes.byref(c), samples.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(n))
        else:
            out, gap = (ctypes.c_int16 * max(n, 1))(), ctypes.c_bool()
            taken = ring.gunshot_ring_read(ctypes.byref(c), out, ctypes.c_size_t(n), ctypes.byref(gap))
            assert (list(out[:taken]), gap.value) == model.read(n)
        assert c.dropped == (dropped + model.dropped) % 2**32


def test_init_makes_it_empty_whatever_was_there(ring):
    c = Ring.from_buffer(bytearray(b"\xa5" * ctypes.sizeof(Ring)))
    ring.gunshot_ring_init(ctypes.byref(c))
    assert bytes(c) == bytes(ctypes.sizeof(Ring))


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_two_threads_lose_nothing_that_is_not_counted(tmp_path, sanitizer):
    flags = ["-g", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all", "-pthread", "-I", host_c.SRC]
    sources = [host_c.HERE / "ring_stress.c", host_c.SRC / "ring.c"]
    host_c.run(*host_c.GCC, *host_c.STRICT, *flags, *sources, "-o", tmp_path / "stress")
    total = 1_000_000
    out = host_c.run(tmp_path / "stress", total, timeout=100).stdout.split()
    read, dropped, gaps = map(int, out)
    print(f"{read} read, {dropped} dropped, {gaps} gaps")
    assert read + dropped == total and read > total / 4 and gaps > 20
