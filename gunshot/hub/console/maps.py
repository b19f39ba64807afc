"""What the console's maps show: devices, and where cases were."""

from collections.abc import Iterable

import sqlalchemy as sql

from gunshot.hub.database import DEVICE


def shown(connection: sql.Connection, cases: Iterable[dict], *, site: str | None = None) -> dict:
    """Return `devices`, of a site or all, and the `cases` that have a place, with the outlines of their ellipses.

    Points are latitude and longitude, degrees. Devices without a place are left out.
    """
    d = DEVICE.c
    query = sql.select(d.name, d.latitude, d.longitude).where(d.latitude.isnot(None), d.longitude.isnot(None))
    if site:
        query = query.where(d.site == site)
    return {
        "devices": [{"name": name, "at": [lat, lon]} for name, lat, lon in connection.execute(query.order_by(d.name))],
        "cases": [
            {
                "number": case["number"], "state": case["state"], "at": [case["latitude"], case["longitude"]],
                "outline": _outline(case),
            }
            for case in cases if case["latitude"] is not None
        ],
    }  # fmt: skip


def _outline(case: dict) -> list[list[float]]:
    """Return the outline of a case's ellipse, a GeoJSON polygon, as latitudes and longitudes."""
    ((*outline, _),) = case["place"]["geometry"]["coordinates"]  # its last point is the first
    return [[lat, lon] for lon, lat in outline]
