"""Webhooks: what becomes of raised cases, as JSON, to addresses that hub.yaml names; signed, so that nobody else can.

Each is signed as the specification Standard Webhooks has it: HMAC-SHA256 of identifier, time and body, with a secret
that both sides have. A delivery is a row before it is sent, and is tried until the address has taken it, over restarts
too; so it may come twice, by the same identifier. After LONGEST it is a dead letter, until a person sends it again.
"""

import base64
import hashlib
import hmac
import json
import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import NamedTuple

import sqlalchemy as sql

from gunshot.hub import audit, sending
from gunshot.hub.cases import last_decisions, utc
from gunshot.hub.console import listing
from gunshot.hub.database import CASE, DECISION, DELIVERY
from gunshot.hub.folder import Webhook
from gunshot.signing import record

LOOK_S = 0.5  # between two looks for what is due
FRESH = timedelta(hours=1)  # a case that was raised before that is told to no webhook that is new
LATE = timedelta(hours=1)  # from when the hub notes that a case changed until that is committed, at most
FIRST_PAUSE, MOST_PAUSE = timedelta(seconds=5), timedelta(hours=1)  # after a try; twice as long each time
LONGEST = timedelta(days=1)  # for which a delivery is tried: a receiver is back by then, or somebody looks
RAISED, CHANGED = "case.raised", "case.changed"  # the first of a case, and what comes after it

log = logging.getLogger("gunshot")


def keep(engine: sql.Engine, hook: Webhook, stop: Event) -> None:
    """Send a webhook what is due, until `stop` is set. Each has a thread of its own: a slow one holds up no other."""
    look = None
    while not stop.wait(LOOK_S):
        look = work(engine, hook, lambda: datetime.now(UTC), stop, after=look)


class Look(NamedTuple):
    """When it was looked whether cases changed, and the last decision that was seen then."""

    at: datetime
    decision: int


def work(
    engine: sql.Engine, hook: Webhook, clock: Callable[[], datetime], stop: Event, *, after: Look | None = None
) -> Look:
    """Write what a webhook is to be told, send what is due until `stop` is set, and return when it was looked.

    `after` is the look before: only what changed since is looked at. Where nothing answers, the rest waits for the next
    time: each would wait as long.
    """
    now = clock()
    with engine.begin() as connection:
        look = Look(now, connection.scalar(sql.select(sql.func.max(DECISION.c.number))) or 0)
        _write(connection, hook, after, now=now)
    with engine.connect() as connection:
        waiting = connection.execute(_waiting(hook.name).order_by(DELIVERY.c.number)).all()
    held: set[int] = set()  # cases of which an earlier delivery waits: what is told of a case comes in order
    for row in waiting:
        if stop.is_set():
            break
        now = clock()  # anew: the one before may have taken long, and a receiver takes no old time
        if row.case in held or utc(row.due_at) > now:
            held.add(row.case)
            continue
        try:
            fault, is_answered = _post(hook, row, now=now), True
        except sending.UnansweredError as e:
            fault, is_answered = str(e), False
        if fault is not None:
            held.add(row.case)
        with engine.begin() as connection:
            _note(connection, row, fault, now=clock())
        if not is_answered:
            break
    return look


def _waiting(hook: str) -> sql.Select:
    d = DELIVERY.c
    return sql.select(DELIVERY).where(d.hook == hook, d.delivered_at.is_(None), d.dead_at.is_(None))


def _write(connection: sql.Connection, hook: Webhook, after: Look | None, *, now: datetime) -> None:
    """Write a delivery of each raised case of which a webhook does not know all that it is told."""
    changed = {row.number: row for row in _changed(connection, hook, after, now)}
    for number, data in _said(connection, list(changed)).items():
        row = changed[number]
        seen = {"seen_changed_at": row.changed_at, "seen_decision": row.decision}
        if row.last is not None and json.loads(row.payload)["data"] == data:
            connection.execute(sql.update(DELIVERY).where(DELIVERY.c.number == row.last).values(seen))
            continue
        kind = RAISED if row.last is None else CHANGED
        body = record.canonical({"type": kind, "timestamp": now.isoformat(), "data": data}).decode()
        values = {"hook": hook.name, "case": number, "identifier": f"msg_{uuid.uuid4().hex}", "payload": body}
        times = {"made_at": now, "since": now, "due_at": now, "tries": 0}
        connection.execute(sql.insert(DELIVERY).values(values | times | seen))


def _changed(connection: sql.Connection, hook: Webhook, after: Look | None, now: datetime) -> list[sql.Row]:
    """Return the raised cases that changed, were merged or decided since a webhook's last delivery of them.

    Each has that one's number, `last`, and its `payload`, None where there is none, and `decision`, that of the last.
    Of a look before, `after`, what has been still since is passed over.
    """
    recent = _recent(after, now)
    last = sql.select(DELIVERY.c.case, sql.func.max(DELIVERY.c.number).label("last")).group_by(DELIVERY.c.case)
    last = last.where(DELIVERY.c.hook == hook.name, DELIVERY.c.case.in_(recent)).subquery()
    decided = last_decisions(DECISION.c.case.in_(recent))
    decision = sql.func.coalesce(decided.c.decision, 0)
    query = (
        sql.select(CASE.c.number, CASE.c.changed_at, last.c.last, DELIVERY.c.payload, decision.label("decision"))
        .outerjoin(last, last.c.case == CASE.c.number)
        .outerjoin(DELIVERY, DELIVERY.c.number == last.c.last)
        .outerjoin(decided, decided.c.case == CASE.c.number)
        .where(CASE.c.raised_at.is_not(None), CASE.c.number.in_(recent))
        .where(
            sql.or_(
                sql.and_(last.c.last.is_(None), CASE.c.raised_at > now - FRESH, CASE.c.merged_into.is_(None)),
                DELIVERY.c.seen_changed_at != CASE.c.changed_at,
                DELIVERY.c.seen_decision != decision,
            )
        )
    )
    if hook.sites:
        query = query.where(CASE.c.site.in_(hook.sites))
    return connection.execute(query.order_by(CASE.c.number)).all()


def _recent(after: Look | None, now: datetime) -> sql.Select:
    """Return a query of the numbers of cases that may have changed since a look; without one, of all."""
    if after is None:
        return sql.select(CASE.c.number)
    # Each by an index; what a decision changes is no time of its case.
    changed = sql.select(CASE.c.number).where(CASE.c.changed_at > min(after.at, now) - LATE)
    decided = sql.select(DECISION.c.case).where(DECISION.c.number > after.decision)
    return changed.union(decided)


def _said(connection: sql.Connection, numbers: list[int]) -> dict[int, dict]:
    """Return what is told of cases by number: a Feature, as in the console's feed; of one that was merged, where."""
    if not numbers:
        return {}
    chosen = CASE.c.number.in_(numbers)
    out = {row["number"]: listing.feature(row) for row in listing.cases(connection, listing.Filter(), chosen)}
    merged = sql.select(CASE.c.number, CASE.c.merged_into).where(chosen, CASE.c.merged_into.is_not(None))
    return dict(sorted((out | {n: {"id": n, "merged_into": into} for n, into in connection.execute(merged)}).items()))


def signature(key: bytes, identifier: str, timestamp: int, body: bytes) -> str:
    """Return the header webhook-signature of a delivery; `timestamp` in s since 1970."""
    signed = f"{identifier}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _post(hook: Webhook, row: sql.Row, *, now: datetime) -> str | None:
    """Send a delivery; return why it was not taken, or None. UnansweredError where nothing answered."""
    body, timestamp = row.payload.encode(), int(now.timestamp())
    headers = {
        "Content-Type": "application/json",
        "webhook-id": row.identifier,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(hook.key, row.identifier, timestamp, body),
    }
    status = sending.post(hook.url, body, headers)
    return None if 200 <= status < 300 else f"status {status}"


def _note(connection: sql.Connection, row: sql.Row, fault: str | None, *, now: datetime) -> None:
    """Write down what came of a try."""
    values = {"tries": row.tries + 1, "fault": fault}
    if fault is None:
        values["delivered_at"] = now
        log.info("webhook %s: case %d is told", row.hook, row.case)
    elif now - utc(row.since) >= LONGEST:
        values["dead_at"] = now
        log.warning(
            "webhook %s: case %d was not taken for %s: it is a dead letter: %s", row.hook, row.case, LONGEST, fault
        )
    else:
        pause = min(MOST_PAUSE, FIRST_PAUSE * 2 ** min(row.tries, 20))
        values["due_at"] = now + pause
        log.warning("webhook %s: case %d was not taken, and is tried again in %s: %s", row.hook, row.case, pause, fault)
    connection.execute(sql.update(DELIVERY).where(DELIVERY.c.number == row.number).values(values))


def send_again(connection: sql.Connection, number: int, *, person: str, now: datetime) -> None:
    """Let a dead letter be tried again, and enter who wanted that; ValueError where there is none of that number."""
    values = {"dead_at": None, "since": now, "due_at": now}
    is_dead = DELIVERY.c.number == number, DELIVERY.c.dead_at.is_not(None)
    if not connection.execute(sql.update(DELIVERY).where(*is_dead).values(values)).rowcount:
        raise ValueError(f"delivery={number} must be a dead letter; it is none, or is tried again already")
    audit.enter_delivery(connection, number, now=now, event="sent again", person=person)


def undelivered(connection: sql.Connection, *, most: int) -> list[sql.Row]:
    """Return the deliveries that were not taken yet, dead letters first, then the newest; at most so many."""
    query = sql.select(DELIVERY).where(DELIVERY.c.delivered_at.is_(None))
    order = DELIVERY.c.dead_at.is_(None), DELIVERY.c.number.desc()
    return list(connection.execute(query.order_by(*order).limit(most)))
