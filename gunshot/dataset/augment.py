"""Pure transforms of waveforms; each takes its draws from a Generator. Never flips, never rotations."""

from collections.abc import Callable

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


def moved(
    row: dict, n: int, rng: np.random.Generator, p: params.Augment, *, rate: float, chunk_length: int
) -> dict[str, int]:
    """Return `start` and `onset` of a chunk, a row of tables.CHUNK, in a copy of `n` samples at `rate` times the pace.

    It is moved by up to `shift` of its length either way, within the copy, and keeps its shot, if it has one.
    """
    start = round(row["start"] / rate) + int(rng.uniform(-p.shift, p.shift) * chunk_length)
    first, last, shot = 0, n - chunk_length, -1
    if row["onset"] >= 0:
        shot = min(round((row["start"] + row["onset"]) / rate), n - 1)
        first, last = max(first, shot - chunk_length + 1), min(last, shot)
    start = int(np.clip(start, first, last))
    return {"start": start, "onset": shot - start if shot >= 0 else -1}


def copy(
    y: np.ndarray, noise: np.ndarray, rng: np.random.Generator, p: params.Augment, *, sr: int, rate: float, least: int
) -> np.ndarray:
    """Return an augmented copy, float32 [shape=(n,)], of a recording, played `rate` times as fast.

    Parameters
    ----------
    y, noise : np.ndarray [shape=(samples,)], float32
        The recording, and another one for the background, which is mirrored at its end where it is shorter.
    p : gives each transform's share and range.
    least : samples that the copy has at least; it goes on as its last one where the recording is too short
    """
    y = resample(y, rate)
    y = np.pad(y, (0, max(0, least - len(y))), mode="edge")
    if rng.random() < p.reverb_share:
        y = reverb(y, rng, sr=sr, rt60_s=rng.uniform(*p.rt60_s))
    if rng.random() < p.background_share:
        under = np.pad(noise, (0, max(0, len(y) - len(noise))), mode="symmetric")[: len(y)]
        y = background(y, under, rng.uniform(*p.snr_db))
    if rng.random() < p.filter_share:
        high, low = (np.exp(rng.uniform(*np.log(limits))) for limits in (p.highpass_hz, p.lowpass_hz))
        y = band_limit(y, sr=sr, highpass_hz=high, lowpass_hz=low)
    if rng.random() < p.clip_share:
        y = clip(y, rng.uniform(*p.clip_db))
    return gain(y, rng.uniform(*p.gain_db))


def copies(
    rows: pd.DataFrame,
    pcm: np.ndarray,
    noise: Callable[[np.random.Generator], np.ndarray],
    rng: np.random.Generator,
    p: params.Augment,
    *,
    sr: int,
    chunk_length: int,
) -> tuple[list[dict], list[np.ndarray]]:
    """Return the augmented copies of a recording: rows of tables.CHUNK, and each copy's PCM, int16.

    A copy is of the whole recording, so that a chunk in it has sound around it; its rows have the path N/RECORDING.

    Parameters
    ----------
    rows : the recording's rows of tables.CHUNK
    pcm : np.ndarray [shape=(n,)], int16
        The recording.
    noise : draws the PCM, int16, of an environment recording of the training split
    p : its gun_copies or env_copies are made
    """
    y, copied, waves = audio.to_float(pcm), [], []
    for i in range(getattr(p, f"{rows['class'].iloc[0]}_copies")):
        rate = 2 ** (rng.uniform(-p.pitch_semitones, p.pitch_semitones) / 12)
        wave = copy(y, audio.to_float(noise(rng)), rng, p, sr=sr, rate=rate, least=chunk_length)
        for row in rows.to_dict("records"):
            place = moved(row, len(wave), rng, p, rate=rate, chunk_length=chunk_length)
            copied.append({**row, **place, "chunk": f"{row['chunk']}~{i}", "path": f"{i}/{row['recording']}"})
        waves.append(audio.to_int16(wave))
    return copied, waves
