"""Where hours that are said to hold no shot seem to hold some."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from gunshot.site.decisions import AROUND_S
from gunshot.site.heard import Heard
from gunshot.site.hours import Hours, Span

BURST, SLOWEST_S = 3, 60 / 430  # shots that follow each other as steady fire does: as many, as close
ALPHA = 0.001  # for all stretches of a site together


@dataclass(frozen=True)
class Suspect:
    """Spans of recordings that may hold shots, and why."""

    spans: list[Span]
    why: str


def bursts(recordings: Sequence[Heard], known: Sequence[Span], *, sr: int) -> list[Suspect]:
    """Return the incidents at the operating point that sound like automatic fire, a minute around them.

    Parameters
    ----------
    known : spans in which a person said that there was no shot
    """
    return [
        Suspect([Span(i, max(0.0, onsets[0] - AROUND_S), min(heard.samples / sr, onsets[-1] + AROUND_S))],
                f"{heard.name} at {clock(onsets[0])}: {len(onsets)} onsets in {onsets[-1] - onsets[0]:.1f} s, as "
                "automatic fire has them")
        for i, heard in enumerate(recordings)
        for onsets in heard.onsets
        if is_burst(onsets) and not any(s.recording == i and s.start_s <= onsets[0] < s.stop_s for s in known)
    ]  # fmt: skip


def is_burst(onsets: np.ndarray) -> bool:
    """Return whether BURST onsets or more, s [shape=(n,)], follow each other within SLOWEST_S.

    Examples
    --------
    >>> is_burst(np.array([1.0, 1.1, 1.2])), is_burst(np.array([1.0, 1.1, 1.5]))
    (True, False)
    """
    if len(onsets) < BURST:
        return False
    close = np.diff(onsets) <= SLOWEST_S
    return bool(np.convolve(close, np.ones(BURST - 1, int), "valid").max() == BURST - 1)


def crowded(hours: Hours, count: np.ndarray, recordings: Sequence[Heard]) -> list[Suspect]:
    """Return the stretches with far more incidents than the rest of the site gives: by chance once in 1,000 sites.

    The test is exact: given all incidents, those of a stretch are binomial where the rate is one everywhere.

    Parameters
    ----------
    count : np.ndarray [shape=(stretches,)], incidents at the operating point that no person dismissed
    """
    edges, stretches, total = hours.edges(), len(count), int(count.sum())
    out = []
    for i, n in enumerate(count.tolist()):
        if n and binomtest(n, total, 1 / stretches, alternative="greater").pvalue < ALPHA / stretches:
            spans = hours.back(edges[i], edges[i + 1])
            first, last = (f"{recordings[s.recording].name} {clock(t)}"
                           for s, t in ((spans[0], spans[0].start_s), (spans[-1], spans[-1].stop_s)))  # fmt: skip
            rest = (total - n) / (stretches - 1)
            why = f"{first} to {last}: {n} incidents, elsewhere {rest:.1f} in as long"
            out.append(Suspect(spans, why))
    return out


def clock(s: float) -> str:
    """Return a time in a recording as hours, minutes and seconds.

    Examples
    --------
    >>> clock(3725.6)
    '1:02:05'
    """
    return f"{int(s // 3600)}:{int(s // 60 % 60):02}:{int(s % 60):02}"
