"""Orders for sound and video: signed into the database by whoever asks, sent by the hub that runs; and their answers.

Who signs needs the order's key; `gunshot hub run` does not, and could not ask for any by itself. `reply` and `due`
work in the transaction of their connection, as the intake does: the caller commits, and only then acknowledges or
sends.
"""

import logging
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sql
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gunshot.base.files import shown
from gunshot.device import orders, parts
from gunshot.device.answers import KEPT_S
from gunshot.device.orders import MOST_S, Kind, Order
from gunshot.device.parts import End, Part, PartAcknowledgement, Refusal, VideoPart
from gunshot.device.topics import VIDEO as CAMERA
from gunshot.hub import audit, clips, intake
from gunshot.hub.database import CLIP, DEVICE, INCIDENT, ORDER, PART, SESSION, VIDEO
from gunshot.hub.incidents import EPOCH

SOUND = "sound"  # the folder of clips, in the hub's; and what a device says that it has
# Open: no end yet. Expired: the device did not answer in time; it is open again where an answer comes all the same.
# Cut off: the answer broke off, and what came of it is written.
STATES = OPEN, EXPIRED, REFUSED, CUT_OFF, COMPLETE = "open", "expired", "refused", "cut off", "complete"
GOOD_FOR = timedelta(seconds=60)  # for which a device may begin to answer
RESEND = timedelta(seconds=5)  # without an answer
GIVE_UP = timedelta(seconds=KEPT_S + MOST_S)  # after the last part: by then the device has forgotten the rest
BEFORE_S, AFTER_S = 2.0, 2.0  # of an incident's clip, before its first onset and after its last shot was decided
WITHHELD = "speech"  # the rule; so begins the note of an order of whose sound a device left parts out
MOST_HEAD, MOST_NOTE = 1000, 500  # characters that are kept of what a device says
OF_A_PART = 1000  # bytes, beside its samples or pictures: a part's first line has 240, what FLAC adds to noise is 106
OF_A_PICTURE = 4 * 2**20  # bytes: a device ends a video after the picture with which it passes parts.MOST_VIDEO
MICROSECOND = timedelta(microseconds=1)
BROUGHT = CLIP, VIDEO  # clips

log = logging.getLogger("gunshot")


class Span(NamedTuple):
    """What an order asks for, as `device.orders.Order` has it, and of which incident, or because of which."""

    start: int
    stop: int
    seconds: float
    session: int | None = None
    incident: int | None = None
    by_time: bool = False  # `start` and `stop` are microseconds since 1970, and no samples of the session
    kind: Kind = Kind.sound


def of_time(
    start: datetime, seconds: float, *, session: int | None = None, incident: int | None = None, kind: Kind = Kind.sound
) -> Span:
    """Return the span from a time on, and because of which incident; a device without the time refuses it."""
    start_us = (start - EPOCH) // MICROSECOND
    return Span(start_us, start_us + round(seconds * 1e6), seconds, session, incident, by_time=True, kind=kind)


def of_incident(
    connection: sql.Connection, device: str, session: int, incident: int, *, sr: int, seconds: float | None = None
) -> Span:
    """Return the span of an incident, from BEFORE_S before its first onset on; ValueError where there is none.

    It is `seconds` long, or until AFTER_S after what is known of the incident now.
    """
    key = INCIDENT.c.device == device, INCIDENT.c.session == session, INCIDENT.c.incident == incident
    row = connection.execute(sql.select(INCIDENT.c.onset, INCIDENT.c.decided).where(*key)).first()
    if row is None:
        raise ValueError(f"incident={session}/{incident} must be one of {device}'s: `gunshot hub incidents`")
    start = max(0, row.onset - round(BEFORE_S * sr))
    stop = min(row.decided + round(AFTER_S * sr), start + MOST_S * sr)
    if seconds is not None:
        stop = start + round(seconds * sr)
    return Span(start, stop, (stop - start) / sr, session, incident)


def capabilities(connection: sql.Connection, device: str) -> list[str] | None:
    """Return what a device said at its last birth that it has; None where it said nothing yet."""
    newest = sql.select(SESSION.c.capabilities).where(SESSION.c.device == device).order_by(SESSION.c.session.desc())
    return connection.scalar(newest.limit(1))


def ask(
    connection: sql.Connection, key: Ed25519PrivateKey, device: str, span: Span, *, reason: str, person: str,
    now: datetime, overrulers: Mapping[str, Ed25519PrivateKey] | None = None,
) -> str:  # fmt: skip
    """Sign an order and put it where the hub that runs sends it from; return its id.

    `overrulers` are the keys of persons, by name, who want it although people speak in its sound.

    Raises
    ------
    ValueError
        The device is not enrolled, has no ring, or has not said that it has a camera; the span is too long or none, or
        reason or person are missing; or those who overrule are too few, or it is not the sound of an incident.
    """
    enrolled = sql.select(DEVICE.c.name).where(DEVICE.c.name == device, DEVICE.c.revoked_at.is_(None))
    if connection.scalar(enrolled) is None:
        raise ValueError(f"device={device} must be enrolled: `gunshot hub enrol`")
    has = capabilities(connection, device)
    if span.kind == Kind.video and CAMERA not in (has or []):  # one of before would take it for an order for sound
        raise ValueError(f"device={device} must have a camera; it says that it has {', '.join(has or ['nothing'])}")
    if span.kind == Kind.sound and has is not None and SOUND not in has:
        raise ValueError(f"device={device} must keep sound; it says that it has {', '.join(has)}")
    if not 0 < span.seconds <= MOST_S:
        raise ValueError(f"seconds={span.seconds:g} must be above 0, and {MOST_S} at most")
    for name, text in (("reason", reason), ("person", person)):
        if not 1 <= len(text.strip()) <= 200:
            raise ValueError(f"{name}={text[:20]!r} must say something, in 200 characters at most")
    if overrulers and (len(overrulers) < orders.PERSONS or span.by_time or span.incident is None):
        raise ValueError(f"overrule={', '.join(overrulers)} must be {orders.PERSONS} persons, for an incident's sound")
    expires = now + GOOD_FOR
    order = Order(
        id=uuid.uuid4().hex, kind=span.kind, device=device, session=None if span.by_time else span.session,
        start=span.start, stop=span.stop, reason=reason, person=person, issued_us=(now - EPOCH) // MICROSECOND,
        expires_us=(expires - EPOCH) // MICROSECOND, incident=None if span.by_time else span.incident,
    )  # fmt: skip
    order = orders.overruled(order, overrulers or {})
    values = {
        "id": order.id, "device": device, "session": span.session, "incident": span.incident, "seconds": span.seconds,
        "reason": reason, "person": person, "payload": orders.sign(order, key), "issued_at": now,
        "expires_at": expires, "state": OPEN,
    }  # fmt: skip
    connection.execute(sql.insert(ORDER).values(values))
    audit.enter(connection, "order", order.id, now=now)
    return order.id


def due(connection: sql.Connection, *, now: datetime, sound: Path) -> list[tuple[str, bytes]]:
    """Return the orders to send now, device and payload; end those that no answer comes to any more.

    `sound` is the folder of clips.
    """
    order = ORDER.c
    let_in = order.device.in_(sql.select(DEVICE.c.name).where(DEVICE.c.revoked_at.is_(None)))
    waits = sql.and_(order.state == OPEN, order.answered_at.is_(None))
    connection.execute(
        sql.update(ORDER).where(waits, order.expires_at < now).values(state=EXPIRED, note="no answer came in time")
    )
    late = sql.and_(order.state == OPEN, order.answered_at < now - GIVE_UP)
    for row in connection.execute(sql.select(ORDER).where(late)).all():
        _end(connection, row, CUT_OFF, "no more came", now=now, sound=sound)
    unsent = sql.or_(order.sent_at.is_(None), order.sent_at < now - RESEND)
    rows = connection.execute(sql.select(order.id, order.device, order.payload).where(waits, unsent, let_in)).all()
    connection.execute(sql.update(ORDER).where(order.id.in_([row.id for row in rows])).values(sent_at=now))
    return [(row.device, row.payload) for row in rows]


def reply(
    connection: sql.Connection, device: str, payload: bytes, *, now: datetime, sound: Path
) -> PartAcknowledgement | None:
    """Take in what a device answers, and return what to acknowledge; None: nothing.

    The last part that comes makes the clip, in the folder `sound`.
    """
    try:
        said, content = parts.decode(payload)
        intake.writer(connection, device)
        row = connection.execute(sql.select(ORDER).where(ORDER.c.id == said.order, ORDER.c.device == device)).first()
        if row is None:
            raise ValueError(f"order={said.order} must be one of this hub's to {device}")
        _check(order := read(row.payload), said, content)
        if not isinstance(said, Refusal):
            _check_size(connection, order, said.number, len(payload))
    except ValueError as e:
        head = payload.partition(b"\n")[0][:MOST_HEAD]  # not the sound, for which nobody asked
        intake.refuse(connection, device, "reply", head, str(e), now)
        return None
    is_open = row.state in (OPEN, EXPIRED)
    if isinstance(said, Refusal):
        if is_open:
            _end(connection, row, REFUSED, said.reason, now=now, sound=sound)
        return None
    if is_open:
        _take(connection, row, said, payload, now=now, sound=sound)
    return PartAcknowledgement(order=said.order, number=said.number)


def _check(order: Order, said: Part | VideoPart | End | Refusal, content: bytes) -> None:
    """ValueError where a part is not of what was asked for, or damaged."""
    if isinstance(said, Part | VideoPart) and isinstance(said, VideoPart) != (order.kind == Kind.video):
        raise ValueError(f"part {said.number} must be of {order.kind}, as order={order.id} asks")
    if isinstance(said, Part):
        if said.start + said.samples > orders.MOST:
            raise ValueError(
                f"part {said.number}: start={said.start} must leave {said.samples} samples to {orders.MOST}"
            )
        parts.samples(said, content)


def _check_size(connection: sql.Connection, order: Order, number: int, size: int) -> None:
    """ValueError where an answer is longer, with a part of so many bytes, than any to its order can be."""
    others = PART.c.order == order.id, PART.c.number != number
    lengths = sql.select(sql.func.count(), sql.func.coalesce(sql.func.sum(sql.func.length(PART.c.payload)), 0))
    count, before = connection.execute(lengths.where(*others)).one()
    most = _most_bytes(order) + (count + 1) * OF_A_PART
    if before + size > most:
        raise ValueError(
            f"part {number}: the answer to order={order.id} must be {most} bytes at most, not {before + size}"
        )


def _most_bytes(order: Order) -> int:
    """Return how many bytes of video, or of samples that FLAC makes no smaller, an answer to an order has at most."""
    if order.kind == Kind.video:
        return parts.MOST_VIDEO + OF_A_PICTURE
    span = order.stop - order.start
    samples = span if order.session is not None else -(-span * parts.MOST_SR // 10**6)  # of a span of microseconds
    return 2 * samples


def _take(
    connection: sql.Connection, row: sql.Row, said: Part | VideoPart | End, payload: bytes,
    *, now: datetime, sound: Path,
) -> None:  # fmt: skip
    """Store a part, or that there are no more, and end the order once all is there."""
    here = PART.c.order == row.id
    if connection.scalar(sql.select(PART.c.number).where(here, PART.c.number == said.number)) is None:
        values = {"order": row.id, "number": said.number, "payload": payload, "received_at": now}
        connection.execute(sql.insert(PART).values(values))
    connection.execute(sql.update(ORDER).where(ORDER.c.id == row.id).values(state=OPEN, answered_at=now))
    count, last = connection.execute(sql.select(sql.func.count(), sql.func.max(PART.c.number)).where(here)).one()
    if count == last + 1:
        newest = connection.scalar(sql.select(PART.c.payload).where(here, PART.c.number == last))
        if isinstance(parts.decode(newest)[0], End):
            _end(connection, row, COMPLETE, "", now=now, sound=sound)


def _end(connection: sql.Connection, row: sql.Row, state: str, note: str, *, now: datetime, sound: Path) -> None:
    """Write what came of an answer, where anything did, and end its order."""
    here = PART.c.order == row.id
    payloads = connection.scalars(sql.select(PART.c.payload).where(here).order_by(PART.c.number)).all()
    join = clips.video if read(row.payload).kind == Kind.video else clips.sound
    joined = join(connection, row.id, [parts.decode(payload) for payload in payloads], folder=sound, now=now)
    if state == COMPLETE and (joined.end is None or joined.end.sha256 != joined.sha256):
        state, note = CUT_OFF, "its parts are not those that the device hashed"
    elif state == COMPLETE and joined.end.note:
        state, note = CUT_OFF, joined.end.note
    if joined.withheld_s:
        note = f"{WITHHELD}: {joined.withheld_s:.1f} s are silence{note and '; '}{note}"
    connection.execute(sql.delete(PART).where(here))
    values = {"state": state, "note": shown(note)[:MOST_NOTE] or None, "answered_at": now}
    log.info("order %s to %s: %s %s", row.id, row.device, state, values["note"] or "")
    connection.execute(sql.update(ORDER).where(ORDER.c.id == row.id).values(values))


class Progress(NamedTuple):
    """How far an order is: one of STATES, whether the hub has sent it, and how many parts have come."""

    state: str
    is_sent: bool
    parts: int


def progress(connection: sql.Connection, id: str) -> Progress:
    """Return how far an order is; KeyError where there is none."""
    row = connection.execute(sql.select(ORDER.c.state, ORDER.c.sent_at).where(ORDER.c.id == id)).first()
    if row is None:
        raise KeyError(id)
    count = connection.scalar(sql.select(sql.func.count()).select_from(PART).where(PART.c.order == id))
    return Progress(row.state, row.sent_at is not None, count)


def listing(connection: sql.Connection) -> list[dict]:
    """Return a dict for each order, newest last: when, which device, whose incident, how long, state, note, who, why.

    `kind` is what it asks for. `overruled` are those who wanted it although people speak in its sound.
    `file` is the clip's name in the folder SOUND, None where there is none, or it was deleted.
    """
    order = ORDER.c
    columns = (
        order.id, order.issued_at, order.device, order.session, order.incident, order.seconds, order.state, order.note,
        order.person, order.reason, order.payload,
    )  # fmt: skip
    here = (sql.case((kind.c.deleted_at.is_(None), kind.c.file)) for kind in BROUGHT)
    query = sql.select(*columns, sql.func.coalesce(*here).label("file")).select_from(ORDER)
    for kind in BROUGHT:
        query = query.outerjoin(kind, kind.c.order == order.id)
    rows = connection.execute(query.order_by(order.issued_at, order.id))
    out = []
    for row in map(dict, rows.mappings()):
        row["issued_at"] = row["issued_at"].replace(tzinfo=row["issued_at"].tzinfo or UTC).isoformat()
        asked = read(row.pop("payload"))
        row |= {"kind": asked.kind, "overruled": [one.person for one in asked.overruled]}
        out.append(row)
    return out


def read(payload: bytes) -> Order:
    """Return what the signed bytes of an order of this hub say."""
    return Order.decode(payload[orders.SIGNATURE :])


def purge(connection: sql.Connection, sound: Path, *, keep_days: float, now: datetime) -> list[str]:
    """Delete the clips that are older than `keep_days` and that nobody decided to keep; return their files' names.

    The rows stay.
    """
    before, out = now - timedelta(days=keep_days), []
    for kind in BROUGHT:
        old = kind.c.written_at < before, kind.c.kept.is_(False), kind.c.deleted_at.is_(None)
        files = list(connection.scalars(sql.select(kind.c.file).where(*old).order_by(kind.c.written_at)))
        for file in files:
            (sound / file).unlink(missing_ok=True)  # a kill before the commit: it is asked for again
            connection.execute(sql.update(kind).where(kind.c.file == file).values(deleted_at=now))
        out += files
    return out
