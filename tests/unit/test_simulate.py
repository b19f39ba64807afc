"""The simulator: physics where it has a closed form, exact tags, the same bytes whoever renders."""

import csv
import multiprocessing
import time

import numpy as np
import pytest
from scipy import signal

from gunshot import audio, params, simulate, tables
from gunshot.simulate import beds, channel, events, shots
from gunshot.simulate.signals import log_uniform

SR = 16_000
CORPUS = simulate.Corpus(seed=7, duration_s=(1.5, 2.5), distance_m=(2.0, 800.0), sr=SR)


def write(out, workers=1, gun=3, env=3):
    return simulate.write(out, CORPUS, gun_recordings=gun, env_recordings=env, workers=workers)


def contents(out):
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def test_the_bytes_do_not_depend_on_the_workers(tmp_path):
    counts = write(tmp_path / "a" / "simulated", workers=1), write(tmp_path / "b" / "simulated", workers=2)
    assert counts[0] == counts[1]
    a, b = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert len(a) == 8 and a == b


def test_tables_hold_what_was_written(tmp_path):
    recordings, tagged, duration_s = write(tmp_path / "simulated", gun=7, env=5)
    table = tables.recordings(tmp_path)
    assert list(table.columns) == list(tables.RECORDING) and recordings == len(table) == 12
    assert table["recording_group"].is_unique and set(table["class"]) == {"gun", "env"}
    assert set(table[table["class"] == "gun"]["label"]) == set(shots.WEAPONS)
    assert duration_s == pytest.approx(table["duration_s"].sum())
    for row in table.to_dict("records"):
        pcm = audio.read_pcm(tmp_path / row["path"], sr=SR)
        assert audio.sha256(pcm) == row["sha256"] and len(pcm) / SR == pytest.approx(row["duration_s"])
    with (tmp_path / "simulated" / "tags.csv").open(newline="") as file:
        tags = {path: [int(s) for s in starts] for path, *starts in csv.reader(file)}
    assert set(tags) == set(table[table["class"] == "gun"]["path"])
    assert sum(map(len, tags.values())) == tagged
    lengths = dict(zip(table["path"], table["duration_s"] * SR, strict=True))
    assert all(s[0] >= 0 and s == sorted(s) and s[-1] < lengths[p] for p, s in tags.items())


def test_no_recordings_give_empty_tables(tmp_path):
    assert write(tmp_path / "simulated", gun=0, env=0) == (0, 0, 0.0)
    assert len(tables.recordings(tmp_path)) == 0
    assert write(tmp_path / "simulated", gun=0, env=2)[:2] == (2, 0)
    assert (tmp_path / "simulated" / "tags.csv").read_text() == ""


def test_a_killed_run_leaves_no_table_and_the_next_one_the_same_bytes(tmp_path):
    out = tmp_path / "killed" / "simulated"
    write(out, gun=12, env=4)
    run = multiprocessing.get_context("fork").Process(target=write, args=(out,), kwargs={"gun": 400, "env": 4})
    run.start()
    while not (len(list(out.rglob("*.wav"))) > 20 and run.is_alive()):
        time.sleep(0.01)
    run.kill()
    run.join()
    assert not (out / "recordings.csv").exists() and not (out / "tags.csv").exists()
    write(out)
    write(tmp_path / "clean" / "simulated")
    assert contents(out) == contents(tmp_path / "clean" / "simulated")


@pytest.mark.parametrize("scene", [None, *channel.SCENES], ids=lambda s: s.kind if s else "free")
@pytest.mark.parametrize("label", ["pistol", "rifle"])
def test_nothing_sounds_before_a_tag_and_the_shot_right_after(label, scene):
    for i in range(6):
        rng = np.random.default_rng([1, i])
        distance_m = (2.0, 20.0, 200.0)[i % 3]
        shot = shots.shot(rng, shots.WEAPONS[label], distance_m, SR)
        at = np.array([0.25 + i / 7e4])
        blast = shots.train(shot.blast, at + (shot.lead_s or 0), np.ones(1), SR, SR)
        shock = shots.train(shot.shock, at, np.ones(1), SR, SR)
        paths = [(x, channel.impulse_response(rng, scene, distance_m, SR)) for x in (blast, shock)]
        y = sum(signal.oaconvolve(x, h)[:SR] for x, h in paths)
        start = int(at[0] * SR)
        assert np.abs(y[:start]).max() < 1e-5 * np.abs(y).max()
        assert np.abs(y[start : start + 32]).max() > 0.01 * np.abs(y[start : start + 400]).max() > 0


def test_the_tag_survives_the_microphone():
    for i in range(20):
        rng = np.random.default_rng([2, i])
        y = np.zeros(SR)
        y[5000:5400] = np.exp(-np.arange(400) / 60) * rng.standard_normal(400)
        pcm = channel.microphone(rng, y, SR).astype(float)
        assert 5000 <= np.argmax(np.abs(pcm) > 0.5 * np.abs(pcm).max()) < 5400
        assert np.sum(pcm[:4990] ** 2) < 0.2 * np.sum(pcm[5000:6000] ** 2)


def test_every_shot_stands_out_from_the_bed():
    for i in range(12):
        rng = np.random.default_rng([3, i])
        dry, bed, onset = np.zeros(SR), rng.standard_normal(SR), 8000
        dry[onset] = 1.0
        pcm = channel.channel(rng, [dry], np.zeros(SR), bed, np.array([onset]), distance_m=50, sr=SR).astype(float)
        assert np.abs(pcm[onset : onset + 800]).max() >= 0.9 * np.quantile(np.abs(pcm[:onset]), 0.95)


def test_the_shock_leads_inside_the_mach_cone_only():
    for mach in (1.05, 1.5, 2.8):
        mu = np.arcsin(1 / mach)
        for angle in np.linspace(0, np.pi, 37):
            lead = shots.shock_lead(mach, angle, 100.0)
            assert (lead is not None) == (angle < np.pi / 2 - mu)
            assert lead is None or 0 <= lead < 100 / shots.SPEED_OF_SOUND
    assert shots.shock_lead(0.95, 0.0, 100.0) is None
    # On the line of fire the bullet itself brings the shock.
    assert shots.shock_lead(2.0, 0.0, 343.0) == pytest.approx(0.5)


def test_a_subsonic_shot_has_no_shock():
    subsonic = shots.Weapon((600, 3000), (0.3, 0.8), (0.7, 0.99), (9, 9), (15, 15), (200, 300), False)
    made = [shots.shot(np.random.default_rng(i), subsonic, 50.0, SR) for i in range(20)]
    assert all(s.lead_s is None and not s.shock.any() for s in made)
    rifles = [shots.shot(np.random.default_rng(i), shots.WEAPONS["rifle"], 50.0, SR) for i in range(40)]
    assert {s.shock.any() for s in rifles} == {True, False}


def test_whitham_gives_a_bullets_shock_its_order():
    # A 7.62 mm bullet at Mach 2.5 some 10 m off: a few hundred Pa for a few tenths of a millisecond; r^(-3/4).
    peak, duration = shots.whitham(2.5, 10.0, 7.62e-3, 28e-3)
    assert 100 < peak < 300 and 1e-4 < duration < 4e-4
    assert shots.whitham(2.5, 160.0, 7.62e-3, 28e-3)[0] == pytest.approx(peak / 8)


def test_a_free_field_spreads_by_one_over_r_and_absorbs_treble():
    t = np.arange(SR // 2) / SR
    humidity = log_uniform(np.random.default_rng(0), (0.6, 2.5))  # the free field's only draw
    for hz in (250.0, 4000.0):
        rms = []
        for r in (10.0, 20.0, 800.0):
            h = channel.impulse_response(np.random.default_rng(0), None, r, SR)
            rms.append(np.std(signal.oaconvolve(np.sin(2 * np.pi * hz * t), h)[2000:6000]))
        loss_db = channel.absorption_db(np.array([hz]), 790.0, humidity)[0]
        assert rms[0] / rms[1] == pytest.approx(2 * 10 ** (loss_db / 79 / 20), rel=0.01)
        assert rms[0] / rms[2] == pytest.approx(80 * 10 ** (loss_db / 20), rel=0.02)
    assert channel.absorption_db(np.array([8000.0]), 1000)[0] == pytest.approx(105, rel=0.1)


def test_automatic_fire_keeps_the_cyclic_rate():
    seen = set()
    for label in ("assault_rifle", "machine_gun", "submachine_gun"):
        low, high = shots.WEAPONS[label].rounds_per_min
        for i in range(60):
            times = shots.firing(np.random.default_rng([4, i]), shots.WEAPONS[label], 6.0)
            assert len(times) >= 1 and (np.diff(times) > 0).all() and times[-1] < 6.0
            if len(times) > 6:
                assert low * 0.97 < 60 / np.mean(np.diff(times)) < high * 1.03
                seen.add(label)
    assert len(seen) == 3


def test_every_bed_and_event_sounds_and_varies():
    n = SR
    for kind, bed in beds.BEDS.items():
        a, b = (bed(np.random.default_rng(i), n, SR) for i in (0, 1))
        assert a.shape == (n,) and np.isfinite(a).all() and np.std(a) > 0 and not np.array_equal(a, b), kind
    for kind, event in events.EVENTS.items():
        for i in range(4):
            dry, starts = events.schedule(np.random.default_rng([5, i]), event, n, SR)
            assert dry.shape == (n,) and np.isfinite(dry).all() and np.abs(dry).max() > 0, kind
            assert (starts[0] >= 0) and not dry[: starts[0]].any(), kind


def test_recordings_pass_the_quality_rules_and_the_classes_share_their_levels():
    quality = params.load("quality").quality
    peaks = {"gun": [], "env": []}
    for class_, found in peaks.items():
        for i in range(45):
            made = simulate.render(class_, i, CORPUS)
            assert made.pcm.dtype == np.int16 and CORPUS.duration_s[0] <= len(made.pcm) / SR <= CORPUS.duration_s[1]
            assert bool(made.starts) == (class_ == "gun")
            peak = np.abs(audio.to_float(made.pcm)).max()
            found.append(20 * np.log10(peak))
            assert found[-1] > quality.silence_db
            assert np.mean(np.abs(made.pcm.astype(int)) >= audio.FULL_SCALE - 1) < quality.max_clipped
    gun, env = peaks["gun"], peaks["env"]
    assert abs(np.median(gun) - np.median(env)) < 8
    assert min(gun) < -15 and min(env) < -15 and max(gun) > -1 and max(env) > -1
