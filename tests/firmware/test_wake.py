"""The wake-up in C: the windows that rises want are Python's, and so is what an application that sleeps tells."""

import ctypes
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot.base import params
from gunshot.detect import detector, listener, onset
from gunshot.device import emulator, parity, wake
from gunshot.models.model import load_model
from tests.firmware import driven, host_c
from tests.firmware.test_app import App, Python, compare, overrun

ROOT, DB = host_c.ROOT, driven.WAKE_DB
P = params.load("audio", "chunks", "context", "features", "detector", path=ROOT / "params.yaml")
FRAMES = {"n_fft": P.features.n_fft, "hop_length": P.features.hop_length}
HOP, SETTINGS = P.features.hop_length, host_c.SETTINGS
ROOM = 1 << 16  # bytes, more than a gunshot_wake


def that_wakes(db: int) -> SimpleNamespace:
    """The sections that an export reads, with a rise that wakes."""
    return SimpleNamespace(**vars(host_c.P) | {"firmware": host_c.P.firmware.model_copy(update={"wake_db": db})})


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("wake")
    flags = ["-shared", "-fPIC", "-I", host_c.SRC, "-I", host_c.generate(folder, that_wakes(DB))]
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


@pytest.mark.slow
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
    assert slept.onsets == onsets and onsets
    assert slept.logits[slept.logits != wake.NO_SHOT].tolist() == full.logits[scored].tolist()
    assert slept.codes.shape[1] == wake.cost(scored, s)["frames"] < full.codes.shape[1]
    assert scored.any() and not scored.all()


FIRST_S = [0.30, 0.36, 0.42, 0.49, 0.55]  # of these the first windows wanted lie before and after a whole one was heard


@pytest.mark.firmware
@pytest.mark.parametrize("at_s", FIRST_S)
def test_a_rise_soon_after_the_start_wakes_as_any_other(at_s):
    pcm, model = driven.shots([at_s], at_s + 1.5), load_model(ROOT / "models/quantized/model.tflite")
    s = listener.settings(model, P, logit=model.threshold())
    full = parity.trace(emulator.build("host", firmware=ROOT / "firmware"), "host", pcm, P)
    slept = parity.trace(emulator.build("host-sanitize", firmware=ROOT / "firmware", wake_db=DB), "host", pcm, P)
    onsets, scored = of_python(pcm, full, s)
    assert slept.onsets == onsets and scored.any()
    assert slept.logits[slept.logits != wake.NO_SHOT].tolist() == full.logits[scored].tolist()
    assert slept.codes.shape[1] == wake.cost(scored, s)["frames"]


@pytest.fixture(scope="module")
def sleeper(tmp_path_factory):
    """The application in the driver, which sleeps."""
    pipe = driven.Driver(tmp_path_factory.mktemp("sleeper"), driven.SLEEPER)
    yield pipe
    pipe.close()


@pytest.mark.slow
@pytest.mark.parametrize("at_s", FIRST_S)
def test_a_rise_soon_after_a_gap_tells_what_one_that_never_sleeps_does(sleeper, at_s):
    first, second, lost = driven.shots([0.7], 1.8, 1), driven.shots([at_s], at_s + 1.5, 2), driven.shots([], 0.32, 3)
    app = App(sleeper)
    app.hear(first)
    overrun(app, lost)
    app.write(lost[:0])
    app.hear(second)
    full = np.zeros(2048, np.int16)  # of the ring, which `overrun` filled
    python = Python(driven.SLEEPER).hear(np.concatenate([first, full])).gap(len(lost)).hear(second)
    compare(app.messages(), python.messages)
    assert {message.incident for message in app.messages()} == {1, 2} and app.beat().gaps == 1


def compiled(folder, db: int, settings: detector.Settings = SETTINGS) -> subprocess.CompletedProcess:
    flags = ["-I", host_c.SRC, "-I", host_c.generate(folder, that_wakes(db), settings), "-fsyntax-only"]
    return subprocess.run([*host_c.GCC, *flags, host_c.SRC / "wake.c"], capture_output=True, text=True)


def test_a_mean_over_windows_is_no_build(tmp_path):
    mean = detector.Settings(**vars(SETTINGS) | {"windows": 2})
    assert compiled(tmp_path, 0, mean).returncode == 0
    assert "detector.windows must be 1" in compiled(tmp_path, DB, mean).stderr


@pytest.mark.parametrize("db", [-3, 1, 60, 61])
def test_a_rise_that_is_none_is_no_build(tmp_path, db):
    """As in Python."""
    done = compiled(tmp_path, db)
    assert (done.returncode == 0) == (1 <= db <= 60)
    assert ("firmware.wake_db: 0, or a whole number from 1 to 60" in done.stderr) == (not 1 <= db <= 60)


@pytest.mark.firmware
def test_a_build_folder_of_before_takes_the_rise_of_the_parameters(tmp_path):
    """One whose cache says GUNSHOT_WAKE_DB, as such folders did."""
    said = ["-B", tmp_path, "-DGUNSHOT_WAKE_DB=0"]
    subprocess.run(["cmake", "--preset", "host", *said], cwd=ROOT / "firmware", check=True, capture_output=True)
    assert "WAKE_DB" not in (tmp_path / "build.ninja").read_text()
