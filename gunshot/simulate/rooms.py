"""Rooms by their image sources (pyroomacoustics), and the diffuse field that follows them."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from gunshot.simulate.physics import Air, absorption_db
from gunshot.simulate.signals import impulses, log_uniform, minimum_phase, noise, uniform

ORDER = 5  # of the image sources; what bounces more often is diffuse
LONGEST_S = 1.2
SPLIT_HZ = 2000.0  # the diffuse field decays in two bands
MARGIN_M = 0.4  # between a source or a microphone and a wall

HARD = ("Massive constructions and hard surfaces",)
LIGHT = ("Lightweight constructions and linings", "Glazing", "Wood")
SOFT = ("Ceiling absorbers", "Floor coverings", "Curtains", "Wall absorbers")


@dataclass(frozen=True)
class Room:
    """A kind of room: the ranges of its sides in m, and the materials (categories of pyroomacoustics) of its parts."""

    kind: str
    length_m: tuple[float, float]
    width_m: tuple[float, float]
    height_m: tuple[float, float]
    floor: tuple[str, ...]
    walls: tuple[str, ...]
    ceiling: tuple[str, ...]
    furnished: tuple[float, float] = (1.0, 2.0)  # what furniture and people multiply the absorption by

    @property
    def reach_m(self) -> float:
        """How far a source may be from the microphone."""
        return self.length_m[1] - 3 * MARGIN_M

    def response(self, rng: Generator, distance_m: float, sr: int, air: Air) -> np.ndarray:
        """Return the impulse response [shape=(n,)] relative to the direct sound, which is its first sample."""
        box, source, microphone = self._build(rng, distance_m, sr)
        rt60_s, diffuse = self._field(rng, box, distance_m, air)
        n = int(sr * min(LONGEST_S, 0.1 + 0.9 * rt60_s.max()))
        y = self._images(rng, box, source, microphone, n, sr, air.speed)
        mean_free_path_m = 4 * box.volume / sum(wall.area() for wall in box.walls)
        return y + _diffuse(rng, rt60_s, diffuse, (ORDER - 1) * mean_free_path_m / air.speed, n, sr)

    def _build(self, rng: Generator, distance_m: float, sr: int):
        """Return a drawn room, and places [shape=(3,)] of a source and a microphone that far apart in it."""
        import pyroomacoustics as pra  # a second to import: only where it is used
        from pyroomacoustics.parameters import materials_data

        least = distance_m + 3 * MARGIN_M
        length = max(log_uniform(rng, self.length_m), min(least * uniform(rng, (1.0, 1.5)), self.length_m[1]), least)
        size = np.array([length, log_uniform(rng, self.width_m), log_uniform(rng, self.height_m)])
        parts = {"floor": self.floor, "ceiling": self.ceiling} | dict.fromkeys(
            ("east", "west", "north", "south"), self.walls
        )
        known = materials_data["absorption"]
        drawn = {
            part: pra.Material(str(rng.choice(sorted(known[str(rng.choice(categories))]))))
            for part, categories in parts.items()
        }
        box = pra.ShoeBox(size, fs=sr, materials=drawn, max_order=ORDER, air_absorption=False)
        return box, *_places(rng, size, distance_m)

    def _field(self, rng: Generator, box, distance_m: float, air: Air) -> tuple[np.ndarray, np.ndarray]:
        """Return reverberation times in s and the diffuse field's energy over the direct sound's, both [shape=(2,)].

        Eyring's equation; a diffuse field of 16 pi r^2 / R, where R is the room constant (Kuttruff, Room Acoustics, 5).
        """
        area = np.array([wall.area() for wall in box.walls])
        bands = np.stack([np.ravel(wall.absorption) for wall in box.walls])  # [walls, octave bands from 125 Hz]
        share = np.minimum(uniform(rng, self.furnished) * (area @ bands) / area.sum(), 0.95)
        share = np.array([share[: len(share) // 2 + 1].mean(), share[len(share) // 2 + 1 :].mean()])
        air_m = absorption_db(np.array([700.0, 4500.0]), 1.0, air) / 4.343
        absorbed = -area.sum() * np.log1p(-share) + 4 * air_m * box.volume
        return 0.161 * box.volume / absorbed, 16 * np.pi * distance_m**2 / (area.sum() * share / (1 - share))

    @staticmethod
    def _images(rng: Generator, box, source, microphone, n: int, sr: int, speed: float) -> np.ndarray:
        """Return direct sound and image sources [shape=(n,)]: one filter for all that bounced equally often."""
        box.add_source(source)
        box.add_microphone(microphone)
        box.image_source_model()
        sound = box.sources[0]
        way_m = np.linalg.norm(sound.images - microphone[:, None], axis=0)
        direct_m, order = way_m.min(), sound.orders
        # No wall is quite plane: without this the images of a box would sweep.
        way_m = np.where(order > 0, np.maximum(way_m + rng.normal(0, 0.05, len(way_m)) * order, direct_m + 0.02), way_m)
        delays, gains = (way_m - direct_m) / speed, direct_m / way_m
        y = impulses(np.zeros(1), np.ones(1), n, sr)
        f, bins = np.linspace(0, sr / 2, 257), np.log2(np.maximum(np.linspace(0, sr / 2, 257), 20))
        centres = np.log2(125.0 * 2 ** np.arange(len(sound.damping)))
        for k in range(1, ORDER + 1):
            curve = np.interp(bins, centres, 20 * np.log10(np.maximum(sound.damping[:, order == k].mean(axis=1), 1e-4)))
            flat = np.mean(sound.damping[:, order == k], axis=0)
            gain = gains[order == k] * flat / max(flat.mean(), 1e-9)
            echoes = impulses(delays[order == k], gain, n, sr)
            y += np.convolve(echoes, minimum_phase(curve)[:256])[:n] if len(f) else echoes
        return y


def _places(rng: Generator, size: np.ndarray, distance_m: float) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.full(3, MARGIN_M), size - MARGIN_M
    source = low + rng.random((256, 3)) * (high - low)
    way = rng.standard_normal((256, 3)) * np.minimum(1.0, size / size[0]) + 1e-9
    microphone = source + distance_m * way / np.linalg.norm(way, axis=1, keepdims=True)
    inside = np.flatnonzero(((microphone >= low) & (microphone <= high)).all(axis=1))
    if len(inside):
        return source[inside[0]], microphone[inside[0]]
    source = np.array([MARGIN_M, size[1] / 2, min(1.4, size[2] / 2)])  # along the axis it always fits
    return source, source + np.array([distance_m, 0.0, 0.0])


def _diffuse(rng: Generator, rt60_s: np.ndarray, energy: np.ndarray, mixed_s: float, n: int, sr: int) -> np.ndarray:
    """Return noise that decays [shape=(n,)], its energy as for a direct sound of 1; it fades in until `mixed_s`."""
    t, y = np.arange(n) / sr, np.zeros(n)
    for band, rt60, e in zip(((60, SPLIT_HZ), (SPLIT_HZ, 9000)), rt60_s, energy, strict=True):
        share = (min(band[1], sr / 2) - band[0]) / (sr / 2)
        gain = np.sqrt(min(e, 1e4) * share * 13.8 / (rt60 * sr))
        y += gain * noise(rng, n, sr, band=band) * 10 ** (-3 * t / rt60)
    return y * np.minimum(1.0, t / max(mixed_s, 1e-4))


ROOMS = (
    Room("office", (3, 14), (2.5, 9), (2.4, 3.4), (*SOFT[1:2], *HARD), (*HARD, *LIGHT), (*SOFT[:1], *HARD), (1.0, 3.0)),
    Room("hallway", (10, 90), (1.8, 5), (2.5, 4.5), (*HARD, *SOFT[1:2]), (*HARD, *LIGHT), (*SOFT[:1], *HARD)),
    Room("mall", (30, 180), (12, 50), (4, 18), HARD, (*HARD, *LIGHT), (*HARD, *SOFT[:1]), (1.0, 3.0)),
    Room("subway", (60, 200), (8, 24), (3, 8), HARD, HARD, (*HARD, *SOFT[:1])),
    Room("arena", (40, 160), (30, 110), (10, 35), (*HARD, *LIGHT[2:]), (*HARD, *LIGHT), (*HARD, *SOFT[:1]), (1.0, 5.0)),
    Room("garage", (15, 120), (8, 60), (2.2, 3.5), HARD, HARD, HARD),
    Room("range", (8, 60), (3, 20), (2.4, 5), HARD, (*HARD, *SOFT[3:]), (*HARD, *SOFT[:1]), (1.0, 2.0)),
    Room("home", (2.5, 9), (2.2, 7), (2.2, 3.5), (*SOFT[1:2], *LIGHT[2:]), (*HARD, *LIGHT), HARD, (1.5, 4.0)),
)
