"""Cases as they are listed, as GeoJSON by the rules of RFC 7946, and as messages by those of CAP 1.2."""

import json

import pytest
import sqlalchemy as sql

from gunshot.device.messages import State
from gunshot.hub import cases
from tests.hub.test_fusion import a_message, take
from tests.hub.test_places import engine, heard_s, place  # noqa: F401 - a fixture


@pytest.fixture
def listed(engine: sql.Engine) -> list[dict]:  # noqa: F811
    """A raised case with a place; a later one that is near; one without a time, of which all was withdrawn."""
    for state in (State.OPENED, State.WITHDRAWN):
        take(engine, a_message(1, 0.0, incident=3, sequence=5 + state, clock=None, state=state), late_s=900)
    take(engine, a_message(0, 600.0, incident=2, sequence=1), late_s=601)
    for device in range(4):
        take(engine, a_message(device, heard_s(device)), late_s=2)
    place(engine, 3)
    with engine.connect() as connection:
        return cases.listing(connection)


def test_the_newest_is_last_and_each_says_who_heard_it(listed):
    assert [row["case"] for row in listed] == [3, 2, 1]
    raised, near, withdrawn = listed
    assert tuple(raised) == cases.COLUMNS
    assert raised["time"] == "2026-03-01T12:00:00.459+00:00" and raised["clock_error_s"] == 0.002
    assert (raised["heard_by"], raised["devices"], raised["site"]) == ("d0 d1 d2 d3", 4, "yard")
    assert raised["raised"] == raised["opened"] == "2026-03-01T12:00:02.000+00:00"
    assert 0 < raised["half_axis_m"] < 30 and raised["checked"] and raised["no_place"] is None
    assert (near["heard_by"], near["raised"], near["latitude"]) == ("d0", None, None)
    assert cases.near(listed) == {"d0": 1} and cases.near([near | {"exercise": True}]) == {}
    assert "3 or more must hear a shot" in near["no_place"]
    assert (withdrawn["heard_by"], withdrawn["devices"], withdrawn["time"]) == ("", 0, None)


def test_geojson_keeps_the_rules_of_rfc_7946(listed):
    """Of a collection, of features, and of points: longitude before latitude, in degrees, and no other system (4)."""
    collection = json.loads(json.dumps(cases.collection(listed), allow_nan=False))
    assert set(collection) == {"type", "features"} and collection["type"] == "FeatureCollection"
    for feature, row in zip(collection["features"], listed, strict=True):
        assert set(feature) == {"type", "id", "geometry", "properties"}
        assert feature["type"] == "Feature" and feature["id"] == row["case"]
        assert isinstance(feature["properties"], dict)
        assert not {"coordinates", "geometries", "geometry", "features"} & set(feature["properties"])  # 7.1
    first, *others = (feature["geometry"] for feature in collection["features"])
    assert others == [None, None] and first["type"] == "Point"
    longitude, latitude = first["coordinates"]
    assert longitude == pytest.approx(120 / 111_320, abs=1e-5) and latitude == pytest.approx(100 / 110_574, abs=1e-5)
