"""What models do on held-out chunks, as tables for `dvc plots` and as chapters of a page."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from gunshot.base import tables
from gunshot.models.scores import metrics as scoring
from gunshot.report import plots
from gunshot.report.page import MINUS, TEMPLATES, Chapter, cell, four, number, percent, three, write_page

POINTS = 500  # of a curve in a CSV, at most


def chunk_figures(predictions: pd.DataFrame, points: dict[str, float], *, point: str = "chunk threshold") -> dict:
    """Return figures of models on chunks: metrics, curves, by_label and by_source, each by model, and predictions.

    Parameters
    ----------
    predictions : pd.DataFrame
        The columns of `tables.CHUNK`, y (1 GUN, 0 ENV), and a column of scores for each model.
    points : dict
        The score at which each model decides.
    point : what this score is called: chunk threshold or operating point

    Raises
    ------
    ValueError
        There is no model, a model has no scores or some that are not finite, or a class has no chunk.
    """
    if not points:
        raise ValueError("points={} must name at least one model")
    if missing := [model for model in points if model not in predictions]:
        raise ValueError(f"predictions have no scores of {missing}; there must be a column for each of {list(points)}")
    y = predictions["y"].to_numpy(int)
    for value, name in enumerate(plots.CLASSES):
        if not np.sum(y == value):
            raise ValueError(f"{name} chunks=0 must be at least 1: curves need both classes")
    figures = {"metrics": {}, "curves": {}, "by_label": {}, "by_source": {}, "predictions": predictions.assign(y=y),
               "point": point}  # fmt: skip
    for model, threshold in points.items():
        score = predictions[model].to_numpy(float)
        if not np.isfinite(score).all():
            raise ValueError(f"scores of {model}: {int(np.sum(~np.isfinite(score)))} are not finite; all must be")
        table = predictions[["label", "source"]].assign(y=y, score=score)
        figures["metrics"][model] = scoring.summary(y, score, threshold=threshold)
        figures["curves"][model] = scoring.curves(y, score)
        for column in ("label", "source"):
            figures[f"by_{column}"][model] = scoring.by(table, column, threshold=threshold)
    return figures


def write(figures: dict, folder: Path) -> None:
    """Write metrics.json, predictions.csv, a row a chunk, and the tables of `write_plots` below `plots`."""
    write_plots(figures, folder / "plots")
    tables.write(folder / "predictions.csv", figures["predictions"])
    tables.write_json(folder / "metrics.json", figures["metrics"])


def write_plots(figures: dict, folder: Path) -> None:
    """Write tables for `dvc plots`: ``NAME_MODEL.csv`` of roc, det, threshold and confusion; by_label and by_source.

    A curve keeps 500 points, its ends among them. A confusion table has a row a chunk, decided at each model's point.
    """
    folder, predictions = Path(folder), figures["predictions"]
    names = np.array(plots.CLASSES)
    for model, metrics in figures["metrics"].items():
        for name, curve in figures["curves"][model].items():
            rows = np.linspace(0, len(curve) - 1, min(POINTS, len(curve))).round().astype(int)
            tables.write(folder / f"{name}_{model}.csv", curve.iloc[rows])
        decided = (predictions[model] >= metrics["threshold"]).astype(int)
        table = pd.DataFrame({"actual": names[predictions["y"]], "predicted": names[decided]})
        tables.write(folder / f"confusion_{model}.csv", table)
    for name in ("by_label", "by_source"):
        table = pd.concat(figures[name], names=["model"]).reset_index("model")
        tables.write(folder / f"{name}.csv", table)


HEADLINE = {
    ("", "AUC"): ("auc", four),
    ("At threshold 0.5", "accuracy"): ("accuracy", percent),
    ("At threshold 0.5", "recall"): ("recall", percent),
    ("At threshold 0.5", "precision"): ("precision", percent),
    ("At the {point}", "threshold"): ("threshold", three),
    ("At the {point}", "recall"): ("recall_at_threshold", percent),
    ("At the {point}", "at least"): ("recall_at_threshold_lower", percent),
    ("At the {point}", "false rate"): ("false_rate_at_threshold", percent),
    ("At the {point}", "at most"): ("false_rate_at_threshold_upper", percent),
    ("Chunks", "GUN"): ("shots", cell),
    ("Chunks", "ENV"): ("environment", cell),
}


READING = {
    "chunk threshold": "A chunk is decided GUN where its score is at or above the chunk threshold, which was chosen on "
    "the validation split so that recall is high. Nothing runs with it: a detector opens an incident at its operating "
    "point.",
    "operating point": "A window is decided GUN where its score is at or above the operating point, at which a "
    "detector opens an incident. It was chosen on long audio, of which few windows hold a shot.",
}
RATES = (
    "Recall is the share of GUN chunks that the model finds, and the false rate the share of ENV chunks that it "
    "takes for a shot.",
    "All rates here count single chunks, and a rate of chunks is not false incidents per hour: in a stream windows "
    "overlap, neighbours join to one incident, and most sounds are none of those tested here.",
)


def _headline(figures: dict) -> Chapter:
    rows = [
        {("", "model"): model}
        | {(group.format(**figures), name): show(metrics[key]) for (group, name), (key, show) in HEADLINE.items()}
        for model, metrics in figures["metrics"].items()
    ]
    text = "“At least” and “at most” are one-sided 95 % bounds (Clopper and Pearson) for chunks like these."
    return Chapter("Results", text, pd.DataFrame(rows))


def _by(figures: dict, column: str, title: str, text: str) -> Chapter:
    """Return recall, false rate and AUC of all models, a row for each value of `column`, a label or a source."""
    by_model = {model: table.set_index(column) for model, table in figures[f"by_{column}"].items()}
    first = next(iter(by_model.values()))
    first = first.assign(env_only=first["shots"] == 0).sort_values("env_only", kind="stable")
    out = {("", column): first.index, ("Chunks", "GUN"): first["shots"], ("Chunks", "ENV"): first["environment"]}
    for key, name, show in (("recall", "Recall", percent), ("false_rate", "False rate", percent), ("auc", "AUC", four)):
        for model, table in by_model.items():
            out[name, model] = table.loc[first.index, key].map(show)
    if (first["auc_against"] == "own").any():
        out["AUC", "against"] = first["auc_against"]
    return Chapter(title, text, pd.DataFrame({k: list(v) for k, v in out.items()}))


def chapters(figures: dict) -> list[Chapter]:
    """Return the chapters of a page that show what `chunk_figures` gives."""
    against = "The AUC of a {0} that holds one class only is against all chunks of the other class"
    return [
        _headline(figures),
        Chapter("How to read it", "\n\n".join((RATES[0], READING[figures["point"]], RATES[1]))),
        Chapter("ROC and DET",
                f"Dots are {figures['point']}s. Up and left is better in the ROC, down and left in the DET.",
                figure=plots.roc_det(figures)),
        Chapter("Precision and recall by threshold", figure=plots.thresholds(figures)),
        Chapter("Confusion matrices", f"At each model's {figures['point']}; shares are of the actual class.",
                figure=plots.confusion(figures)),
        Chapter("Scores by class", "The axis is logarithmic, so that the few that lie on the wrong side are seen.",
                figure=plots.histograms(figures)),
        _by(figures, "source", "By source", against.format("source") + " (all), of others against its own (own)."),
        _by(figures, "label", "By label", against.format("label") + "."),
    ]  # fmt: skip


def write_report(path: Path, *, title: str, intro: str, figures: dict, first: Chapter, extra: list[Chapter]) -> None:
    """Write a page: the `first` chapter, unfolded, then those of what `chunk_figures` gives, then the `extra` ones."""
    shown = [replace(first, open=True), *chapters(figures), *extra]
    write_page(path, TEMPLATES / "report.html.j2", title=title, intro=intro.split("\n\n"), chapters=shown, first=None)


def history_chapter(history: pd.DataFrame) -> Chapter:
    """Return the losses of the network by epoch. The columns of `history`: epoch, loss, val_loss, learning_rate."""
    return Chapter("Training of the network", figure=plots.history(history))


def importances_chapter(importances: np.ndarray) -> Chapter:
    """Return a heat map of the forest's importances [shape=(n_mels, frames)]; ValueError for another shape."""
    if importances.ndim != 2:
        raise ValueError(f"importances.shape={importances.shape} must be (n_mels, frames)")
    text = "Where the forest looks: low bands are at the bottom, and a chunk runs from left to right."
    return Chapter("Importances of the forest", text, figure=plots.importances(importances))


COMPARED: dict[str, tuple[str, Callable, float, str]] = {
    "accuracy": ("Accuracy at 0.5", percent, 100, "+.2f"),
    "recall": ("Recall at 0.5", percent, 100, "+.2f"),
    "auc": ("AUC", four, 1, "+.4f"),
    "recall_at_threshold": ("Recall at the chunk threshold", percent, 100, "+.2f"),
    "false_rate_at_threshold": ("False rate at the chunk threshold", percent, 100, "+.2f"),
}


def quantization_chapter(report: dict) -> Chapter:
    """Return the metrics of int8 beside those of float, and the memory and operators that int8 needs.

    `report` has bytes, arena_bytes, operators, flip_rate, flip_rate_at_threshold, deltas, and
    float and int8 as `metrics.summary` gives them.
    """
    operators = report["operators"]
    text = (
        f"The int8 model takes {report['bytes']:,} bytes and an arena of {report['arena_bytes']:,} bytes, and needs "
        f"{len(operators)} operators: {', '.join(operators)}.\n\n"
        f"Int8 and float decide differently on {percent(report['flip_rate'])} of the chunks at threshold 0.5, and on "
        f"{percent(report['flip_rate_at_threshold'])} at float's chunk threshold. Differences of rates are in "
        "percentage points."
    )
    rows = []
    for key, (name, show, factor, spec) in COMPARED.items():
        a, b = report["float"][key], report["int8"][key]
        delta = number(factor * report.get(f"{key}_delta", b - a), spec)
        rows.append({"measure": name, "float": show(a), "int8": show(b), f"int8 {MINUS} float": delta})
    return Chapter("Quantization", text, pd.DataFrame(rows))


def _failure(e: dict) -> str:
    examples = "".join(f"\n   {example}" for example in e["examples"][:3])
    column, rule = f"{e['column']}: " if e["column"] else "", e.get("rule") or e["expectation"]
    return f"{e['severity']}: {column}{rule}: {cell(e['unexpected'])} rows{examples}"


def validation_chapter(results: list[dict]) -> Chapter:
    """Return a row for each suite of `validation.validate`: whether it passed, and which expectations failed."""
    rows = [
        {
            ("", "suite"): r["suite"],
            ("", "result"): "passed" if r["success"] else "failed",
            ("", "expectations"): r["evaluated"],
            **{("Failed", severity): r["failed"][severity] for severity in ("critical", "warning", "info")},
            ("", "what failed"): "\n".join(_failure(e) for e in r["expectations"] if not e["success"]),
        }
        for r in results
    ]
    text = "A suite fails where a critical expectation does. Its page shows every expectation and its first rows:"
    links = {r["suite"]: f"data_docs/{r['suite']}.html" for r in results}
    return Chapter("Data validation", text, pd.DataFrame(rows), links=links)


def tagging_chapter(report: dict) -> Chapter:
    """Return precision, recall and F1 of automatic tags, and F1 of onsets drawn at random.

    `report` is what `gunshot tag-report` wrote, by origin.
    """
    simulated, real = report["simulated"], report["real"]
    parts = {"simulated bursts": simulated, "all simulated": simulated["all"], "real, tagged blind": real}
    rows = [
        {"recordings": name, "shots": part["shots"], **{key: part[key] for key in ("precision", "recall", "f1")}}
        | {"f1 at random": part["control"]["f1"]}
        for name, part in parts.items()
        if part
    ]
    text = (
        "Automatic onsets against known ones, one to one, within 15 ms in a burst and 50 ms elsewhere; measured by "
        "gunshot tag-report, apart from the pipeline."
    )
    if not real:
        text += " On real recordings nothing is measured yet: none is tagged blind."
    return Chapter("Automatic tags", text, pd.DataFrame(rows))
