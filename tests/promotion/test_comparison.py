"""Candidate against champion: tests against formulas and other libraries, slices by hand, two models on streams."""

import itertools
import math
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multinomial
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.rates import test_poisson_2indep as poisson_2indep

from gunshot.alarms import summary
from gunshot.alarms.score import gathered
from gunshot.models.scores import metrics
from gunshot.promotion import comparison, gates
from tests import candidates
from tests.candidates import LOUD, SHOT_PEAKS, P, compared, model

COUNT = st.integers(0, 60)


@given(COUNT, COUNT)
def test_worse_is_the_binomial_tail(lost, won):
    n = lost + won
    tail = sum(math.comb(n, k) for k in range(lost, n + 1)) / 2**n
    assert comparison.worse(lost, won) == pytest.approx(tail, rel=1e-9)


@given(COUNT, COUNT)
def test_worse_is_one_side_of_the_exact_mcnemar_test(lost, won):
    both = mcnemar([[5, lost], [won, 7]], exact=True).pvalue
    sides = comparison.worse(lost, won), comparison.worse(won, lost)
    assert both == pytest.approx(min(1.0, 2 * min(sides)), rel=1e-9)


@pytest.mark.filterwarnings("ignore:divide by zero")
@given(st.integers(0, 40), st.integers(0, 40), st.floats(0.1, 50))
def test_worse_is_the_conditional_exact_test_of_two_poisson_rates(mine, other, hours):
    if mine + other:  # statsmodels divides by the other's rate for its statistic
        outcome = poisson_2indep(mine, hours, other, hours, method="exact-cond", alternative="larger")
        assert comparison.worse(mine, other) == pytest.approx(outcome.pvalue, rel=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_is_that_of_statsmodels(p):
    with mock.patch("gc.collect"):  # it collects each time, which takes seconds beside TensorFlow's objects
        expected = multipletests(p, method="holm")[1]
    assert comparison.holm(np.array(p)) == pytest.approx(expected)


def test_holm_of_nothing_is_nothing():
    assert len(comparison.holm(np.array([]))) == 0


CASES = 14
PAIRS = [(a, b) for a, b in itertools.product(range(CASES + 1), repeat=2) if a + b <= CASES]
BOUNDS = np.array([comparison.difference_lower(a, b, CASES) for a, b in PAIRS])


@given(st.floats(0, 0.5), st.floats(0, 0.5))
def test_the_bound_of_the_difference_holds_in_19_of_20_cases(lost, won):
    every = [(a, b, CASES - a - b) for a, b in PAIRS]
    likely = multinomial.pmf(every, CASES, [lost, won, 1 - lost - won])
    assert likely[won - lost + 1e-12 < BOUNDS].sum() <= 0.05


def test_a_bound_without_a_difference_still_says_how_little_is_known():
    assert comparison.difference_lower(0, 0, 20) == pytest.approx(0.025 ** (1 / 20) - 1)
    assert comparison.difference_lower(0, 0, 2000) > -0.002
    assert math.isnan(comparison.difference_lower(0, 0, 0))


def false(onset_s, model: str, path: str = "q") -> list[dict]:
    row = dict.fromkeys((*summary.KEYS, *summary.FALSE), "") | {"model": model, "path": path, "kind": "quiet"}
    row |= {"opens": True}
    return [row | {"onset_s": t} for t in onset_s]


def test_false_incidents_of_both_are_told_once():
    rows = [*false([1.0, 5.0], "candidate"), *false([1.15, 7.0, 9.0], "champion"), *false([1.0], "champion", "r")]
    raised = comparison.raised_by(pd.DataFrame(rows), collar_s=0.2)
    values = raised[["path", "onset_s", "candidate", "champion"]].values.tolist()
    assert values == [["q", 1.0, True, True], ["q", 5.0, True, False], ["q", 7.0, False, True], ["q", 9.0, False, True],
                    ["r", 1.0, False, True]]  # fmt: skip


TIMES = st.lists(st.integers(0, 100), max_size=12).map(lambda v: [t / 10 for t in v])


@given(TIMES, TIMES)
def test_no_false_incident_is_lost_in_telling_them_apart(mine, other):
    rows = [*false(mine, "candidate"), *false(other, "champion")]
    table = pd.DataFrame(rows, columns=[*summary.KEYS, *summary.FALSE])
    raised = comparison.raised_by(table, collar_s=0.2)
    assert (int(raised["candidate"].sum()), int(raised["champion"].sum())) == (len(mine), len(other))


def shots(n: int, **values) -> pd.DataFrame:
    base = {"path": "a", "onset": np.arange(n), "clear": True, "origin": "simulated", "place": "mall", "weapon": "M16",
            "distance_m": 30.0, "peak_snr_db": 25.0}  # fmt: skip
    return pd.DataFrame(base | values)


def test_slices_by_hand():
    table = shots(
        4, place=["mall", "mall", "park", ""], weapon="M16", distance_m=[5.0, 30.0, 300.0, -1.0],
        peak_snr_db=[25.0, 5.0, 25.0, 35.0], candidate=[True, False, False, True], champion=[False, True, True, True],
    )  # fmt: skip
    slices = {row["name"]: (row["cases"], row["lost"], row["won"]) for row in comparison.shot_slices(table)}
    assert slices == {
        "place=mall": (1, 0, 1),  # the second is too faint, the third too far, the fourth of no known place
        "distance=0 to 10": (1, 0, 1), "distance=200 to 400": (1, 1, 0),
        "snr=0 to 10": (1, 1, 0), "snr=20 to 30": (1, 0, 1), "snr=30 to 40": (1, 0, 0),
    }  # fmt: skip


def test_a_small_slice_is_not_tested_and_weighs_on_no_other():
    rows = [{"cases": cases, "p": p} for cases, p in ((19, 1e-9), (20, 0.01), (500, 0.04), (30, None))]
    results = comparison.judged(rows, min_cases=20)
    assert [row["small"] for row in results] == [True, False, False, False]
    assert [row["p_holm"] for row in results] == [None, 0.02, 0.04, None]


def test_negatives_are_counted_by_what_sounded():
    columns = ["model", "label", "cause", "origin"]
    raised = pd.DataFrame(
        [["candidate", "door", "event", "simulated"], ["candidate", "rain+hum", "bed", "simulated"],
         ["champion", "door", "event", "simulated"], ["champion", "dog", "bed", "real"], ["champion", "", "", "real"]],
        columns=columns,
    )  # fmt: skip
    laid = pd.DataFrame(
        [["door", "event", "simulated"], ["door", "event", "simulated"], ["hum", "bed", "simulated"],
         ["dog", "bed", "real"]], columns=["label", "kind", "origin"],
    )  # fmt: skip
    slices = {row["name"]: row for row in comparison.negative_slices(raised, laid, ["candidate", "champion"])}
    assert {name: (row["cases"], row["candidate"], row["champion"]) for name, row in slices.items()} == {
        "negative=background": (1, 1, 0), "negative=dog": (1, 0, 1), "negative=door": (2, 1, 1),
    }  # fmt: skip
    assert slices["negative=background"]["p"] == 0.5
    alone = comparison.negative_slices(raised[:2], laid, ["candidate"])
    assert {row["p"] for row in alone} == {None} and alone[2]["candidate"] == 1


def test_shots_of_other_streams_are_refused():
    rows = pd.concat([shots(3, model="candidate"), shots(3, model="champion", onset=[0, 1, 3])])
    with pytest.raises(ValueError, match="same streams"):
        comparison.paired(rows.assign(found=True, delay_s=0.1))


@pytest.mark.slow
def test_a_deaf_candidate_loses_the_soft_shots(tmp_path, monkeypatch):
    result = compared(tmp_path, monkeypatch, candidate=3.0, champion=0.0)
    soft = 2 * sum(peak != LOUD for peak in SHOT_PEAKS)
    recall = result["recall"]
    assert (recall["cases"], recall["champion"], recall["lost"], recall["won"]) == (24, 24, soft, 0)
    assert recall["p"] == 0.5**soft and recall["difference_lower"] < -0.5
    assert not result["same"]
    false = result["false_incidents"]
    assert (false["candidate"], false["champion"]) == (3, 12) and false["hours"] == pytest.approx(40 / 3600)
    slices = {row["name"]: row for row in result["slices"]}
    assert (slices["weapon=Uzi"]["lost"], slices["weapon=M16"]["lost"]) == (12, 0)
    assert slices["distance=25 to 50"]["p_holm"] < 0.05
    assert [row["candidate"] for row in result["shots"]] == 2 * [peak == LOUD for peak in SHOT_PEAKS]
    assert sum(row["candidate"] and row["champion"] for row in result["raised"]) == 3
    assert result["figures"]["simulated"]["candidate"]["recall"] == 0.5


@pytest.mark.slow
def test_three_false_onsets_of_one_incident_count_once(tmp_path, monkeypatch):
    def thrice(parts):
        whole = gathered(parts)
        onsets = whole["false_onsets"]
        parts = [onsets.assign(onset_s=onsets["onset_s"] + i / 2, opens=onsets["opens"] & (i == 0)) for i in range(3)]
        return whole | {"false_onsets": pd.concat(parts, ignore_index=True)}

    monkeypatch.setattr(candidates, "gathered", thrice)
    result = compared(tmp_path, monkeypatch, candidate=3.0, champion=0.0)
    false, figures = result["false_incidents"], result["figures"]["simulated"]["candidate"]
    assert (false["candidate"], false["champion"], false["p"]) == (3, 12, comparison.worse(3, 12))
    assert (figures["false_incidents"], figures["false_onsets"]) == (3, 9) and len(result["raised"]) == 12
    (door,) = [row for row in result["negatives"] if row["name"] == "negative=door"]
    assert (door["candidate"], door["champion"]) == (3, 12)
    bound = gates.false_incident_bound(result, limit=1e6)
    assert bound.figure == pytest.approx(metrics.rate_upper(3, 40 / 3600), abs=1e-3)
    assert gates.false_incidents(result, alpha=0.05).text == "3 in 0.01 h, the champion 12."


@pytest.mark.slow
def test_the_champion_itself_is_the_same(tmp_path, monkeypatch):
    result = compared(tmp_path, monkeypatch, candidate=0.0, champion=0.0)
    assert result["same"] and result["recall"]["lost"] == result["recall"]["won"] == 0


@pytest.mark.slow
def test_without_a_champion_there_are_figures_and_no_test(tmp_path, monkeypatch):
    result = compared(tmp_path, monkeypatch, candidate=0.0, champion=None)
    assert result["recall"]["candidate"] == 24 and result["recall"]["p"] is result["recall"]["champion"] is None
    assert not result["same"] and "champion" not in result["raised"][0]
    assert all(row["p"] is row["p_holm"] is None for row in result["slices"] + result["negatives"])


def test_each_is_measured_with_the_params_of_its_operating_point(tmp_path, monkeypatch):
    contender = comparison.contender(model(tmp_path / "champion", logit=0.0))
    tree = {"hop": 4, "windows": 9, "hysteresis": 0.0, "collar_s": 0.05, "max_false_incidents_per_hour": 7.0}
    p = type(P)(**vars(P) | {"detector": P.detector.model_copy(update=tree)})
    own = comparison.own_params(contender, p)
    measured = {name: tree[name] for name in ("collar_s", "max_false_incidents_per_hour")}
    assert own.detector == P.detector.model_copy(update=measured)
    assert (own.audio, own.chunks, own.features) == (P.audio, P.chunks, P.features)
    old = contender.operating["params"]["detector"]  # of a version whose limit counted onsets
    old["max_fa_per_hour"] = old.pop("max_false_incidents_per_hour")
    assert comparison.own_params(contender, p).detector == own.detector
    del contender.operating["params"]
    with pytest.raises(ValueError, match=r"champion/operating\.json: params=None must be stated"):
        comparison.own_params(contender, p)


@pytest.mark.slow
def test_what_the_tree_s_params_are_now_does_not_matter(tmp_path, monkeypatch):
    """Averaging a second would lose shots of both."""
    first = compared(tmp_path / "before", monkeypatch, candidate=0.0, champion=3.0)
    averaged = {"detector": P.detector.model_copy(update={"windows": 16, "hop": 4})}
    again = compared(tmp_path / "now", monkeypatch, candidate=0.0, champion=3.0, p=type(P)(**vars(P) | averaged))
    assert again["recall"] == first["recall"] and again["recall"]["champion"] > 0
    assert again["false_incidents"] == first["false_incidents"]


def test_a_model_without_its_operating_point_is_named(tmp_path):
    path = model(tmp_path / "candidate", logit=0.0)
    path.with_name("operating.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"operating\.json"):
        comparison.contender(path)
