"""What chunks sound like in a few figures, by librosa's definitions where it has one, batched."""

from itertools import pairwise

import numpy as np
import scipy.fft

from gunshot import features
from gunshot.base import audio

BANDS = (0, 250, 1000, 4000, 8000)  # Hz, edges
NAMES = (
    "level_db", "crest_db", "centroid_hz", "rolloff_hz", "flatness_db", "snr_db", "clipped",
    *(f"band_{low}_{high}_db" for low, high in pairwise(BANDS)),
)  # fmt: skip
FLOOR = 1e-10  # of power re full scale, -100 dB: what int16 rounds away; librosa's amin of flatness
ROLLOFF = 0.85  # librosa's roll_percent
QUIET = 0.25  # share of a chunk's frames that are its background
BLOCK = 256  # chunks that are transformed at once: memory stays bounded


def of_chunks(pcm: np.ndarray, *, sr: int, n_fft: int) -> np.ndarray:
    """Return the descriptors NAMES of chunks, float32 [shape=(chunks, len(NAMES))].

    Frames are `n_fft` long, side by side, under a Hann window; |S| is the magnitude of their spectra.

    - level_db: RMS, in dB re full scale (a sine at full scale has -3.01); `librosa.feature.rms` of one frame.
    - crest_db: peak over RMS as `gunshot.validation` takes it.
    - centroid_hz: sum(f |S|) / sum(|S|), mean over frames; `librosa.feature.spectral_centroid`.
    - rolloff_hz: the lowest f with 85 % of the sum of |S| at or below it, mean; `librosa.feature.spectral_rolloff`.
    - flatness_db: geometric over arithmetic mean of |S|^2, mean; `librosa.feature.spectral_flatness`, in dB.
    - snr_db: energy of the loudest frame over the mean of the quietest quarter of the frames.
    - clipped: share of samples at either end of int16.
    - band_LOW_HIGH_db: power between two frequencies re full scale, by Parseval's theorem, mean over frames.

    Parameters
    ----------
    pcm : np.ndarray [shape=(chunks, n)], int16
        n must be at least n_fft; samples after the last whole frame count in level, crest and clipping alone.

    Raises
    ------
    ValueError
        A chunk is shorter than a frame.
    """
    if pcm.shape[1] < n_fft:
        raise ValueError(f"n={pcm.shape[1]} samples must be at least n_fft={n_fft}")
    out, f = np.empty((len(pcm), len(NAMES)), np.float32), np.fft.rfftfreq(n_fft, 1 / sr)
    for i in range(0, len(pcm), BLOCK):
        part = pcm[i : i + BLOCK]
        y = part / audio.FULL_SCALE
        framed = y[:, : y.shape[1] // n_fft * n_fft].reshape(len(y), -1, n_fft)
        magnitude = np.abs(scipy.fft.rfft(framed * features.hann(n_fft), axis=-1))
        columns = *_shape(y), *_spectral(magnitude, f), _snr(framed), _clipped(part), *_bands(magnitude, f, n_fft)
        out[i : i + BLOCK] = np.stack(columns, axis=1)
    return out


def _db(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(power, FLOOR))


def _shape(y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return level and crest factor of chunks [shape=(chunks, n)]."""
    power, peak = np.square(y).mean(axis=1), np.abs(y).max(axis=1)
    return _db(power), _db(np.square(peak)) - _db(power)


def _spectral(magnitude: np.ndarray, f: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return centroid, roll-off and flatness of spectra [shape=(chunks, frames, bins)], means over frames."""
    total = np.cumsum(magnitude, axis=-1)
    centroid = (magnitude @ f) / np.maximum(total[..., -1], np.finfo(np.float64).tiny)
    rolloff = f[(total >= ROLLOFF * total[..., -1:]).argmax(axis=-1)]
    power = np.maximum(np.square(magnitude), FLOOR)
    flatness = np.exp(np.log(power).mean(axis=-1)) / power.mean(axis=-1)
    return centroid.mean(axis=1), rolloff.mean(axis=1), _db(flatness.mean(axis=1))


def _snr(framed: np.ndarray) -> np.ndarray:
    energy = np.sort(np.square(framed).mean(axis=-1), axis=1)
    return _db(energy[:, -1]) - _db(energy[:, : max(1, int(QUIET * energy.shape[1]))].mean(axis=1))


def _clipped(pcm: np.ndarray) -> np.ndarray:
    return ((pcm == audio.FULL_SCALE - 1) | (pcm == -audio.FULL_SCALE)).mean(axis=1)


def _bands(magnitude: np.ndarray, f: np.ndarray, n_fft: int) -> list[np.ndarray]:
    sides = np.r_[1, np.full(len(f) - 2, 2), 1]  # of the spectrum of a real signal, n_fft being even
    power = np.square(magnitude).mean(axis=1) * sides / (n_fft * np.square(features.hann(n_fft)).sum())
    edges = [*np.searchsorted(f, BANDS[:-1]), len(f)]
    return [_db(power[:, low:high].sum(axis=1)) for low, high in pairwise(edges)]
