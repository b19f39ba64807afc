"""Logits to scores: a score is the share of shots among validation chunks of the same logit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gunshot.base.compiled import compiled

if TYPE_CHECKING:  # only where it is used: see tables
    import pandas as pd

STEP = 1 / 16  # of a logit that is counted in integers, where the model is not int8
MOST_STEPS = 32767  # logits in steps are int16


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """Return ``1 / (1 + exp(-logit))`` of float32 or float64, same shape and type.

    To the bit it is `scipy.special.expit`, whose import takes longer than all that `gunshot detect` does with it.
    """
    out = np.array(logit)
    _sigmoid(out.reshape(-1))
    return out


@compiled()
def _sigmoid(logit):
    """Put the sigmoid of numbers [shape=(n,)] in their place."""
    for i in range(len(logit)):
        logit[i] = logit.dtype.type(1) / (logit.dtype.type(1) + math.exp(-logit[i]))


def logit(probability: np.ndarray, *, least: float = 1e-3) -> np.ndarray:
    """Return ``log(p / (1 - p))``, same shape, of probabilities held between `least` and 1 - `least`."""
    p = np.clip(probability, least, 1 - least)
    return np.log(p / (1 - p))


def in_steps(logit: np.ndarray, *, step: float = STEP) -> np.ndarray:
    """Return logits in units of `step`, rounded half to even, int16, same shape."""
    return np.clip(np.rint(logit / step), -MOST_STEPS, MOST_STEPS).astype(np.int16)


def calibrate(y: np.ndarray, logit: np.ndarray) -> dict[str, float]:
    """Return slope and intercept with which ``sigmoid(slope logit + intercept)`` is the share of shots (Platt 1999).

    It holds where shots are as frequent as in `y`. On a street they are far rarer: there a score is no probability.
    """
    from sklearn.linear_model import LogisticRegression  # a second to import: only where it is used

    model = LogisticRegression(C=np.inf).fit(np.asarray(logit, np.float64)[:, None], y)
    return {"slope": float(model.coef_[0, 0]), "intercept": float(model.intercept_[0])}


def calibrated(logit: np.ndarray, calibration: dict[str, float]) -> np.ndarray:
    """Return the scores, 0 to 1, of logits, by what `calibrate` found."""
    return sigmoid(calibration["slope"] * logit + calibration["intercept"])


def reliability(y: np.ndarray, score: np.ndarray, *, bins: int = 10) -> pd.DataFrame:
    """Return mean score, share of shots and number of chunks for each bin of equal width; empty bins are left out."""
    import pandas as pd

    place = np.minimum((score * bins).astype(int), bins - 1)
    table = pd.DataFrame({"bin": place, "score": score, "share": y, "chunks": 1})
    return table.groupby("bin").agg({"score": "mean", "share": "mean", "chunks": "sum"}).reset_index()


def calibration_error(y: np.ndarray, score: np.ndarray, *, bins: int = 10) -> float:
    """Return the expected calibration error: the mean distance of score and share of shots over the bins' chunks."""
    table = reliability(y, score, bins=bins)
    return float(np.average((table["score"] - table["share"]).abs(), weights=table["chunks"]))
