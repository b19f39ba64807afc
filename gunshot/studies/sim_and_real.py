"""What simulated chunks add to real ones: the same network on real recordings alone, and on both."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold
from tqdm import tqdm

from gunshot.base import params, processes, tables
from gunshot.models.scores import metrics

RATE = 0.05  # of environment chunks that alarm where recall is measured
VALIDATION = 5  # one part in so many of the training groups chooses the epoch
ARMS = ("real", "both")


class Chunks(NamedTuple):
    """Chunks that are no augmented copies: features in dB [shape=(n, n_mels, frames)] of real and of simulated ones.

    Their tables have the columns of tables.CHUNK and y (1 GUN), that of the real ones upstream too.
    """

    x: np.ndarray
    table: pd.DataFrame
    simulated_x: np.ndarray
    simulated: pd.DataFrame


class Arm(NamedTuple):
    """A network to be trained: seed, fold that is held out, and which of ARMS."""

    seed: int
    fold: int
    arm: str


@cache  # once a process
def chunks(features: Path, grouped: Path) -> Chunks:
    """Return all chunks in the folder of features; `grouped` is the folder of what the stage group wrote.

    Raises
    ------
    ValueError
        There are no real chunks, or no simulated ones.
    """
    sides = [tables.features(features, side) for side in tables.SIDES]
    table = pd.concat([part.assign(y=y) for _, y, part in sides], ignore_index=True)
    own, simulated = ~table["chunk"].str.contains(tables.COPY), table["source"] == "simulated"
    which = [(own & ~simulated).to_numpy(), (own & simulated).to_numpy()]
    if not all(rows.any() for rows in which):
        raise ValueError(f"{features}: must hold simulated and real chunks; import recordings, then run `dvc repro`")
    edges = np.cumsum([len(x) for x, _, _ in sides])[:-1]
    real_x, simulated_x = (
        np.concatenate([x[rows] for (x, _, _), rows in zip(sides, np.split(chosen, edges), strict=True)])
        for chosen in which
    )
    recordings = tables.read(grouped / "recordings.csv", tables.RECORDING | {"imported_group": str})
    real = table[which[0]]
    upstream = real["path"].map(recordings.set_index("path")["upstream"])
    return Chunks(real_x, real.assign(upstream=upstream), simulated_x, table[which[1]])


def study(features: Path, grouped: Path, p: params.Network, *, seeds: int, folds: int) -> dict:
    """Return what `summary` gives by arm, with recording groups held out, and the rows of `train_arms` as `networks`.

    Where each class has as many upstream sources as folds, `upstream` has the figures with whole sources held out.
    The folders are those of `chunks`.
    """
    load = partial(chunks, features, grouped)
    rows = [train_arms(load, p, seeds=seeds, folds=folds)]
    content = summary(rows[0])
    if load().table.groupby("y")["upstream"].nunique().min() >= folds:
        rows.append(train_arms(load, p, seeds=seeds, folds=folds, held_out="upstream"))
        content["upstream"] = summary(rows[1])
    return content | {"networks": pd.concat(rows).to_dict("records")}


def train_arms(
    load: Callable[[], Chunks], p: params.Network, *, seeds: int, folds: int, held_out: str = "recording_group"
) -> pd.DataFrame:
    """Return a row for each seed, fold and arm (ARMS): auc and recall_at_5pct on the real chunks held out.

    Both arms take as many steps as `p` says, choose their epoch on the same real groups, and start from the same seed.
    Networks are trained one after the other in a process, or by the workers of a cluster.

    Parameters
    ----------
    load : gives the chunks, to each process by itself
    p : a seed is added to `p.seed`
    held_out : the column of the real chunks' table of whose values none is in two folds, upstream say

    Raises
    ------
    ValueError
        A class has fewer values of `held_out` than folds.
    """
    table = load().table
    for value in (0, 1):
        if (count := table.loc[table["y"] == value, held_out].nunique()) < folds:
            raise ValueError(f"a class must have at least folds={folds} of {held_out}, y={value} has {count}")
    arms = [Arm(p.seed + i, fold, arm) for i in range(seeds) for fold in range(folds) for arm in ARMS]
    rows = processes.in_order(_measured, arms, load, folds, held_out, p, workers=1, batch=1)
    return pd.DataFrame(tqdm(rows, total=len(arms), desc=f"sim-and-real, {held_out}", unit="network"))


def _measured(arm: Arm, load: Callable[[], Chunks], folds: int, held_out: str, p: params.Network) -> dict:
    x, table, simulated_x, simulated = load()
    y, groups, whole = (table[name].to_numpy() for name in ("y", "recording_group", held_out))
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=arm.seed)
    known, held = list(split.split(y, y, whole))[arm.fold]
    inner = StratifiedGroupKFold(VALIDATION, shuffle=True, random_state=arm.seed)
    train, val = next(inner.split(y[known], y[known], groups[known]))
    own, chosen = known[train], known[val]
    parts = ((x[own], table.iloc[own]), (simulated_x, simulated))[: 1 + (arm.arm == "both")]
    score = _train(*zip(*parts, strict=True), x[chosen], y[chosen], arm.seed, p)(x[held])
    return {"held_out": held_out, **arm._asdict(), "chunks": len(held), "groups": len(np.unique(groups[held])),
            "auc": metrics.auc(y[held], score),
            "recall_at_5pct": metrics.recall_at_false_rate(y[held], score, RATE)}  # fmt: skip


def _train(x: Sequence[np.ndarray], tables: Sequence[pd.DataFrame], x_val, y_val, seed: int, p: params.Network):
    """Train on the chunks of all parts; return a function from chunks to logits."""
    from gunshot.models.network import (
        network,
        training,  # TensorFlow: only where it is used
    )

    table = pd.concat(tables, ignore_index=True)
    rng, chance = np.random.default_rng(seed), training.chances(table, p.real_share)
    label = training.labels(table)
    model, _ = training.train(
        np.concatenate(x), table["y"].to_numpy(), x_val, y_val, rng, p, label=label, chance=chance
    )
    return lambda part: network.logit(model, part)[:, 0]


def summary(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return by arm the mean over folds and seeds of each figure, and the standard deviation over the seeds' means."""
    by_seed = rows.groupby(["arm", "seed"])[["auc", "recall_at_5pct"]].mean()
    parts = {arm: by_seed.loc[arm] for arm in ARMS}
    return {arm: {**part.mean().to_dict(), **part.std().add_suffix("_sd").to_dict()} for arm, part in parts.items()}
