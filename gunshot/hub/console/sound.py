"""Sound and video of a case in the console: what was ordered of its incidents, what came of it, and what stays."""

import sqlalchemy as sql

from gunshot.device import parts
from gunshot.device.orders import Kind
from gunshot.device.parts import Part, VideoPart
from gunshot.device.topics import VIDEO as CAMERA
from gunshot.hub import orders
from gunshot.hub.console import decisions
from gunshot.hub.console.times import utc
from gunshot.hub.database import CASE, CLIP, INCIDENT, ORDER, PART, VIDEO

LIVE_S = 30  # of live sound or video, of one order
# Why a device refused an order, by the rule's name, in words for who asked.
RULES = {
    "sound": "it keeps no sound",
    "key": "it was enrolled before there were orders",
    "signature": "it does not know this hub's signature",
    "device": "the order was for another device",
    "order": "it does not understand the order",
    "clock": "it does not know the time, which live sound and video need",
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
    "camera": "its camera shows nothing",
    "overrule": "it is not signed by two persons whose keys the device has, or of no incident",
}


def is_kept_by(connection: sql.Connection, device: str) -> bool:
    """Return whether a device keeps sound, as far as is known."""
    has = orders.capabilities(connection, device)
    return has is None or orders.SOUND in has


def has_camera(connection: sql.Connection, device: str) -> bool:
    """Return whether a device said that it has a camera."""
    return CAMERA in (orders.capabilities(connection, device) or [])


def ordered(connection: sql.Connection, device: str, session: int, incident: int) -> list[dict]:
    """Return the orders of an incident's sound, or because of it, oldest first.

    Each has `id`, `issued_at`, `person`, `reason`, its `kind`, who `overruled` the gate, `seconds`, `live`, its `state`
    and the same in `words`; and `clip`, what it brought: `length_s` of sound and the hub's second
    opinion of it, or `bytes` of video, whether it is `kept`, and when it was `deleted_at`; None where it brought none.
    """
    o = ORDER.c
    query = sql.select(ORDER).where(o.device == device, o.session == session, o.incident == incident)
    return [_row(connection, row) for row in connection.execute(query.order_by(o.issued_at, o.id))]


def _row(connection: sql.Connection, row: sql.Row) -> dict:
    asked = orders.read(row.payload)
    return {
        **{name: getattr(row, name) for name in ("id", "person", "reason", "seconds", "state")},
        "issued_at": utc(row.issued_at),
        "kind": asked.kind,
        "overruled": [one.person for one in asked.overruled],
        "live": asked.session is None,
        "words": _words(row, asked.kind),
        "clip": _clip(connection, row.id, asked.kind),
    }


def _clip(connection: sql.Connection, order: str, kind: Kind) -> dict | None:
    table = VIDEO if kind == Kind.video else CLIP
    row = connection.execute(sql.select(table).where(table.c.order == order)).first()
    if row is None:
        return None
    if kind == Kind.video:
        size = {"bytes": row.bytes}
    else:
        size = {"length_s": row.samples / row.sr, "verifier": row.verifier, "upheld": row.upheld}
        size["opinion"] = None if row.opinion is None else row.opinion / 65535
    return size | {"kept": row.kept, "deleted_at": utc(row.deleted_at)}


def _words(row: sql.Row, kind: Kind) -> str:
    """Return how far an order is."""
    if row.state == orders.OPEN:
        if row.sent_at is None:
            return "waits for the hub to send it"
        return "sent; no answer yet" if row.answered_at is None else f"its {kind} is coming in"
    if row.state == orders.REFUSED:
        rule, _, why = (row.note or "").partition(":")
        return f"refused: {RULES.get(rule, row.note)}{' -' + why if rule == 'camera' else ''}"
    return f"{row.state}: {row.note}" if row.note else row.state


def since(connection: sql.Connection, order: str, last: int) -> list[tuple[int, bytes]] | None:
    """Return the parts of an order after number `last` that have come, as number and FLAC file, which the hub makes.

    A device's own file may hold more than it says, which a browser would decode: hours in 64 KiB. With `last` -1 it is
    the newest alone. None where the order has ended, or there is none.
    """
    if connection.scalar(sql.select(ORDER.c.state).where(ORDER.c.id == order)) != orders.OPEN:
        return None
    query = sql.select(PART.c.payload).where(PART.c.order == order, PART.c.number > last).order_by(PART.c.number)
    replies = [parts.decode(payload) for payload in connection.scalars(query)]
    new = [(said, content) for said, content in replies if isinstance(said, Part)][-1 if last < 0 else 0 :]
    return [(said.number, parts.to_flac(parts.samples(said, content), said.sr)) for said, content in new]


def shown(connection: sql.Connection, order: str, count: int) -> list[bytes] | None:
    """Return the parts of an order's video that follow its first `count` without a hole, as far as they have come.

    None where the order has ended, or there is none.
    """
    if connection.scalar(sql.select(ORDER.c.state).where(ORDER.c.id == order)) != orders.OPEN:
        return None
    query = sql.select(PART.c.payload).where(PART.c.order == order, PART.c.number >= count).order_by(PART.c.number)
    out = []
    for said, content in map(parts.decode, connection.scalars(query)):
        if not isinstance(said, VideoPart) or said.number != count + len(out):
            break
        out.append(content)
    return out


def keep(connection: sql.Connection) -> None:
    """Note which clips stay: those of cases that are confirmed, whenever they came. Others go when they are old."""
    i, o = INCIDENT.c, ORDER.c
    incident = sql.join(
        ORDER, INCIDENT, sql.and_(i.device == o.device, i.session == o.session, i.incident == o.incident)
    )
    asked = sql.select(i.case).select_from(incident)
    confirmed = decisions.decided(sql.select(CASE.c.number).where(CASE.c.number.in_(asked)), decisions.Kind.confirm)
    stay = sql.select(o.id).select_from(incident).where(i.case.in_(confirmed))
    for kind in orders.BROUGHT:
        connection.execute(sql.update(kind).where(kind.c.deleted_at.is_(None)).values(kept=kind.c.order.in_(stay)))
