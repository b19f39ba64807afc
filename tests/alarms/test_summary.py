"""What detectors did on test streams: figures by hand on small tables, and intervals that hold the truth."""

import itertools

import numpy as np
import pandas as pd
import pytest

from gunshot.alarms import summary as stream_summary
from gunshot.base import tables
from gunshot.models.scores import metrics

HOURS = pd.DataFrame({"origin": "real", "recording_group": ["a", "b", "c"], "hours": [1.0, 2.0, 0.5]})


def shots(**values) -> pd.DataFrame:
    """Six clear shots of three firings of two streams, and one that is too far."""
    table = pd.DataFrame(
        {
            "path": ["s1", "s1", "s1", "s2", "s2", "s2", "s1"], "firing": [0, 0, 1, 0, 0, 0, 1],
            "found": [True, False, False, True, True, True, True], "clear": [True] * 6 + [False],
            "heard": [True, True, True, True, False, True, True],
            "delay_s": [0.1, np.nan, np.nan, 0.2, 0.3, 0.4, 9.0],
        }
    )  # fmt: skip
    return table.assign(**values)


FALSE = pd.DataFrame(
    {
        "path": ["q1", "q1", "q1", "q2", "s1"], "kind": ["quiet"] * 4 + ["shots"], "incident": [1, 1, 2, 1, 1],
        "opens": [True, False, True, True, False], "recording_group": ["a", "a", "b", "b", "z"],
    }
)  # fmt: skip
CURVE = pd.DataFrame({"logit": [0.0, 1.0, 2.0], "false_incidents_per_hour": [3.0, 0.5, 0.1], "recall": [0.9, 0.8, 0.5]})


def summary(**values) -> dict:
    tables = {"curve": CURVE, "shots": shots(), "false_onsets": FALSE, "hours": HOURS} | values
    return stream_summary.summary(**tables, rng=np.random.default_rng(0), limit=0.5)


def test_the_summary_by_hand():
    figures = summary()
    assert (figures["hours"], figures["groups"]) == (3.5, 3)
    assert (figures["false_incidents"], figures["false_incidents_beside_shots"]) == (3, 0)
    assert (figures["false_onsets"], figures["false_onsets_per_hour"]) == (4, pytest.approx(4 / 3.5))
    assert figures["false_incidents_per_hour"] == pytest.approx(3 / 3.5)
    assert figures["false_incidents_per_hour_upper"] == pytest.approx(metrics.rate_upper(3, 3.5))
    assert (figures["shots"], figures["shots_heard"], figures["shots_of_any_level"], figures["firings"]) == (6, 5, 7, 3)
    assert figures["recall"] == pytest.approx(4 / 6) and figures["recall_of_heard"] == pytest.approx(3 / 5)
    assert figures["recall_lower"] == pytest.approx(metrics.share_lower(4, 6))
    assert figures["recall_of_any_level"] == pytest.approx(5 / 7)
    assert figures["recall_of_firings"] == pytest.approx(2 / 3)
    assert figures["recall_of_firings_lower"] == pytest.approx(metrics.share_lower(2, 3))
    assert figures["delay_p50_s"] == pytest.approx(0.25)
    assert figures["delay_p95_s"] == pytest.approx(np.percentile([0.1, 0.2, 0.3, 0.4], 95))
    assert figures["recall_at_limit"] == 0.8
    assert set(summary()) == set(figures) and summary() == figures


def test_nothing_to_measure_is_none():
    figures = summary(curve=CURVE[:0], shots=shots()[:0], false_onsets=FALSE[:0], hours=HOURS[:0])
    counts = {"hours", "false_onsets", "false_incidents", "false_incidents_beside_shots", "groups", "shots"}
    counts |= {"shots_heard", "shots_of_any_level", "firings"}
    assert all(figures[key] == 0 for key in counts)
    assert all(value is None for key, value in figures.items() if key not in counts)


def test_a_limit_that_no_threshold_keeps_has_no_recall():
    assert summary(curve=CURVE.assign(false_incidents_per_hour=1.0))["recall_at_limit"] is None


def test_three_false_onsets_of_one_incident_count_once():
    """Beside shots an incident is false where none of its onsets is a shot's."""
    one = pd.DataFrame(
        {"path": ["q", "q", "q", "s", "s"], "kind": ["quiet"] * 3 + ["shots"] * 2, "incident": [1, 1, 1, 1, 2],
         "opens": [True, False, False, False, True], "recording_group": "a"}
    )  # fmt: skip
    figures = summary(false_onsets=one)
    assert (figures["false_incidents"], figures["false_onsets"], figures["false_incidents_beside_shots"]) == (1, 3, 1)
    assert figures["false_incidents_per_hour"] == pytest.approx(1 / 3.5)
    assert figures["false_incidents_per_hour_upper"] == pytest.approx(metrics.rate_upper(1, 3.5))
    alone = summary(false_onsets=one[:1])
    ends = ("false_incidents_per_hour_low", "false_incidents_per_hour_high")
    assert [figures[end] for end in ends] == [alone[end] for end in ends]


def test_the_bootstrap_draws_groups():
    """All incidents in one of ten groups of the same hours: a tenth of the draws, as often as it is drawn."""
    hours = pd.DataFrame({"recording_group": [f"g{i}" for i in range(10)], "hours": 1.0})
    false = pd.DataFrame({"path": "q", "kind": "quiet", "incident": range(20), "opens": True, "recording_group": "g3"})
    rates = summary(false_onsets=false, hours=hours)
    assert (rates["false_incidents_per_hour_low"], rates["false_incidents_per_hour_high"]) == pytest.approx(
        (0.0, 6.0)
    )  # 20 incidents in 10 h, none to three times: binomial(10, 0.1)
    even = pd.concat([false[:2].assign(recording_group=group) for group in hours["recording_group"]])
    rates = summary(false_onsets=even, hours=hours)
    assert (rates["false_incidents_per_hour_low"], rates["false_incidents_per_hour_high"]) == pytest.approx((2.0, 2.0))


@pytest.mark.slow
def test_the_bootstrap_covers_the_rate():
    rng, covered = np.random.default_rng(1), 0
    for _ in range(200):
        hours = pd.DataFrame({"recording_group": range(40), "hours": rng.uniform(0.2, 2, 40)})
        count = rng.poisson(3 * hours["hours"])
        false = pd.DataFrame({"path": "q", "kind": "quiet", "recording_group": np.repeat(range(40), count)})
        low, high = stream_summary._rate_interval(hours, false, rng)
        covered += low <= 3 <= high
    assert 175 <= covered <= 200


def test_slices_by_hand():
    """Real and simulated shots of one weapon are two rows."""
    table = pd.DataFrame(
        {
            "origin": ["real"] + ["simulated"] * 5, "model": ["m", "m", "m", "m", "n", "m"],
            "weapon": ["rifle", "rifle", "rifle", "pistol", "rifle", "rifle"],
            "found": [False, True, False, True, True, True],
        }
    )  # fmt: skip
    slices = stream_summary.by(table, "weapon")
    assert slices[["origin", "model", "weapon", "shots", "found"]].values.tolist() == [
        ["real", "m", "rifle", 1, 0], ["simulated", "m", "pistol", 1, 1], ["simulated", "m", "rifle", 3, 2],
        ["simulated", "n", "rifle", 1, 1],
    ]  # fmt: skip
    counts = ((0, 1), (1, 1), (2, 3), (1, 1))
    assert slices["recall"].tolist() == pytest.approx([k / n for k, n in counts])
    assert slices["recall_lower"].tolist() == pytest.approx([metrics.share_lower(*k) for k in counts])
    assert stream_summary.by(table[:0], "weapon").columns.tolist() == slices.columns.tolist()


def test_bins_begin_at_their_left_edge():
    table = pd.DataFrame(
        {"origin": "simulated", "model": "m", "distance_m": [0, 9.9, 10, 25, 1599, 1600, -1], "found": True}
    )
    slices = stream_summary.by(table, "distance_m", (0, 10, 25, 1600))
    assert slices[["distance_m", "shots"]].values.tolist() == [[0, 2], [10, 1], [25, 2]]


def test_causes_are_all_that_was_laid_and_how_often_each_opened_an_incident():
    """Where simulated all beds are one kind; a kind of which nothing was false has a row and a bound."""
    laid = pd.DataFrame(
        {
            "origin": ["simulated"] * 5 + ["real"], "kind": ["event", "event", "event", "bed", "bed", "bed"],
            "label": ["door", "door", "dog", "rain", "rain+hum", "rain"], "samples": [1800, 1800, 900, 3600, 3600, 720],
        }
    )  # fmt: skip
    incidents = pd.DataFrame(
        {
            "origin": ["simulated"] * 4 + ["real"] * 2, "model": ["m", "m", "m", "n", "m", "n"],
            "cause": ["event"] * 2 + ["bed"] * 2 + ["bed", ""],
            "label": ["door", "door", "rain", "rain+hum", "rain", ""],
        }
    )  # fmt: skip
    causes = stream_summary.causes(incidents, laid, ["m", "n"], sr=1)
    assert list(causes.columns) == list(stream_summary.CAUSES)
    rows = {(row[0], row[1], row[3]): row[4:7] for row in causes.itertuples(index=False, name=None)}
    assert rows == {
        ("real", "m", "rain"): (1, 1, 0.2), ("real", "n", "rain"): (0, 1, 0.2), ("real", "n", ""): (1, 0, 0.0),
        ("simulated", "m", "door"): (2, 2, 1.0), ("simulated", "n", "door"): (0, 2, 1.0),
        ("simulated", "m", "dog"): (0, 1, 0.25), ("simulated", "n", "dog"): (0, 1, 0.25),
        ("simulated", "m", "background"): (1, 2, 2.0), ("simulated", "n", "background"): (1, 2, 2.0),
    }  # fmt: skip
    known = causes[causes["events"] > 0]
    for name, each in (("event", "events"), ("hour", "hours")):
        pairs = list(zip(known["false_incidents"], known[each], strict=True))
        assert known[f"false_incidents_per_{name}"].tolist() == pytest.approx([count / n for count, n in pairs])
        assert known[f"false_incidents_per_{name}_upper"].tolist() == pytest.approx(
            [metrics.rate_upper(*pair) for pair in pairs]
        )
    unknown = causes[causes["events"] == 0]
    assert len(unknown) == 1 and unknown.iloc[0, 7:].isna().all()
    assert causes.loc[causes["model"] == "m", "label"].tolist() == ["rain", "door", "background", "dog"]
    assert stream_summary.causes(incidents[:0], laid, ["m"], sr=1)["false_incidents"].tolist() == [0] * 4
    assert stream_summary.causes(incidents[:0], laid[:0], ["m"], sr=1).columns.tolist() == list(stream_summary.CAUSES)


def test_false_incidents_by_place_are_over_the_hours_there():
    quiet = pd.DataFrame(
        {
            "origin": ["simulated", "simulated", "simulated", "real"], "place": ["mall", "park", "mall", ""],
            "unique_s": [1800.0, 3600.0, 5400.0, 900.0],
        }
    )  # fmt: skip
    incidents = pd.DataFrame(
        {"origin": ["simulated"] * 3 + ["real"], "model": ["m", "m", "n", "m"], "place": ["mall", "mall", "park", ""]}
    )
    places = stream_summary.places(incidents, quiet, ["m", "n"])
    assert places.drop(columns="false_incidents_per_hour_upper").values.tolist() == [
        ["simulated", "mall", "m", 2.0, 2, 1.0], ["simulated", "mall", "n", 2.0, 0, 0.0],
        ["simulated", "park", "m", 1.0, 0, 0.0], ["simulated", "park", "n", 1.0, 1, 1.0],
    ]  # fmt: skip
    upper = [metrics.rate_upper(*k) for k in ((2, 2), (0, 2), (0, 1), (1, 1))]
    assert places["false_incidents_per_hour_upper"].tolist() == pytest.approx(upper)
    assert stream_summary.places(incidents, quiet[:0], ["m"]).columns.tolist() == places.columns.tolist()


def test_group_hours_are_those_of_the_streams():
    quiet = pd.DataFrame(
        {"path": ["q1", "q2", "r1"], "origin": ["simulated", "simulated", "real"], "unique_s": [3600.0, 1800.0, 7200.0]}
    )
    laid = pd.DataFrame(
        {"path": ["q1", "r1", "r1", "r1"], "recording_group": ["x", "a", "b", "a"], "samples": [100, 30, 60, 10]}
    )
    hours = stream_summary.group_hours(quiet, laid)
    assert hours.values.tolist() == [
        ["simulated", "q1", 1.0], ["simulated", "q2", 0.5], ["real", "a", pytest.approx(0.8)],
        ["real", "b", pytest.approx(1.2)],
    ]  # fmt: skip
    assert len(stream_summary.group_hours(quiet[:0], laid[:0])) == 0


SHOT = {name: dtype() for name, dtype in tables.STREAM_SHOT.items()} | {
    "clear": True, "heard": True, "delay_s": 0.2, "peak_snr_db": 25.0, "distance_m": 30.0,
}  # fmt: skip


def evaluated(origins: tuple[str, ...], *, with_shots: bool) -> dict:
    """Rows as `score_stream` gives them, of one quiet stream and one with two shots of each origin; int8 misses one.

    Each quiet stream has an incident of three onsets; beside shots a false onset is of an incident with a shot.
    """
    counts, shots, false, table, events = [], [], [], [], []
    bed = {"kind": "bed", "label": "rain", "start": 0, "stop": 16000, "recording_group": "r"}
    onset = {"score": 0.5, "incident": 1, "place": "yard", "label": "rain", "cause": "bed", "recording_group": "r"}
    for origin, kind in itertools.product(origins, ("quiet", "shots")):
        path = f"{origin}-{kind}"
        place = "yard" * (origin == "simulated")
        table.append({"path": path, "origin": origin, "kind": kind, "unique_s": 3600.0, "place": place})
        events.append({"path": path, **bed})
        for model in ("float", "int8"):
            keys = {"path": path, "origin": origin, "kind": kind, "model": model}
            total = 2 * (kind == "shots" and with_shots)
            common = {"false_onsets": 3, "false_incidents": 1, "shots": total, "hits": total // 2}
            counts += [keys | {"logit": logit, **common} for logit in (0.0, 1.0)]
            n = 3 if kind == "quiet" else 1
            false += [keys | onset | {"onset_s": 1.0 + i, "opens": n == 3 and i == 0} for i in range(n)]
            shots += [SHOT | keys | {"onset": 900 * i, "found": model == "float" or i > 0} for i in range(total)]
    frames = (pd.DataFrame(rows) for rows in (counts, shots, false, table, events))
    return stream_summary.figures(*frames, names=["float", "int8"], limit=0.5, sr=16000)


def test_figures_by_origin_and_model():
    content = evaluated(("simulated", "real"), with_shots=True)
    figures, kept = content["figures"], content["tables"]
    for origin in tables.ORIGINS:
        assert figures[origin]["float"]["recall"] == 1 and figures[origin]["int8"]["recall"] == 0.5
        assert figures[origin]["int8"]["false_incidents_per_hour"] == 1 and figures[origin]["int8"]["groups"] == 1
        assert figures[origin]["int8"]["false_onsets_per_hour"] == 3
        assert figures[origin]["int8"]["false_incidents_beside_shots"] == 0
        assert figures["int8_against_float"][origin] == {
            "recall_drop": 0.5,
            "false_incidents_per_hour_within_bound": True,
        }
    assert kept["by_snr"][["origin", "model", "peak_snr_db", "shots", "found"]].values.tolist() == [
        ["real", "float", 20, 2, 2], ["real", "int8", 20, 2, 1], ["simulated", "float", 20, 2, 2],
        ["simulated", "int8", 20, 2, 1],
    ]  # fmt: skip
    assert kept["by_distance"]["shots"].tolist() == [2, 2] and kept["by_distance"]["distance_m"].tolist() == [25, 25]
    assert len(kept["det"]) == 8 and len(kept["shots"]) == 8 and len(kept["causes"]) == 4
    assert kept["false_by_place"][["model", "place", "hours", "false_incidents"]].values.tolist() == [
        ["float", "yard", 1.0, 1], ["int8", "yard", 1.0, 1],
    ]  # fmt: skip
    assert kept["causes"]["false_incidents"].tolist() == [1] * 4
    groups = kept["false_onsets"].groupby("origin")["recording_group"].unique()
    assert groups["real"].tolist() == ["r"]
    assert groups["simulated"].tolist() == ["simulated-quiet", "simulated-shots"]


@pytest.mark.parametrize("with_shots", [False, True])
def test_figures_of_simulated_streams_alone(with_shots):
    content = evaluated(("simulated",), with_shots=with_shots)
    assert content["figures"]["real"]["int8"]["hours"] == 0 and content["figures"]["real"]["int8"]["recall"] is None
    assert ("simulated" in content["figures"]["int8_against_float"]) == with_shots
    assert "real" not in content["figures"]["int8_against_float"]
    assert (len(content["tables"]["shots"]) > 0) == with_shots


def test_a_row_is_told_in_words():
    row = summary()
    assert stream_summary.in_words(row) == (
        f"66.7% of 6 shots (at least {row['recall_lower']:.1%}), 66.7% of 3 firings (at least "
        f"{row['recall_of_firings_lower']:.1%}), p95 0.39 s late, 0.86 false incidents/h (at most "
        f"{row['false_incidents_per_hour_upper']:.2f}) in 3.50 h"
    )
    assert "shots" not in stream_summary.in_words(summary(shots=shots()[:0]))
    assert "late" not in stream_summary.in_words(summary(shots=shots(found=False, delay_s=np.nan)))


def test_each_kind_of_sound_is_kept_once_where_it_came_closest():
    keys = {"path": "q", "origin": "simulated", "kind": "quiet", "model": "int8", "cause": "event"}
    blank = dict.fromkeys(stream_summary.CLOSEST, 0)
    near = pd.DataFrame(
        [
            blank | keys | {"label": label, "logit": logit}
            for label, logit in (("door", 1.0), ("clap", 2.0), ("door", 3.0))
        ]
    )
    kept = stream_summary.kinds_closest(near)
    assert kept[["label", "logit"]].values.tolist() == [["door", 3.0], ["clap", 2.0]]
    many = pd.concat([near.assign(label=f"kind {i}") for i in range(30)])
    assert stream_summary.kinds_closest(many)["label"].nunique() == stream_summary.KINDS
    assert (
        list(stream_summary.kinds_closest(None))
        == list(stream_summary.CLOSEST)
        == list(stream_summary.kinds_closest(near[:0]))
    )
