"""A place from onsets: the truth within its ellipse as often as it says, and no place where there is none to have."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from gunshot.hub.location import Arrival, Ellipse, locate
from tests.hub.cities import TEMPERATURE, arrivals, city, onsets

SPEED = 331.3 * np.sqrt(1 + 15.0 / 273.15)
SQUARE = np.array([[0.0, 0.0], [400.0, 20.0], [390.0, 420.0], [-10.0, 380.0], [180.0, 650.0], [650.0, 200.0]])


def exact(place: np.ndarray, shot: tuple[float, float], time_s: float = 0.0) -> np.ndarray:
    return time_s + np.linalg.norm(place - shot, axis=1) / SPEED


def covered(count: int, devices: int, *, blocked: bool, seed: int) -> np.ndarray:
    """Whether the ellipse holds the shot, of drawn cities that have a place."""
    rng, inside = np.random.default_rng(seed), []
    while len(inside) < count:
        place, shot = city(rng, devices)
        onset_s = onsets(rng, place, shot)
        if blocked:
            onset_s[rng.integers(devices)] += rng.uniform(0.005, 0.08)
        at = locate(arrivals(place, onset_s), **TEMPERATURE)
        if not at.reason:
            gap = at.position_m - shot
            inside.append(gap @ np.linalg.solve(at.covariance, gap) <= stats.chi2.ppf(0.95, 2))
    return np.array(inside)


@settings(max_examples=10)
@given(
    shot=st.tuples(st.floats(30, 360), st.floats(30, 360)),
    devices=st.integers(4, 6),
    time_s=st.floats(0, 2e9),
)
def test_exact_onsets_give_the_place_and_the_time(shot, devices, time_s):
    """The clock's own digits bound it: a double holds 0.2 us of Unix time."""
    place = SQUARE[:devices]
    at = locate(arrivals(place, exact(place, shot, time_s), clock_error_s=0.001), **TEMPERATURE)
    assert at.reason == "" and at.checked and at.left_out == {}
    assert np.hypot(*(at.position_m - shot)) < 2.0
    assert at.time_s == pytest.approx(time_s, abs=0.01)
    assert list(at.residuals_s) == list("abcdef"[:devices])


@pytest.mark.slow
@settings(max_examples=8)
@given(turn=st.floats(0, 2 * np.pi), east_m=st.floats(-1e4, 1e4), seed=st.integers(0, 9))
def test_a_moved_and_turned_city_has_a_moved_and_turned_place(turn, east_m, seed):
    rng = np.random.default_rng(seed)
    onset_s = onsets(rng, SQUARE, np.array([210.0, 130.0]))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    here = locate(arrivals(SQUARE, onset_s), **TEMPERATURE)
    there = locate(arrivals(SQUARE @ rotation.T + [east_m, 0], onset_s), **TEMPERATURE)
    assert there.position_m == pytest.approx(rotation @ here.position_m + [east_m, 0], abs=0.01)
    assert there.covariance == pytest.approx(rotation @ here.covariance @ rotation.T, abs=0.01)


@pytest.mark.slow
@pytest.mark.sweep(2)
@pytest.mark.parametrize(("devices", "blocked"), [(3, False), (4, False), (6, False), (6, True)])
def test_the_ellipse_holds_the_shot_95_times_in_100(devices, blocked):
    """Within 92 and 98 %, as far as so many cities can tell: their interval of 99 % reaches in there.

    Of four devices with a clear path it holds more: that one of them may be late cannot be seen, and is allowed for.
    """
    inside = covered(200, devices, blocked=blocked, seed=1)
    low, high = stats.binomtest(int(inside.sum()), len(inside)).proportion_ci(0.99)
    assert high >= 0.92 and (low <= 0.98 or devices == 4)


def test_three_devices_give_a_place_that_nothing_checks():
    place = SQUARE[:3]
    at = locate(arrivals(place, exact(place, (250, 150))), **TEMPERATURE)
    assert at.reason == "" and not at.checked
    assert np.hypot(*(at.position_m - (250, 150))) < 1.0


def test_three_devices_can_have_two_places():
    """Beyond the corner of a triangle two places have the same differences of arrival."""
    place = np.array([[-200.0, -77.0], [-472.0, -376.0], [171.0, 147.0]])
    at = locate(arrivals(place, exact(place, (-76, -175))), **TEMPERATURE)
    assert at.position_m is None and "two places are possible" in at.reason
    assert "(-76 m, -175 m)" in at.reason


def test_the_second_place_is_dropped_where_no_shot_is_heard_from():
    place = np.array([[-200.0, -77.0], [-472.0, -376.0], [171.0, 147.0]])
    heard = arrivals(place, exact(place, (-76, -175)), clock_error_s=0.001)
    reach = np.linalg.norm(place - (-76, -175), axis=1).max() + 20
    at = locate(heard, **TEMPERATURE, reach_m=reach)
    assert at.reason == "" and np.hypot(*(at.position_m - (-76, -175))) < 5


@pytest.mark.parametrize("count", [0, 1, 2])
def test_two_devices_never_give_a_place(count):
    at = locate(arrivals(SQUARE[:count], exact(SQUARE[:count], (100, 100))), **TEMPERATURE)
    assert at.position_m is None and at.ellipse is None
    assert at.reason.startswith(f"{count} device")


def test_a_device_without_a_disciplined_clock_is_not_used():
    """Its onset may be anything: nothing moves."""
    good = arrivals(SQUARE[:5], exact(SQUARE[:5], (200, 150)))
    places = [
        locate([*good, Arrival("free", 100.0, 300.0, onset_s, None)], **TEMPERATURE) for onset_s in (0.0, 77.0, 1e6)
    ]
    assert all(np.array_equal(at.position_m, places[0].position_m) for at in places)
    assert all(at.left_out == {"free": "its clock is not disciplined"} for at in places)
    alone = locate([replace(a, clock_error_s=None) if a.device in "ab" else a for a in good[:4]], **TEMPERATURE)
    assert alone.reason.startswith("2 devices with a disciplined clock") and set(alone.left_out) == {"a", "b"}


@pytest.mark.slow
@settings(max_examples=12)
@example(late_s=0.5, device=2, shot=(100.0, 100.0))  # no place within reach fits all six
@given(late_s=st.floats(0.06, 0.5), device=st.integers(0, 5), shot=st.tuples(st.floats(100, 300), st.floats(100, 350)))
def test_a_late_device_is_named(late_s, device, shot):
    onset_s = exact(SQUARE, shot)
    onset_s[device] += late_s
    at = locate(arrivals(SQUARE, onset_s, clock_error_s=0.002), **TEMPERATURE)
    assert at.reason == "" and list(at.left_out) == ["abcdef"[device]]
    assert at.left_out["abcdef"[device]].startswith("late by")
    assert at.residuals_s["abcdef"[device]] == pytest.approx(late_s, abs=0.02)
    assert np.hypot(*(at.position_m - shot)) < 10


def test_an_early_device_is_named():
    onset_s = exact(SQUARE, (200, 200))
    onset_s[1] -= 0.15
    at = locate(arrivals(SQUARE, onset_s), **TEMPERATURE)
    assert list(at.left_out) == ["b"] and at.left_out["b"].startswith("early by 1")
    assert np.hypot(*(at.position_m - (200, 200))) < 10


@pytest.mark.parametrize("late_s", [0.15, 0.3])
def test_four_devices_that_contradict_have_no_place(late_s):
    """Any three of them agree, so that nothing says which one is wrong."""
    onset_s = exact(SQUARE[:4], (200, 180))
    onset_s[2] += late_s
    at = locate(arrivals(SQUARE[:4], onset_s, clock_error_s=0.002), **TEMPERATURE)
    assert at.position_m is None and at.reason


@pytest.mark.slow
def test_onsets_of_different_sounds_have_no_place():
    """In thirty cities one may pass by chance."""
    rng, placed = np.random.default_rng(3), 0
    for _ in range(30):
        place, _ = city(rng, int(rng.integers(4, 8)))
        placed += not locate(arrivals(place, rng.uniform(0, 2, len(place))), **TEMPERATURE).reason
    assert placed <= 1


@pytest.mark.parametrize("bend_m", [0.0, 5.0])
def test_devices_in_a_line_have_no_place(bend_m):
    place = np.array([[0.0, 0.0], [200.0, bend_m], [420.0, 0.0], [600.0, bend_m]])
    at = locate(arrivals(place, exact(place, (300, 150))), **TEMPERATURE)
    assert at.position_m is None and "in a line" in at.reason


def test_a_wide_ellipse_is_no_place():
    place, shot = SQUARE[:4] / 10, (900.0, 600.0)
    far = arrivals(place, exact(place, shot))
    assert "half axis" in locate(far, **TEMPERATURE).reason
    wide = locate(far, **TEMPERATURE, max_axis_m=1e5)
    assert wide.reason == "" and wide.ellipse.major_m > 100


def test_a_worse_clock_counts_less():
    onset_s = exact(SQUARE, (200, 200))
    onset_s[0] += 0.01
    trusted = arrivals(SQUARE, onset_s)
    doubted = [replace(a, clock_error_s=0.05) if a.device == "a" else a for a in trusted]
    errors = [np.hypot(*(locate(each, **TEMPERATURE).position_m - (200, 200))) for each in (trusted, doubted)]
    assert errors[1] < 0.2 * errors[0]


def test_the_temperature_is_one_error_of_all():
    """Ten degrees off move a place between the devices by little, and one that they allow for is not taken for late."""
    onset_s = np.linalg.norm(SQUARE - (200, 200), axis=1) / (331.3 * np.sqrt(1 + 25 / 273.15))
    at = locate(arrivals(SQUARE, onset_s, clock_error_s=0.001), **TEMPERATURE)
    assert at.left_out == {} and np.hypot(*(at.position_m - (200, 200))) < 3
    assert max(map(abs, at.residuals_s.values())) < 0.003


def test_the_ellipse_of_a_covariance():
    """Half axes of 2 and 1 standard deviations, the longer one 30 degrees east of north."""
    bearing = np.deg2rad(30)
    along, across = np.array([np.sin(bearing), np.cos(bearing)]), np.array([np.cos(bearing), -np.sin(bearing)])
    ellipse = Ellipse.from_covariance(4 * np.outer(along, along) + np.outer(across, across))
    assert (ellipse.major_m, ellipse.minor_m, ellipse.bearing_deg) == pytest.approx((4.8955, 2.4477, 30.0), abs=1e-3)
    outline = ellipse.outline(np.array([10.0, -5.0]), points=36) - [10.0, -5.0]
    assert outline[0] == pytest.approx(4.8955 * along, abs=1e-3)
    assert np.hypot(*outline.T).min() == pytest.approx(2.4477, abs=1e-3)
    x, y = outline.T
    assert np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) > 0


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"onset_s": np.nan}, "device a: onset_s=nan must be a number"),
        ({"east_m": np.inf}, "device a: east_m=inf must be a number"),
        ({"clock_error_s": 0.0}, "device a: clock_error_s=0.0 must be above 0"),
        ({"onset_error_s": -1.0}, "device a: onset_error_s=-1.0 must be above 0"),
    ],
)
def test_what_is_no_arrival(change, rule):
    with pytest.raises(ValueError, match=rule):
        replace(Arrival("a", 0.0, 0.0, 1.0, 0.005), **change)


def test_what_cannot_be_located():
    heard = arrivals(SQUARE, exact(SQUARE, (200, 200)))
    with pytest.raises(ValueError, match="device a has 2 onsets, it must have one of a shot"):
        locate([*heard, heard[0]], **TEMPERATURE)
    with pytest.raises(ValueError, match=r"temperature_c=-300.0 must be above -273.15"):
        locate(heard, temperature_c=-300.0, temperature_error_c=5.0)
    with pytest.raises(ValueError, match=r"temperature_error_c=0.0 must be above 0"):
        locate(heard, temperature_c=15.0, temperature_error_c=0.0)
