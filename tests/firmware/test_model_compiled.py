"""model.h by the generated C: what is wrong with an artifact or an arena has a status of its own."""

import ctypes
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot.export import network as network_c
from gunshot.export.network.host import FLAGS, build
from gunshot.export.network.layout import plan
from gunshot.models.network import quantize
from tests.firmware.test_compiled import FIRMWARE, inputs, of_context, of_kind, of_params, stride

pytestmark = pytest.mark.slow
OK, CRC, TRUNCATED, VERSION, SHAPE, TYPE, OPERATOR, ARENA, NOT_READY = range(9)  # of status.h


class Artifact(ctypes.Structure):
    _fields_ = (("bytes", ctypes.c_void_p), ("size", ctypes.c_size_t))


class Library:
    """The generated C of a model, with room of its own: bytes to spoil, and an arena between guards."""

    def __init__(self, model: bytes, folder, *, hop: int | None = None, flags: tuple[str, ...] = FLAGS):
        built = build(model, folder, hop=hop or stride(model), firmware=FIRMWARE, flags=flags)
        self.c = ctypes.CDLL(str(built))
        own = Artifact.in_dll(self.c, "gunshot_model_artifact")
        self.right = ctypes.string_at(own.bytes, own.size)
        self.need = ctypes.c_size_t.in_dll(self.c, "gunshot_model_arena_bytes").value
        self.room = np.zeros(self.need + 64 + 16, np.uint8)
        self.start = -self.room.ctypes.data % 16 + 16  # of the arena in the room
        self.c.gunshot_crc32.restype = ctypes.c_uint32

    def init(self, content: bytes | np.ndarray, *, shift: int = 0, less: int = 0, offset: int = 0) -> int:
        kept = np.zeros(len(content) + 32, np.uint8)
        begin = -kept.ctypes.data % 16 + shift
        kept[begin : begin + len(content)] = np.frombuffer(bytes(content), np.uint8)
        self.kept = kept  # until the next Init
        return self.init_at(kept.ctypes.data + begin, len(content), less=less, offset=offset)

    def init_at(self, address: int, size: int, *, less: int = 0, offset: int = 0) -> int:
        arena = ctypes.c_void_p(self.room.ctypes.data + self.start + offset)
        return self.c.gunshot_model_init(Artifact(address, size), arena, ctypes.c_size_t(self.need - less))

    def reset(self) -> None:
        self.c.gunshot_model_reset()

    def score(self, codes: np.ndarray) -> tuple[int, int]:
        logit = ctypes.c_int16(-1234)
        frames = np.ascontiguousarray(codes.T)
        return self.c.gunshot_model_score(ctypes.c_void_p(frames.ctypes.data), ctypes.byref(logit)), logit.value

    def alone(self, codes: np.ndarray) -> list[tuple[int, int]]:
        """Scores of windows that begin a stream each."""
        return [(self.reset(), self.score(window))[1] for window in codes]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    model = of_params(3, 0.25, True)
    return model, Library(model, tmp_path_factory.mktemp("compiled")), inputs(model, 60)


@pytest.fixture(scope="module")
def with_context(tmp_path_factory):
    """TFLM and the C of a network whose windows share vectors; a hop is 4 frames."""
    model = of_context(71)
    library = Library(model, tmp_path_factory.mktemp("context"))
    assert library.init(library.right) == OK
    return quantize.Tflm(model), library


def with_crc(content: bytes) -> bytes:
    return zlib.crc32(content[4:]).to_bytes(4, "little") + content[4:]


def changed(library: Library, name: str, value) -> bytes:
    """The artifact with another value in its header, and the CRC of that."""
    names = ("crc32", "version", "size", "n_frames", "n_mels", "input_scale", "input_zero_point", "output_scale",
             "output_zero_point")  # fmt: skip
    words = np.frombuffer(library.right, "<u4").copy()
    words[names.index(name)] = np.array([value]).view(np.uint32)[0]
    return with_crc(words.tobytes())


@given(st.binary(max_size=300))
def test_crc_is_that_of_zlib(compiled, content):
    assert compiled[1].c.gunshot_crc32(content, ctypes.c_size_t(len(content))) == zlib.crc32(content)


def test_the_artifact_is_what_python_packed(compiled):
    model, library, _ = compiled
    members = plan(model, hop=8).members()
    assert library.right == network_c.layout.packed(members)
    crc, version, size = np.frombuffer(library.right[:12], "<u4")
    assert crc == zlib.crc32(library.right[4:]) and version == 1 and size == len(library.right)


def test_a_right_artifact_scores_as_tflm(compiled):
    model, library, codes = compiled
    tflm = quantize.Tflm(model)
    expected = tflm.outputs(codes)[:, 0].astype(int) - tflm.quantization()["output_zero_point"]
    assert library.init(library.right) == OK
    assert library.alone(codes) == [(OK, logit) for logit in expected]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(0, 2**16))
@settings(max_examples=30)
def test_a_stream_begins_anew_after_a_reset_or_an_init(with_context, lengths, seed):
    """Streams of any length, one after the other, each of them windows that are a hop apart."""
    tflm, library, rng = *with_context, np.random.default_rng(seed)
    codes = rng.integers(-128, 128, (32, 71 + 4 * 30)).astype(np.int8)
    codes[:, : rng.integers(71)] = codes[:, :1]  # as before a beginning
    windows = np.lib.stride_tricks.sliding_window_view(codes, 71, axis=1)[:, ::4].swapaxes(0, 1)
    expected = tflm.outputs(windows)[:, 0].astype(int) - tflm.quantization()["output_zero_point"]
    for length in lengths:
        library.reset() if rng.integers(2) else library.init(library.right)
        begin = rng.integers(len(windows) - length + 1)
        results = [library.score(window) for window in windows[begin : begin + length]]
        assert results == [(OK, logit) for logit in expected[begin : begin + length]]


def test_without_a_reset_windows_that_do_not_follow_each_other_are_mixed(with_context):
    """Or the test above proved nothing."""
    _, library = with_context
    codes = inputs(of_context(71), 60)
    alone = library.alone(codes)
    library.reset()
    assert [library.score(window) for window in codes] != alone


def test_where_all_of_a_window_is_one_position_nothing_is_kept(tmp_path):
    model = of_kind("mean")
    library, codes = Library(model, tmp_path), inputs(model, 60)
    assert plan(model, hop=2).positions == 1 and library.init(library.right) == OK
    alone = library.alone(codes)
    assert [library.score(window) for window in codes] == alone and len(set(alone)) > 10


COUNT = """
#include "network.h"

typedef void trunk(const gunshot_network *network, const int8_t *codes, int8_t *arena, int8_t *vectors);
trunk __real_gunshot_network_trunk, __wrap_gunshot_network_trunk;
int trunks;

void __wrap_gunshot_network_trunk(const gunshot_network *network, const int8_t *codes, int8_t *arena,
                                  int8_t *vectors) {
  trunks++;
  __real_gunshot_network_trunk(network, codes, arena, vectors);
}
"""


def test_the_trunk_runs_once_a_window_and_twice_where_a_stream_begins(tmp_path):
    """Or a device that begins would be late, lose samples, and begin again, for ever."""
    (tmp_path / "count.c").write_text(COUNT)
    flags = (*FLAGS, "-Wl,--wrap=gunshot_network_trunk", "count.c")
    library = Library(of_context(71), tmp_path, hop=8, flags=flags)
    count = ctypes.c_int.in_dll(library.c, "trunks")
    codes = np.random.default_rng(0).integers(-128, 128, (32, 71 + 24)).astype(np.int8)
    codes[:, :64] = codes[:, 64:65]  # seven frames were heard
    assert library.init(library.right) == OK
    counts = [(library.score(codes[:, i : i + 71]), count.value)[1] for i in range(0, 25, 8)]
    assert counts == [2, 3, 4, 5]
    library.reset()
    library.score(np.random.default_rng(1).integers(-128, 128, (32, 71)).astype(np.int8))
    assert count.value == 5 + 7  # as often as a beginning would take whose frames are not alike


def test_every_byte_that_is_flipped_is_seen(compiled):
    _, library, _ = compiled
    content = np.zeros(len(library.right) + 16, np.uint8)
    content = content[-content.ctypes.data % 16 :][: len(library.right)]
    content[:] = np.frombuffer(library.right, np.uint8)
    flips = np.random.default_rng(0).integers(1, 256, len(content), dtype=np.uint8)
    statuses = []
    for i, flip in enumerate(flips):
        content[i] ^= flip
        statuses.append(library.init_at(content.ctypes.data, len(content)))
        content[i] ^= flip
    assert statuses == [CRC] * len(content)
    assert library.init_at(content.ctypes.data, len(content)) == OK


def test_each_fault_has_its_status(compiled):
    _, library, _ = compiled
    right = library.right
    assert library.init(right) == OK
    assert library.init(changed(library, "version", np.uint32(2))) == VERSION
    assert library.init(changed(library, "size", np.uint32(len(right) - 4))) == TRUNCATED
    for name in ("n_frames", "n_mels"):
        assert library.init(changed(library, name, np.uint32(31))) == SHAPE
    for name in ("input_scale", "output_scale"):
        assert library.init(changed(library, name, np.float32(0.5))) == TYPE
    for name in ("input_zero_point", "output_zero_point"):
        assert library.init(changed(library, name, np.int32(-77))) == TYPE
    assert library.init_at(0, len(right)) == TRUNCATED and library.init_at(0, 0) == TRUNCATED


@pytest.mark.parametrize("size", [0, 1, 4, 11, 12, 100, -4, -1])
def test_a_truncated_artifact(compiled, size):
    _, library, _ = compiled
    cut = library.right[:size]
    assert library.init(cut) == (TRUNCATED if len(cut) < 12 else CRC)
    assert len(cut) < 4 or library.init(with_crc(cut)) == TRUNCATED
    assert library.init(with_crc(library.right + bytes(4))) == TRUNCATED  # as one that is too long


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_an_artifact_that_is_not_aligned(compiled, shift):
    assert compiled[1].init(compiled[1].right, shift=shift) == TYPE


def test_the_crc_is_checked_before_all_else(compiled):
    _, library, _ = compiled
    spoilt = changed(library, "version", np.uint32(9))[:-1] + b"\xaa"
    assert library.init(spoilt, shift=1, less=1, offset=1) == CRC


@pytest.mark.parametrize(("less", "offset"), [(1, 0), (16, 0), (0, 1), (0, 8), (0, 15)])
def test_an_arena_that_is_too_small_or_not_aligned(compiled, less, offset):
    assert compiled[1].need % 16 == 0
    assert compiled[1].init(compiled[1].right, less=less, offset=offset) == ARENA


def test_no_score_before_an_init_or_after_one_that_failed(tmp_path):
    library = Library(of_kind("mean"), tmp_path)
    window = np.zeros((32, 33), np.int8)
    assert library.score(window) == (NOT_READY, -1234)
    assert library.init(library.right) == OK and library.score(window)[0] == OK
    assert library.init(library.right[:-1]) == CRC
    assert library.score(window) == (NOT_READY, -1234)


@pytest.mark.parametrize("name", ["context", "relu", "separable", "padded", "padded pools", "mean", "dense on a map"])
def test_the_arena_is_used_to_its_end_and_not_beyond(name, tmp_path):
    model = of_context(71) if name == "context" else of_kind(name)
    library, codes = Library(model, tmp_path), inputs(model, 60)
    touched = np.zeros(len(library.room), bool)
    assert library.init(library.right) == OK
    for fill in (0x55, 0xAA):
        for window in codes[::6]:
            library.room[:] = fill
            assert library.alone([window])[0][0] == OK
            touched |= library.room != fill
    inside = touched[library.start : library.start + library.need]
    assert touched.sum() == inside.sum()
    assert (~inside).sum() < 16 or library.need == 16
