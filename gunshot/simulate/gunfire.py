"""A gun that fires at one place: what is drawn of it, where its waves arrive, what a table says of it."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from gunshot.simulate import shots
from gunshot.simulate.physics import Air
from gunshot.simulate.signals import log_uniform
from gunshot.simulate.weapons import KINDS, WEAPONS


def weapon(rng: Generator, turn: int) -> str:
    """Return a key of WEAPONS; the kinds of weapon take turns."""
    kind = list(KINDS)[turn % len(KINDS)]
    return str(rng.choice([name for name, weapon in WEAPONS.items() if weapon.kind == kind]))


def distance(rng: Generator, bounds: tuple[float, float]) -> float:
    """Return how far a gun is, in m: seven of ten within 120 m, where most shots that anyone records are."""
    low, high = bounds
    near = (low, max(low, min(120.0, high)))
    return log_uniform(rng, (low, high) if rng.random() < 0.3 else near)


@dataclass(frozen=True)
class Gunfire:
    """One gun that fires some times: the first arrivals in s, and each shot's gain, both [shape=(shots,)]."""

    weapon: str
    distance_m: float
    shot: shots.Shot
    pattern: str
    arrivals_s: np.ndarray
    gains: np.ndarray

    def paths(self, n: int, sr: int) -> list[tuple[np.ndarray, float]]:
        """Return dry waves in Pa at 1 m [shape=(n,)], and how far each comes in m: the blast, and any shock wave."""
        shot = self.shot
        paths = [(shots.train(shot.blast, self.arrivals_s + shot.lead_s, self.gains, n, sr), self.distance_m)]
        if shot.shocked:
            paths.append((shots.train(shot.shock, self.arrivals_s, self.gains, n, sr), shot.shocked.path_m))
        return paths

    def rows(self, sr: int) -> list[dict]:
        """Return what is known of each shot; places in samples, a shock wave at -1 does not pass the microphone."""
        onsets = (self.arrivals_s * sr).astype(int)
        blasts = ((self.arrivals_s + self.shot.lead_s) * sr).astype(int)
        common = {
            "weapon": self.weapon, "pattern": self.pattern, "suppressed": self.shot.suppressed,
            "distance_m": self.distance_m, "angle_deg": float(np.rad2deg(self.shot.angle)),
        }  # fmt: skip
        return [
            {"onset": int(onset), "shock": int(onset) if self.shot.shocked else -1, "blast": int(blast), **common}
            for onset, blast in zip(onsets, blasts, strict=True)
        ]


def draw(
    rng: Generator, name: str, distance_m: float, sr: int, *, duration_s: float, air: Air, angle=None, shock=True
) -> Gunfire:
    """Return drawn gunfire of a weapon within `duration_s`; `angle` (rad) is drawn where None."""
    shot = shots.shot(rng, WEAPONS[name], distance_m, sr, air=air, angle=angle)
    if not shock:
        shot = replace(shot, shocked=None)
    pattern, arrivals_s = shots.firing(rng, WEAPONS[name], duration_s)
    return Gunfire(name, distance_m, shot, pattern, arrivals_s, 10 ** (rng.normal(0, 0.7, len(arrivals_s)) / 20))
