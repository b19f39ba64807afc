"""What a device answers to orders: it checks each, cuts sound or video, and keeps it in RAM until the hub has it."""

import logging
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from gunshot.base.files import shown
from gunshot.device import clock, orders, parts
from gunshot.device.answer import Answer
from gunshot.device.orders import Kind, Order, RefusedError
from gunshot.device.outgoing import Outgoing
from gunshot.device.parts import PartAcknowledgement, Refusal
from gunshot.device.ring import RING_S, Ring
from gunshot.device.speech import Speech
from gunshot.device.taken import Taken
from gunshot.device.topics import Birth
from gunshot.device.video import Video
from gunshot.signing import keys

RESEND_S = 10.0
KEPT_S = 300.0  # for which an answer whose span has ended waits for the hub; then it is forgotten
MOST_ANSWERS = 4  # at once
OVERRULED_S = 600  # after an incident, in which two persons may still have its sound although people speak in it

log = logging.getLogger("gunshot")


class Answers:
    """The answers of a device's session to the orders that it gets.

    Parameters
    ----------
    folder : the device's; the key that orders must be of is in it, and the ids of orders that were taken
    birth : who it is, and its session
    ring : what it heard last; None: it keeps none, and refuses each order for sound
    gate : looks for speech, as `speech.gate` does; None: the folder allows that speech is sent
    incidents : the session's own by number, each with its first onset and the sample that decided its last shot
    camera : the address of its camera, with the password, which goes nowhere else; None: it has none
    error_us : how far the clock of this machine may be off, or None
    resend_s : after which a part that is not acknowledged goes out again
    """

    def __init__(
        self, folder: Path, birth: Birth, ring: Ring | None, *, gate: Callable[[int, int], Speech] | None,
        incidents: Mapping[int, tuple[int, int]] | None = None, camera: str | None = None,
        error_us: Callable[[], int | None] = clock.error_us, resend_s: float = RESEND_S,
    ):  # fmt: skip
        self._name, self._session, self._ring = birth.name, birth.session, ring
        self._gate, self._incidents = gate, {} if incidents is None else incidents
        self._camera, self._error_us, self._resend_s = camera, error_us, resend_s
        self._key = keys.public(folder / orders.KEY) if (folder / orders.KEY).exists() else None
        self._overrulers = orders.overrulers(folder)
        self._taken = Taken(folder)
        self._answers: dict[str, Outgoing] = {}
        self._refusals: list[bytes] = []

    def __len__(self) -> int:
        """Return how many answers the hub does not have in full."""
        return len(self._answers)

    def begin(self, session: int) -> None:
        """Begin another session of the device, in which what is being answered goes on."""
        self._session = session

    def take(self, payload: bytes) -> None:
        """Begin to answer an order, or refuse it. One that is being answered is passed over: it was sent twice."""
        id = orders.claimed(payload)
        if id in self._answers:
            return
        try:
            order = self._verified(payload)
            self._admit(order)
            answer = self._video(order) if order.kind == Kind.video else self._sound(order)
            self._remember(order)
        except RefusedError as e:
            return self._refuse(id, e)
        except Exception as e:  # as for `_cut`
            return self._refuse(id, _failure(e))
        self._answers[order.id] = answer
        asked = shown(f"{answer.seconds:.1f} s of {order.kind} for {order.person}: {order.reason}")
        return log.info("order %s is taken: %s", order.id, asked)

    def _refuse(self, id: str | None, why: RefusedError) -> None:
        log.warning("order %s is refused: %s", id, why)
        if id:
            self._refusals.append(parts.encode(Refusal(order=id, reason=str(why)[: parts.MOST_REASON])))

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
        """Cut what was heard and shown, and forget what the hub has, or did not take in time."""
        late = time.monotonic() - KEPT_S
        for id, answer in list(self._answers.items()):
            why = self._cut(answer)
            if why is None and (answer.ended is None or (answer.waiting and answer.ended > late)):
                continue
            self._answers.pop(id).close()
            if why:
                self._refuse(id, why)
            elif answer.waiting:
                log.warning("order %s: forgotten after %g s; the hub has not all of it", id, KEPT_S)
            else:
                log.info("order %s: the hub has all of it", id)

    def _cut(self, answer: Outgoing) -> RefusedError | None:
        """Cut what came; return why nothing more of it may be sent, or None."""
        try:
            answer.cut(self._ring)
        except RefusedError as e:
            return e
        except Exception as e:  # whatever fails in an answer must not end a device that listens for shots
            return _failure(e)
        return answer.refused

    def outgoing(self) -> list[bytes]:
        """Return the replies that go out now."""
        out, self._refusals = self._refusals, []
        now = time.monotonic()
        return out + [one for answer in self._answers.values() for one in answer.outgoing(now, self._resend_s)]

    def again(self) -> None:
        """Let all go out again: a broker that was killed may have lost what it had."""
        for answer in self._answers.values():
            answer.again()

    def close(self) -> None:
        """Look at no camera longer, and close its file; what the hub does not have is gone."""
        for answer in self._answers.values():
            answer.close()
        self._taken.close()

    def _verified(self, payload: bytes) -> Order:
        """Return an order of the hub to this device that is good now; RefusedError else."""
        if self._key is None:
            raise RefusedError("key", f"this device has no {orders.KEY}; copy it from a new `gunshot hub enrol`")
        order = orders.verify(payload, self._key)
        if order.device != self._name:
            raise RefusedError("device", f"it is for {order.device}, and this is {self._name}")
        if order.kind == Kind.sound and self._ring is None:
            raise RefusedError("sound", "this device keeps none")
        if order.kind == Kind.video and self._camera is None:
            raise RefusedError("camera", "this device has none")
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

    def _video(self, order: Order) -> Video:
        """Return the answer to an order for video; RefusedError where there is none."""
        if any(isinstance(one, Video) for one in self._answers.values()):
            raise RefusedError("busy", "its camera is being watched; ask again later")
        if order.session is not None:
            raise RefusedError("span", "nothing is kept of what a camera showed: ask for a time")
        if not 0 < order.stop - order.start <= orders.MOST_S * 1_000_000:
            why = f"{(order.stop - order.start) / 1e6:.3f} s must be above 0, and {orders.MOST_S} s at most"
            raise RefusedError("length", why)
        now_us = time.time_ns() // 1000
        if order.stop <= now_us or order.start > now_us + orders.MOST_S * 1_000_000:
            when = f"from {order.start / 1e6:.3f} to {order.stop / 1e6:.3f}, and it is {now_us / 1e6:.3f}"
            raise RefusedError("span", f"nothing is kept of what a camera showed, and none waits longer: {when}")
        return Video(order.id, order.start, order.stop, self._camera)

    def _sound(self, order: Order) -> Answer:
        """Return the answer to an order for sound; RefusedError where there is none."""
        start, stop = self._span(order)
        return Answer(order.id, self._session, start, stop, self._ring, self._gate_of(order, start))

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
        # Without a clock an order that is held back would bring what is said then: it begins with what was heard.
        latest = ring.stop if self._error_us() is None else ring.stop + most
        if not ring.start <= start <= latest or (ring.ended and start >= ring.stop):
            held = f"the ring holds {ring.start} to {ring.stop}{', and no more come' if ring.ended else ''}"
            raise RefusedError("span", f"samples {start} to {stop} of session {self._session}; {held}")
        return start, stop

    def _gate_of(self, order: Order, start: int) -> Callable[[int, int], Speech] | None:
        """Return what looks for speech in an order's sound, None where it may be sent; RefusedError as for `overruled`.

        Two persons may have it because of an incident: with keys that the folder has, and that are not the hub's.
        """
        if not order.overruled:
            return self._gate
        names = orders.overruled_by(order, self._overrulers)
        if len(names) < orders.PERSONS:
            known = ", ".join(sorted(self._overrulers)) or "nobody's"
            raise RefusedError("overrule", f"{orders.PERSONS} persons must sign it whose keys this device has: {known}")
        if order.session is None or order.incident not in self._incidents:
            raise RefusedError("overrule", "it must be because of an incident of this session")
        onset, decided = self._incidents[order.incident]
        sr = self._ring.sr
        if not onset - RING_S * sr <= start <= decided + OVERRULED_S * sr:
            raise RefusedError("overrule", f"it must begin {OVERRULED_S} s after incident {order.incident} at most")
        log.warning("order %s: speech is sent, as %s say", order.id, " and ".join(names))
        return None

    def _admit(self, order: Order) -> None:
        """RefusedError where an order was taken before, or there is no room for it."""
        now_us = None if self._error_us() is None else time.time_ns() // 1000
        try:
            self._taken.forget(session=self._session, now_us=now_us)
            if order.id in self._taken:
                raise RefusedError("replayed", "it was taken before")
            if len(self._answers) >= MOST_ANSWERS or self._taken.is_full():
                raise RefusedError("busy", f"{len(self._answers)} orders are being answered; ask again later")
        except sqlite3.OperationalError as e:
            raise RefusedError("disk", str(e)) from None

    def _remember(self, order: Order) -> None:
        """Write down that an order is taken; RefusedError where there is no room for it."""
        try:
            self._taken.add(order.id, session=order.session, expires_us=order.expires_us)
        except sqlite3.OperationalError as e:  # a full disk must not end a device that listens
            raise RefusedError("disk", f"{e}; an order that cannot be remembered is not followed") from None


def _failure(e: Exception) -> RefusedError:
    """Return what is told of an error that nobody foresaw; its traceback goes to the log."""
    log.exception("an answer ends")
    return RefusedError("failure", f"this device failed, and its log says where: {e!r}")
