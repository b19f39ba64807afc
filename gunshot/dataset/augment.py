"""Pure transforms of waveforms; each takes its draws from a Generator. Never flips, never rotations."""

import numpy as np
import pandas as pd
import soxr
from scipy.signal import butter, oaconvolve, sosfilt

from gunshot.base import audio, params


def resample(y: np.ndarray, rate: float) -> np.ndarray:
    """Return `y` [shape=(n,)] played `rate` times as fast: pitch and duration change together.

    An impulse keeps its shape; a phase vocoder would smear it.
    """
    return soxr.resample(y, rate, 1.0, quality="MQ").astype(np.float32)


def gain(y: np.ndarray, db: float) -> np.ndarray:
    """Return `y` louder by `db`."""
    return y * np.float32(10 ** (db / 20))


def background(y: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Return `y` with `noise` (same shape) under it, its power `snr_db` below; silent noise adds nothing."""
    power_y, power_noise = np.mean(np.square(y)), np.mean(np.square(noise))
    if power_noise == 0 or power_y == 0:
        return y
    return y + noise * np.float32(np.sqrt(power_y / power_noise / 10 ** (snr_db / 10)))


def reverb(y: np.ndarray, rng: np.random.Generator, *, sr: int, rt60_s: float) -> np.ndarray:
    """Return `y` in a room: the direct sound and a diffuse tail whose level falls by 60 dB in `rt60_s`.

    The tail is Gaussian noise with an exponential envelope (Polack's model); its energy is
    0 to 12 dB below the direct sound's.
    """
    n = max(2, int(min(rt60_s, 0.5) * sr))
    tail = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / (rt60_s * sr))
    tail *= np.sqrt(10 ** (-rng.uniform(0, 12) / 10) / np.sum(tail**2))
    tail[0] = 1.0
    return oaconvolve(y, tail.astype(np.float32))[: len(y)]


def band_limit(y: np.ndarray, *, sr: int, highpass_hz: float, lowpass_hz: float) -> np.ndarray:
    """Return `y` through a second-order high-pass and a fourth-order low-pass (Butterworth)."""
    sos = np.vstack(
        [
            butter(2, highpass_hz, "highpass", fs=sr, output="sos"),
            butter(4, min(lowpass_hz, 0.495 * sr), "lowpass", fs=sr, output="sos"),
        ]
    )
    return sosfilt(sos, y).astype(np.float32)


def clip(y: np.ndarray, over_db: float) -> np.ndarray:
    """Return `y` clipped `over_db` below its peak, then scaled to its former peak."""
    peak = np.abs(y).max()
    limit = peak * 10 ** (-over_db / 20)
    return y if peak == 0 else np.clip(y, -limit, limit) * np.float32(peak / limit)


def span(
    start: int, n: int, rng: np.random.Generator, p: params.Augment, *, length: int, onset: int = -1
) -> tuple[int, int, float]:
    """Return where to cut `n` samples for a shifted and resampled copy: start, samples, rate.

    The copy is cut from the recording anew, so that time shift and pitch shift bring in real sound and no padding.
    The shot at `onset`, in samples of the chunk, stays in the copy; -1 where there is none.
    """
    rate = 2 ** (rng.uniform(-p.pitch_semitones, p.pitch_semitones) / 12)
    size = min(n, int(np.ceil(length * rate)) + 1)
    moved = start + int(rng.uniform(-p.shift, p.shift) * length)
    rate = (size - 1) / length if size == n else rate
    first, last = 0, n - size
    if onset >= 0:
        shot = start + onset
        first, last = max(first, shot - int((length - 1) * rate)), min(last, shot)
    return int(np.clip(moved, first, last)), size, rate


def copy(
    y: np.ndarray, noise: np.ndarray, rng: np.random.Generator, p: params.Augment, *, sr: int, rate: float
) -> np.ndarray:
    """Return an augmented copy, float32 [shape=(length,)], of `y` as `span` cut it.

    Parameters
    ----------
    y : np.ndarray [shape=(samples,)], float32
    noise : np.ndarray [shape=(length,)], float32
        A background from the training split.
    p : gives each transform's share and range.
    """
    length = len(noise)
    y = resample(y, rate)[:length]
    y = np.pad(y, (0, length - len(y)), mode="edge")  # the resampler may be a sample short
    if rng.random() < p.reverb_share:
        y = reverb(y, rng, sr=sr, rt60_s=rng.uniform(*p.rt60_s))
    if rng.random() < p.background_share:
        y = background(y, noise, rng.uniform(*p.snr_db))
    if rng.random() < p.filter_share:
        high, low = (np.exp(rng.uniform(*np.log(limits))) for limits in (p.highpass_hz, p.lowpass_hz))
        y = band_limit(y, sr=sr, highpass_hz=high, lowpass_hz=low)
    if rng.random() < p.clip_share:
        y = clip(y, rng.uniform(*p.clip_db))
    return gain(y, rng.uniform(*p.gain_db))


def copies(
    rows: pd.DataFrame, pcm: np.ndarray, noise: np.ndarray, rng: np.random.Generator, p: params.Augment, *, sr: int
) -> tuple[list[dict], np.ndarray]:
    """Return the augmented copies of one recording's chunks: rows of tables.CHUNK, and their PCM.

    Parameters
    ----------
    rows : the recording's rows of tables.CHUNK
    pcm : np.ndarray [shape=(n,)], int16
        The recording.
    noise : np.ndarray [shape=(backgrounds, length)], int16
        Environment chunks of the training split.
    p : its gun_copies or env_copies are made of each chunk.

    Returns
    -------
    rows, int16 [shape=(copies, length)]
    """
    y, length = audio.to_float(pcm), noise.shape[1]
    waves, copied = [], []
    for row in rows.to_dict("records"):
        for i in range(getattr(p, f"{row['class']}_copies")):
            start, size, rate = span(row["start"], len(y), rng, p, length=length, onset=row["onset"])
            under = audio.to_float(noise[rng.integers(len(noise))])
            shot = round((row["start"] + row["onset"] - start) / rate)
            place = {"start": start, "onset": -1 if row["onset"] < 0 else min(shot, length - 1)}
            copied.append({**row, **place, "chunk": f"{row['chunk']}~{i}", "index": len(waves)})
            waves.append(audio.to_int16(copy(y[start : start + size], under, rng, p, sr=sr, rate=rate)))
    return copied, np.array(waves, np.int16).reshape(-1, length)
