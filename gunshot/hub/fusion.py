"""Cases: the incidents of a site's devices that one sound can explain are one, in whatever order their messages come.

Two incidents of different devices are linked where the times at which their shots were heard lie no further apart than
sound takes from one device to the other. A case is what links hold together, so that it follows from the incidents
alone. The sound is as slow as in the coldest air: no season takes two devices apart, at the price of a little width.
"""

from collections import Counter
from collections.abc import Iterable
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

# An incident, and where its device stands.
THERE = (*INCIDENT.c, DEVICE.c.latitude, DEVICE.c.longitude)
MEMBERS = sql.select(*THERE).select_from(INCIDENT.join(DEVICE))
COUNTED = INCIDENT.c.state != State.WITHDRAWN
# With parameters: so each is compiled once, and prepared once, however many messages come.
OWN = (
    sql.select(*THERE, SITE.c.devices_needed, SITE.c.exercise)  # of the site null: it decides alone
    .select_from(INCIDENT.join(DEVICE).outerjoin(SITE, SITE.c.name == INCIDENT.c.site))
    .where(*(column == sql.bindparam(column.name) for column in INCIDENT.primary_key))
)
NEAR = (  # of the same site, that may be linked to one
    INCIDENT.c.site == sql.bindparam("site"),
    INCIDENT.c.earliest_us <= sql.bindparam("before_us"),
    INCIDENT.c.latest_us.between(sql.bindparam("after_us"), sql.bindparam("before_us") + LONGEST_US),
)
NEAR_MEMBERS = MEMBERS.where(*NEAR, COUNTED)
MOVE = sql.update(INCIDENT).where(*(column == sql.bindparam(f"own_{column.name}") for column in INCIDENT.primary_key))
IN_CASE = sql.select(INCIDENT.c.device, INCIDENT.c.shots, INCIDENT.c.unix_us, INCIDENT.c.error_us).where(
    INCIDENT.c.case == sql.bindparam("number"), COUNTED
)
UPDATE = sql.update(CASE).where(CASE.c.number == sql.bindparam("own"), CASE.c.merged_into.is_(None))
RAISE = UPDATE.where(CASE.c.raised_at.is_(None))


def join(connection: sql.Connection, incidents: Iterable[tuple[dict, dict | None]], *, now: datetime) -> None:
    """Put incidents of which more was heard into their cases, which may merge cases, or take some apart.

    Of each it takes the key, which is its device, session and incident, and the row before those messages: None where
    they are the first. A withdrawn incident stays in the case that it has, and does not count.
    """
    changed: dict[int, int] = {}  # cases, and how many devices they need
    for key, before in incidents:
        own = connection.execute(OWN, key).one()
        if own.state != State.WITHDRAWN and (before is None or _holds(own, before)):
            numbers = {_attached(connection, own, now=now)}
        else:
            numbers = _regrouped(connection, own, now=now)
        changed |= dict.fromkeys(numbers, own.devices_needed or 1)
    _update(connection, changed, now=now)


def _holds(own: sql.Row, before: dict) -> bool:
    """Return whether a span holds that before it, so that no link was lost: all but a clock that comes late."""
    return own.earliest_us <= before["earliest_us"] and own.latest_us >= before["latest_us"]


def _attached(connection: sql.Connection, own: sql.Row, *, now: datetime) -> int:
    """Put an incident into the oldest case that it is linked to or in, merge the others into it; return its number."""
    rows = [own, *connection.execute(NEAR_MEMBERS, _span(own))] if own.site else [own]
    numbers = {rows[i].case for i in np.flatnonzero(links(rows)[0])} | {own.case} - {None}
    numbers.discard(None)  # one that came together with it, and is yet to be put into a case
    number = min(numbers) if numbers else _open(connection, own, now=now)
    if own.case is None:
        _move(connection, own, number)
    for other in sorted(numbers - {number}):
        _merge(connection, other, number, now=now)
    return number


def _regrouped(connection: sql.Connection, own: sql.Row, *, now: datetime) -> set[int]:
    """Group an incident's case and those that it may be linked to anew; return the numbers of those that changed."""
    near = set(connection.scalars(sql.select(INCIDENT.c.case).where(*NEAR), _span(own))) if own.site else set()
    in_cases = MEMBERS.where(INCIDENT.c.case.in_((near | {own.case}) - {None}), COUNTED)
    numbered = _numbered(connection, groups(list(connection.execute(in_cases))), own, now=now)
    changed = {own.case} - {None}
    moved = [(row, number) for number, group in numbered.items() for row in group if row.case != number]
    for row, number in moved:
        changed |= {row.case, number}
        _move(connection, row, number)
    for number in sorted(changed - numbered.keys()):
        into = next((into for into, group in numbered.items() if number in {row.case for row in group}), None)
        if into is not None:  # else all of it is withdrawn
            changed.remove(number)
            _merge(connection, number, into, now=now)
    return changed


def _span(own: sql.Row) -> dict:
    """Return the parameters of NEAR for an incident."""
    return {"site": own.site, "before_us": own.latest_us + WIDEST_US, "after_us": own.earliest_us - WIDEST_US}


def _move(connection: sql.Connection, row: sql.Row, number: int) -> None:
    """Put an incident into a case."""
    own = {f"own_{column.name}": getattr(row, column.name) for column in INCIDENT.primary_key}
    connection.execute(MOVE, own | {"case": number})


def links(rows: list[sql.Row]) -> np.ndarray:
    """Return which incidents of one site are linked [shape=(n, n)]."""
    device = np.array([row.device for row in rows])
    earliest, latest = np.array([(row.earliest_us, row.latest_us) for row in rows]).T
    at = plane.earth(*np.array([(row.latitude, row.longitude) for row in rows], float).T)
    way_m = np.fmin(distance.cdist(at, at), REACH_M)  # where a place is not known: as far as a shot is heard
    apart_us = np.maximum(earliest[:, None], earliest) - np.minimum(latest[:, None], latest)
    return (apart_us <= 1e6 * (way_m / SLOWEST + DETOUR_S)) & (device[:, None] != device)


def groups(rows: list[sql.Row]) -> list[list[sql.Row]]:
    """Return incidents of one site by what links hold together, those of more incidents and earlier ones first."""
    if not rows:
        return []
    count, label = csgraph.connected_components(links(rows), directed=False)
    out = [[rows[i] for i in np.flatnonzero(label == group)] for group in range(count)]
    return sorted(out, key=lambda group: (-len(group), min(row.earliest_us for row in group)))


def _numbered(
    connection: sql.Connection, groups: list[list[sql.Row]], own: sql.Row, *, now: datetime
) -> dict[int, list[sql.Row]]:
    """Return groups by the number of their case: the oldest that their incidents have, or that of a new one."""
    out = {}
    for group in groups:
        had = {row.case for row in group} - {None} - out.keys()
        out[min(had) if had else _open(connection, own, now=now)] = group
    return out


def _open(connection: sql.Connection, own: sql.Row, *, now: datetime) -> int:
    """Open a case of an incident's site, and return its number."""
    values = {"site": own.site, "exercise": bool(own.exercise), "opened_at": now, "changed_at": now}
    done = connection.execute(sql.insert(CASE), values | {"devices": 0, "shots": 0})
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


def _update(connection: sql.Connection, changed: dict[int, int], *, now: datetime) -> None:
    """Write what cases' incidents say, and raise each once enough devices have it; their places follow: `places`.

    `changed` has how many devices each needs. One that was merged into another since is left as it was.
    """
    raised = []
    for number, needed in sorted(changed.items()):
        rows = connection.execute(IN_CASE, {"number": number}).all()
        shots = Counter()
        for row in rows:
            shots[row.device] += row.shots
        times = ((row.unix_us, row.error_us) for row in rows if row.unix_us is not None)
        unix_us, error_us = min(times, default=(None, None))
        values = {"devices": len(shots), "shots": max(shots.values(), default=0), "place_due": True, "changed_at": now}
        connection.execute(UPDATE, values | {"unix_us": unix_us, "error_us": error_us, "own": number})
        if len(shots) >= needed:
            raised.append({"own": number, "raised_at": now})
    if raised:
        connection.execute(RAISE, raised)
