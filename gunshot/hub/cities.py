"""Simulated cities: devices, a shot, and what the detector of each hears of it. What locations are measured on."""

from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from scipy import signal, spatial

from gunshot.base import seeds
from gunshot.detect import detector, listener
from gunshot.hub.location import SCALE, Arrival, Location, locate
from gunshot.models.model import Model
from gunshot.simulate import shots
from gunshot.simulate.channel import impulse_response
from gunshot.simulate.gunfire import Gunfire
from gunshot.simulate.microphone import Device
from gunshot.simulate.physics import Air
from gunshot.simulate.scenes import SCENES
from gunshot.simulate.signals import add, uniform
from gunshot.simulate.soundscape import PLACES
from gunshot.simulate.weapons import WEAPONS

HALF_M = 500.0  # devices stand in a square of twice this
NEAREST_M = (200.0, 500.0)  # from each device to the one nearest to it
CLOCK_ERROR_S = 0.005
TEMPERATURE_ERROR_C = 5.0  # by which the temperature is off, up or down
LATE_S = (0.005, 0.08)  # by which a blocked path is longer
QUIET = ("calm_street", "park", "meadow", "schoolyard")  # PLACES of a city; all its devices hang in one
FIRST_S, CLIP_S = 2.0, 6.0  # when the shot is fired, and how long each device listens
GOAL_M = 15.0  # an error that is small enough
NAMED_S = 0.03  # a path so much longer should be named
SHORT = ("forest", "courtyard")  # scenes left out: no street, or none that reaches across a city


@dataclass(frozen=True)
class City:
    """Devices [shape=(n, 2)] and a shot [shape=(2,)] in m, the air, and by how much the temperature is misread.

    `late_s` [shape=(n,)] is how much longer each path takes than the straight one, `clock_s` [shape=(n,)] each clock's
    error. The gun fires along `line_of_fire`, rad from east. The `wind` [shape=(2,)] blows east and north, m/s.
    """

    place: np.ndarray
    shot: np.ndarray
    air: Air
    misread_c: float
    late_s: np.ndarray
    clock_s: np.ndarray
    weapon: str
    line_of_fire: float
    wind: np.ndarray

    @property
    def way_m(self) -> np.ndarray:
        """How far each device is from the shot, m [shape=(n,)]."""
        return np.linalg.norm(self.place - self.shot, axis=1)

    @property
    def arrival_s(self) -> np.ndarray:
        """When the blast reaches each device, s after the shot [shape=(n,)]."""
        along = (self.place - self.shot) @ self.wind / self.way_m
        return self.way_m / (self.air.speed + along) + self.late_s

    def angle(self, device: int) -> float:
        """Return the angle between the line of fire and a device, rad."""
        east, north = self.place[device] - self.shot
        return float(abs(np.angle(np.exp(1j * (np.arctan2(north, east) - self.line_of_fire)))))


class Outcome(NamedTuple):
    """A city, what each device heard [shape=(n,)] in s, NaN for nothing, and where the shot was located."""

    city: City
    onset_s: np.ndarray
    location: Location

    @property
    def error_m(self) -> float:
        """How far the place is from the shot, m; infinite where there is none."""
        at = self.location.position_m
        return np.inf if at is None else float(np.hypot(*(at - self.city.shot)))


def draw(rng: Generator, *, devices: int, blocked: int, wind: float = 0.0) -> City:
    """Return a drawn city: the shot lies between its devices, in their convex hull; a `wind` in m/s from anywhere."""
    place, shot = _ground(rng, devices)
    late_s = np.zeros(devices)
    late_s[rng.permutation(devices)[:blocked]] = rng.uniform(*LATE_S, blocked)
    air = Air(uniform(rng, (-5, 30)), uniform(rng, (20, 95)))
    misread_c = float(rng.choice([-1, 1]) * TEMPERATURE_ERROR_C)
    clock_s, weapon = rng.normal(0, CLOCK_ERROR_S, devices), str(rng.choice(list(WEAPONS)))
    line_of_fire, bearing = rng.uniform(-np.pi, np.pi, 2)
    blows = wind * np.array([np.cos(bearing), np.sin(bearing)])
    return City(place, shot, air, misread_c, late_s, clock_s, weapon, float(line_of_fire), blows)


def _ground(rng: Generator, devices: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where devices stand [shape=(devices, 2)], and a shot between them [shape=(2,)], m."""
    while True:
        place, shot = rng.uniform(-HALF_M, HALF_M, (devices, 2)), rng.uniform(-HALF_M, HALF_M, 2)
        apart = np.linalg.norm(place[:, None] - place, axis=2) + np.diag(np.full(devices, np.inf))
        nearest = apart.min(axis=0)
        if nearest.min() < NEAREST_M[0] or nearest.max() > NEAREST_M[1]:
            continue
        if spatial.Delaunay(place).find_simplex(shot) >= 0:
            return place, shot


def placed(city: City, onset_s: np.ndarray) -> Outcome:
    """Return where the shot of onsets [shape=(n,)] in s, NaN where a device heard nothing, is located."""
    arrivals = [
        Arrival(str(i), *city.place[i].tolist(), float(onset_s[i]), CLOCK_ERROR_S)
        for i in np.flatnonzero(np.isfinite(onset_s))
    ]
    read_c = city.air.temperature_c + city.misread_c
    return Outcome(city, onset_s, locate(arrivals, temperature_c=read_c, temperature_error_c=TEMPERATURE_ERROR_C))


def drawn(index: int, *, seed: int, error_s: float, **kind) -> Outcome:
    """Return a city whose onsets have a normal error of `error_s`, besides those of clocks; `kind` as for `draw`."""
    rng = seeds.generator(seed, f"cities/drawn/{index}")
    city = draw(rng, **kind)
    return placed(city, city.arrival_s + city.clock_s + rng.normal(0, error_s, len(city.place)))


def heard(index: int, *, seed: int, model: Model, logit: float, p: listener.Sections, shock: bool, **kind) -> Outcome:
    """Return a city whose devices hear the rendered shot with a detector, at a mean logit; `kind` as for `draw`.

    Of a device that heard several onsets the one counts that rises furthest. Without `shock` no bullet is heard.
    """
    rng = seeds.generator(seed, f"cities/heard/{index}")
    city = draw(rng, **kind)
    place = str(rng.choice(QUIET))
    scene = str(rng.choice([name for name in PLACES[place].scenes if name not in SHORT]))
    gun, hear = int(rng.integers(2**32)), partial(_onset, model=model, logit=logit, p=p)
    onset_s = []
    for i in range(len(city.place)):
        pcm = render(rng, city, i, gun=gun, place=place, scene=scene, sr=p.audio.sr, shock=shock)
        onset_s.append(hear(pcm) - FIRST_S + city.clock_s[i])
    return placed(city, np.array(onset_s))


def render(
    rng: Generator, city: City, device: int, *, gun: int, place: str, scene: str, sr: int, shock: bool
) -> np.ndarray:
    """Return what a device records, int16 [shape=(n,)], of a shot that is fired at FIRST_S; `gun` seeds the gun."""
    way_m, n = float(city.way_m[device]), int(CLIP_S * sr)
    shot = shots.shot(
        np.random.default_rng(gun), WEAPONS[city.weapon], way_m, sr, air=city.air, angle=city.angle(device),
        suppressed=False,
    )  # fmt: skip
    first_s = FIRST_S + city.arrival_s[device] - (shot.lead_s if shock else 0.0)
    fired = Gunfire(city.weapon, way_m, shot if shock else replace(shot, shocked=None), "single",
                    np.array([first_s]), np.ones(1))  # fmt: skip
    y = PLACES[place].bed(rng, n, sr)
    for dry, path_m in fired.paths(n, sr):
        add(y, signal.oaconvolve(dry, impulse_response(rng, SCENES[scene], path_m, sr, city.air))[:n], 0)
    return Device.draw(rng, sr).record(rng, y, sr)


def _onset(pcm: np.ndarray, *, model: Model, logit: float, p: listener.Sections) -> float:
    """Return the onset of a clip that rises furthest, from FIRST_S on, s; NaN where there is none."""
    ear = listener.Listener(model, [logit], p)
    heard_shots = np.concatenate([rows for push in (ear.push(pcm), ear.finish()) for rows in push[0]])
    onset_s, rise = ear.times(heard_shots)[0], heard_shots[:, detector.RISE]
    late_enough = onset_s >= FIRST_S
    return float(onset_s[late_enough][rise[late_enough].argmax()]) if late_enough.any() else np.nan


def summary(outcomes: list[Outcome]) -> dict[str, float | int]:
    """Return how well shots were located; shares are of all cities, a city without a place among them.

    ``inside`` is the share of places whose ellipse holds the shot; ``median_m``, ``error_95_m`` and ``axis_m``, the
    median of the longer half axis, are of places too. ``named`` is the share of paths that are 30 ms late and more
    whose device is left out, ``wrongly`` that of cities where a device with a clear path is.
    """
    places = [each for each in outcomes if not each.location.reason]
    error_m = np.array([each.error_m for each in places])
    late = [
        str(i) in each.location.left_out
        for each in places
        for i in np.flatnonzero((each.city.late_s >= NAMED_S) & np.isfinite(each.onset_s))
    ]
    wrongly = [any(not each.city.late_s[int(name)] for name in each.location.left_out) for each in places]
    content = {
        "within_15_m": sum(each.error_m <= GOAL_M for each in outcomes) / len(outcomes),
        "with_a_place": len(places) / len(outcomes),
        "median_m": np.median(error_m),
        "error_95_m": np.quantile(error_m, 0.95),
        "axis_m": np.median([each.location.ellipse.major_m for each in places]),
        "inside": np.mean([_is_inside(each) for each in places]),
        "named": np.mean(late) if late else 0.0,
        "wrongly": np.sum(wrongly) / len(outcomes),
    }
    return {"cities": len(outcomes)} | {key: round(float(value), 3) for key, value in content.items()}


def _is_inside(outcome: Outcome) -> bool:
    gap = outcome.location.position_m - outcome.city.shot
    return bool(gap @ np.linalg.solve(outcome.location.covariance, gap) <= SCALE**2)
