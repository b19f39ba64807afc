"""Scoring: metrics against scikit-learn and SciPy, operating points, bounds, slices, bootstrap, matching."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom, poisson
from sklearn import metrics as sklearn_metrics

from gunshot.models.scores import calibration, metrics


@st.composite
def scored(draw, both: bool = False):
    """Labels and scores; few distinct scores, so that ties are common, as an int8 model gives them."""
    n = draw(st.integers(2, 60))
    y = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    score = np.array(draw(st.lists(st.integers(0, 12), min_size=n, max_size=n))) / 12
    assume(not both or 0 < y.sum() < n)
    return y, score.astype(np.float32)


@given(scored(both=True))
def test_auc_is_the_chance_that_a_shot_scores_higher(case):
    y, score = case
    pairs = score[y == 1][:, None] - score[y == 0]
    assert metrics.auc(y, score) == pytest.approx(np.mean(pairs > 0) + np.mean(pairs == 0) / 2)


@pytest.mark.parametrize("y", [[], [0, 0], [1]])
def test_auc_of_one_class_is_nan(y):
    assert np.isnan(metrics.auc(np.array(y), np.ones(len(y))))


@given(scored(), st.floats(0.01, 1))
def test_the_chunk_threshold_is_the_highest_that_keeps_min_recall(case, min_recall):
    y, score = case
    assume(y.any())
    point = metrics.chunk_threshold(y, score, min_recall=min_recall)
    assert isinstance(point, float) and point in score[y == 1]
    assert np.mean(score[y == 1] >= point) >= min_recall - 1e-9
    assert np.mean(score[y == 1] >= np.nextafter(np.float32(point), np.float32(2))) < min_recall


def test_the_chunk_threshold_of_a_round_share_is_exact():
    score = np.arange(20) / 20
    for kept in range(1, 21):
        point = metrics.chunk_threshold(np.ones(20, int), score, min_recall=kept / 20)
        assert point == score[20 - kept]


def test_a_chunk_threshold_needs_a_shot():
    with pytest.raises(ValueError, match="shots=0"):
        metrics.chunk_threshold(np.zeros(3, int), np.ones(3), min_recall=0.9)


@pytest.mark.slow
@given(scored(), st.integers(-1, 13))
def test_rates_are_those_of_scikit_learn(case, level):
    y, score = case
    decided = score >= level / 12
    figures = metrics.at_threshold(y, score, level / 12)
    assert figures["tp"] + figures["fn"] == y.sum() and figures["fp"] + figures["tn"] == len(y) - y.sum()
    assert figures["tp"] == np.sum(decided & (y == 1)) and figures["fp"] == np.sum(decided & (y == 0))
    assert figures["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(y, decided))
    nan = float("nan")
    assert figures["precision"] == pytest.approx(
        sklearn_metrics.precision_score(y, decided, zero_division=nan), nan_ok=True
    )
    assert figures["recall"] == pytest.approx(sklearn_metrics.recall_score(y, decided, zero_division=nan), nan_ok=True)
    false_rate = np.mean(decided[y == 0]) if (y == 0).any() else nan
    assert figures["false_rate"] == pytest.approx(false_rate, nan_ok=True)


@given(st.integers(1, 400), st.data())
def test_bounds_are_clopper_pearson_s(n, data):
    k = data.draw(st.integers(0, n))
    score = (np.arange(n) < k).astype(float)
    shots, environment = (metrics.at_threshold(np.full(n, kind), score, 0.5) for kind in (1, 0))
    assert shots["recall_lower"] == pytest.approx(beta.ppf(0.05, k, n - k + 1) if k else 0, abs=1e-9)
    assert environment["false_rate_upper"] == pytest.approx(beta.ppf(0.95, k + 1, n - k) if k < n else 1, abs=1e-9)
    assert shots["recall_lower"] <= k / n <= environment["false_rate_upper"]


@pytest.mark.parametrize("n", [30, 100, 1000])
def test_nothing_in_n_is_bounded_by_the_rule_of_three(n):
    figures = metrics.at_threshold(np.zeros(n, int), np.zeros(n), 0.5)
    assert figures["false_rate"] == 0 and figures["false_rate_upper"] == pytest.approx(1 - 0.05 ** (1 / n), rel=1e-6)
    assert figures["false_rate_upper"] == pytest.approx(3 / n, rel=0.06)
    assert np.isnan(figures["recall"]) and np.isnan(figures["recall_lower"])


def test_a_known_bound():
    # Clopper and Pearson's own limit: 8 of 10, 95 % one-sided lower bound 0.4931.
    figures = metrics.at_threshold(np.ones(10, int), (np.arange(10) < 8).astype(float), 0.5)
    assert figures["recall_lower"] == pytest.approx(0.4931, abs=1e-4)


def test_the_summary_holds_both_thresholds():
    y, score = np.array([1, 1, 1, 0, 0]), np.array([0.9, 0.4, 0.3, 0.35, 0.1])
    figures = metrics.summary(y, score, threshold=0.3)
    assert figures["accuracy"] == 0.6 and figures["recall"] == pytest.approx(1 / 3) and figures["precision"] == 1
    assert figures["recall_at_threshold"] == 1 and figures["false_rate_at_threshold"] == 0.5
    assert figures["auc"] == pytest.approx(5 / 6) and (figures["shots"], figures["environment"]) == (3, 2)
    assert figures["threshold"] == 0.3


@pytest.mark.slow
@settings(max_examples=15)
@given(scored(both=True))
def test_curves_are_those_of_the_decisions(case):
    y, score = case
    curves = metrics.curves(y, score)
    assert set(curves) == {"roc", "det", "threshold"}
    for name, table in curves.items():
        assert table["threshold"].max() <= 1
        for row in table.to_dict("records"):
            at = metrics.at_threshold(y, score, row["threshold"])
            if name == "threshold":
                assert (row["precision"], row["recall"]) == pytest.approx((at["precision"], at["recall"]))
            elif (name == "roc" and row["fpr"] + row["tpr"] > 0) or (name == "det" and row["fnr"] < 1):
                assert row["fpr"] == pytest.approx(at["false_rate"])
                assert row.get("tpr", 1 - row.get("fnr", 0)) == pytest.approx(at["recall"])
    roc = curves["roc"]
    assert np.trapezoid(roc["tpr"], roc["fpr"]) == pytest.approx(metrics.auc(y, score))


TABLE = pd.DataFrame(
    {
        "label": ["pistol", "pistol", "rifle", "dog", "dog", "mixed", "mixed"],
        "y": [1, 1, 1, 0, 0, 1, 0],
        "score": [0.9, 0.2, 0.6, 0.7, 0.1, 0.3, 0.8],
        "recording_group": list("aabccdd"),
    }
)


def test_by_label():
    table = metrics.by(TABLE, "label", threshold=0.5).set_index("label")
    assert table.index.tolist() == ["dog", "mixed", "pistol", "rifle"]
    assert table["shots"].tolist() == [0, 1, 2, 1] and table["environment"].tolist() == [2, 1, 0, 0]
    assert table["auc_against"].tolist() == ["all", "own", "all", "all"]
    assert table["auc"].tolist() == pytest.approx([5 / 8, 0, (3 + 1) / 6, 1 / 3])
    assert table["recall"].tolist() == pytest.approx([np.nan, 0, 0.5, 1], nan_ok=True)
    assert table["false_rate"].tolist() == pytest.approx([0.5, 1, np.nan, np.nan], nan_ok=True)


def groups(rng: np.random.Generator, count: int, each: int, apart: float) -> pd.DataFrame:
    rows = [(f"{y}{g}", y, rng.normal(apart * y)) for y in (0, 1) for g in range(count) for _ in range(each)]
    return pd.DataFrame(rows, columns=["recording_group", "y", "score"])


@pytest.mark.slow
def test_the_bootstrap_holds_the_auc_and_narrows_with_more_groups():
    few, many = (groups(np.random.default_rng(0), count, 2, 1.0) for count in (6, 60))
    intervals = [metrics.bootstrap_auc(t, np.random.default_rng(1), draws=100) for t in (few, many)]
    for table, (low, high) in zip((few, many), intervals, strict=True):
        assert low < metrics.auc(table["y"].to_numpy(), table["score"].to_numpy()) < high
    assert np.diff(intervals[1]) < 0.6 * np.diff(intervals[0])
    assert metrics.bootstrap_auc(few, np.random.default_rng(1), draws=100) == intervals[0]
    assert metrics.bootstrap_auc(few, np.random.default_rng(2), draws=100) != intervals[0]


@pytest.mark.slow
def test_copies_of_a_recording_are_no_further_evidence():
    table = groups(np.random.default_rng(3), 10, 1, 1.0)
    alone, copied = (
        metrics.bootstrap_auc(t, np.random.default_rng(0), draws=100) for t in (table, pd.concat([table] * 5))
    )
    assert copied == pytest.approx(alone, abs=1e-9)


def test_the_bootstrap_of_one_class_or_of_perfect_scores():
    table = groups(np.random.default_rng(0), 5, 2, 100.0)
    assert metrics.bootstrap_auc(table, np.random.default_rng(0), draws=20) == (1.0, 1.0)
    assert all(np.isnan(metrics.bootstrap_auc(table[table["y"] == 1], np.random.default_rng(0))))


@given(scored(both=True), st.floats(0, 1))
def test_recall_at_false_rate_is_the_best_of_all_thresholds(case, rate):
    y, score = case
    best = max(np.mean(score[y == 1] >= level) for level in [2, *score] if np.mean(score[y == 0] >= level) <= rate)
    assert metrics.recall_at_false_rate(y, score, rate) == pytest.approx(best)


def test_recall_at_false_rate_between_ties():
    # Every score is shared by one shot and one environment: the curve is straight, and each of its points counts.
    y, score = np.tile([0, 1], 20), np.repeat(np.arange(20), 2)
    assert metrics.recall_at_false_rate(y, score, 0.12) == pytest.approx(0.10)


@given(st.integers(0, 200), st.floats(0.01, 500))
def test_the_rate_s_bound_is_the_poisson_tail_s(count, hours):
    upper = metrics.rate_upper(count, hours)
    assert upper > count / hours
    assert poisson.cdf(count, upper * hours) == pytest.approx(0.05, rel=1e-6)


def test_known_rate_bounds():
    assert metrics.rate_upper(0, 20.0) == pytest.approx(-np.log(0.05) / 20) == pytest.approx(3 / 20, rel=2e-3)
    assert metrics.rate_upper(1, 1.0) == pytest.approx(4.7439, abs=1e-4)  # Garwood's own table
    assert metrics.rate_upper(0, 0.0) == metrics.rate_upper(5, 0.0) == float("inf")


@given(st.integers(1, 300), st.data())
def test_the_share_s_bound_is_the_binomial_tail_s(n, data):
    k = data.draw(st.integers(1, n))
    lower = metrics.share_lower(k, n)
    assert 0 < lower < k / n and binom.sf(k - 1, n, lower) == pytest.approx(0.05, rel=1e-5)


def test_the_share_of_nothing():
    assert metrics.share_lower(0, 9) == 0 and np.isnan(metrics.share_lower(0, 0))


def test_what_a_report_states():
    rng = np.random.default_rng(0)
    y = np.arange(400) % 2
    logit = rng.normal(3 * y - 1, 1.5)
    report = metrics.stated(y, logit, min_recall=0.9)
    assert report["calibration"] == calibration.calibrate(y, logit)
    score = calibration.calibrated(logit, report["calibration"])
    assert report["validation_auc"] == pytest.approx(metrics.auc(y, logit))
    assert np.mean(score[y == 1] >= report["chunk_threshold"]) == pytest.approx(0.9) and set(report) == {
        "chunk_threshold", "calibration", "validation_auc",
    }  # fmt: skip


def most_pairs(near: np.ndarray) -> int:
    """As many pairs as any choice gives, by trying each."""
    if not len(near):
        return 0
    without = most_pairs(near[1:])
    return max([without, *(1 + most_pairs(np.delete(near[1:], j, axis=1)) for j in np.flatnonzero(near[0]))])


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 2**32), st.floats(0.1, 0.9))
def test_a_match_has_as_many_pairs_as_can_be(rows, columns, seed, density):
    near = np.random.default_rng(seed).random((rows, columns)) < density
    pairs = metrics.match(near)
    assert pairs.dtype == np.int64 and pairs.shape == (most_pairs(near), 2)
    assert all(near[i, j] for i, j in pairs)
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)


@given(st.lists(st.integers(0, 30), max_size=5), st.lists(st.integers(0, 30), max_size=5), st.integers(0, 8))
def test_onsets_match_within_the_collar(truth, onsets, collar):
    near = np.array([[abs(a - b) <= collar for b in onsets] for a in truth], bool).reshape(len(truth), len(onsets))
    pairs = metrics.match_onsets(np.array(truth), np.array(onsets), collar=collar)
    assert len(pairs) == most_pairs(near) and all(near[i, j] for i, j in pairs)


def test_each_true_onset_may_have_a_collar_of_its_own():
    pairs = metrics.match_onsets(np.array([0.0, 1.0]), np.array([0.3, 1.3]), collar=np.array([0.5, 0.1]))
    assert pairs.tolist() == [[0, 0]]


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_found_and_missed_by_hand(matched, missed, false):
    rates = metrics.found_and_missed(matched, matched + missed, matched + false)
    y = [1] * matched + [1] * missed + [0] * false
    decided = [1] * matched + [0] * missed + [1] * false
    for name, measure in (("precision", sklearn_metrics.precision_score), ("recall", sklearn_metrics.recall_score)):
        expected = measure(y, decided, zero_division=float("nan")) if y else float("nan")
        assert rates[name] == pytest.approx(expected, nan_ok=True)
    whole = 2 * matched + missed + false
    assert rates["f1"] == pytest.approx(2 * matched / whole if whole else float("nan"), nan_ok=True)
