"""Models on a user's own labelled recordings: scores of windows, and of files."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from gunshot import corpora, features
from gunshot.base import audio, processes, tables
from gunshot.corpora.sources import without_sidecars
from gunshot.dataset import onsets
from gunshot.models.model import load_once
from gunshot.models.scores import metrics

SOURCE = ("path", "label", "recording_group", "source", "upstream", "file")
SHOWN = 10  # rejected files that an error names
QUIET = 0.1  # of the frames are below the level of a recording's quiet


class Scores(NamedTuple):
    """What models say of recordings: a row a window, a row a file, and rows of tables.REJECTED."""

    windows: pd.DataFrame
    files: pd.DataFrame
    rejected: pd.DataFrame


def sources(folders: Iterable[Path]) -> tuple[list[dict], list[dict]]:
    """Return the recordings of labelled folders of any layout, as `score_files` takes them, and rows of REJECTED."""
    listed, rejected = [], []
    for folder in folders:
        part, bad = corpora.layouts[corpora.detect(folder)](folder)
        part, beside = without_sidecars(part, lambda source: source.name, lambda source: source.file)
        listed += [{**{key: getattr(source, key) for key in SOURCE}, "class": source.class_} for source in part]
        rejected += bad + beside
    return listed, rejected


def evaluate(folder: Path, paths: dict[str, Path], p) -> Scores:
    """Return what models say of a folder of labelled recordings, of any layout; the columns of scores are `paths`'.

    Raises
    ------
    ValueError
        The folder holds no file of a class, or no file of a class can be used.
    """
    listed, rejected = sources([folder])
    for kind in ("gun", "env"):
        if not any(row["class"] == kind for row in listed):
            left = "".join(f"\n  {row['file']}: {row['value']}: {row['rule']}" for row in rejected[:SHOWN])
            more = f"; {len(rejected)} files were left out, the first are:{left}" if rejected else ""
            raise ValueError(f"{folder}: no file of the class {kind}; figures need both, gun and env{more}")
    scores = score_files(listed, paths, p, rejected=rejected, title="evaluate", windows=True)
    if scores.files.empty or scores.files["class"].nunique() < 2:  # nothing to compare: what was rejected says why
        tables.check_rejected(scores.rejected, 0, limit=0, where="this message")
    return scores


def file_scores(listed: list[dict], model: Path, p, *, rejected: Iterable[dict] = (), title: str) -> pd.DataFrame:
    """Return the rows of files of one model, whose scores are the column score.

    Raises
    ------
    ValueError
        More files were rejected than quality.max_rejected allows.
    """
    scores = score_files(listed, {"score": model}, p, rejected=rejected, title=title)
    tables.check_rejected(scores.rejected, len(listed), limit=p.quality.max_rejected, where="this message")
    return scores.files


def score_files(
    listed: list[dict],
    paths: dict[str, Path],
    p,
    *,
    rejected: Iterable[dict] = (),
    title: str,
    windows: bool = False,
    workers: int = 2,
) -> Scores:
    """Return what models say of recordings, in their order; of windows only where they are asked for.

    Parameters
    ----------
    listed : what `sources` gives
    paths : the models, by the name of their column
    rejected : rows of tables.REJECTED that come before those of this call
    title : of the progress bar
    p : the sections audio, features, detector, chunks, tags and evaluate of params.yaml
    """
    rows, files, refused = [], [], list(rejected)
    parts = processes.in_order(score_file, listed, paths, p, workers=workers, batch=2)
    for of_windows, file, bad in tqdm(parts, total=len(listed), desc=title, unit="file"):
        rows += of_windows if windows else []
        files += [file] if file else []
        refused += bad
    return Scores(pd.DataFrame(rows), pd.DataFrame(files), tables.frame(refused, tables.REJECTED))


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
        pcm = audio.to_int16(audio.read(source["file"], sr=sr))
    except audio.AudioError as e:
        return [], None, [{"file": e.path, "value": e.value, "rule": e.rule}]
    log_mel = features.log_mel(np.pad(pcm, (0, max(0, length - len(pcm)))), sr=sr, **p.features.model_dump())
    n_frames = features.frames(length, n_fft=p.features.n_fft, hop_length=p.features.hop_length)
    lead = n_frames // hop * hop
    log_mel = np.concatenate([quiet(log_mel, lead), log_mel], axis=1)
    scores = {name: load_once(path).sweep(log_mel, hop=hop, n_frames=n_frames) for name, path in paths.items()}
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
        low, high = metrics.bootstrap_auc(table, rng)
        at = metrics.at_threshold(y, score, point)
        found[name] = {
            "auc": metrics.auc(y, score),
            "auc_low": low,
            "auc_high": high,
            "auc_cut": metrics.auc(y, files[f"{name}_cut"].to_numpy()),
            "auc_mean_of_labels": float(metrics.by(table, "label", threshold=point)["auc"].mean()),
            "auc_mean_of_upstreams": float(metrics.by(table, "upstream", threshold=point)["auc"].mean()),
            "recall_at_5pct": metrics.recall_at_false_rate(y, score, 0.05),
            "recall": at["recall"],
            "recall_lower": at["recall_lower"],
            "false_files": at["false_rate"],
            "false_files_upper": at["false_rate_upper"],
            "gun_files": int(y.sum()),
            "env_files": int(len(y) - y.sum()),
        }
    return found
