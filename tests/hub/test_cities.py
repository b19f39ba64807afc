"""Simulated cities are what they say, and shots in them are located."""

from dataclasses import replace

import numpy as np
import pytest

from gunshot.base import seeds
from gunshot.hub import cities
from gunshot.simulate.physics import Air

SR = 16_000


def city(seed: int = 0, **change) -> cities.City:
    return replace(cities.draw(np.random.default_rng(seed), devices=6, blocked=1), **change)


@pytest.mark.slow
def test_a_city_is_as_wide_as_it_says():
    for seed in range(20):
        drawn = city(seed)
        apart = np.linalg.norm(drawn.place[:, None] - drawn.place, axis=2) + np.diag(np.full(6, np.inf))
        assert apart.min() >= 200 and apart.min(axis=0).max() <= 500
        low_s, high_s = cities.LATE_S
        assert np.count_nonzero(drawn.late_s) == 1 and low_s <= drawn.late_s.max() <= high_s
        assert np.all(drawn.shot >= drawn.place.min(axis=0)) and np.all(drawn.shot <= drawn.place.max(axis=0))


def test_the_angle_to_the_line_of_fire():
    place = np.array([[100.0, 0.0], [0.0, 100.0], [-100.0, 0.0]])
    shot = city(place=place, shot=np.zeros(2), line_of_fire=np.pi / 4)
    assert [shot.angle(i) for i in range(3)] == pytest.approx([np.pi / 4, np.pi / 4, 3 * np.pi / 4])


@pytest.fixture(scope="module")
def fired() -> cities.City:
    """A gun that fires east, with one device almost in the line of fire, one beside it and one behind."""
    place = np.array([[250.0, 10.0], [0.0, 200.0], [-150.0, 0.0]])
    change = {"place": place, "shot": np.zeros(2), "late_s": np.array([0, 0.05, 0]), "air": Air(15.0, 50.0)}
    return city(**change, line_of_fire=0.0, weapon="AK-47")


def level(fired: cities.City, device: int, *, shock: bool) -> np.ndarray:
    """The size of each sample that a device records."""
    where = {"place": "meadow", "scene": "field", "sr": SR, "shock": shock}
    return np.abs(cities.render(np.random.default_rng(device), fired, device, gun=3, **where).astype(float))


@pytest.mark.parametrize("device", [0, 1, 2])
def test_a_rendered_blast_arrives_when_the_city_says(fired, device):
    size = level(fired, device, shock=False)
    loud_s = np.flatnonzero(size > 0.5 * size.max())[0] / SR - cities.FIRST_S
    assert loud_s == pytest.approx(fired.arrival_s[device], abs=0.005)


def test_a_shock_wave_arrives_before_the_blast_where_the_bullet_passes(fired):
    early = [slice(int((cities.FIRST_S + 0.1) * SR), int((cities.FIRST_S + t - 0.05) * SR)) for t in fired.arrival_s]
    with_shock, without = (
        np.array([level(fired, i, shock=shock)[early[i]].max() for i in range(3)]) for shock in (True, False)
    )
    assert (with_shock > 5 * without).tolist() == [True, False, False]


def test_a_wind_carries_the_sound():
    place = np.array([[340.0, 0.0], [-340.0, 0.0], [0.0, 340.0]])
    still = city(place=place, shot=np.zeros(2), late_s=np.zeros(3), air=Air(15.0, 50.0))
    blown = replace(still, wind=np.array([5.0, 0.0]))
    assert still.arrival_s == pytest.approx(np.full(3, 340 / Air(15.0).speed))
    assert blown.arrival_s - still.arrival_s == pytest.approx([-0.0145, 0.0149, 0.0], abs=2e-4)
    drawn = cities.draw(np.random.default_rng(0), devices=6, blocked=0, wind=4.0)
    assert np.hypot(*drawn.wind) == pytest.approx(4.0)


@pytest.mark.slow
def test_drawn_cities_are_located():
    """Of twenty, 95 % within 15 m leave room for three, by chance."""
    outcomes = [cities.drawn(i, seed=7, error_s=0.003, devices=6, blocked=1) for i in range(20)]
    content = cities.summary(outcomes)
    assert content["cities"] == 20 and content["within_15_m"] >= 0.85 and content["inside"] >= 0.8
    again = cities.drawn(3, seed=7, error_s=0.003, devices=6, blocked=1)
    assert again.error_m == outcomes[3].error_m


def test_a_summary_counts_what_has_no_place():
    outcome = cities.drawn(0, seed=7, error_s=0.003, devices=6, blocked=1)
    deaf = cities.placed(outcome.city, np.where(np.arange(6) < 2, outcome.onset_s, np.nan))
    assert deaf.error_m == np.inf
    content = cities.summary([outcome, deaf])
    assert content["with_a_place"] == 0.5 and content["within_15_m"] == 0.5 * (outcome.error_m <= 15)
    assert content["median_m"] == pytest.approx(outcome.error_m, abs=1e-3)


@pytest.mark.slow
def test_cities_of_one_seed_are_different():
    shots = [cities.draw(seeds.generator(1, f"{i}"), devices=3, blocked=0).shot for i in range(5)]
    assert len({tuple(shot) for shot in shots}) == 5
