"""Cases: the incidents of a site's devices that one sound can explain are one, in whatever order their messages come.

Two incidents of different devices are linked where the times at which their shots were heard lie no further apart than
sound takes from one device to the other. A case is what links hold together, so that it follows from the incidents
alone. The sound is as slow as in the coldest air: no season takes two devices apart, at the price of a little width.
"""

from datetime import datetime

import numpy as np
import sqlalchemy as sql
from scipy.sparse import csgraph
from scipy.spatial import distance

from gunshot.device.messages import State
from gunshot.hub import plane
from gunshot.hub.database import CASE, DEVICE, INCIDENT, SITE
from gunshot.hub.location import REACH_M
from gunshot.simulate.physics import Air

SLOWEST = Air(-20).speed  # m/s
DETOUR_S = 0.1  # by which an onset may be late besides: a path around a house is up to 80 ms longer
WIDEST_US = round(1e6 * (REACH_M / SLOWEST + DETOUR_S))  # between spans that are linked, at most
LONGEST_US = 600_000_000  # of a span: who shoots for longer is joined by the first ten minutes of it

# An incident, where its device stands, and its site: that of its case, also where the device hangs elsewhere by now.
MEMBERS = sql.select(
    *INCIDENT.c,
    DEVICE.c.latitude,
    DEVICE.c.longitude,
    sql.case((INCIDENT.c.case.is_(None), DEVICE.c.site), else_=CASE.c.site).label("site"),
).select_from(INCIDENT.join(DEVICE).outerjoin(CASE, INCIDENT.c.case == CASE.c.number))


def join(connection: sql.Connection, key: dict, *, now: datetime) -> None:
    """Put an incident of which a message came into its case, which may merge cases, or take one apart.

    `key` is its device, session and incident. A withdrawn incident stays in the case that it has, and does not count.
    """
    own = connection.execute(MEMBERS.where(*(INCIDENT.c[name] == value for name, value in key.items()))).one()
    site = connection.execute(sql.select(SITE).where(SITE.c.name == own.site)).first()  # none: it decides alone
    numbered = _numbered(connection, groups(_around(connection, own)), site, now=now)
    changed = {own.case}
    moved = [(row, number) for number, group in numbered.items() for row in group if row.case != number]
    for row, number in moved:
        changed |= {row.case, number}
        connection.execute(sql.update(INCIDENT).where(*_is(row)).values(case=number))
    for number in sorted(changed - {None} - numbered.keys()):
        into = next((into for into, group in numbered.items() if number in {row.case for row in group}), None)
        if into is None:  # all of it is withdrawn
            numbered[number] = []
        else:
            _merge(connection, number, into, now=now)
    for number in sorted(changed & numbered.keys()):
        _update(connection, number, numbered[number], needed=site.devices_needed if site else 1, now=now)


def _is(row: sql.Row) -> list:
    return [column == getattr(row, column.name) for column in INCIDENT.primary_key]


def _around(connection: sql.Connection, own: sql.Row) -> list[sql.Row]:
    """Return an incident, and all of its case and of those that it may be linked to, but for what was withdrawn."""
    near = sql.select(INCIDENT.c.case).join(CASE, INCIDENT.c.case == CASE.c.number).where(
        CASE.c.site == own.site,
        INCIDENT.c.earliest_us <= own.latest_us + WIDEST_US,
        INCIDENT.c.latest_us.between(own.earliest_us - WIDEST_US, own.latest_us + WIDEST_US + LONGEST_US),
    )  # fmt: skip
    numbers = set(connection.scalars(near)) if own.site else set()
    in_cases = MEMBERS.where(INCIDENT.c.case.in_(numbers | {own.case} - {None}), INCIDENT.c.state != State.WITHDRAWN)
    first = [own] if own.case is None and own.state != State.WITHDRAWN else []
    return first + list(connection.execute(in_cases))


def groups(rows: list[sql.Row]) -> list[list[sql.Row]]:
    """Return incidents of one site by what links hold together, those of more incidents and earlier ones first."""
    if not rows:
        return []
    device = np.array([row.device for row in rows])
    earliest, latest = np.array([(row.earliest_us, row.latest_us) for row in rows]).T
    at = plane.earth(*np.array([(row.latitude, row.longitude) for row in rows], float).T)
    way_m = np.fmin(distance.cdist(at, at), REACH_M)  # where a place is not known: as far as a shot is heard
    apart_us = np.maximum(earliest[:, None], earliest) - np.minimum(latest[:, None], latest)
    linked = (apart_us <= 1e6 * (way_m / SLOWEST + DETOUR_S)) & (device[:, None] != device)
    count, label = csgraph.connected_components(linked, directed=False)
    out = [[rows[i] for i in np.flatnonzero(label == group)] for group in range(count)]
    return sorted(out, key=lambda group: (-len(group), min(row.earliest_us for row in group)))


def _numbered(
    connection: sql.Connection, groups: list[list[sql.Row]], site: sql.Row | None, *, now: datetime
) -> dict[int, list[sql.Row]]:
    """Return groups by the number of their case: the oldest that their incidents have, or that of a new one."""
    out = {}
    for group in groups:
        had = {row.case for row in group} - {None} - out.keys()
        out[min(had) if had else _open(connection, site, now=now)] = group
    return out


def _open(connection: sql.Connection, site: sql.Row | None, *, now: datetime) -> int:
    """Open a case, and return its number."""
    values = {"site": site and site.name, "exercise": bool(site and site.exercise), "opened_at": now, "changed_at": now}
    done = connection.execute(sql.insert(CASE).values(**values, devices=0, shots=0))
    return done.inserted_primary_key[0]


def _merge(connection: sql.Connection, number: int, into: int, *, now: datetime) -> None:
    """Merge a case into an older one: it was raised when the first of both was, and is a drill where both are."""
    both = connection.execute(sql.select(CASE).where(CASE.c.number.in_([number, into]))).all()
    raised_at = min((row.raised_at for row in both if row.raised_at), default=None)
    values = {"raised_at": raised_at, "exercise": all(row.exercise for row in both)}
    connection.execute(sql.update(CASE).where(CASE.c.number == into).values(**values))
    connection.execute(sql.update(INCIDENT).where(INCIDENT.c.case == number).values(case=into))  # withdrawn ones
    merged = sql.or_(CASE.c.number == number, CASE.c.merged_into == number)
    connection.execute(sql.update(CASE).where(merged).values(merged_into=into, changed_at=now))


def _update(connection: sql.Connection, number: int, group: list[sql.Row], *, needed: int, now: datetime) -> None:
    """Write what a case's incidents say, and raise it once enough devices have it; its place follows: `places`."""
    shots: dict[str, int] = {}
    for row in group:
        shots[row.device] = shots.get(row.device, 0) + row.shots
    first = min(((row.unix_us, row.error_us) for row in group if row.unix_us is not None), default=(None, None))
    values = {"devices": len(shots), "shots": max(shots.values(), default=0), "unix_us": first[0], "error_us": first[1]}
    connection.execute(sql.update(CASE).where(CASE.c.number == number).values(**values, place_due=True, changed_at=now))
    if len(shots) >= needed:
        unraised = sql.update(CASE).where(CASE.c.number == number, CASE.c.raised_at.is_(None))
        connection.execute(unraised.values(raised_at=now))
