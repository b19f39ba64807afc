"""Roll-outs: an image of a promoted model to a canary, then to shares of the devices, as long as those are well.

All that devices will be told is signed when a person starts it, with the key that signs orders: the hub that runs has
none, and can do no more than was signed. Devices run an image on trial until the last step was well, and are told then
to keep it; until then it can be taken back, by a person, or by the hub where a device is not well. Functions work in
the transaction of their connection, and the caller commits before it sends anything.
"""

import hashlib
import logging
import math
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sql
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gunshot.base.files import shown
from gunshot.device import releases, slots
from gunshot.device.releases import PART, Offer, Report, Stage, Wanted
from gunshot.device.topics import IMAGE
from gunshot.hub import audit, intake, wellness
from gunshot.hub.cases import utc
from gunshot.hub.database import DEVICE, ROLLOUT, ROLLOUT_DEVICE, SESSION
from gunshot.hub.folder import Rollout
from gunshot.hub.incidents import EPOCH
from gunshot.signing import manifests

# Stopped: no device is offered it any more, and those that have it go on. Back: they are told to take it back.
STATES = RUNNING, STOPPED, BACK, COMPLETE = "running", "stopped", "back", "complete"
REPORT = b'{"kind":"image"'  # so begins what a device says of a roll-out
GOOD_FOR = timedelta(days=30)  # for which devices follow what was signed; those that are away longer get the next one
RESEND = timedelta(seconds=10)  # without an answer
FETCHES = (None, Stage.fetching)
MICROSECOND = timedelta(microseconds=1)

log = logging.getLogger("gunshot")


class Image(NamedTuple):
    """What is rolled out."""

    content: bytes
    manifest: bytes

    def checked(self, trusted: Iterable[Ed25519PublicKey]) -> manifests.Manifest:
        """Return what its manifest says; ValueError where devices would refuse it."""
        said = manifests.read(self.manifest, trusted)
        if said is None:
            raise ValueError("manifest must be signed by an operator whose key is in models/keys")
        if said.device != slots.CLASS:
            raise ValueError(f"device={said.device} of the manifest must be {slots.CLASS}")
        if (said.size, said.sha256) != (len(self.content), hashlib.sha256(self.content).hexdigest()):
            raise ValueError(f"image must be the {said.size} bytes that were signed; `gunshot export image` makes both")
        slots.unpack(self.content)
        return said


def start(
    connection: sql.Connection, key: Ed25519PrivateKey, image: Image, trusted: Iterable[Ed25519PublicKey],
    settings: Rollout, *, canary: str | None, person: str, reason: str, now: datetime,
) -> str:  # fmt: skip
    """Sign what devices will be told, and begin with the canary; return the roll-out's id.

    `key` signs orders, `trusted` are the operators' keys. Without a `canary` it is one of the devices that are there.

    Raises
    ------
    ValueError
        Another roll-out runs; no device takes images, or not the canary; person or reason are missing; or the image is
        none that devices would take.
    """
    manifest = image.checked(trusted)
    for name, text in (("reason", reason), ("person", person)):
        if not 1 <= len(text.strip()) <= 200:
            raise ValueError(f"{name}={text[:20]!r} must say something, in 200 characters at most")
    if running := connection.execute(sql.select(ROLLOUT.c.version).where(ROLLOUT.c.state == RUNNING)).first():
        raise ValueError(f"{running.version} is being rolled out; `gunshot hub rollout stop` ends that")
    id = uuid.uuid4().hex
    names = _in_order(connection, id, canary)
    ends = [1, *(max(1, math.ceil(share * len(names))) for share in settings.shares)]
    offered = {"id": id, "manifest": image.manifest.hex(), "person": person}
    offered["expires_us"] = (now + GOOD_FOR - EPOCH) // MICROSECOND
    connection.execute(
        sql.insert(ROLLOUT).values(
            id=id, version=manifest.version, number=manifest.number, manifest=image.manifest, image=image.content,
            person=person, reason=reason, started_at=now, steps=len(ends), settings=settings.model_dump(mode="json"),
            state=RUNNING, step=0, step_at=now, changed_at=now,
        )
    )  # fmt: skip
    for place, name in enumerate(names):
        signed = {str(one): releases.sign(Offer(wanted=one, device=name, **offered), key) for one in Wanted}
        step = next(i for i, end in enumerate(ends) if place < end)
        connection.execute(sql.insert(ROLLOUT_DEVICE).values(rollout=id, device=name, step=step, **signed))
    audit.enter(connection, "rollout", id, now=now, event="started", by=person)
    return id


def _in_order(connection: sql.Connection, id: str, canary: str | None) -> list[str]:
    """Return the devices that take images, the canary first, then in an order that each roll-out draws anew."""
    takes = {name: there for name, has, there in _sessions(connection) if IMAGE in (has or [])}
    if not takes:
        raise ValueError("no device takes images; `gunshot device run` does, from this version on and without --model")
    names = sorted(takes, key=lambda name: hashlib.sha256(f"{id} {name}".encode()).digest())
    there = [name for name in names if takes[name]]
    canary = canary or next(iter(there), None)
    if canary not in there:
        some = ", ".join(sorted(there)) or "none"
        raise ValueError(f"canary={canary} must be a device that takes images, and is there: {some}")
    return [canary, *(name for name in names if name != canary)]


def _sessions(connection: sql.Connection) -> list[tuple[str, list[str] | None, bool | None]]:
    """Return the name of each device that is let in, what it has, and whether it is there, by its last session."""
    last = sql.select(SESSION.c.device, sql.func.max(SESSION.c.session).label("session")).group_by(SESSION.c.device)
    last = last.subquery()
    query = (
        sql.select(SESSION.c.device, SESSION.c.capabilities, SESSION.c.online)
        .join(last, sql.and_(last.c.device == SESSION.c.device, last.c.session == SESSION.c.session))
        .join(DEVICE, DEVICE.c.name == SESSION.c.device)
        .where(DEVICE.c.revoked_at.is_(None))
    )
    return [tuple(row) for row in connection.execute(query)]


def end(connection: sql.Connection, state: str, *, person: str, now: datetime) -> sql.Row:
    """Stop the last roll-out, or take it back, as a person wants it; return its row.

    ValueError where there is none, or it is over: what devices keep is replaced by a newer image alone.
    """
    row = newest(connection)
    if row is None:
        raise ValueError("nothing was rolled out yet")
    if row.state not in ((RUNNING,) if state == STOPPED else (RUNNING, STOPPED)):
        remedy = "`gunshot rollback`, `gunshot export image` and a new roll-out bring a model of before"
        raise ValueError(
            f"{row.version} must be running{' or stopped' * (state == BACK)}, and is {row.state}; {remedy}"
        )
    _set(connection, row, now, state=state, note=f"{person} wanted it")
    audit.enter(connection, "rollout", row.id, now=now, event=state, by=person)
    return row


def newest(connection: sql.Connection) -> sql.Row | None:
    """Return the row of the last roll-out, without its image; None where there is none."""
    last = sql.select(ROLLOUT.c.id).order_by(ROLLOUT.c.started_at.desc(), ROLLOUT.c.id).limit(1)
    return next(iter(_rows(connection, ROLLOUT.c.id == last.scalar_subquery())), None)


def _rows(connection: sql.Connection, where: sql.ColumnElement) -> list[sql.Row]:
    columns = (column for column in ROLLOUT.c if column.name != "image")
    return list(connection.execute(sql.select(*columns).where(where)))


def devices(connection: sql.Connection, id: str) -> list[sql.Row]:
    """Return the rows of a roll-out's devices, by step and name, without what was signed."""
    s = ROLLOUT_DEVICE.c
    columns = (s.device, s.step, s.sent_at, s.stage, s.part, s.note)
    return list(connection.execute(sql.select(*columns).where(s.rollout == id).order_by(s.step, s.device)))


def work(connection: sql.Connection, *, now: datetime) -> list[tuple[str, bytes]]:
    """Look how the last roll-out goes, and return what to send now, each with its device.

    What was taken back before it is still told to devices that were away.
    """
    row = newest(connection)
    if row is not None and row.state == RUNNING:
        _advance(connection, row, now)
    last, is_back = newest(connection), sql.and_(ROLLOUT.c.state == BACK, ROLLOUT.c.started_at > now - GOOD_FOR)
    rows = [] if last is None else _rows(connection, sql.or_(ROLLOUT.c.id == last.id, is_back))
    return [offer for row in rows for offer in _due(connection, row, now)]


def _due(connection: sql.Connection, row: sql.Row, now: datetime) -> list[tuple[str, bytes]]:
    """Return the offers that devices have not followed yet; only those that are there get one, or it would pile up."""
    there = {name for name, _, online in _sessions(connection) if online}
    out = []
    for one in devices(connection, row.id):
        wanted = _wanted(row, one)
        waits = one.sent_at is None or now - utc(one.sent_at) >= RESEND
        if wanted and waits and one.device in there:
            key = ROLLOUT_DEVICE.c.rollout == row.id, ROLLOUT_DEVICE.c.device == one.device
            out.append((one.device, connection.scalar(sql.select(ROLLOUT_DEVICE.c[wanted]).where(*key))))
            connection.execute(sql.update(ROLLOUT_DEVICE).where(*key).values(sent_at=now))
    return out


def _wanted(row: sql.Row, one: sql.Row) -> Wanted | None:
    """Return what a device is to be told now, if anything."""
    if row.state == BACK:
        return Wanted.back if one.sent_at and one.stage in (*FETCHES, Stage.trial) else None
    if row.state in (RUNNING, COMPLETE) and one.step <= row.step and one.stage in FETCHES:
        return Wanted.install
    return Wanted.keep if row.state == COMPLETE and one.stage == Stage.trial else None


def report(connection: sql.Connection, device: str, payload: bytes, *, now: datetime) -> bytes | None:
    """Take in how far a device is, and return the part of the image that it wants, if it does."""
    try:
        intake.writer(connection, device)
        said = Report.decode(payload)
        key = ROLLOUT_DEVICE.c.rollout == said.id, ROLLOUT_DEVICE.c.device == device
        one = connection.execute(sql.select(ROLLOUT_DEVICE).where(*key)).first()
        if one is None:
            raise ValueError(f"rollout={said.id} must be one of {device}'s")
    except ValueError as e:
        intake.refuse(connection, device, "reply", payload, str(e), now)
        return None
    row = connection.execute(sql.select(ROLLOUT.c.state, ROLLOUT.c.step).where(ROLLOUT.c.id == said.id)).one()
    values = {"stage": str(said.stage), "part": said.part, "note": shown(said.note) or None}
    if row.state == COMPLETE and said.stage == Stage.refused and said.note.startswith("unknown:"):
        values["stage"] = None  # it has lost what it had on trial: it is offered the image anew
    if said.stage in (Stage.trial, Stage.kept) and one.trial_us is None:
        values["trial_us"] = (now - EPOCH) // MICROSECOND
    if values["stage"] != one.stage:
        log.info("%s: roll-out %s: %s %s", device, said.id, said.stage, values["note"] or "")
        connection.execute(sql.update(ROLLOUT).where(ROLLOUT.c.id == said.id).values(changed_at=now))
    connection.execute(sql.update(ROLLOUT_DEVICE).where(*key).values(values))
    is_offered = row.state in (RUNNING, COMPLETE) and one.step <= row.step
    if said.stage != Stage.fetching or said.part is None or not is_offered:
        return None
    begin = 1 + said.part * PART  # of a database
    content = connection.scalar(
        sql.select(sql.func.substr(ROLLOUT.c.image, begin, PART)).where(ROLLOUT.c.id == said.id)
    )
    return releases.part(said.id, content, said.part) if content else None


def _advance(connection: sql.Connection, row: sql.Row, now: datetime) -> None:
    """Take the roll-out a step on where its devices are well, or stop it, or take it back."""
    settings, begun = Rollout(**row.settings), [one for one in devices(connection, row.id) if one.step <= row.step]
    if faults := wellness.faults(connection, row.id, row.number, settings, now=now):
        return _halt(connection, row, BACK, "; ".join(faults), now)
    waiting = any(one.stage in FETCHES for one in begun)
    if waiting and now - utc(row.step_at) < timedelta(seconds=settings.patience_s):
        return None
    if not any(one.stage in (Stage.trial, Stage.kept) for one in begun if one.step == row.step):
        return _halt(connection, row, STOPPED, _reason(row, begun), now)
    if row.watched_at is None:
        return _set(connection, row, now, watched_at=now)
    if now - utc(row.watched_at) < timedelta(seconds=settings.watch_s):
        return None
    steps = {
        one.step for one in devices(connection, row.id) if one.step > row.step
    }  # of few devices some steps have none
    if steps:
        return _set(connection, row, now, step=min(steps), step_at=now, watched_at=None)
    _set(connection, row, now, state=COMPLETE)
    return audit.enter(connection, "rollout", row.id, now=now, event=COMPLETE)


def _reason(row: sql.Row, begun: list[sql.Row]) -> str:
    said = (f"{one.device}: {one.note or one.stage or 'no answer'}" for one in begun if one.step == row.step)
    return f"no device of step {row.step} runs it: " + "; ".join(said)


def _halt(connection: sql.Connection, row: sql.Row, state: str, why: str, now: datetime) -> None:
    """Stop a roll-out, or take it back, without a person."""
    log.warning("roll-out of %s: %s: %s", row.version, state, why)
    _set(connection, row, now, state=state, note=why[:500])
    audit.enter(connection, "rollout", row.id, now=now, event=state, why=why[:500])


def _set(connection: sql.Connection, row: sql.Row, now: datetime, **values) -> None:
    connection.execute(sql.update(ROLLOUT).where(ROLLOUT.c.id == row.id).values(**values, changed_at=now))
