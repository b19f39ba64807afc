"""Random Forest on log-mels in int8 codes, tuned by a grid search that never splits a recording group.

Trees compare integers, and what their leaves say is added in integers, on the host as on a device.
"""

from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold

from gunshot import features
from gunshot.base import params
from gunshot.base.files import atomic

LEAF = 255  # what a leaf says where all is GUN
GRID = ("n_estimators", "max_depth", "min_samples_leaf", "max_features")


def search(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray, rng: np.random.Generator, p: params.Forest
) -> tuple[RandomForestClassifier, pd.DataFrame]:
    """Return the forest with the best cross-validated AUC, and the scores of the grid.

    Parameters
    ----------
    x : np.ndarray [shape=(n, n_mels, frames)], float32, may be memory-mapped
    y : np.ndarray [shape=(n,)], 1 for GUN
    groups : np.ndarray [shape=(n,)], recording groups
    p : the search sees its `search_rows` rows, the best is fitted on `fit_rows`, both drawn without replacement

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
    best.window_ = x.shape[1:]  # what it hears at once; scikit-learn knows the number of features alone
    return best.set_params(n_jobs=1), table.assign(best=table.index == tuned.best_index_)


def codes(x: np.ndarray) -> np.ndarray:
    """Return log-mels [shape=(n, n_mels, frames)] in dB as the trees read them, int8 [shape=(n, frames * n_mels)].

    They are `features.codes`, frame by frame as a device makes them.
    """
    return features.codes(np.moveaxis(x, 1, 2)).reshape(len(x), -1)


def leaves(tree) -> np.ndarray:
    """Return what each node of a tree of scikit-learn says where it is a leaf: its share of GUN in 1/255, uint8.

    Rounded as emlearn 0.23 does it (``quantize_probabilities_into_byte``): to 254 steps, then cut to 255.
    """
    return (np.rint(tree.value[:, 0, 1] * 254) / 254 * LEAF).astype(np.uint8)


def votes(model: RandomForestClassifier, codes: np.ndarray) -> np.ndarray:
    """Return the sums of what the trees' leaves say of `codes`, int32 [shape=(n,)], as the C adds them on a device."""
    rows, total = codes.astype(np.float32), np.zeros(len(codes), np.int32)
    for tree in (estimator.tree_ for estimator in model.estimators_):
        total += leaves(tree)[tree.apply(rows)]
    return total


def score(model: RandomForestClassifier, x: np.ndarray) -> np.ndarray:
    """Return the score for GUN of log-mels [shape=(n, n_mels, frames)] in dB, float64 [shape=(n,)]."""
    return votes(model, codes(x)) / (LEAF * len(model.estimators_))


def save(model: RandomForestClassifier, path: Path) -> None:
    """Write the forest with joblib, whole or not at all. Reading it runs code: read only what you trust."""
    with atomic(path) as part:
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
        at = tree.tree_.threshold[tree.tree_.children_left >= 0]
        if len(other := at[(at % 0.5 != 0) | (np.abs(at) > 128)]):  # half-way between two codes
            raise ValueError(
                f"{path}: threshold={other[0]:g} must be a multiple of 0.5 from -128 to 128, as the forest is to read "
                "int8; train it anew with `dvc repro train_forest`"
            )
    return model
