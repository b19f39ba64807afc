"""What a network that was trained on simulation alone is worth on real recordings, file by file."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from gunshot.base import tables
from gunshot.models.scores import bootstrap
from gunshot.studies import recordings

WORST = 20  # files, of those whose scores are the most wrong


def study(folders: list[Path], model: Path, features: Path, p: recordings.Sections, *, half: str) -> dict:
    """Return what a model is worth on real recordings: what `transfer` gives, with `half` and the `worst` files.

    Parameters
    ----------
    folders : labelled recordings, of any layout
    features : the folder of the features that the model was trained on
    half : open, or sealed; with sealed, `open` holds the figures of the open half

    Raises
    ------
    ValueError
        The model was trained on real recordings too, or more files were rejected than quality.max_rejected allows.
    """
    check_simulated(features)
    listed, rejected = recordings.sources(folders)
    if half == "open":
        listed = [row for row in listed if not sealed(row["recording_group"])]
    files = recordings.file_scores(listed, model, p, rejected=rejected, title="sim-to-real")
    shut = files["recording_group"].map(sealed)
    figures = {
        name: transfer(part, np.random.default_rng(0)) | {"half": name, "worst": _worst(part)}
        for name, part in (("open", files[~shut]), ("sealed", files[shut]))
        if len(part)
    }
    return figures[half] | ({"open": figures["open"]} if half == "sealed" else {})


def check_simulated(features: Path) -> None:
    """Raise ValueError where chunks that were trained on, or validated on, are not simulated."""
    for side in ("train", "val"):
        path = features / f"{side}.csv"
        if real := sorted(set(tables.read(path, tables.CHUNK)["source"]) - {"simulated"}):
            raise ValueError(f"{path}: sources={real} must be simulated alone; remove these corpora")


def _worst(files: pd.DataFrame) -> list[dict]:
    wrong = (files["y"] - files["score"]).abs().sort_values(ascending=False, kind="stable")
    return files.loc[wrong.index[:WORST], ["path", "label", "score"]].to_dict("records")


def sealed(group: str) -> bool:
    """Return whether a recording group is in the sealed half, by its SHA-256: it is scored once, after all choices."""
    return hashlib.sha256(group.encode()).digest()[-1] % 2 == 1


def transfer(files: pd.DataFrame, rng: np.random.Generator, *, rate: float = 0.05, draws: int = 500) -> dict:
    """Return AUC and recall of file scores, with each label and each upstream source counting the same.

    `auc` is the mean of two means: over labels (each against all files of the other class) and over upstream sources
    (each within itself where it has both classes). `recall_at_5pct` is the same mean of the recall at the threshold
    where the share `rate` of the environment files alarms. Intervals of 95 %: groups drawn with replacement in each
    class.

    Parameters
    ----------
    files : pd.DataFrame
        The columns label, upstream, recording_group, y (1 GUN, 0 ENV) and score.
    """
    gun, env = (files[files["y"] == value] for value in (1, 0))
    wins = _wins(gun["score"].to_numpy(), env["score"].to_numpy())
    slices = {column: _slices(gun[column], env[column]) for column in ("label", "upstream")}

    def measured(of_gun: np.ndarray, of_env: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        hits = gun["score"].to_numpy() > _quantile(env["score"].to_numpy(), of_env, 1 - rate)
        rates = {}
        for column, (_, in_gun, in_env) in slices.items():
            g, e = in_gun * of_gun, in_env * of_env
            own = np.isin(slices[column][0], gun[column])
            with np.errstate(invalid="ignore"):
                auc = ((g @ wins) * e).sum(1) / (g.sum(1) * e.sum(1))
                recall = np.where(own, (g @ hits) / g.sum(1), np.nan)
            rates[column] = {"auc": auc, "recall_at_5pct": recall}
        return rates

    def overall(rates: dict, name: str) -> float:
        return float(np.mean([np.nanmean(parts[name]) for parts in rates.values()]))

    names = ("auc", "recall_at_5pct")
    group_of = [pd.factorize(part["recording_group"])[0] for part in (gun, env)]

    def means(*counts: np.ndarray) -> np.ndarray:
        weighted = measured(*(count[row].astype(float) for count, row in zip(counts, group_of, strict=True)))
        return np.array([overall(weighted, name) for name in names])

    point = measured(np.ones(len(gun)), np.ones(len(env)))
    ends = bootstrap.interval(means, [row.max() + 1 for row in group_of], rng, draws=draws)
    result = {}
    for name, low, high in zip(names, *ends, strict=True):
        result |= {name: overall(point, name), f"{name}_low": float(low), f"{name}_high": float(high)}
    result |= {"gun_files": len(gun), "env_files": len(env)}
    for column, title in (("upstream", "by_source"), ("label", "by_label")):
        counts = {
            value: (int((gun[column] == value).sum()), int((env[column] == value).sum())) for value in slices[column][0]
        }
        result[title] = {
            value: {"auc": float(auc), "recall_at_5pct": None if np.isnan(recall) else float(recall),
                    "gun_files": counts[value][0], "env_files": counts[value][1]}
            for value, auc, recall in zip(slices[column][0], *point[column].values(), strict=True)
        }  # fmt: skip
    return result


def _wins(gun: np.ndarray, env: np.ndarray) -> np.ndarray:
    return (gun[:, None] > env[None]) + 0.5 * (gun[:, None] == env[None])


def _slices(gun: pd.Series, env: pd.Series) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return values, and which files of each class count for each [shape=(values, files)]: all where it has none."""
    values = sorted({*gun, *env})
    parts = [np.array([column.to_numpy() == value for value in values], float) for column in (gun, env)]
    return values, *(np.where(part.any(1, keepdims=True), part, 1.0) for part in parts)


def _quantile(score: np.ndarray, weight: np.ndarray, share: float) -> float:
    """Return the lowest score above which at most ``1 - share`` of the weight lies."""
    order = np.argsort(score)
    below = np.cumsum(weight[order]) / weight.sum()
    return float(score[order][np.searchsorted(below, share - 1e-9)])
