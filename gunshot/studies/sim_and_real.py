"""What simulated chunks add to real ones: the same network on real recordings alone, and on both."""

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold
from tqdm import tqdm

from gunshot.models.scores import metrics

RATE = 0.05  # of environment chunks that alarm where recall is measured
VALIDATION = 5  # one part in so many of the training groups chooses the epoch
ARMS = ("real", "both")


def compare(
    x: np.ndarray,
    table: pd.DataFrame,
    simulated_x: np.ndarray,
    simulated_y: np.ndarray,
    p,
    *,
    seeds: int,
    folds: int,
    held_out: str = "recording_group",
) -> pd.DataFrame:
    """Return a row for each seed, fold and arm (ARMS): auc and recall_at_5pct on the real chunks held out.

    Both arms take the same number of steps, choose their epoch on the same real groups, and start from the same seed.

    Parameters
    ----------
    x : np.ndarray [shape=(n, n_mels, frames)], float32 dB
        Features of real chunks; `table` has their y (1 for GUN), recording_group and the column `held_out`.
    simulated_x, simulated_y : the same of simulated chunks
    p : the section network of params.yaml; a seed is added to `p.seed`, and `p.epochs` counts passes over `x` alone.
    held_out : the column of `table` of whose values none is in two folds, upstream say

    Raises
    ------
    ValueError
        A class has fewer values of `held_out` than folds.
    """
    y, groups, whole = (table[name].to_numpy() for name in ("y", "recording_group", held_out))
    for value in (0, 1):
        if (count := len(np.unique(whole[y == value]))) < folds:
            raise ValueError(f"a class must have at least folds={folds} of {held_out}, y={value} has {count}")
    rows = []
    progress = tqdm(total=seeds * folds * len(ARMS), desc=f"sim-and-real, {held_out}", unit="network")
    for seed in range(p.seed, p.seed + seeds):
        split = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        for fold, (known, held) in enumerate(split.split(y, y, whole)):
            inner = StratifiedGroupKFold(VALIDATION, shuffle=True, random_state=seed)
            train, val = next(inner.split(y[known], y[known], groups[known]))
            own, chosen = known[train], known[val]
            for arm in ARMS:
                parts = ((x[own], y[own]), (simulated_x, simulated_y))[: 1 + (arm == "both")]
                score = _train(*map(np.concatenate, zip(*parts, strict=True)), x[chosen], y[chosen], len(own), seed, p)
                found = score(x[held])
                rows.append({"held_out": held_out, "seed": seed, "fold": fold, "arm": arm, "chunks": len(held),
                             "groups": len(np.unique(groups[held])), "auc": metrics.auc(y[held], found),
                             "recall_at_5pct": metrics.recall_at_false_rate(y[held], found, RATE)})  # fmt: skip
                progress.update()
    return pd.DataFrame(rows)


def _train(x, y, x_val, y_val, own: int, seed: int, p):
    """Return a function that scores chunks, of a network that took as many steps as `p.epochs` over `own` chunks."""
    from gunshot.models.network import (
        network,
        training,  # TensorFlow: only where it is used
    )

    rows = training.repeated(y, np.arange(len(y)) >= own, p.real_share)
    p = p.model_copy(update={"epochs": max(1, round(p.epochs * own / len(rows)))})
    model, _ = training.train(x, y, x_val, y_val, np.random.default_rng(seed), p, rows=rows)
    return lambda part: network.logit(model, part)[:, 0]


def summary(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return by arm the mean over folds and seeds of each figure, and the standard deviation over the seeds' means."""
    by_seed = rows.groupby(["arm", "seed"])[["auc", "recall_at_5pct"]].mean()
    parts = {arm: by_seed.loc[arm] for arm in ARMS}
    return {arm: {**part.mean().to_dict(), **part.std().add_suffix("_sd").to_dict()} for arm, part in parts.items()}
