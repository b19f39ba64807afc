"""Simulated places in which something new goes on for good: a fan, rain, a concert. When a device's watch says so.

Half hours are dealt from blocks that the real detector has heard, since weeks of sound would take weeks.
"""

from dataclasses import dataclass

import numpy as np

from gunshot.device import change
from gunshot.device.change import PART_S, PARTS, WEEK, Watch
from gunshot.device.ladder import Ear
from gunshot.models.model import Model
from tests.site import places

CHANGES = {"a fan": "hum", "rain": "rain", "a concert": "music"}  # as simulated beds, 12 dB above the place's level
DAYS = 3 * WEEK  # that the place is as it is
RUSH_DB, DAY_DB = 4.0, 2.0  # by how much the time of a day and a day make it louder


@dataclass(frozen=True)
class Sound:
    """What a watch takes of the seconds of blocks: noise in dB and highest logit [shape=(blocks, seconds, 2)] each.

    Attributes
    ----------
    plain : the place as it is
    new : by the names of CHANGES, the same blocks with the change over them
    """

    plain: np.ndarray
    new: dict[str, np.ndarray]


def seconds(pcm: np.ndarray, model: Model, p) -> np.ndarray:
    """Return what a watch takes of each second of int16 samples, float64 [shape=(seconds, 2)]."""
    ear, sr, out = Ear(model, [model.threshold()], p), p.audio.sr, []
    for i in range(0, len(pcm) // sr * sr, sr):
        ear.push(pcm[i : i + sr])
        square = np.square(pcm[i : i + sr].astype(float)).mean()
        out.append((10 * np.log10(max(square, 1e-3)), ear.logits.max(initial=change.NONE)))
    return np.array(out)


def heard(place: places.Place, changes: dict[str, str], blocks: int, model: Model, p, *, block_s: int) -> Sound:
    """Return a place as the detector hears it, `block_s` seconds of each block."""

    def blocks_with(extra: str | None) -> np.ndarray:
        every = [place.block(i, extra=extra)[: block_s * p.audio.sr] for i in range(blocks)]
        return np.stack([seconds(pcm, model, p) for pcm in every])

    return Sound(blocks_with(None), {name: blocks_with(bed) for name, bed in changes.items()})


def _half_hour(sound: Sound, name: str, louder_db: float, since_s: float, rng) -> list[np.ndarray]:
    """Return the seconds of a half hour in which the change goes on from second `since_s` on."""
    blocks, size, _ = sound.plain.shape
    drawn = rng.integers(blocks, size=-(-PART_S // size))
    y = sound.plain[drawn].reshape(-1, 2)[:PART_S].copy()
    y[:, 0] += louder_db
    new = sound.new[name][drawn].reshape(-1, 2)[:PART_S]
    after = slice(round(since_s), PART_S)
    y[after, 0] = 10 * np.log10(10 ** (y[after, 0] / 10) + 10 ** (new[after, 0] / 10))
    y[after, 1] = new[after, 1]
    return y


def told_after_s(sound: Sound, name: str, watch: Watch, rng: np.random.Generator, *, day_s: float) -> float:
    """Return how many seconds after it began a change is told, or inf within a day of it; NaN: something was before.

    Parameters
    ----------
    day_s : the time of the day at which it begins
    """
    begins = DAYS * PARTS * PART_S + day_s
    for part in range((DAYS + 2) * PARTS):
        at = part % PARTS
        if at == 0:
            day_db = DAY_DB * rng.standard_normal()
        louder_db = day_db + RUSH_DB * np.sin(2 * np.pi * (at / PARTS - 0.25))
        since_s = np.clip(begins - part * PART_S, 0, PART_S)
        turned = watch.hear(part, *change.figures(_half_hour(sound, name, louder_db, since_s, rng)))
        after_s = (part + 1) * PART_S - begins
        if turned and after_s > 0:
            return after_s
        if after_s > 86_400:
            return np.inf
        if after_s <= 0 < after_s + PART_S and watch.changed:
            return np.nan
    return np.inf
