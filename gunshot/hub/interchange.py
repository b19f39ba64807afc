"""What comes in and goes out by hand: a CSV of onsets with latitudes and longitudes, and a place as GeoJSON."""

import csv
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from gunshot.hub import plane
from gunshot.hub.location import Arrival, Location

COLUMNS = ("device", "lat", "lon", "onset", "clock_error_ms")
UNREAD_C, UNREAD_ERROR_C = 15.0, 15.0  # of the air, where nobody read a thermometer
READ_ERROR_C = 5.0  # of the air, where somebody did, perhaps elsewhere, or some hours ago
POINTS = 72  # of an ellipse's outline
DIGITS = 7  # of degrees: a centimetre


@dataclass(frozen=True)
class Onsets:
    """A table's `arrivals`, the `origin` of their metres in degrees, and whether its onsets were `dated` or plain s."""

    arrivals: list[Arrival]
    origin: tuple[float, float]
    dated: bool

    def time(self, time_s: float) -> str:
        """Return a time as the table has it: a date in UTC, or seconds."""
        return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds") if self.dated else f"{time_s:.3f}"


def read(path: Path) -> Onsets:
    """Return the onsets of a CSV with COLUMNS; the mean of the devices is the origin.

    An onset is ISO 8601, in UTC where it names no zone, or a number of seconds by a clock that all devices share. An
    empty `clock_error_ms` is a clock that is not disciplined.

    Raises
    ------
    ValueError
        The file has no row, lacks a column, or holds what is none of these: the message names row, value and rule.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (table.fieldnames or [])]
        if missing:
            raise ValueError(f"{path}: the first row must name the columns {', '.join(COLUMNS)}; no {missing[0]}")
        rows = [(table.line_num, row) for row in table]
    if not rows:
        raise ValueError(f"{path}: no row, there must be one for each device that heard the shot")
    onsets = [_onset(row["onset"], where=f"{path}: row {line}") for line, row in rows]
    dated = onsets[0][1]
    values = []
    for (line, row), (onset_s, is_dated) in zip(rows, onsets, strict=True):
        where = f"{path}: row {line}"
        if is_dated != dated:
            raise ValueError(
                f"{where}: onset={row['onset']!r} must be {'a date' if dated else 'seconds'} like the first"
            )
        lat = _number(row, "lat", where=where, low=-90, high=90)
        lon = _number(row, "lon", where=where, low=-180, high=180)
        if not _text(row, "device"):
            raise ValueError(f"{where}: device={row['device']!r} must name a device")
        values.append((_text(row, "device"), lat, lon, onset_s, _clock_error_s(row, where=where)))
    names, lat, lon, onset_s, error_s = zip(*values, strict=True)
    origin = plane.middle(np.array(lat), np.array(lon))
    place = plane.metres(np.array(lat), np.array(lon), origin=origin)
    columns = zip(names, *place.T.tolist(), onset_s, error_s, strict=True)
    return Onsets([Arrival(*each) for each in columns], origin, dated)


def _text(row: dict, name: str) -> str:
    return (row[name] or "").strip()


def _onset(text: str | None, *, where: str) -> tuple[float, bool]:
    """Return an onset in s, and whether it is a date."""
    text = (text or "").strip()
    try:
        value = float(text)
        if math.isfinite(value):
            return value, False
    except ValueError:
        try:
            date = datetime.fromisoformat(text)
            return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp(), True
        except ValueError:
            pass
    raise ValueError(f"{where}: onset={text!r} must be ISO 8601, such as 2026-05-01T22:10:03.125Z, or seconds")


def _clock_error_s(row: dict, *, where: str) -> float | None:
    if not _text(row, "clock_error_ms"):
        return None
    error_ms = _number(row, "clock_error_ms", where=where, low=0, high=math.inf)
    if error_ms == 0:
        raise ValueError(f"{where}: clock_error_ms=0 must be above 0; empty is a clock that is not disciplined")
    return error_ms / 1000


def _number(row: dict, name: str, *, where: str, low: float, high: float) -> float:
    try:
        value = float(_text(row, name))
    except ValueError:
        value = math.nan
    if not (low <= value <= high and math.isfinite(value)):
        rule = f"a number from {low:g} to {high:g}" if math.isfinite(high) else f"a number of {low:g} or more"
        raise ValueError(f"{where}: {name}={row[name]!r} must be {rule}")
    return value


def feature(at: Location, onsets: Onsets) -> dict:
    """Return a place as a GeoJSON Feature (RFC 7946): its ellipse as a polygon, the rest as properties.

    Without a place the geometry is null, and the properties say why.
    """
    common = {"left_out": at.left_out, "residuals_ms": {name: round(1000 * r, 1) for name, r in at.residuals_s.items()}}
    if at.reason:
        return {"type": "Feature", "geometry": None, "properties": {"reason": at.reason} | common}
    outline = plane.degrees(at.ellipse.outline(at.position_m, points=POINTS), origin=onsets.origin).round(DIGITS)
    ring = [[lon, lat] for lat, lon in [*outline.tolist(), outline[0].tolist()]]
    lat, lon = plane.degrees(at.position_m, origin=onsets.origin).round(DIGITS).tolist()
    properties = {
        "position": [lon, lat], "time": onsets.time(at.time_s), "half_axes_m": [round(at.ellipse.major_m, 1),
        round(at.ellipse.minor_m, 1)], "bearing_deg": round(at.ellipse.bearing_deg, 1), "probability": 0.95,
        "checked": at.checked,
    }  # fmt: skip
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": properties | common,
    }
