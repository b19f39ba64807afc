"""A site's recordings end to end, without what is left out, on one axis."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gunshot.site.heard import Heard

LEAST = 5  # stretches, however short a site is
HOUR_S = 3600.0
CLOCK_S = 2.0  # names tell whole seconds, and a recorder's rate is not exact


@dataclass(frozen=True)
class Span:
    """From where to where in a recording, s; `recording` is its place in the list of them."""

    recording: int
    start_s: float
    stop_s: float


@dataclass(frozen=True)
class Hours:
    """What is left of recordings, as `spans` in order, and by threshold when a person is woken there.

    `alerts` are s from the beginning of the axis, float64 [shape=(n,)] each, sorted.
    """

    spans: list[Span]
    alerts: list[np.ndarray]

    @property
    def duration_s(self) -> float:
        """Return how long the axis is."""
        return sum(span.stop_s - span.start_s for span in self.spans)

    def edges(self) -> np.ndarray:
        """Return where stretches begin and end, s [shape=(stretches + 1,)]: of equal length, an hour at most.

        There are LEAST at least, so that a short site can be chosen on one part and measured on another as well.
        """
        count = max(LEAST, int(np.ceil(self.duration_s / HOUR_S - 1e-9)))
        return np.linspace(0, self.duration_s, count + 1)

    def counts(self) -> np.ndarray:
        """Return how often a person is woken, int64 [shape=(stretches, thresholds)]."""
        edges = self.edges()
        inner = [np.searchsorted(edges[1:-1], times, side="right") for times in self.alerts]
        return np.stack([np.bincount(place, minlength=len(edges) - 1) for place in inner], axis=1)

    def back(self, start_s: float, stop_s: float) -> list[Span]:
        """Return the spans of recordings that lie from `start_s` to `stop_s` of the axis."""
        out, at = [], 0.0
        for span in self.spans:
            begin, end = max(start_s - at, 0.0), min(stop_s - at, span.stop_s - span.start_s)
            if begin < end:
                out.append(Span(span.recording, span.start_s + begin, span.start_s + end))
            at += span.stop_s - span.start_s
        return out


def check_overlap(recordings: Sequence[Heard], *, sr: int) -> None:
    """Raise ValueError, which names two recordings of one time: an hour that counts as two would prove too much."""
    known = sorted((heard for heard in recordings if heard.began), key=lambda heard: heard.began)
    for a, b in pairwise(known):
        both_s = a.samples / sr - (b.began - a.began).total_seconds()
        if both_s > CLOCK_S:
            raise ValueError(
                f"{b.name}: begins {both_s:.0f} s before the end of {a.name}, by their names: each time of a site must "
                "be given once; leave one of them out, or name them rightly"
            )


def lay(recordings: Sequence[Heard], left_out: Iterable[Span], *, sr: int) -> Hours:
    """Return recordings end to end, in their order, without the spans that are left out."""
    left_out = list(left_out)
    spans = [
        Span(i, *bounds)
        for i, heard in enumerate(recordings)
        for bounds in _kept(heard.samples / sr, [span for span in left_out if span.recording == i])
    ]
    alerts = [[np.zeros(0)] for _ in recordings[0].alerts] if recordings else []
    at = 0.0
    for span in spans:
        for out, times in zip(alerts, recordings[span.recording].alerts, strict=True):
            # What the end of a recording decides may begin past its last sample: it is woken in that recording.
            inside = (times >= span.start_s) & (times < span.stop_s)
            inside |= (times >= span.stop_s) & (span.stop_s >= recordings[span.recording].samples / sr)
            out.append(at + np.minimum(times[inside], span.stop_s) - span.start_s)
        at += span.stop_s - span.start_s
    return Hours(spans, [np.sort(np.concatenate(out)) for out in alerts])


def _kept(duration_s: float, left_out: list[Span]) -> list[tuple[float, float]]:
    """Return what spans leave of a recording, as pairs of a start and a stop."""
    kept, at = [], 0.0
    for span in sorted(left_out, key=lambda span: span.start_s):
        if span.start_s > at:
            kept.append((at, min(span.start_s, duration_s)))
        at = max(at, span.stop_s)
    return [*kept, (at, duration_s)] if at < duration_s else kept
