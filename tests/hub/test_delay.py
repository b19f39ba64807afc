"""Known delays of a fraction of a sample, given by the phase of a spectrum."""

import numpy as np
import pytest

from gunshot.hub.delay import delay

SR, N = 16_000, 8000


def shot(rng: np.random.Generator) -> np.ndarray:
    t = np.arange(N) / SR
    return np.where(t > 0.1, rng.standard_normal(N) * np.exp(-(t - 0.1) / 0.03), 0)


def later(y: np.ndarray, samples: float) -> np.ndarray:
    return np.fft.irfft(np.fft.rfft(y) * np.exp(-2j * np.pi * np.fft.rfftfreq(N) * samples), N)


def clip(rng: np.random.Generator, y: np.ndarray, snr_db: float, peak: float = 20_000) -> np.ndarray:
    y = y + 10 ** (-snr_db / 20) * np.std(y[np.abs(y) > 0.1]) * rng.standard_normal(N)
    return (y / np.abs(y).max() * peak).astype(np.int16)


def measured(rng, y, samples: float, snr_db: float) -> tuple[float, float]:
    pair = clip(rng, y, snr_db), clip(rng, later(y, samples), snr_db, peak=3000)
    return delay(*pair, first_start_s=1.7e3, second_start_s=1.7e3 + 0.25, sr=SR)


@pytest.mark.parametrize(("snr_db", "most"), [(30, 0.02), (10, 0.1)])
def test_a_fraction_of_a_sample_in_noise(snr_db, most):
    """`most` is of a sample; errors over their stated sigma have a standard deviation near 1."""
    rng, ratio = np.random.default_rng(0), []
    for samples in rng.uniform(-400, 400, 60):
        delay_s, error_s = measured(rng, shot(rng), samples, snr_db)
        error = (delay_s - 0.25) * SR - samples
        assert abs(error) < most
        ratio.append(error / (error_s * SR))
    assert 0.6 < np.std(ratio) < 1.5


def test_a_softer_echo_does_not_move_it():
    rng = np.random.default_rng(1)
    for samples, echo in zip(rng.uniform(-200, 200, 30), rng.uniform(20, 300, 30), strict=True):
        y = shot(rng)
        pair = clip(rng, y, 20), clip(rng, later(y, samples) + 0.7 * later(y, samples + echo), 20)
        delay_s, _ = delay(*pair, first_start_s=0.0, second_start_s=0.0, sr=SR)
        assert abs(delay_s * SR - samples) < 0.05


def test_swapped_clips_have_the_opposite_delay():
    rng = np.random.default_rng(2)
    y = shot(rng)
    first, second = clip(rng, y, 20), clip(rng, later(y, 33.3), 20)
    there = delay(first, second, first_start_s=0.0, second_start_s=0.1, sr=SR)
    back = delay(second, first, first_start_s=0.1, second_start_s=0.0, sr=SR)
    assert there == pytest.approx((-back[0], back[1]), abs=1e-9)


def test_clips_of_different_lengths():
    rng = np.random.default_rng(3)
    y = shot(rng)
    delay_s, _ = delay(clip(rng, y, 30), clip(rng, y, 30)[1000:5000], first_start_s=0.0, second_start_s=0.0, sr=SR)
    assert delay_s * SR == pytest.approx(-1000, abs=0.05)


def test_sounds_with_nothing_in_common_have_no_delay():
    rng = np.random.default_rng(4)
    pairs = [[rng.normal(0, 1000, N).astype(np.int16) for _ in range(2)] for _ in range(30)]
    assert [delay(*pair, first_start_s=0.0, second_start_s=0.0, sr=SR) for pair in pairs] == [None] * 30


def test_what_is_no_clip():
    good = np.arange(1000, dtype=np.int16)
    times = {"first_start_s": 0.0, "second_start_s": 0.0, "sr": SR}
    with pytest.raises(ValueError, match="second=float64 of shape"):
        delay(good, good.astype(float), **times)
    with pytest.raises(ValueError, match=r"first=int16 of shape \(10,\) must be int16 of 256 samples or more"):
        delay(good[:10], good, **times)
    with pytest.raises(ValueError, match="second is silent"):
        delay(good, np.zeros(1000, np.int16), **times)
