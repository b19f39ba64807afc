"""Worlds are heard by all devices of a site, and their cases are counted."""

import numpy as np
import pytest

from gunshot.hub import plane, worlds

SR, SHAPE = 16_000, {"devices": 2, "sr": 16_000, "world_s": 30.0, "events_per_min": 2.0}


@pytest.fixture(scope="module")
def fired() -> worlds.World:
    return worlds.render(1, 0, "shots", **SHAPE)


@pytest.mark.slow
def test_the_same_arguments_give_the_same_world(fired):
    again, other = (worlds.render(1, i, "shots", **SHAPE) for i in (0, 1))
    assert fired.pcm.dtype == np.int16 and fired.pcm.shape == (2, 30 * SR)
    np.testing.assert_array_equal(fired.pcm, again.pcm)
    np.testing.assert_array_equal(fired.onset_s, again.onset_s)
    assert not np.array_equal(fired.place, other.place)


def test_each_device_hears_each_shot_no_later_than_sound_takes_from_one_to_the_other(fired):
    assert len(fired.firing) == len(fired.onset_s) >= len(fired.snr_db) >= 1
    apart_m = np.linalg.norm(fired.place[0] - fired.place[1])
    assert apart_m >= worlds.APART_M and np.abs(fired.place).max() <= worlds.HALF_M
    # A shock wave can be early at one of both, by no more than the bullet is faster than sound.
    assert np.abs(np.diff(fired.onset_s, axis=1)).max() < 2 * apart_m / 300
    for onset_s in fired.onset_s:
        assert np.all((onset_s > 0) & (onset_s < 30))


def test_what_is_loud_rises_where_the_world_says(fired):
    firing, device = np.unravel_index(fired.snr_db.argmax(), fired.snr_db.shape)
    first = int(fired.onset_s[fired.firing == firing][0, device] * SR)
    size = np.abs(fired.pcm[device].astype(float))
    assert fired.snr_db.max() > 20
    assert size[first : first + SR // 20].max() > 5 * np.sqrt(np.mean(size[first - SR // 20 : first - 20] ** 2))


def test_a_quiet_world_has_no_shot():
    quiet = worlds.render(1, 0, "quiet", **SHAPE)
    assert quiet.onset_s.shape == (0, 2) and quiet.snr_db.shape == (0, 2) and quiet.pcm.any()
    with pytest.raises(ValueError, match="kind='loud' must be one of quiet, shots"):
        worlds.render(1, 0, "loud", **SHAPE)


def test_cases_are_counted_by_devices_and_by_what_they_hold():
    place = np.array([[0.0, 0.0], [60.0, 0.0], [0.0, 60.0]])
    onset_s = np.array([[5.0, 5.1, 5.1], [9.0, 9.1, 9.1]])
    world = worlds.World(np.zeros((3, 1), np.int16), place, onset_s, np.array([0, 1]), np.zeros((2, 3)))
    stands = plane.degrees(place, origin=worlds.ORIGIN).tolist()

    def incident(device: int, *own_s: float) -> worlds.Incident:
        first_us, last_us = int(1e6 * min(own_s)), int(1e6 * max(own_s))
        return worlds.Incident(device, first_us, last_us, *stands[device], np.array(own_s))

    both = [incident(0, 5.01), incident(1, 5.12)]  # firing 0, by two devices
    alone = [incident(2, 9.15)]  # firing 1, by one
    false = [incident(0, 20.0), incident(1, 20.1), incident(2, 25.0)]  # one of two devices, one of one
    every = [*both, *alone, *false]
    assert worlds.raised(world, every, needed=1) == (2, {0, 1})
    assert worlds.raised(world, every, needed=2) == (1, {0})
    assert worlds.raised(world, every, needed=3) == (0, set())
