"""The simulator's physics against published values, other derivations, and its own rendered pressure at 192 kHz."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, signal

from gunshot.simulate import channel, corpus, physics, shots
from gunshot.simulate.weapons import WEAPONS

RATE = 192_000
AIR = physics.Air()
OCTAVES = (63, 125, 250, 500, 1000, 2000, 4000, 8000)
# ISO 9613-2:1996, table 2, made from ISO 9613-1: dB/km in the octave bands above.
TABLE = {
    (10, 70): (0.1, 0.4, 1.0, 1.9, 3.7, 9.7, 32.8, 117),
    (20, 70): (0.1, 0.3, 1.1, 2.8, 5.0, 9.0, 22.9, 76.6),
    (30, 70): (0.1, 0.3, 1.0, 3.1, 7.4, 12.7, 23.1, 59.3),
    (15, 20): (0.3, 0.6, 1.2, 2.7, 8.2, 28.2, 88.8, 202),
    (15, 50): (0.1, 0.5, 1.2, 2.2, 4.2, 10.8, 36.2, 129),
    (15, 80): (0.1, 0.3, 1.1, 2.4, 4.1, 8.3, 23.7, 82.8),
}


@pytest.mark.parametrize("weather", TABLE)
def test_absorption_is_that_of_the_standards_table(weather):
    loss_db = physics.absorption_db(np.array(OCTAVES), 1000.0, physics.Air(*weather))
    assert loss_db == pytest.approx(TABLE[weather], rel=0.03, abs=0.06)


def band_db(y, hz):
    power = np.abs(np.fft.rfft(y)) ** 2
    f = np.fft.rfftfreq(len(y), 1 / RATE)
    inside = (f >= hz / np.sqrt(2)) & (f < hz * np.sqrt(2))
    return 10 * np.log10(power[inside].sum()), f[inside], power[inside]


@pytest.mark.parametrize("weather", [(20, 50), (0, 80), (35, 20)])
def test_levels_follow_one_over_r_and_the_standard_in_each_octave(weather):
    """Rendered pressure at 192 kHz in the free field, from 10 m to 1,500 m, as far as a band keeps 60 dB of it."""
    air, at = physics.Air(*weather), np.array([0.01])
    shot = shots.shot(
        np.random.default_rng(3), WEAPONS["Glock 17"], 10.0, RATE, air=air, angle=np.pi / 2, suppressed=False
    )
    dry = shots.train(shot.blast, at, np.ones(1), RATE // 4, RATE)
    rng = np.random.default_rng(0)
    rendered = {
        r: signal.oaconvolve(dry, channel.impulse_response(rng, None, r, RATE, air))[: len(dry)]
        for r in (10.0, 50.0, 200.0, 600.0, 1500.0)
    }
    checked = 0
    for hz in OCTAVES:
        near, f, power = band_db(rendered[10.0], hz)
        for r in (50.0, 200.0, 600.0, 1500.0):
            loss_db = physics.absorption_db(f, r - 10.0, air)
            expected = 10 * np.log10(np.sum(power * 10 ** (-loss_db / 10)) / power.sum()) - 20 * np.log10(r / 10)
            if expected > -60 - 20 * np.log10(r / 10):
                assert band_db(rendered[r], hz)[0] - near == pytest.approx(expected, abs=0.5), (hz, r)
                checked += 1
    assert checked >= 24


@pytest.mark.parametrize("name", ["Remington 700", "M16", "AK-47", "Glock 17"])
@pytest.mark.parametrize("distance_m", [50.0, 500.0])
def test_the_shocks_lead_is_that_of_a_bullet_followed_step_by_step(name, distance_m):
    """Newton's law, integrated with the same drag, and the earliest of sounds from all along the path."""
    bullet = WEAPONS[name].bullet()
    path = integrate.solve_ivp(
        lambda _, y: [y[1], -2 * bullet.loss * y[1] ** 1.5], (0, 3), [0, bullet.muzzle_speed], rtol=1e-9, atol=1e-9,
        t_eval=np.linspace(0, 3, 60_001),
    )  # fmt: skip
    x, v = path.y
    x, v, t = x[v > AIR.speed], v[v > AIR.speed], path.t[v > AIR.speed]
    assert np.interp(min(100.0, x[-1]), x, v) == pytest.approx(bullet.speed(min(100.0, x[-1])), rel=1e-4)
    for angle in np.deg2rad([0.5, 5, 20, 35]):
        ahead, miss = distance_m * np.cos(angle), distance_m * np.sin(angle)
        shock = physics.shock(bullet, angle, distance_m, AIR)
        arrivals = t + np.hypot(ahead - x, miss) / AIR.speed
        if shock is None:
            assert np.argmin(arrivals) in (0, len(x) - 1) or v[np.argmin(arrivals)] < 1.02 * AIR.speed
        else:
            assert shock.lead_s == pytest.approx(distance_m / AIR.speed - arrivals.min(), abs=2e-5)


def test_at_constant_speed_the_lead_is_the_formula_of_maher():
    """Maher 2007, Acoustical characterization of gunshots: the cone is plane, its normal at acos(1 / M)."""
    bullet = physics.Bullet(858.0, 857.999999, 7.82e-3, 31e-3)
    mu = np.arcsin(AIR.speed / 858.0)
    for angle in np.deg2rad([1, 10, 30, 60]):
        shock = physics.shock(bullet, angle, 100.0, AIR)
        assert shock.lead_s == pytest.approx(100 / AIR.speed * (1 - np.sin(angle + mu)), abs=1e-6)


def test_drag_and_lead_are_those_of_published_trajectories():
    """From two speeds 100 yards apart follow the others. A 168-grain .308 bullet of a G7 coefficient of 0.223 in the
    standard atmosphere, by the drag measured for the G7 projectile (py_ballisticcalc, test_path_g7, whose times are
    given to 1 ms), and Winchester's 168-grain AccuBond (Guns Magazine): speeds in feet a second.
    """
    foot, yard, air = 0.3048, 0.9144, physics.Air(15.0)

    def bullet(muzzle: float, at_100_yards: float) -> physics.Bullet:
        root = np.sqrt(muzzle) - (np.sqrt(muzzle) - np.sqrt(at_100_yards)) / yard  # on to 100 m
        return physics.Bullet(muzzle * foot, root**2 * foot, 7.82e-3, 31e-3)

    assert bullet(2680, 2510).speed(200 * yard) / foot == pytest.approx(2347, rel=0.005)
    g7 = bullet(2750, 2544.3)
    assert g7.speed(500 * yard) / foot == pytest.approx(1810.7, rel=0.01)
    assert g7.time(500 * yard) == pytest.approx(0.673, abs=0.003)
    ahead_m = 500 * yard
    shock = physics.shock(g7, 1e-5, ahead_m, air)
    assert shock.lead_s == pytest.approx(ahead_m / air.speed - 0.673, abs=0.004)


def test_at_500_m_the_lead_is_most_of_a_second():
    assert 0.6 < physics.shock(WEAPONS["Remington 700"].bullet(), np.deg2rad(2), 500.0, AIR).lead_s < 1.0


@given(st.sampled_from(sorted(WEAPONS)), st.floats(0, np.pi), st.floats(2, 1500), st.floats(-10, 38))
def test_no_shock_outside_the_cone(name, angle, distance_m, temperature_c):
    air, bullet = physics.Air(temperature_c), WEAPONS[name].bullet()
    shock = physics.shock(bullet, angle, distance_m, air)
    mach = bullet.muzzle_speed / air.speed
    if mach <= 1 or angle >= np.arccos(1 / mach):
        assert shock is None
    if shock:
        assert 0 < shock.lead_s < distance_m / air.speed and 0 < shock.path_m <= distance_m + 0.2
        assert 0 < shock.peak < 1e6 and 1e-5 < shock.duration_s < 5e-3


def test_the_rendered_n_wave_has_whithams_duration_and_peak():
    shot = shots.shot(np.random.default_rng(1), WEAPONS["M16"], 40.0, 16_000, air=AIR, angle=0.3, suppressed=False)
    assert np.count_nonzero(shot.shock) / RATE == pytest.approx(shot.shocked.duration_s, abs=2 / RATE)
    assert shot.shock.max() / shot.shocked.path_m == pytest.approx(shot.shocked.peak, rel=0.01)
    near, far = (physics.whitham(2.5, miss, 7.8e-3, 31e-3, AIR.speed) for miss in (1.0, 16.0))
    assert near[0] / far[0] == pytest.approx(8) and far[1] / near[1] == pytest.approx(2)


def test_subsonic_rounds_have_no_shock():
    for name in ("M1911", "S&W Model 10"):
        assert all(physics.shock(WEAPONS[name].bullet(), a, 50.0, AIR) is None for a in np.linspace(0, np.pi, 50))


def test_front_is_10_to_20_db_above_rear():
    for total in (10, 20):
        assert shots.directivity_db(0.0, total) - shots.directivity_db(np.pi, total) == pytest.approx(total)


def test_hard_ground_doubles_and_soft_ground_at_grazing_takes_the_direct_sound_away():
    f = np.array([200.0, 500.0, 1000.0])
    hard, delay_s = physics.ground(f, distance_m=20, source_m=1, microphone_m=1, resistivity=1e7, air=AIR)
    assert np.abs(hard) == pytest.approx(20 / np.hypot(20, 2), rel=0.02)
    assert delay_s == pytest.approx((np.hypot(20, 2) - 20) / AIR.speed)
    soft, _ = physics.ground(f, distance_m=500, source_m=0.5, microphone_m=0.5, resistivity=100, air=AIR)
    assert (np.abs(1 + soft[1:]) < 0.3).all()  # the ground effect of Attenborough 1988: 10 dB and more above 400 Hz


@pytest.mark.slow
@pytest.mark.sweep(20)
@pytest.mark.parametrize("name", WEAPONS)
@pytest.mark.parametrize(("scene", "distance_m"), [("field", 2.0), ("garage", 10.0), ("street", 1500.0)])
def test_pressure_is_finite_and_not_clipped_before_the_microphone(name, scene, distance_m):
    source = corpus.Corpus(1, (1.5, 1.5), (2.0, 1500.0), 16_000)
    recording = corpus.fire(np.random.default_rng(len(scene)), name, distance_m, source, scene=scene)
    assert np.isfinite(recording.pressure).all()
    peak = np.abs(recording.pressure).max()
    assert np.count_nonzero(np.abs(recording.pressure) > 0.999 * peak) <= max(3, len(recording.starts))


def test_the_duration_of_the_n_wave_is_mahers_approximation_where_it_holds():
    """Maher 2006, Modeling and signal processing of acoustic gunshot recordings: 1.82 d / c (M x / l)^(1/4), M >> 1."""
    for mach in (2.5, 3.5, 5.0):
        duration_s = physics.whitham(mach, 5.0, 7.8e-3, 31e-3, AIR.speed)[1]
        exact = (1 - mach**-2) ** -0.375  # what the approximation leaves out
        assert duration_s == pytest.approx(1.82 * 7.8e-3 / AIR.speed * (mach * 5.0 / 31e-3) ** 0.25 * exact, rel=1e-9)
        assert 150e-6 < duration_s < 400e-6 and exact < 1.08  # rifle bullets at some metres: about 0.2 to 0.3 ms


def test_whithams_constants_are_those_of_a_bullets_nose():
    """Whitham 1952 from the start: F(y) from the areas of a parabolic nose that reaches full calibre at the bullet's
    length, then his far field. Peak and duration follow from the integral of F while it is positive.
    """
    x, gamma = np.linspace(0, 1, 4001), 1.4  # the nose's length and the calibre are 1
    bent = np.gradient(np.gradient(np.pi * (x - x**2 / 2) ** 2, x), x)  # the area's second derivative
    y = np.linspace(1e-3, 1, 500)
    root = [np.linspace(0, np.sqrt(end), 500) for end in y]
    f = np.array(
        [integrate.trapezoid(np.interp(end - s**2, x, bent), s) / np.pi for s, end in zip(root, y, strict=True)]
    )
    area = integrate.trapezoid(f[: np.argmax(f < 0)], y[: np.argmax(f < 0)])
    for mach, miss_m, calibre_m, length_m in ((2.5, 5.0, 7.8e-3, 31e-3), (1.5, 20.0, 5.7e-3, 23e-3)):
        size, beta = area * calibre_m**2 / np.sqrt(length_m), np.sqrt(mach**2 - 1)
        peak = 2**0.25 * gamma / np.sqrt(gamma + 1) * beta**0.25 * miss_m**-0.75 * np.sqrt(size) * physics.PRESSURE
        duration_s = 2**1.25 * np.sqrt(gamma + 1) * mach * beta**-0.75 * miss_m**0.25 * np.sqrt(size) / AIR.speed
        assert physics.whitham(mach, miss_m, calibre_m, length_m, AIR.speed) == pytest.approx(
            (peak, duration_s), rel=0.04
        )


def test_turbulence_takes_coherence_with_distance_and_keeps_the_energy():
    weak, strong = (physics.turbulence(np.array([500.0, 4000.0]), r, AIR, index=1e-6, scale_m=1) for r in (20, 1000))
    assert (strong / weak == pytest.approx(50)) and weak[0] < 0.01 < 1 < strong[1]
    kept, coherent = {}, {}
    for r in (20.0, 1000.0):
        filters = [channel._turbulence(np.random.default_rng(i), r, 16_000, AIR) for i in range(200)]
        spectra = np.array([np.fft.rfft(m, 4096) for m in filters])
        power = np.mean(np.abs(spectra) ** 2, axis=0)
        power_db = 10 * np.log10(power[100:1800])
        kept[r] = np.abs(power_db).mean()
        share = np.abs(spectra.mean(axis=0)) ** 2 / power
        coherent[r] = {hz: share[hz * 4096 // 16_000 - 8 :][:16].mean() for hz in (250, 4000)}
    assert max(kept.values()) < 1.5
    assert coherent[20.0][250] > 0.98 > 0.9 > coherent[20.0][4000] > 0.6
    assert 0.95 > coherent[1000.0][250] > 0.6 > 0.2 > coherent[1000.0][4000]
