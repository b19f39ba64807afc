"""What onsets are worth: matching one to one, collars, the control, and the report's figures."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot import corpora, tags
from gunshot.base import params, tables
from gunshot.models.scores import metrics
from gunshot.studies import onsets as onset_study
from gunshot.tags import Tag

SR = 16000
REPO = Path(__file__).parents[2]
SHARED = REPO.parent / "shared" / "audio"
TIMES = st.lists(st.integers(0, 60), max_size=6, unique=True).map(sorted)


def best(truth, onsets, collar) -> int:
    """The most pairs of any one-to-one pairing, by trying them all."""
    short, long = sorted([truth, onsets], key=len)
    return max(sum(abs(a - b) <= collar for a, b in zip(short, p, strict=False)) for p in
               itertools.permutations(long, len(short))) if short else 0  # fmt: skip


@given(TIMES, TIMES, st.integers(0, 15))
def test_as_many_onsets_match_as_can(truth, onsets, collar):
    pairs = metrics.match_onsets(np.array(truth), np.array(onsets), collar=collar)
    assert len(pairs) == best(truth, onsets, collar)
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
    assert all(abs(truth[a] - onsets[b]) <= collar for a, b in pairs)


def test_each_true_onset_may_have_its_own_collar():
    pairs = metrics.match_onsets(np.array([0, 100]), np.array([20, 120]), collar=np.array([10, 20]))
    assert pairs.tolist() == [[1, 1]]


def test_rates_are_of_what_is_there():
    assert metrics.found_and_missed(3, 4, 6) == {"precision": 0.5, "recall": 0.75, "f1": 0.6}
    assert all(np.isnan(v) for v in metrics.found_and_missed(0, 0, 0).values())


def test_the_collar_is_narrow_in_bursts_alone():
    starts = np.array([0, 16000, 16800, 17600, 21599, 25599, 60000])  # the last gaps: 3999 and 4000 samples, then far
    assert (onset_study.collars(starts, sr=SR) / SR).tolist() == [0.05, 0.015, 0.015, 0.015, 0.015, 0.05, 0.05]
    assert onset_study.collars(np.zeros(0), sr=SR).tolist() == []


@pytest.mark.parametrize(
    ("starts", "name"),
    [([], "none"), ([5], "single"), ([5, 900], "pair"), ([0, 800, 1600], "burst"), ([0, 8000, 16000], "series")],
)
def test_patterns(starts, name):
    assert onset_study.pattern(starts, sr=SR) == name


def test_counts_of_one_recording():
    tagged = [Tag(1010, 0.9), Tag(1100, 0.2), Tag(2600, 0.8), Tag(9000, 0.4)]
    row = onset_study.count_matches([1000, 1800, 2600, 3400], tagged, 16000, np.random.default_rng(1), sr=SR)
    assert (row["shots"], row["found"], row["matched"], row["pattern"]) == (4, 4, 2, "burst")
    assert row["confidence"] == [0.9, 0.2, 0.8, 0.4] and sum(row["right"]) == 2 and row["right"][2:] == [True, False]
    assert onset_study.count_matches([1000], [], 16000, np.random.default_rng(1), sr=SR)["chance"] == 0


@pytest.mark.slow
def test_chance_is_what_random_onsets_get():
    """One onset thrown at 10 shots in n samples hits with the share of n that their collars cover."""
    n, starts = 200_000, list(range(10_000, 200_000, 20_000))
    rows = [onset_study.count_matches(starts, [Tag(0, 0.5)], n, np.random.default_rng(i), sr=SR) for i in range(400)]
    covered = len(starts) * (2 * 0.05 * SR + 1) / n
    assert np.mean([row["chance"] for row in rows]) == pytest.approx(covered, rel=0.1)


def rows(**more):
    base = {"pattern": "burst", "distance_m": "2 to 9", "shots": 4, "found": 5, "matched": 3, "chance": 1.0,
            "confidence": [0.1, 0.95, 0.9, 0.85, 0.3], "right": [False, True, True, True, False]}  # fmt: skip
    return base | more


def test_the_report_s_own_figures_are_those_of_bursts():
    cases = [rows(), rows(pattern="single", shots=1, found=1, matched=1, chance=0.0, confidence=[1.0], right=[True])]
    report = onset_study.report(cases, [])
    assert report["real"] is None
    top = report["simulated"]
    assert (top["precision"], top["recall"], top["f1"]) == (0.6, 0.75, 0.6667) and top["collar_s"] == 0.015
    assert top["control"] == {"precision": 0.2, "recall": 0.25, "f1": 0.2222}
    assert (
        top["all"]["shots"] == 5
        and top["all"]["recordings"] == 2
        and set(top["all"]["by_pattern"])
        == {
            "burst",
            "single",
        }
    )
    assert top["all"]["by_confidence"][-1] == {"from": 0.8, "to": 1.0, "onsets": 4, "confidence": 0.925, "right": 1.0}


def test_real_recordings_count_their_groups():
    real = [rows(path=f"m/{i}.wav", recording_group=f"g{i // 2}", source="m") for i in range(3)]
    figures = onset_study.report([rows()], real)["real"]
    assert (figures["recordings"], figures["groups"], figures["shots"]) == (3, 2, 12)
    assert (
        figures["by_path"]["m/0.wav"] == {"shots": 4, "found": 5, "matched": 3}
        and figures["by_source"]["m"]["f1"] == 0.6667
    )


def test_bands_of_distance_are_equally_wide_and_cover_it():
    bands = onset_study.bands((2.0, 800.0))
    assert len(bands) == onset_study.BANDS and (bands[0][0], bands[-1][1]) == (2.0, 800.0)
    assert [b for _, b in bands[:-1]] == [a for a, _ in bands[1:]]
    assert np.ptp([np.log(b / a) for a, b in bands]) < 0.03


@pytest.mark.slow
def test_a_simulated_recording_is_measured_the_same_each_time():
    shape = {"duration_s": (1.2, 1.4), "distance_m": (2.0, 800.0)}
    options = {"sr": SR, **shape, "options": OPTIONS, "workers": 2}
    first, again = (list(itertools.islice(onset_study.simulated(**options), 3)) for _ in range(2))
    assert first == again and all(row["shots"] and row["distance_m"] == "2 to 8.9" for row in first)
    assert pd.DataFrame(first)["shots"].sum() >= 3


def _options() -> dict:
    from pathlib import Path

    from gunshot.base import params

    return params.load("tags", path=Path(__file__).parents[2] / "params.yaml").tags.model_dump()


OPTIONS = _options()


def test_a_group_of_many_copies_counts_once_in_the_mean_of_groups():
    good = [rows(path=f"a/{i}.wav", recording_group="copies", matched=5, shots=5, found=5) for i in range(9)]
    bad = [rows(path="b/0.wav", recording_group="other", matched=0, shots=5, found=5)]
    rates = onset_study.over_groups(pd.DataFrame(good + bad))
    assert rates["f1_mean_of_groups"] == 0.5 and (rates["f1_lower"], rates["f1_upper"]) == (0.0, 1.0)
    assert onset_study.match_rates(pd.DataFrame(good + bad))["f1"] == 0.9


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the recordings of the development machines")
def test_blind_tags_of_real_recordings_are_found_as_the_report_says(tmp_path):
    for name, layout, root in (
        ("shared", "folder", SHARED / "raw"), ("UrbanSound8K", "urbansound8k", SHARED / "UrbanSound8K")
    ):  # fmt: skip
        sources, rejected = corpora.layouts[layout](root)
        shots = [source for source in sources if source.class_ == "gun"]
        corpora.import_corpus(
            shots, rejected, tmp_path / name, tmp_path, sr=SR, silence_db=-80.0, max_clipped=0.5, max_rejected=0.1
        )
    recordings = tables.recordings(tmp_path)
    tagged, bad, waiting = tags.gather([], sorted((REPO / "data/tags/blind").glob("*.csv")), recordings)
    assert not bad and not waiting
    options = params.load("tags", path=REPO / "params.yaml").tags.model_dump()
    report = onset_study.report(
        [rows()], list(onset_study.real(recordings, tagged, tmp_path, sr=SR, options=options, workers=2))
    )
    real, said = report["real"], tables.read_json(REPO / "reports/tagging.json")["real"]
    assert real["groups"] >= 15 and real["shots"] >= 100 and real["f1"] >= 0.9
    assert real["f1_lower"] <= real["f1"] <= real["f1_upper"]
    assert {key: real[key] for key in ("precision", "recall", "f1", "shots")} == {
        key: said[key] for key in ("precision", "recall", "f1", "shots")
    }


def test_an_onset_of_a_shot_that_drowns_is_neither_asked_for_nor_false():
    shots = [{"onset": 1000, "heard": True}, {"onset": 3000, "heard": False}, {"onset": 5000, "heard": True}]
    tagged = [tags.Tag(start, 0.9) for start in (1010, 3010, 9000)]
    kept = onset_study._without_drowned(shots, tagged, sr=SR)
    assert [tag.start for tag in kept] == [1010, 9000]
