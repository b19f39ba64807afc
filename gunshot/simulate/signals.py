"""What every source is made of: noise, tones, envelopes, filters."""

from functools import cache

import numpy as np
from numpy.random import Generator
from scipy import fft, signal


def uniform(rng: Generator, bounds: tuple[float, float]) -> float:
    """Return a draw between two bounds."""
    return float(rng.uniform(*bounds))


def log_uniform(rng: Generator, bounds: tuple[float, float]) -> float:
    """Return a draw between two positive bounds, every octave as likely as another."""
    return float(np.exp(rng.uniform(*np.log(bounds))))


def first_s(rng: Generator, duration_s: float) -> float:
    """Return when the first sound of a recording starts: often at once, since sound libraries are cut that way."""
    return uniform(rng, (0.0005, 0.02)) if rng.random() < 0.2 else duration_s * uniform(rng, (0.02, 0.5))


def db(gain_db):
    """Return a gain in dB as an amplitude ratio."""
    return 10.0 ** (np.asarray(gain_db) / 20)


def unit_peak(y: np.ndarray) -> np.ndarray:
    """Return `y` [shape=(n,)] scaled to a peak of 1; silence stays silence."""
    return y / max(float(np.abs(y).max(initial=0.0)), 1e-12)


def unit_rms(y: np.ndarray) -> np.ndarray:
    """Return `y` [shape=(n,)] scaled to an RMS of 1; silence stays silence."""
    return y / max(float(np.sqrt(np.mean(np.square(y)))), 1e-12)


def add(y: np.ndarray, x: np.ndarray, start: int, gain: float = 1.0) -> None:
    """Add `x` to `y` in place from sample `start` (0 or later); what lies past the end is lost."""
    x = x[: max(0, len(y) - start)]
    y[start : start + len(x)] += gain * x


def join(y: np.ndarray, x: np.ndarray, start: int, fade: int) -> None:
    """Lay `x` into `y` in place from sample `start`; its first `fade` samples cross-fade at equal power."""
    x = x[: max(0, len(y) - start)]
    fade = min(fade, len(x))
    turn = np.pi / 2 * (np.arange(fade) + 0.5) / max(fade, 1)
    y[start : start + fade] = y[start : start + fade] * np.cos(turn) + x[:fade] * np.sin(turn)
    y[start + fade : start + len(x)] = x[fade:]


@cache
def _click(sr: int) -> np.ndarray:
    """Return a click at each quarter of a sample before the first one [shape=(4, 160)], until 1e-20 of it is left."""
    fine = np.zeros(4 * 160)
    fine[0] = 4.0  # a click of the fine grid weighs 4 fine samples after decimation
    return signal.sosfilt(signal.cheby2(8, 60, 0.96 * sr / 2, fs=4 * sr, output="sos"), fine).reshape(-1, 4).T


def impulses(delays_s: np.ndarray, gains: np.ndarray, n: int, sr: int) -> np.ndarray:
    """Return clicks [shape=(n,)] of gains [shape=(clicks,)] at delays in s, placed within a quarter of a sample.

    The filter that keeps them below the Nyquist frequency is causal: nothing sounds before its time. Its response is
    laid where clicks are: run over the silence between them, it would decay into denormal numbers, which cost a
    processor forty times as much.
    """
    fine = np.minimum((delays_s * 4 * sr).astype(int), 4 * n - 1)
    start, click = -(-fine // 4), _click(sr)
    y = np.zeros(n + click.shape[1] + 1)
    np.add.at(y, start[:, None] + np.arange(click.shape[1]), gains[:, None] * click[4 * start - fine])
    return y[:n]


def noise(rng: Generator, n: int, sr: int, *, slope_db: float = 0.0, band: tuple[float, float]) -> np.ndarray:
    """Return noise of RMS 1 [shape=(n,), dtype=float32]: `slope_db` an octave inside a soft `band` in Hz."""
    size = fft.next_fast_len(max(n, 64), real=True)
    f = np.maximum(fft.rfftfreq(size, 1 / sr), 1.0).astype(np.float32)
    low, high = band
    gain = (f / 1000) ** (slope_db / 6.02) / np.sqrt((1 + (low / f) ** 4) * (1 + (f / high) ** 4))
    z = rng.standard_normal((2, len(f)), dtype=np.float32)
    return unit_rms(fft.irfft((z[0] + 1j * z[1]) * gain, size)[:n]).astype(np.float32)


def drift(rng: Generator, n: int, sr: int, *, rate_hz: float, depth: float) -> np.ndarray:
    """Return a slow random curve [shape=(n,)] of standard deviation `depth`, new values at `rate_hz`."""
    x = np.arange(n) * (rate_hz / sr) + rng.uniform()
    return depth * np.interp(x, np.arange(int(x[-1]) + 3), rng.standard_normal(int(x[-1]) + 3))


def swell(rng: Generator, n: int, sr: int, *, rate_hz: float, depth_db: float) -> np.ndarray:
    """Return a slow random gain [shape=(n,)], `depth_db` deep (one standard deviation)."""
    return db(drift(rng, n, sr, rate_hz=rate_hz, depth=depth_db))


def envelope(n: int, sr: int, *, attack_s: float, decay_s: float) -> np.ndarray:
    """Return a linear attack and an exponential decay (time constant `decay_s`) [shape=(n,)]."""
    t = np.arange(n) / sr
    return np.minimum(1.0, t / max(attack_s, 0.5 / sr)) * np.exp(-np.maximum(0.0, t - attack_s) / decay_s)


def burst(rng: Generator, sr: int, *, attack_s: float, decay_s: float, band: tuple[float, float], slope_db=-3.0):
    """Return a noise burst [shape=(n,)] of peak 1 in a soft `band` in Hz, 7 time constants long."""
    n = int(sr * (attack_s + 7 * decay_s)) + 16
    return unit_peak(
        noise(rng, n, sr, slope_db=slope_db, band=band) * envelope(n, sr, attack_s=attack_s, decay_s=decay_s)
    )


def modes(rng: Generator, sr: int, *, low_hz: float, count: int, spread: float, decay_s: float) -> np.ndarray:
    """Return a struck body [shape=(n,)], peak 1: `count` damped sines from `low_hz` up over `spread` octaves."""
    f = low_hz * 2 ** np.sort(np.r_[0.0, rng.uniform(0, spread, count - 1)])
    f = f[f < 0.47 * sr]
    decay = decay_s * (f / low_hz) ** -rng.uniform(0.2, 1.0) * rng.uniform(0.5, 1.0, len(f))
    t = np.arange(int(5 * decay_s * sr) + 32) / sr
    y = np.sin(2 * np.pi * f[:, None] * t + rng.uniform(0, 0.5, (len(f), 1))) * np.exp(-t / decay[:, None])
    return unit_peak(rng.uniform(0.2, 1.0, len(f)) @ y)


def tone(f_hz: np.ndarray, sr: int, gains: np.ndarray) -> np.ndarray:
    """Return a harmonic tone [shape=(n,)] along a frequency curve in Hz; partials above 0.45 sr are left out."""
    phase = 2 * np.pi * np.cumsum(f_hz) / sr
    y = np.zeros(len(f_hz))
    for k, gain in enumerate(gains, 1):
        if k * float(np.max(f_hz)) > 0.45 * sr:
            break
        y += gain * np.sin(k * phase)
    return y


def voice(rng: Generator, n: int, sr: int, *, f0_hz: float, glide: float, breath: float, tract: float) -> np.ndarray:
    """Return a voiced sound [shape=(n,)], peak 1: pulses of gliding pitch through formants.

    `glide` is in octaves, `breath` the share of noise; `tract` scales the formants (1 a man, 2 a small dog).
    """
    x = np.linspace(0, 1, n)
    curve = glide * (rng.uniform(-1, 1) * x + rng.uniform(0, 1) * np.sin(np.pi * x))
    phase = np.cumsum(f0_hz * 2 ** (curve + drift(rng, n, sr, rate_hz=20, depth=0.01))) / sr
    y = np.diff(np.floor(phase), prepend=0.0) + breath * 0.3 * rng.standard_normal(n)
    formants = tract * np.array([rng.uniform(280, 850), rng.uniform(850, 2200), rng.uniform(2300, 3300)])
    wet = np.zeros(n)
    for i, f in enumerate(np.minimum(formants, 0.45 * sr)):
        r = np.exp(-np.pi * f * rng.uniform(0.06, 0.18) / sr)
        wet += signal.lfilter([1 - r], [1, -2 * r * np.cos(2 * np.pi * f / sr), r * r], y) * db(-6 * i)
    return unit_peak(wet)


def minimum_phase(gain_db: np.ndarray) -> np.ndarray:
    """Return the causal FIR [shape=(2 * (bins - 1),)] with gains in dB [shape=(bins,)] from 0 Hz to Nyquist.

    The real cepstrum is folded (Oppenheim and Schafer, Discrete-Time Signal Processing, 13.5): nothing sounds
    before its time, so that an onset stays where it is.
    """
    size = 2 * (len(gain_db) - 1)
    cepstrum = fft.irfft(np.log(10) / 20 * np.maximum(gain_db, -200.0), size)
    cepstrum[1 : size // 2] *= 2
    cepstrum[size // 2 + 1 :] = 0
    return fft.irfft(np.exp(fft.rfft(cepstrum)), size)
