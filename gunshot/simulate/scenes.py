"""Places by their reflections: what arrives after the direct sound, relative to it."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from gunshot.simulate.physics import Air
from gunshot.simulate.rooms import ROOMS, Room
from gunshot.simulate.signals import db, impulses, log_uniform, noise, uniform

LONGEST_S = 1.2  # of an impulse response


@dataclass(frozen=True)
class Outdoors:
    """A place without a roof. Delays are after the direct sound; `tail_db` is of the diffuse sound at `radius_m`."""

    kind: str
    echoes: tuple[float, float]  # how many discrete reflections
    spread_s: tuple[float, float]  # within which they arrive
    reflectivity: tuple[float, float]
    rt60_s: tuple[float, float]
    tail_db: tuple[float, float]
    build_s: tuple[float, float]  # time that the diffuse sound takes to build up
    radius_m: float  # where direct and diffuse sound meet
    resistivity: tuple[float, float]  # of the ground to flow, kPa s/m^2
    reach_m: float = 1500.0  # how far a source may be
    after_s: tuple[float, float] = (0.0, 0.04)  # the direct sound, until the diffuse sound begins

    def response(self, rng: Generator, distance_m: float, sr: int, air: Air) -> np.ndarray:
        """Return the impulse response [shape=(n,)] relative to the direct sound, which is its first sample."""
        delays, gains = self._echoes(rng, distance_m, air.speed)
        n = int(sr * min(LONGEST_S, 0.05 + max(delays.max(initial=0), 0.75 * self.rt60_s[1])))
        y = impulses(np.r_[0.0, delays], np.r_[1.0, gains], n, sr)
        diffuse_db = uniform(rng, self.tail_db) + 10 * np.log10(distance_m / self.radius_m) * uniform(rng, (0.5, 1.2))
        late = min(int(sr * uniform(rng, self.after_s)), n - 1)
        y[late:] += db(min(diffuse_db, 14.0)) * self._tail(rng, n, sr)[: n - late]
        return y

    def _echoes(self, rng: Generator, distance_m: float, speed: float) -> tuple[np.ndarray, np.ndarray]:
        count = int(rng.integers(self.echoes[0], self.echoes[1] + 1))
        # Echo density grows with time in every scene; the square root puts fewer of them early.
        delays = uniform(rng, self.spread_s) * np.sqrt(rng.random(count)) + 0.0005
        order = 1 + delays / max(self.spread_s[1], 1e-3) * 2
        spreading = distance_m / (distance_m + speed * delays)
        gains = uniform(rng, self.reflectivity) ** order * spreading**0.7
        return delays, gains * rng.uniform(0.3, 1.0, count) * rng.choice([-1, 1, 1], count)

    def _tail(self, rng: Generator, n: int, sr: int) -> np.ndarray:
        """Return diffuse sound of energy 1 [shape=(n,)]: low frequencies decay slower than high ones."""
        t, rt60, split = np.arange(n) / sr, log_uniform(rng, self.rt60_s), log_uniform(rng, (500, 3000))
        y = noise(rng, n, sr, band=(60, split)) * 10 ** (-3 * t / rt60)
        high = noise(rng, n, sr, band=(split, 9000)) * 10 ** (-3 * t / (rt60 * uniform(rng, (0.25, 0.8))))
        y = y + uniform(rng, (0.3, 1.2)) * high
        y *= 1 - np.exp(-t / max(uniform(rng, self.build_s), 1e-4))
        return y / np.sqrt(np.sum(y**2))


OUTDOORS = (
    Outdoors("field", (0, 4), (0.1, 0.9), (0.02, 0.2), (0.5, 3.0), (-45, 0), (0.01, 0.15), 150, (50, 2000),
             after_s=(0.0, 0.3)),  # it comes back from the edge of a wood
    Outdoors("street", (6, 30), (0.04, 0.4), (0.3, 0.85), (0.5, 2.5), (-16, 8), (0.005, 0.05), 30, (5000, 30_000)),
    Outdoors("square", (3, 14), (0.1, 0.7), (0.2, 0.7), (0.6, 2.5), (-20, 4), (0.01, 0.08), 70, (3000, 30_000),
             after_s=(0.0, 0.12)),
    Outdoors("courtyard", (8, 40), (0.03, 0.25), (0.3, 0.9), (0.4, 2.2), (-12, 8), (0.003, 0.03), 15, (500, 30_000),
             reach_m=80),
    Outdoors("forest", (30, 120), (0.08, 0.4), (0.02, 0.2), (0.6, 2.2), (-16, 8), (0.01, 0.1), 40, (10, 300)),
)  # fmt: skip

SCENES: dict[str, Outdoors | Room] = {scene.kind: scene for scene in (*OUTDOORS, *ROOMS)}
