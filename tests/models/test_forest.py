"""The Random Forest reads integers, so that the C on a device goes the same way through its trees."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.ensemble import RandomForestClassifier

from gunshot.base import tables
from gunshot.export import forest as forest_c
from gunshot.models import forest
from gunshot.models.scores import calibration
from stages import train_forest

N_MELS, N_FRAMES = 8, 6
ROUNDED = 0.5 / 254 + 1 / 255  # a leaf's share is rounded to 254 steps and cut to 255


def log_mels(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise about -60 dB; every second chunk with a step that decays, some too weak to tell."""
    rng = np.random.default_rng(seed)
    x = rng.normal(-60, 6, (n, N_MELS, N_FRAMES)) + rng.normal(0, 5, (n, 1, 1))
    y = np.arange(n) % 2
    after = np.arange(N_FRAMES) - rng.integers(1, 5, (n, 1))
    shot = np.where(after >= 0, rng.uniform(0, 20, (n, 1)) * np.exp(-after / 4), 0)
    return (x + (shot * y[:, None])[:, None]).astype(np.float32), y


def grown(x: np.ndarray, y: np.ndarray, **how) -> RandomForestClassifier:
    how = {"n_estimators": 15, "max_depth": 7, "min_samples_leaf": 2, "max_features": 0.2, "random_state": 0} | how
    return RandomForestClassifier(**how).fit(x, y)


@pytest.fixture(scope="module")
def case():
    (x, y), (x_val, y_val) = log_mels(1000, 0), log_mels(2000, 1)
    model = grown(forest.codes(x), y)
    return SimpleNamespace(model=model, source=forest_c.to_c(model), x=x_val, y=y_val)


def walked(model: RandomForestClassifier, row: list[int]) -> float:
    """The mean share of GUN, in integers and by hand: left where the feature is at most the threshold."""
    shares = []
    for tree in (estimator.tree_ for estimator in model.estimators_):
        at = 0
        while tree.children_left[at] >= 0:
            low = row[tree.feature[at]] <= tree.threshold[at]
            at = (tree.children_left if low else tree.children_right)[at]
        shares.append(tree.value[at, 0, 1] / tree.value[at, 0].sum())
    return sum(shares) / len(shares)


def check(model: RandomForestClassifier, source: str, codes: np.ndarray) -> dict[str, float]:
    return forest_c.check(model, source, codes, votes=forest.votes(model, codes))


@given(hnp.arrays(np.float32, (3, 2, 4), elements=st.floats(-200, 200, width=32)))
def test_codes_are_the_nearest_half_db(x):
    codes = forest.codes(x)
    assert codes.dtype == np.int8 and codes.shape == (3, 8)
    inside = np.clip(np.moveaxis(x, 1, 2).reshape(3, 8).astype(np.float64), -100, 27.5)
    assert np.abs((codes.astype(float) - 72) / 2 - inside).max() <= 1 / 4


def test_codes_round_half_to_even_saturate_and_go_frame_by_frame():
    x = np.array([[[0.25, 0.75, 1.25], [-0.25, -0.75, 1e9], [-1e9, np.inf, -np.inf]]])
    assert (forest.codes(x).astype(int) - 72).tolist() == [[0, 0, -200, 2, -2, 55, 2, 55, -200]]


def test_score_is_the_mean_share_of_the_leaves(case):
    scores = forest.score(case.model, case.x[:200])
    walks = [walked(case.model, row.tolist()) for row in forest.codes(case.x[:200])]
    assert scores == pytest.approx(walks, abs=ROUNDED)
    assert len(set(scores)) > 100 and ((scores >= 0.5) == case.y[:200]).mean() > 0.75


def test_leaves_are_rounded_as_emlearn_does(case):
    from emlearn.trees import quantize_probabilities_into_byte

    for tree in (estimator.tree_ for estimator in case.model.estimators_):
        expected = [quantize_probabilities_into_byte(value[0])[1] for value in tree.value]
        assert forest.leaves(tree).tolist() == expected


def test_search_scores_what_it_was_trained_on(tmp_path):
    p = SimpleNamespace(
        n_estimators=[8], max_depth=[2, 6], min_samples_leaf=[2], max_features=[0.2], folds=2, search_rows=300,
        fit_rows=800,
    )  # fmt: skip
    (x, y), (x_val, y_val) = log_mels(800, 2), log_mels(400, 3)
    model, grid = forest.search(x, y, np.arange(800) % 40, np.random.default_rng(0), p)
    assert grid["best"].sum() == 1 and len(grid) == 2
    scores = forest.score(model, x_val)
    forest.save(model, tmp_path / "forest.joblib")
    assert (forest.score(forest.load(tmp_path / "forest.joblib"), x_val) == scores).all()
    assert ((scores >= 0.5) == y_val).mean() > 0.75


def test_a_forest_that_reads_db_is_refused(tmp_path):
    x, y = log_mels(200, 0)
    joblib.dump(grown(x.reshape(200, -1), y), tmp_path / "forest.joblib")
    with pytest.raises(ValueError, match=r"forest\.joblib: threshold=-\d+\.\d+ must be a multiple of 0\.5 from -128"):
        forest.load(tmp_path / "forest.joblib")
    joblib.dump(grown(np.rint(256 * x).reshape(200, -1), y), tmp_path / "forest.joblib")  # as forests were once
    with pytest.raises(ValueError, match=r"forest\.joblib: threshold=-\d+(\.5)? must be a multiple of 0\.5 from -128"):
        forest.load(tmp_path / "forest.joblib")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["chunks", "random"])
def test_c_votes_as_python_and_decides_as_scikit_learn(case, kind):
    codes = forest.codes(case.x)
    if kind == "random":
        codes = np.random.default_rng(2).integers(codes.min(), codes.max(), codes.shape, np.int8, endpoint=True)
    figures = check(case.model, case.source, codes)
    assert figures["c_agreement"] >= 0.99, f"c_agreement={figures['c_agreement']} must be at least 0.99"
    assert 0 < figures["c_max_difference"] <= ROUNDED
    _, votes = forest_c.run(case.source, codes)
    shares = votes / (255 * len(case.model.estimators_))
    assert np.abs(shares - case.model.predict_proba(codes)[:, 1]).max() == figures["c_max_difference"]
    assert len(set(votes.tolist())) > 200 and 0.1 < (shares > 0.5).mean() < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("count", [8, pytest.param(100, marks=pytest.mark.exhaustive)])
def test_c_goes_the_same_way_at_a_threshold(drawn, count):
    for _ in range(count):
        goes_the_same_way(np.random.default_rng(drawn.randrange(2**31)))


def goes_the_same_way(rng: np.random.Generator) -> None:
    """Few values, so that rows lie on thresholds, whole and half; pure leaves, so that nothing is rounded."""
    x = rng.choice(np.array([-128, -3, -2, 0, 1, 127], np.int8), (60, 3))
    y = (x.astype(int) @ rng.integers(1, 4, 3) + x[:, 0].astype(int) * x[:, 1] > 0).astype(int)
    y[:2] = 0, 1
    model = grown(x, y, n_estimators=3, max_depth=None, min_samples_leaf=1)
    pure = all((tree.tree_.value[tree.tree_.children_left < 0].max(axis=2) == 1).all() for tree in model.estimators_)
    values = np.array([-128, -127, -66, -65, -3, -2, -1, 0, 1, 63, 64, 126, 127], np.int8)
    rows = np.stack(np.meshgrid(*[values] * 3), axis=-1).reshape(-1, 3)
    _, votes = forest_c.run(forest_c.to_c(model), rows)
    expected = np.array([walked(model, row) for row in rows.tolist()])
    assert np.abs(votes / 765 - expected).max() < (1e-6 if pure else 0.006)


@pytest.mark.slow
def test_emlearn_as_it_comes_goes_another_way(case):
    """Thresholds cut toward zero: why `to_c` moves them."""
    with np.errstate():
        import emlearn
    codes = forest.codes(case.x)
    converted = emlearn.convert(case.model, method="inline", dtype="int8_t", leaf_bits=8)
    text = converted.save(name=forest_c.NAME).replace(", int32_t features_length", "")
    start, end = (case.source.index(part) for part in ("static inline", "static const uint8_t"))
    source = (
        case.source[:start] + text[text.index("static inline") : text.index("static const uint8_t")] + case.source[end:]
    )
    with pytest.raises(ValueError, match=r"votes=\d+ of the C must be \d+, as Python says; row \d+"):
        check(case.model, source, codes)


@pytest.mark.slow
@given(st.integers(1, 300))
def test_least_votes_are_those_of_python(n):
    first, least = forest_c.least_votes(n)
    votes = np.arange(255 * n + 1)
    expected = calibration.in_steps(calibration.logit(votes / (255 * n)))
    assert (first + (votes[:, None] >= least).sum(axis=1) == expected).all()
    # Far enough from a tie that no other rounding of the logarithm decides it.
    steps = calibration.logit(votes / (255 * n))[expected[0] < expected] / calibration.STEP
    assert np.abs(steps[steps < -steps.min()] % 1 - 0.5).min() > 1e-9


@pytest.mark.slow
def test_emlearn_leaves_numpy_as_it_was():
    code = """
import numpy as np
from gunshot.export import forest as forest_c
from sklearn.ensemble import RandomForestClassifier
before = np.geterr()
forest_c.to_c(RandomForestClassifier(2).fit([[0], [1]] * 9, [0, 1] * 9))
assert np.geterr() == before, np.geterr()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_source_is_the_same_twice_and_compiles_without_a_warning(case, tmp_path):
    assert forest_c.to_c(case.model) == case.source
    x, y = log_mels(1000, 0)
    assert forest_c.to_c(grown(forest.codes(x), y)) == case.source
    (tmp_path / "forest.h").write_text(case.source)
    (tmp_path / "main.c").write_text(
        '#include "forest.h"\n#include "forest.h"\n'
        "int main(void) { int8_t x[GUNSHOT_FOREST_FEATURES] = {0};\n"
        "return gunshot_forest_votes(x, gunshot_forest_leaves) < gunshot_forest_least_votes[0] * 0; }\n"
    )
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "main.c", "-o", "main"], cwd=tmp_path, check=True)
    subprocess.run([tmp_path / "main"], check=True)
    assert "FEATURES 48 " in case.source


def test_bytes_are_those_of_code_and_constants():
    leaves = "static const uint8_t gunshot_forest_leaves[2] = { 0, 255 };\n"
    votes = (
        "int32_t gunshot_forest_votes(const int8_t *x, const uint8_t *leaves) { return x[0] > x[1] ? leaves[1] : 0; }"
    )
    sizes = []
    for extra in ("", "const char table[1000] = {1};\n", "static char unused_ram[1000]; char *p = unused_ram;\n"):
        size, results = forest_c.run(f"#include <stdint.h>\n{extra}{leaves}{votes}", np.array([[3, 0], [1, 2]], "i1"))
        assert results.tolist() == [255, 0]
        sizes.append(size)
    assert 10 < sizes[0] < 100 and 1000 <= sizes[1] - sizes[0] < 1032 and sizes[2] - sizes[0] < 32


def test_what_cannot_be_run_is_named(case, monkeypatch):
    with pytest.raises(ValueError, match=r"codes, float32 of shape \(2000, 8, 6\), must be int8 \[shape=\(n, feat"):
        forest_c.check(case.model, case.source, case.x, votes=np.zeros(2000))
    with pytest.raises(ValueError, match=r"codes\.shape=\(2000, 47\) must have 48 features in a row"):
        forest_c.check(case.model, case.source, forest.codes(case.x)[:, 1:], votes=np.zeros(2000))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match=r"gcc must be on the PATH"):
        check(case.model, case.source, forest.codes(case.x))


@pytest.mark.slow
def test_stage_writes_the_forest_its_c_and_how_they_compare(tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / "params.yaml").read_text()
    small = {"n_estimators": "[5]", "max_depth": "[4]", "folds": "2", "search_rows": "200"}
    windows = {"chunk_length": str(512 + (N_FRAMES - 1) * 112), "frames": "11", "before": "2"}
    for name, value in (small | windows).items():
        text = re.sub(rf"(?m)^  {name}: [^#\n]*", f"  {name}: {value} ", text, count=1)
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    for side, (x, y) in {"train": log_mels(600, 0), "val": log_mels(200, 1)}.items():
        around = np.repeat(y[:, None, None], N_MELS, axis=1).astype(np.float32)  # what a chunk is not judged by
        np.save(tmp_path / f"{side}.npy", np.concatenate([around, around, x, around, around, around], axis=2))
        kinds = np.where(y == 1, "gun", "env")
        table = pd.DataFrame({name: np.zeros(len(y), kind) for name, kind in tables.CHUNK.items()})
        tables.write(
            tmp_path / f"{side}.csv", table.assign(**{"class": kinds, "recording_group": np.arange(len(y)) // 10})
        )
    train_forest.main(tmp_path, tmp_path / "out" / "forest.joblib")
    report = tables.read_json(tmp_path / "out" / "report.json")
    own = np.load(tmp_path / "val.npy")[..., 2 : 2 + N_FRAMES]
    model, codes = forest.load(tmp_path / "out" / "forest.joblib"), forest.codes(own)
    assert len(model.estimators_) == 5 and model.window_ == (N_MELS, N_FRAMES)
    source = (tmp_path / "out" / "forest.h").read_text()
    assert check(model, source, codes) == {key: value for key, value in report.items() if key[:2] == "c_"}
    assert report["c_agreement"] >= 0.99 and report["c_bytes"] > 500
    importances = np.load(tmp_path / "out" / "importances.npy")
    assert importances.shape == (N_MELS, N_FRAMES)
    assert (importances.T.reshape(-1) == model.feature_importances_).all()
