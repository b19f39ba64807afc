"""Gunshots as they leave the gun: muzzle blast, ballistic shock wave, firing patterns."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy import signal

from gunshot.simulate.signals import add, burst, db, log_uniform, uniform

SPEED_OF_SOUND = 343.0  # m/s
PRESSURE = 101_325.0  # Pa
OVERSAMPLING = 6  # a shock rises within a fraction of a 16 kHz sample


@dataclass(frozen=True)
class Weapon:
    """The ranges that one class of weapon draws from; peak pressure is at 1 m, off the muzzle's axis."""

    peak_pa: tuple[float, float]
    positive_ms: tuple[float, float]  # the blast's positive phase
    mach: tuple[float, float]  # the bullet's
    calibre_mm: tuple[float, float]
    length_mm: tuple[float, float]
    rounds_per_min: tuple[float, float]  # cyclic where automatic, otherwise of a double tap
    automatic: bool


WEAPONS = {
    "pistol": Weapon((600, 3000), (0.25, 0.8), (0.75, 1.15), (5.6, 11.5), (9, 17), (180, 400), False),
    "revolver": Weapon((800, 4500), (0.3, 1.0), (0.7, 1.3), (5.6, 11.5), (9, 19), (120, 250), False),
    "rifle": Weapon((1500, 8000), (0.4, 1.4), (1.8, 2.9), (5.6, 8.6), (18, 40), (60, 150), False),
    "assault_rifle": Weapon((1200, 6500), (0.35, 1.1), (1.9, 2.8), (5.4, 7.9), (18, 32), (600, 950), True),
    "machine_gun": Weapon((1500, 8000), (0.4, 1.5), (2.0, 2.7), (5.5, 12.7), (18, 60), (450, 1200), True),
    "shotgun": Weapon((1200, 6000), (0.6, 2.0), (0.95, 1.3), (17, 18.6), (17, 30), (60, 240), False),
    "submachine_gun": Weapon((600, 2800), (0.25, 0.8), (0.75, 1.25), (5.7, 11.5), (9, 20), (500, 1200), True),
}


@dataclass(frozen=True)
class Shot:
    """One gun at one place: two dry waves at `OVERSAMPLING` x sr, in Pa at 1 m; `lead_s` None where subsonic."""

    blast: np.ndarray
    shock: np.ndarray
    lead_s: float | None


def friedlander(t: np.ndarray, *, peak: float, positive_s: float, decay: float) -> np.ndarray:
    """Return the pressure of a blast at times `t` [shape=(n,)] in s after its arrival (Friedlander 1946)."""
    x = np.maximum(t, 0.0) / positive_s
    return np.where(t >= 0, peak * (1 - x) * np.exp(-decay * x), 0.0)


def n_wave(t: np.ndarray, *, peak: float, duration_s: float) -> np.ndarray:
    """Return an N-wave at times `t` [shape=(n,)] in s after its arrival."""
    return np.where((t >= 0) & (t <= duration_s), peak * (1 - 2 * t / duration_s), 0.0)


def whitham(mach: float, miss_m: float, calibre_m: float, length_m: float) -> tuple[float, float]:
    """Return peak in Pa and duration in s of a bullet's N-wave `miss_m` from its path (Whitham 1952)."""
    m = mach**2 - 1
    peak = 0.53 * PRESSURE * m**0.125 * calibre_m / (miss_m**0.75 * length_m**0.25)
    duration = 1.82 * mach * miss_m**0.25 * calibre_m / (SPEED_OF_SOUND * m**0.375 * length_m**0.25)
    return peak, duration


def shock_lead(mach: float, angle: float, distance_m: float) -> float | None:
    """Return by how many s the shock wave precedes the blast, or None outside the Mach cone.

    `angle` (rad) lies between line of fire and microphone. With sin(mu) = 1 / mach the shock takes
    ``distance * sin(angle + mu) / c`` and leaves the path in front of the muzzle while ``angle < pi/2 - mu``
    (Maher 2007, Acoustical characterization of gunshots).
    """
    if mach <= 1:
        return None
    mu = np.arcsin(1 / mach)
    if not 0 <= angle < np.pi / 2 - mu:
        return None
    return float(distance_m / SPEED_OF_SOUND * (1 - np.sin(angle + mu)))


def shot(rng: Generator, weapon: Weapon, distance_m: float, sr: int) -> Shot:
    """Return a drawn gun, fired at a drawn angle, as heard at `distance_m`."""
    rate = sr * OVERSAMPLING
    t = np.arange(int(0.1 * rate)) / rate
    angle = uniform(rng, (0, np.pi))
    suppressed = rng.random() < 0.08
    peak = log_uniform(rng, weapon.peak_pa) * db(-5 * (1 - np.cos(angle))) * db(-25 * suppressed)
    positive_s = 1e-3 * log_uniform(rng, weapon.positive_ms) * (1 + 0.1 * np.log1p(distance_m / 10))
    blast = friedlander(t, peak=peak, positive_s=positive_s, decay=uniform(rng, (0.5, 2.2)))
    # The powder gas goes on roaring behind the wave's front.
    jet = burst(rng, rate, attack_s=positive_s, decay_s=log_uniform(rng, (0.002, 0.03)), slope_db=uniform(rng, (-5, 0)),
                band=(log_uniform(rng, (40, 400)), 12_000))  # fmt: skip
    add(blast, jet, 0, peak * float(db(uniform(rng, (-22, 0)) + 10 * suppressed)))
    mach = uniform(rng, weapon.mach)
    lead, shock = shock_lead(mach, angle, distance_m), np.zeros_like(t)
    if lead is not None:
        miss_m = max(0.5, distance_m * np.sin(angle))
        calibre, length = (1e-3 * uniform(rng, b) for b in (weapon.calibre_mm, weapon.length_mm))
        peak, duration = whitham(mach, miss_m, calibre, length)
        # Whitham's peak is at the microphone; the scene spreads what it is given from 1 m.
        shock = n_wave(t, peak=peak * distance_m, duration_s=duration)
    return Shot(blast, shock, lead)


def firing(rng: Generator, weapon: Weapon, duration_s: float) -> np.ndarray:
    """Return the times of fire in s [shape=(shots,)] of a drawn pattern inside `duration_s`."""
    first = duration_s * uniform(rng, (0.08, 0.5))
    gap = 60 / uniform(rng, weapon.rounds_per_min)
    patterns = ["single", "double", "series"] + ["burst", "auto"] * weapon.automatic
    shares = [0.35, 0.2, 0.45] if not weapon.automatic else [0.25, 0.1, 0.15, 0.25, 0.25]
    match rng.choice(patterns, p=shares):
        case "single":
            count = 1
        case "double":
            count, gap = 2, max(gap, 60 / 400)
        case "series":
            count, gap = rng.integers(2, 7), max(gap, 60 / 400) * uniform(rng, (1, 4))
        case "burst":
            count = rng.integers(3, 6)
        case _:
            count = rng.integers(6, 30)
    # A gun's own cycle is steady to a few percent; a finger on the trigger is not.
    jitter = 0.02 if count > 2 and weapon.automatic else 0.15
    gaps = gap * np.clip(1 + jitter * rng.standard_normal(count - 1), 0.6, 1.4)
    times = first + np.r_[0.0, np.cumsum(gaps)]
    return times[times < max(duration_s - 0.3, first + 1e-9)]


def train(wave: np.ndarray, arrivals_s: np.ndarray, gains: np.ndarray, n: int, sr: int) -> np.ndarray:
    """Return `n` samples at `sr` with an oversampled wave at each arrival, placed within a fraction of a sample."""
    sos = signal.cheby2(10, 60, 0.96 * sr / 2, fs=sr * OVERSAMPLING, output="sos")
    y, decimated = np.zeros(n, np.float32), {}
    for arrival_s, gain in zip(arrivals_s, gains, strict=True):
        start = int(arrival_s * sr)
        late = int((arrival_s * sr - start) * OVERSAMPLING)
        if late not in decimated:
            decimated[late] = signal.sosfilt(sos, np.r_[np.zeros(late), wave])[::OVERSAMPLING]
        add(y, decimated[late], min(n, start), gain)
    return y
