"""Hard negatives: the kinds of short sound that a careless detector takes for a shot, and how often each comes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from gunshot.simulate import sounds
from gunshot.simulate.microphone import PASCAL
from gunshot.simulate.signals import add, db, first_s, log_uniform, uniform, unit_peak


@dataclass(frozen=True)
class Event:
    """One kind: how one sounds, how often it comes, and whether it sounds at the microphone itself."""

    make: Callable[[Generator, int], np.ndarray]
    level_db: tuple[float, float]  # of its peak at 1 m, dB SPL
    gap_s: tuple[float, float]
    count: tuple[int, int]
    jitter: float = 0.5  # of the gap, as a share
    contact: bool = False


ANY = "any_short_sound"
EVENTS: dict[str, Event] = {
    "firework": Event(sounds.firework, (140, 170), (0.3, 1.5), (1, 8)),
    "firework_battery": Event(sounds.firework, (130, 160), (0.05, 0.4), (6, 30)),
    "banger": Event(sounds.banger, (125, 158), (0.08, 1.5), (1, 12)),
    "thunder": Event(sounds.thunder, (130, 165), (1, 3), (1, 3)),
    "explosion": Event(sounds.explosion, (140, 175), (1, 3), (1, 2)),
    "clap": Event(sounds.clap, (95, 125), (0.2, 1.2), (1, 8), 0.1),
    "applause": Event(sounds.clap, (95, 115), (0.003, 0.03), (200, 900), 1.0),
    "balloon_pop": Event(sounds.balloon, (120, 148), (0.5, 2), (1, 3)),
    "bag_pop": Event(sounds.bag, (110, 140), (0.5, 2), (1, 3)),
    "whip_crack": Event(sounds.whip, (115, 145), (0.4, 2), (1, 4)),
    "backfire": Event(sounds.backfire, (115, 145), (0.2, 2), (1, 4)),
    "gun_handling": Event(sounds.handling, (80, 118), (0.25, 1.2), (2, 10)),
    "door_slam": Event(sounds.door, (85, 120), (0.8, 3), (1, 3)),
    "knock": Event(sounds.knock, (75, 108), (0.12, 0.5), (1, 12), 0.2),
    "hammer": Event(sounds.hammer, (95, 132), (0.25, 1), (2, 12), 0.2),
    "nail_gun": Event(sounds.nail_gun, (105, 135), (0.3, 1.5), (1, 8), 0.4),
    "dropped_object": Event(sounds.dropped, (80, 120), (0.7, 2.5), (1, 4)),
    "plank": Event(sounds.plank, (90, 128), (0.7, 2.5), (1, 4)),
    "tray": Event(sounds.tray, (85, 120), (0.7, 2.5), (1, 3)),
    "glass": Event(sounds.glass, (85, 118), (0.8, 3), (1, 3)),
    "basketball": Event(sounds.basketball, (80, 112), (0.3, 0.9), (2, 12), 0.15),
    "drum": Event(sounds.drum, (90, 128), (0.12, 0.8), (1, 16), 0.1),
    "wheels": Event(sounds.wheels, (80, 115), (0.5, 2), (1, 6)),
    "splash": Event(sounds.splash, (75, 110), (0.5, 2), (1, 4)),
    "laugh": Event(sounds.laugh, (70, 108), (1, 3), (1, 3)),
    "footsteps": Event(sounds.footstep, (55, 92), (0.25, 0.7), (4, 20), 0.1),
    "dog_bark": Event(sounds.bark, (90, 122), (0.25, 1.2), (1, 10)),
    "cry": Event(sounds.cry, (85, 118), (0.5, 2), (1, 6)),
    "speech": Event(sounds.speech, (60, 98), (0.12, 0.35), (4, 30)),
    "sneeze": Event(sounds.sneeze, (75, 108), (0.8, 3), (1, 3)),
    "horn": Event(sounds.horn, (85, 122), (0.3, 2), (1, 8)),
    "jackhammer": Event(sounds.jack, (100, 128), (0.03, 0.12), (30, 200), 0.05),
    "tick": Event(sounds.tick, (45, 92), (0.1, 1.0), (4, 50), 0.2),
    ANY: Event(sounds.grain, (60, 125), (0.02, 1.5), (1, 80)),
    "plosive": Event(sounds.plosive, (95, 130), (0.2, 1.2), (1, 8), contact=True),
    "wind_gust": Event(sounds.gust, (90, 125), (0.5, 2), (1, 6), contact=True),
    "mic_bump": Event(sounds.bump, (90, 135), (0.3, 2), (1, 6), contact=True),
    "electric_click": Event(sounds.click, (80, 140), (0.2, 2), (1, 8), contact=True),
}


def distance(rng: Generator, bounds: tuple[float, float]) -> float:
    """Return how far an event is, in m: half are near, since most are; the others as far as shots, `bounds`."""
    low, high = bounds
    return log_uniform(rng, (low / 4, high) if rng.random() < 0.5 else (low / 4, min(20.0, high)))


def bout(rng: Generator, event: Event, n: int, sr: int) -> tuple[np.ndarray, np.ndarray]:
    """Return events of one kind that start within `n` samples and sound to their ends, dry, in Pa [shape=(longer,)],
    and where each starts, in samples.
    """
    count, gap = int(rng.integers(event.count[0], event.count[1] + 1)), log_uniform(rng, event.gap_s)
    gaps = gap * np.maximum(0.05, 1 + event.jitter * rng.uniform(-1, 1, count - 1))
    starts = (sr * first_s(rng, n / sr) + sr * np.r_[0.0, np.cumsum(gaps)]).astype(int)
    starts = starts[starts < 0.95 * n]
    variants = [unit_peak(event.make(rng, sr)) for _ in range(min(len(starts), 4))]
    peak, y = PASCAL * db(uniform(rng, event.level_db)), np.zeros(n + max(map(len, variants)))
    for start in starts:
        add(y, variants[rng.integers(len(variants))], int(start), peak * db(-abs(3 * rng.standard_normal())))
    return y, starts


def schedule(rng: Generator, event: Event, n: int, sr: int) -> tuple[np.ndarray, np.ndarray]:
    """Return events of one kind in `n` samples, dry, in Pa [shape=(n,)], and where each starts, in samples."""
    y, starts = bout(rng, event, n, sr)
    return y[:n], starts
