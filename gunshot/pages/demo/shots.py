"""Simulated shots for the page of gunshot demo: a few by weapon, distance and place."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gunshot.simulate import corpus

DURATION_S, ANGLE_DEG = 3.0, 60.0


class Drawn(NamedTuple):
    """What is rendered: a key of WEAPONS, how far, a key of SCENES, and the seed of all else."""

    weapon: str
    distance_m: float
    scene: str
    seed: int


# From near to far. They are no sample: of what is drawn so, the detector misses more.
SHOTS = (
    Drawn("Glock 17", 15.0, "street", 0),
    Drawn("Glock 17", 50.0, "field", 0),
    Drawn("AK-47", 50.0, "street", 1),
    Drawn("M4", 100.0, "forest", 0),
    Drawn("AK-47", 150.0, "field", 1),
    Drawn("AK-47", 400.0, "field", 0),
)


class Shot(NamedTuple):
    """A simulated recording: its title, int16 samples [shape=(n,)], and how many shots are heard in it."""

    title: str
    pcm: np.ndarray
    shots: int


def render(*, sr: int) -> Iterator[Shot]:
    """Yield SHOTS at a sample rate; always the same ones."""
    for drawn in SHOTS:
        rules = corpus.Corpus(drawn.seed, (DURATION_S, DURATION_S), (drawn.distance_m, drawn.distance_m), sr)
        fired = corpus.fire(
            np.random.default_rng(drawn.seed), drawn.weapon, drawn.distance_m, rules,
            scene=drawn.scene, angle_deg=ANGLE_DEG,
        )  # fmt: skip
        kind = fired.label.replace("_", " ").capitalize()
        yield Shot(f"{kind}, {drawn.distance_m:g}\u00a0m, {drawn.scene}", fired.pcm, len(fired.starts))
