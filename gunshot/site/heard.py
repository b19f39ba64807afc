"""A site's recordings as a detector hears them, at many thresholds at once."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np

from gunshot.base import audio, params
from gunshot.detect import detector, listener, recording
from gunshot.models.model import Model
from gunshot.site import trunk
from gunshot.site.verifier import ASKED, Verifier

BEGAN = re.compile(r"(?<!\d)(\d{4})-?(\d\d)-?(\d\d)[T_ -]?(\d\d)[-:]?(\d\d)[-:]?(\d\d)(?!\d)")  # 20260501_221003
SILENT_S = 10  # a recorder that stopped, not a pause; whole seconds
GROUND = 256  # windows, 14 s, of which one is kept as it is: what a place sounds like under a shot


class Sections(listener.Sections, Protocol):
    """The sections of params.yaml that a site's recordings are heard by."""

    quality: params.Quality
    streams: params.Streams


@dataclass(frozen=True)
class Windows:
    """What a listener had of a recording when it decided, so that it can be decided anew; no sound.

    Attributes
    ----------
    rises : np.ndarray [shape=(frames, GROUPS)], int16, of `detector.rise`
    logits : np.ndarray [shape=(windows,)], int16, in steps
    at : np.ndarray [shape=(n,)], the windows whose logit is `verifier.ASKED` or more; none of a model without a trunk
    vectors : np.ndarray [shape=(n, positions, width)], int8, the trunk's, of those
    ground : np.ndarray [shape=(m, n_mels, n_frames)], int8, the codes of each GROUND-th window that is not among those
    """

    rises: np.ndarray
    logits: np.ndarray
    at: np.ndarray
    vectors: np.ndarray
    ground: np.ndarray


@dataclass(frozen=True)
class Heard:
    """One recording, and what it raises.

    Attributes
    ----------
    name, file, sha256 : as it was given, where it lies, and of its bytes
    began : when it began, UTC, as its name says; None where that says nothing
    samples : at the detector's rate
    alerts : by threshold, when a person is woken, s from the beginning, float64 [shape=(n,)] each
    onsets : of each incident at the operating point, s, float64 [shape=(n,)] each
    warnings : what is amiss with the file, and heard all the same
    silent : from where to where nothing sounds for SILENT_S or longer, s
    windows : what it was decided by
    """

    name: str
    file: Path
    sha256: str
    began: datetime | None
    samples: int
    alerts: list[np.ndarray]
    onsets: list[np.ndarray]
    warnings: tuple[str, ...] = ()
    silent: tuple[tuple[float, float], ...] = ()
    windows: Windows | None = None


class Ear(listener.Listener):
    """A listener at many thresholds, which gives the shots at one of them and keeps the incidents of each.

    `opened` and `ended` have by threshold when incidents did, s; the last one may not have ended. With `keeps` it keeps
    what it decides by, too.
    """

    def __init__(
        self, model: Model, logits: Sequence[float], point: float, p: listener.Sections, *, keeps: bool = False
    ):
        self._trunk, self._keeps = trunk.of_model(model, hop=p.detector.hop) if keeps else None, keeps
        self._parts: list[Windows] = []
        super().__init__(model, logits, p)
        self._point = list(logits).index(point)
        self.opened: list[list[float]] = [[] for _ in logits]
        self.ended: list[list[float]] = [[] for _ in logits]

    def push(self, samples: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Return what `Listener.push` does, of the one threshold alone."""
        return self._keep(*super().push(samples))

    def finish(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Return what `Listener.finish` does, of the one threshold alone."""
        return self._keep(*super().finish())

    def again(self, rises: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Return the shots of the one threshold where these are the rises and logits of a whole recording."""
        every = [one.push(rises, logits) for one in self._detectors]
        self.windows = range(len(logits))
        return self._keep(every, logits)[0][0]

    def kept(self) -> Windows:
        """Return what it decided by; ValueError where it keeps nothing."""
        return Windows(*map(np.concatenate, zip(*(vars(part).values() for part in self._parts), strict=True)))

    def _decide(self, rises: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        every, logits = super()._decide(rises)
        if self._keeps:
            asked = self.windows.start + np.flatnonzero(logits >= ASKED)
            rest = [w for w in self.windows if w % GROUND == 0 and logits[w - self.windows.start] < ASKED]
            at = asked if self._trunk else asked[:0]
            vectors = self._trunk.vectors(self._codes(at)) if self._trunk else np.zeros((0, 1, 1), np.int8)
            self._parts.append(Windows(rises.astype(np.int16), logits, at, vectors, self._codes(rest)))
        return every, logits

    def _codes(self, windows: Sequence[int]) -> np.ndarray:
        """Return the codes of windows of the last push, int8 [shape=(n, n_mels, n_frames)]."""
        none = np.zeros((0, *self.model.window), np.int8)
        return np.stack([self.codes(w).T for w in windows]) if len(windows) else none

    def _keep(self, every: list[np.ndarray], logits: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        for opened, ended, shots, closed in zip(self.opened, self.ended, every, self.closed(), strict=True):
            numbers, first = np.unique(shots[:, detector.WHICH], return_index=True)
            new = first[numbers > len(opened)]  # incidents count from 1, and each has an onset where it opens
            opened += self.times(shots)[0][new].tolist()
            ended += [self.ends(window) / self.p.audio.sr for window in closed]
        return [every[self._point]], logits


def hear(
    name: str, file: Path, model: Model, logits: Sequence[float], point: float, p: Sections,
    *, progress: Callable[[float], object] = lambda _: None,
) -> Heard:  # fmt: skip
    """Return a recording as `gunshot detect` hears it.

    An incident that goes on wakes a person again each `streams.stream_s`: on the streams that the operating point was
    chosen on, it would count once in each of them. One sound all day is no quiet day.

    Parameters
    ----------
    logits : at which incidents open
    point : the one of them whose onsets are kept
    progress : called with the seconds that were heard since

    Raises
    ------
    gunshot.base.audio.AudioError
        As for `recording.listen`, or it is silent or all clipped, by the section quality: a dead microphone proves
        nothing.
    """
    ear, notes, sr = Ear(model, logits, point, p, keeps=True), audio.Notes(), p.audio.sr
    onset_s, incident, samples, levels = [np.zeros(0)], [np.zeros(0, np.int64)], 0, Levels(sr)
    for part in recording.listen(file, ear, notes):
        onset_s.append(part.onset_s)
        incident.append(part.incident)
        samples += len(part.samples)
        levels.push(part.samples)
        progress(len(part.samples) / sr)
    if faults := notes.faults(silence_db=p.quality.silence_db, max_clipped=p.quality.max_clipped):
        raise audio.AudioError(file, *faults[0])
    times, which = np.concatenate(onset_s), np.concatenate(incident)
    with file.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    return Heard(
        name, file, sha256, began(name), samples, _alerts(ear, samples, p),
        [times[which == number] for number in np.unique(which)],
        tuple(notes.warnings), levels.silent(p.quality.silence_db), ear.kept(),
    )  # fmt: skip


def decided(heard: Heard, by: Verifier, model: Model, logits: Sequence[float], point: float, p: Sections) -> Heard:
    """Return what a recording raises where a site verifier is asked too; the rest as `hear` has it.

    Parameters
    ----------
    heard : of the same model, thresholds and sections, with its windows
    """
    kept, ear = heard.windows, Ear(model, logits, point, p)
    shots = ear.again(kept.rises, by.decide(kept.logits, kept.at, kept.vectors))
    times, which = ear.times(shots)[0], shots[:, detector.WHICH]
    onsets = [times[which == number] for number in np.unique(which)]
    return replace(heard, alerts=_alerts(ear, heard.samples, p), onsets=onsets)


def _alerts(ear: Ear, samples: int, p: Sections) -> list[np.ndarray]:
    """Return when a person is woken by threshold, of a listener that has heard all of a recording."""
    every, duration_s = zip(ear.opened, ear.ended, strict=True), samples / p.audio.sr
    return [woken(opened, ended, duration_s, again_s=p.streams.stream_s) for opened, ended in every]


class Levels:
    """How loud each second of a recording is, without its offset."""

    def __init__(self, sr: int):
        self._sr, self._rest, self._levels = sr, np.zeros(0, np.float32), [np.zeros(0)]

    def push(self, samples: np.ndarray) -> None:
        """Take in what follows, float32 [shape=(n,)]."""
        samples = np.concatenate([self._rest, samples])
        seconds = len(samples) // self._sr
        whole, self._rest = samples[: seconds * self._sr], samples[seconds * self._sr :]
        self._levels.append(np.ptp(whole.reshape(seconds, self._sr), axis=1) / 2)

    def silent(self, silence_db: float) -> tuple[tuple[float, float], ...]:
        """Return from where to where SILENT_S or more whole seconds are below a level, dBFS; s."""
        quiet = np.concatenate(self._levels) < 10 ** (silence_db / 20)
        edges = np.flatnonzero(np.diff(np.r_[False, quiet, False])).reshape(-1, 2)
        return tuple((float(a), float(b)) for a, b in edges.tolist() if b - a >= SILENT_S)


def woken(opened: list[float], ended: list[float], duration_s: float, *, again_s: float) -> np.ndarray:
    """Return when incidents wake a person, s [shape=(n,)]: as each opens, and each `again_s` that it goes on.

    Parameters
    ----------
    ended : of each but perhaps the last, which then goes on to the end

    Examples
    --------
    >>> woken([1.0, 10.0], [2.0], 300.0, again_s=120.0).tolist()
    [1.0, 10.0, 130.0, 250.0]
    """
    stops = [*ended, *[duration_s] * (len(opened) - len(ended))]
    counts = [1 + max(0, int((stop - start) / again_s)) for start, stop in zip(opened, stops, strict=True)]
    times = [start + again_s * np.arange(n) for start, n in zip(opened, counts, strict=True)]
    return np.concatenate(times) if times else np.zeros(0)


def began(name: str) -> datetime | None:
    """Return when a recording began, UTC, as its file's name has it; None where it does not.

    Examples
    --------
    >>> print(began("yard/S4A03895_20190522_100000.flac"), began("yard/1.wav"))
    2019-05-22 10:00:00+00:00 None
    """
    if match := BEGAN.search(Path(name).stem):
        try:
            return datetime(*map(int, match.groups()), tzinfo=UTC)
        except ValueError:  # digits that are no date
            return None
    return None
