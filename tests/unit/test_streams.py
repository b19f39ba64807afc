"""Streams: true onsets, sides apart, each real recording once, the same bytes whoever makes them."""

import itertools
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot import audio, params, streams, tables
from gunshot.simulate import scenes
from gunshot.simulate import streams as simulated
from gunshot.simulate.events import EVENTS
from gunshot.simulate.microphone import PASCAL, Device
from gunshot.simulate.physics import Air
from gunshot.simulate.signals import join
from gunshot.simulate.soundscape import PLACES

SR, S = 16_000, 30.0
SHAPE = {"sr": SR, "stream_s": S, "distance_m": (2.0, 1500.0)}


@pytest.fixture(scope="module")
def rendered():
    return [
        simulated.render(8, side, index, kind, **SHAPE)
        for side, kind, index in itertools.product(simulated.SIDES, simulated.KINDS, range(2))
    ]


def table(*rows):
    """A table of recordings from (path, class, group, source, samples)."""
    return tables.frame(
        (
            {
                "path": path, "class": class_, "label": f"label of {path}", "recording_group": group, "source": source,
                "upstream": source, "licence": "CC0-1.0", "sr_found": SR, "duration_s": n / SR, "sha256": path,
            }
            for path, class_, group, source, n in rows
        ),
        tables.RECORDING,
    )  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder of imported recordings, their table, their onsets and their groups' sides; no two sound alike."""
    raw, rng, rows, onsets, sides = tmp_path_factory.mktemp("raw"), np.random.default_rng(1), [], {}, {}
    for side in ("train", "val", "test"):
        for i, seconds in enumerate((3.0, 71.3, 9.7, 0.4, 20.0, 3.0, 12.0)):
            path, n = f"mine/{side}{i}.wav", int(seconds * SR)
            y = 0.05 * rng.standard_normal(n)
            if i >= 5:
                onsets[path] = [int(0.7 * SR)] if i == 5 else [SR, SR + 2000, 5 * SR, 7 * SR]
                for onset in onsets[path]:
                    y[onset : onset + 800] += np.exp(-np.arange(800) / 200)[: n - onset]
            audio.write_pcm(raw / path, audio.to_int16(y), sr=SR)
            rows.append((path, "gun" if i >= 5 else "env", f"{side}:{i}", "mine", n))
            sides[f"{side}:{i}"] = side
    rows.append(("simulated/0.wav", "env", "test:0", "simulated", 4 * SR))
    return raw, table(*rows), onsets, sides


def plan(corpus, **changed):
    _, recordings, onsets, sides = corpus
    return streams.plan_real(recordings, onsets, sides, **{"seed": 8, "stream_s": S, "sr": SR} | changed)


def contents(out):
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def test_the_bytes_depend_neither_on_the_workers_nor_on_what_was_there(tmp_path, corpus):
    planned = streams.plan_simulated(
        seed=8, hours=0.001, shot_hours=0.001, val_share=0.5, stream_s=S, distance_m=(2.0, 1500.0)
    )
    planned += plan(corpus)
    (tmp_path / "b" / "test").mkdir(parents=True)
    (tmp_path / "b" / "test" / "stale.wav").touch()
    made = [
        streams.write(tmp_path / name, corpus[0], planned, sr=SR, workers=workers)
        for name, workers in (("a", 1), ("b", 2))
    ]
    a, b = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert a == b and len(a) == len(planned) + 3 and made[0].equals(made[1])
    found = {name: tables.read(tmp_path / "a" / name, columns) for name, columns in streams.TABLES.items()}
    for row in found["streams.csv"].to_dict("records"):
        assert len(audio.read_pcm(tmp_path / "a" / row["path"], sr=SR)) == round(row["duration_s"] * SR)
    kinds = found["streams.csv"].set_index("path")["kind"]
    assert set(kinds[found["shots.csv"]["path"]]) == {"shots"} == set(kinds[kinds == "shots"])
    assert set(found["shots.csv"]["path"]) == set(kinds.index[kinds == "shots"])
    assert set(found["events.csv"]["path"]) == set(kinds.index)
    assert set(found["streams.csv"]["side"]) == {"val", "test"}


def test_a_stream_does_not_depend_on_how_many_there_are(rendered):
    again = simulated.render(8, "test", 1, "shots", **SHAPE)
    assert np.array_equal(again.pcm, rendered[11].pcm) and again.shots == rendered[11].shots
    assert not np.array_equal(again.pcm, simulated.render(9, "test", 1, "shots", **SHAPE).pcm)


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
    found = set()
    for k, h in enumerate(hashes):
        at = np.minimum(np.searchsorted(blocks[order], h), len(blocks) - 1)
        first = blocks[order][at] == h
        last = np.minimum(np.searchsorted(blocks[order], h[first], "right"), len(blocks))
        for low, high in set(zip(at[first].tolist(), last.tolist(), strict=True)):
            found |= {(int(i), k) for i in owner[order][low:high] if i != k}
    return found


def test_no_two_streams_share_audio(rendered):
    signals = [stream.pcm for stream in rendered]
    assert shared(signals) == set()
    copied = signals[3].copy()
    copied[70_001 : 70_001 + SR] = signals[9][123_456 : 123_456 + SR]
    assert (3, 9) in shared([*signals[:3], copied, *signals[4:]])


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


def test_energy_rises_at_the_onsets_and_not_before():
    rises, before = [], []
    for i in range(8):
        stream = simulated.render(3, "train", i, "shots", **SHAPE)
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
        stand = simulated._Stand("park", scene, Air(), SR, (2.0, min(900.0, scenes.SCENES[scene].reach_m)), -100.0)
        start, wet, alone, rows = simulated._firing(rng, stand, i, 3 + i / 7e4)
        assert start == int((3 + i / 7e4) * SR)
        for y in (wet, alone):
            onset = rows[0]["onset"]
            assert np.abs(y[:onset]).max(initial=0) < 1e-5 * np.abs(y).max()
            assert np.abs(y[onset : onset + 32]).max() > 0.01 * np.abs(y[onset : onset + 400]).max() > 0
        assert len(wet) > rows[-1]["blast"] + SR // 5


def test_places_and_kinds_of_event_take_turns():
    for side in simulated.SIDES:
        rate = simulated.EVENTS_PER_MIN * 2
        laid = [simulated.turns(8, side, "quiet", i, rate) for i in range(20)]
        counts = Counter(itertools.chain(*laid))
        assert set(counts) == set(EVENTS) and max(counts.values()) - min(counts.values()) <= 1
        assert np.mean([len(x) for x in laid]) == pytest.approx(rate, rel=0.3) and np.std([len(x) for x in laid]) > 1
        assert sorted(simulated.place(8, side, "quiet", i) for i in range(20)) == sorted(PLACES)


@given(peak_db=st.floats(-60, 20), full_scale_db=st.floats(105, 130), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_only_what_overloads_is_clipped(peak_db, full_scale_db, seed):
    rng, full_scale = np.random.default_rng(seed), PASCAL * 10 ** (full_scale_db / 20)
    device = Device(np.array([1.0]), -60.0, 0.0, full_scale, False)
    y = rng.uniform(-1, 1, 4000).astype(np.float32)
    y *= full_scale * 10 ** (peak_db / 20) / np.abs(y).max()
    pcm = device.record(rng, y.copy(), SR).astype(int)
    rail = (pcm >= audio.FULL_SCALE - 1) | (pcm == -audio.FULL_SCALE)
    assert (np.abs(y[rail]) > 0.9999 * full_scale).all() and rail[np.abs(y) > 1.0001 * full_scale].all()
    assert np.abs(pcm - y / full_scale * audio.FULL_SCALE)[~rail].max(initial=0) < 2


@pytest.mark.parametrize(("name", "value"), [("side", "dev"), ("kind", "loud")])
def test_unknown_sides_and_kinds_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name}='{value}' must be one of"):
        simulated.render(8, **{"side": "test", "kind": "quiet", name: value}, index=0, **SHAPE)


def test_a_cross_fade_keeps_the_power():
    rng, power = np.random.default_rng(2), []
    for _ in range(300):
        y, x = rng.standard_normal((2, 600))
        join(y, x, 200, 100)
        power.append(y**2)
        assert np.array_equal(y[300:], x[100:400])
    assert np.mean(power, axis=0)[200:300].mean() == pytest.approx(1, abs=0.03)


@given(hours=st.floats(0.001, 50), shot_hours=st.floats(0.001, 9), share=st.floats(0, 1), stream_s=st.floats(30, 900))
def test_the_plan_covers_the_hours(hours, shot_hours, share, stream_s):
    planned = streams.plan_simulated(
        seed=1, hours=hours, shot_hours=shot_hours, val_share=share, stream_s=stream_s, distance_m=(2, 9)
    )
    counts = Counter((task.side, task.kind) for task in planned)
    wanted = {"quiet": hours, "shots": shot_hours}
    for (side, kind), count in counts.items():
        asked = wanted[kind] * (share if side == "val" else 1) * 3600
        assert count >= 1 and asked - 0.001 * stream_s <= count * stream_s < max(asked, 0.001) + stream_s
    assert len(counts) == 4 and len({(t.side, t.kind, t.index) for t in planned}) == len(planned)


@given(st.lists(st.integers(1, 40 * SR), min_size=1, max_size=8), st.integers(1, 8 * SR))
def test_every_environment_recording_is_cut_into_parts_that_hold_it_once(lengths, longest):
    cuts = streams.environment(
        table(*((f"{i}.wav", "env", "g", "mine", n) for i, n in enumerate(lengths))), max(longest, SR), SR
    )
    for i, n in enumerate(lengths):
        mine = [cut for cut in cuts if cut.recording == f"{i}.wav"]
        assert mine[0].start == 0 and mine[-1].stop == n
        assert all(a.stop == b.start for a, b in itertools.pairwise(mine))
        assert all(0 < len(cut) <= max(longest, SR) for cut in mine)


@given(st.sets(st.integers(0, 30 * SR - 1), max_size=30))
def test_every_onset_is_in_one_firing_and_no_sound_in_two(onsets):
    cuts = streams.firings(table(("a.wav", "gun", "g", "mine", 30 * SR)), {"a.wav": list(onsets)}, 7 * SR, SR)
    assert sorted(itertools.chain(*(cut.onsets for cut in cuts))) == sorted(onsets)
    for cut in cuts:
        assert 0 <= cut.start <= cut.onsets[0] <= cut.onsets[-1] < cut.stop <= 30 * SR and len(cut) < 10 * SR
        inside = [onset for onset in onsets if cut.start <= onset < cut.stop]
        assert len(inside) - len(cut.onsets) in (0, 1) and set(cut.onsets) <= set(inside)
    assert all(a.stop <= b.onsets[0] for a, b in itertools.pairwise(cuts))


def test_real_streams_hold_their_sides_recordings_once_and_no_others(corpus):
    planned, (_, recordings, onsets, sides) = plan(corpus), corpus
    assert {task.side for task in planned} == {"val", "test"}
    for side in ("val", "test"):
        mine = [task for task in planned if task.side == side]
        cuts = [cut for task in mine for cut in [*task.environment, *(c for _, c in task.firings)]]
        assert {sides[cut.recording_group] for cut in cuts} == {side}
        assert all(cut.recording.startswith(f"mine/{side}") for cut in cuts)
        laid = Counter(cut.recording for task in mine if task.kind == "quiet" for cut in task.environment)
        assert laid == {f"mine/{side}{i}.wav": 3 if i == 1 else 1 for i in range(5)}
        fired = [c for task in mine for _, c in task.firings]
        assert sorted((c.recording, o) for c in fired for o in c.onsets) == sorted(
            (name, onset) for name, found in onsets.items() if f"/{side}" in name for onset in found
        )
        for task in mine:
            assert bool(task.firings) == (task.kind == "shots")
            for start, cut in task.firings:
                assert start >= 0 and start + len(cut) <= streams.starts(task.environment, SR)[-1]
    assert plan((None, recordings[recordings["source"] == "simulated"], {}, sides)) == []


def test_a_real_stream_is_what_was_laid(corpus):
    raw = corpus[0]
    for task in plan(corpus):
        made = task.make(raw, SR)
        y, n = audio.to_float(made.pcm), len(made.pcm)
        assert made.row["duration_s"] == n / SR >= made.row["unique_s"]
        assert made.events[0]["start"] == 0 and made.events[-1]["stop"] == n
        covered = np.zeros(n, int)
        for event in made.events:
            covered[event["start"] : event["stop"]] += 1
        assert covered.min() == 1 and covered.max() <= 2
        if task.kind == "quiet":
            assert made.row["unique_s"] * SR == pytest.approx((covered > 0).sum()) and not made.shots
            for event in made.events:
                length = event["stop"] - event["start"]
                x = audio.read_pcm(raw / event["recording"], sr=SR, start=event["source_start"], frames=length)
                inner = slice(int(0.1 * SR), length - int(0.1 * SR))
                a, b = y[event["start"] : event["stop"]][inner], audio.to_float(x)[inner]
                if len(a) > 100:
                    assert np.corrcoef(a, b)[0, 1] > 0.999
                    assert -31 < event["level_db"] < -2.9
        for shot in made.shots:
            assert shot["shock"] == -1 and shot["onset"] == shot["blast"] and shot["peak_snr_db"] < 40.01
        for _, shots in itertools.groupby(made.shots, key=lambda shot: shot["firing"]):
            assert max(shot["peak_snr_db"] for shot in shots) >= -0.01
        for shot in made.shots:
            if shot["peak_snr_db"] > 15:
                at = shot["onset"]
                assert np.abs(y[at : at + 80]).max() > 2 * np.abs(y[at - 80 : at]).max()


def test_sound_that_is_laid_twice_is_unique_once(corpus):
    raw, recordings, onsets, sides = corpus
    twice = pd.concat([recordings, recordings[recordings["path"] == "mine/test4.wav"].assign(path="mine/test4b.wav")])
    (raw / "mine/test4b.wav").write_bytes((raw / "mine/test4.wav").read_bytes())
    unique = {}
    for name, of in (("once", recordings), ("twice", twice)):
        quiet = [task for task in plan((raw, of, onsets, sides)) if task.side == "test" and task.kind == "quiet"]
        rows = [task.make(raw, SR).row for task in quiet]
        unique[name] = sum(row["unique_s"] for row in rows), sum(row["duration_s"] for row in rows)
    assert unique["twice"][1] - unique["once"][1] == pytest.approx(20, abs=0.5)
    assert unique["twice"][0] == pytest.approx(unique["once"][0], abs=0.5)


def test_the_default_params_give_streams_of_every_kind():
    s = params.load("streams").streams
    planned = streams.plan_simulated(**s.model_dump(), distance_m=(2.0, 1500.0))
    assert {(task.side, task.kind) for task in planned} == set(itertools.product(streams.SIDES, simulated.KINDS))
