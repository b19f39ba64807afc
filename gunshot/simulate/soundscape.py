"""Places where detectors hang: the scenes they may be, what goes on sounding there and how loud."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from gunshot.simulate.beds import BEDS
from gunshot.simulate.microphone import PASCAL
from gunshot.simulate.physics import Air
from gunshot.simulate.scenes import SCENES
from gunshot.simulate.signals import db, uniform, unit_rms


def weather(rng: Generator) -> Air:
    """Return the air of a drawn day."""
    return Air(uniform(rng, (-10, 38)), uniform(rng, (15, 98)))


@dataclass(frozen=True)
class Place:
    """A place: keys of SCENES, keys of BEDS, and the level of what sounds, dB SPL (RMS)."""

    scenes: tuple[str, ...]
    beds: tuple[str, ...]
    level_db: tuple[float, float]

    def reaches(self, distance_m: float) -> list[str]:
        """Return those of its scenes in which a source may be that far."""
        return [scene for scene in self.scenes if SCENES[scene].reach_m >= distance_m]

    def draw(self, rng: Generator) -> list[str]:
        """Return drawn keys of BEDS: one that sounds there, and up to two others below it."""
        return [str(name) for name in rng.permutation((*self.beds, "texture"))[: rng.integers(1, 4)]]

    def bed(
        self, rng: Generator, n: int, sr: int, names: list[str] | None = None, level_db: float | None = None
    ) -> np.ndarray:
        """Return its background [shape=(n,)] in Pa, of beds that `draw` gave, or else draws, at a level in dB SPL."""
        first, *others = names or self.draw(rng)
        y = unit_rms(BEDS[first](rng, n, sr))
        for name in others:
            y = y + db(uniform(rng, (-25, 0))) * unit_rms(BEDS[name](rng, n, sr))
        return PASCAL * db(uniform(rng, self.level_db) if level_db is None else level_db) * unit_rms(y)


PLACES = {
    "busy_street": Place(("street",), ("pulsing", "traffic", "engine", "babble", "siren", "music"), (60, 85)),
    "calm_street": Place(("street",), ("traffic", "birds", "wind", "quiet", "rain", "hum"), (35, 60)),
    "square": Place(("square", "courtyard"), ("babble", "traffic", "water", "music", "birds"), (45, 75)),
    "park": Place(("field", "forest"), ("pulsing", "birds", "wind", "water", "babble", "traffic", "insects"), (35, 65)),
    "forest": Place(("forest",), ("birds", "wind", "rain", "insects", "quiet", "water"), (25, 60)),
    "meadow": Place(("field",), ("wind", "insects", "birds", "rain", "fire", "quiet"), (25, 65)),
    "schoolyard": Place(("courtyard", "square"), ("babble", "birds", "traffic"), (45, 80)),
    "school_hallway": Place(("hallway",), ("babble", "hum", "quiet"), (30, 80)),
    "office": Place(("office",), ("pulsing", "hum", "babble", "quiet", "music"), (30, 65)),
    "home": Place(("home",), ("pulsing", "music", "hum", "water", "babble", "quiet", "fire"), (25, 75)),
    "mall": Place(("mall",), ("babble", "music", "hum", "water"), (50, 78)),
    "cafe": Place(("office", "home"), ("babble", "music", "hum", "water"), (50, 78)),
    "bus_station": Place(("street", "square", "garage"), ("pulsing", "engine", "traffic", "babble"), (55, 85)),
    "subway": Place(("subway",), ("pulsing", "engine", "babble", "hum", "grinding"), (50, 95)),
    "garage": Place(("garage",), ("pulsing", "hum", "engine", "quiet", "traffic"), (35, 80)),
    "harbour": Place(("field", "square"), ("pulsing", "water", "engine", "wind", "birds"), (40, 75)),
    "building_site": Place(("street", "courtyard", "field"), ("pulsing", "grinding", "engine", "siren"), (60, 95)),
    "sport_arena": Place(("arena",), ("babble", "music", "hum"), (55, 100)),
    "concert_arena": Place(("arena",), ("music", "babble"), (70, 110)),
    "shooting_range": Place(("range", "field"), ("quiet", "hum", "wind", "birds"), (25, 60)),
}
