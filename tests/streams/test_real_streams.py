"""Real streams: each recording once and on its side alone, true onsets, unique material counted once."""

import itertools
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot import streams
from gunshot.base import audio, tables
from tests.streams import imported
from tests.streams.imported import SR, plan, table


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return imported.build(tmp_path_factory.mktemp("raw"))


def test_a_side_without_a_shot_has_a_table_of_none(tmp_path, corpus):
    planned = [task for task in plan(corpus) if task.side == "train"]
    written = streams.write(tmp_path, corpus[0], planned, sr=SR, workers=1)
    assert len(written) == len(planned) > 2 and set(written["kind"]) == {"quiet"}
    assert len(tables.read(tmp_path / "shots.csv", tables.STREAM_SHOT)) == 0
    assert set(tables.read(tmp_path / "events.csv", tables.STREAM_EVENT)["path"]) == set(written["path"])


@pytest.mark.slow
def test_a_run_that_fails_leaves_no_table(tmp_path, corpus):
    planned = [task for task in plan(corpus) if task.side == "train"]
    streams.write(tmp_path, corpus[0], planned, sr=SR, workers=1)
    with pytest.raises(audio.AudioError):
        streams.write(tmp_path, tmp_path / "nowhere", planned, sr=SR, workers=1)
    assert not list(tmp_path.glob("*.csv"))


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
    for side in ("train", "val", "test"):
        mine = [task for task in planned if task.side == side]
        cuts = [cut for task in mine for cut in [*task.environment, *(c for _, c in task.firings)]]
        assert {sides[cut.recording_group] for cut in cuts} == {side}
        assert all(cut.recording.startswith(f"mine/{side}") for cut in cuts)
        laid = Counter(cut.recording for task in mine if task.kind == "quiet" for cut in task.environment)
        assert laid == {f"mine/{side}{i}.wav": 3 if i == 1 else 1 for i in range(5)}
        fired = [c for task in mine for _, c in task.firings]
        known = [(name, onset) for name, starts in onsets.items() if f"/{side}" in name for onset in starts]
        assert len(known) == 5 and {task.kind for task in mine} == (
            {"quiet"} if side == "train" else {"quiet", "shots"}
        )
        assert sorted((c.recording, o) for c in fired for o in c.onsets) == sorted(known if side != "train" else [])
        for task in mine:
            assert bool(task.firings) == (task.kind == "shots")
            for start, cut in task.firings:
                assert start >= 0 and start + len(cut) <= streams.starts(task.environment, SR)[-1]
    assert plan((None, recordings[recordings["source"] == "simulated"], {}, sides)) == []


def test_a_real_stream_is_what_was_laid(corpus):
    raw = corpus[0]
    for task in plan(corpus):
        stream = task.make(raw, SR)
        y, n = audio.to_float(stream.pcm), len(stream.pcm)
        assert stream.row["duration_s"] == n / SR >= stream.row["unique_s"]
        assert stream.events[0]["start"] == 0 and stream.events[-1]["stop"] == n
        covered = np.zeros(n, int)
        for event in stream.events:
            covered[event["start"] : event["stop"]] += 1
        assert covered.min() == 1 and covered.max() <= 2
        if task.kind == "quiet":
            assert stream.row["unique_s"] * SR == pytest.approx((covered > 0).sum()) and not stream.shots
            for event in stream.events:
                length = event["stop"] - event["start"]
                x = audio.read_pcm(raw / event["recording"], sr=SR, start=event["source_start"], frames=length)
                inner = slice(int(0.1 * SR), length - int(0.1 * SR))
                a, b = y[event["start"] : event["stop"]][inner], audio.to_float(x)[inner]
                if len(a) > 100:
                    assert np.corrcoef(a, b)[0, 1] > 0.999
                    assert -31 < event["level_db"] < -2.9
        for shot in stream.shots:
            assert shot["shock"] == -1 and shot["onset"] == shot["blast"] and shot["peak_snr_db"] < 40.01
        for _, shots in itertools.groupby(stream.shots, key=lambda shot: shot["firing"]):
            assert max(shot["peak_snr_db"] for shot in shots) >= -0.01
        for shot in stream.shots:
            if shot["peak_snr_db"] > 15:
                at = shot["onset"]
                assert np.abs(y[at : at + 80]).max() > 2 * np.abs(y[at - 80 : at]).max()


def test_sound_that_is_laid_twice_is_unique_once(corpus):
    raw, recordings, onsets, sides = corpus
    twice = pd.concat([recordings, recordings[recordings["path"] == "mine/test4.wav"].assign(path="mine/test4b.wav")])
    (raw / "mine/test4b.wav").write_bytes((raw / "mine/test4.wav").read_bytes())
    unique = {}
    for name, listed in (("once", recordings), ("twice", twice)):
        quiet = [task for task in plan((raw, listed, onsets, sides)) if task.side == "test" and task.kind == "quiet"]
        rows = [task.make(raw, SR).row for task in quiet]
        unique[name] = sum(row["unique_s"] for row in rows), sum(row["duration_s"] for row in rows)
    assert unique["twice"][1] - unique["once"][1] == pytest.approx(20, abs=0.5)
    assert unique["twice"][0] == pytest.approx(unique["once"][0], abs=0.5)


def test_of_real_shots_those_are_heard_that_rise_in_the_recording(corpus):
    answers = set()
    for task in plan(corpus):
        stream = task.make(corpus[0], SR)
        y = audio.to_float(stream.pcm)
        for at, heard in ((shot["onset"], shot["heard"]) for shot in stream.shots):
            rise = 10 * np.log10(np.mean(y[at : at + 64] ** 2) / np.mean(y[at - 400 : at] ** 2))
            assert heard == (rise >= 6) or abs(rise - 6) < 0.2
            answers.add(heard)
    assert True in answers
