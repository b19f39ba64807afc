"""Whether devices are well with the image that they run on trial: they are there, run it, and are not loud."""

from datetime import datetime, timedelta

import sqlalchemy as sql
from scipy.stats import poisson

from gunshot.device.messages import State
from gunshot.device.releases import Stage
from gunshot.hub.cases import utc
from gunshot.hub.console import decisions
from gunshot.hub.database import CASE, DEVICE, INCIDENT, MESSAGE, ROLLOUT_DEVICE, SESSION
from gunshot.hub.folder import Rollout
from gunshot.hub.incidents import EPOCH

ALPHA = 1e-3  # so seldom has a device by chance the incidents that stop a roll-out, where it keeps the limit
LEAST_H = 1.0  # hours: less is counted as so much, or a burst after the start would be a rate


def begun(connection: sql.Connection, device: str) -> dict[str, int]:
    """Return the session of a device, and the last incident of it: what it hears from now on comes after both."""
    s, i = SESSION.c, INCIDENT.c
    session = connection.scalar(sql.select(sql.func.max(s.session)).where(s.device == device)) or 0
    last = sql.select(sql.func.max(i.incident)).where(i.device == device, i.session == session)
    return {"trial_session": session, "trial_incident": connection.scalar(last) or 0}


def faults(
    connection: sql.Connection, rollout: sql.Row, settings: Rollout, *, now: datetime, listening_since: datetime
) -> list[str]:
    """Return what is wrong with devices that have the image of a roll-out, a line each.

    What devices said may be on its way until `listening_since`, so no silence of before is theirs. One that is revoked
    is left out.
    """
    d = ROLLOUT_DEVICE.c
    runs = sql.select(SESSION.c.image).where(SESSION.c.device == d.device).order_by(SESSION.c.session.desc()).limit(1)
    # One statement for all devices, each of its parts by an index: the hub that takes messages in does this too.
    query = sql.select(
        d.device, d.stage, d.note, d.trial_us, _came().label("came"), runs.scalar_subquery().label("runs"),
        _incidents(rollout.number).scalar_subquery().label("incidents"),
    ).where(*_of(rollout.id), d.stage.in_([Stage.trial, Stage.back]))  # fmt: skip
    rows = connection.execute(query.order_by(d.device)).all()
    lines = (_fault(connection, rollout, row, settings, now, listening_since) for row in rows)
    return [fault for fault in lines if fault]


def are_heard(connection: sql.Connection, rollout: str, *, since: datetime) -> bool:
    """Return whether all that have the image of a roll-out on trial were heard of since a time."""
    d = ROLLOUT_DEVICE.c
    query = sql.select(d.trial_us, _came().label("came")).where(*_of(rollout), d.stage == Stage.trial)
    return all(_heard_at(row) >= since for row in connection.execute(query))


def _of(rollout: str) -> tuple[sql.ColumnElement, sql.ColumnElement]:
    """Return which devices of a roll-out are looked at."""
    revoked = sql.select(DEVICE.c.name).where(DEVICE.c.revoked_at.is_not(None))
    return ROLLOUT_DEVICE.c.rollout == rollout, ROLLOUT_DEVICE.c.device.not_in(revoked)


def _came() -> sql.ScalarSelect:
    newest = sql.select(sql.func.max(MESSAGE.c.received_at)).where(MESSAGE.c.device == ROLLOUT_DEVICE.c.device)
    return newest.scalar_subquery()


def _trial_at(row: sql.Row) -> datetime:
    return EPOCH + timedelta(microseconds=row.trial_us)


def _heard_at(row: sql.Row) -> datetime:
    """Return when a device was heard of last: by a message, or when it said that it runs the image."""
    return max(filter(None, (utc(row.came), _trial_at(row))))


def _fault(
    connection: sql.Connection, rollout: sql.Row, row: sql.Row, settings: Rollout, now: datetime,
    listening_since: datetime,
) -> str | None:  # fmt: skip
    if row.stage == Stage.back:
        return f"{row.device} took it back: {row.note or 'it does not say why'}"
    silent = timedelta(seconds=settings.silent_s)
    quiet = now - max(_heard_at(row), listening_since)
    if quiet >= silent:
        return f"{row.device} is silent for {quiet.total_seconds():.0f} s"
    if row.runs != rollout.number and now - max(_trial_at(row), listening_since) >= silent:
        return f"{row.device} runs the image {row.runs or 'of its own pipeline'}, and not {rollout.number}"
    hours = (now - _trial_at(row)).total_seconds() / 3600
    if not _is_loud(row.incidents, hours, settings):
        return None
    count = _unconfirmed(connection, rollout, row.device)
    if _is_loud(count, hours, settings):
        limit = f"more than {settings.max_incidents_per_hour:g} an hour"
        return f"{row.device} has {count} incidents in {hours:.1f} h, {limit}"
    return None


def _is_loud(incidents: int, hours: float, settings: Rollout) -> bool:
    return poisson.sf(incidents - 1, settings.max_incidents_per_hour * max(LEAST_H, hours)) < ALPHA


def _incidents(number: int) -> sql.Select:
    """Return a query, part of one of ROLLOUT_DEVICE, of how many incidents a device has had since its trial began.

    By its own count, as its clock may be another than the hub's; without those that were withdrawn, and drills.
    """
    i, s, d = INCIDENT.c, SESSION.c, ROLLOUT_DEVICE.c
    with_it = sql.select(s.session).where(s.device == i.device, s.image == number, s.session >= d.trial_session)
    is_later = sql.or_(i.session > d.trial_session, i.incident > d.trial_incident)
    drill = sql.exists().where(CASE.c.number == i.case, CASE.c.exercise)
    query = sql.select(sql.func.count()).select_from(INCIDENT).correlate(ROLLOUT_DEVICE)
    return query.where(
        i.device == d.device, i.session.in_(with_it), is_later, i.state != State.WITHDRAWN, sql.not_(drill)
    )


def _unconfirmed(connection: sql.Connection, rollout: sql.Row, device: str) -> int:
    """Return how many of a device's incidents no person confirmed."""
    i, d = INCIDENT.c, ROLLOUT_DEVICE.c
    cases = sql.select(CASE.c.number).join(INCIDENT, i.case == CASE.c.number).where(i.device == device)
    confirmed = decisions.decided(cases, decisions.Kind.confirm)
    outside = sql.or_(i.case.is_(None), i.case.not_in(confirmed))
    count = _incidents(rollout.number).where(outside).scalar_subquery()
    return connection.scalar(sql.select(count).where(d.rollout == rollout.id, d.device == device))
