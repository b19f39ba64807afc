"""Cases: the incidents of a site's devices that one sound can explain are one, in whatever order their messages come.

Two incidents of different devices are linked where the times at which their shots were heard lie no further apart than
sound takes from one device to the other. A case is what links hold together, so that it follows from the incidents
alone. The sound is as slow as in the coldest air: no season takes two devices apart, at the price of a little width.
"""

import dataclasses
from datetime import datetime
from functools import lru_cache

import numpy as np
import sqlalchemy as sql
from scipy.sparse import csgraph
from scipy.spatial import distance

from gunshot.device.messages import State
from gunshot.hub import interchange, plane
from gunshot.hub.database import CASE, DEVICE, INCIDENT, SITE
from gunshot.hub.location import REACH_M, UNREAD_C, UNREAD_ERROR_C, Arrival, Location, locate
from gunshot.simulate.physics import Air

SLOWEST = Air(-20).speed  # m/s
DETOUR_S = 0.1  # by which an onset may be late besides: a path around a house is up to 80 ms longer
WIDEST_US = round(1e6 * (REACH_M / SLOWEST + DETOUR_S))  # between spans that are linked, at most
UNPLACED, UNTIMED = "where it stands is not known", "its clock is not disciplined"  # why a device is left out
NOBODY = "no device that heard it knows the time and stands at a known place"
REMEMBERED = 1000  # places: a case is located anew where its first onsets changed, at no other message

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
    for number, group in numbered.items():
        for row in group:
            if row.case != number or _key(row) == _key(own):
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


def _key(row: sql.Row) -> tuple[str, int, int]:
    return row.device, row.session, row.incident


def _is(row: sql.Row) -> list:
    return [column == getattr(row, column.name) for column in INCIDENT.primary_key]


def _around(connection: sql.Connection, own: sql.Row) -> list[sql.Row]:
    """Return an incident, and all of its case and of those that it may be linked to, but for what was withdrawn."""
    near = sql.select(INCIDENT.c.case).join(CASE, INCIDENT.c.case == CASE.c.number).where(
        CASE.c.site.is_not(None),
        CASE.c.site == own.site,
        INCIDENT.c.earliest_us <= own.latest_us + WIDEST_US,
        INCIDENT.c.latest_us >= own.earliest_us - WIDEST_US,
    )  # fmt: skip
    members = sql.or_(sql.and_(*_is(own)), INCIDENT.c.case == own.case, INCIDENT.c.case.in_(near))
    counted = MEMBERS.where(members, INCIDENT.c.state != State.WITHDRAWN)
    return list(connection.execute(counted.order_by(*INCIDENT.primary_key)))


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
    """Write what a case's incidents say, and raise it once enough devices have it."""
    shots: dict[str, int] = {}
    for row in group:
        shots[row.device] = shots.get(row.device, 0) + row.shots
    first = min(((row.unix_us, row.error_us) for row in group if row.unix_us is not None), default=(None, None))
    values = {"devices": len(shots), "shots": max(shots.values(), default=0), "unix_us": first[0], "error_us": first[1]}
    connection.execute(
        sql.update(CASE).where(CASE.c.number == number).values(**values, **_place(group), changed_at=now)
    )
    if len(shots) >= needed:
        unraised = sql.update(CASE).where(CASE.c.number == number, CASE.c.raised_at.is_(None))
        connection.execute(unraised.values(raised_at=now))


def _place(group: list[sql.Row]) -> dict:
    """Return a case's columns of where it was fired, by each device's first onset."""
    first: dict[str, sql.Row] = {}
    for row in group:
        if row.unix_us is None or row.latitude is None:
            continue
        if row.device not in first or row.unix_us < first[row.device].unix_us:
            first[row.device] = row
    onsets = tuple(
        (row.device, row.latitude, row.longitude, row.unix_us, row.error_us) for _, row in sorted(first.items())
    )
    unused = {row.device: UNTIMED if row.latitude is not None else UNPLACED for row in group if row.device not in first}
    return _located(onsets, tuple(sorted(unused.items())))


@lru_cache(REMEMBERED)
def _located(onsets: tuple, unused: tuple) -> dict:
    """Return columns of a place, from devices with latitude, longitude, onset and its error in microseconds."""
    if not onsets:
        return {"latitude": None, "longitude": None, "place": None, "no_place": NOBODY}
    names, lat, lon, unix_us, error_us = zip(*onsets, strict=True)
    origin = plane.middle(lat, lon)
    place = plane.metres(lat, lon, origin=origin)
    arrivals = [
        Arrival(name, *at, time / 1e6, max(error, 1) / 1e6)  # no clock is sure to less than a microsecond
        for name, at, time, error in zip(names, place.tolist(), unix_us, error_us, strict=True)
    ]
    try:
        at = locate(arrivals, temperature_c=UNREAD_C, temperature_error_c=UNREAD_ERROR_C)
    except ValueError as e:  # places that cannot be: they must not end the hub
        at = Location(str(e))
    at = dataclasses.replace(at, left_out=at.left_out | dict(unused))
    feature = interchange.feature(at, interchange.Onsets(arrivals, origin, dated=True))
    longitude, latitude = feature["properties"].get("position", (None, None))
    return {"latitude": latitude, "longitude": longitude, "place": feature, "no_place": at.reason or None}
