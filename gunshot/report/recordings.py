"""What detectors do on a user's own recordings, as chapters of a page."""

from pathlib import Path

import numpy as np
import pandas as pd

from gunshot.base import tables
from gunshot.models.scores import metrics as scoring
from gunshot.report import plots
from gunshot.report.chunks import chunk_figures, write_report
from gunshot.report.page import Chapter, cell, four, percent, three

FILES = 20  # worst files shown


def write(out: Path, scores, by_file: dict[str, dict], points: dict[str, float], *, title: str, hop: int) -> None:
    """Write windows.csv, files.csv, rejected.csv, metrics.json and index.html of models on a user's recordings.

    Parameters
    ----------
    scores : what `studies.recordings.evaluate` gives: the tables windows, files and rejected
    by_file : what `studies.recordings.file_metrics` gives
    points : the score of each model at which its detector opens an incident
    hop : frames between windows
    """
    for name, table in scores._asdict().items():
        tables.write(out / f"{name}.csv", table)
    files, figures = scores.files, chunk_figures(scores.windows, points, point="operating point")
    tables.write_json(out / "metrics.json", {"counts": scores.counts, "windows": figures["metrics"], "files": by_file})
    first = next(iter(points))
    worst = files[["path", "label", "upstream", "y", first]].rename(columns={"path": "file", first: "score"})
    write_report(
        out / "index.html",
        title=f"Gunshot detector: {title}",
        intro=f"{len(files)} recordings, {len(scores.windows)} windows: of a file with shots those that hold a "
        f"confirmed tag or, where there is none, an automatic onset; of a file without shots all, {hop} frames apart. "
        "Scores are of files that come after quiet of their own; gunshot detect hears a file as it is. "
        f"Of all files, {scores.said}; rejected.csv says why.",
        figures=figures,
        first=detect_chapter(by_file),
        extra=[
            file_metrics_chapter(by_file),
            *(files_by_chapter(files, list(points), column) for column in ("upstream", "label")),
            files_chapter(worst),
        ],
    )


def files_chapter(files: pd.DataFrame) -> Chapter:
    """Return the first 20 rows of a table of files, whose columns are file, label, source and score.

    With a column y (1 GUN, 0 ENV) the files are sorted: those come first whose score is furthest from y.
    """
    order = "as given"
    if "y" in files:
        order = "the most wrong first"
        y = files["y"].to_numpy(int)
        rows = np.argsort(-np.abs(y - files["score"].to_numpy()), kind="stable")
        files = files.assign(y=np.array(plots.CLASSES)[y]).iloc[rows].rename(columns={"y": "actual"})
    shown = files.head(FILES)
    shown = shown.assign(score=shown["score"].map(three))
    return Chapter("Worst files", f"{len(shown)} of {len(files):,} files, {order}.", shown)


FILE_COLUMNS = {
    "auc": ("AUC", four),
    "auc_low": ("from", four),
    "auc_high": ("to", four),
    "auc_cut": ("AUC, cut to one duration", four),
    "auc_mean_of_labels": ("mean AUC of labels", four),
    "auc_mean_of_upstreams": ("mean AUC of upstream sources", four),
    "recall_at_5pct": ("recall at 5 % false files", percent),
}
DETECT_COLUMNS = {
    ("Files with shots", "recall"): ("recall", percent),
    ("Files with shots", "at least"): ("recall_lower", percent),
    ("Shots", "recall"): ("shot_recall", percent),
    ("Shots", "at least"): ("shot_recall_lower", percent),
    ("Files without", "false"): ("false_files", percent),
    ("Files without", "at most"): ("false_files_upper", percent),
    ("False incidents", "an hour"): ("false_incidents_per_hour", cell),
    ("False incidents", "at most"): ("false_incidents_per_hour_upper", cell),
}


def detect_chapter(by_file: dict[str, dict]) -> Chapter:
    """Return a row a model: what `gunshot detect` does on the files, by `recordings.file_metrics` of the studies."""
    first = next(iter(by_file.values()))
    text = (
        f"At the operating point, as the firmware: {first['gun_files']} files with {first['shots']} shots, and "
        f"{first['env_files']} files of {first['env_hours']:.2f} h without, where every incident is false. Shots are "
        "confirmed tags, or automatic onsets where a file has no tags. “At least” and “at most” are one-sided 95 % "
        "bounds."
    )
    rows = [
        {("", "model"): m} | {name: show(v[key]) for name, (key, show) in DETECT_COLUMNS.items()}
        for m, v in by_file.items()
    ]
    return Chapter("What detect does", text, pd.DataFrame(rows))


def file_metrics_chapter(by_file: dict[str, dict]) -> Chapter:
    """Return a row for each model; `by_file` is what `recordings.file_metrics` of the studies gives."""
    first = next(iter(by_file.values()))
    text = (
        f"{first['gun_files']} files with shots, {first['env_files']} without. A file's score is its highest window's, "
        "so a long file has more windows to be wrong in: one AUC is of files cut to the same duration around their "
        "steepest onset. The interval (95 %) is a bootstrap over recording groups. A label or source that holds one "
        "class only is compared with all of the other class."
    )
    rows = [
        {"model": m, **{name: show(v[key]) for key, (name, show) in FILE_COLUMNS.items()}} for m, v in by_file.items()
    ]
    return Chapter("By file", text, pd.DataFrame(rows))


def files_by_chapter(files: pd.DataFrame, models: list[str], column: str) -> Chapter:
    """Return each model's recall and false files by `gunshot detect`, and its AUC, a row for each value of `column`."""

    def by(score: pd.Series) -> pd.DataFrame:
        return scoring.by(files.assign(score=score), column, threshold=1).set_index(column)

    parts = {m: by(files[f"{m}_incidents"]).assign(auc=by(files[m])["auc"]) for m in models}
    first = next(iter(parts.values()))
    shown = {("", column): first.index, ("", "GUN"): first["shots"].values, ("", "ENV"): first["environment"].values}
    for model, part in parts.items():
        shown[model, "recall"] = [percent(v) for v in part["recall"]]
        shown[model, "false files"] = [percent(v) for v in part["false_rate"]]
        shown[model, "AUC"] = [four(v) for v in part["auc"]]
    return Chapter(f"Files by {column}", table=pd.DataFrame(shown))
