"""How loud a sound is, and how far it stands out."""

import numpy as np

HEARD_DB, AFTER_S, BEFORE_S = 6.0, 0.004, 0.025  # the rise of energy at an onset that can be heard
LOUDEST_S, PEAK_S, AROUND_S = 0.01, 0.25, 0.5  # of `peak_snr_db`


def rms_db(y: np.ndarray) -> float:
    """Return the level of `y` [shape=(n,)] in dB re 1; silence has -300."""
    return float(10 * np.log10(max(np.mean(np.square(y, dtype=float)), 1e-30)))


def peak_db(y: np.ndarray) -> float:
    """Return the peak of `y` [shape=(n,)] in dB re 1; silence has -300."""
    return float(20 * np.log10(max(np.abs(y).max(initial=0.0), 1e-15)))


def loudest_db(y: np.ndarray, sr: int) -> float:
    """Return the level in dB re 1 of the loudest 10 ms (RMS) of `y` [shape=(n,)]."""
    window = min(int(LOUDEST_S * sr), len(y))
    energy = np.r_[0.0, np.cumsum(np.square(y, dtype=float))]
    return float(10 * np.log10(max((energy[window:] - energy[:-window]).max() / window, 1e-30)))


def around(y: np.ndarray, at: int, sr: int) -> np.ndarray:
    """Return the second of `y` [shape=(n,)] around a sample, what of it there is."""
    return y[max(0, at - int(AROUND_S * sr)) : at + int(AROUND_S * sr)]


def peak_snr_db(own: np.ndarray, other: np.ndarray, onset: int, sr: int, *, floor_db: float = -300.0) -> float:
    """Return a shot's peak SNR in dB: its loudest 10 ms (RMS) over the RMS of the second around its onset.

    `own` is the shot alone, from its onset on; its first 0.25 s count. `other` is all else [shape=(n,)], and counts as
    `floor_db` at least.
    """
    return loudest_db(own[: int(PEAK_S * sr)], sr) - max(rms_db(around(other, onset, sr)), floor_db)


def heard(y: np.ndarray, onset: int, sr: int, *, least_db: float = HEARD_DB) -> bool:
    """Return whether a shot rises from what sounds before it, tails of earlier shots among it: `least_db` in 4 ms."""
    after, before = y[onset : onset + int(AFTER_S * sr)], y[max(0, onset - int(BEFORE_S * sr)) : onset]
    return rms_db(after) - rms_db(before) >= least_db
