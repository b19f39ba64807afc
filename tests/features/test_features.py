"""Log-mel: librosa's numbers, and frames that are the same to the bit whatever they are computed with."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from librosa import power_to_db
from librosa.feature import melspectrogram
from librosa.filters import mel
from threadpoolctl import threadpool_limits

from gunshot import features
from gunshot.base import audio, params

P = params.load("audio", "features", path=Path(__file__).parents[2] / "params.yaml")
SR, L = P.audio.sr, P.audio.chunk_length
MEL = {"sr": SR, **P.features.model_dump()}
N_FFT, HOP = P.features.n_fft, P.features.hop_length


def oracle(y: np.ndarray, *, amin: float, **mel) -> np.ndarray:
    power = melspectrogram(y=y.astype(np.float32), center=False, power=2.0, window="hann", **mel)
    return power_to_db(power, ref=1.0, amin=amin, top_db=None)


def agree(actual: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.abs(actual - expected).max() < 1e-3)


def noise(seed: int, n: int = L, level: float = 0.1) -> np.ndarray:
    return audio.to_int16(level * np.random.default_rng(seed).standard_normal(n))


def shot(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(L - 1000)
    y = 0.001 * rng.standard_normal(L)
    y[1000:] += 0.9 * rng.standard_normal(len(t)) * np.exp(-t / 200)
    return audio.to_int16(y)


SIGNALS = {
    "noise": noise(0),
    "faint noise": noise(1, level=1e-4),
    "shot": shot(2),
    "full-scale square": np.where(np.arange(L) // 8 % 2, 32767, -32768).astype(np.int16),
    "full-scale noise": np.random.default_rng(3).integers(-32768, 32768, L).astype(np.int16),
    "direct current": np.full(L, 12000, np.int16),
    "an impulse": np.where(np.arange(L) == 2000, 32767, 0).astype(np.int16),
    "one step": np.where(np.arange(L) == 2000, 1, 0).astype(np.int16),
    "silence": np.zeros(L, np.int16),
}


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([8000, 16000, 22050, 44100]), st.sampled_from([256, 400, 512, 1024]), st.integers(1, 80),
    st.floats(0, 2000), st.floats(0.1, 1),
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Empty filters")
def test_the_mel_filters_are_librosas_to_the_bit(sr, n_fft, n_mels, fmin, share):
    kept = {"sr": sr, "n_fft": n_fft, "n_mels": n_mels, "fmin": fmin, "fmax": fmin + share * (sr / 2 - fmin)}
    filters = features.mel_filters(**kept)
    assert filters.dtype == np.float32 and np.array_equal(filters, mel(**kept))


@pytest.mark.parametrize("name", SIGNALS)
def test_equals_librosa(name):
    pcm = SIGNALS[name]
    actual = features.log_mel(pcm, **MEL)
    assert actual.dtype == np.float32 and actual.shape == (32, 33)
    assert agree(actual, oracle(audio.to_float(pcm), **MEL))


@given(st.floats(20, 7900), st.floats(-60, 0), st.floats(0, 6.28))
def test_a_sine_equals_librosa(f, db, phase):
    pcm = audio.to_int16(10 ** (db / 20) * np.sin(2 * np.pi * f * np.arange(L) / SR + phase))
    actual, expected = features.log_mel(pcm, **MEL), oracle(audio.to_float(pcm), **MEL)
    assert agree(actual, expected)


@given(st.integers(0, 2**32), st.floats(-80, 0), st.integers(0, 3))
def test_coloured_noise_equals_librosa(seed, db, poles):
    y = np.random.default_rng(seed).standard_normal(L)
    for _ in range(poles):
        y = np.convolve(y, [1, 1], mode="same")
    pcm = audio.to_int16(10 ** (db / 20) * y / np.abs(y).max())
    assert np.abs(features.log_mel(pcm, **MEL) - oracle(audio.to_float(pcm), **MEL)).max() < 1e-3


OTHER = [
    {"n_fft": 256, "hop_length": 128, "n_mels": 20, "fmin": 50.0, "fmax": 4000.0},
    {"n_fft": 400, "hop_length": 160, "n_mels": 40, "fmin": 0.0, "fmax": 8000.0},
    {"n_fft": 1024, "hop_length": 1024, "n_mels": 64, "fmin": 300.0, "fmax": 7000.0},
    {"n_fft": 512, "hop_length": 700, "n_mels": 1, "fmin": 0.0, "fmax": 8000.0},
]


@pytest.mark.parametrize("other", OTHER)
@pytest.mark.filterwarnings("ignore:Empty filters")
def test_other_settings_equal_librosa(other):
    mel = MEL | other
    actual = features.log_mel(shot(4), **mel)
    assert actual.shape == (mel["n_mels"], features.frames(L, n_fft=mel["n_fft"], hop_length=mel["hop_length"]))
    assert np.abs(actual - oracle(audio.to_float(shot(4)), **mel)).max() < 1e-3


def test_silence_is_at_the_floor():
    assert np.abs(features.log_mel(np.zeros(L, np.int16), **MEL) - 10 * np.log10(MEL["amin"])).max() < 1e-4


def test_int16_and_float32_are_the_same_to_the_bit():
    pcm = np.stack(list(SIGNALS.values()))
    assert np.array_equal(features.log_mel(pcm, **MEL), features.log_mel(audio.to_float(pcm), **MEL))


@given(st.integers(1, 100), st.data())
@settings(max_examples=20)
def test_a_chunk_is_the_same_to_the_bit_in_any_batch_and_place(count, data):
    place = data.draw(st.integers(0, count - 1))
    batch = np.random.default_rng(count).integers(-32768, 32768, (count, L)).astype(np.int16)
    batch[place] = shot(5)
    assert np.array_equal(features.log_mel(batch, **MEL)[place], features.log_mel(shot(5), **MEL))


@given(st.integers(L, 200_000), st.integers(0, 2**32), st.data())
@settings(max_examples=20)
def test_a_frame_of_a_long_recording_is_that_of_a_chunk_to_the_bit(n, seed, data):
    pcm = noise(seed, n)
    whole = features.log_mel(pcm, **MEL)
    assert whole.shape[1] == features.frames(n, n_fft=N_FFT, hop_length=HOP)
    t = data.draw(st.integers(0, (n - L) // HOP))
    chunk = features.log_mel(pcm[t * HOP : t * HOP + L], **MEL)
    assert np.array_equal(whole[:, t : t + 33], chunk)


def test_threads_change_no_bit():
    pcm = np.stack([noise(i) for i in range(70)])
    with threadpool_limits(1):
        one = features.log_mel(pcm, **MEL)
    with threadpool_limits(2):
        assert np.array_equal(features.log_mel(pcm, **MEL), one)


@pytest.mark.slow
def test_shapes_and_memory_layouts():
    pcm = np.stack([noise(i) for i in range(6)])
    flat = features.log_mel(pcm, **MEL)
    assert np.array_equal(features.log_mel(pcm.reshape(2, 3, L), **MEL), flat.reshape(2, 3, 32, 33))
    assert np.array_equal(features.log_mel(np.asfortranarray(pcm), **MEL), flat)
    assert np.array_equal(features.log_mel(np.repeat(pcm, 2, axis=1)[:, ::2], **MEL), flat)
    assert features.log_mel(pcm[:0], **MEL).shape == (0, 32, 33)
    before = pcm.copy()
    features.log_mel(pcm, **MEL)
    assert np.array_equal(pcm, before)


@given(st.integers(0, 9000))
def test_frames_counts_whole_frames(n):
    expected = len([t for t in range(0, n, HOP) if t + N_FFT <= n])
    assert features.frames(n, n_fft=N_FFT, hop_length=HOP) == expected
    assert features.frames(L, n_fft=N_FFT, hop_length=HOP) == 33


BAD = [
    ({}, 511, "n=511 samples must be at least n_fft=512"),
    ({}, 0, "n=0 samples must be at least n_fft=512"),
    ({"fmin": -1.0}, L, "fmin=-1, fmax=8000 must satisfy 0 <= fmin < fmax <= sr/2=8000"),
    ({"fmin": 5000.0, "fmax": 5000.0}, L, "fmin=5000, fmax=5000 must satisfy"),
    ({"fmax": 8000.5}, L, "fmax=8000.5 must satisfy"),
]


@pytest.mark.parametrize(("changed", "n", "rule"), BAD)
def test_bad_input_is_named(changed, n, rule):
    with pytest.raises(ValueError) as e:
        features.log_mel(np.zeros(n, np.int16), **(MEL | changed))
    assert rule in str(e.value)


@pytest.mark.slow
@pytest.mark.parametrize(("sr", "channels", "n"), [
    (16000, 1, 100_000), (16000, 1, 1_100_000), (44100, 2, 150_000), (8000, 1, 2_048), (48000, 3, 1_500_000),
    (16000, 1, 100), (44100, 2, 11_000), (16000, 1, 4095), (16000, 1, 4096), (16000, 1, 4208), (16000, 1, 4207),
])  # fmt: skip
def test_of_file_is_that_of_the_imported_samples(tmp_path, sr, channels, n):
    y = 0.2 * np.random.default_rng(n).standard_normal((n, channels))
    sf.write(tmp_path / "x.wav", y, sr, subtype="FLOAT")
    actual = features.of_file(tmp_path / "x.wav", min_length=L, **MEL)
    pcm = audio.to_int16(audio.read(tmp_path / "x.wav", sr=SR))
    expected = features.log_mel(np.pad(pcm, (0, max(0, L - len(pcm)))), **MEL)
    assert actual.dtype == np.float32 and np.array_equal(actual, expected)


def test_of_file_names_what_is_no_audio(tmp_path):
    (tmp_path / "x.wav").write_text("hello")
    for name in ("x.wav", "none.wav"):
        with pytest.raises(audio.AudioError, match=name):
            features.of_file(tmp_path / name, min_length=L, **MEL)
