"""What detectors do on streams, as chapters of the report's page."""

from collections.abc import Iterable

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gunshot.alarms.clear import CLEAR_DB, CLEAR_M
from gunshot.base import tables
from gunshot.models.scores import calibration
from gunshot.report import plots
from gunshot.report.page import MINUS, Chapter, four, percent

CAUSES = 15  # shown of a model
CAUSE = {
    "of": "kind",
    "false_incidents": "false incidents",
    "false_incidents_per_event": "per event",
    "false_incidents_per_hour": "per hour",
    "false_incidents_per_hour_upper": "per hour at most",
}
ROWS = {
    "hours": ("hours", "{:.2f}"),
    "false_incidents_per_hour": ("false incidents/h", "{:.2f}"),
    "false_incidents_per_hour_upper": ("false incidents/h at most", "{:.2f}"),
    "false_incidents_per_hour_low": ("false incidents/h, groups drawn: from", "{:.2f}"),
    "false_incidents_per_hour_high": ("false incidents/h, groups drawn: to", "{:.2f}"),
    "false_onsets_per_hour": ("false onsets/h", "{:.2f}"),
    "shots": ("clear shots", "{:,}"),
    "recall": ("recall of clear shots", "{:.1%}"),
    "recall_lower": ("that recall at least", "{:.1%}"),
    "recall_at_limit": ("recall at equal false incidents/h", "{:.1%}"),
    "recall_of_heard": ("recall of those heard", "{:.1%}"),
    "firings": ("firings with a clear shot", "{:,}"),
    "recall_of_firings": ("recall of firings", "{:.1%}"),
    "recall_of_firings_lower": ("recall of firings at least", "{:.1%}"),
    "delay_p50_s": ("delay p50, s", "{:.2f}"),
    "delay_p95_s": ("delay p95, s", "{:.2f}"),
}


def _lines(models: list[str]):
    for model, (colour, dash) in zip(models, plots.LINES, strict=False):
        yield model, {"color": colour, "linestyle": dash, "label": model}


def headline(figures: dict, costs: dict[str, dict], operating: dict[str, dict]) -> Chapter:
    """Return what detectors do on streams: a column for each origin and model; real streams come first.

    Parameters
    ----------
    figures : of reports/streams.json
    costs : of each model what `model_cost` gives
    operating : of each model its operating.json
    """
    columns = {}
    for origin in reversed(tables.ORIGINS):
        for model, row in figures[origin].items():
            if row["hours"]:
                proof = operating[model]["proof"]
                columns[f"{origin} streams", model] = measures(row) | {"limit": proof} | _sizes(costs[model])
    limit = figures["limit"]
    text = (
        f"Each model at the threshold that on validation streams keeps {limit:g} false incidents an hour. An incident "
        "is what a person is woken by, whatever its number of shots; a false onset is one of its shots where none is. "
        "Both are counted on streams without shots, whose hours count unique material once. The bounds are exact "
        "(95 %, one-sided): Poisson for false incidents, Clopper and Pearson for recall. Groups drawn: 95 % of what "
        "recording groups give that are drawn with replacement; each simulated stream is one. Recall at equal false "
        "incidents/h is at the threshold that keeps the limit on these streams themselves: it compares models. Recall "
        f"is over shots whose loudest 10 ms are {CLEAR_DB:g} dB or more above the rest, at most "
        f"{CLEAR_M:g} m away; heard ones also rise by 6 dB from the tails of the shots before. A firing is "
        "found where one of its shots is. The delay runs from the first arrival to the end of the window that decides. "
        "The limit is proven where on validation the upper bound keeps it. Flash of the forest is its C compiled for "
        "this machine; the float network is for no device."
    )
    if figures["int8_against_float"]:
        text += "\n\n" + " ".join(against(*item) for item in figures["int8_against_float"].items())
    if not any(row["hours"] for row in figures["real"].values()):
        text += "\n\nNo real recordings were imported: nothing here says how often a real place raises an alarm."
    return Chapter("On streams: recall and false incidents per hour", text, beside(columns))


def against(origin: str, change: dict) -> str:
    """Return a sentence on what changes from float to int8; `change` is what `operate.against` gives of an origin."""
    kept = "within" if change["false_incidents_per_hour_within_bound"] else "beyond"
    return (
        f"From float to int8 recall changes by {-100 * change['recall_drop']:+.1f} points on {origin} streams, and "
        f"false incidents are {kept} float's bound."
    ).replace(" -", f" {MINUS}")


def measures(row: dict, names: Iterable[str] = ROWS) -> dict[str, str]:
    """Return figures as text by measure; `row` is what `summary.summary` gives, `names` are keys of it."""
    return {ROWS[key][0]: _shown(row[key], ROWS[key][1]) for key in names}


def beside(columns: dict[tuple[str, str], dict[str, str]]) -> pd.DataFrame:
    """Return columns of text by measure as a table: a row for each measure, under two rows of headings."""
    table = pd.DataFrame(columns)
    table.insert(0, ("", "measure"), table.index)
    return table.reset_index(drop=True)


def _sizes(cost: dict[str, int | None]) -> dict[str, str]:
    return {f"{name}, kB": "–" if size is None else f"{size / 1000:.1f}" for name, size in cost.items()}


def _shown(value: float | None, form: str) -> str:
    return "–" if value is None or pd.isna(value) else form.format(value).replace("%", " %")


@matplotlib.rc_context(plots.STYLE)
def det(curve: pd.DataFrame, operating: dict[str, dict], *, limit: float, width: float = plots.WIDTH) -> Figure:
    """Return recall against false incidents an hour, a panel for each origin; dots are operating points.

    Parameters
    ----------
    curve : of `alarms.det.det`
    operating : of each model its operating.json
    limit : of false incidents an hour, the dotted line
    width : inches
    """
    origins = [origin for origin in tables.ORIGINS if curve.loc[curve["origin"] == origin, "hours"].gt(0).any()]
    label = "Recall against false incidents per hour, " + " and ".join(origins)
    figure, axes = plots.panels(label, height=min(4.2, 0.62 * width), width=width, count=len(origins), sharey=True)
    for ax, origin in zip(axes, origins, strict=True):
        part = curve[curve["origin"] == origin]
        least = 0.5 / part["hours"].max()  # where nothing was false, on a logarithmic axis
        for model, line in _lines(list(operating)):
            rows = part[part["model"] == model].sort_values("logit")
            ax.plot(rows["false_incidents_per_hour"].clip(lower=least), rows["recall"], **line)
            at = rows.iloc[(rows["logit"] - operating[model]["logit"]).abs().argmin()]
            rate = max(at["false_incidents_per_hour"], least)
            ax.plot(rate, at["recall"], "o", color=line["color"], markeredgecolor="white")
        ax.axvline(limit, color="#667", linestyle=":", linewidth=1)
        title = f"{origin}, {part['hours'].max():.2f} h"
        ax.set(xscale="log", ylim=(0, 1.02), xlabel="false incidents per hour", title=title)
        ax.xaxis.set_major_formatter(lambda v, _: f"{v:,g}")
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes[0].set_ylabel("recall of clear shots")
    axes[0].legend(title="● operating point")
    return figure


@matplotlib.rc_context(plots.STYLE)
def recall_curves(by_distance: pd.DataFrame, by_snr: pd.DataFrame, models: list[str]) -> Figure:
    """Return recall against distance and against peak SNR at the operating points; bars reach to the lower bounds.

    Real shots have a panel of their own, against peak SNR: their distance is not known.
    """
    simulated, real = (by_snr[by_snr["origin"] == origin] for origin in tables.ORIGINS)
    shown = [("distance_m", "distance from, m", "simulated", by_distance)]
    shown += [("peak_snr_db", "peak SNR from, dB", "simulated", simulated)]
    shown += [("peak_snr_db", "peak SNR from, dB", "real", real)] if len(real) else []
    label = "Recall against distance, and against peak SNR"
    figure, axes = plots.panels(label, height=3.8, count=len(shown), sharey=True)
    for ax, (column, title, origin, table) in zip(axes, shown, strict=True):
        values = sorted(table[column].unique())
        for model, line in _lines(models):
            rows = table[table["model"] == model].set_index(column).reindex(values)
            x = np.arange(len(values))
            ax.plot(x, rows["recall"], marker="o", markersize=4, **line)
            ax.vlines(x, rows["recall_lower"], rows["recall"], color=line["color"], linewidth=0.8)
        shots = table.groupby(column)["shots"].max()  # the same for each model
        ax.set_xticks(np.arange(len(values)), [f"{v:g}\n{shots[v]:.0f} shots" for v in values])
        ax.tick_params(axis="x", labelsize=7.5)
        ax.set(xlabel=title, ylim=(0, 1.02), title=f"{origin} streams")
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes[0].set_ylabel("recall")
    if len(by_distance):
        axes[0].legend()
    return figure


@matplotlib.rc_context(plots.STYLE)
def reliability(predictions: pd.DataFrame, models: list[str]) -> Figure:
    """Return the share of shots among test chunks against their score: equal, where scores are calibrated."""
    figure, (ax,) = plots.panels("Reliability diagram: share of shots against score", height=3.8, count=1)
    ax.plot([0, 1], [0, 1], color="#99a", linewidth=1)
    for model, line in _lines(models):
        table = calibration.reliability(predictions["y"].to_numpy(), predictions[model].to_numpy())
        ax.plot(table["score"], table["share"], marker="o", markersize=4, **line)
    ax.set(xlabel="score", ylabel="share of shots", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    ax.legend()
    return figure


def chapters(
    figures: dict, folder: dict[str, pd.DataFrame], operating: dict[str, dict], costs: dict[str, dict]
) -> list[Chapter]:
    """Return the chapters on streams.

    Parameters
    ----------
    figures, operating, costs : as for `headline`
    folder : by name the tables that `summary.figures` gives
    """
    first, curve = headline(figures, costs, operating), folder["det"]
    causes = folder["causes"]
    raised = causes[causes["false_incidents"] > 0].groupby(["origin", "model"], sort=False).head(CAUSES)
    hourly = ("false_incidents_per_hour", "false_incidents_per_hour_upper")
    rates = {name: [_shown(rate, "{:,.2f}") for rate in raised[name]] for name in hourly}
    shown = raised.assign(**rates).drop(columns=["hours", "false_incidents_per_event_upper"]).rename(columns=CAUSE)
    tables = [
        folder[f"by_{name}"].pivot_table(index=["origin", name], columns="model", values="recall").map(percent)
        .join(folder[f"by_{name}"].groupby(["origin", name])["shots"].max()).reset_index()
        .rename(columns={name: "value"}).assign(by=name)
        for name in ("place", "weapon", "pattern")
    ]  # fmt: skip
    slices = pd.concat(tables, ignore_index=True).reindex(columns=["origin", "by", "value", "shots", *operating])
    return [
        first,
        Chapter(
            "Recall against false incidents per hour",
            figure=det(curve, operating, limit=figures["limit"]) if curve["hours"].gt(0).any() else None,
        ),
        Chapter(
            "Recall by distance and peak SNR",
            "By distance of shots with 10 dB or more, by SNR of those within 200 m, or of no known distance.",
            figure=recall_curves(folder["by_distance"], folder["by_snr"], list(operating)),
        ),
        Chapter("Recall by place, weapon and pattern", "Of clear shots.", slices),
        Chapter(
            "False incidents per hour by place",
            "On test streams without shots, with the exact 95 % bound. What sounds in a place is drawn, so that in few "
            "hours luck tells places apart.",
            by_place(folder["false_by_place"], list(operating)),
        ),
        Chapter(
            "What raises false incidents, and what does not",
            "The event that began last where an incident opens, or else what sounds behind. Drawn is every kind that "
            "the test streams without shots hold, with the exact 95 % bound; an event of a simulated stream is a bout, "
            "of a real one a recording. The table has the most frequent ones; an hour is one in which the kind sounds.",
            shown,
            by_kind(causes, list(operating)) if len(causes) else None,
        ),
    ]


@matplotlib.rc_context(plots.STYLE)
def by_kind(causes: pd.DataFrame, models: list[str]) -> Figure:
    """Return false incidents per event of each kind of sound, a panel for each origin; bars reach to the upper bounds.

    `causes` is what `summary.causes` gives.
    """
    causes = causes[causes["events"] > 0]
    upper = causes.groupby(["origin", "label"])["false_incidents_per_event_upper"].max()
    kinds = {origin: upper[origin].sort_values().index for origin in tables.ORIGINS if origin in upper.index}
    height = 1.2 + 0.26 * max(map(len, kinds.values()))
    label = "False incidents per event by kind, " + " and ".join(kinds)
    figure, axes = plots.panels(label, height=height, count=len(kinds))
    for ax, (origin, names) in zip(axes, kinds.items(), strict=True):
        part = causes[causes["origin"] == origin]
        for i, (model, line) in enumerate(_lines(models)):
            rows = part[part["model"] == model].set_index("label").reindex(names)
            y = np.arange(len(names)) + 0.25 * (1 - i)
            rate, upper = rows["false_incidents_per_event"], rows["false_incidents_per_event_upper"]
            ax.hlines(y, rate, upper, color=line["color"], linewidth=0.9)
            ax.plot(rate, y, "o", markersize=3.5, color=line["color"], label=model)
        events = part.groupby("label")["events"].max()  # the same for each model
        ax.set_yticks(np.arange(len(names)), [f"{name}, {events[name]}" for name in names])
        ax.tick_params(axis="y", labelsize=7.5)
        ax.set(xlabel="false incidents per event", title=f"{origin}; kind, events", ylim=(-0.6, len(names) - 0.4))
        ax.set_xscale("symlog", linthresh=0.1)
        ax.set_xlim(left=-0.005)
    axes[0].legend(loc="lower right")
    return figure


def by_place(table: pd.DataFrame, models: list[str]) -> pd.DataFrame:
    """Return hours and each model's false incidents an hour, a row for each origin and place.

    `table` is what `summary.places` gives.
    """
    rows = [
        {"origin": origin, "place": place, "hours": f"{part['hours'].iloc[0]:.2f}"}
        | {
            r.model: f"{r.false_incidents_per_hour:.2f} (at most {r.false_incidents_per_hour_upper:.2f})"
            for r in part.itertuples()
        }
        for (origin, place), part in table.groupby(["origin", "place"], sort=True)
    ]
    return pd.DataFrame(rows, columns=["origin", "place", "hours", *models])


def reliability_chapter(predictions: pd.DataFrame, models: list[str]) -> Chapter:
    """Return the reliability diagram of test chunks, and each model's expected calibration error."""
    error = {
        model: calibration.calibration_error(predictions["y"].to_numpy(), predictions[model].to_numpy())
        for model in models
    }
    text = (
        "A score is calibrated on validation chunks (Platt): of those that score 0.8, four of five hold a shot, where "
        "shots are as frequent as among these chunks. In a street they are far rarer. Expected calibration error on "
        "test chunks: " + ", ".join(f"{model} {four(value)}" for model, value in error.items()) + "."
    )
    return Chapter("Calibration", text, figure=reliability(predictions, models))
