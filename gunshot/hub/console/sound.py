"""Sound of a case in the console: what was ordered of its incidents, what came of it, and which clips stay."""

import sqlalchemy as sql

from gunshot.device import parts
from gunshot.device.orders import SIGNATURE, Order
from gunshot.device.parts import Part
from gunshot.hub import orders
from gunshot.hub.console import decisions
from gunshot.hub.console.times import utc
from gunshot.hub.database import CASE, CLIP, INCIDENT, ORDER, PART

LIVE_S = 30  # of live sound, of one order
# Why a device refused an order, by the rule's name, in words for who asked.
RULES = {
    "sound": "it keeps no sound",
    "key": "it was enrolled before there were orders",
    "signature": "it does not know this hub's signature",
    "device": "the order was for another device",
    "order": "it does not understand the order",
    "clock": "it does not know the time, which live sound needs",
    "expired": "the order came too late, or a clock is wrong",
    "life": "the order is good for too long, or a clock is wrong",
    "replayed": "it has followed that order before",
    "session": "it has started since, and that sound is gone",
    "span": "that sound is gone, or never was there",
    "length": "that is too long",
    "busy": "it answers too many orders already: ask again in a minute",
    "disk": "its disk is full",
    "failure": "it failed, and its log says where",
    "speech": "people speak in it, and that may not leave the device",
    "overrule": "it is not signed by two persons whose keys the device has, or of no incident",
}


def is_kept_by(connection: sql.Connection, device: str) -> bool:
    """Return whether a device keeps sound, as far as is known."""
    has = orders.capabilities(connection, device)
    return has is None or orders.SOUND in has


def ordered(connection: sql.Connection, device: str, session: int, incident: int) -> list[dict]:
    """Return the orders of an incident's sound, or because of it, oldest first.

    Each has `id`, `issued_at`, `person`, `reason`, who `overruled` the gate, `seconds`, `live`, its `state` and the
    same in `words`; and `clip`, what it brought: `length_s`, whether it is `kept`, and when it was `deleted_at`;
    None where it brought none.
    """
    o = ORDER.c
    query = (
        sql.select(ORDER, CLIP.c.samples, CLIP.c.sr, CLIP.c.kept, CLIP.c.deleted_at)
        .outerjoin(CLIP, CLIP.c.order == o.id)
        .where(o.device == device, o.session == session, o.incident == incident)
    )
    return [_row(row) for row in connection.execute(query.order_by(o.issued_at, o.id))]


def _row(row: sql.Row) -> dict:
    clip = None
    if row.samples is not None:
        clip = {"length_s": row.samples / row.sr, "kept": row.kept, "deleted_at": utc(row.deleted_at)}
    return {
        **{name: getattr(row, name) for name in ("id", "person", "reason", "seconds", "state")},
        "issued_at": utc(row.issued_at),
        "overruled": orders.overruled(row.payload),
        "live": Order.decode(row.payload[SIGNATURE:]).session is None,
        "words": _words(row),
        "clip": clip,
    }


def _words(row: sql.Row) -> str:
    """Return how far an order is."""
    if row.state == orders.OPEN:
        if row.sent_at is None:
            return "waits for the hub to send it"
        return "sent; no answer yet" if row.answered_at is None else "its sound is coming in"
    if row.state == orders.REFUSED:
        rule = (row.note or "").partition(":")[0]
        return f"refused: {RULES.get(rule, row.note)}"
    return f"{row.state}: {row.note}" if row.note else row.state


def since(connection: sql.Connection, order: str, last: int) -> list[tuple[int, bytes]] | None:
    """Return the parts of an order after number `last` that have come, as number and FLAC file.

    With `last` -1 it is the newest alone. None where the order has ended, or there is none.
    """
    if connection.scalar(sql.select(ORDER.c.state).where(ORDER.c.id == order)) != orders.OPEN:
        return None
    query = sql.select(PART.c.payload).where(PART.c.order == order, PART.c.number > last).order_by(PART.c.number)
    replies = [parts.decode(payload) for payload in connection.scalars(query)]
    new = [(said.number, content) for said, content in replies if isinstance(said, Part)]
    return new[-1:] if last < 0 else new


def keep(connection: sql.Connection) -> None:
    """Note which clips stay: those of cases that are confirmed, whenever they came. Others go when they are old."""
    i, o = INCIDENT.c, ORDER.c
    incident = sql.join(
        ORDER, INCIDENT, sql.and_(i.device == o.device, i.session == o.session, i.incident == o.incident)
    )
    asked = sql.select(i.case).select_from(incident)
    confirmed = decisions.decided(sql.select(CASE.c.number).where(CASE.c.number.in_(asked)), decisions.Kind.confirm)
    stay = sql.select(o.id).select_from(incident).where(i.case.in_(confirmed))
    connection.execute(sql.update(CLIP).where(CLIP.c.deleted_at.is_(None)).values(kept=CLIP.c.order.in_(stay)))
