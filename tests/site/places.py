"""Simulated places of some hours with sounds of their own: the same door, drum or machine, again and again."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.random import Generator
from scipy import signal

from gunshot.base import seeds
from gunshot.simulate import events
from gunshot.simulate.channel import impulse_response
from gunshot.simulate.events import EVENTS
from gunshot.simulate.microphone import PASCAL, Device
from gunshot.simulate.scenes import SCENES
from gunshot.simulate.signals import add, db, log_uniform, uniform, unit_peak
from gunshot.simulate.soundscape import PLACES, weather
from gunshot.simulate.streams import nearest_m

SR = 16000
BLOCK_S = 120  # that is rendered at once
BEDS_A_HALF = (
    4  # blocks of background that each half of a place has, rolled by another time in each block: they are slow
)
VARIANTS = 4  # of a place's own sound: it is never twice the same
AN_HOUR = 30  # bouts of it
FOREIGN_AN_HOUR = 6  # of sounds that are not the place's own, of all kinds
SPREAD_DB = 3.0  # of its own sound's level, standard deviation
TRIALS, TRIAL_GAP_S = 12, 3.0


@dataclass(frozen=True, eq=False)
class Place:
    """Where a device hangs, and what sounds there: `waves` at the microphone in Pa, float32 [shape=(n,)] each."""

    name: str
    where: str
    label: str
    scene: str
    device: Device
    level_db: float
    waves: list[np.ndarray]
    seed: int

    @cache  # noqa: B019 - few places, each rendered once
    def bed(self, number: int) -> np.ndarray:
        """Return background `number` in Pa, float32 [shape=(n,)]."""
        rng, place = seeds.generator(self.seed, f"{self.name}/bed/{number}"), PLACES[self.where]
        level_db = self.level_db + uniform(rng, (-3, 3))
        return place.bed(rng, BLOCK_S * SR, SR, place.draw(rng), level_db).astype(np.float32)

    def block(self, index: int, *, half: int = 0, an_hour: float = AN_HOUR, extra: str | None = None) -> np.ndarray:
        """Return block `index` of a half, int16 [shape=(n,)]; always the same.

        Parameters
        ----------
        an_hour : how often its own sound comes
        extra : a key of BEDS that goes on over all else from now on, 12 dB above the place's level: it has changed
        """
        rng, n = seeds.generator(self.seed, f"{self.name}/{index}"), BLOCK_S * SR
        y = np.roll(self.bed(BEDS_A_HALF * half + index % BEDS_A_HALF), rng.integers(n))
        event = EVENTS[self.label]
        for _ in range(rng.poisson(an_hour * BLOCK_S / 3600)):
            at, count = int(rng.integers(n)), int(rng.integers(1, min(4, event.count[1]) + 1))
            gap = log_uniform(rng, (max(event.gap_s[0], 0.1), max(event.gap_s[1], 0.2)))
            for i in range(count):
                wave = self.waves[rng.integers(len(self.waves))] * float(db(SPREAD_DB * rng.standard_normal()))
                if (start := at + int(i * gap * SR)) < n:
                    add(y, wave, start)
        for _ in range(rng.poisson(FOREIGN_AN_HOUR * BLOCK_S / 3600)):
            kind = str(rng.choice(list(EVENTS)))
            if EVENTS[kind].contact or nearest_m(kind) <= SCENES[self.scene].reach_m:
                wave, at = _wave(rng, kind, self.scene), int(rng.integers(n))
                add(y, wave, at)
        if extra:
            y += PASCAL * float(db(self.level_db + 12)) * _unit(extra, rng, n)
        return self.device.record(rng, y, SR)

    def trial(self) -> np.ndarray:
        """Return its own sound, each TRIAL_GAP_S, over what the device adds, int16 [shape=(n,)]."""
        rng, n = seeds.generator(self.seed, f"{self.name}/trial"), int(TRIALS * TRIAL_GAP_S * SR)
        y = np.zeros(n, np.float32)
        for i in range(TRIALS):
            add(
                y,
                self.waves[i % len(self.waves)] * float(db(SPREAD_DB * rng.standard_normal())),
                int(i * TRIAL_GAP_S * SR),
            )
        y += PASCAL * float(db(self.level_db)) * rng.standard_normal(n).astype(np.float32)
        return self.device.record(rng, y, SR)


def _unit(name: str, rng: Generator, n: int) -> np.ndarray:
    from gunshot.simulate.beds import BEDS

    x = BEDS[name](rng, n, SR)
    return (x / np.sqrt(np.mean(x**2))).astype(np.float32)


def _wave(rng: Generator, label: str, scene: str, peak_db: float | None = None, way_m: float | None = None):
    event = EVENTS[label]
    dry = unit_peak(event.make(rng, SR)) * PASCAL * db(uniform(rng, event.level_db) if peak_db is None else peak_db)
    if event.contact:
        return dry.astype(np.float32)
    way_m = max(nearest_m(label), events.distance(rng, (20.0, 200.0))) if way_m is None else way_m
    way_m = min(way_m, SCENES[scene].reach_m)
    return signal.oaconvolve(dry.astype(np.float32), impulse_response(rng, SCENES[scene], way_m, SR, weather(rng)))


def draw(seed: int, index: int) -> Place:
    """Return candidate `index`: kinds of sound take turns in a drawn order, everything else is drawn."""
    rng = seeds.generator(seed, f"places/{index}")
    order = seeds.generator(seed, "kinds").permutation(list(EVENTS))
    label, where = str(order[index % len(order)]), str(rng.choice(list(PLACES)))
    place, event = PLACES[where], EVENTS[label]
    scene = str(rng.choice(place.scenes))
    peak_db = uniform(rng, event.level_db)
    way_m = min(max(nearest_m(label), events.distance(rng, (20.0, 200.0))), SCENES[scene].reach_m)
    waves = [_wave(rng, label, scene, peak_db, way_m) for _ in range(VARIANTS)]
    level_db = uniform(rng, place.level_db)
    return Place(f"{index:02}", where, label, scene, Device.draw(rng, SR), level_db, waves, seed)
