"""Any lasting sound: noise and pulses under a random field of gains over time and frequency."""

import numpy as np
from numpy.random import Generator
from scipy import ndimage, signal

from gunshot.simulate.signals import db, drift, log_uniform, uniform, unit_rms

N_FFT, HOP = 256, 64  # of the field, at 16 kHz: 16 and 4 ms


def _smooth(rng: Generator, shape: tuple[int, int], cells: tuple[float, float]) -> np.ndarray:
    """Return a smooth random field [shape=shape] of about `cells` independent values each way."""
    coarse = rng.standard_normal([int(np.ceil(c)) + 3 for c in cells])
    places = [np.linspace(1, 1 + c, size) for c, size in zip(cells, shape, strict=True)]
    return ndimage.map_coordinates(coarse, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest")


def _switching(rng: Generator, frames: int, frame_s: float) -> np.ndarray:
    """Return a gain [shape=(frames,)] that turns on and off at random times, never as fast as a blast."""
    changes = np.cumsum(rng.exponential(log_uniform(rng, (0.1, 1.5)), frames) + 0.02) / frame_s
    state = (np.searchsorted(changes, np.arange(frames)) + rng.integers(2)) % 2
    ramp = int(log_uniform(rng, (0.02, 0.3)) / frame_s)
    return np.convolve(np.pad(state, (ramp, 0), mode="edge"), np.ones(ramp) / ramp)[ramp : ramp + frames]


def _pulses(rng: Generator, frames: int, frame_s: float) -> np.ndarray:
    """Return a level [shape=(frames,)] from -1 to 0 that rises at a more or less steady rate and falls in between."""
    rate = log_uniform(rng, (1.5, 60)) * 2 ** drift(
        rng, frames, int(1 / frame_s), rate_hz=2, depth=uniform(rng, (0, 0.3))
    )
    phase = np.cumsum(rate) * frame_s % 1
    rise = uniform(rng, (0.02, 0.5))
    return np.where(phase < rise, phase / rise, (1 - phase) / (1 - rise)) ** log_uniform(rng, (0.3, 3)) - 1


def field_db(rng: Generator, shape: tuple[int, int], sr: int) -> np.ndarray:
    """Return gains in dB [shape=(bins, frames)]: a tilt, smooth patches, pulses and switching, each at times."""
    bins, frames = shape
    octaves = np.log2(np.maximum(np.linspace(0, sr / 2, bins), 50) / 1000)[:, None]
    frame_s, span_s = HOP / sr, frames * HOP / sr
    gain_db = uniform(rng, (-9, 3)) * octaves
    gain_db = gain_db + uniform(rng, (0, 12)) * _smooth(rng, (bins, 1), (log_uniform(rng, (2, 30)), 1))
    for _ in range(rng.integers(0, 3)):
        cells = log_uniform(rng, (1, 20)), span_s / log_uniform(rng, (0.01, 1))
        gain_db = gain_db + uniform(rng, (0, 12)) * _smooth(rng, shape, cells)
    if rng.random() < 0.4:
        where = np.clip(1 + _smooth(rng, (bins, 1), (log_uniform(rng, (1, 8)), 1)), 0, 2)
        gain_db = gain_db + uniform(rng, (3, 30)) * where * _pulses(rng, frames, frame_s)
    if rng.random() < 0.4:
        depth = db(-uniform(rng, (6, 60)))
        gain_db = gain_db + 20 * np.log10(depth + (1 - depth) * _switching(rng, frames, frame_s))
    return np.clip(gain_db - gain_db.max(), -90, 0)


def _source(rng: Generator, n: int, sr: int) -> np.ndarray:
    """Return noise, pulses of a wandering pitch, or both [shape=(n,)]."""
    y = rng.standard_normal(n)
    if rng.random() < 0.6:
        bend = drift(rng, n, sr, rate_hz=log_uniform(rng, (0.5, 12)), depth=uniform(rng, (0, 0.5)))
        phase = np.cumsum(log_uniform(rng, (40, 2000)) * 2**bend) / sr
        pulses = np.diff(np.floor(phase), prepend=0.0)
        y = db(uniform(rng, (-40, 5))) * y + unit_rms(pulses - pulses.mean())
    return y


def texture(rng: Generator, n: int, sr: int) -> np.ndarray:
    """Anything that lasts: engines, crowds, rain, machines and what has no name."""
    _, _, spectrum = signal.stft(_source(rng, n, sr), nperseg=N_FFT, noverlap=N_FFT - HOP)
    y = signal.istft(spectrum * db(field_db(rng, spectrum.shape, sr)), nperseg=N_FFT, noverlap=N_FFT - HOP)[1]
    return y[:n]
