"""How good scores are: metrics, curves, operating points, and the bounds of what was measured."""

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.stats import binomtest, chi2
from sklearn import metrics

from gunshot.models.scores import bootstrap, calibration


def auc(y: np.ndarray, score: np.ndarray) -> float:
    """Return the area under the ROC curve; NaN where only one class is there."""
    return float(metrics.roc_auc_score(y, score)) if 0 < np.sum(y) < len(y) else float("nan")


def rate_upper(count: int, hours: float) -> float:
    """Return the exact one-sided 95 % upper bound of a Poisson rate an hour; infinite without hours (Garwood 1936).

    Examples
    --------
    No false incident in ten hours proves fewer than one in three hours:

    >>> round(rate_upper(0, 10.0), 3)
    0.3
    """
    return float(chi2.ppf(0.95, 2 * (count + 1)) / 2 / hours) if hours > 0 else float("inf")


def chunk_threshold(y: np.ndarray, score: np.ndarray, *, min_recall: float) -> float:
    """Return the highest threshold at which at least `min_recall` of the shots score at or above it.

    Raises
    ------
    ValueError
        Where `y` holds no shot.

    Examples
    --------
    >>> y, score = np.array([1, 1, 1, 0, 0]), np.array([0.9, 0.8, 0.3, 0.6, 0.1])
    >>> chunk_threshold(y, score, min_recall=0.6)
    0.8
    """
    shots = np.sort(score[y == 1])[::-1]
    if not len(shots):
        raise ValueError("shots=0: a chunk threshold needs at least one shot in the validation split")
    return float(shots[max(0, int(np.ceil(min_recall * len(shots) - 1e-9)) - 1)])


def at_threshold(y: np.ndarray, score: np.ndarray, threshold: float) -> dict[str, float]:
    """Return counts and rates of the decision ``score >= threshold``, recall and false rate with 95 % bounds.

    ``recall_lower`` and ``false_rate_upper`` are one-sided Clopper-Pearson bounds. A rate of nothing is NaN.

    Examples
    --------
    >>> y, score = np.array([1, 1, 1, 0, 0]), np.array([0.9, 0.8, 0.3, 0.6, 0.1])
    >>> rates = at_threshold(y, score, 0.5)
    >>> rates["tp"], rates["fp"], round(rates["recall"], 3), round(rates["recall_lower"], 3)
    (2, 1, 0.667, 0.135)
    """
    decided = score >= threshold
    tn, fp, fn, tp = metrics.confusion_matrix(y, decided, labels=[0, 1]).ravel().tolist()
    return {
        "tp": tp,
        "fp": fp,
        "tn": tn,
        "fn": fn,
        "accuracy": (tp + tn) / len(y) if len(y) else float("nan"),
        "precision": tp / (tp + fp) if tp + fp else float("nan"),
        "recall": tp / (tp + fn) if tp + fn else float("nan"),
        "recall_lower": share_lower(tp, tp + fn),
        "false_rate": fp / (fp + tn) if fp + tn else float("nan"),
        "false_rate_upper": 1 - share_lower(tn, fp + tn),
    }


def share_lower(k: int, n: int) -> float:
    """Return the exact one-sided 95 % lower bound of a share, `k` of `n` (Clopper and Pearson 1934); NaN of nothing."""
    return float(binomtest(k, n, alternative="greater").proportion_ci(0.95, method="exact").low) if n else float("nan")


def share_interval(k: int, n: int) -> tuple[float, float]:
    """Return the exact two-sided 95 % interval of a share, `k` of `n` (Clopper and Pearson 1934); NaN of nothing.

    Examples
    --------
    >>> [round(end, 3) for end in share_interval(0, 10)]
    [0.0, 0.308]
    """
    if not n:
        return float("nan"), float("nan")
    interval = binomtest(k, n).proportion_ci(0.95, method="exact")
    return float(interval.low), float(interval.high)


def rate_interval(count: int, hours: float) -> tuple[float, float]:
    """Return the exact two-sided 95 % interval of a Poisson rate an hour (Garwood 1936); (0, infinity) without hours.

    Examples
    --------
    >>> [round(end, 2) for end in rate_interval(10, 1.0)]
    [4.8, 18.39]
    """
    if not hours > 0:
        return 0.0, float("inf")
    low = chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    return float(low / hours), float(chi2.ppf(0.975, 2 * (count + 1)) / 2 / hours)


def stated(y: np.ndarray, logit: np.ndarray, *, min_recall: float) -> dict:
    """Return what a model's report states of its logits of the validation split: calibration, chunk threshold, AUC."""
    fitted = calibration.calibrate(y, logit)
    score = calibration.calibrated(logit, fitted)
    return {
        "chunk_threshold": chunk_threshold(y, score, min_recall=min_recall),
        "calibration": fitted,
        "validation_auc": auc(y, score),
    }


def summary(y: np.ndarray, score: np.ndarray, *, threshold: float) -> dict[str, float]:
    """Return accuracy, recall and precision at 0.5, the AUC, and recall and false rate at `threshold`."""
    half, point = at_threshold(y, score, 0.5), at_threshold(y, score, threshold)
    return {
        "accuracy": half["accuracy"],
        "recall": half["recall"],
        "precision": half["precision"],
        "auc": auc(y, score),
        "threshold": threshold,
        "recall_at_threshold": point["recall"],
        "recall_at_threshold_lower": point["recall_lower"],
        "false_rate_at_threshold": point["false_rate"],
        "false_rate_at_threshold_upper": point["false_rate_upper"],
        "shots": int(np.sum(y)),
        "environment": int(len(y) - np.sum(y)),
    }


def curves(y: np.ndarray, score: np.ndarray) -> dict[str, pd.DataFrame]:
    """Return the curves roc, det and threshold (precision and recall), each with its column threshold."""
    fpr, tpr, t_roc = metrics.roc_curve(y, score)
    fpr_det, fnr, t_det = metrics.det_curve(y, score)
    precision, recall, t_pr = metrics.precision_recall_curve(y, score)
    return {
        "roc": pd.DataFrame({"fpr": fpr, "tpr": tpr, "threshold": np.minimum(t_roc, 1.0)}),
        "det": pd.DataFrame({"fpr": fpr_det, "fnr": fnr, "threshold": np.minimum(t_det, 1.0)}),
        "threshold": pd.DataFrame({"threshold": t_pr, "precision": precision[:-1], "recall": recall[:-1]}),
    }


def by(table: pd.DataFrame, column: str, *, threshold: float) -> pd.DataFrame:
    """Return one row a value of `column`: counts, recall, false rate and AUC.

    `table` has the columns `column`, y and score. A slice that holds one class only is compared with
    all of the other class, so that each label has an AUC; ``auc_against`` says which: own or all.
    """
    rows = []
    for value, part in table.groupby(column, sort=True):
        shots = int(part["y"].sum())
        own = 0 < shots < len(part)
        against = part if own else pd.concat([part, table[table["y"] != part["y"].iloc[0]]])
        point = at_threshold(part["y"].to_numpy(), part["score"].to_numpy(), threshold)
        rows.append(
            {
                column: value,
                "shots": shots,
                "environment": len(part) - shots,
                "recall": point["recall"],
                "false_rate": point["false_rate"],
                "auc": auc(against["y"].to_numpy(), against["score"].to_numpy()),
                "auc_against": "own" if own else "all",
            }
        )
    return pd.DataFrame(rows)


def bootstrap_auc(table: pd.DataFrame, rng: np.random.Generator, *, draws: int = 500) -> tuple[float, float]:
    """Return the 2.5 and 97.5 percentiles of the AUC when recording groups are drawn with replacement.

    `table` has the columns recording_group, y and score. Groups are drawn within each class.
    """
    if table["y"].nunique() < 2:
        return float("nan"), float("nan")
    table = table.sort_values(["y", "recording_group"], kind="stable")
    classes = [pd.factorize(part["recording_group"]) for _, part in table.groupby("y", sort=True)]
    y, score = table["y"].to_numpy(), table["score"].to_numpy()

    def area(*counts: np.ndarray) -> float:
        weight = np.concatenate([count[row] for count, (row, _) in zip(counts, classes, strict=True)])
        return metrics.roc_auc_score(y, score, sample_weight=weight)

    low, high = bootstrap.interval(area, [len(names) for _, names in classes], rng, draws=draws)
    return float(low), float(high)


def recall_at_false_rate(y: np.ndarray, score: np.ndarray, rate: float, weight: np.ndarray | None = None) -> float:
    """Return the recall at the lowest threshold at which at most the share `rate` of the environment alarms.

    `weight` says how often each row counts; without it each counts once.
    """
    fpr, tpr, _ = metrics.roc_curve(y, score, drop_intermediate=False, sample_weight=weight)
    return float(tpr[fpr <= rate].max())


def match_onsets(truth: np.ndarray, onsets: np.ndarray, *, collar: np.ndarray | float) -> np.ndarray:
    """Return which of `onsets` are which true ones: pairs of their indices [shape=(matches, 2)], int64.

    Each is in one pair at most, no further apart than `collar`, which is one for all or one for each true onset
    [shape=(len(truth),)]; no other pairing has more pairs (maximum bipartite matching).

    Examples
    --------
    >>> match_onsets([1.0, 2.0, 3.0], [1.02, 2.9], collar=0.15).tolist()
    [[0, 0], [2, 1]]
    """
    truth, onsets = np.asarray(truth, np.float64), np.asarray(onsets, np.float64)
    return match(np.abs(truth[:, None] - onsets[None, :]) <= np.broadcast_to(collar, truth.shape)[:, None])


def match(near: np.ndarray) -> np.ndarray:
    """Return as many pairs of a row and a column as can be, int64 [shape=(matches, 2)], each in one pair at most.

    `near` [shape=(rows, columns)] says which pairs are allowed; maximum bipartite matching (Hopcroft and Karp 1973).
    """
    if not near.size:
        return np.zeros((0, 2), np.int64)
    partner = maximum_bipartite_matching(csr_array(near), perm_type="column")
    matched = np.flatnonzero(partner >= 0)
    return np.column_stack([matched, partner[matched]]).astype(np.int64)


def found_and_missed(matched: int, truth: int, onsets: int) -> dict[str, float]:
    """Return precision, recall and F1 of `matched` pairs of `truth` true and `onsets` detected onsets; 0 / 0 is NaN."""
    return {
        "precision": matched / onsets if onsets else float("nan"),
        "recall": matched / truth if truth else float("nan"),
        "f1": 2 * matched / (truth + onsets) if truth + onsets else float("nan"),
    }
