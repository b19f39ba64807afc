"""The mel power in float32 C against gunshot.features, double inside, and its codes against gunshot.models."""

import ctypes
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gunshot import features
from gunshot.base import audio
from gunshot.export import constants
from gunshot.export import log_mel as log_mel_c
from gunshot.models.model import Model
from gunshot.simulate.corpus import Corpus, render
from tests.firmware import host_c
from tests.firmware.host_c import SCALE, ZERO, P

NEAR_DB = 0.01
FLOAT32_DB = -125  # what the FFT rounds, at most, of white noise of the frame's energy; typically -157
CLEAR_DB = 70  # below white noise of the frame's energy, down to where that is within NEAR_DB
RECORDINGS = host_c.ROOT.parent / "shared" / "audio"  # real ones, where they are
MANY = settings(deadline=None, max_examples=60, derandomize=True)
MODEL = Model(Path(), {}, None, (32, 71), code_db=SCALE, code_zero=ZERO)
T = np.arange(2048)


class Front:
    """The library, of any params."""

    def __init__(self, folder: Path, p=P):
        self.p = p
        library = host_c.build(host_c.generate(folder, p), folder / "front.so", host_c.dsp(), "-shared", "-fPIC")
        self.c = ctypes.CDLL(str(library))

    def log_mel(self, pcm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        f = self.p.features
        n, pcm = features.frames(len(pcm), n_fft=f.n_fft, hop_length=f.hop_length), np.ascontiguousarray(pcm)
        mel, codes = np.empty((n, f.n_mels), np.float32), np.empty((n, f.n_mels), np.int8)
        self.c.log_mels(_at(pcm), ctypes.c_size_t(n), _at(mel), _at(codes))
        return self.db(mel).T, codes.T

    def db(self, mel: np.ndarray) -> np.ndarray:
        return np.log10(np.maximum(mel, np.float32(self.p.features.amin))) * np.float32(10)

    def codes(self, mel: np.ndarray) -> np.ndarray:
        """Of powers [shape=(n, )], by the C, whose frames have n_mels of them."""
        rows = np.resize(mel, (-(-len(mel) // self.p.features.n_mels), self.p.features.n_mels))
        codes = np.empty(rows.shape, np.int8)
        self.c.to_codes(_at(rows), ctypes.c_size_t(len(rows)), _at(codes))
        return codes.ravel()[: len(mel)]

    def truth(self, pcm: np.ndarray) -> np.ndarray:
        return features.log_mel(pcm, sr=self.p.audio.sr, **self.p.features.model_dump())

    def white(self, pcm: np.ndarray) -> np.ndarray:
        """The log-mel that white noise of each frame's energy would have."""
        f = self.p.features
        frames = np.lib.stride_tricks.sliding_window_view(pcm, f.n_fft)[:: f.hop_length]
        energy = np.square(frames * features.hann(f.n_fft) / audio.FULL_SCALE).sum(axis=1)
        bank = features.mel_filters(sr=self.p.audio.sr, n_fft=f.n_fft, n_mels=f.n_mels, fmin=f.fmin, fmax=f.fmax)
        return 10 * np.log10(np.maximum(bank.sum(axis=1)[:, None] * energy, 1e-30))


def _at(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    return Front(tmp_path_factory.mktemp("front"))


def pcm(x: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(x), -32768, 32767).astype(np.int16)


@st.composite
def plain(draw) -> np.ndarray:
    """Silence, DC, impulses, noise of any level and colour, and noise on DC."""
    rng, level = np.random.default_rng(draw(st.integers(0, 2**32))), 10 ** draw(st.floats(-1, 4.6))
    match draw(st.sampled_from(["constant", "impulses", "noise", "coloured", "offset"])):
        case "constant":
            return np.full(len(T), draw(st.integers(-32768, 32767)), np.int16)
        case "impulses":
            return pcm(np.where(rng.random(len(T)) < draw(st.floats(0, 0.05)), rng.normal(0, level, len(T)), 0))
        case "coloured":
            return pcm(np.cumsum(rng.normal(0, level / 20, len(T))) + rng.normal(0, 1, len(T)))
        case "noise":
            return pcm(rng.normal(0, level, len(T)))
        case _:
            return pcm(draw(st.integers(-32768, 32767)) + rng.normal(0, min(level, 300), len(T)))


@st.composite
def periodic(draw) -> np.ndarray:
    """Tones and squares up to full scale and clipped beyond it, without any noise: bands at the floor beside them."""
    amplitude = draw(st.floats(1, 50_000))
    if draw(st.booleans()):
        period = draw(st.integers(2, 600))
        return pcm(np.where(T % period < draw(st.integers(1, period)), amplitude, draw(st.integers(-32768, 32767))))
    tones = draw(st.lists(st.floats(0, 8000), min_size=1, max_size=3))
    phase = draw(st.floats(0, 7))
    return pcm(amplitude / len(tones) * sum(np.sin(2 * np.pi * f * T / P.audio.sr + phase) for f in tones))


@MANY
@given(plain())
@example(np.full(len(T), -32768, np.int16))
def test_plain_sounds_are_within_a_hundredth_of_a_db_everywhere(front, x):
    db, codes = front.log_mel(x)
    assert np.abs(db - front.truth(x)).max() <= NEAR_DB
    assert (codes == MODEL.codes(db)).all()


@MANY
@given(periodic())
@example(pcm(32767 * np.sin(2 * np.pi * 7900 * T / P.audio.sr + 0.3)))
@example(np.where(T % 7 < 4, 32767, -32768).astype(np.int16))
def test_beside_full_scale_tones_float32_alone_limits(front, x):
    """Within 0.01 dB down to 70 dB below the frame's energy, and below that within what a float32 FFT rounds."""
    db, truth = front.log_mel(x)[0], front.truth(x)
    below = front.white(x) - truth
    limit = 20 * np.log10(1 + 10 ** ((below + FLOAT32_DB) / 20))
    error = np.abs(db - truth)
    assert error[below <= CLEAR_DB].max(initial=0) <= NEAR_DB
    assert (error <= limit + 1e-3).all()
    assert error.max() <= 1


def corpus() -> list[np.ndarray]:
    simulated = Corpus(seed=9, sr=P.audio.sr, duration_s=(1.2, 2.4), distance_m=(2.0, 1500.0), without=())
    rendered = [render(kind, i, simulated).pcm for i in range(18) for kind in ("gun", "env")]
    # Other levels and other places in their frames are other numbers for what rounds.
    parts = [pcm(10 ** (-db / 20) * x[shift:]) for x in rendered for db, shift in ((0, 0), (7, 29), (19, 57), (32, 83))]
    for path in sorted(RECORDINGS.rglob("*.wav"))[::8]:
        parts.append(np.concatenate([audio.to_int16(block) for block in audio.blocks(path, sr=P.audio.sr)])[:64_000])
    return parts


@pytest.mark.slow
def test_codes_of_sounds_differ_in_one_of_a_hundred_thousand_at_most(front):
    cells = differ = far = 0
    for x in corpus():
        (db, codes), truth = front.log_mel(x), front.truth(x)
        cells += codes.size
        differ += np.count_nonzero(codes != MODEL.codes(truth))
        far += np.count_nonzero(np.abs(db - truth) > NEAR_DB)
    print(f"{cells} cells, {differ} codes differ, {far} more than {NEAR_DB} dB")
    assert cells > 1_000_000
    # 8 of 2.1 million; 17 where the logarithm that the table of powers was made with is not that of the features.
    assert differ <= cells / 150_000 and far <= cells / 100_000


@MANY
@given(st.lists(st.floats(-400, 400), min_size=32, max_size=32))
def test_any_power_has_the_code_that_python_gives_it(front, db):
    mel = np.float32(10 ** (np.array(db) / 10).clip(-37, 38))
    assert (front.codes(mel) == MODEL.codes(front.db(mel))).all()


def test_powers_around_each_step_and_beyond_the_ends_have_python_s_codes(front):
    steps = np.float32(constants.code_powers(SCALE, ZERO, P.features.amin))
    near = (steps.view(np.int32)[:, None] + np.arange(-50, 51)).ravel()
    mel = np.concatenate([near[near >= 0].astype(np.int32).view(np.float32), np.float32([0, 1e-40, 1e30, np.inf])])
    expected = MODEL.codes(front.db(mel))
    assert (front.codes(mel) == expected).all() and expected.max() == 127
    assert set(expected.tolist()) == set(range(MODEL.codes(front.db(np.float32([0])))[0], 128))


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [
        {"n_fft": 256, "hop_length": 64, "fmin": 100.0, "fmax": 4000.0},
        {"n_fft": 1024, "hop_length": 100, "n_mels": 64, "amin": 1e-7},
        {"n_fft": 32, "hop_length": 32, "n_mels": 24},  # bands without a bin
    ],
)
def test_any_params_that_there_is_an_fft_for(tmp_path, changed):
    other = Front(tmp_path, host_c.with_features(**changed))
    x = pcm(np.random.default_rng(2).normal(0, 900, 8192))
    assert np.abs(other.log_mel(x)[0] - other.truth(x)).max() <= NEAR_DB


def test_tables_are_the_bank_and_another_fft_is_refused(front):
    f = P.features
    window, bands, weights = log_mel_c.tables(P)
    bank, at = np.zeros((f.n_mels, 1 + f.n_fft // 2), np.float32), 0
    for row, (first, count) in zip(bank, bands, strict=True):
        row[first : first + count] = weights[at : at + count]
        at += count
    assert (bank == features.mel_filters(sr=16000, n_fft=512, n_mels=32, fmin=f.fmin, fmax=f.fmax)).all()
    assert np.array_equal(window, np.float32(features.hann(512) / 32768))
    assert np.array_equal(window, np.array((ctypes.c_float * 512).in_dll(front.c, "gunshot_window")))
    with pytest.raises(ValueError, match="n_fft=400 must be one of 32, 64"):
        log_mel_c.tables(host_c.with_features(n_fft=400))
