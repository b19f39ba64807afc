"""What a random split over chunks would have pretended: the leakage gap."""

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict

from gunshot.models.scores import bootstrap

FOLDS = 5
DRAWS = 1000  # of the bootstrap
TREES = {"n_estimators": 60, "max_depth": 18, "min_samples_leaf": 2, "max_features": 0.03, "class_weight": "balanced"}


def gap(x: np.ndarray, y: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> dict:
    """Return accuracy and AUC of a forest, cross-validated with groups held out and with a random split over chunks.

    Every chunk is scored once in either way, by a forest that saw the other four fifths. `gap` is random minus
    grouped, with its 95 % interval by a bootstrap over groups. Only the split differs.

    Parameters
    ----------
    x : np.ndarray [shape=(n, features)], float32
    y : np.ndarray [shape=(n,)], 1 for GUN
    groups : np.ndarray [shape=(n,)], recording groups

    Raises
    ------
    ValueError
        A class has fewer groups than folds.
    """
    for value in (0, 1):
        if (count := len(np.unique(groups[y == value]))) < FOLDS:
            raise ValueError(f"a class must have at least {FOLDS} recording groups, y={value} has {count}")
    seed = int(rng.integers(2**31))
    scores = {}
    for name, folds, known in (
        ("grouped", StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed), groups),
        ("random", StratifiedKFold(FOLDS, shuffle=True, random_state=seed), None),
    ):
        # A forest whose trees vote in several threads adds their shares in the order in which they come: n_jobs=1.
        forest = RandomForestClassifier(**TREES, random_state=seed, n_jobs=1)
        predicted = cross_val_predict(forest, x, y, groups=known, cv=folds, method="predict_proba", n_jobs=2)
        scores[name] = predicted[:, 1]
    measured = {name: _measure(y, score) for name, score in scores.items()}
    _, of_chunk = np.unique(groups, return_inverse=True)
    right = {name: ((score >= 0.5) == y).astype(int) for name, score in scores.items()}
    gap = right["random"] - right["grouped"]

    def gap_of(count: np.ndarray) -> float:
        return (count[of_chunk] * gap).sum() / count[of_chunk].sum()

    low, high = bootstrap.interval(gap_of, [of_chunk.max() + 1], rng, draws=DRAWS)
    return measured | {
        "gap": measured["random"]["accuracy"] - measured["grouped"]["accuracy"],
        "gap_lower": float(low),
        "gap_upper": float(high),
        "chunks": len(y),
        "groups": int(of_chunk.max() + 1),
    }


def _measure(y: np.ndarray, score: np.ndarray) -> dict:
    return {"accuracy": float(((score >= 0.5) == y).mean()), "auc": float(roc_auc_score(y, score))}


def sample(groups: np.ndarray, rng: np.random.Generator, *, chunks: int) -> np.ndarray:
    """Return the rows of whole groups, drawn at random until there are about `chunks`, ascending."""
    names, of_chunk, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = rng.permutation(len(names))
    kept = order[: np.searchsorted(counts[order].cumsum(), chunks) + 1]
    return np.flatnonzero(np.isin(of_chunk, kept))
