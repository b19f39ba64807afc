"""The report on streams: what the tables hold is what is shown, and what nothing is known of is a dash."""

import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from gunshot.alarms import summary
from gunshot.base import tables
from gunshot.report import streams as stream_report
from gunshot.report.page import Chapter

MODELS = ("forest", "float", "int8")
COSTS = {"forest": {"flash": 90_000, "arena": None}, "float": {"flash": 75_176, "arena": None},
         "int8": {"flash": 20_120, "arena": 8_700}}  # fmt: skip
ROW = {
    "hours": 2.0, "recall": 0.75, "recall_lower": 0.6125, "false_incidents_per_hour": 1.5,
    "false_incidents_per_hour_upper": 3.877, "delay_p50_s": 0.21, "delay_p95_s": 0.4, "false_onsets_per_hour": 6.0,
    "shots": 1200, "recall_of_heard": 0.8, "recall_of_firings": 0.9, "recall_of_firings_lower": 0.85, "firings": 400,
    "false_incidents_per_hour_low": 0.5, "false_incidents_per_hour_high": 4.25, "recall_at_limit": 0.4,
}  # fmt: skip
NOTHING = dict.fromkeys(ROW) | {"hours": 0.0, "shots": 0, "firings": 0}
UNKNOWN = NOTHING | {
    "hours": 2.0,
    "false_incidents_per_hour": 0.0,
    "false_incidents_per_hour_upper": 1.498,
    "false_onsets_per_hour": 0.0,
}  # no shot, no false incident


def operating(proof: str = "proven") -> dict[str, dict]:
    return {model: {"logit": 2.0, "proof": proof, "false_incidents_per_hour_limit": 0.5} for model in MODELS}


def figures(real: dict = NOTHING, simulated: dict = ROW) -> dict:
    against = {"simulated": {"recall_drop": 0.012, "false_incidents_per_hour_within_bound": True}}
    rows = {"simulated": dict.fromkeys(MODELS, simulated), "real": dict.fromkeys(MODELS, real)}
    return {"limit": 0.5, **rows, "int8_against_float": against if simulated is ROW else {}}


def curve(origins: tuple[str, ...], false: float = 40.0) -> pd.DataFrame:
    logit = np.arange(-4, 16.01, 0.25)
    parts = [
        pd.DataFrame({"origin": origin, "model": model, "logit": logit, "hours": 2.0,
                      "false_incidents_per_hour": np.floor(false * np.exp(-logit / 2 - i)) / 2,
                      "recall": 1 / (1 + np.exp(logit / 3 - 3 + i)), "recall_lower": 0.1})
        for origin in origins for i, model in enumerate(MODELS)
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def by(column: str, values: list, origin: str = "simulated") -> pd.DataFrame:
    rows = [
        {"origin": origin, "model": model, column: value, "shots": 10, "found": 8 - i, "recall": (8 - i) / 10,
         "recall_lower": 0.3}
        for i, model in enumerate(MODELS)
        for value in values
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["origin", "model", column, "shots", "found", "recall", "recall_lower"])


def folder(origins: tuple[str, ...] = ("simulated",), false: float = 40.0, causes: int = 20) -> dict[str, pd.DataFrame]:
    """The tables of `summary.figures` that the report shows."""
    rows = [
        {"origin": origin, "model": model, "of": "event", "label": f"bang {i}", "false_incidents": 90 - i,
         "events": 100, "hours": 0.5, "false_incidents_per_event": 0.9 - i / 100,
         "false_incidents_per_event_upper": 1.1 - i / 100,
         "false_incidents_per_hour": 180.0 - 2 * i, "false_incidents_per_hour_upper": 216.0 - 2 * i}
        for origin in origins
        for model in MODELS
        for i in range(causes)
    ]  # fmt: skip
    there = {
        "origin": "simulated",
        "place": "park",
        "hours": 2.0,
        "false_incidents_per_hour": 1.5,
        "false_incidents_per_hour_upper": 3.88,
    }
    return {
        "det": curve(origins, false),
        "causes": pd.DataFrame(rows, columns=list(summary.CAUSES)),
        "false_by_place": pd.DataFrame([there | {"model": model} for model in MODELS]),
        "by_distance": by("distance_m", [0, 10, 100]),
        "by_snr": by("peak_snr_db", [-10, 0, 40]),
        "by_place": by("place", ["park", "mall"]),
        "by_weapon": by("weapon", ["AK-47"]),
        "by_pattern": by("pattern", ["auto", "single"]),
    }


def chapters_of(real: dict = NOTHING, **kwargs) -> list[Chapter]:
    return stream_report.chapters(figures(real), folder(**kwargs), operating(), COSTS)


def text_of(figure: Figure) -> str:
    figure.draw_without_rendering()
    return " ".join(t.get_text() for t in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def column(chapter: Chapter, origin: str, model: str) -> dict[str, str]:
    """One column of the headline, by measure."""
    return dict(zip(chapter.table["", "measure"], chapter.table[f"{origin} streams", model], strict=True))


def test_the_headline_has_a_column_a_model_and_says_that_there_are_no_real_streams():
    chapter = stream_report.headline(figures(), COSTS, operating())
    assert list(chapter.table)[1:] == [("simulated streams", model) for model in MODELS]
    row = column(chapter, "simulated", "int8")
    assert (row["recall of clear shots"], row["that recall at least"], row["clear shots"]) == (
        "75.0 %",
        "61.3 %",
        "1,200",
    )
    assert (row["false incidents/h"], row["false incidents/h at most"], row["delay p50, s"]) == ("1.50", "3.88", "0.21")
    assert row["false onsets/h"] == "6.00"
    firings = ("firings with a clear shot", "recall of firings", "recall of firings at least")
    assert [row[name] for name in firings] == ["400", "90.0 %", "85.0 %"]
    assert (row["limit"], row["flash, kB"], row["arena, kB"]) == ("proven", "20.1", "8.7")
    drawn = [row[f"false incidents/h, groups drawn: {end}"] for end in ("from", "to")]
    assert (*drawn, row["recall at equal false incidents/h"]) == ("0.50", "4.25", "40.0 %")
    changes = "From float to int8 recall changes by \N{MINUS SIGN}1.2 points on simulated streams"
    assert f"{changes}, and false incidents are within float's bound." in chapter.text
    assert "No real recordings were imported" in chapter.text and "0.5 false incidents an hour" in chapter.text


def test_real_streams_come_first_and_are_not_said_to_be_missing():
    chapter = stream_report.headline(figures(real=ROW | {"recall": 0.5}), COSTS, operating("unproven"))
    assert [origin for origin, _ in list(chapter.table)[1:]] == ["real streams"] * 3 + ["simulated streams"] * 3
    recalls = [column(chapter, origin, "float")["recall of clear shots"] for origin in ("real", "simulated")]
    assert recalls == ["50.0 %", "75.0 %"] and column(chapter, "real", "int8")["limit"] == "unproven"
    assert "No real recordings" not in chapter.text


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_what_is_not_known_is_a_dash(nothing):
    unknown = {key: nothing if value is None else value for key, value in UNKNOWN.items()}
    row = column(stream_report.headline(figures(simulated=unknown), COSTS, operating()), "simulated", "forest")
    assert (
        row["false incidents/h"] == "0.00" and row["false incidents/h at most"] == "1.50" and row["clear shots"] == "0"
    )
    names = [name for name in row if "recall" in name]
    assert len(names) == 6 and {row[name] for name in [*names, "delay p95, s"]} == {"–"}


def test_every_section_is_named_once_and_its_figures_have_text_alternatives():
    chapters = chapters_of(real=ROW, origins=("simulated", "real"))
    assert len({chapter.title for chapter in chapters}) == len(chapters) == 6
    labels = [chapter.figure.get_label() for chapter in chapters if chapter.figure]
    assert labels == [
        "Recall against false incidents per hour, simulated and real", "Recall against distance, and against peak SNR",
        "False incidents per event by kind, simulated and real",
    ]  # fmt: skip
    page = text_of(chapters[1].figure)
    assert all(word in page for word in ("simulated, 2.00 h", "real, 2.00 h", *MODELS, "recall of clear shots"))


def test_without_real_streams_there_is_one_panel():
    (ax,) = chapters_of()[1].figure.axes
    assert ax.get_title("left") == "simulated, 2.00 h"


def test_an_origin_without_quiet_hours_has_no_panel():
    tables_ = folder(("simulated", "real"))
    real = tables_["det"]["origin"] == "real"
    tables_["det"].loc[real, ["hours", "false_incidents_per_hour"]] = 0.0, np.nan
    assert len(stream_report.det(tables_["det"], operating(), limit=0.5).axes) == 1


def test_each_operating_point_is_marked_on_its_curve():
    figure = stream_report.det(curve(("simulated",)), operating(), limit=0.7)
    assert [0.7, 0.7] in [list(line.get_xdata()) for line in figure.axes[0].lines]
    at = curve(("simulated",)).set_index(["model", "logit"])
    marks = [line.get_data() for line in figure.axes[0].lines if line.get_marker() == "o"]
    drawn = [(float(x[0]), float(y[0])) for x, y in marks]
    expected = [(max(at.loc[(m, 2.0), "false_incidents_per_hour"], 0.25), at.loc[(m, 2.0), "recall"]) for m in MODELS]
    assert np.array(drawn) == pytest.approx(np.array(expected)) and drawn[0][0] > 0.25


def test_a_model_without_a_false_incident_is_drawn_at_less_than_one():
    figure = stream_report.det(curve(("simulated",), false=0.0), operating(), limit=0.5)
    lines = [line for line in figure.axes[0].lines if line.get_label() in MODELS]
    assert len(lines) == 3 and all((line.get_xdata() == 0.25).all() for line in lines)  # half an incident in 2 h
    text_of(figure)


def test_the_recall_by_distance_is_that_of_the_table():
    figure = stream_report.recall_curves(by("distance_m", [0, 10, 100]), by("peak_snr_db", [-10, 0, 40]), MODELS)
    for ax, names in zip(figure.axes, (["0", "10", "100"], ["-10", "0", "40"]), strict=True):
        shown = [label.get_text() for label in ax.get_xticklabels()]
        assert shown == [f"{name}\n10 shots" for name in names]
        recalls = {line.get_label(): list(line.get_ydata()) for line in ax.lines}
        assert recalls == {"forest": [0.8] * 3, "float": [0.7] * 3, "int8": [0.6] * 3}


def test_real_shots_have_a_panel_of_their_own():
    by_snr = pd.concat([by("peak_snr_db", [0, 40]), by("peak_snr_db", [10]).assign(origin="real", recall=0.1)])
    figure = stream_report.recall_curves(by("distance_m", [0]), by_snr, MODELS)
    assert [ax.get_title("left") for ax in figure.axes] == ["simulated streams", "simulated streams", "real streams"]
    assert [len(ax.lines[0].get_xdata()) for ax in figure.axes] == [1, 2, 1]
    assert figure.axes[2].lines[0].get_ydata().tolist() == [0.1]


def test_a_model_has_one_colour_whatever_the_order_of_the_tables():
    shown = stream_report.chapters(
        figures(), {name: table.sort_values("model") for name, table in folder().items()}, operating(), COSTS
    )
    colours = [
        {line.get_label(): line.get_color() for line in chapter.figure.axes[0].lines if line.get_label() in MODELS}
        for chapter in shown[1:3]
    ]
    assert colours[0] == colours[1] and len(set(colours[0].values())) == 3


@pytest.mark.slow
def test_causes_are_the_most_frequent_of_each_model_and_none_is_an_empty_table():
    shown = chapters_of()[-1].table
    assert list(shown.groupby("model").size()) == [stream_report.CAUSES] * 3
    assert list(shown["false incidents"][:3]) == [90, 89, 88]
    names = ["events", "per event", "per hour", "per hour at most"]
    assert list(shown.columns) == ["origin", "model", "kind", "label", "false incidents", *names]
    assert list(shown.iloc[0, 5:]) == [100, 0.9, "180.00", "216.00"]
    assert len(chapters_of(causes=0)[-1].table) == 0


def test_kinds_that_raised_no_false_incident_are_drawn_with_their_bound_and_not_listed():
    tables_ = folder(causes=3)
    quiet = tables_["causes"]["label"] == "bang 1"
    tables_["causes"].loc[
        quiet, ["false_incidents", "false_incidents_per_event", "false_incidents_per_event_upper"]
    ] = 0, 0.0, 0.03
    chapter = stream_report.chapters(figures(), tables_, operating(), COSTS)[-1]
    assert set(chapter.table["label"]) == {"bang 0", "bang 2"}
    (ax,) = chapter.figure.axes
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["bang 1, 100", "bang 2, 100", "bang 0, 100"]
    drawn = {line.get_label(): list(line.get_xdata()) for line in ax.lines}
    assert drawn == {model: [0.0, 0.88, 0.9] for model in MODELS}
    ends = [segment[:, 0].tolist() for lines in ax.collections for segment in lines.get_segments()]
    assert ends == [[0.0, 0.03], [0.88, 1.08], [0.9, 1.1]] * 3


def test_slices_have_a_column_a_model():
    shown = chapters_of()[3].table.set_index("value")
    assert list(shown.columns) == ["origin", "by", "shots", *MODELS]
    assert list(shown.index) == ["mall", "park", "AK-47", "auto", "single"]
    assert list(shown.loc["park"]) == ["simulated", "place", 10, "80.0 %", "70.0 %", "60.0 %"]


def test_real_and_simulated_slices_are_rows_of_their_own():
    tables_ = folder()
    tables_["by_weapon"] = pd.concat([tables_["by_weapon"], by("weapon", ["AK-47"], "real").assign(recall=0.0)])
    shown = stream_report.chapters(figures(), tables_, operating(), COSTS)[3].table
    rifle = shown[shown["value"] == "AK-47"].set_index("origin")["int8"]
    assert rifle.to_dict() == {"real": "0.0 %", "simulated": "60.0 %"}


def test_places_have_their_hours_and_their_rates():
    shown = chapters_of()[4].table
    assert shown.values.tolist() == [["simulated", "park", "2.00", *["1.50 (at most 3.88)"] * 3]]


def empty(tables_: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables where no shot was clear and nothing was false; `det` has rows all the same."""
    flat = tables_["det"].assign(false_incidents_per_hour=0.0, recall=np.nan, recall_lower=0.0)
    return {name: flat if name == "det" else table[:0] for name, table in tables_.items()}


def test_nothing_found_is_shown_and_is_no_error():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chapters = stream_report.chapters(figures(simulated=UNKNOWN), empty(folder()), operating(), COSTS)
        for chapter in chapters:
            if chapter.figure:
                text_of(chapter.figure)
    assert len(chapters) == 6 and [len(chapter.table) for chapter in chapters[3:]] == [0, 0, 0]


def chunks(n: int = 300) -> pd.DataFrame:
    """Test chunks whose scores are calibrated by construction."""
    rng = np.random.default_rng(4)
    score = rng.random(n)
    table = pd.DataFrame({c: ["x"] * n if kind is str else [0] * n for c, kind in tables.CHUNK.items()})
    y = (rng.random(n) < score).astype(int)
    return table.assign(y=y, **{"class": np.where(y == 1, "gun", "env")}, **dict.fromkeys(MODELS, score))


def test_the_calibration_is_drawn_and_its_error_stated():
    chapter = stream_report.reliability_chapter(chunks(4000).assign(int8=lambda t: t["y"] * 0.5), list(MODELS))
    line = next(line for line in chapter.figure.axes[0].lines if line.get_label() == "float")
    assert np.abs(line.get_xdata() - line.get_ydata()).max() < 0.1
    assert chapter.figure.get_label() == "Reliability diagram: share of shots against score"
    error = {part.split()[0]: float(part.split()[1]) for part in chapter.text.partition("chunks: ")[2][:-1].split(", ")}
    assert error["float"] < 0.03 and error["int8"] == pytest.approx(0.25, abs=0.02)
