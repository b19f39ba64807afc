"""Models on a user's own labelled recordings: scores of windows, and of files."""

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from gunshot import audio, features, models, onsets, processes, scoring

QUIET = 0.1  # of the frames are below the level of a recording's quiet

load = cache(models.load)  # once a process


def score_file(source: dict, paths: dict[str, Path], p) -> tuple[list[dict], dict | None, list[dict]]:
    """Return a file's rows of windows, its row, and rows of tables.REJECTED where it cannot be used.

    A file is heard after `quiet` of its own, as a device hears it that has listened before, so that its first windows
    start before it does. All windows of an environment file count; of a gun file those that hold an automatic onset at
    a place where the chunks of training have it (chunks.jitter), since the others hold no shot for certain.
    A file's score is its highest window's. ``MODEL_cut`` is the same of the part of
    `evaluate.file_duration_s` around the file's steepest onset, whatever its class.
    """
    sr, hop, length = p.audio.sr, p.detector.hop, p.audio.chunk_length
    try:
        log_mel = features.of_file(source["file"], sr=sr, min_length=length, **p.features.model_dump())
        pcm = audio.to_int16(audio.read(source["file"], sr=sr))
    except audio.AudioError as e:
        return [], None, [{"file": e.path, "value": e.value, "rule": e.rule}]
    n_frames = features.frames(length, n_fft=p.features.n_fft, hop_length=p.features.hop_length)
    lead = n_frames // hop * hop
    log_mel = np.concatenate([quiet(log_mel, lead), log_mel], axis=1)
    scores = {name: load(path).sweep(log_mel, hop=hop, n_frames=n_frames) for name, path in paths.items()}
    starts = (np.arange(len(next(iter(scores.values())))) * hop - lead) * p.features.hop_length
    shots = np.array([tag.start for tag in onsets.find(pcm, sr=sr, **p.tags.model_dump())], np.int64)
    gun = source["class"] == "gun"
    known = _holds(starts, shots, length, p.chunks.jitter) if gun else np.ones(len(starts), bool)
    shown = {key: value for key, value in source.items() if key != "file"}
    windows = pd.DataFrame({"start": starts, "y": int(gun), **scores})[known]
    part = _around_steepest(pcm, starts, length, round(p.evaluate.file_duration_s * sr))
    row = {
        **shown,
        "y": int(gun),
        "duration_s": len(pcm) / sr,
        "onsets": len(shots),
        **{name: float(score.max()) for name, score in scores.items()},
        **{f"{name}_cut": float(score[part].max()) for name, score in scores.items()},
    }
    return windows.assign(**shown).to_dict("records"), row, []


def quiet(log_mel: np.ndarray, n_frames: int) -> np.ndarray:
    """Return frames that sound like the quiet of a log-mel [shape=(n_mels, frames)], [shape=(n_mels, n_frames)].

    The level below which each band is for a tenth of the time. A device has always heard something before a shot; of
    many published recordings the shot is the first sound, and digital silence before it is no place.
    """
    return np.repeat(np.quantile(log_mel, QUIET, axis=1, keepdims=True).astype(np.float32), n_frames, axis=1)


def _holds(starts: np.ndarray, onsets: np.ndarray, length: int, jitter: tuple[float, float]) -> np.ndarray:
    place = (onsets[None, :] - starts[:, None]) / length
    return ((place >= jitter[0]) & (place <= jitter[1])).any(axis=1)


def _around_steepest(pcm: np.ndarray, starts: np.ndarray, length: int, duration: int) -> np.ndarray:
    """Return which windows lie in `duration` samples, a quarter of them before the file's steepest 10 ms."""
    energy = np.square(audio.to_float(pcm), dtype=np.float64)
    block = np.add.reduceat(energy, np.arange(0, max(1, len(energy)), 160)) + 1e-9
    level = np.log(block)
    steepest = int(np.argmax(np.diff(level, prepend=np.quantile(level, QUIET)) * np.sqrt(block))) * 160
    first = np.clip(steepest - duration // 4, starts[0], max(0, len(pcm) - duration))
    inside = (starts >= first) & (starts + length <= first + duration)
    return inside if inside.any() else np.arange(len(starts)) == np.abs(starts - first).argmin()


def score_files(sources: list[dict], paths: dict[str, Path], p, *, workers: int = 2) -> Iterator[tuple]:
    """Yield what `score_file` returns for each source, in order."""
    return processes.in_order(score_file, sources, paths, p, workers=workers, batch=2)


def file_metrics(files: pd.DataFrame, points: dict[str, float], rng: np.random.Generator) -> dict[str, dict]:
    """Return by model what its file scores are worth.

    AUC over all files with the 95 % interval of a bootstrap over recording groups, the AUC of files
    cut to one duration, the means of the AUC over labels and over upstream sources, recall where
    5 % of environment files alarm, and recall and share of false files at the operating point.
    """
    y = files["y"].to_numpy()
    found = {}
    for name, point in points.items():
        score = files[name].to_numpy()
        table = files.assign(score=score)
        low, high = scoring.bootstrap_auc(table, rng)
        at = scoring.at_threshold(y, score, point)
        found[name] = {
            "auc": scoring.auc(y, score),
            "auc_low": low,
            "auc_high": high,
            "auc_cut": scoring.auc(y, files[f"{name}_cut"].to_numpy()),
            "auc_mean_of_labels": float(scoring.by(table, "label", threshold=point)["auc"].mean()),
            "auc_mean_of_upstreams": float(scoring.by(table, "upstream", threshold=point)["auc"].mean()),
            "recall_at_5pct": scoring.recall_at_false_rate(y, score, 0.05),
            "recall": at["recall"],
            "recall_lower": at["recall_lower"],
            "false_files": at["false_rate"],
            "false_files_upper": at["false_rate_upper"],
            "gun_files": int(y.sum()),
            "env_files": int(len(y) - y.sum()),
        }
    return found


def sealed(group: str) -> bool:
    """Return whether a recording group is in the half that nobody looks at while improving: by its SHA-256."""
    return hashlib.sha256(group.encode()).digest()[-1] % 2 == 1


def transfer(files: pd.DataFrame, rng: np.random.Generator, *, rate: float = 0.05, draws: int = 500) -> dict:
    """Return what scores of files are worth, each label and each upstream source counting the same.

    `auc` is the mean of two means: over labels (each against all files of the other class) and over upstream sources
    (each within itself where it has both classes). `recall_at_5pct` is the same of the recall at the threshold where
    the share `rate` of the environment files alarms. Intervals of 95 %: groups drawn with replacement in each class.

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
        found = {}
        for column, (_, in_gun, in_env) in slices.items():
            g, e = in_gun * of_gun, in_env * of_env
            own = np.isin(slices[column][0], gun[column])
            with np.errstate(invalid="ignore"):
                auc = ((g @ wins) * e).sum(1) / (g.sum(1) * e.sum(1))
                recall = np.where(own, (g @ hits) / g.sum(1), np.nan)
            found[column] = {"auc": auc, "recall_at_5pct": recall}
        return found

    def overall(found: dict, name: str) -> float:
        return float(np.mean([np.nanmean(parts[name]) for parts in found.values()]))

    point = measured(np.ones(len(gun)), np.ones(len(env)))
    drawn = [measured(_drawn(gun, rng), _drawn(env, rng)) for _ in range(draws)]
    result = {}
    for name in ("auc", "recall_at_5pct"):
        low, high = np.percentile([overall(found, name) for found in drawn], [2.5, 97.5])
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
    """Return values, and for each which files of each class count [shape=(values, files)]; all where it has none."""
    values = sorted({*gun, *env})
    parts = [np.array([column.to_numpy() == value for value in values], float) for column in (gun, env)]
    return values, *(np.where(part.any(1, keepdims=True), part, 1.0) for part in parts)


def _quantile(score: np.ndarray, weight: np.ndarray, share: float) -> float:
    """Return the lowest score that at most ``1 - share`` of the weight is above."""
    order = np.argsort(score)
    below = np.cumsum(weight[order]) / weight.sum()
    return float(score[order][np.searchsorted(below, share - 1e-9)])


def _drawn(files: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Return how often each file counts [shape=(files,)] when its class's groups are drawn with replacement."""
    codes, groups = pd.factorize(files["recording_group"])
    return np.bincount(rng.integers(len(groups), size=len(groups)), minlength=len(groups))[codes].astype(float)
