import json

import numpy as np
import pytest

from gunshot.hub import interchange, plane
from gunshot.hub.location import locate
from tests.hub.cities import TEMPERATURE

HEADER = "device,lat,lon,onset,clock_error_ms\n"
ROWS = ["a,45.0,7.0,0.5,5", "b,45.003,7.0,0.9,5", "c,45.0,7.005,1.1,", "d,45.003,7.005,1.2,4.5"]


def table(tmp_path, rows: list[str], header: str = HEADER):
    path = tmp_path / "onsets.csv"
    path.write_text(header + "".join(row + "\n" for row in rows))
    return path


def test_rows_are_arrivals_about_their_mean(tmp_path):
    onsets = interchange.read(table(tmp_path, ROWS))
    assert [a.device for a in onsets.arrivals] == list("abcd") and not onsets.dated
    assert [a.clock_error_s for a in onsets.arrivals] == [0.005, 0.005, None, 0.0045]
    assert onsets.origin == pytest.approx((45.0015, 7.0025))
    place = np.array([[a.east_m, a.north_m] for a in onsets.arrivals])
    assert np.linalg.norm(place[1] - place[0]) == pytest.approx(333.4, abs=0.1)
    assert np.linalg.norm(place[2] - place[0]) == pytest.approx(394.2, abs=0.1)


@pytest.mark.parametrize(
    "text", ["2026-05-01T22:10:03.125Z", "2026-05-01T22:10:03.125", "2026-05-02T00:10:03.125+02:00"]
)
def test_dates_are_utc_or_of_their_zone(tmp_path, text):
    onsets = interchange.read(table(tmp_path, [f"a,45,7,{text},5"]))
    assert onsets.dated and onsets.arrivals[0].onset_s == pytest.approx(1777673403.125, abs=1e-6)
    assert onsets.time(onsets.arrivals[0].onset_s) == "2026-05-01T22:10:03.125+00:00"


def test_devices_on_both_sides_of_the_date_line_are_neighbours(tmp_path):
    rows = ["a,-17,179.999,0,5", "b,-17,-179.999,0,5"]
    first, second = interchange.read(table(tmp_path, rows)).arrivals
    assert second.east_m - first.east_m == pytest.approx(213, abs=1)


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ("e,91,7,1,5", "row 6: lat='91' must be a number from -90 to 90"),
        ("e,north,7,1,5", "row 6: lat='north' must be a number from -90 to 90"),
        ("e,45,200,1,5", "row 6: lon='200' must be a number from -180 to 180"),
        ("e,45,7,noon,5", "row 6: onset='noon' must be ISO 8601, such as 2026-05-01T22:10:03.125Z, or seconds"),
        ("e,45,7,nan,5", "row 6: onset='nan' must be ISO 8601"),
        ("e,45,7,2026-05-01T22:10:03Z,5", "row 6: onset='2026-05-01T22:10:03Z' must be seconds like the first"),
        ("e,45,7,1,-5", "row 6: clock_error_ms='-5' must be a number of 0 or more"),
        ("e,45,7,1,0", "row 6: clock_error_ms=0 must be above 0; empty is a clock that is not disciplined"),
        (",45,7,1,5", "row 6: device='' must name a device"),
        ("e,45", "row 6: onset='' must be ISO 8601"),
    ],
)
def test_what_is_no_row(tmp_path, row, rule):
    path = table(tmp_path, [*ROWS, row])
    with pytest.raises(ValueError, match=r"onsets\.csv: row 6: ") as error:
        interchange.read(path)
    assert str(error.value).startswith(f"{path}: {rule}")


def test_what_is_no_table(tmp_path):
    with pytest.raises(ValueError, match=r"the first row must name the columns device, lat, .*; no clock_error_ms"):
        interchange.read(table(tmp_path, ["a,45,7,1"], "device,lat,lon,onset\n"))
    with pytest.raises(ValueError, match="no row, there must be one for each device"):
        interchange.read(table(tmp_path, []))


def shot(tmp_path, at_m=(40.0, -30.0)) -> interchange.Onsets:
    """Six devices around 45 N 7 E and a shot, exact to the digits of the table."""
    place = np.array([[-200, -200], [220, -180], [210, 190], [-190, 230], [0, 400], [420, 20]])
    rows = [
        f"{name},{lat:.8f},{lon:.8f},{np.hypot(*(xy - np.array(at_m))) / 340.28:.5f},2"
        for name, xy, (lat, lon) in zip("abcdef", place, plane.degrees(place, origin=(45.0, 7.0)), strict=True)
    ]
    return interchange.read(table(tmp_path, rows))


def test_a_feature_is_what_maps_read(tmp_path):
    """A closed ring, counterclockwise, longitude first, around the shot."""
    onsets = shot(tmp_path)
    feature = json.loads(json.dumps(interchange.feature(locate(onsets.arrivals, **TEMPERATURE), onsets)))
    (ring,) = feature["geometry"]["coordinates"]
    assert feature["type"] == "Feature" and feature["geometry"]["type"] == "Polygon"
    assert ring[0] == ring[-1] and len(ring) == interchange.POINTS + 1
    place = plane.metres(*np.array(ring)[:, ::-1].T, origin=(45.0, 7.0))
    x, y = place[:-1].T
    assert np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) > 0
    assert place[:-1].mean(axis=0) == pytest.approx((40, -30), abs=2)
    gap = np.hypot(*(place - place[:-1].mean(axis=0)).T)
    assert (gap.max(), gap.min()) == pytest.approx(feature["properties"]["half_axes_m"], abs=0.2)
    lon, lat = feature["properties"]["position"]
    assert plane.metres(lat, lon, origin=(45.0, 7.0)) == pytest.approx((40, -30), abs=2)
    assert feature["properties"]["checked"] is True and feature["properties"]["left_out"] == {}


def test_without_a_place_the_feature_says_why(tmp_path):
    onsets = interchange.read(table(tmp_path, ROWS[:2]))
    feature = interchange.feature(locate(onsets.arrivals, **TEMPERATURE), onsets)
    assert feature["geometry"] is None
    assert feature["properties"]["reason"].startswith("2 devices with a disciplined clock")
