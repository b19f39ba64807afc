"""Whether devices are well with the image that they run on trial: they are there, run it, and are not loud."""

from datetime import datetime, timedelta

import sqlalchemy as sql
from scipy.stats import poisson

from gunshot.device.releases import Stage
from gunshot.hub.cases import utc
from gunshot.hub.console import decisions
from gunshot.hub.database import CASE, INCIDENT, MESSAGE, ROLLOUT_DEVICE, SESSION
from gunshot.hub.folder import Rollout
from gunshot.hub.incidents import EPOCH

ALPHA = 1e-3  # so seldom has a device by chance the incidents that stop a roll-out, where it keeps the limit
LEAST_H = 1.0  # hours: less is counted as so much, or a burst after the start would be a rate


def faults(connection: sql.Connection, rollout: str, number: int, settings: Rollout, *, now: datetime) -> list[str]:
    """Return what is wrong with devices that have the image of a roll-out, a line each; `number` is the image's."""
    d = ROLLOUT_DEVICE.c
    came = sql.select(sql.func.max(MESSAGE.c.received_at)).where(MESSAGE.c.device == d.device).scalar_subquery()
    runs = sql.select(SESSION.c.image).where(SESSION.c.device == d.device).order_by(SESSION.c.session.desc()).limit(1)
    # One statement for all devices, each of its parts by an index: the hub that takes messages in does this too.
    query = sql.select(
        d.device, d.stage, d.note, d.trial_us, came.label("came"), runs.scalar_subquery().label("runs"),
        _incidents(number).scalar_subquery().label("incidents"),
    ).where(d.rollout == rollout, d.stage.in_([Stage.trial, Stage.back]))  # fmt: skip
    rows = connection.execute(query.order_by(d.device)).all()
    return [fault for row in rows if (fault := _fault(connection, number, row, settings, now))]


def _fault(connection: sql.Connection, number: int, row: sql.Row, settings: Rollout, now: datetime) -> str | None:
    if row.stage == Stage.back:
        return f"{row.device} took it back: {row.note or 'it does not say why'}"
    since, silent = EPOCH + timedelta(microseconds=row.trial_us), timedelta(seconds=settings.silent_s)
    quiet = now - max(filter(None, (utc(row.came), since)))
    if quiet >= silent:
        return f"{row.device} is silent for {quiet.total_seconds():.0f} s"
    if row.runs != number and now - since >= silent:
        return f"{row.device} runs the image {row.runs or 'of its own pipeline'}, and not {number}"
    hours = (now - since).total_seconds() / 3600
    if not _is_loud(row.incidents, hours, settings):
        return None
    count = connection.scalar(_incidents(number, unconfirmed=row.device))
    if _is_loud(count, hours, settings):
        limit = f"more than {settings.max_incidents_per_hour:g} an hour"
        return f"{row.device} has {count} incidents in {hours:.1f} h, {limit}"
    return None


def _is_loud(incidents: int, hours: float, settings: Rollout) -> bool:
    return poisson.sf(incidents - 1, settings.max_incidents_per_hour * max(LEAST_H, hours)) < ALPHA


def _incidents(number: int, unconfirmed: str | None = None) -> sql.Select:
    """Return a query of how many incidents a device has had with an image on trial.

    It is part of one of ROLLOUT_DEVICE; or it is of the device `unconfirmed`, without those that persons confirmed.
    """
    i, s, d = INCIDENT.c, SESSION.c, ROLLOUT_DEVICE.c
    with_it = sql.select(s.session).where(s.device == i.device, s.image == number)
    query = sql.select(sql.func.count()).select_from(INCIDENT).where(i.session.in_(with_it))
    if unconfirmed is None:
        return query.where(i.device == d.device, i.latest_us >= d.trial_us)
    begun = sql.select(sql.func.max(d.trial_us)).where(d.device == unconfirmed).scalar_subquery()
    cases = sql.select(CASE.c.number).join(INCIDENT, i.case == CASE.c.number).where(i.device == unconfirmed)
    confirmed = decisions.decided(cases, decisions.Kind.confirm)
    outside = sql.or_(i.case.is_(None), i.case.not_in(confirmed))
    return query.where(i.device == unconfirmed, i.latest_us >= begun, outside)
