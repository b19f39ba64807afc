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
from gunshot.device import images, releases, slots
from gunshot.device.images import CLASS
from gunshot.device.releases import MOST_BYTES, PART, Offer, Report, Stage, Wanted
from gunshot.hub import audit, intake, wellness
from gunshot.hub.cases import utc
from gunshot.hub.database import DEVICE, ROLLOUT, ROLLOUT_DEVICE, SESSION
from gunshot.hub.folder import Rollout
from gunshot.hub.incidents import EPOCH
from gunshot.signing import manifests

# Stopped: no device is offered it any more, and those that have it go on. Back: they are told to take it back.
STATES = RUNNING, STOPPED, BACK, COMPLETE = "running", "stopped", "back", "complete"
REPORT = b'{"kind":"image"'  # so begins what a device says of a roll-out
IS_ROLLED_OUT = "is being rolled out; `gunshot hub rollout stop` ends that"
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
        if (said.size, said.sha256) != (len(self.content), hashlib.sha256(self.content).hexdigest()):
            raise ValueError(f"image must be the {said.size} bytes that were signed; `gunshot export image` makes both")
        if said.size > MOST_BYTES:
            raise ValueError(f"image={said.size} bytes must be {MOST_BYTES} at most")
        if said.device == CLASS:  # nobody but its board can look into another one
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
        Another roll-out runs; no device takes images, or not the canary; person or reason are missing; the steps take
        longer than what is signed is good for; or the image is none that devices would take.
    """
    manifest = image.checked(trusted)
    for name, text in (("reason", reason), ("person", person)):
        if not 1 <= len(text.strip()) <= 200:
            raise ValueError(f"{name}={text[:20]!r} must say something, in 200 characters at most")
    _check_length(settings)
    if running := connection.execute(sql.select(ROLLOUT.c.version).where(ROLLOUT.c.state == RUNNING)).first():
        raise ValueError(f"{running.version} {IS_ROLLED_OUT}")
    id = uuid.uuid4().hex
    names = _in_order(connection, id, manifest.device, canary)
    ends = [1, *(max(1, math.ceil(share * len(names))) for share in settings.shares)]
    row = {
        "id": id, "version": manifest.version, "number": manifest.number, "manifest": image.manifest,
        "image": image.content, "person": person, "reason": reason, "started_at": now, "steps": len(ends),
        "settings": settings.model_dump(mode="json"), "state": RUNNING, "step": 0, "step_at": now, "changed_at": now,
    }  # fmt: skip
    try:
        connection.execute(sql.insert(ROLLOUT).values(row))
    except sql.exc.IntegrityError:  # somebody started it since this looked
        raise ValueError(f"another one {IS_ROLLED_OUT}") from None
    steps = {name: next(i for i, end in enumerate(ends) if place < end) for place, name in enumerate(names)}
    connection.execute(sql.insert(ROLLOUT_DEVICE), _sign(key, row, steps))
    audit.enter(connection, "rollout", id, now=now, event="started", by=person)
    return id


def _sign(key: Ed25519PrivateKey, row: dict, steps: dict[str, int]) -> list[dict]:
    """Return the rows of a roll-out's devices, each with its step, and signed what it will be told."""
    offered = {"id": row["id"], "manifest": row["manifest"].hex(), "person": row["person"]}
    offered["expires_us"] = (row["started_at"] + GOOD_FOR - EPOCH) // MICROSECOND
    out = []
    for device, step in steps.items():
        signed = {}
        for wanted, before in ((Wanted.install, step), (Wanted.keep, row["steps"]), (Wanted.back, 0)):
            at = _earliest(row["started_at"], row["settings"]["watch_s"], steps.values(), before)
            offer = Offer(wanted=wanted, device=device, not_before_us=(at - EPOCH) // MICROSECOND, **offered)
            signed[str(wanted)] = releases.sign(offer, key)
        out.append({"rollout": row["id"], "device": device, "step": step} | signed)
    return out


def _earliest(started: datetime, watch_s: float, steps: Iterable[int], before: int) -> datetime:
    """Return when all `steps` before one can have been watched; `steps` are those that had devices at the start."""
    return started + len({step for step in steps if step < before}) * timedelta(seconds=watch_s)


def _check_length(settings: Rollout) -> None:
    """Raise ValueError where the steps may take longer than devices follow what was signed."""
    longest_s, most_s = (1 + len(settings.shares)) * (settings.watch_s + settings.patience_s), GOOD_FOR.total_seconds()
    if longest_s > most_s:
        why = f"must be {most_s:.0f} s at most, for which what is signed is good; lower them in hub.yaml"
        raise ValueError(f"rollout: watch_s and patience_s of all steps are {longest_s:.0f} s, and {why}")


def _in_order(connection: sql.Connection, id: str, hardware: str, canary: str | None) -> list[str]:
    """Return the devices that take images for a class, the canary first, then in an order that each roll-out draws."""
    takes = {name: there for name, has, there in _sessions(connection) if images.takes(hardware) in (has or [])}
    if not takes:
        remedy = "`gunshot device run` does, from this version on and without --model"
        if hardware != CLASS:
            remedy = f"`gunshot device bridge` does, with board: {hardware} in its device.yaml and a key in the board"
        raise ValueError(f"no device takes images for {hardware}; {remedy}")
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

    ValueError where there is none, or it is over: what devices keep is replaced by a newer image alone; and where
    devices would not follow any more, or the hub ended it meanwhile.
    """
    row = newest(connection)
    if row is None:
        raise ValueError("nothing was rolled out yet")
    if row.state not in ((RUNNING,) if state == STOPPED else (RUNNING, STOPPED)):
        remedy = "`gunshot rollback`, `gunshot export image` and a new roll-out bring a model of before"
        raise ValueError(
            f"{row.version} must be running{' or stopped' * (state == BACK)}, and is {row.state}; {remedy}"
        )
    if state == BACK and _is_expired(row, now):
        raise ValueError(f"{row.version}: what was signed has expired; start a new roll-out, of this or another image")
    if not _set(connection, row, now, state=state, note=f"{person} wanted it"):
        raise ValueError(f"{row.version} is {newest(connection).state} by now; look at it, then decide again")
    audit.enter(connection, "rollout", row.id, now=now, event=state, by=person)
    return row


def newest(connection: sql.Connection) -> sql.Row | None:
    """Return the row of the roll-out that runs, else of the last one, without its image; None where there is none.

    The last by its time alone could be another than the one that runs, after a clock was set back.
    """
    order = (ROLLOUT.c.state == RUNNING).desc(), ROLLOUT.c.started_at.desc(), ROLLOUT.c.id
    last = sql.select(ROLLOUT.c.id).order_by(*order).limit(1)
    return next(iter(_rows(connection, ROLLOUT.c.id == last.scalar_subquery())), None)


def _rows(connection: sql.Connection, where: sql.ColumnElement) -> list[sql.Row]:
    columns = (column for column in ROLLOUT.c if column.name != "image")
    return list(connection.execute(sql.select(*columns).where(where)))


def _is_expired(row: sql.Row, now: datetime) -> bool:
    return now >= utc(row.started_at) + GOOD_FOR


def devices(connection: sql.Connection, id: str) -> list[sql.Row]:
    """Return the rows of a roll-out's devices that are let in, by step and name, without what was signed."""
    s = ROLLOUT_DEVICE.c
    columns = (s.device, s.step, s.sent_at, s.stage, s.part, s.note)
    query = sql.select(*columns).join(DEVICE, DEVICE.c.name == s.device).where(DEVICE.c.revoked_at.is_(None))
    return list(connection.execute(query.where(s.rollout == id).order_by(s.step, s.device)))


def work(connection: sql.Connection, *, now: datetime, listening_since: datetime) -> list[tuple[str, bytes]]:
    """Look how the last roll-out goes, and return what to send now, each with its device.

    Devices that are not there get nothing, or it would pile up; what was taken back before it is still told to those
    that were away. Of what devices said before `listening_since`, when the hub began to hear them, some may come yet:
    their silence until then is the hub's.
    """
    row = newest(connection)
    if row is not None and row.state == RUNNING:
        _advance(connection, row, now, listening_since)
        row = newest(connection)
    if row is None:
        return []
    offers = [
        (one.device, row.id, wanted)
        for row in _told(connection, row, now)
        for one in devices(connection, row.id)
        if (wanted := _wanted(row, one)) and (one.sent_at is None or now - utc(one.sent_at) >= RESEND)
    ]
    there = {name for name, _, online in _sessions(connection) if online} if offers else ()
    return [(name, _signed(connection, id, name, wanted, now)) for name, id, wanted in offers if name in there]


def _told(connection: sql.Connection, newest: sql.Row, now: datetime) -> list[sql.Row]:
    """Return the roll-outs of which devices may still be told: the last of each class, and those taken back."""
    rows = _rows(connection, ROLLOUT.c.started_at > now - GOOD_FOR)
    last = {_hardware(one): one.id for one in sorted(rows, key=lambda one: one.started_at)}
    last[_hardware(newest)] = newest.id
    return [one for one in rows if one.state == BACK or one.id == last[_hardware(one)]]


def _hardware(row: sql.Row) -> bytes:
    """Return the class of devices that a roll-out is for, as its manifest has it."""
    return manifests.LAYOUT.unpack_from(row.manifest)[4]


def _signed(connection: sql.Connection, id: str, device: str, wanted: Wanted, now: datetime) -> bytes:
    """Return an offer as it is sent now."""
    key = ROLLOUT_DEVICE.c.rollout == id, ROLLOUT_DEVICE.c.device == device
    connection.execute(sql.update(ROLLOUT_DEVICE).where(*key).values(sent_at=now))
    return connection.scalar(sql.select(ROLLOUT_DEVICE.c[wanted]).where(*key))


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
        values |= {"trial_us": (now - EPOCH) // MICROSECOND} | wellness.begun(connection, device)
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


def _advance(connection: sql.Connection, row: sql.Row, now: datetime, listening_since: datetime) -> None:
    """Take the roll-out a step on where its devices are well, or stop it, or take it back."""
    settings, rows = Rollout(**row.settings), devices(connection, row.id)
    begun = [one for one in rows if one.step <= row.step]
    if _is_expired(row, now):  # nothing that could be sent is followed any more
        return _halt(connection, row, STOPPED, "what was signed has expired", now)
    if faults := wellness.faults(connection, row, settings, now=now, listening_since=listening_since):
        return _halt(connection, row, BACK, "; ".join(faults), now)
    patient = utc(row.step_at) + timedelta(seconds=settings.patience_s)
    heard = listening_since + timedelta(seconds=min(settings.silent_s, settings.patience_s))  # what they say by then
    if any(one.stage in FETCHES for one in begun) and now < max(patient, heard):
        return None
    of_step = [one for one in begun if one.step == row.step] or begun  # or all of it are revoked
    if not any(one.stage in (Stage.trial, Stage.kept) for one in of_step):
        return _halt(connection, row, STOPPED, _reason(row, begun), now)
    if row.watched_at is None:
        _set(connection, row, now, watched_at=now)
        return None
    if now - utc(row.watched_at) < timedelta(seconds=settings.watch_s):
        return None
    if not wellness.are_heard(connection, row.id, since=listening_since):
        return None  # it was watched without the hub, and they may be silent
    later = [one.step for one in rows if one.step > row.step]  # of few devices some steps have none
    step = min(later, default=row.steps)
    signed = connection.scalars(sql.select(ROLLOUT_DEVICE.c.step).where(ROLLOUT_DEVICE.c.rollout == row.id))
    if now < _earliest(utc(row.started_at), settings.watch_s, signed, step):
        return None  # all devices of a step were revoked; the others would pass over what came now
    if later:
        _set(connection, row, now, step=step, step_at=now, watched_at=None)
    elif _set(connection, row, now, state=COMPLETE):
        audit.enter(connection, "rollout", row.id, now=now, event=COMPLETE)
    return None


def _reason(row: sql.Row, begun: list[sql.Row]) -> str:
    said = (f"{one.device}: {one.note or one.stage or 'no answer'}" for one in begun if one.step == row.step)
    return f"no device of step {row.step} runs it: {'; '.join(said) or 'none of them is let in'}"


def _halt(connection: sql.Connection, row: sql.Row, state: str, why: str, now: datetime) -> None:
    """Stop a roll-out, or take it back, without a person."""
    if _set(connection, row, now, state=state, note=why[:500]):
        log.warning("roll-out of %s: %s: %s", row.version, state, why)
        audit.enter(connection, "rollout", row.id, now=now, event=state, why=why[:500])


def _set(connection: sql.Connection, row: sql.Row, now: datetime, **values) -> bool:
    """Write values; return whether the roll-out was still in the state that was read, else nothing is written."""
    is_same = ROLLOUT.c.id == row.id, ROLLOUT.c.state == row.state
    return bool(connection.execute(sql.update(ROLLOUT).where(*is_same).values(**values, changed_at=now)).rowcount)
