"""What an open page learns of itself: that something changed, and which cases wait for a person."""

from datetime import datetime, timedelta

import sqlalchemy as sql

from gunshot.hub import orders
from gunshot.hub.console import decisions
from gunshot.hub.console.times import utc
from gunshot.hub.database import CASE, CLIP, DECISION, DEVICE, INCIDENT, MESSAGE, ORDER, ROLLOUT, SESSION

RINGS = timedelta(minutes=10)  # how long a case that nobody acknowledged is heard
MOST = 20  # cases that wait and are named; the newest


def token(connection: sql.Connection) -> str:
    """Return a text that changes when a case, a decision, an order, an opinion, a roll-out, or who is there does."""
    changed = sql.select(sql.func.max(CASE.c.changed_at)).scalar_subquery()
    newest = sql.select(sql.func.max(CASE.c.number)).scalar_subquery()  # also where the clock was set back
    raised = sql.select(sql.func.count(CASE.c.raised_at)).scalar_subquery()  # and there too
    decided = sql.select(sql.func.max(DECISION.c.number)).scalar_subquery()
    online = sql.select(sql.func.count()).where(SESSION.c.online).scalar_subquery()
    revoked = sql.select(sql.func.count(DEVICE.c.revoked_at)).scalar_subquery()
    # Of an order: that it is there, is sent, is answered, has ended, and that what it brought was deleted.
    is_open = sql.case((ORDER.c.state == orders.OPEN, 1))
    counts = [sql.func.count(), *map(sql.func.count, (ORDER.c.sent_at, ORDER.c.answered_at, is_open))]
    ordered = (sql.select(count).select_from(ORDER).scalar_subquery() for count in counts)
    deleted = (sql.select(sql.func.count(kind.c.deleted_at)).scalar_subquery() for kind in orders.BROUGHT)
    judged = sql.select(sql.func.count(CLIP.c.judged_at)).scalar_subquery()
    said = sql.select(sql.func.sum(INCIDENT.c.opinion_sequence)).scalar_subquery()  # each new one has a higher number
    rolled = sql.select(sql.func.max(ROLLOUT.c.changed_at)).scalar_subquery()
    every = sql.select(changed, newest, raised, decided, online, revoked, rolled, judged, said, *ordered, *deleted)
    return " ".join(map(str, connection.execute(every).one()))


def waiting(connection: sql.Connection, *, now: datetime) -> dict:
    """Return the `waiting` cases, raised and not acknowledged, newest first, and `count`, how many there are.

    Each has its number, site, whether it is an exercise, and `rings_s`: for how many more seconds it is to be heard.
    """
    query = sql.select(CASE.c.number, CASE.c.site, CASE.c.exercise, CASE.c.raised_at).where(
        CASE.c.merged_into.is_(None), CASE.c.raised_at.isnot(None), ~decisions.acknowledged()
    )
    rows = connection.execute(query.order_by(CASE.c.raised_at.desc(), CASE.c.number.desc()).limit(MOST)).all()
    return {
        "waiting": [
            {
                "number": row.number, "site": row.site, "exercise": row.exercise,
                "rings_s": max(0.0, (utc(row.raised_at) + RINGS - now).total_seconds()),
            }
            for row in rows
        ],
        "count": connection.scalar(sql.select(sql.func.count()).select_from(query.subquery())),
    }  # fmt: skip


def is_quiet(connection: sql.Connection, *, now: datetime, living: timedelta) -> bool:
    """Return whether devices are let in, and none sent a message for so long: perhaps the hub does not run."""
    latest = sql.select(sql.func.max(MESSAGE.c.received_at)).where(MESSAGE.c.device == DEVICE.c.name).scalar_subquery()
    counted = sql.select(sql.func.count(), sql.func.max(latest)).where(DEVICE.c.revoked_at.is_(None))
    devices, last = connection.execute(counted).one()
    return bool(devices and (last is None or now - utc(last) > living))
