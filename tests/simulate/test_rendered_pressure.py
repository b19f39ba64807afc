"""Shots as pressure at 192 kHz in the free field: what arrives when, how loud, how long, how often."""

import numpy as np
import pytest
from scipy import integrate, signal

from gunshot.simulate import channel, gunfire, physics, shots
from gunshot.simulate.weapons import KINDS, WEAPONS

RATE = 192_000
AIR = physics.Air()
# Rounds a minute as their makers and armies round them.
PUBLISHED = {
    "AK-47": 600, "AK-12": 700, "M16": 800, "M4": 900, "Zastava M92": 620, "M249": 850, "MG-42": 1200, "PKM": 650,
    "MP5": 800, "Uzi": 600,
}  # fmt: skip


def gun(
    name: str, seed: int = 1, distance_m: float = 20.0, *, angle: float, suppressed: bool = False, sr: int = RATE
) -> shots.Shot:
    rng = np.random.default_rng(seed)
    return shots.shot(rng, WEAPONS[name], distance_m, sr, air=AIR, angle=angle, suppressed=suppressed)


def front(*args, **kwargs) -> float:
    """A blast's pressure at its front, which is the same at any rate."""
    return gun(*args, **kwargs, sr=4000).blast[0]


def pressure(fired: gunfire.Gunfire, duration_s: float) -> np.ndarray:
    """What reaches a microphone in the free field, in Pa [shape=(n,)]."""
    n, rng = int(duration_s * RATE), np.random.default_rng(0)
    heard = [
        signal.oaconvolve(dry, channel.impulse_response(rng, None, way_m, RATE, AIR))[:n]
        for dry, way_m in fired.paths(n, RATE)
    ]
    return np.sum(heard, axis=0)


@pytest.mark.parametrize(
    ("name", "distance_m", "angle"), [("M16", 20.0, 0.3), ("AK-47", 60.0, 0.2), ("M249", 200.0, 0.1)]
)
def test_shock_wave_and_blast_arrive_where_their_row_says(name, distance_m, angle):
    shot = gun(name, distance_m=distance_m, angle=angle)
    fired = gunfire.Gunfire(name, distance_m, shot, "single", np.array([0.05]), np.ones(1))
    y, (row,) = pressure(fired, 0.15 + shot.lead_s), fired.rows(RATE)
    assert row["onset"] == row["shock"] < row["blast"]
    assert (row["blast"] - row["shock"]) / RATE == pytest.approx(shot.lead_s, abs=1.5 / RATE)
    assert np.abs(y[: row["shock"]]).max() < 1e-3 * np.abs(y).max()
    wave = y[row["shock"] : row["blast"]]
    assert np.argmax(wave > 0.5 * wave.max()) < 20  # 0.1 ms
    after = wave[int(3 * shot.shocked.duration_s * RATE) :]
    assert np.abs(after).max() < 0.02 * wave.max()  # quiet between the two
    blast = y[row["blast"] :]
    assert np.argmax(blast > 0.3 * blast[:200].max()) < 60  # 0.3 ms: 200 m of air round a front off


@pytest.mark.parametrize("name", ["M16", "Remington 700", "MG-42"])
def test_an_n_wave_in_pressure_lasts_and_falls_as_whitham_says(name):
    """Air rounds its two fronts off; how long it is, and the straight line between them, stay."""
    shot = gun(name, angle=0.2)
    fired = gunfire.Gunfire(name, 20.0, shot, "single", np.array([0.05]), np.ones(1))
    y, (row,) = pressure(fired, 0.1), fired.rows(RATE)
    wave = y[row["shock"] : row["blast"]]
    first, last = np.flatnonzero(wave > 0.5 * wave.max())[0], np.flatnonzero(wave < 0.5 * wave.min())[-1]
    shock, duration_s = shot.shocked, (last - first) / RATE
    assert duration_s == pytest.approx(shock.duration_s, rel=0.05)
    inside = np.arange(first + (last - first) // 3, first + 2 * (last - first) // 3)
    falling = -np.polyfit(inside / RATE, wave[inside], 1)[0]
    assert falling * duration_s / 2 == pytest.approx(shock.peak, rel=0.1)


@pytest.mark.parametrize(("name", "angle"), [("M16", 1.3), ("M16", 3.0), ("M1911", 0.05)])
def test_outside_the_cone_and_of_a_subsonic_round_only_the_blast_arrives(name, angle):
    shot = gun(name, angle=angle)
    fired = gunfire.Gunfire(name, 20.0, shot, "single", np.array([0.05]), np.ones(1))
    y, (row,) = pressure(fired, 0.2), fired.rows(RATE)
    assert row["shock"] == -1 and row["onset"] == row["blast"] == int(0.05 * RATE)
    assert np.abs(y[: row["blast"]]).max() < 1e-3 * np.abs(y).max() and not shot.shock.any()


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_cyclic_rates_in_pressure_are_the_published_ones(name):
    """Each shot is where the recording correlates with a single one."""
    weapon, duration_s = WEAPONS[name], 1.2
    low, high = weapon.rounds_per_min
    assert weapon.automatic and low <= PUBLISHED[name] <= high and high < 1.4 * low
    drawn = (shots.firing(np.random.default_rng(i), weapon, duration_s) for i in range(100))
    pattern, at = next(d for d in drawn if d[0] == "auto" and len(d[1]) >= 6)
    shot = gun(name, angle=2.5)
    single = pressure(gunfire.Gunfire(name, 20.0, shot, "single", np.zeros(1), np.ones(1)), 0.02)
    y = pressure(gunfire.Gunfire(name, 20.0, shot, pattern, at, np.ones(len(at))), duration_s)
    alike = signal.correlate(y, single, "valid")
    peaks, _ = signal.find_peaks(alike, height=0.6 * np.sum(single**2), distance=int(0.03 * RATE))
    assert len(peaks) == len(at)
    assert 0.97 * low < 60 / np.mean(np.diff(peaks) / RATE) < 1.03 * high


def test_all_automatic_weapons_have_a_published_rate():
    assert set(PUBLISHED) == {name for name, weapon in WEAPONS.items() if weapon.automatic}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Glock 17", "Remington 870", "M16"])
def test_a_blast_is_as_loud_as_its_kind_10_to_20_db_louder_in_front_and_softer_with_a_suppressor(name):
    low, high = KINDS[WEAPONS[name].kind].peak_pa
    values = {"side": [], "front to rear": [], "suppressor": []}
    for seed in range(30):
        side, ahead, rear = (front(name, seed, angle=a) for a in (np.pi / 2, 0.0, np.pi))
        values["side"].append(side)
        values["front to rear"].append(20 * np.log10(ahead / rear))
        values["suppressor"].append(20 * np.log10(side / front(name, seed, angle=np.pi / 2, suppressed=True)))
    assert low <= min(values["side"]) < 1.3 * low and 0.75 * high < max(values["side"]) <= high
    assert 10 <= min(values["front to rear"]) < 11 and 19 < max(values["front to rear"]) <= 20
    assert 18 <= min(values["suppressor"]) < 20 and 30 < max(values["suppressor"]) <= 32


def test_a_friedlander_wave_has_its_peak_its_duration_and_its_impulse():
    t = np.arange(-1000, 40_000) / 1e7
    y = physics.friedlander(t, peak=500.0, positive_s=1e-3, decay=1.5)
    assert not y[:1000].any() and y.max() == y[1000] == 500 and (y[1000:11_000] > 0).all() and (y[11_001:] < 0).all()
    impulse = 500 * 1e-3 * (1.5 - 1 + np.exp(-1.5)) / 1.5**2  # by parts
    assert integrate.trapezoid(y[1000:11_001], t[1000:11_001]) == pytest.approx(impulse, rel=1e-3)


def test_the_action_clatters_after_the_shot(monkeypatch):
    whole, action = gun("Glock 17", angle=1.0).blast, shots._action
    monkeypatch.setattr(shots, "_action", lambda rng, rate: 0 * action(rng, rate))
    clatter = whole - gun("Glock 17", angle=1.0).blast
    assert not clatter[: int(0.004 * RATE)].any() and 0.5 < np.abs(clatter).max() < 40
