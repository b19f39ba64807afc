"""What the hub's database says: incidents, and which messages never came."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import sqlalchemy as sql

from gunshot.device.messages import State
from gunshot.hub.database import INCIDENT, MESSAGE

COLUMNS = (
    "time", "device", "state", "shots", "score", "level_db", "clock_error_s", "received", "session", "incident", "model"
)  # fmt: skip
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def listing(connection: sql.Connection) -> list[dict]:
    """Return a dict with the COLUMNS for each incident, newest last; one whose time is not known stands where it came.

    `time` is that of the first onset and `clock_error_s` how far it may be off, or both are None; `received` is when
    its first message came. Both times are ISO 8601, in UTC. `level_db` is dB SPL.
    """
    same = (MESSAGE.c[name] == INCIDENT.c[name] for name in ("device", "session", "incident"))
    received = sql.select(sql.func.min(MESSAGE.c.received_at)).where(*same).scalar_subquery()
    rows = [
        (row, received_at.replace(tzinfo=received_at.tzinfo or UTC))  # SQLite has no zones: all are UTC
        for *row, received_at in connection.execute(sql.select(*INCIDENT.c, received)).all()
    ]
    named = [(dict(zip(INCIDENT.c.keys(), row, strict=True)), received_at) for row, received_at in rows]
    timed = [(time(row["unix_us"]), received_at, row) for row, received_at in named]
    timed.sort(key=lambda each: (each[0] or each[1], each[2]["device"], each[2]["session"], each[2]["incident"]))
    return [_row(*each) for each in timed]


def time(unix_us: int | None) -> datetime | None:
    """Return the time of microseconds since 1970, or None."""
    return None if unix_us is None else EPOCH + timedelta(microseconds=unix_us)


def _row(at: datetime | None, received: datetime, row: dict) -> dict:
    return {
        "time": at and at.isoformat(timespec="milliseconds"),
        "device": row["device"],
        "state": State(row["state"]).name.lower(),
        "shots": row["shots"],
        "score": round(row["score"] / 65535, 4),
        "level_db": row["spl_db"] / 10,
        "clock_error_s": None if row["error_us"] is None else row["error_us"] / 1e6,
        "received": received.isoformat(timespec="milliseconds"),
        "session": row["session"],
        "incident": row["incident"],
        "model": row["model"],
    }


def gaps(connection: sql.Connection) -> Iterator[tuple[str, int, int, int]]:
    """Yield the messages that are missing before others of their session: device, session, first and last sequence.

    They are on their way, or the device had to drop them.
    """
    m = MESSAGE.c
    before = sql.func.lag(m.sequence, 1, -1).over(partition_by=(m.device, m.session), order_by=m.sequence)
    pairs = sql.select(m.device, m.session, before.label("before"), m.sequence).subquery()
    jumps = sql.select(pairs).where(pairs.c.sequence > pairs.c.before + 1)
    for device, session, last, sequence in connection.execute(jumps.order_by(*pairs.c)):
        yield device, session, last + 1, sequence - 1
