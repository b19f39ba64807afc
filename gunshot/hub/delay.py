"""How much later one sound is in one recording than in another, by generalised cross-correlation with phase transform.

The transform (GCC-PHAT: Knapp and Carter 1976) makes all frequencies alike strong, so that an echo is a peak of its own
and does not move that of the direct sound.
"""

import numpy as np
from scipy import fft

FINER = 4  # lags a sample, between which a parabola is laid
STANDS_OUT = 8.0  # the peak's height over the RMS of all lags, at least; chance reaches 5
SHORTEST = 256  # samples of a clip


def delay(
    first: np.ndarray, second: np.ndarray, *, first_start_s: float, second_start_s: float, sr: int
) -> tuple[float, float] | None:
    """Return how much later `second` holds the sound of `first`, and the error (1 sigma), s; None if it holds it not.

    The delay makes the sum of cos(phase) over frequencies largest, so its error is that of an M-estimator (Huber 1967):
    ``sum (w sin)^2 / (sum w^2 cos)^2``, w the angular frequency; padding makes neighbouring frequencies alike.

    Parameters
    ----------
    first, second : np.ndarray [shape=(n,)], int16 at `sr`
    first_start_s, second_start_s : when each begins, by one clock

    Raises
    ------
    ValueError
        A clip is no int16, too short, or has a single value.
    """
    for name, clip in (("first", first), ("second", second)):
        if clip.dtype != np.int16 or clip.ndim != 1 or len(clip) < SHORTEST:
            raise ValueError(f"{name}={clip.dtype} of shape {clip.shape} must be int16 of {SHORTEST} samples or more")
        if np.all(clip == clip[0]):
            raise ValueError(f"{name} is silent, it must hold a sound")
    size = fft.next_fast_len(len(first) + len(second), real=True)
    cross = fft.rfft(second - second.mean(), size) * np.conj(fft.rfft(first - first.mean(), size))
    cross /= np.maximum(np.abs(cross), 1e-12 * np.abs(cross).max())
    cross[0] = 0.0
    likeness = fft.irfft(cross, FINER * size) * FINER
    peak = int(np.argmax(likeness))
    before, here, after = likeness[peak - 1], likeness[peak], likeness[(peak + 1) % len(likeness)]
    if here < STANDS_OUT * np.sqrt(np.mean(likeness**2)):
        return None
    lag = peak + (after - before) / (2 * (2 * here - before - after))
    lag -= len(likeness) * (lag > FINER * len(second))  # lags before 0 lie at the end
    omega = 2 * np.pi * fft.rfftfreq(size, 1 / sr)
    phase = np.angle(cross) + omega * lag / (FINER * sr)
    alike = size / min(len(first), len(second))
    error_s = np.sqrt(alike * np.sum((omega * np.sin(phase)) ** 2)) / np.sum(omega**2 * np.cos(phase))
    return float(second_start_s - first_start_s + lag / (FINER * sr)), float(error_s)
