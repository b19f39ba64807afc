"""What models do on held-out chunks, as tables for `dvc plots` and as one page that needs nothing else."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from gunshot import audio, plots, scoring, tables

POINTS = 500  # of a curve in a CSV, at most
FILES = 20  # worst files shown
NOTHING, MINUS = "\u2013", "\u2212"  # an en dash and the typographic minus
NUMBER = re.compile(rf"[<>+{MINUS}-]?[\d,]*\.?\d+(e[+-]?\d+)?( %)?")


@dataclass(frozen=True)
class Section:
    """A part of the page: paragraphs parted by empty lines, then a figure, then a table.

    Columns of two levels get a second row of headings. A figure's label is its text alternative. Links are
    text: file, relative to the page.
    """

    title: str
    text: str = ""
    table: pd.DataFrame | None = None
    figure: Figure | None = None
    links: dict[str, str] = field(default_factory=dict)


def figures(predictions: pd.DataFrame, points: dict[str, float]) -> dict:
    """Return metrics, curves, by_label and by_source, each by model, and the predictions that they come from.

    Parameters
    ----------
    predictions : pd.DataFrame
        The columns of `tables.CHUNK`, y (1 GUN, 0 ENV), and a column of scores for each model.
    points : dict
        Each model's operating point.

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
    found = {"metrics": {}, "curves": {}, "by_label": {}, "by_source": {}, "predictions": predictions.assign(y=y)}
    for model, point in points.items():
        score = predictions[model].to_numpy(float)
        if not np.isfinite(score).all():
            raise ValueError(f"scores of {model}: {int(np.sum(~np.isfinite(score)))} are not finite; all must be")
        table = predictions[["label", "source"]].assign(y=y, score=score)
        found["metrics"][model] = scoring.summary(y, score, operating_point=point)
        found["curves"][model] = scoring.curves(y, score)
        for column in ("label", "source"):
            found[f"by_{column}"][model] = scoring.by(table, column, threshold=point)
    return found


def write_plots(figures: dict, folder: Path) -> None:
    """Write roc, det, threshold and confusion as ``NAME_MODEL.csv``, and by_label.csv and by_source.csv of all models.

    Curves are thinned to 500 points, the ends kept. A confusion table has a row a chunk, at the operating point.
    """
    folder, predictions = Path(folder), figures["predictions"]
    names = np.array(plots.CLASSES)
    for model, metrics in figures["metrics"].items():
        for name, curve in figures["curves"][model].items():
            rows = np.linspace(0, len(curve) - 1, min(POINTS, len(curve))).round().astype(int)
            tables.write(folder / f"{name}_{model}.csv", curve.iloc[rows])
        decided = (predictions[model] >= metrics["operating_point"]).astype(int)
        table = pd.DataFrame({"actual": names[predictions["y"]], "predicted": names[decided]})
        tables.write(folder / f"confusion_{model}.csv", table)
    for name in ("by_label", "by_source"):
        table = pd.concat(figures[name], names=["model"]).reset_index("model")
        tables.write(folder / f"{name}.csv", table)


def percent(value: float) -> str:
    """Return a share as a percentage with one decimal; what is not quite 0 or 100 % never reads as it."""
    if 0 < value < 0.0005:
        return "<0.1 %"
    return ">99.9 %" if 0.9995 <= value < 1 else _number(100 * value, ".1f", " %")


def _number(value: float, spec: str, unit: str = "") -> str:
    return NOTHING if pd.isna(value) else f"{value:{spec}}{unit}".replace("-", MINUS)


three, four = partial(_number, spec=".3f"), partial(_number, spec=".4f")


def _cell(value) -> str:
    match value:
        case str():
            return value or NOTHING
        case bool() | np.bool_():
            return "yes" if value else "no"
        case int() | np.integer():
            return f"{value:,}"
        case float() | np.floating() if np.isinf(value):
            return NOTHING
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return NOTHING
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


def _grid(table: pd.DataFrame) -> dict:
    """Return a table as text: rows of headings as (text, columns spanned), rows of cells, and which columns count."""
    rows = [[_cell(value) for value in row] for row in table.itertuples(index=False, name=None)]
    columns = [c if isinstance(c, tuple) else (c,) for c in table.columns]
    numeric = []
    for i in range(len(columns)):
        told = [row[i] for row in rows if row[i] != NOTHING]
        numeric.append(bool(told) and all(NUMBER.fullmatch(text) for text in told))
    groups = []
    for column in columns if columns and len(columns[0]) == 2 else ():
        if groups and groups[-1][0] == column[0]:
            groups[-1][1] += 1
        else:
            groups.append([column[0], 1])
    first = {sum(span for _, span in groups[:i]) for i in range(1, len(groups))}
    return {"groups": groups, "first": first, "names": [c[-1] for c in columns], "rows": rows, "numeric": numeric}


HEADLINE = {
    ("", "AUC"): ("auc", four),
    ("At threshold 0.5", "accuracy"): ("accuracy", percent),
    ("At threshold 0.5", "recall"): ("recall", percent),
    ("At threshold 0.5", "precision"): ("precision", percent),
    ("At the operating point", "threshold"): ("operating_point", three),
    ("At the operating point", "recall"): ("recall_at_operating_point", percent),
    ("At the operating point", "at least"): ("recall_at_operating_point_lower", percent),
    ("At the operating point", "false rate"): ("false_rate_at_operating_point", percent),
    ("At the operating point", "at most"): ("false_rate_at_operating_point_upper", percent),
    ("Chunks", "GUN"): ("shots", _cell),
    ("Chunks", "ENV"): ("environment", _cell),
}
READING = (
    "Recall is the share of GUN chunks that the model finds, and the false rate the share of ENV chunks that it "
    "takes for a shot.",
    "The operating point is the threshold that a model is used with: it was chosen on the validation split so that "
    "recall is high, and a chunk is decided GUN where its score is at or above it.",
    "All rates here count single chunks, and a rate of chunks is not false alarms per hour: in a stream windows "
    "overlap, neighbours join to one incident, and most sounds are none of those tested here.",
)


def _headline(figures: dict) -> Section:
    rows = [
        {("", "model"): model} | {name: show(metrics[key]) for name, (key, show) in HEADLINE.items()}
        for model, metrics in figures["metrics"].items()
    ]
    text = "“At least” and “at most” are one-sided 95 % bounds (Clopper and Pearson) for chunks like these."
    return Section("Results", text, pd.DataFrame(rows))


def _by(figures: dict, column: str, title: str, text: str) -> Section:
    """Return one row a label or source: recall, false rate and AUC of every model side by side."""
    found = {model: table.set_index(column) for model, table in figures[f"by_{column}"].items()}
    first = next(iter(found.values()))
    first = first.assign(env_only=first["shots"] == 0).sort_values("env_only", kind="stable")
    out = {("", column): first.index, ("Chunks", "GUN"): first["shots"], ("Chunks", "ENV"): first["environment"]}
    for key, name, show in (("recall", "Recall", percent), ("false_rate", "False rate", percent), ("auc", "AUC", four)):
        for model, table in found.items():
            out[name, model] = table.loc[first.index, key].map(show)
    if (first["auc_against"] == "own").any():
        out["AUC", "against"] = first["auc_against"]
    return Section(title, text, pd.DataFrame({k: list(v) for k, v in out.items()}))


def _sections(figures: dict) -> list[Section]:
    against = "The AUC of a {0} that holds one class only is against all chunks of the other class"
    return [
        _headline(figures),
        Section("How to read it", "\n\n".join(READING)),
        Section("ROC and DET", "Dots are operating points. Up and left is better in the ROC, down and left in the DET.",
                figure=plots.roc_det(figures)),
        Section("Precision and recall by threshold", figure=plots.thresholds(figures)),
        Section("Confusion matrices", "At each model's operating point; shares are of the actual class.",
                figure=plots.confusion(figures)),
        Section("Scores by class", "The axis is logarithmic, so that the few that lie on the wrong side are seen.",
                figure=plots.histograms(figures)),
        _by(figures, "source", "By source", against.format("source") + " (all), of others against its own (own)."),
        _by(figures, "label", "By label", against.format("label") + "."),
    ]  # fmt: skip


def html(
    path: Path, *, title: str, intro: str, figures: dict, extra: list[Section], first: Sequence[Section] = ()
) -> None:
    """Write one page, `first`, the results, then `extra`: no script; the same bytes for the same data."""
    page(path, "report.html.j2", title=title, intro=intro, sections=[*first, *_sections(figures), *extra])


def page(path: Path, template: str, *, title: str, intro: str, sections: list[Section], **content) -> None:
    """Write a template of this package with sections, and what else it names, as one page; the same bytes for these."""
    shown = [
        {
            "id": f"s{i}",
            "title": section.title,
            "paragraphs": section.text.split("\n\n") if section.text else [],
            "links": section.links,
            "svg": _svg(section, f"s{i}"),
            "grid": None if section.table is None else _grid(section.table),
        }
        for i, section in enumerate(sections, 1)
    ]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template(template).render(title=title, intro=intro.split("\n\n"), sections=shown, **content)
    with audio.atomic(path) as part:
        part.write_text(text, encoding="utf-8")


def _svg(section: Section, prefix: str) -> str:
    if section.figure is None:
        return ""
    if not section.figure.get_label():
        section.figure.set_label(section.title)
    return plots.svg(section.figure, prefix=prefix)


def history_section(history: pd.DataFrame) -> Section:
    """Return the training of the network; `history` has epoch, loss, val_loss and learning_rate."""
    return Section("Training of the network", figure=plots.history(history))


def importances_section(importances: np.ndarray) -> Section:
    """Return the forest's importances [shape=(n_mels, frames)] as a heat map; ValueError for another shape."""
    if importances.ndim != 2:
        raise ValueError(f"importances.shape={importances.shape} must be (n_mels, frames)")
    text = "Where the forest looks: low bands are at the bottom, and a chunk runs from left to right."
    return Section("Importances of the forest", text, figure=plots.importances(importances))


COMPARED: dict[str, tuple[str, Callable, float, str]] = {
    "accuracy": ("Accuracy at 0.5", percent, 100, "+.2f"),
    "recall": ("Recall at 0.5", percent, 100, "+.2f"),
    "auc": ("AUC", four, 1, "+.4f"),
    "recall_at_operating_point": ("Recall at the operating point", percent, 100, "+.2f"),
    "false_rate_at_operating_point": ("False rate at the operating point", percent, 100, "+.2f"),
}


def quantization_section(report: dict) -> Section:
    """Return how the int8 model differs from float, and what it needs.

    `report` has bytes, arena_bytes, operators, flip_rate, flip_rate_at_operating_point, deltas, and
    float and int8 as `scoring.summary` gives them.
    """
    operators = report["operators"]
    text = (
        f"The int8 model takes {report['bytes']:,} bytes and an arena of {report['arena_bytes']:,} bytes, and needs "
        f"{len(operators)} operators: {', '.join(operators)}.\n\n"
        f"Int8 and float decide differently on {percent(report['flip_rate'])} of the chunks at threshold 0.5, and on "
        f"{percent(report['flip_rate_at_operating_point'])} at float's operating point. Differences of rates are in "
        "percentage points."
    )
    rows = []
    for key, (name, show, factor, spec) in COMPARED.items():
        a, b = report["float"][key], report["int8"][key]
        delta = _number(factor * report.get(f"{key}_delta", b - a), spec)
        rows.append({"measure": name, "float": show(a), "int8": show(b), f"int8 {MINUS} float": delta})
    return Section("Quantization", text, pd.DataFrame(rows))


def _failure(e: dict) -> str:
    examples = "".join(f"\n   {example}" for example in e["examples"][:3])
    column, rule = f"{e['column']}: " if e["column"] else "", e.get("rule") or e["expectation"]
    return f"{e['severity']}: {column}{rule}: {_cell(e['unexpected'])} rows{examples}"


def validation_section(results: list[dict]) -> Section:
    """Return one row a suite of `validation.validate`, and its failed expectations by name."""
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
    return Section("Data validation", text, pd.DataFrame(rows), links=links)


def tagging_section(found: dict) -> Section:
    """Return precision, recall and F1 of automatic tags, beside onsets drawn at random, of `tagging.report`."""
    made = found["simulated"]
    parts = {"simulated bursts": made, "all simulated": made["all"], "real, tagged blind": found["real"]}
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
    if not found["real"]:
        text += " On real recordings nothing is measured yet: none is tagged blind."
    return Section("Automatic tags", text, pd.DataFrame(rows))


def files_section(files: pd.DataFrame) -> Section:
    """Return the 20 worst files; `files` has file, label, source and score.

    With a column y (1 GUN, 0 ENV) those whose score is furthest from it come first, without it the order is kept.
    """
    order = "as given"
    if "y" in files:
        order = "the most wrong first"
        y = files["y"].to_numpy(int)
        rows = np.argsort(-np.abs(y - files["score"].to_numpy()), kind="stable")
        files = files.assign(y=np.array(plots.CLASSES)[y]).iloc[rows].rename(columns={"y": "actual"})
    shown = files.head(FILES)
    shown = shown.assign(score=shown["score"].map(three))
    return Section("Worst files", f"{len(shown)} of {len(files):,} files, {order}.", shown)


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


def file_metrics_section(by_file: dict[str, dict]) -> Section:
    """Return what `evaluation.file_metrics` gives, a row a model."""
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
    return Section("By file", text, pd.DataFrame(rows))


def files_by_section(files: pd.DataFrame, points: dict[str, float], column: str) -> Section:
    """Return recall, false files and AUC of files by `column`, the models side by side."""
    parts = {
        m: scoring.by(files.assign(score=files[m]), column, threshold=t).set_index(column) for m, t in points.items()
    }
    first = next(iter(parts.values()))
    shown = {("", column): first.index, ("", "GUN"): first["shots"].values, ("", "ENV"): first["environment"].values}
    for model, part in parts.items():
        shown[model, "recall"] = [percent(v) for v in part["recall"]]
        shown[model, "false files"] = [percent(v) for v in part["false_rate"]]
        shown[model, "AUC"] = [four(v) for v in part["auc"]]
    return Section(f"Files by {column}", table=pd.DataFrame(shown))
