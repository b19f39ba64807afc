"""What files' scores are worth, averaged over labels and sources: against scikit-learn, and by construction."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from gunshot.studies.sim_to_real import sealed, transfer


def drawn(seed, guns=30, envs=80):
    rng = np.random.default_rng(seed)
    y = np.r_[np.ones(guns, int), np.zeros(envs, int)]
    return pd.DataFrame({
        "y": y,
        "label": [f"{'gun' if v else 'env'}{rng.integers(4)}" for v in y],
        "upstream": [f"u{rng.integers(3) if v else rng.integers(5)}" for v in y],
        "recording_group": [f"g{v}{rng.integers(12)}" for v in y],
        "score": np.round(rng.normal(y, 1.0), 1),  # with ties
    })  # fmt: skip


@pytest.mark.slow
@given(st.integers(0, 1000))
def test_slices_are_scikit_learns_and_the_mean_of_the_means(seed):
    files = drawn(seed)
    result = transfer(files, np.random.default_rng(0), draws=2)
    for column, title in (("label", "by_label"), ("upstream", "by_source")):
        for value, figures in result[title].items():
            part = files[files[column] == value]
            if part["y"].nunique() == 1:
                part = pd.concat([part, files[files["y"] != part["y"].iloc[0]]])
            assert figures["auc"] == pytest.approx(roc_auc_score(part["y"], part["score"]))
    means = [np.mean([f["auc"] for f in result[t].values()]) for t in ("by_label", "by_source")]
    assert result["auc"] == pytest.approx(np.mean(means))


@pytest.mark.slow
@given(st.integers(0, 1000))
def test_at_most_one_in_twenty_environment_files_alarms(seed):
    files = drawn(seed)
    gun, env = (files[files["y"] == v]["score"].to_numpy() for v in (1, 0))
    best = max(np.mean(gun > t) for t in np.r_[env, -9] if np.mean(env > t) <= 0.05)
    result = transfer(files, np.random.default_rng(0), draws=2)
    shots = files[files["y"] == 1]
    total = sum(f["recall_at_5pct"] * (shots["label"] == v).sum() for v, f in result["by_label"].items() if v[0] == "g")
    assert total / len(shots) == pytest.approx(best)
    assert all(f["recall_at_5pct"] is None for v, f in result["by_label"].items() if v[0] == "e")


def test_perfect_scores_give_one_and_the_interval_holds_the_figure():
    files = drawn(3)
    perfect = transfer(files.assign(score=files["y"]), np.random.default_rng(0), draws=20)
    assert perfect["auc"] == perfect["auc_low"] == perfect["recall_at_5pct"] == 1.0
    result = transfer(files, np.random.default_rng(0), draws=200)
    for name in ("auc", "recall_at_5pct"):
        assert result[f"{name}_low"] < result[name] < result[f"{name}_high"]


@pytest.mark.slow
def test_a_group_keeps_its_half_and_about_half_are_sealed():
    groups = [f"source:{i}" for i in range(2000)]
    shut = [sealed(group) for group in groups]
    assert 0.45 < np.mean(shut) < 0.55 and shut == [sealed(group) for group in groups]
