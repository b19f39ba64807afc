"""What the hub's database says of cases: rows for people and tables, and GeoJSON for maps."""

from collections import Counter
from datetime import UTC, datetime

import sqlalchemy as sql

from gunshot.device.messages import State
from gunshot.hub.database import CASE, DECISION, INCIDENT
from gunshot.hub.incidents import time

COLUMNS = (
    "case", "time", "site", "raised", "exercise", "devices", "heard_by", "shots", "latitude", "longitude",
    "half_axis_m", "checked", "no_place", "clock_error_s", "opened", "changed",
)  # fmt: skip


def listing(connection: sql.Connection) -> list[dict]:
    """Return a dict with the COLUMNS for each case, newest last; one whose time is not known stands where it came.

    `time` is that of the first onset and `clock_error_s` how far it may be off, or both are None. `raised` is when
    enough devices had it: None where they do not. `opened` is when its first message came, and `changed` its last one,
    or when its place was worked out. All are ISO 8601, in UTC. `heard_by` has the names of its devices, with spaces
    between. `half_axis_m` is the longer one of the ellipse. What was merged into another case is not listed.
    """
    rows = connection.execute(sql.select(CASE).where(CASE.c.merged_into.is_(None))).all()
    counted = sql.select(INCIDENT.c.case, INCIDENT.c.device).where(INCIDENT.c.state != State.WITHDRAWN).distinct()
    heard_by: dict[int, list[str]] = {}
    for number, device in connection.execute(counted.order_by(INCIDENT.c.device)):
        heard_by.setdefault(number, []).append(device)
    rows.sort(key=lambda row: (time(row.unix_us) or utc(row.opened_at), row.number))
    return [_row(row, heard_by.get(row.number, [])) for row in rows]


def near(rows: list[dict]) -> Counter:
    """Return of how many cases of `listing` that were never raised, and are no drills, each device had an incident."""
    missed = (row for row in rows if row["raised"] is None and not row["exercise"])
    return Counter(device for row in missed for device in row["heard_by"].split())


def utc(at: datetime | None) -> datetime | None:
    """Return a time of the database with its zone, which SQLite does not keep."""
    return at and at.replace(tzinfo=at.tzinfo or UTC)


def last_decisions(*chosen: sql.ColumnElement) -> sql.Subquery:
    """Return a query of the last decision's number, `decision`, by `case`, of the decisions that are chosen."""
    query = sql.select(DECISION.c.case, sql.func.max(DECISION.c.number).label("decision"))
    return query.where(*chosen).group_by(DECISION.c.case).subquery()


def _row(row: sql.Row, heard_by: list[str]) -> dict:
    about = (row.place or {}).get("properties", {})
    times = {"time": time(row.unix_us), "raised": row.raised_at, "opened": row.opened_at, "changed": row.changed_at}
    times = {name: at and utc(at).isoformat(timespec="milliseconds") for name, at in times.items()}
    values = times | {
        "case": row.number,
        "site": row.site,
        "exercise": row.exercise,
        "devices": row.devices,
        "heard_by": " ".join(heard_by),
        "shots": row.shots,
        "latitude": row.latitude,
        "longitude": row.longitude,
        "half_axis_m": about.get("half_axes_m", [None])[0],
        "checked": about.get("checked"),
        "no_place": row.no_place,
        "clock_error_s": None if row.error_us is None else row.error_us / 1e6,
    }
    return {name: values[name] for name in COLUMNS}


def collection(rows: list[dict]) -> dict:
    """Return cases of `listing` as a GeoJSON FeatureCollection (RFC 7946): points, null where there is no place."""
    return {"type": "FeatureCollection", "features": [_feature(row) for row in rows]}


def _feature(row: dict) -> dict:
    at = None
    if row["latitude"] is not None:
        at = {"type": "Point", "coordinates": [row["longitude"], row["latitude"]]}
    properties = {name: row[name] for name in COLUMNS if name not in ("case", "latitude", "longitude")}
    return {"type": "Feature", "id": row["case"], "geometry": at, "properties": properties}
