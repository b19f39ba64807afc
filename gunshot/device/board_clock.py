"""When a board on a serial line heard its samples, by this machine's monotonic clock.

A board has no clock. Again and again it is asked how many samples its microphone has given (firmware/src/update.h has
both messages). It counts them between the question's way out and the answer's way back: so each answer bounds the time
of a sample, as a round trip does in NTP, and what all of them leave is narrower than the shortest trip alone. A board
that answers nothing is timed by its heartbeats, with a delay that is assumed.
"""

import logging
import math
import secrets
import struct
from dataclasses import dataclass

from gunshot.device import sealed

ASK, TIME = 6, 7  # kinds, after those of images
NUMBER, BODY = struct.Struct("<I"), struct.Struct("<IQH")
ASK_S = 2.0  # between two questions
SILENT = 10  # questions without an answer, after which the next heartbeat is waited for
# From a sound at the board's microphone to its heartbeat here, in microseconds, at most: the board's ring, 128 ms; a
# block of DMA and a window, 30 ms; 85 bytes at 115,200 baud, 8 ms; an adapter's and this machine's waits. Assumed.
DELAY_US = 200_000
DRIFT = 1e-4  # of a board's crystal, and this machine's: seconds a second, at most

log = logging.getLogger("gunshot")


@dataclass(frozen=True)
class Given:
    """A board's answer: how many samples its microphone had given it when it was asked, lost ones too."""

    device: int
    session: int
    number: int  # of the question
    samples: int
    block: int  # samples, at most, that the microphone had heard then and not given yet: they come in blocks


def ask(number: int) -> bytes:
    """Return a question as it is sent."""
    return sealed.write(ASK, NUMBER.pack(number))


def decode(data: bytes) -> Given:
    """Return the answer that `data` is; ValueError where it is none, or damaged."""
    return Given(*sealed.read(data, TIME, BODY))


@dataclass(frozen=True)
class Span:
    """Sample 0 was heard from `first_s` to `last_s`, by samples that were heard from `since_s` to `until_s`.

    Samples are counted at the nominal rate. So it holds for those samples, and by DRIFT less the further one is off.
    """

    first_s: float
    last_s: float
    since_s: float
    until_s: float

    def at(self, time_s: float) -> tuple[float, float]:
        """Return the earliest and the latest that sample 0 was heard, for a sample that was heard at some time."""
        drift_s = DRIFT * max(abs(time_s - self.since_s), abs(time_s - self.until_s))
        return self.first_s - drift_s, self.last_s + drift_s


class Samples:
    """When the samples of one start of a board were heard, s of the monotonic clock, `sr` of them a second."""

    def __init__(self, sr: int):
        self._sr = sr
        self._beat: tuple[float, float] | None = None  # when sample 0 was heard, by heartbeats; when the last came
        self._span: Span | None = None  # by answers
        self._number = secrets.randbits(32)  # of the question; an answer to another process's is none
        self._asked_s = -math.inf
        self._unanswered = 0

    def beat(self, sample: int, now_s: float) -> None:
        """Take a heartbeat that came now: `sample` samples were heard, lost ones too.

        It comes a little later: by its way, which varies. The one with the shortest way is believed, for as long as the
        crystals may not have drifted past it.
        """
        first_s = now_s - sample / self._sr
        if self._beat:
            first_s = min(first_s, self._beat[0] + DRIFT * (now_s - self._beat[1]))
        self._beat, self._unanswered = (first_s, now_s), 0

    def outgoing(self, now_s: float) -> bytes:
        """Return a question where one is due; it must be sent at once, at `now_s` or later."""
        if now_s - self._asked_s < ASK_S or self._unanswered >= SILENT:
            return b""
        self._number, self._asked_s = (self._number + 1) % 2**32, now_s
        self._unanswered += 1
        return ask(self._number)

    def hear(self, given: Given, now_s: float) -> None:
        """Take an answer that had come by now; one to another question than the last tells nothing."""
        if given.number != self._number or not self._unanswered:
            return
        self._unanswered = 0
        since_s = self._asked_s - given.block / self._sr * (1 + DRIFT)
        first_s, last_s = since_s - given.samples / self._sr, now_s - given.samples / self._sr
        if self._span:
            before, after = self._span.at(since_s), self._span.at(now_s)
            both = max(first_s, min(before[0], after[0])), min(last_s, max(before[1], after[1]))
            if both[0] <= both[1]:
                first_s, last_s = both
            else:
                log.warning("the board's count of samples contradicts what it was before: it is timed anew")
        self._span = Span(first_s, last_s, since_s, now_s)

    def time(self, sample: int, now_s: float) -> tuple[float, float] | None:
        """Return when a sample was heard, and the error of that, at most; None before heartbeat and answer."""
        if self._span:
            about_s = (self._span.first_s + self._span.last_s) / 2 + sample / self._sr
            first_s, last_s = self._span.at(about_s)
            return about_s, (last_s - first_s) / 2 * (1 + 2 * DRIFT)
        if self._beat:
            return self._beat[0] + sample / self._sr, DELAY_US / 1e6 + DRIFT * (now_s - self._beat[1])
        return None
