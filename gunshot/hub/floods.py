"""Devices that send more than the hub takes of one: how many messages were passed over, for persons to see."""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta

import sqlalchemy as sql

from gunshot.hub.database import DEVICE, FLOOD

SAID = timedelta(minutes=1)  # between two lines of the log on one device
LASTS = timedelta(days=1)  # for which the console shows it

log = logging.getLogger("gunshot")


def write(engine: sql.Engine, passed_over: Mapping[str, int], *, now: datetime) -> None:
    """Count messages that were passed over, by device; of one that is not enrolled there is nothing to show."""
    if not passed_over:
        return
    with engine.begin() as connection:
        known = connection.scalars(sql.select(DEVICE.c.name).where(DEVICE.c.name.in_(passed_over))).all()
        for device in known:
            _count(connection, device, passed_over[device], now)


def _count(connection: sql.Connection, device: str, messages: int, now: datetime) -> None:
    same = FLOOD.c.device == device
    row = connection.execute(sql.select(FLOOD).where(same)).first()
    is_news = row is None or now - row.said_at.replace(tzinfo=now.tzinfo) >= SAID
    values = {"messages": messages + (row.messages if row else 0), "last_at": now}
    values |= {"said_at": now} if is_news else {}
    if row is None:
        connection.execute(sql.insert(FLOOD).values(device=device, first_at=now, **values))
    else:
        connection.execute(sql.update(FLOOD).where(same).values(**values))
    if is_news:
        log.warning(
            "%s: it floods the hub; %d messages were passed over by now. `gunshot hub revoke` shuts it out",
            device, values["messages"],
        )  # fmt: skip


def recent(connection: sql.Connection, *, now: datetime) -> dict[str, sql.Row]:
    """Return the rows of devices of which messages were passed over in the time that LASTS, by name."""
    rows = connection.execute(sql.select(FLOOD).where(FLOOD.c.last_at > now - LASTS))
    return {row.device: row for row in rows}
