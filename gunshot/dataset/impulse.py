"""Whether a shot is heard where a tag says so: energy that rises there."""

import numpy as np

from gunshot.base import audio
from gunshot.tags import Tag

POWER_FLOOR = 1e-10
# In ms: what energy is averaged over, what lies before it, and how far a tag may be off.
ATTACK, BEFORE, LEAST_BEFORE, SLACK = 4, 25, 5, 10


def rise_db(pcm: np.ndarray, at: np.ndarray, *, sr: int) -> np.ndarray:
    """Return the steepest rise of energy near samples `at` [shape=(k,)] of int16 rows [shape=(k, n) or (1, n)], in dB.

    A rise is the energy of 4 ms over that of the up to 25 ms before them; the steepest within 10 ms of `at` counts.
    NaN where less than 5 ms lie before or 4 ms behind: of a recording cut at its shot only the decay could be judged.
    """
    ms = sr // 1000
    n = pcm.shape[-1] // ms
    energy = np.square(pcm[:, : n * ms].astype(np.float32) / audio.FULL_SCALE).reshape(len(pcm), n, ms).mean(axis=-1)
    total = np.pad(np.cumsum(energy, axis=1, dtype=np.float64), ((0, 0), (1, 0)))
    start = at[:, None] // ms + np.arange(-SLACK, SLACK + 1)
    usable = (start >= LEAST_BEFORE) & (start + ATTACK <= n)
    start = np.where(usable, start, 0)
    end, before = np.where(usable, start + ATTACK, 0), np.maximum(start - BEFORE, 0)
    row = np.arange(len(pcm))[:, None]
    attack = (total[row, end] - total[row, start]) / ATTACK
    past = (total[row, start] - total[row, before]) / np.maximum(start - before, 1)
    rise = np.where(usable, 10 * np.log10((attack.clip(0) + POWER_FLOOR) / (past.clip(0) + POWER_FLOOR)), -np.inf)
    steepest = rise.max(axis=1)
    return np.where(np.isfinite(steepest) & (at // ms >= LEAST_BEFORE), steepest, np.nan)


def clear(
    name: str, placed: list[Tag], pcm: np.ndarray, *, sr: int, min_rise_db: float
) -> tuple[list[Tag], list[dict]]:
    """Return a recording's tags but for automatic ones where energy hardly rises, and those as rows of tables.REJECTED.

    A person's tags are all kept, and so is one at which no rise can be measured.

    Parameters
    ----------
    pcm : np.ndarray [shape=(n,)], int16
    min_rise_db : as in params.yaml, validation.min_gun_rise_db
    """
    rises = rise_db(pcm[None], np.array([tag.start for tag in placed], np.int64), sr=sr)
    faint = [
        (tag, rise)
        for tag, rise in zip(placed, rises.tolist(), strict=True)
        if tag.confidence is not None and rise < min_rise_db
    ]
    rule = f"an automatic tag must rise by validation.min_gun_rise_db={min_rise_db:g} dB, or be confirmed by a person"
    rows = [{"file": name, "value": f"tag {tag.start}: {rise:.1f} dB", "rule": rule} for tag, rise in faint]
    left_out = {tag for tag, _ in faint}
    return [tag for tag in placed if tag not in left_out], rows
