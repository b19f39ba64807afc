"""What the hub's database says: incidents, and which messages never came."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import sqlalchemy as sql

from gunshot.device.messages import State
from gunshot.hub.database import CLIP, INCIDENT, MESSAGE, ORDER

COLUMNS = (
    "time", "device", "state", "shots", "score", "level_db", "clock_error_s", "received", "session", "incident",
    "model", "opinion", "upheld", "verifier", "sound_opinion", "sound_upheld", "sound_verifier",
)  # fmt: skip
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def listing(connection: sql.Connection) -> list[dict]:
    """Return a dict with the COLUMNS for each incident, newest last; one whose time is not known stands where it came.

    `time` is that of the first onset and `clock_error_s` how far it may be off, or both are None; `received` is when
    its first message came. Both times are ISO 8601, in UTC. `level_db` is dB SPL. `opinion`, from 0 to 1, whether that
    upheld it, and the `verifier` are the device's second opinion; those with `sound_` are the hub's, of the sound that
    was ordered, the newest that has one. They are None where there is none.
    """
    same = (MESSAGE.c[name] == INCIDENT.c[name] for name in ("device", "session", "incident"))
    received = sql.select(sql.func.min(MESSAGE.c.received_at)).where(*same).scalar_subquery()
    rows = [
        (row, received_at.replace(tzinfo=received_at.tzinfo or UTC))  # SQLite has no zones: all are UTC
        for *row, received_at in connection.execute(sql.select(*INCIDENT.c, received)).all()
    ]
    named = [(dict(zip(INCIDENT.c.keys(), row, strict=True)), received_at) for row, received_at in rows]
    timed = [(time(row["unix_us"]), received_at, row) for row, received_at in named]
    timed.sort(key=lambda each: (each[0] or each[1], *_key(each[2])))
    judged = _judged(connection)
    return [_row(*each) | _said("sound_", judged.get(_key(each[2]), {})) for each in timed]


def in_words(upheld: bool) -> str:
    """Return what a second opinion says to persons, as the case's page has it."""
    return "like a shot" if upheld else "doubtful, perhaps something else"


def _key(row: dict) -> tuple[str, int, int]:
    return row["device"], row["session"], row["incident"]


def _judged(connection: sql.Connection) -> dict[tuple[str, int, int], dict]:
    """Return by incident what the hub's verifier says of its newest clip that it could judge."""
    o, c = ORDER.c, CLIP.c
    query = sql.select(o.device, o.session, o.incident, c.opinion, c.upheld, c.verifier).join(CLIP, c.order == o.id)
    rows = connection.execute(query.where(c.verifier.is_not(None)).order_by(c.written_at, o.id)).mappings()
    return {_key(row): row for row in rows}


def _said(prefix: str, row: dict) -> dict:
    score = row.get("opinion")
    about = {"opinion": None if score is None else round(score / 65535, 4)}
    about |= {name: row.get(name) for name in ("upheld", "verifier")}
    return {prefix + name: value for name, value in about.items()}


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
        **_said("", row),
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
