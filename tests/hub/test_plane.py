import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot.hub import plane


def angle(degrees: int, minutes: int, seconds: float) -> float:
    return degrees + minutes / 60 + seconds / 3600


FLINDERS = -angle(37, 57, 3.72030), angle(144, 25, 29.52440)
BUNINYONG = -angle(37, 39, 10.15610), angle(143, 55, 35.38390)


def test_a_surveyed_line():
    """Flinders Peak to Buninyong, 54,972.271 m at 306 deg 52' 05.37": the published example of Vincenty's formulae.

    At that distance the plane loses 0.68 m.
    """
    east, north = plane.metres(*BUNINYONG, origin=FLINDERS)
    assert np.hypot(east, north) == pytest.approx(54_972.271 - 0.68, abs=0.1)
    assert np.rad2deg(np.arctan2(east, north)) % 360 == pytest.approx(angle(306, 52, 5.37), abs=2e-4)


@pytest.mark.parametrize(("lat", "metres"), [(0, (110_574, 111_320)), (45, (111_132, 78_847)), (60, (111_412, 55_800))])
def test_a_degree(lat, metres):
    """The lengths of a degree of latitude and longitude, as tables of the ellipsoid have them."""
    step = 0.001
    north = plane.metres(lat + step, 7.0, origin=(lat, 7.0))[1] / step
    east = plane.metres(lat, 7.0 + step, origin=(lat, 7.0))[0] / step
    assert (north, east) == pytest.approx(metres, abs=1.5)


@given(
    lat=st.floats(-85, 85),
    lon=st.floats(-180, 180),
    place=st.tuples(st.floats(-10_000, 10_000), st.floats(-10_000, 10_000)),
)
def test_there_and_back(lat, lon, place):
    lat_lon = plane.degrees(np.array(place), origin=(lat, lon))
    assert plane.metres(*lat_lon, origin=(lat, lon)) == pytest.approx(place, abs=1e-3)


def test_across_the_date_line():
    east, north = plane.metres(-17.0, -179.999, origin=(-17.0, 179.999))
    assert east == pytest.approx(213, abs=1) and abs(north) < 0.01


def test_no_place_on_earth():
    with pytest.raises(ValueError, match=r"lat=91\.0 must be from -90 to 90"):
        plane.metres(np.array([45.0, 91.0]), np.array([7.0, 7.0]), origin=(45.0, 7.0))
    with pytest.raises(ValueError, match="at most 89 degrees"):
        plane.metres(89.5, 0.0, origin=(89.5, 0.0))
