"""What detectors do on a user's own recordings, as chapters of a page."""

from pathlib import Path

import numpy as np
import pandas as pd

from gunshot.base import tables
from gunshot.models.scores import metrics as scoring
from gunshot.report import plots
from gunshot.report.chunks import chunk_figures, write_report
from gunshot.report.page import Chapter, four, percent, three

FILES = 20  # worst files shown


def write(out: Path, scores, by_file: dict[str, dict], points: dict[str, float], *, title: str, hop: int) -> None:
    """Write windows.csv, files.csv, rejected.csv, metrics.json and index.html of models on a user's recordings.

    Parameters
    ----------
    scores : what `studies.recordings.evaluate` gives: the tables windows, files and rejected
    by_file : what `studies.recordings.file_metrics` gives
    points : each model's operating point
    hop : frames between windows
    """
    for name, table in scores._asdict().items():
        tables.write(out / f"{name}.csv", table)
    files, figures = scores.files, chunk_figures(scores.windows, points)
    tables.write_json(out / "metrics.json", {"windows": figures["metrics"], "files": by_file})
    first = next(iter(points))
    worst = files[["path", "label", "upstream", "y", first]].rename(columns={"path": "file", first: "score"})
    write_report(
        out / "index.html",
        title=f"Gunshot detector: {title}",
        intro=f"{len(files)} recordings, {len(scores.windows)} windows: of a file with shots those that hold an "
        f"automatic onset, of a file without shots all, {hop} frames apart. Each file was heard after quiet of its "
        f"own. {len(scores.rejected)} files were rejected.",
        figures=figures,
        extra=[
            file_metrics_chapter(by_file),
            *(files_by_chapter(files, points, column) for column in ("upstream", "label")),
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
    "recall": ("recall at the operating point", percent),
    "false_files": ("false files there", percent),
}


def file_metrics_chapter(by_file: dict[str, dict]) -> Chapter:
    """Return a row a model; `by_file` is what `recordings.file_metrics` of the studies gives."""
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


def files_by_chapter(files: pd.DataFrame, points: dict[str, float], column: str) -> Chapter:
    """Return recall, false files and AUC of each model, a row a value of `column`; `points` are operating points."""
    parts = {
        m: scoring.by(files.assign(score=files[m]), column, threshold=t).set_index(column) for m, t in points.items()
    }
    first = next(iter(parts.values()))
    shown = {("", column): first.index, ("", "GUN"): first["shots"].values, ("", "ENV"): first["environment"].values}
    for model, part in parts.items():
        shown[model, "recall"] = [percent(v) for v in part["recall"]]
        shown[model, "false files"] = [percent(v) for v in part["false_rate"]]
        shown[model, "AUC"] = [four(v) for v in part["auc"]]
    return Chapter(f"Files by {column}", table=pd.DataFrame(shown))
