"""Onsets of one shot, made finer by the sound that devices were asked for: their differences, by GCC-PHAT."""

from collections.abc import Mapping

import numpy as np

from gunshot.hub.delay import SHORTEST, delay

BEFORE_S, AFTER_S = 0.1, 0.3  # around an onset: the sound that is compared
AGREES_S = 0.012  # a delay further than this from that of the onsets, four errors of one, is an echo's
ERROR_S = 0.001  # 1 sigma of a finer onset; 0.6 ms was measured, with a long tail
FEWEST = 3  # devices whose sounds agree


def finer(onset_s: Mapping[str, float], clips: Mapping[str, np.ndarray], *, sr: int) -> dict[str, float]:
    """Return the onsets, s, of those devices whose sounds agree with each other; of none where they are too few.

    The device with which most others agree says how much later the shot came to each of them, and the mean of their
    onsets when.

    Parameters
    ----------
    onset_s : by device, each by its own clock
    clips : by device the sound from BEFORE_S before its onset on [shape=(n,)], int16 at `sr`
    """
    having = [name for name in onset_s if _is_sound(clips.get(name))]
    best: dict[str, float] = {}
    for first in having:
        later = {other: _later(first, other, onset_s, clips, sr) for other in having if other != first}
        best = max(best, {first: 0.0} | {name: s for name, s in later.items() if s is not None}, key=len)
    if len(best) < FEWEST:
        return {}
    first_s = float(np.mean([onset_s[name] - later_s for name, later_s in best.items()]))
    return {name: first_s + later_s for name, later_s in best.items()}


def _is_sound(clip: np.ndarray | None) -> bool:
    return clip is not None and len(clip) >= SHORTEST and bool(np.ptp(clip))


def _later(
    first: str, second: str, onset_s: Mapping[str, float], clips: Mapping[str, np.ndarray], sr: int
) -> float | None:
    """Return how much later a shot came to the second device, s; None where sounds and onsets do not agree."""
    apart_s = onset_s[second] - onset_s[first]
    heard = delay(clips[first], clips[second], first_start_s=0.0, second_start_s=apart_s, sr=sr)
    return heard[0] if heard and abs(heard[0] - apart_s) <= AGREES_S else None
