"""The answer to an order for sound: its samples, cut into parts as they are heard, but where people speak."""

import hashlib
import logging
import time
from collections.abc import Callable

import numpy as np

from gunshot.device import parts, speech
from gunshot.device.orders import RefusedError
from gunshot.device.outgoing import Outgoing
from gunshot.device.parts import End, Part
from gunshot.device.ring import Ring
from gunshot.device.speech import Speech

LOOK = 2 * speech.SR  # samples that are looked through at once, so that the device goes on hearing meanwhile

log = logging.getLogger("gunshot")


class Answer(Outgoing):
    """The answer to one order, as far as the hub does not have it. It keeps samples of its own: the ring goes on.

    It is refused where people speak in what had been heard when it was asked for: then nothing is sent.

    Parameters
    ----------
    order : its id
    session, start, stop : the samples that it asks for
    ring : what the device heard last; the same at each `cut`
    gate : looks for speech from a sample on, at a rate; None: speech may leave the device
    """

    def __init__(
        self, order: str, session: int, start: int, stop: int, ring: Ring, gate: Callable[[int, int], Speech] | None
    ):
        super().__init__((stop - start) / ring.sr)
        self._order, self._session, self._next, self._stop = order, session, start, stop
        first = max(ring.start, start - speech.LEAD) if gate else start
        self._speech = gate(first, ring.sr) if gate else None
        self._past = min(stop, ring.stop)  # what was heard when it was asked for: all of it leaves, or nothing
        self._first = self._held = first  # what it holds: from the one sample to before the other
        self._last = stop + (speech.AFTER if gate else 0)  # that it wants to hold
        self._pcm = np.zeros(max(0, self._last - first), np.int16)
        self._gaps, self._no_more = ring.gaps, ""
        self._count = 0  # of parts that were cut
        self._hash = hashlib.sha256()

    def cut(self, ring: Ring) -> None:
        """Cut what the ring has come to hold; the last part may be shorter."""
        if self.ended is not None or self.refused:
            return
        self._hold(ring)
        self._look()
        if self._speech and not self._count and self._next < self._past:
            if self._speech.between(self._next, self._past):
                self.refused = RefusedError("speech", "people speak in it, and this device's folder forbids that")
            if self.refused or not self._is_looked_through(self._past):
                return  # all of it is looked through before any of it leaves
        while self._next < self._stop:
            stop = min(self._next + parts.PART, self._stop, self._held if self._no_more else self._stop)
            if stop <= self._next and self._no_more:
                break
            if stop > self._held or not self._is_looked_through(stop):
                return  # it is still to be heard
            self._add(stop, ring.sr)
        note = "" if self._next == self._stop else self._no_more
        end = End(order=self._order, number=self._count, sha256=self._hash.hexdigest(), note=note)
        self.waiting[self._count], self.ended = parts.encode(end), time.monotonic()
        log.info("order %s: the sound was cut, %d parts%s", self._order, self._count, note and f"; {note}")

    def _hold(self, ring: Ring) -> None:
        """Copy what the ring has that this does not, and note why no more will come."""
        if self._no_more:
            return
        if ring.gaps != self._gaps or ring.start > self._held:
            self._no_more = "samples are missing after it"
            return
        stop = min(ring.stop, self._last)
        if stop > self._held:
            self._pcm[self._held - self._first : stop - self._first] = ring.cut(self._held, stop)
            self._held = stop
        if ring.ended:
            self._no_more = "the device ends"

    def _look(self) -> None:
        """Look through what is held and was not yet: whole chunks, until no more come."""
        if not self._speech:
            return
        n = min(LOOK, self._held - self._speech.heard)
        is_last = self._speech.heard + n == self._held and (self._no_more or self._held == self._last)
        n -= 0 if is_last else n % speech.CHUNK
        self._speech.hear(self._own(self._speech.heard, self._speech.heard + n))

    def _is_looked_through(self, stop: int) -> bool:
        """Return whether all is known of what is said until PAD after a sample."""
        wanted = min(stop + speech.AFTER, self._held if self._no_more else self._last)
        return self._speech is None or self._speech.heard >= wanted

    def _own(self, start: int, stop: int) -> np.ndarray:
        return self._pcm[start - self._first : stop - self._first]

    def _add(self, stop: int, sr: int) -> None:
        withheld = bool(self._speech and self._speech.between(self._next, stop))
        pcm = self._own(self._next, stop)
        pcm = np.zeros_like(pcm) if withheld else pcm
        content = parts.to_flac(pcm, sr)
        said = Part(
            order=self._order, number=self._count, session=self._session, start=self._next, samples=len(pcm), sr=sr,
            sha256=hashlib.sha256(content).hexdigest(), withheld=withheld,
        )  # fmt: skip
        self.waiting[self._count] = parts.encode(said, content)
        self._hash.update(pcm.astype("<i2").tobytes())
        self._count, self._next = self._count + 1, stop
