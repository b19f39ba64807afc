"""The simulator: physics where it has a closed form, exact tags, the same bytes whoever renders."""

import csv
import multiprocessing
import os
import time
from dataclasses import replace

import numpy as np
import pytest
from scipy import signal
from sklearn.metrics import roc_auc_score

from gunshot.base import audio, params, tables
from gunshot.simulate import beds, channel, corpus, events, microphone, scenes, shots, soundscape, textures
from gunshot.simulate.physics import Air
from gunshot.simulate.weapons import KINDS, WEAPONS

SR = 16_000
CORPUS = corpus.Corpus(seed=7, duration_s=(1.5, 2.5), distance_m=(2.0, 800.0), sr=SR)


def write(out, workers=1, gun=3, env=3):
    return corpus.write(out, CORPUS, gun_recordings=gun, env_recordings=env, workers=workers)


def contents(out):
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_workers(tmp_path):
    counts = write(tmp_path / "a" / "simulated", workers=1), write(tmp_path / "b" / "simulated", workers=2)
    assert counts[0] == counts[1]
    a, b = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert len(a) == 10 and a == b


@pytest.mark.slow
def test_tables_hold_what_was_written(tmp_path):
    recordings, tagged, duration_s = write(tmp_path / "simulated", gun=7, env=5)
    table = tables.recordings(tmp_path)
    assert list(table.columns) == list(tables.RECORDING) and recordings == len(table) == 12
    assert table["recording_group"].is_unique and set(table["class"]) == {"gun", "env"}
    assert set(table[table["class"] == "gun"]["label"]) == set(KINDS)
    assert duration_s == pytest.approx(table["duration_s"].sum())
    for row in table.to_dict("records"):
        pcm = audio.read_pcm(tmp_path / row["path"], sr=SR)
        assert audio.sha256(pcm) == row["sha256"] and len(pcm) / SR == pytest.approx(row["duration_s"])
    with (tmp_path / "simulated" / "tags.csv").open(newline="") as file:
        tags = {path: [int(s) for s in starts] for path, *starts in csv.reader(file)}
    assert set(tags) == set(table[table["class"] == "gun"]["path"])
    assert sum(map(len, tags.values())) <= tagged
    fired = tables.read(tmp_path / "simulated" / "shots.csv", tables.CORPUS_SHOT)
    assert len(fired) == tagged
    assert {path: rows["onset"].tolist() for path, rows in fired[fired["heard"]].groupby("path")} == tags
    assert fired.groupby("path")["heard"].first().all()
    led = fired["shock"] >= 0
    assert (fired["onset"] == fired["shock"].where(led, fired["blast"])).all() and (
        fired["blast"] >= fired["onset"]
    ).all()
    assert set(fired["weapon"]) <= set(WEAPONS) and fired["peak_db_spl"].between(40, 180).all()
    sounding = tables.read(tmp_path / "simulated" / "events.csv", tables.CORPUS_EVENT)
    assert set(sounding["path"]) == set(table[table["class"] == "env"]["path"]) and set(sounding["kind"]) == {
        "bed",
        "event",
    }
    lengths = dict(zip(table["path"], table["duration_s"] * SR, strict=True))
    assert all(s[0] >= 0 and s == sorted(s) and s[-1] < lengths[p] for p, s in tags.items())


@pytest.mark.slow
def test_a_corpus_shows_its_progress(tmp_path, capfd):
    write(tmp_path / "simulated", gun=1, env=1)
    assert "simulate: 100%" in capfd.readouterr().err


@pytest.mark.slow
def test_no_recordings_give_empty_tables(tmp_path):
    assert write(tmp_path / "simulated", gun=0, env=0) == (0, 0, 0.0)
    assert len(tables.recordings(tmp_path)) == 0
    for name, columns in (("shots.csv", tables.CORPUS_SHOT), ("events.csv", tables.CORPUS_EVENT)):
        assert len(tables.read(tmp_path / "simulated" / name, columns)) == 0
    assert write(tmp_path / "simulated", gun=0, env=2)[:2] == (2, 0)
    assert (tmp_path / "simulated" / "tags.csv").read_text() == ""


@pytest.mark.slow
def test_a_killed_run_leaves_no_table_and_the_next_one_the_same_bytes(tmp_path):
    out = tmp_path / "killed" / "simulated"
    write(out, gun=12, env=4)
    run = multiprocessing.get_context("fork").Process(target=write, args=(out,), kwargs={"gun": 400, "env": 4})
    run.start()
    while not (sum(len(names) for *_, names in os.walk(out)) > 20 and run.is_alive()):  # folders may go meanwhile
        time.sleep(0.01)
    run.kill()
    run.join()
    assert not (out / "recordings.csv").exists() and not (out / "tags.csv").exists()
    assert not (out / "shots.csv").exists() and not (out / "events.csv").exists()
    write(out)
    write(tmp_path / "clean" / "simulated")
    assert contents(out) == contents(tmp_path / "clean" / "simulated")


@pytest.mark.slow
@pytest.mark.parametrize("scene", [None, *scenes.SCENES.values()], ids=lambda s: s.kind if s else "free")
@pytest.mark.parametrize("label", ["Beretta 92", "Remington 700"])
def test_nothing_sounds_before_a_tag_and_the_shot_right_after(label, scene):
    for i in range(6):
        rng = np.random.default_rng([1, i])
        distance_m = min((2.0, 20.0, 200.0)[i % 3], scene.reach_m if scene else 200.0)
        shot = shots.shot(rng, WEAPONS[label], distance_m, SR)
        at = np.array([0.25 + i / 7e4])
        blast = shots.train(shot.blast, at + shot.lead_s, np.ones(1), SR, SR)
        shock = shots.train(shot.shock, at, np.ones(1), SR, SR)
        ways_m = (distance_m, shot.shocked.path_m if shot.shocked else distance_m)
        paths = [
            (x, channel.impulse_response(rng, scene, r, SR, Air())) for x, r in zip((blast, shock), ways_m, strict=True)
        ]
        y = sum(signal.oaconvolve(x, h)[:SR] for x, h in paths)
        start = int(at[0] * SR)
        assert np.abs(y[:start]).max() < 1e-5 * np.abs(y).max()
        assert np.abs(y[start : start + 32]).max() > 0.01 * np.abs(y[start : start + 400]).max() > 0


def test_the_tag_survives_the_microphone():
    for i in range(20):
        rng = np.random.default_rng([2, i])
        y = np.zeros(SR)
        y[5000:5400] = np.exp(-np.arange(400) / 60) * rng.standard_normal(400)
        pcm = microphone.microphone(rng, y, SR, np.array([5000])).astype(float)
        assert 5000 <= np.argmax(np.abs(pcm) > 0.5 * np.abs(pcm).max()) < 5400
        assert np.sum(pcm[:4990] ** 2) < 0.2 * np.sum(pcm[5000:6000] ** 2)


def test_every_shot_stands_out_from_the_bed():
    for i in range(12):
        rng = np.random.default_rng([3, i])
        dry, bed, onset = np.zeros(SR), rng.standard_normal(SR), 8000
        dry[onset] = 1.0
        kinds = list(scenes.SCENES)
        scene, at = scenes.SCENES[kinds[i % len(kinds)]], np.array([onset])
        parts = channel.channel(rng, [(dry, 5.0)], np.zeros(SR), bed, at, scene=scene, air=Air(), sr=SR)
        pcm = parts[2].astype(float)
        assert np.abs(pcm[onset : onset + 800]).max() >= 0.9 * np.quantile(np.abs(pcm[:onset]), 0.95)


def test_automatic_fire_keeps_the_cyclic_rate():
    seen = set()
    for name, weapon in WEAPONS.items():
        low, high = weapon.rounds_per_min
        for i in range(30):
            pattern, times = shots.firing(np.random.default_rng([4, i]), weapon, 6.0)
            assert len(times) >= 1 and (np.diff(times) > 0).all() and times[-1] < 6.0
            assert weapon.automatic or pattern not in ("burst", "auto")
            if pattern == "auto" and len(times) > 6:
                assert low * 0.97 < 60 / np.mean(np.diff(times)) < high * 1.03
                seen.add(name)
    assert seen == {name for name, weapon in WEAPONS.items() if weapon.automatic}


@pytest.mark.slow
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


@pytest.mark.parametrize("devices", [0.0, microphone.DEVICES])
@pytest.mark.slow
def test_recordings_pass_the_quality_rules_and_the_classes_share_their_levels(monkeypatch, devices):
    """People set levels by hand, whatever sounds; a detector's own recordings of guns are louder, and overlap."""
    monkeypatch.setattr(microphone, "DEVICES", devices)
    quality = params.load("quality").quality
    peaks = {"gun": [], "env": []}
    for class_, levels_db in peaks.items():
        for i in range(45):
            recording = corpus.render(class_, i, CORPUS)
            assert recording.pcm.dtype == np.int16
            assert CORPUS.duration_s[0] <= len(recording.pcm) / SR <= CORPUS.duration_s[1]
            assert bool(recording.starts) == (class_ == "gun")
            peak = np.abs(audio.to_float(recording.pcm)).max()
            levels_db.append(20 * np.log10(peak))
            assert levels_db[-1] > quality.silence_db
            assert np.mean(np.abs(recording.pcm.astype(int)) >= audio.FULL_SCALE - 1) < quality.max_clipped
    gun, env = peaks["gun"], peaks["env"]
    if devices:
        assert 0.5 < roc_auc_score(np.repeat([1, 0], [len(gun), len(env)]), gun + env) < 0.82
        return
    assert abs(np.median(gun) - np.median(env)) < 8
    assert min(gun) < -15 and min(env) < -15 and max(gun) > -1 and max(env) > -1


def test_an_editor_cuts_before_the_first_onset_and_after_the_last():
    cut = 0
    for i in range(200):
        y = microphone._edited(np.random.default_rng([9, i]), np.ones(SR), SR, np.array([6000, 9000]))
        assert (y[6000:9000] == 1).all() and ((y >= 0) & (y <= 1)).all()
        cut += (y[0] == 0) + (y[-1] == 0)
    assert 60 < cut < 140


def test_a_peak_meter_rises_at_once_and_falls_evenly():
    y = np.r_[np.full(400, 0.01), -1.0, np.zeros(400), 0.9, np.zeros(100)]
    meter, settling = microphone._peaks(y, 0.01), 0.01
    assert meter[:400] == pytest.approx(0.01, rel=1e-3) and meter[400] == pytest.approx(1, rel=1e-3)
    assert meter[401:801] == pytest.approx(np.exp(-settling * np.arange(1, 401)), rel=1e-2, abs=1e-4)
    assert meter[801] == pytest.approx(0.9, rel=1e-3)


def test_textures_vary_and_switch_on_slowly():
    sounds = [textures.texture(np.random.default_rng(i), SR, SR) for i in range(60)]
    assert all(y.shape == (SR,) and np.isfinite(y).all() and y.std() > 0 for y in sounds)
    assert len({y.tobytes() for y in sounds}) == 60
    steps = [np.diff(textures._switching(np.random.default_rng(i), 500, 0.004)) for i in range(200)]
    assert max(np.abs(step).max() for step in steps) <= 0.25


@pytest.mark.parametrize("name", ["mp3", "vorbis"])
def test_a_codec_keeps_time_and_length(name):
    rng = np.random.default_rng(6)
    y = np.zeros(2 * SR)
    y[SR : SR + 400] = np.exp(-np.arange(400) / 80) * signal.lfilter([1], [1, -0.9], rng.standard_normal(400))
    coded = microphone.codec(y / np.abs(y).max() / 2, SR, name, 0.9)
    lags = signal.correlate(coded, y, "full")
    assert len(coded) == len(y) and abs(int(np.argmax(lags)) - (len(y) - 1)) <= 8
    assert np.sum((coded - y / np.abs(y).max() / 2) ** 2) > 0


def test_an_overloaded_input_stops_at_its_point_and_leaves_the_rest():
    over = microphone._overload(np.random.default_rng(0), np.r_[np.zeros(1000), 10.0, np.zeros(1000)], SR)
    assert np.abs(over).max() == pytest.approx(1.0, rel=0.01)
    below = np.r_[np.zeros(1000), 0.9, np.zeros(1000)]
    assert np.array_equal(microphone._overload(np.random.default_rng(0), below, SR), below)


@pytest.mark.slow
def test_places_hold_their_level_and_their_scenes_reach():
    for name, place in soundscape.PLACES.items():
        assert place.reaches(2.0) == list(place.scenes) and set(place.beds) <= set(beds.BEDS), name
        for i in range(3):
            y = place.bed(np.random.default_rng([7, i]), SR, SR)
            level_db = 20 * np.log10(np.sqrt(np.mean(y**2)) / microphone.PASCAL)
            assert place.level_db[0] - 0.1 <= level_db <= place.level_db[1] + 0.1, name
    assert any(place.reaches(1500.0) for place in soundscape.PLACES.values())


def test_a_part_left_out_is_not_there():
    led, alone = (
        corpus.fire(np.random.default_rng(1), "M16", 100.0, replace(CORPUS, without=w), angle_deg=10.0)
        for w in ((), ("shock",))
    )
    assert all(row["onset"] == row["shock"] < row["blast"] for row in led.shots)
    assert all(row["onset"] == row["blast"] and row["shock"] == -1 for row in alone.shots)
    start = alone.shots[0]["onset"]
    assert np.abs(alone.pressure[:start]).max() < 1e-3 * np.abs(alone.pressure[start : start + 32]).max()
    alone = [corpus.render("env", i, replace(CORPUS, without=("negatives",))).label for i in range(9)]
    assert not set(alone) & set(events.EVENTS)
