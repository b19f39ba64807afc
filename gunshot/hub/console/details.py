"""One case: what each device heard, which of the site did not, where it was, and what persons decided."""

from datetime import datetime, timedelta

import sqlalchemy as sql

from gunshot.device import messages
from gunshot.device.messages import State
from gunshot.hub.console import decisions, listing, sound
from gunshot.hub.console.times import from_unix, utc
from gunshot.hub.database import CALL, CASE, DEVICE, INCIDENT, MESSAGE, ONSET

_KEY = ("device", "session", "incident")


def root(connection: sql.Connection, number: int) -> int | None:
    """Return the case that a case was merged into at last, or itself; None where there is no such case."""
    while True:
        row = connection.execute(sql.select(CASE.c.merged_into).where(CASE.c.number == number)).first()
        if row is None or row.merged_into is None:
            return row and number
        number = row.merged_into


def case(connection: sql.Connection, number: int, *, sr: int, living: timedelta) -> dict:
    """Return all of a case that was not merged: a row of `listing.cases`, and more.

    That is `incidents`, `missed`, `calls` of the escalation, `history`, and `seen`: the last decision on it in there.
    `sr` is of the samples that messages count, Hz. `missed` has the other devices of the site, each with whether it was
    there: a message of it came less than `living` before or after the case began.
    """
    (row,) = listing.cases(connection, listing.Filter(), CASE.c.number == number)
    incidents = [_incident(connection, one, sr) for one in _incidents(connection, number)]
    missed = [name for name in _devices(connection, row["site"]) if name not in {one["device"] for one in incidents}]
    calls = sql.select(CALL.c.place, CALL.c.at).where(CALL.c.case == number).order_by(CALL.c.place)
    history = decisions.history(connection, _family(connection, number))
    return row | {
        "incidents": incidents,
        "missed": [(name, _was_there(connection, name, row["opened_at"], living)) for name in missed],
        "calls": [(place, utc(at)) for place, at in connection.execute(calls)],
        "seen": max((one.number for one in history if one.case == number), default=0),
        "history": [dict(one._mapping) | {"at": utc(one.at)} for one in history],
    }


def _devices(connection: sql.Connection, site: str | None) -> list[str]:
    """Return the devices of a site that are let in; none where there is no site, for such devices have no others."""
    if site is None:
        return []
    let_in = DEVICE.c.site == site, DEVICE.c.revoked_at.is_(None)
    return list(connection.scalars(sql.select(DEVICE.c.name).where(*let_in).order_by(DEVICE.c.name)))


def _family(connection: sql.Connection, number: int) -> list[int]:
    """Return a case and all that were merged into it."""
    own = sql.select(CASE.c.number).where(CASE.c.number == number).cte("family", recursive=True)
    return list(
        connection.scalars(
            sql.select(own.union_all(sql.select(CASE.c.number).where(CASE.c.merged_into == own.c.number)))
        )
    )


def _incidents(connection: sql.Connection, number: int) -> list[sql.Row]:
    i = INCIDENT.c
    order = i.unix_us.is_(None), i.unix_us, i.device, i.session, i.incident
    return connection.execute(sql.select(INCIDENT).where(i.case == number).order_by(*order)).all()


def _incident(connection: sql.Connection, row: sql.Row, sr: int) -> dict:
    same = [ONSET.c[name] == getattr(row, name) for name in _KEY]
    onsets = connection.execute(sql.select(ONSET).where(*same).order_by(ONSET.c.onset)).all()
    return {
        **{name: getattr(row, name) for name in (*_KEY, "shots", "model", "profile", "verifier", "upheld")},
        "state": State(row.state).name.lower(),
        "score": row.score / 65535,
        "opinion": None if row.opinion is None else row.opinion / 65535,
        "level_db": row.spl_db / 10,
        "time": from_unix(row.unix_us),
        "error_s": None if row.error_us is None else row.error_us / 1e6,
        "has_evidence": row.evidence_sequence is not None,
        "keeps_sound": sound.is_kept_by(connection, row.device),
        "has_camera": sound.has_camera(connection, row.device),
        "orders": sound.ordered(connection, row.device, row.session, row.incident),
        "onsets": [
            {
                "time": from_unix(one.unix_us),
                "error_s": None if one.error_us is None else one.error_us / 1e6,
                "after_s": (one.onset - row.onset) / sr,
            }
            for one in onsets
        ],
    }


def _was_there(connection: sql.Connection, device: str, at: datetime, living: timedelta) -> bool:
    near = MESSAGE.c.received_at.between(at - living, at + living)
    return bool(connection.scalar(sql.select(sql.exists().where(MESSAGE.c.device == device, near))))


def evidence(connection: sql.Connection, device: str, session: int, incident: int) -> messages.Incident | None:
    """Return the message that holds the log-mel of an incident's highest score; None where no message holds any."""
    key = dict(zip(_KEY, (device, session, incident), strict=True))
    query = sql.select(INCIDENT.c.evidence_sequence).where(*(INCIDENT.c[name] == value for name, value in key.items()))
    same = (MESSAGE.c.device == device, MESSAGE.c.session == session, MESSAGE.c.sequence == query.scalar_subquery())
    payload = connection.scalar(sql.select(MESSAGE.c.payload).where(*same))
    return payload and messages.decode(payload)
