"""What a scene makes of a sound: echoes from walls, decay by Eyring, what hides a source; none is like another."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import signal

from gunshot.simulate import channel, rooms, scenes
from gunshot.simulate.physics import Air, absorption_db

SR, SPEED = 16_000, 343.0
KINDS = [room.kind for room in rooms.ROOMS]


def decay_s(y: np.ndarray) -> float:
    """How long `y` below 800 Hz takes to fall by 60 dB, from its first 20 dB (Schroeder's integral)."""
    low = signal.sosfilt(signal.butter(6, 800, fs=SR, output="sos"), y)
    left_db = 10 * np.log10(np.cumsum(low[::-1] ** 2)[::-1] / np.sum(low**2))
    return 3 * np.argmax(left_db < -20) / SR


@pytest.mark.sweep(3)
@pytest.mark.parametrize("kind", KINDS)
def test_a_rooms_echoes_come_from_its_walls(kind):
    """The mirror images in six walls, by hand; no wall is quite plane, by some 5 cm."""
    for i in range(4):
        box, source, place = scenes.SCENES[kind]._build(np.random.default_rng([8, i]), 2.0, SR)
        assert np.linalg.norm(source - place) == pytest.approx(2.0)
        assert all((p > 0).all() and (p < box.shoebox_dim).all() for p in (source, place))
        images = [
            np.where(np.arange(3) == axis, 2 * wall - source, source)
            for axis in range(3)
            for wall in (0.0, box.shoebox_dim[axis])
        ]
        first_m = min(np.linalg.norm(image - place) for image in images) - 2.0
        y = np.abs(rooms.Room._images(np.random.default_rng(i), box, source, place, SR, SR, SPEED))
        loud = np.flatnonzero(y > 0.02 * y.max())
        assert loud[0] < 4 and y[:8].max() > 0.5  # the direct sound
        assert loud[loud > 12][0] / SR * SPEED == pytest.approx(first_m, abs=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_rooms_sound_decays_by_eyring(kind):
    """Eyring's time of each octave, from the walls' areas and materials, bounds that of a band of octaves."""
    room, air = replace(scenes.SCENES[kind], furnished=(1.0, 1.0)), Air()
    for i in range(4):
        box, *_ = room._build(np.random.default_rng([8, i]), 2.0, SR)
        rt60_s, energy = room._field(np.random.default_rng(0), box, 2.0, air)
        area = np.array([wall.area() for wall in box.walls])
        share = area @ np.stack([np.ravel(wall.absorption) for wall in box.walls]) / area.sum()
        lost = 4 * box.volume * absorption_db(np.array([500.0, 8000.0]), 1.0, air) / 4.343
        for band_s, octaves, most in zip(rt60_s, (share[:4], share[4:]), lost, strict=True):
            eyring = 0.161 * box.volume / (-area.sum() * np.log1p(-np.minimum(octaves, 0.95)))
            damped = 1 / (1 / eyring + (lost[0] + most) / (0.161 * box.volume))
            assert damped.min() * 0.95 < band_s < eyring.max() * 1.05
        tail = rooms._diffuse(np.random.default_rng(i), rt60_s, energy, 1e-3, int(8 * SR), SR)
        assert decay_s(tail) == pytest.approx(rt60_s[0], rel=0.2)


@pytest.mark.sweep(3)
@pytest.mark.parametrize("kind", KINDS)
def test_a_rooms_sound_dies_away(kind):
    for i in range(4):
        y = scenes.SCENES[kind].response(np.random.default_rng([8, i]), 2.0, SR, Air())
        assert np.isfinite(y).all() and np.sum(y[-len(y) // 8 :] ** 2) < 0.1 * np.sum(y**2)


@pytest.mark.slow
@pytest.mark.sweep(6)
@pytest.mark.parametrize("scene", scenes.SCENES.values(), ids=lambda scene: scene.kind)
def test_no_two_responses_of_a_scene_are_alike(scene):
    responses = [scene.response(np.random.default_rng(i), 3.0, SR, Air()) for i in range(12)]
    assert len({y.tobytes() for y in responses}) == 12
    tails = [y[80:4000] / np.linalg.norm(y[80:4000]) for y in responses]
    assert max(abs(a @ b) for k, a in enumerate(tails) for b in tails[:k] if len(a) == len(b)) < 0.7


def test_a_forest_scatters_more_than_a_field():
    def late(kind):
        responses = [scenes.SCENES[kind].response(np.random.default_rng(i), 60.0, SR, Air()) for i in range(40)]
        return np.median([10 * np.log10(np.sum(y[160:] ** 2) / np.sum(y[:160] ** 2)) for y in responses])

    assert late("forest") > late("field") + 6


def test_what_hides_a_source_takes_its_treble_25_db_at_most_and_leaves_the_bass():
    f = np.array([100, 8000]) * 1024 // SR
    for i in range(40):
        clear, hidden = (
            channel._direct(np.random.default_rng(i), 50.0, SR, Air(), hidden=hidden) for hidden in (False, True)
        )
        lost = 20 * np.log10(np.abs(np.fft.rfft(clear) / np.fft.rfft(hidden)))
        assert lost[f[0]] < 1.5 and lost[f[1] - 1] > 3 and lost.max() < 25.5 and lost.min() > -0.5


def test_a_third_of_the_sources_is_hidden_in_any_scene_and_none_in_the_free_field(monkeypatch):
    seen, direct = [], channel._direct
    monkeypatch.setattr(
        channel, "_direct", lambda *args, hidden: (seen.append(hidden), direct(*args, hidden=hidden))[1]
    )
    # What a room answers is no matter here, and slow to make.
    monkeypatch.setattr(rooms.Room, "response", lambda self, rng, distance_m, sr, air: np.ones(100))
    for i in range(150):
        scene = scenes.SCENES["field" if i % 2 else "office"]
        channel.impulse_response(np.random.default_rng(i), scene, 5.0, SR, Air())
    assert 0.23 < np.mean(seen) < 0.47
    channel.impulse_response(np.random.default_rng(0), None, 5.0, SR, Air())
    assert not seen[-1]
