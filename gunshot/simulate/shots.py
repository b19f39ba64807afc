"""Gunshots as they leave the gun: muzzle blast, ballistic shock wave, the action's clatter, firing patterns."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy import signal

from gunshot.simulate import physics
from gunshot.simulate.signals import add, burst, db, first_s, log_uniform, modes, uniform
from gunshot.simulate.weapons import KINDS, Weapon

OVERSAMPLING = 12  # a shock rises within a fraction of a 16 kHz sample; 192 kHz there


@dataclass(frozen=True)
class Shot:
    """One gun at one place: two dry waves at `OVERSAMPLING` x sr, in Pa at 1 m.

    `shocked` is None where the bullet's shock wave does not pass the microphone. `angle` (rad) lies between the line
    of fire and the microphone.
    """

    blast: np.ndarray
    shock: np.ndarray
    shocked: physics.Shock | None
    angle: float
    suppressed: bool

    @property
    def lead_s(self) -> float:
        """How long the shock wave precedes the blast; 0 without one."""
        return self.shocked.lead_s if self.shocked else 0.0


def directivity_db(angle: float, front_to_rear_db: float) -> float:
    """Return the blast's level at an angle (rad) from the barrel, relative to the side of the gun."""
    return front_to_rear_db / 2 * float(np.cos(angle))


def _action(rng: Generator, rate: int) -> np.ndarray:
    """Return bolt, hammer and case: small metal parts that strike within 100 ms of the shot, peak 1."""
    y = np.zeros(int(0.12 * rate))
    for _ in range(rng.integers(2, 6)):
        part = modes(rng, rate, low_hz=log_uniform(rng, (900, 5000)), count=int(rng.integers(3, 8)),
                     spread=uniform(rng, (0.5, 2)), decay_s=log_uniform(rng, (0.001, 0.008)))  # fmt: skip
        add(y, part, int(rate * uniform(rng, (0.004, 0.09))), log_uniform(rng, (0.2, 1)))
    return y


def shot(
    rng: Generator,
    weapon: Weapon,
    distance_m: float,
    sr: int,
    *,
    air: physics.Air = physics.Air(),  # noqa: B008 - frozen
    angle: float | None = None,
    suppressed: bool | None = None,
) -> Shot:
    """Return a gun as heard at `distance_m`; what is None is drawn, and so is what no table gives."""
    rate, kind = sr * OVERSAMPLING, KINDS[weapon.kind]
    t = np.arange(int(0.1 * rate)) / rate
    angle = uniform(rng, (0, np.pi)) if angle is None else angle
    suppressed = bool(rng.random() < 0.08) if suppressed is None else suppressed
    level_db = directivity_db(angle, uniform(rng, (10, 20))) - suppressed * uniform(rng, (18, 32))
    peak, positive_s = log_uniform(rng, kind.peak_pa) * db(level_db), 1e-3 * log_uniform(rng, kind.positive_ms)
    blast = physics.friedlander(t, peak=peak, positive_s=positive_s, decay=uniform(rng, (0.5, 2.2)))
    # The powder gas goes on roaring behind the wave's front.
    jet = burst(rng, rate, attack_s=positive_s, decay_s=log_uniform(rng, (0.002, 0.06)), slope_db=uniform(rng, (-5, 0)),
                band=(log_uniform(rng, (40, 400)), 12_000))  # fmt: skip
    add(blast, jet, 0, peak * float(db(uniform(rng, (-26, 4)) + 10 * suppressed)))
    add(blast, _action(rng, rate), 0, log_uniform(rng, (1.0, 12.0)))
    shocked = physics.shock(weapon.bullet(uniform(rng, (0.96, 1.04))), angle, distance_m, air)
    wave = np.zeros_like(t)
    if shocked:
        # Whitham's peak is at the microphone; the path spreads what it is given from 1 m.
        wave = physics.n_wave(t, peak=shocked.peak * shocked.path_m, duration_s=shocked.duration_s)
    return Shot(blast, wave, shocked, angle, suppressed)


PATTERNS = ("single", "double", "series", "burst", "auto")


def firing(rng: Generator, weapon: Weapon, duration_s: float) -> tuple[str, np.ndarray]:
    """Return a drawn pattern, one of PATTERNS, and the times of fire in s [shape=(shots,)] inside `duration_s`."""
    first = first_s(rng, duration_s)
    gap = 60 / uniform(rng, weapon.rounds_per_min)
    shares = [0.25, 0.1, 0.15, 0.25, 0.25] if weapon.automatic else [0.35, 0.2, 0.45, 0, 0]
    pattern = str(rng.choice(PATTERNS, p=shares))
    match pattern:
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
    jitter = 0.02 if pattern in ("burst", "auto") else 0.15
    gaps = gap * np.clip(1 + jitter * rng.standard_normal(count - 1), 0.6, 1.4)
    times = first + np.r_[0.0, np.cumsum(gaps)]
    return pattern, times[times < max(duration_s - 0.3, first + 1e-9)]


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
