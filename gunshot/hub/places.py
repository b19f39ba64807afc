"""Where the shots of cases were fired, by each device's first onset: worked out after the intake, which waits for none.

A place of six devices takes a fifth of a second. An alert only marks its case; what came meanwhile is one more place.
"""

import dataclasses
import time
from datetime import UTC, datetime
from functools import lru_cache
from threading import Event

import sqlalchemy as sql

from gunshot.device.messages import State
from gunshot.hub import interchange, plane
from gunshot.hub.database import CASE, DEVICE, INCIDENT, SITE
from gunshot.hub.interchange import READ_ERROR_C, UNREAD_C, UNREAD_ERROR_C
from gunshot.hub.location import Arrival, locate

PAUSE_S = 0.2  # between two looks for cases that are due
REMEMBERED = 1000  # places: most messages of a case change no device's first onset
UNPLACED, UNTIMED = "where it stands is not known", "its clock is not disciplined"  # why a device is left out
NOBODY = "no device that heard it knows the time and stands at a known place"


def keep(engine: sql.Engine, stop: Event) -> None:
    """Work out the places that are due, until `stop` is set."""
    while not stop.wait(PAUSE_S):
        work(engine, stop)


def work(engine: sql.Engine, stop: Event) -> None:
    """Work out the places that are due now, the newest cases first; what a moment brings is written together."""
    with engine.connect() as connection:
        due = connection.execute(sql.select(CASE).where(CASE.c.place_due).order_by(CASE.c.number.desc())).all()
    done, since = [], time.monotonic()
    for case in due:
        if stop.is_set():
            break
        done.append((case, _values(engine, case)))
        if time.monotonic() - since >= PAUSE_S:
            _write(engine, done)
            done, since = [], time.monotonic()
    _write(engine, done)


def _values(engine: sql.Engine, case: sql.Row) -> dict:
    """Return a case's columns of where it was fired."""
    counted = INCIDENT.c.case == case.number, INCIDENT.c.state != State.WITHDRAWN
    columns = INCIDENT.c.device, INCIDENT.c.unix_us, INCIDENT.c.error_us, DEVICE.c.latitude, DEVICE.c.longitude
    with engine.connect() as connection:
        rows = connection.execute(sql.select(*columns).join(DEVICE).where(*counted).order_by(*columns)).all()
        temperature_c = connection.scalar(sql.select(SITE.c.temperature_c).where(SITE.c.name == case.site))
    return _place(rows, temperature_c)


def _write(engine: sql.Engine, done: list[tuple[sql.Row, dict]]) -> None:
    """Write where cases were fired; one of which a message came meanwhile, or is just being taken in, stays due.

    It waits for no row: the intake writes several cases too, in its own order, and would wait for this one in turn.
    """
    if not done:
        return
    with engine.begin() as connection:
        mine = CASE.c.number.in_([case.number for case, _ in done])
        locked = sql.select(CASE.c.number).where(mine).with_for_update(key_share=True, skip_locked=True)
        free = set(connection.scalars(locked))
        for case, values in done:
            if case.number not in free:
                continue
            if any(getattr(case, name) != value for name, value in values.items()):
                values = values | {"changed_at": datetime.now(UTC)}
            same = CASE.c.number == case.number, CASE.c.changed_at == case.changed_at
            connection.execute(sql.update(CASE).where(*same).values(**values, place_due=False))


def _place(rows: list[sql.Row], temperature_c: float | None) -> dict:
    """Return a case's columns of where it was fired, from its incidents by device and time."""
    first: dict[str, tuple] = {}
    unused = {row.device: UNTIMED if row.latitude is not None else UNPLACED for row in rows}
    for row in rows:
        if row.unix_us is not None and row.latitude is not None and row.device not in first:
            first[row.device] = tuple(row)
            del unused[row.device]
    return _located(tuple(first.values()), tuple(unused.items()), temperature_c)


@lru_cache(REMEMBERED)
def _located(onsets: tuple, unused: tuple, temperature_c: float | None) -> dict:
    """Return columns of a place, from devices with their first onset and its error in us, latitude and longitude."""
    if not onsets:
        return {"latitude": None, "longitude": None, "place": None, "no_place": NOBODY}
    names, unix_us, error_us, lat, lon = zip(*onsets, strict=True)
    origin = plane.middle(lat, lon)
    place = plane.metres(lat, lon, origin=origin).tolist()
    arrivals = [
        Arrival(name, *at, time / 1e6, max(error, 1) / 1e6)  # no clock is sure to less than a microsecond
        for name, at, time, error in zip(names, place, unix_us, error_us, strict=True)
    ]
    air_c, error_c = (UNREAD_C, UNREAD_ERROR_C) if temperature_c is None else (temperature_c, READ_ERROR_C)
    at = locate(arrivals, temperature_c=air_c, temperature_error_c=error_c)
    at = dataclasses.replace(at, left_out=at.left_out | dict(unused))
    feature = interchange.feature(at, interchange.Onsets(arrivals, origin, dated=True))
    longitude, latitude = feature["properties"].get("position", (None, None))
    longitude = longitude and (longitude + 180) % 360 - 180  # where devices stand on both sides of the date line
    return {"latitude": latitude, "longitude": longitude, "place": feature, "no_place": at.reason or None}
