"""What a device answers to orders: it checks each, cuts the sound, and keeps it in RAM until the hub has it."""

import hashlib
import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gunshot.base.files import shown
from gunshot.device import clock, orders, parts
from gunshot.device.orders import Order, RefusedError
from gunshot.device.parts import End, Part, PartAcknowledgement, Refusal
from gunshot.device.ring import Ring
from gunshot.device.taken import Taken
from gunshot.device.topics import Birth
from gunshot.signing import keys

WINDOW = 8  # parts of an answer that are on their way at once
RESEND_S = 10.0
KEPT_S = 300.0  # for which an answer whose span has ended waits for the hub; then it is forgotten
MOST_ANSWERS = 4  # at once

log = logging.getLogger("gunshot")


@dataclass
class _Answer:
    """The answer to one order, as far as the hub does not have it. `next` is the sample that is cut next."""

    order: str
    session: int
    next: int
    stop: int
    gaps: int  # of the ring, when it was begun
    count: int = 0  # of parts that were cut
    waiting: dict[int, bytes] = field(default_factory=dict)  # by number
    due: dict[int, float] = field(default_factory=dict)  # when one goes out again
    ended: float | None = None  # when all was cut
    hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def cut(self, ring: Ring) -> None:
        """Cut what the ring has come to hold; the last part may be shorter."""
        if self.ended is not None:
            return
        is_broken = ring.gaps != self.gaps or ring.start > self.next
        while not is_broken and self.next < self.stop:
            stop = min(self.next + parts.PART, self.stop, ring.stop if ring.ended else self.stop)
            if stop > ring.stop:
                return  # it is still to be heard
            if stop <= self.next:
                break
            self._add(ring, stop)
        note = "samples are missing after it" if is_broken else "" if self.next == self.stop else "the device ends"
        end = End(order=self.order, number=self.count, sha256=self.hash.hexdigest(), note=note)
        self.waiting[self.count], self.ended = parts.encode(end), time.monotonic()
        log.info("order %s: the sound was cut, %d parts%s", self.order, self.count, note and f"; {note}")

    def _add(self, ring: Ring, stop: int) -> None:
        pcm = ring.cut(self.next, stop)
        content = parts.to_flac(pcm, ring.sr)
        said = Part(
            order=self.order, number=self.count, session=self.session, start=self.next, samples=len(pcm), sr=ring.sr,
            sha256=hashlib.sha256(content).hexdigest(),
        )  # fmt: skip
        self.waiting[self.count] = parts.encode(said, content)
        self.hash.update(pcm.astype("<i2").tobytes())
        self.count, self.next = self.count + 1, stop

    def outgoing(self, now: float, resend_s: float) -> list[bytes]:
        """Return what goes out now."""
        out = [number for number in sorted(self.waiting)[:WINDOW] if now >= self.due.get(number, now)]
        self.due |= dict.fromkeys(out, now + resend_s)
        return [self.waiting[number] for number in out]


class Answers:
    """The answers of a device's session to the orders that it gets.

    Parameters
    ----------
    folder : the device's; the key that orders must be of is in it, and the ids of orders that were taken
    birth : who it is, and its session
    ring : what it heard last; None: it keeps none, and refuses each order
    error_us : how far the clock of this machine may be off, or None
    resend_s : after which a part that is not acknowledged goes out again
    """

    def __init__(
        self, folder: Path, birth: Birth, ring: Ring | None, *, error_us: Callable[[], int | None] = clock.error_us,
        resend_s: float = RESEND_S,
    ):  # fmt: skip
        self._name, self._session, self._ring = birth.name, birth.session, ring
        self._error_us, self._resend_s = error_us, resend_s
        self._key = keys.public(folder / orders.KEY) if (folder / orders.KEY).exists() else None
        self._taken = Taken(folder)
        self._answers: dict[str, _Answer] = {}
        self._refusals: list[bytes] = []

    def __len__(self) -> int:
        """Return how many answers the hub does not have in full."""
        return len(self._answers)

    def take(self, payload: bytes) -> None:
        """Begin to answer an order, or refuse it. One that is being answered is passed over: it was sent twice."""
        id = orders.claimed(payload)
        if id in self._answers:
            return
        try:
            order = self._verified(payload)
            start, stop = self._span(order)
            self._remember(order)
        except RefusedError as e:
            log.warning("order %s is refused: %s", id, e)
            if id:
                self._refusals.append(parts.encode(Refusal(order=id, reason=str(e))))
            return
        self._answers[order.id] = _Answer(order.id, self._session, start, stop, self._ring.gaps)
        asked = shown(f"{(stop - start) / self._ring.sr:.1f} s of sound for {order.person}: {order.reason}")
        log.info("order %s is taken: %s", order.id, asked)

    def acknowledged(self, payload: bytes) -> None:
        """Forget a part that the hub has."""
        try:
            said = PartAcknowledgement.decode(payload)
        except ValueError as e:
            return log.warning("%s", e)
        if answer := self._answers.get(said.order):
            answer.waiting.pop(said.number, None)
        return None

    def pump(self) -> None:
        """Cut what was heard, and forget what the hub has, or did not take in time."""
        late = time.monotonic() - KEPT_S
        for id, answer in list(self._answers.items()):
            answer.cut(self._ring)
            if answer.ended is None or (answer.waiting and answer.ended > late):
                continue
            del self._answers[id]
            if answer.waiting:
                log.warning("order %s: forgotten after %g s; the hub has not all of it", id, KEPT_S)
            else:
                log.info("order %s: the hub has all of it", id)

    def outgoing(self) -> list[bytes]:
        """Return the replies that go out now."""
        out, self._refusals = self._refusals, []
        now = time.monotonic()
        return out + [one for answer in self._answers.values() for one in answer.outgoing(now, self._resend_s)]

    def again(self) -> None:
        """Let all go out again: a broker that was killed may have lost what it had."""
        for answer in self._answers.values():
            answer.due.clear()

    def close(self) -> None:
        """Close its file; the sound is gone."""
        self._taken.close()

    def _verified(self, payload: bytes) -> Order:
        """Return an order of the hub to this device that is good now; RefusedError else."""
        if self._ring is None:
            raise RefusedError("sound", "this device keeps none")
        if self._key is None:
            raise RefusedError("key", f"this device has no {orders.KEY}; copy it from a new `gunshot hub enrol`")
        order = orders.verify(payload, self._key)
        if order.device != self._name:
            raise RefusedError("device", f"it is for {order.device}, and this is {self._name}")
        if order.session is not None and order.session != self._session:
            raise RefusedError("session", f"it asks for samples of session {order.session}, this is {self._session}")
        # Without a clock an order is as old as its samples: those of a session are in the ring for RING_S, and no more.
        if self._error_us() is None:
            if order.session is None:
                raise RefusedError("clock", "this device does not know the time; ask for samples of a session")
            return order
        now_us = time.time_ns() // 1000
        if order.expires_us < now_us:
            raise RefusedError(
                "expired", f"it was good until {order.expires_us / 1e6:.3f}, and it is {now_us / 1e6:.3f}"
            )
        if order.expires_us > now_us + orders.LIFE_S * 1_000_000:
            raise RefusedError("life", f"an order may be good for {orders.LIFE_S} s at most")
        return order

    def _span(self, order: Order) -> tuple[int, int]:
        """Return the samples of an order, the first and the one after the last; RefusedError where they cannot be."""
        ring, span = self._ring, (order.start, order.stop)
        if order.session is None:
            span = ring.sample_at(order.start), ring.sample_at(order.stop)
        start, stop = span
        most = orders.MOST_S * ring.sr
        if stop - start > most + 1:  # a microsecond is rounded
            raise RefusedError("length", f"{(stop - start) / ring.sr:.3f} s must be {orders.MOST_S} s at most")
        if stop <= start:
            raise RefusedError("length", f"stop={order.stop} must be after start={order.start}")
        if not ring.start <= start <= ring.stop + most or (ring.ended and stop > ring.stop):
            held = f"the ring holds {ring.start} to {ring.stop}{', and no more come' if ring.ended else ''}"
            raise RefusedError("span", f"samples {start} to {stop} of session {self._session}; {held}")
        return start, stop

    def _remember(self, order: Order) -> None:
        """Write down that an order is taken; RefusedError where it was before, or there is no room for it."""
        now_us = None if self._error_us() is None else time.time_ns() // 1000
        try:
            self._taken.forget(session=self._session, now_us=now_us)
            if order.id in self._taken:
                raise RefusedError("replayed", "it was taken before")
            if len(self._answers) >= MOST_ANSWERS or self._taken.is_full():
                raise RefusedError("busy", f"{len(self._answers)} orders are being answered; ask again later")
            self._taken.add(order.id, session=order.session, expires_us=order.expires_us)
        except sqlite3.OperationalError as e:  # a full disk must not end a device that listens
            raise RefusedError("disk", f"{e}; an order that cannot be remembered is not followed") from None
