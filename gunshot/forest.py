"""Random Forest on log-mel features, tuned by a grid search that never splits a recording group."""

from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold

from gunshot import audio

GRID = ("n_estimators", "max_depth", "min_samples_leaf", "max_features")


def search(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray, rng: np.random.Generator, p
) -> tuple[RandomForestClassifier, pd.DataFrame]:
    """Return the forest with the best cross-validated AUC, and the scores of the grid.

    Parameters
    ----------
    x : np.ndarray [shape=(n, n_mels, frames)], float32, may be memory-mapped
    y : np.ndarray [shape=(n,)], 1 for GUN
    groups : np.ndarray [shape=(n,)], recording groups
    p : the section forest of params.yaml; the search sees `search_rows` rows, the best is
        fitted on `fit_rows`, both drawn without replacement.

    Raises
    ------
    ValueError
        A class has fewer recording groups than folds.
    """
    for value in (0, 1):
        if (count := len(np.unique(groups[y == value]))) < p.folds:
            raise ValueError(
                f"folds={p.folds} must be at most the recording groups of a class, here {count} for y={value}"
            )
    seed = int(rng.integers(2**31))
    order = rng.permutation(len(y))
    rows, fit = np.sort(order[: p.search_rows]), np.sort(order[: p.fit_rows])
    base = RandomForestClassifier(class_weight="balanced", random_state=seed, n_jobs=1)
    grid = {key: getattr(p, key) for key in GRID}
    folds = StratifiedGroupKFold(p.folds, shuffle=True, random_state=seed)
    tuned = GridSearchCV(base, grid, scoring="roc_auc", cv=folds, n_jobs=2, refit=False, verbose=1)
    with joblib.parallel_config("threading"):  # trees grow without the GIL; joblib's processes outlive a killed stage
        tuned.fit(_flat(x[rows]), y[rows], groups=groups[rows])
    best = RandomForestClassifier(**{**base.get_params(), **tuned.best_params_, "n_jobs": 2})
    best.fit(_flat(x[fit]), y[fit])
    keep = [c for c in tuned.cv_results_ if c.startswith("param_") or c in ("mean_test_score", "std_test_score")]
    table = pd.DataFrame({c.removeprefix("param_"): list(tuned.cv_results_[c]) for c in keep})
    table = table.rename(columns={"mean_test_score": "auc_mean", "std_test_score": "auc_std"})
    return best.set_params(n_jobs=1), table.assign(best=table.index == tuned.best_index_)


def _flat(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x, np.float32).reshape(len(x), -1)


def score(model: RandomForestClassifier, x: np.ndarray) -> np.ndarray:
    """Return the score for GUN of features [shape=(n, n_mels, frames)], float64 [shape=(n,)]."""
    return model.predict_proba(_flat(x))[:, 1]


def save(model: RandomForestClassifier, path: Path) -> None:
    """Write the forest with joblib, whole or not at all. Reading it runs code: read only what you trust."""
    with audio.atomic(path) as part:
        joblib.dump(model, part, compress=3)


def load(path: Path) -> RandomForestClassifier:
    """Return the forest that `save` wrote."""
    return joblib.load(path)
