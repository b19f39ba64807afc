"""Models on a user's own labelled recordings: scores of windows and of files, and what `gunshot detect` tells."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
from tqdm import tqdm

from gunshot import corpora, features, tags
from gunshot.base import audio, params, processes, tables
from gunshot.base.files import shown
from gunshot.corpora.sources import without_sidecars
from gunshot.dataset import onsets
from gunshot.detect import listener, recording
from gunshot.models.model import import_libraries, load_once, read_operating_point
from gunshot.models.scores import metrics

SOURCE = ("path", "label", "recording_group", "source", "upstream", "file", "tags")
SHOWN = 10  # rejected files that an error names
TABLE = r"(?:^|/)(?:tags|manifest)\.csv(?::\d+)?$"  # a rejected row of this name is of a line, and of no recording


class Scores(NamedTuple):
    """Scores of recordings: a row for each window, a row for each file, and rows of tables.REJECTED."""

    windows: pd.DataFrame
    files: pd.DataFrame
    rejected: pd.DataFrame

    @property
    def counts(self) -> dict[str, int]:
        """How many recordings there are, how many were heard, and how many could not be."""
        refused = self.rejected["file"][self.rejected["value"] != tables.NO_AUDIO]
        refused = refused[~refused.str.contains(TABLE, regex=True) & ~refused.isin(self.files["path"])]  # listed twice
        heard, lost = len(self.files), refused.nunique()
        return {"recordings": heard + lost, "heard": heard, "not_heard": lost}

    @property
    def said(self) -> str:
        """The counts in words."""
        recordings, heard, lost = self.counts.values()
        return f"heard {heard} of {recordings} files; {lost} could not be"


class Sections(listener.Sections, Protocol):
    """The sections of params.yaml that scores of files are made by."""

    tags: params.Tags
    evaluate: params.Evaluate
    quality: params.Quality


def sources(folders: Iterable[Path]) -> tuple[list[dict], list[dict]]:
    """Return the recordings of labelled folders of any layout, as `score_files` takes them, and rows of REJECTED.

    They are only heard: links to files anywhere are followed, and names need not be text.
    """
    listed, rejected = [], []
    for folder in folders:
        part, bad = corpora.layouts[corpora.detect(folder)](folder, anywhere=True)
        part, beside = without_sidecars(part, lambda source: source.name, lambda source: source.file)
        listed += map(_row, part)
        rejected += bad + beside
    return listed, rejected


def _row(source: corpora.Source) -> dict:
    """Return what is known of a file, its texts as they can be written to a table."""
    row = {key: getattr(source, key) for key in SOURCE} | {"class": source.class_}
    return {key: shown(value) if isinstance(value, str) else value for key, value in row.items()}


def evaluate(folder: Path, paths: dict[str, Path], p: Sections) -> Scores:
    """Return the scores of models, a column for each name in `paths`, on a folder of labelled recordings of any layout.

    Raises
    ------
    FileNotFoundError
        A model, its report or its operating point is missing.
    ValueError
        The folder holds no file of a class, or no file of a class can be used.
    """
    listed, rejected = sources([folder])
    for kind in ("gun", "env"):
        if not any(row["class"] == kind for row in listed):
            left = "".join(f"\n  {row['file']}: {row['value']}: {row['rule']}" for row in rejected[:SHOWN])
            more = f"; {len(rejected)} left out, the first:{left}" if rejected else ""
            raise ValueError(f"{folder}: no file of the class {kind}; figures need both, gun and env{more}")
    logits = {name: read_operating_point(path)["logit"] for name, path in paths.items()}
    scores = score_files(listed, paths, p, rejected=rejected, title="evaluate", logits=logits)
    if scores.files.empty or scores.files["class"].nunique() < 2:  # nothing to compare: what was rejected says why
        tables.check_rejected(scores.rejected, 0, limit=0, where="this message")
    return scores


def file_scores(
    listed: list[dict], model: Path, p: Sections, *, rejected: Iterable[dict] = (), title: str
) -> pd.DataFrame:
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
    p: Sections,
    *,
    rejected: Iterable[dict] = (),
    title: str,
    logits: dict[str, float] | None = None,
    workers: int = 2,
) -> Scores:
    """Return what models say of recordings, in their order; of windows only where `logits` are given.

    Parameters
    ----------
    listed : what `sources` gives
    paths : the models, by the name of their column
    rejected : rows of tables.REJECTED that come before those of this call
    title : of the progress bar
    logits : by model the mean logit at which it is operated; where given, each file is heard as `gunshot detect` does
    """
    rows, files, refused = [], [], list(rejected)
    import_libraries(paths.values())
    parts = processes.in_order(score_file, listed, paths, p, logits, workers=workers, batch=2)
    for of_windows, file, bad in tqdm(parts, total=len(listed), desc=title, unit="file"):
        rows += of_windows if logits else []
        files += [file] if file else []
        refused += bad
    return Scores(pd.DataFrame(rows), pd.DataFrame(files), tables.frame(refused, tables.REJECTED))


def score_file(
    source: dict, paths: dict[str, Path], p: Sections, logits: dict[str, float] | None = None
) -> tuple[list[dict], dict | None, list[dict]]:
    """Return a file's rows of windows, its row, and rows of tables.REJECTED where it cannot be used.

    A file is scored between quiet of its own, as a device hears it that listens always, so that its first windows
    start before it does. All windows of an environment file count; of a gun file those that hold one of its `onsets` at
    a place where the chunks of training have it (chunks.jitter), since the others hold no shot for certain. These are
    confirmed tags, where the layout has them, else automatic onsets.
    A file's score is its highest window's. ``MODEL_cut`` is the same of the part of
    `evaluate.file_duration_s` around the file's steepest onset, whatever its class.
    With `logits` the row has also what `heard` returns, as ``MODEL_hits`` and ``MODEL_incidents``.
    """
    sr, length = p.audio.sr, p.audio.chunk_length
    try:
        pcm = audio.to_int16(audio.read(source["file"], sr=sr))
    except audio.AudioError as e:
        return [], None, [{"file": e.path, "value": e.value, "rule": e.rule}]
    log_mel = features.log_mel(np.pad(pcm, (0, max(0, length - len(pcm)))), sr=sr, **p.features.model_dump())
    scores, starts = _chunk_scores(log_mel, paths, p)
    placed = source.get("tags")
    if tags.state(placed) != "confirmed":
        placed = onsets.find(pcm, sr=sr, **p.tags.model_dump())
    shots = np.array([tag.start for tag in placed], np.int64)
    gun = source["class"] == "gun"
    known = _holds(starts, shots, length, p.chunks.jitter) if gun else np.ones(len(starts), bool)
    texts = {key: value for key, value in source.items() if key not in ("file", "tags")}
    windows = pd.DataFrame({"start": starts, "y": int(gun), **scores})[known]
    part = _around_steepest(pcm, starts, length, round(p.evaluate.file_duration_s * sr))
    row = {
        **texts,
        "y": int(gun),
        "duration_s": len(pcm) / sr,
        "onsets": len(shots),
        **{name: float(score.max()) for name, score in scores.items()},
        **{f"{name}_cut": float(score[part].max()) for name, score in scores.items()},
    }
    for name, logit in (logits or {}).items():
        row |= {f"{name}_{key}": n for key, n in heard(source["file"], paths[name], logit, shots / sr, p).items()}
    return windows.assign(**texts).to_dict("records"), row, []


def _chunk_scores(
    log_mel: np.ndarray, paths: dict[str, Path], p: listener.Sections
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the scores of models on the chunks of a log-mel at the detector's hop, and their starts in samples."""
    chunk, hop, scores = features.chunk_frames(p), p.detector.hop, {}
    lead = chunk // hop * hop
    for name, path in paths.items():
        model = load_once(path)
        before = listener.before(model, p)
        around = features.in_quiet(log_mel, lead + before, model.window[1] - before - chunk)
        scores[name] = model.sweep(around, hop=hop)
    return scores, (np.arange(len(next(iter(scores.values())))) * hop - lead) * p.features.hop_length


def heard(file: Path, model: Path, logit: float, shot_s: np.ndarray, p: Sections) -> dict[str, int]:
    """Return how many incidents `gunshot detect` has in a file, heard as it is, and how many of its shots it hits.

    A shot is hit where an onset lies within detector.collar_s of it; each onset hits one shot at most.
    """
    ear = listener.Listener(load_once(model), [logit], p)
    unsaid = audio.Notes()  # its warnings were logged when its windows were scored
    parts = [(part.onset_s, part.incident) for part in recording.listen(Path(file), ear, unsaid)]
    onset_s, incident = map(np.concatenate, zip(*parts, strict=True))
    pairs = metrics.match_onsets(shot_s, onset_s, collar=p.detector.collar_s)
    return {"hits": len(pairs), "incidents": len(np.unique(incident))}


def _holds(starts: np.ndarray, onsets: np.ndarray, length: int, jitter: tuple[float, float]) -> np.ndarray:
    place = (onsets[None, :] - starts[:, None]) / length
    return ((place >= jitter[0]) & (place <= jitter[1])).any(axis=1)


def _around_steepest(pcm: np.ndarray, starts: np.ndarray, length: int, duration: int) -> np.ndarray:
    """Return which windows lie in `duration` samples, a quarter of them before the file's steepest 10 ms."""
    energy = np.square(audio.to_float(pcm), dtype=np.float64)
    block = np.add.reduceat(energy, np.arange(0, max(1, len(energy)), 160)) + 1e-9
    level = np.log(block)
    steepest = int(np.argmax(np.diff(level, prepend=np.quantile(level, features.QUIET)) * np.sqrt(block))) * 160
    first = np.clip(steepest - duration // 4, starts[0], max(0, len(pcm) - duration))
    inside = (starts >= first) & (starts + length <= first + duration)
    return inside if inside.any() else np.arange(len(starts)) == np.abs(starts - first).argmin()


def file_metrics(files: pd.DataFrame, names: Iterable[str], rng: np.random.Generator) -> dict[str, dict]:
    """Return by model what `gunshot detect` does on files, and what their scores are worth.

    As it does: recall of files, of shots, the share of environment files with an incident, and incidents an hour of
    environment files, which are all false; each with its one-sided 95 % bound. Of scores: the AUC over all files with
    the 95 % interval of a bootstrap over recording groups, the AUC of files cut to one duration, the means of the AUC
    over labels and over upstream sources, and recall where 5 % of environment files alarm.
    """
    y = files["y"].to_numpy()
    gun, env = files[y == 1], files[y == 0]
    hours, shots = float(env["duration_s"].sum()) / 3600, int(gun["onsets"].sum())
    by_model = {}
    for name in names:
        score = files[name].to_numpy()
        table = files.assign(score=score)
        low, high = metrics.bootstrap_auc(table, rng)
        at = metrics.at_threshold(y, files[f"{name}_incidents"].to_numpy(), 1)
        hits, false = int(gun[f"{name}_hits"].sum()), int(env[f"{name}_incidents"].sum())
        by_model[name] = {
            "recall": at["recall"],
            "recall_lower": at["recall_lower"],
            "shot_recall": hits / shots if shots else float("nan"),
            "shot_recall_lower": metrics.share_lower(hits, shots),
            "false_files": at["false_rate"],
            "false_files_upper": at["false_rate_upper"],
            "false_incidents": false,
            "false_incidents_per_hour": false / hours,
            "false_incidents_per_hour_upper": metrics.rate_upper(false, hours),
            "auc": metrics.auc(y, score),
            "auc_low": low,
            "auc_high": high,
            "auc_cut": metrics.auc(y, files[f"{name}_cut"].to_numpy()),
            "auc_mean_of_labels": float(metrics.by(table, "label", threshold=1)["auc"].mean()),
            "auc_mean_of_upstreams": float(metrics.by(table, "upstream", threshold=1)["auc"].mean()),
            "recall_at_5pct": metrics.recall_at_false_rate(y, score, 0.05),
            "gun_files": len(gun),
            "gun_files_found": at["tp"],
            "shots": shots,
            "shots_found": hits,
            "env_files": len(env),
            "env_hours": hours,
        }
    return by_model
