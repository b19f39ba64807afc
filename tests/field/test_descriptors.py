"""Descriptors of chunks against librosa, and against signals whose figures are known."""

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot.field import descriptors

SR, N, N_FFT = 16000, 4096, 512


def described(y: np.ndarray) -> dict[str, np.ndarray]:
    pcm = np.clip(np.rint(np.atleast_2d(y) * 32768), -32768, 32767).astype(np.int16)
    values = descriptors.of_chunks(pcm, sr=SR, n_fft=N_FFT)
    return dict(zip(descriptors.NAMES, values.T, strict=True))


def sine(f: float, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * f * np.arange(N) / SR)


@given(st.integers(0, 2**32 - 1), st.floats(-70, 0), st.floats(-0.95, 0.95))
def test_equals_librosa_on_coloured_noise(seed, gain_db, pole):
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((3, N))
    noise[:, 1:] += pole * noise[:, :-1]
    noise[1] *= np.exp(-np.arange(N) / 500)
    pcm = np.clip(np.rint(10 ** (gain_db / 20) * noise * 8000), -32768, 32767).astype(np.int16)
    values = dict(zip(descriptors.NAMES, descriptors.of_chunks(pcm, sr=SR, n_fft=N_FFT).T, strict=True))
    y = pcm / 32768
    s = np.abs(librosa.stft(y, n_fft=N_FFT, hop_length=N_FFT, center=False, window="hann"))
    rms = librosa.feature.rms(y=y, frame_length=N, hop_length=N, center=False)[:, 0, 0]
    np.testing.assert_allclose(values["level_db"], np.maximum(20 * np.log10(rms + 1e-12), -100), atol=1e-3)
    for name, expected in {
        "centroid_hz": librosa.feature.spectral_centroid(S=s, sr=SR),
        "rolloff_hz": librosa.feature.spectral_rolloff(S=s, sr=SR),
    }.items():
        np.testing.assert_allclose(values[name], expected[:, 0].mean(axis=1), rtol=1e-4, atol=0.1)
    flatness = librosa.feature.spectral_flatness(S=s)[:, 0].mean(axis=1)
    np.testing.assert_allclose(values["flatness_db"], 10 * np.log10(flatness), atol=1e-3)


def test_a_sine_at_full_scale_and_one_in_each_band():
    values = described(np.stack([sine(1000, 32767 / 32768), sine(125), sine(500), sine(2000), sine(6000)]))
    assert values["level_db"][0] == pytest.approx(-3.01, abs=0.01)
    assert values["crest_db"] == pytest.approx(3.01, abs=0.05)
    assert values["snr_db"] == pytest.approx(0, abs=0.1)
    assert values["centroid_hz"][1:] == pytest.approx([125, 500, 2000, 6000], rel=0.02)
    bands = np.stack([values[name] for name in descriptors.NAMES[-4:]])[:, 1:]
    np.testing.assert_allclose(np.diag(bands), -9.03, atol=0.05)
    assert (bands - np.diag(np.diag(bands)) - 200 * np.eye(4)).max() < -35


def test_bands_sum_to_the_level():
    y = 0.1 * np.random.default_rng(0).standard_normal((200, N))
    values = described(y)
    power = sum(10 ** (values[name] / 10) for name in descriptors.NAMES[-4:])
    assert 10 * np.log10(power.mean()) == pytest.approx(-20, abs=0.1)


def test_gain_moves_levels_and_nothing_else():
    y = 0.02 * np.random.default_rng(1).standard_normal((4, N))
    one, four = described(y), described(4 * y)
    for name in descriptors.NAMES:
        moved = 12.04 if name == "level_db" or name.startswith("band") else 0
        tolerance = 10 if name.endswith("hz") else 0.05
        np.testing.assert_allclose(four[name] - one[name], moved, atol=tolerance, err_msg=name)


def test_clipping_counts_both_ends():
    pcm = np.zeros((1, N), np.int16)
    pcm[0, :3], pcm[0, 3:8], pcm[0, 8:] = 32767, -32768, -32767
    share = descriptors.of_chunks(pcm, sr=SR, n_fft=N_FFT)[0, descriptors.NAMES.index("clipped")]
    assert share == pytest.approx(8 / N)


def test_snr_is_the_loudest_frame_over_the_quiet_quarter():
    y = np.repeat([0.01, 0.03, 0.1, 0.1, 1.0, 0.1, 0.1, 0.1], N_FFT)[None] * 0.9
    quiet = (0.01**2 + 0.03**2) / 2
    assert described(y)["snr_db"][0] == pytest.approx(10 * np.log10(1 / quiet), abs=0.02)


def test_silence_is_finite_and_at_the_floor():
    values = descriptors.of_chunks(np.zeros((2, N), np.int16), sr=SR, n_fft=N_FFT)
    assert np.isfinite(values).all()
    named = dict(zip(descriptors.NAMES, values[0], strict=True))
    assert (named["level_db"], named["crest_db"], named["snr_db"], named["centroid_hz"]) == (-100, 0, 0, 0)


def test_blocks_do_not_change_a_chunk():
    pcm = np.random.default_rng(2).integers(-3000, 3000, (descriptors.BLOCK + 3, N)).astype(np.int16)
    whole = descriptors.of_chunks(pcm, sr=SR, n_fft=N_FFT)
    np.testing.assert_array_equal(whole[-3:], descriptors.of_chunks(pcm[-3:], sr=SR, n_fft=N_FFT))


def test_too_short_is_an_error():
    with pytest.raises(ValueError, match="n=511 samples must be at least n_fft=512"):
        descriptors.of_chunks(np.zeros((1, 511), np.int16), sr=SR, n_fft=N_FFT)
