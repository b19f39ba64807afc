"""The wake-up in C: the windows that rises want are Python's, and so is what an application that sleeps tells."""

import ctypes
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot.base import params
from gunshot.detect import detector, listener, onset
from gunshot.device import emulator, parity, wake
from gunshot.models.model import load_model
from tests.firmware import host_c

ROOT, DB = host_c.ROOT, 10
P = params.load("audio", "chunks", "context", "features", "detector", path=ROOT / "params.yaml")
FRAMES = {"n_fft": P.features.n_fft, "hop_length": P.features.hop_length}
HOP, SETTINGS = P.features.hop_length, host_c.SETTINGS
ROOM = 1 << 16  # bytes, more than a gunshot_wake


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("wake")
    generated = host_c.generate(folder)
    flags = [f"-DGUNSHOT_WAKE_DB={DB}", "-shared", "-fPIC", "-I", host_c.SRC, "-I", generated]
    host_c.run(*host_c.GCC, *host_c.STRICT, *flags, host_c.SRC / "wake.c", "-o", folder / "wake.so")
    library = ctypes.CDLL(str(folder / "wake.so"))
    library.gunshot_wake_write.restype = ctypes.c_int64
    library.gunshot_wake_takes.restype = ctypes.c_bool
    library.gunshot_wake_takes.argtypes = [ctypes.c_void_p, ctypes.c_int64]
    return library


def wanted_in_c(library: ctypes.CDLL, pcm: np.ndarray, piece: int) -> list[int]:
    """The windows that the C wants, of samples that come in pieces."""
    state, wants = ctypes.create_string_buffer(b"\xa5" * ROOM, ROOM), set()
    library.gunshot_wake_reset(state)
    for i in range(0, len(pcm), piece):
        part = np.ascontiguousarray(pcm[i : i + piece])
        first = library.gunshot_wake_write(state, part.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(len(part)))
        if first >= 0:
            seen = [w for w in range(first, first + 16) if library.gunshot_wake_takes(state, w)]
            assert seen[0] == first
            wants.update(seen)
    return sorted(wants)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.integers(1, 60), st.sampled_from([0, 1, 30, 2_000, 40_000])), min_size=1, max_size=8),
    st.integers(1, 2 * HOP),
)
def test_the_windows_that_rises_want_are_python_s(library, seed, parts, piece):
    """Noise of levels that change, silence and what is clipped among them, in pieces of any size."""
    rng = np.random.default_rng(seed)
    sound = np.concatenate([level * rng.standard_normal(hops * 40) for hops, level in parts])
    pcm = np.clip(sound, -32768, 32767).astype(np.int16)
    risen = wake.rises(pcm, hop_length=HOP, db=DB)
    expected = wake.wanted(risen, len(pcm) // HOP + SETTINGS.lead, SETTINGS, **FRAMES)
    assert wanted_in_c(library, pcm, piece) == np.flatnonzero(expected).tolist()


def of_python(pcm: np.ndarray, full: parity.Trace, s: detector.Settings) -> tuple[set[int], np.ndarray]:
    """The onsets of a detector that sleeps, and which windows it scores, from what one that never sleeps computed."""
    before = np.repeat(full.codes[:, :1], s.lead + detector.PAST, axis=1)
    rise = detector.rise(np.concatenate([before, full.codes], axis=1))
    wants = wake.wanted(wake.rises(pcm, hop_length=HOP, db=DB), len(full.logits), s, **FRAMES)
    shots, scored = wake.decide(rise, full.logits, wants, s)
    return set((onset.samples(shots, sr=P.audio.sr, **FRAMES) - s.lead * HOP).tolist()), scored


@pytest.mark.firmware
@pytest.mark.parametrize(
    ("preset", "port"),
    [
        ("host-sanitize", "host"),
        pytest.param("mps2-an386", "mps2-an386", marks=pytest.mark.exhaustive),
    ],
)
def test_an_application_that_sleeps_scores_what_it_would_and_tells_what_python_does(preset, port):
    pcm, model = parity.recording(sr=P.audio.sr), load_model(ROOT / "models/quantized/model.tflite")
    s = listener.settings(model, P, logit=model.threshold())
    full = parity.trace(emulator.build("host", firmware=ROOT / "firmware"), "host", pcm, P)
    slept = parity.trace(emulator.build(preset, firmware=ROOT / "firmware", wake_db=DB), port, pcm, P)
    onsets, scored = of_python(pcm, full, s)
    assert slept.onsets == onsets and len(onsets) >= 8
    assert slept.logits[slept.logits != wake.NO_SHOT].tolist() == full.logits[scored].tolist()
    assert slept.codes.shape[1] == wake.cost(scored, s)["frames"] < 0.5 * full.codes.shape[1]
    assert 0.1 < scored.mean() < 0.3


def test_a_mean_over_windows_is_no_build(tmp_path):
    generated = host_c.generate(tmp_path, settings=detector.Settings(**vars(SETTINGS) | {"windows": 2}))
    flags = ["-I", host_c.SRC, "-I", generated, "-c", host_c.SRC / "wake.c", "-o", tmp_path / "wake.o"]
    for db, code in ((0, 0), (DB, 1)):
        done = subprocess.run([*host_c.GCC, f"-DGUNSHOT_WAKE_DB={db}", *flags], capture_output=True, text=True)
        assert done.returncode == code and ("detector.windows must be 1" in done.stderr) == bool(code)
