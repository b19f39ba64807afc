"""Streams: true onsets, sides apart, hard negatives as often as asked, the same bytes whoever makes them."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot import streams
from gunshot.base import audio, params, tables
from gunshot.simulate import scenes
from gunshot.simulate import streams as simulated
from gunshot.simulate.events import EVENTS
from gunshot.simulate.levels import heard
from gunshot.simulate.physics import Air
from gunshot.simulate.signals import join
from gunshot.simulate.soundscape import PLACES
from tests.streams import imported
from tests.streams.imported import SR, S, plan

SHAPE = {"stream_s": S, "distance_m": (2.0, 1500.0), "events_per_min": 6.0}


@pytest.fixture(scope="module")
def rendered():
    return [
        simulated.render(8, side, index, kind, sr=SR, **SHAPE)
        for side, kind, index in itertools.product(tables.SIDES, simulated.KINDS, range(2))
    ]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return imported.build(tmp_path_factory.mktemp("raw"))


def contents(out):
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_the_bytes_depend_neither_on_the_workers_nor_on_what_was_there(tmp_path, corpus):
    planned = streams.plan_simulated(seed=8, hours=0.001, shot_hours=0.001, val_share=0.5, train_hours=0.001, **SHAPE)
    planned = [task for task in planned + plan(corpus) if task.side == "test"]
    (tmp_path / "b/simulated").mkdir(parents=True)
    (tmp_path / "b/simulated/stale.wav").touch()
    (tmp_path / "b/shots.csv").write_text("stale")
    written = [
        streams.write(tmp_path / name, corpus[0], planned, sr=SR, workers=workers)
        for name, workers in (("a", 1), ("b", 2))
    ]
    a, b = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert a == b and len(a) == len(planned) + 3 and written[0].equals(written[1])
    content = {name: tables.read(tmp_path / "a" / name, columns) for name, columns in tables.STREAM_TABLES.items()}
    for row in content["streams.csv"].to_dict("records"):
        assert len(audio.read_pcm(tmp_path / "a" / row["path"], sr=SR)) == round(row["duration_s"] * SR)
    kinds = content["streams.csv"].set_index("path")["kind"]
    assert set(kinds[content["shots.csv"]["path"]]) == {"shots"} == set(kinds[kinds == "shots"])
    assert set(content["shots.csv"]["path"]) == set(kinds.index[kinds == "shots"])
    assert set(content["events.csv"]["path"]) == set(kinds.index)
    assert set(content["streams.csv"]["side"]) == {"test"}
    assert set(content["streams.csv"]["origin"]) == {"simulated", "real"}


@pytest.mark.slow
def test_a_stream_does_not_depend_on_how_many_there_are(rendered):
    again = simulated.render(8, "test", 1, "shots", sr=SR, **SHAPE)
    assert np.array_equal(again.pcm, rendered[11].pcm) and again.shots == rendered[11].shots
    assert not np.array_equal(again.pcm, simulated.render(9, "test", 1, "shots", sr=SR, **SHAPE).pcm)


def shared(signals):
    """The pairs of signals that hold the same 1 s, wherever it lies: it holds a whole block of half a second of both.

    Blocks and all windows are compared by rolling hashes, polynomials modulo 2^64 (Rabin and Karp 1987).
    """
    block, base = SR // 2, np.uint64(0x9E3779B97F4A7C15)
    powers = np.cumprod(np.full(len(signals[0]), base, np.uint64))
    inverse = np.cumprod(np.full(len(signals[0]), pow(int(base), -1, 2**64), np.uint64))
    hashes = []
    for x in signals:
        sums = np.cumsum(x.astype(np.int64).view(np.uint64) * powers)
        hashes.append((sums[block:] - sums[:-block]) * inverse[1 : len(x) - block + 1])
    blocks = np.concatenate([h[::block] for h in hashes])
    owner = np.repeat(np.arange(len(signals)), [len(h[::block]) for h in hashes])
    order = np.argsort(blocks)
    pairs = set()
    for k, h in enumerate(hashes):
        at = np.minimum(np.searchsorted(blocks[order], h), len(blocks) - 1)
        first = blocks[order][at] == h
        last = np.minimum(np.searchsorted(blocks[order], h[first], "right"), len(blocks))
        for low, high in set(zip(at[first].tolist(), last.tolist(), strict=True)):
            pairs |= {(int(i), k) for i in owner[order][low:high] if i != k}
    return pairs


@pytest.mark.slow
def test_no_two_streams_share_audio(rendered):
    signals = [stream.pcm for stream in rendered]
    assert shared(signals) == set()
    copied = signals[3].copy()
    copied[70_001 : 70_001 + SR] = signals[9][123_456 : 123_456 + SR]
    assert (3, 9) in shared([*signals[:3], copied, *signals[4:]])


@pytest.mark.slow
def test_quiet_streams_hold_no_shot_and_the_others_known_ones(rendered):
    for stream in rendered:
        assert len(stream.pcm) == S * SR and stream.pcm.dtype == np.int16 and stream.pcm.std() > 0
        assert bool(stream.shots) == (stream.row["kind"] == "shots")
        firings = {}
        for shot in stream.shots:
            assert shot["onset"] == min(x for x in (shot["shock"], shot["blast"]) if x >= 0)
            assert 0 <= shot["onset"] <= shot["blast"] < len(stream.pcm) - SR // 2
            firings.setdefault(shot["firing"], []).append(shot)
        ends = [(shots[0]["onset"], shots[-1]["blast"], {s["weapon"] for s in shots}) for shots in firings.values()]
        assert all(len(weapons) == 1 for *_, weapons in ends)
        gaps = [(b[0] - a[1]) / SR for a, b in itertools.pairwise(ends)]
        assert all(simulated.GAP_S[0] - 0.01 <= gap <= simulated.GAP_S[1] + 0.01 for gap in gaps)
        beds = [event for event in stream.events if event["kind"] == "bed"]
        assert beds[0]["start"] == 0 and beds[-1]["stop"] == len(stream.pcm)
        assert all(a["start"] < b["start"] < a["stop"] for a, b in itertools.pairwise(beds))
        assert stream.row["place"] in PLACES and stream.row["unique_s"] == S


@pytest.mark.slow
def test_energy_rises_at_the_onsets_and_not_before(rendered):
    rises, before = [], []
    for stream in [*rendered, *(simulated.render(3, "train", i, "shots", sr=SR, **SHAPE) for i in range(2))]:
        y = stream.pcm.astype(float)
        level = lambda a, b, y=y: 10 * np.log10(np.mean(y[a:b] ** 2) + 0.1)  # noqa: E731
        for _, shots in itertools.groupby(stream.shots, key=lambda shot: shot["firing"]):
            shot = next(shots)
            if shot["peak_snr_db"] > 45:
                at = shot["onset"]
                rises.append(level(at, at + 160) - level(at - 160, at))
                before.append(level(at - 16, at) - level(at - 176, at - 16))
    assert len(rises) >= 10 and min(rises) > 20 and np.median(rises) > 50
    assert abs(np.median(before)) < 3


def test_a_firing_is_silent_before_its_first_onset():
    for i in range(12):
        rng = np.random.default_rng(i)
        scene = list(scenes.SCENES)[i % len(scenes.SCENES)]
        stand = simulated._Stand("park", scene, Air(), SR, (2.0, min(900.0, scenes.SCENES[scene].reach_m)), 40.0, -90.0)
        start, wet, alone, rows = simulated._firing(rng, stand, i, 3 + i / 7e4)
        assert start == int((3 + i / 7e4) * SR)
        for y in (wet, alone):
            onset = rows[0]["onset"]
            assert np.abs(y[:onset]).max(initial=0) < 1e-5 * np.abs(y).max()
            assert np.abs(y[onset : onset + 32]).max() > 0.01 * np.abs(y[onset : onset + 400]).max() > 0
        assert len(wet) > rows[-1]["blast"] + SR // 5


def test_places_and_kinds_of_event_take_turns():
    for side in tables.SIDES:
        rate = 12.0
        laid = [simulated.turns(8, side, "quiet", i, rate) for i in range(20)]
        counts = Counter(itertools.chain(*laid))
        assert set(counts) == set(EVENTS) and max(counts.values()) - min(counts.values()) <= 1
        assert np.mean([len(x) for x in laid]) == pytest.approx(rate, rel=0.3) and np.std([len(x) for x in laid]) > 1
        assert sorted(simulated.place(8, side, "quiet", i) for i in range(20)) == sorted(PLACES)


@pytest.fixture(scope="module")
def busy():
    """Streams with many events: all that were turned to, and what was laid."""
    shape = SHAPE | {"events_per_min": 40.0}
    renders = [simulated.render(5, "train", i, "quiet", sr=SR, **shape) for i in range(14)]
    return [(simulated.turns(5, "train", "quiet", i, 40 * S / 60), stream) for i, stream in enumerate(renders)]


@pytest.mark.slow
def test_every_kind_of_event_is_laid_where_its_scene_reaches_far_enough(busy):
    laid = Counter(row["label"] for _, stream in busy for row in stream.events if row["kind"] == "event")
    assert set(laid) == set(EVENTS)
    skipped = 0
    for turned, stream in busy:
        reach = scenes.SCENES[stream.row["scene"]].reach_m
        near = [
            label
            for label in turned
            if EVENTS[label].contact or 10 ** ((EVENTS[label].level_db[1] - 132) / 20) <= reach
        ]
        assert Counter(near) == Counter(row["label"] for row in stream.events if row["kind"] == "event")
        skipped += len(turned) - len(near)
    assert skipped > 5


@pytest.mark.slow
def test_no_event_is_nearer_than_anybody_would_be(busy):
    """An explosion of 175 dB SPL at 1 m is 132 dB at 141 m, and in the open twice the pressure by the ground."""
    assert simulated.nearest_m("explosion") == pytest.approx(141.25, rel=1e-3)
    for _, stream in busy:
        for row in stream.events:
            assert stream.pcm.size > row["start"] >= 0 and row["start"] < row["stop"] <= stream.pcm.size
            if row["kind"] == "event" and not EVENTS[row["label"]].contact:
                assert row["distance_m"] >= 0.999 * simulated.nearest_m(row["label"])
                assert row["level_db"] < 138.5 or stream.row["scene"] != "field"
                assert row["distance_m"] <= scenes.SCENES[stream.row["scene"]].reach_m
            else:
                assert row["distance_m"] == 0


@pytest.mark.slow
def test_the_bed_keeps_near_the_level_of_its_stream(busy):
    spreads = []
    for _, stream in busy:
        levels = [row["level_db"] for row in stream.events if row["kind"] == "bed"]
        low, high = PLACES[stream.row["place"]].level_db
        assert low - 6 < min(levels) and max(levels) < high + 6  # the last one is cut, and so its RMS is another
        spreads.append(max(levels) - min(levels))
    assert np.median(spreads) > 0.5 and max(spreads) < 2 * simulated.BED_SPREAD_DB + 2


def test_more_events_a_minute_are_more_events():
    few, many = (sum(len(simulated.turns(8, "val", "quiet", i, rate)) for i in range(40)) for rate in (0.5, 8.0))
    assert 8 < few < 35 and 260 < many < 380
    assert simulated.turns(8, "val", "quiet", 3, 0.0) == []


@pytest.mark.parametrize(("rise_db", "known"), [(4.5, False), (7.5, True)])
def test_a_shot_is_heard_that_rises_by_6_db_from_the_25_ms_before(rise_db, known):
    rng = np.random.default_rng(3)
    y = rng.choice([-1e-3, 1e-3], SR)
    y[SR // 2 :] *= 10 ** (rise_db / 20)
    assert heard(y, SR // 2, SR) == known
    y[SR // 2 - 500 : SR // 2 - 420] = 1.0  # an earlier shot 26 ms before is over, its tail at 6 ms is not
    assert heard(y, SR // 2, SR) == known
    y[SR // 2 - 100 : SR // 2] = 0.1
    assert not heard(y, SR // 2, SR)


def test_a_sound_after_silence_is_heard_and_silence_is_not():
    y = np.zeros(SR)
    y[1000:1064] = 0.1
    assert heard(y, 1000, SR) and not heard(y, 5000, SR)


@pytest.mark.slow
def test_streams_tell_which_shots_are_heard(rendered):
    """What rises far in the recording is heard; a device may swallow what is."""
    more = [simulated.render(8, side, 2, "shots", sr=SR, **SHAPE) for side in tables.SIDES]
    shots = [(stream, shot) for stream in [*rendered, *more] for shot in stream.shots]
    assert {bool(shot["heard"]) for _, shot in shots} == {True, False}
    for stream, shot in shots:
        y, at = stream.pcm.astype(float), shot["onset"]
        rise = 10 * np.log10(np.mean(y[at : at + 64] ** 2) + 0.1) - 10 * np.log10(np.mean(y[at - 400 : at] ** 2) + 0.1)
        assert shot["heard"] or rise < 12


@pytest.mark.parametrize(("name", "value"), [("side", "dev"), ("kind", "loud")])
def test_unknown_sides_and_kinds_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name}='{value}' must be one of"):
        simulated.render(8, **{"side": "test", "kind": "quiet", name: value}, index=0, sr=SR, **SHAPE)


def test_a_cross_fade_keeps_the_power():
    rng, power = np.random.default_rng(2), []
    for _ in range(300):
        y, x = rng.standard_normal((2, 600))
        join(y, x, 200, 100)
        power.append(y**2)
        assert np.array_equal(y[300:], x[100:400])
    assert np.mean(power, axis=0)[200:300].mean() == pytest.approx(1, abs=0.03)


@pytest.mark.slow
@given(
    hours=st.floats(0.001, 50), shot_hours=st.floats(0.001, 9), share=st.floats(0, 1), train_hours=st.floats(0, 9),
    stream_s=st.floats(30, 900),
)  # fmt: skip
def test_the_plan_covers_the_hours(hours, shot_hours, share, train_hours, stream_s):
    amounts = {"hours": hours, "shot_hours": shot_hours, "val_share": share, "train_hours": train_hours}
    planned = streams.plan_simulated(seed=1, **amounts, **SHAPE | {"stream_s": stream_s})
    counts = Counter((task.side, task.kind) for task in planned)
    assert set(counts) == {("train", "quiet"), *itertools.product(("val", "test"), simulated.KINDS)}
    wanted = {"quiet": hours, "shots": shot_hours}
    for (side, kind), count in counts.items():
        asked = {"train": train_hours, "val": share * wanted[kind], "test": wanted[kind]}[side] * 3600
        assert count >= 1 and asked - 0.001 * stream_s <= count * stream_s < max(asked, 0.001) + stream_s
    assert len({(t.side, t.kind, t.index) for t in planned}) == len(planned)
    assert all(task.stream_s == stream_s and task.distance_m == SHAPE["distance_m"] for task in planned)


def test_the_default_params_give_streams_of_every_kind():
    s = params.load("streams").streams
    planned = streams.plan_simulated(**s.model_dump(), distance_m=(2.0, 1500.0))
    kinds = {("train", "quiet"), *itertools.product(("val", "test"), simulated.KINDS)}
    assert {(task.side, task.kind) for task in planned} == kinds
    assert all(task.events_per_min == s.events_per_min and task.stream_s == s.stream_s for task in planned)
