"""What is simulated: weapons, patterns, places, events; that each varies, and that the page says what there is."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from gunshot.base import tables
from gunshot.simulate import beds, corpus, events, gunfire, shots, soundscape
from gunshot.simulate.scenes import SCENES
from gunshot.simulate.weapons import KINDS, WEAPONS

SR = 16_000
PAGE = (Path(__file__).parents[2] / "DOC/simulator.md").read_text()


def test_the_pages_table_of_weapons_is_the_simulators():
    rows = {}
    for line in PAGE.split("### The weapons")[1].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 6 and cells[0] in WEAPONS:
            rows[cells[0]] = cells
    assert list(rows) == list(WEAPONS)
    for name, weapon in WEAPONS.items():
        _, kind, cartridge, speed, rates, source = rows[name]
        assert kind.replace(" ", "_") == weapon.kind and cartridge and source
        assert float(speed) == weapon.speed
        assert tuple(map(float, re.findall(r"\d+", rates))) == weapon.rounds_per_min
        assert rates.endswith("by hand") != weapon.automatic


def test_the_page_names_and_counts_places_beds_and_events():
    named = PAGE.split("## The place")[1].split("## The microphone")[0].replace("\n", " ")
    for name in (*soundscape.PLACES, *beds.BEDS, *events.EVENTS):
        assert name.replace("_", " ") in named, name
    assert f"{len(soundscape.PLACES)} places" in PAGE and f"beds of {len(beds.BEDS)}" in PAGE
    assert f"{len(events.EVENTS)} kinds of event" in PAGE


def test_every_kind_has_weapons_and_every_place_sounds():
    assert {weapon.kind for weapon in WEAPONS.values()} == set(KINDS)
    assert all(weapon.speed_at_100_m < weapon.speed for weapon in WEAPONS.values())
    assert {scene for place in soundscape.PLACES.values() for scene in place.scenes} == set(SCENES)


COUNTS = {"single": (1, 1), "double": (2, 2), "series": (2, 6), "burst": (3, 5), "auto": (6, 29)}


@pytest.mark.parametrize("name", ["M4", "Glock 17"])
def test_patterns_have_their_counts_and_a_finger_is_less_steady_than_a_gun(name):
    weapon, seen, spread = WEAPONS[name], {}, {"hand": [], "cycle": []}
    for i in range(400):
        pattern, times = shots.firing(np.random.default_rng([11, i]), weapon, 60.0)
        seen.setdefault(pattern, []).append(len(times))
        gaps = np.diff(times)
        if len(gaps) > 2:
            spread["cycle" if pattern in ("burst", "auto") else "hand"].append(gaps.std() / gaps.mean())
    assert set(seen) == set(shots.PATTERNS if weapon.automatic else shots.PATTERNS[:3])
    for pattern, counts in seen.items():
        assert (min(counts), max(counts)) == COUNTS[pattern]
    assert np.median(spread["hand"]) > 0.08
    assert not weapon.automatic or 0.01 < np.median(spread["cycle"]) < 0.03


def test_a_gun_is_as_near_and_as_far_as_the_corpus_says_and_all_weapons_come():
    rng = np.random.default_rng(3)
    distances = np.array([gunfire.distance(rng, (2.0, 1500.0)) for _ in range(4000)])
    assert 2 <= distances.min() < 2.1 and 1300 < distances.max() <= 1500 and 0.6 < np.mean(distances < 120) < 0.95
    assert {gunfire.weapon(rng, turn) for turn in range(400)} == set(WEAPONS)


def likeness(y: np.ndarray) -> np.ndarray:
    """The level of each octave from 62.5 Hz in dB of the whole, and in dB how long 90 % of the energy takes."""
    power = np.abs(np.fft.rfft(y, 1 << 16)) ** 2
    f = np.fft.rfftfreq(1 << 16, 1 / SR)
    octaves = [power[(f >= hz) & (f < 2 * hz)].sum() / power.sum() for hz in 62.5 * 2 ** np.arange(7)]
    lasting = 1 + np.searchsorted(np.cumsum(y**2), 0.9 * np.sum(y**2))
    return 10 * np.log10(np.r_[np.maximum(octaves, 1e-12), lasting])


@pytest.mark.slow
@pytest.mark.parametrize("kind", events.EVENTS)
def test_an_event_never_sounds_the_same(kind):
    sounds = [events.EVENTS[kind].make(np.random.default_rng([5, i]), SR)[: 1 << 16] for i in range(16)]
    assert len({y.tobytes() for y in sounds}) == 16
    spread_db = np.std([likeness(y) for y in sounds], axis=0)
    assert np.median(spread_db[:-1]) > 1.2 and spread_db[-1] > 0.8


@pytest.mark.slow
def test_no_two_recordings_are_alike_and_a_shot_is_annotated_whole():
    source = corpus.Corpus(5, (1.2, 1.4), (2.0, 1500.0), SR)
    recordings = [corpus.render(class_, i, source) for class_ in ("gun", "env") for i in range(14)]
    assert len({recording.pcm.tobytes() for recording in recordings}) == 28
    for recording in recordings[:14]:
        for row in recording.shots:
            assert set(row) == set(tables.CORPUS_SHOT) - {"path"} and row["pattern"] in shots.PATTERNS
            assert row["onset"] == (row["shock"] if row["shock"] >= 0 else row["blast"]) <= row["blast"]
            assert 2 <= row["distance_m"] <= 1500 and 0 <= row["angle_deg"] <= 180
            assert row["scene"] in soundscape.PLACES[row["place"]].scenes


@pytest.mark.slow
def test_the_peak_of_a_shot_is_its_own():
    source, apart, alone = corpus.Corpus(5, (1.2, 2.4), (2.0, 1500.0), SR), 0, 0
    for i in range(30):
        recording = corpus.render("gun", i, source)
        onsets = [row["onset"] for row in recording.shots]
        for row, onset, after in zip(recording.shots, onsets, [*onsets[1:], len(recording.pcm)], strict=True):
            own = np.abs(recording.pressure[onset:after]).max()
            if len(onsets) == 1:
                assert row["peak_db_spl"] == pytest.approx(20 * np.log10(own / 20e-6), abs=1e-3)
                alone += 1
            elif row["blast"] + SR // 20 < after and after - onset > SR // 4:  # earlier ones have died away
                assert row["peak_db_spl"] == pytest.approx(20 * np.log10(own / 20e-6), abs=2.0)
                apart += 1
        assert len(onsets) == len({row["peak_db_spl"] for row in recording.shots})
    assert alone > 5 and apart > 5


@pytest.mark.slow
def test_what_is_no_shot_is_annotated_whole():
    source, kinds = corpus.Corpus(5, (1.2, 2.4), (2.0, 1500.0), SR), set()
    for i in [*range(0, 3 * len(events.EVENTS), 3), *range(1, 36, 3), *range(2, 36, 3)]:  # every third one is an event
        recording = corpus.render("env", i, source)
        bed, *laid = recording.events
        assert not recording.shots and all(set(row) == set(tables.CORPUS_EVENT) - {"path"} for row in recording.events)
        assert (bed["kind"], bed["start"], bed["stop"], bed["snr_db"]) == ("bed", 0, len(recording.pcm), 0)
        assert set(bed["label"].split("+")) <= set(beds.BEDS)
        assert all(row["scene"] in soundscape.PLACES[row["place"]].scenes for row in recording.events)
        assert bool(laid) == (recording.label in events.EVENTS) == bool(recording.pressure.any())
        loudest = np.abs(recording.pressure).max()
        for row in laid:
            kinds.add(row["label"])
            own = recording.pressure[row["start"] : row["stop"]]
            assert (row["kind"], row["label"]) == ("event", recording.label)
            assert row["level_db"] == pytest.approx(20 * np.log10(np.abs(own).max() / 20e-6))
            assert row["level_db"] > bed["level_db"] and row["snr_db"] > 0
            assert (row["distance_m"] == 0) == events.EVENTS[recording.label].contact
            assert row["distance_m"] <= 1500 and row["place"] == bed["place"]
        starts = [row["start"] for row in laid]
        assert all(a["stop"] >= max(b["start"], a["start"] + SR // 100) for a, b in pairwise(laid))
        assert not laid or (laid[-1]["stop"] == len(recording.pcm) and starts == sorted(set(starts)))
        assert np.abs(recording.pressure[: [*starts, 0][0]]).max(initial=0) <= 1e-5 * loudest
    assert kinds == set(events.EVENTS)


def test_levels_of_events_are_those_of_their_samples():
    wet, bed = np.zeros(2 * SR), np.full(2 * SR, 0.01)
    bed[SR:] = 0.02
    wet[1000:1160], wet[1050], wet[SR + 4000 : SR + 4400] = 0.1, -0.5, 0.2
    starts = np.array([1000, 1050, SR + 4000, 2 * SR - 20])
    lasting, *rows = corpus._rows("clap", 3.0, starts, wet, ["hum", "rain"], bed, SR)
    assert lasting["label"] == "hum+rain" and lasting["level_db"] == pytest.approx(57.96, abs=0.01)
    assert [(row["start"], row["stop"]) for row in rows] == [
        (1000, 1160), (1050, SR + 4000), (SR + 4000, 2 * SR - 20), (2 * SR - 20, 2 * SR)
    ]  # fmt: skip
    assert [row["level_db"] for row in rows[:3]] == pytest.approx([87.96, 87.96, 80.0], abs=0.01)
    loudest_db = 10 * np.log10([(159 * 0.1**2 + 0.5**2) / 160, (109 * 0.1**2 + 0.5**2) / 160, 0.2**2])
    floor_db = 10 * np.log10([0.01**2, 0.01**2, (4000 * 0.01**2 + 12000 * 0.02**2) / 16000])
    assert [row["snr_db"] for row in rows[:3]] == pytest.approx(loudest_db - floor_db, abs=0.01)
