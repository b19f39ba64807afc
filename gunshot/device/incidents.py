"""A listener's incidents as the messages that a device sends of them; firmware/src/gunshot.c sends the same."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from gunshot.base import params
from gunshot.detect import detector, listener, measures
from gunshot.device.messages import Incident, Near, Opinion, State
from gunshot.device.near import NearMisses
from gunshot.device.second import Second

MOST_SHOTS = 65535  # that a message can state


def model_number(artifact: bytes) -> int:
    """Return the number by which messages name a model: the first 8 bytes of its SHA-256."""
    return int(hashlib.sha256(artifact).hexdigest()[:16], 16)


@dataclass
class _Incident:
    """The incident that is open, as its next message tells it."""

    number: int
    onset: int
    sent_at: int  # sample at which the window ended after which its last message was sent
    state: State = State.OPENED
    shots: int = 0
    decided: int = 0
    score: int = -1
    spl_db: int = -(2**15)
    highest: int = 0  # onset of the highest score
    log_mel: np.ndarray | None = None  # of the highest score, where no message holds it
    onsets: list[int] = field(default_factory=list)  # that no message holds, as far as a device has room


class Incidents:
    """The incident messages of one stream of int16 samples, of a listener's first detector.

    A second one, where there is any, counts near misses.

    The first shot is told at once, further ones when a second has passed since the message before, and the last
    message comes when the incident closes. A message holds the onsets that none before it held, `detector.MOST_ONSETS`
    at most, and the log-mel where the highest score is a new one. Where there is a second opinion, one more message
    tells it, as soon as the verifier has heard enough after the highest shot; one that is higher still has its own.

    Parameters
    ----------
    ear : at its beginning
    device, session : of each message
    sequence : gives the number of each message, heartbeats among them: ``itertools.count()``
    model : its `model_number`
    p : the section firmware of params.yaml
    second : gives opinions; its ring has the same samples
    """

    def __init__(
        self, ear: listener.Listener, *, device: int, session: int, sequence: Iterator[int], model: int,
        p: params.Firmware, second: Second | None = None,
    ):  # fmt: skip
        self.ear, self._sequence, self._second = ear, sequence, second
        self._same = {"device": device, "session": session, "model": model}
        windows = ear.p.detector.windows
        self._by = measures.score_factors(ear.model.report["calibration"], ear.model.step, windows=windows)
        self._offset = measures.spl_offset(p.full_scale_pa)
        self._again = ear.p.audio.sr  # samples from one message of an incident to the next, at least, but for its last
        self._passed = self._begun = self._count = 0  # samples; sample at which the ear began; incidents
        self._open: _Incident | None = None
        self._unjudged: dict[int, _Incident] = {}  # by number: those whose highest shot has no second opinion yet
        self._near = NearMisses(ear) if len(ear.closed()) > 1 else None

    def push(self, samples: np.ndarray) -> list[Incident]:
        """Return the messages of further samples [shape=(n,)], as `Listener.push` takes them, but for opinions."""
        self._passed += len(samples)
        (shots, *lower), _ = self.ear.push(samples)
        closed, *lower_closed = self.ear.closed()
        if self._near:
            self._near.push(shots, *lower, *lower_closed)
        onsets, peaks = self.ear.samples(shots) + self._begun, self.ear.peaks(shots)
        decided, out = shots[:, detector.DECIDED], []
        for window in self.ear.windows:
            for i in range(*np.searchsorted(decided, [window, window + 1])):
                self._take(window, int(shots[i, detector.LOGIT_SUM]), int(onsets[i]), int(peaks[i]))
            out += self._due(self._begun + self.ear.ends(window), closed=window in closed)
        return out

    def opinions(self, *, ended: bool = False) -> list[Incident]:
        """Return a message of each incident whose highest shot the verifier has heard, or all that it will hear.

        That takes it some time: tell first what the others returned.
        """
        out = []
        for number, each in list(self._unjudged.items()):
            if ended or self._passed >= each.highest + self._second.after:
                del self._unjudged[number]
                state = each.state if each is self._open else State.CLOSED
                out.append(self._message(each, state, self._second.opinion(each.highest, self._begun)))
        return out

    def gap(self, lost: int) -> list[Incident]:
        """Return the messages of so many samples that are missing: that the incident closed, if any, and opinions."""
        out = self.end() + self.opinions(ended=True)
        self.ear.gap()
        self._passed += lost
        self._begun = self._passed
        return out

    def end(self) -> list[Incident]:
        """Return the messages of a stream that has ended: none, or that the incident closed."""
        if self._near:
            self._near.end()
        return [self._close()] if self._open else []

    def climb(self, rung: int) -> list[Incident]:
        """Return the messages of going to another rung of a `ladder.Ear`: none, or that the incident closed."""
        out = self.end()
        self.ear.rung = rung
        return out

    @property
    def count(self) -> int:
        """Return how many incidents there were."""
        return self._count

    @property
    def is_open(self) -> bool:
        """Return whether one is open."""
        return self._open is not None

    def near(self) -> tuple[Near | None, np.ndarray | None]:
        """Return near misses and a log-mel for a heartbeat, as `NearMisses.take` does; None where none are counted."""
        return self._near.take(lambda logit_sum: measures.score(logit_sum, *self._by)) if self._near else (None, None)

    def _take(self, window: int, logit_sum: int, onset: int, peak: int) -> None:
        decided = self._begun + self.ear.ends(window)
        if self._open is None:
            self._count += 1
            # As if a message had been sent a second ago, so that the first one goes at once.
            self._open = _Incident(self._count, onset, sent_at=decided - self._again)
        incident, score = self._open, measures.score(logit_sum, *self._by)
        if score > incident.score:
            incident.score, incident.log_mel, incident.highest = score, self.ear.codes(window), onset
            self._unjudged |= {incident.number: incident} if self._second else {}
        incident.spl_db = max(incident.spl_db, measures.spl_tenths(peak * peak, 1, self._offset))
        incident.decided = decided
        incident.shots = min(incident.shots + 1, MOST_SHOTS)
        if len(incident.onsets) < detector.MOST_ONSETS:
            incident.onsets.append(onset)

    def _due(self, now: int, *, closed: bool) -> list[Incident]:
        incident = self._open
        if incident is None:
            return []
        if closed:
            return [self._close()]
        if not incident.onsets or now - incident.sent_at < self._again:
            return []
        incident.sent_at = now
        return [self._message(incident, incident.state)]

    def _close(self) -> Incident:
        message, self._open = self._message(self._open, State.CLOSED), None
        return message

    def _message(self, each: _Incident, state: State, opinion: Opinion | None = None) -> Incident:
        """Return what is not yet told of an incident, which is told then."""
        message = Incident(
            **self._same, sequence=next(self._sequence), incident=each.number, state=state, shots=each.shots,
            onset=each.onset, decided=each.decided, score=each.score, spl_db=each.spl_db, log_mel=each.log_mel,
            onsets=tuple(each.onsets), opinion=opinion,
        )  # fmt: skip
        each.state, each.log_mel, each.onsets = State.UPDATED, None, []
        return message
