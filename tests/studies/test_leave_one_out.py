"""Data sets left out in turn: none is in two turns, thresholds keep their rates, figures as counted by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot.models.scores import metrics
from gunshot.studies import leave_one_out
from gunshot.studies.leave_one_out import GRID, REST, Heard

ROWS = st.lists(
    st.tuples(st.sampled_from(["gun", "env"]), st.integers(0, 8), st.integers(0, 30), st.floats(0.1, 100)), min_size=1
)


def table(rows: list[tuple]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["class", "upstream", "recording_group", "duration_s"])
    return frame.assign(
        upstream="u" + frame["upstream"].astype(str), recording_group="g" + frame["recording_group"].astype(str)
    )


@pytest.mark.slow
@given(ROWS)
@settings(max_examples=60)
def test_an_upstream_source_is_whole_in_one_turn(rows):
    recordings = table([("gun", 0, 0, 1.0), *rows])
    turn = leave_one_out.turns(recordings)
    assert turn.notna().all() and (turn.groupby(recordings["upstream"]).nunique() == 1).all()


def test_data_sets_with_many_groups_of_shots_are_left_out_alone_and_environment_is_shared_out():
    """Recordings do not count, groups do; the longest environment goes where there is least."""
    rows = [("gun", 0, i, 1.0) for i in range(10)] + [("env", 0, 100, 50.0)]  # alone, with its environment
    rows += [("gun", 1, 20, 1.0)] * 50 + [("gun", 2, 30 + i, 1.0) for i in range(9)]  # the rest
    rows += [("env", 3, 103, 40.0), ("env", 4, 104, 20.0), ("env", 5, 105, 5.0)]
    recordings = table(rows)
    turn = leave_one_out.turns(recordings).groupby(recordings["upstream"]).first().to_dict()
    assert turn == {"u0": "u0", "u1": REST, "u2": REST, "u3": REST, "u4": REST, "u5": "u0"}


def heard(seed: int = 0, *, incidents: np.ndarray | None = None) -> Heard:
    """Ten hours of environment in two data sets; a data set of 6 groups and 12 files of shots, one of 2 groups."""
    rows = [(1, "a", f"a{i // 2}", 1.0) for i in range(12)] + [(1, "b", f"b{i // 2}", 1.0) for i in range(4)]
    rows += [(0, "a", f"e{i}", 3600.0) for i in range(4)] + [(0, "c", f"f{i}", 3600.0) for i in range(6)]
    files = pd.DataFrame(rows, columns=["y", "upstream", "recording_group", "duration_s"])
    rng = np.random.default_rng(seed)
    files = files.assign(turn=files["upstream"], score=0.4 * files["y"] + rng.random(len(files)))
    if incidents is None:
        highest = rng.normal(0, 1, len(files)) + 3 * files["y"].to_numpy() + 8
        incidents = (highest[:, None] >= np.r_[GRID, 11.0]) * np.where(files["y"] == 0, 20, 1)[:, None]
    return Heard(files, incidents)


def test_figures_are_those_counted_file_by_file():
    every = [heard(seed) for seed in range(3)]
    content = leave_one_out.figures(every, np.random.default_rng(0))
    assert (content["seeds"], content["hours"], content["gun_files"], content["env_files"]) == (3, 10.0, 16, 10)
    for point, limit in (("at_1_per_hour", 1), ("at_5_per_hour", 5), ("at_validation", None)):
        recalls, rates = [], []
        for one in every:
            gun = (one.files["y"] == 1).to_numpy()
            rate = one.incidents[~gun].sum(axis=0) / 10
            place = len(GRID) if limit is None else min(i for i in range(len(GRID)) if max(rate[i:-1]) <= limit)
            hits = one.incidents[:, place] > 0
            recalls.append([hits[one.files["upstream"].eq(name) & gun].mean() for name in "ab"])
            rates.append(rate[place])
        mean, spread = np.mean(recalls, axis=0), np.std(recalls, axis=0, ddof=1)
        assert content[f"recall_{point}"] == pytest.approx(mean[0])  # b has two groups: it stands beside the mean
        assert content[f"recall_{point}_sd"] == pytest.approx(spread[0])
        assert content[f"false_incidents_per_hour_{point}"] == pytest.approx(np.mean(rates))
        for row, recall in zip(content["sources"], mean, strict=True):
            assert row[f"recall_{point}"] == pytest.approx(recall)
            assert row[f"recall_{point}_low"] <= recall <= row[f"recall_{point}_high"]
        by_hours = sum(row["hours"] * row[f"false_incidents_per_hour_{point}"] for row in content["environment"])
        assert by_hours == pytest.approx(10 * np.mean(rates))
    assert [row["counts"] for row in content["sources"]] == [True, False]
    most = max(int(one.incidents[16:, -1].sum()) for one in every)
    assert content["false_incidents_per_hour_at_validation_upper"] == pytest.approx(metrics.rate_upper(most, 10.0))
    auc = [metrics.auc(*(one.files[one.files["y"].eq(0) | one.files["upstream"].eq("b")][k].to_numpy()
                         for k in ("y", "score"))) for one in every]  # fmt: skip
    assert content["sources"][1]["auc"] == pytest.approx(np.mean(auc))


def test_a_rate_that_no_threshold_keeps_is_that_of_the_highest():
    every = [heard(incidents=np.full((26, len(GRID) + 1), 9))]
    content = leave_one_out.figures(every, np.random.default_rng(0))
    assert content["recall_at_1_per_hour"] == 1.0 and content["false_incidents_per_hour_at_1_per_hour"] == 9.0
    assert content["recall_at_1_per_hour_sd"] is None


def test_intervals_are_over_groups_not_files():
    """Each file ten times over says nothing new: the interval stays as wide."""
    once = heard()
    often = Heard(pd.concat([once.files] * 10, ignore_index=True), np.concatenate([once.incidents] * 10))
    widths = []
    for each in (once, often):
        row = leave_one_out.figures([each], np.random.default_rng(0))["sources"][0]
        widths.append(row["recall_at_validation_high"] - row["recall_at_validation_low"])
    assert widths[1] == pytest.approx(widths[0], rel=0.15) and widths[0] > 0
