"""Random Forest on log-mels in int16, tuned by a grid search that never splits a recording group.

Trees compare integers, on the host as on a device, so that their thresholds are exact on both.
"""

from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold

from gunshot import audio

STEPS_PER_DB = 256  # of int16: from -128 to 128 dB, where log-mels lie between -100 (amin) and 50
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
        tuned.fit(codes(x[rows]), y[rows], groups=groups[rows])
    best = RandomForestClassifier(**{**base.get_params(), **tuned.best_params_, "n_jobs": 2})
    best.fit(codes(x[fit]), y[fit])
    keep = [c for c in tuned.cv_results_ if c.startswith("param_") or c in ("mean_test_score", "std_test_score")]
    table = pd.DataFrame({c.removeprefix("param_"): list(tuned.cv_results_[c]) for c in keep})
    table = table.rename(columns={"mean_test_score": "auc_mean", "std_test_score": "auc_std"})
    return best.set_params(n_jobs=1), table.assign(best=table.index == tuned.best_index_)


def codes(x: np.ndarray) -> np.ndarray:
    """Return log-mels [shape=(n, n_mels, frames)] in dB as the trees read them, int16 [shape=(n, n_mels * frames)].

    A code is 1/256 dB; halves are rounded to even, and what int16 cannot hold saturates.
    """
    steps = np.multiply(x, np.float32(STEPS_PER_DB), dtype=np.float32, order="C")
    np.clip(np.rint(steps, out=steps), -32768, 32767, out=steps)
    return steps.astype(np.int16).reshape(len(x), -1)


def score(model: RandomForestClassifier, x: np.ndarray) -> np.ndarray:
    """Return the score for GUN of log-mels [shape=(n, n_mels, frames)] in dB, float64 [shape=(n,)]."""
    return model.predict_proba(codes(x))[:, 1]


def save(model: RandomForestClassifier, path: Path) -> None:
    """Write the forest with joblib, whole or not at all. Reading it runs code: read only what you trust."""
    with audio.atomic(path) as part:
        joblib.dump(model, part, compress=3)


def load(path: Path) -> RandomForestClassifier:
    """Return the forest that `save` wrote.

    Raises
    ------
    ValueError
        It was not trained on `codes`.
    """
    model = joblib.load(path)
    for tree in model.estimators_:
        if len(other := tree.tree_.threshold[tree.tree_.threshold % 0.5 != 0]):  # half-way between two integers
            raise ValueError(
                f"{path}: threshold={other[0]:g} must be a multiple of 0.5, as the forest is to read int16; "
                "train it anew with `dvc repro train_forest`"
            )
    return model
