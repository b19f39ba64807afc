"""Detectors on streams: which onsets are right, counts by hand and by sed_eval, operating points, who looked."""

import gc
import hashlib
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot.alarms import score
from gunshot.alarms.clear import is_clear
from gunshot.alarms.det import det, lowest
from gunshot.alarms.operate import against, note_read, operate
from gunshot.alarms.score import GRID, gathered, matched, opening, score_stream, score_streams
from gunshot.base import audio, params, tables
from gunshot.models.model import Model
from gunshot.models.scores import metrics
from stages import operate as operate_stage

P = params.load("audio", "chunks", "context", "features", "detector", path=Path(__file__).parents[2] / "params.yaml")
PLACE = (2, 26)  # frames of a window: 12 to 75 % of its samples, chunks.jitter
SR = P.audio.sr


def pairing(onset_s, first_s, blast_s=None, collar_s=0.2):
    blast_s = first_s if blast_s is None else blast_s
    return matched(*(np.array(v, float) for v in (onset_s, first_s, blast_s)), collar_s=collar_s)


def test_an_onset_at_the_shock_or_at_the_blast_is_right():
    for onset in (1.0, 1.19, 1.5, 1.69):
        pairs, false = pairing([onset], [1.0], [1.5])
        assert pairs.tolist() == [[0, 0]] and not false.any()
    for onset in (0.79, 1.25, 1.71):
        pairs, false = pairing([onset], [1.0], [1.5])
        assert len(pairs) == 0 and false.tolist() == [True]


def test_the_other_arrival_of_a_shot_that_was_found_is_neither_right_nor_false():
    pairs, false = pairing([1.0, 1.5, 1.25], [1.0], [1.5])
    assert pairs.tolist() in ([[0, 0]], [[0, 1]]) and false.tolist() == [False, False, True]
    pairs, false = pairing([1.0, 1.02], [1.0], [1.5])  # the same arrival twice is
    assert len(pairs) == 1 and false.sum() == 1
    pairs, false = pairing([1.0, 1.02], [1.0])
    assert len(pairs) == 1 and false.sum() == 1


def test_each_onset_is_of_one_shot_alone():
    pairs, false = pairing([1.1], [1.0, 1.2])
    assert len(pairs) == 1 and not false.any()
    pairs, false = pairing([1.15, 0.95], [1.0, 1.3])
    assert sorted(map(tuple, pairs.tolist())) == [(0, 1), (1, 0)] and not false.any()
    pairs, false = pairing([], [1.0])
    assert pairs.shape == (0, 2) and false.shape == (0,)
    pairs, false = pairing([1.0], [])
    assert pairs.shape == (0, 2) and false.tolist() == [True]


def container(onset_ms: list[int]):
    import dcase_util

    rows = [{"filename": "a", "event_label": "shot", "onset": t / 1000, "offset": t / 1000 + 0.01} for t in onset_ms]
    return dcase_util.containers.MetaDataContainer(rows)


ONSETS = st.lists(st.integers(0, 4000), max_size=12)


@pytest.mark.slow
@given(ONSETS, ONSETS, st.sampled_from([50.5, 200.5]))
def test_counts_are_those_of_sed_eval(truth, onsets, collar_ms):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pkg_resources
        import sed_eval
    measured = sed_eval.sound_event.EventBasedMetrics(
        event_label_list=["shot"], t_collar=collar_ms / 1000, evaluate_onset=True, evaluate_offset=False,
        event_matching_type="optimal",
    )  # fmt: skip
    measured.evaluate(reference_event_list=container(truth), estimated_event_list=container(onsets))
    expected = measured.overall
    pairs, false = pairing(np.array(onsets) / 1000, np.array(truth) / 1000, collar_s=collar_ms / 1000)
    assert (len(truth), len(onsets)) == (expected["Nref"], expected["Nsys"])
    assert len(pairs) == expected["Ntp"]
    assert (false.sum(), len(truth) - len(pairs)) == (expected["Nfp"], expected["Nfn"])


def event(path: str, start: int, stop: int, label: str, kind: str = "event") -> dict:
    row = {name: dtype() for name, dtype in tables.STREAM_EVENT.items()}
    group = f"g-{label}"
    return row | {"path": path, "start": start, "stop": stop, "label": label, "kind": kind, "recording_group": group}


def shot(path: str, onset_s: float, **values) -> dict:
    row = {name: dtype() for name, dtype in tables.STREAM_SHOT.items()}
    at = round(onset_s * SR)
    return row | {"path": path, "onset": at, "blast": at, "shock": -1, "peak_snr_db": 30.0, "distance_m": 50.0} | values


def jump(x: np.ndarray) -> np.ndarray:
    """Logits that are high where a window's loudest frame, 15 dB above its mean, is where training has a shot."""
    level = x.mean(axis=1, dtype=np.float64)
    place = level.argmax(axis=1)
    held = (place >= PLACE[0]) & (place < PLACE[1])
    return np.where(held, (level.max(axis=1) - level.mean(axis=1) - 15) / 4, -6)


def bangs(starts_s: list[float], duration_s: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    y = 60 * rng.standard_normal(int(duration_s * SR))
    for start_s in starts_s:
        part = y[round(start_s * SR) :][:800]
        part += 20_000 * rng.standard_normal(len(part)) * np.exp(-np.arange(len(part)) / 200)
    return np.clip(y, -32768, 32767).astype(np.int16)


REPORT = {"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}}
LOUD, FAR, SLAM, SAME = 1.0, 3.0, 5.0, 5.3


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two streams: with a shot, a shot that is far, and a slam that opens an incident with two onsets; and quiet."""
    audio.write_pcm(tmp_path / "a.wav", bangs([LOUD, FAR, SLAM, SAME], 7.0), sr=SR)
    audio.write_pcm(tmp_path / "b.wav", bangs([2.0], 4.0), sr=SR)
    shots = [shot("a.wav", LOUD), shot("a.wav", FAR, distance_m=900.0), shot("a.wav", 6.4)]
    events = [
        event("a.wav", 0, 7 * SR, "wind", "bed"), event("a.wav", round(4.99 * SR), round(5.4 * SR), "door"),
        event("b.wav", 0, 4 * SR, "rain", "bed"), event("b.wav", 0, SR, "dog"),
    ]  # fmt: skip
    tables.write(tmp_path / "shots.csv", tables.frame(shots, tables.STREAM_SHOT))
    tables.write(tmp_path / "events.csv", tables.frame(events, tables.STREAM_EVENT))
    monkeypatch.setattr(score, "load_once", lambda path: Model(path, REPORT, jump, window=(32, 33)))
    return tmp_path


def row(path: str, kind: str) -> dict:
    return {"path": path, "origin": "simulated", "kind": kind, "place": "yard"}


def test_a_stream_is_scored_at_each_threshold_and_told_at_the_model_s_own(folder):
    paths = {"one": folder / "one", "two": folder / "two"}
    scored = score_stream(row("a.wav", "shots"), folder, paths, {"one": 0.0}, P)
    counts = pd.DataFrame(scored["counts"])
    assert len(counts) == 2 * len(GRID) and set(counts["model"]) == {"one", "two"}
    (at,) = counts[(counts["model"] == "two") & (counts["logit"] == 0.0)].to_dict("records")
    expected = {"model": "two", "logit": 0.0, "false_onsets": 2, "false_incidents": 1, "shots": 2, "hits": 1}
    assert at == {key: row("a.wav", "shots")[key] for key in ("path", "origin", "kind")} | expected
    assert counts.groupby("logit")["hits"].sum().is_monotonic_decreasing and counts["hits"].iloc[-1] == 0
    shots = pd.DataFrame(scored["shots"])
    assert shots["model"].unique().tolist() == ["one"] and shots["found"].tolist() == [True, True, False]
    assert shots["clear"].tolist() == [True, False, True] and np.isnan(shots["delay_s"].iloc[2])
    assert (shots["delay_s"].iloc[:2] > 0.02).all() and (shots["delay_s"].iloc[:2] < 0.5).all()
    false = pd.DataFrame(scored["false_onsets"])
    assert np.abs(false["onset_s"] - [SLAM, SAME]).max() < 0.02 and false["incident"].nunique() == 1
    assert false["opens"].tolist() == [True, False]  # one incident, one person woken
    assert false["label"].tolist() == ["door", "door"] and false["cause"].tolist() == ["event"] * 2
    assert (false["score"] >= 0.25).all() and (false["place"] == "yard").all()


def test_three_false_onsets_of_one_incident_open_it_once():
    """Incident 1 is false, 2 has a shot among its onsets, 3 is false again."""
    incident, false = np.array([1, 1, 1, 2, 2, 3]), np.array([True, True, True, True, False, True])
    assert opening(incident, false).tolist() == [True, False, False, False, False, True]
    assert opening(incident[:0], false[:0]).tolist() == []


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=20))
def test_as_many_onsets_open_a_false_incident_as_there_are_incidents_without_a_shot(steps):
    incident = np.cumsum([step for step, _ in steps]).astype(int)
    false = np.array([wrong for _, wrong in steps], bool)
    opens = opening(incident, false)
    assert set(incident[opens]) == set(incident) - set(incident[~false])
    assert opens.sum() == len(set(incident[opens])) and (false | ~opens).all()


def test_what_no_event_explains_is_the_bed_s(folder):
    scored = score_stream(row("b.wav", "quiet"), folder, {"one": folder / "one"}, {"one": 0.0}, P)
    (false,) = scored["false_onsets"]
    assert (false["label"], false["cause"], false["recording_group"]) == ("rain", "bed", "g-rain")
    assert scored["shots"] == [] and all(count["shots"] == 0 for count in scored["counts"])


def test_of_a_quiet_stream_the_sounds_are_kept_that_pass_the_highest_thresholds(folder):
    highest, *lower = score_stream(row("b.wav", "quiet"), folder, {"one": folder / "one"}, {"one": 0.0}, P)["closest"]
    assert all(other["logit"] <= highest["logit"] and other["label"] != "rain" for other in lower)
    assert (highest["label"], highest["cause"], highest["model"]) == ("rain", "bed", "one") and highest["logit"] >= 0
    counts = pd.DataFrame(score_stream(row("b.wav", "quiet"), folder, {"one": folder / "one"}, {}, P)["counts"])
    assert highest["logit"] == counts.loc[counts["false_incidents"] > 0, "logit"].max()  # none above it
    between = highest["logit"] + 0.1  # of GRID's: the point of a model counts as well
    at = score_stream(row("b.wav", "quiet"), folder, {"one": folder / "one"}, {"one": between}, P)
    assert len(at["false_onsets"]) == 1 and at["closest"][0]["logit"] == between
    assert score_stream(row("a.wav", "shots"), folder, {"one": folder / "one"}, {"one": 0.0}, P)["closest"] == []


def test_a_stream_without_any_row_of_events(folder):
    audio.write_pcm(folder / "c.wav", bangs([1.0], 2.0), sr=SR)
    scored = score_stream(row("c.wav", "quiet"), folder, {"one": folder / "one"}, {"one": 0.0}, P)
    assert [(f["label"], f["cause"]) for f in scored["false_onsets"]] == [("", "")]


def test_streams_are_scored_in_order(folder, monkeypatch):
    monkeypatch.setattr(score.processes, "in_order", lambda f, items, *shared, **_: (f(i, *shared) for i in items))
    table = pd.DataFrame([row("b.wav", "quiet"), row("a.wav", "shots")])
    parts = list(score_streams(table, folder, {"one": folder / "one"}, {}, P))
    assert [part["counts"][0]["path"] for part in parts] == ["b.wav", "a.wav"]


def test_gathered_counts_are_those_of_all_streams_together():
    by_path = COUNTS.groupby("path")
    rest = {"false_onsets": [], "closest": []}
    whole = gathered({"counts": rows.to_dict("records"), "shots": [{"path": path}]} | rest for path, rows in by_path)
    assert len(whole["counts"]) == 6 and whole["shots"]["path"].tolist() == ["q1", "q2", "q3", "s1"]
    assert len(whole["false_onsets"]) == len(gathered([])["counts"]) == 0
    pd.testing.assert_frame_equal(det(whole["counts"], STREAMS), det(COUNTS, STREAMS))


@pytest.mark.slow
def test_scoring_takes_no_more_memory_for_more_streams(folder):
    """Peaks of what Python and NumPy hold, at all thresholds, of streams without a shot; the first run fills caches."""
    audio.write_pcm(folder / "c.wav", bangs([1.0], 3.0), sr=SR)

    def scored(count: int):
        for _ in range(count):
            yield score_stream(row("c.wav", "quiet"), folder, {"one": folder / "one"}, {}, P)
            gc.collect()  # what waits for that is not kept, and is more on a busy machine

    def peak(count: int) -> int:
        gc.collect()
        gc.freeze()  # a collection looks at what is new alone: all libraries' objects would be most of the time
        tracemalloc.start()
        try:
            whole = gathered(scored(count))
            assert whole["counts"]["false_incidents"].max() >= count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            gc.unfreeze()

    peak(2)
    few, many = peak(10), peak(40)
    assert many < 1.02 * few, f"{few / 1e6:.2f} MB of 10 streams, {many / 1e6:.2f} MB of 40"


def test_clear_shots_are_loud_and_near_or_of_no_known_distance():
    shots = pd.DataFrame({"peak_snr_db": [10, 9.9, 30, 30, 30], "distance_m": [200, 1, 200.1, -1, 0]})
    assert is_clear(shots).tolist() == [True, False, False, True, True]


COUNTS = pd.DataFrame(
    [
        ("q1", "simulated", "quiet", "m", 0.0, 4, 3, 0, 0), ("q2", "simulated", "quiet", "m", 0.0, 1, 1, 0, 0),
        ("s1", "simulated", "shots", "m", 0.0, 7, 7, 10, 9), ("q3", "real", "quiet", "m", 0.0, 0, 0, 0, 0),
        ("q1", "simulated", "quiet", "m", 1.0, 0, 0, 0, 0), ("q2", "simulated", "quiet", "m", 1.0, 0, 0, 0, 0),
        ("s1", "simulated", "shots", "m", 1.0, 2, 2, 10, 6), ("q3", "real", "quiet", "m", 1.0, 0, 0, 0, 0),
    ],
    columns=["path", "origin", "kind", "model", "logit", "false_onsets", "false_incidents", "shots", "hits"],
)  # fmt: skip
STREAMS = pd.DataFrame(
    [("q1", "simulated", "quiet", 3600.0), ("q2", "simulated", "quiet", 1800.0), ("s1", "simulated", "shots", 3600.0),
     ("q3", "real", "quiet", 7200.0)],
    columns=["path", "origin", "kind", "unique_s"],
)  # fmt: skip


def test_the_curve_by_hand():
    points = det(COUNTS, STREAMS)
    assert points[["origin", "logit"]].values.tolist() == [
        ["real", 0.0], ["real", 1.0], ["simulated", 0.0], ["simulated", 1.0],
    ]  # fmt: skip
    assert points["hours"].tolist() == [2, 2, 1.5, 1.5] and points["false_onsets"].tolist() == [0, 0, 5, 0]
    assert points["false_incidents"].tolist() == [0, 0, 4, 0]
    assert points["false_incidents_per_hour"].tolist() == pytest.approx([0, 0, 4 / 1.5, 0])
    upper = [metrics.rate_upper(0, 2), metrics.rate_upper(0, 2), metrics.rate_upper(4, 1.5), metrics.rate_upper(0, 1.5)]
    assert points["false_incidents_per_hour_upper"].tolist() == pytest.approx(upper)
    assert points["recall"].tolist() == pytest.approx([np.nan, np.nan, 0.9, 0.6], nan_ok=True)
    assert points["recall_lower"].iloc[2] == pytest.approx(metrics.share_lower(9, 10))


def curve(rates: dict[str, list[float]], uppers: dict[str, list[float]] | None = None) -> pd.DataFrame:
    rows = []
    for origin, values in rates.items():
        for logit, rate in enumerate(values):
            upper = (uppers or rates)[origin][logit]
            rows.append({"origin": origin, "logit": float(logit), "hours": 2.0, "false_onsets": rate * 6,
                         "false_incidents": rate * 2, "false_incidents_per_hour": rate,
                         "false_incidents_per_hour_upper": upper, "recall": 1 - logit / 10,
                         "recall_lower": 0.5})  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({"a": [3, 1, 0.4, 0.1]}, 2.0),
        ({"a": [3, 0.2, 0.6, 0.1]}, 3.0),  # one that keeps it below one that does not is luck
        ({"a": [0.5, 0.5, 0.5, 0.5]}, 0.0),
        ({"a": [3, 1, 0.4, 0.1], "b": [9, 9, 9, 0.5]}, 3.0),
        ({"a": [3, 1, 0.4, 0.6]}, None),
    ],
)
def test_the_lowest_threshold_from_which_on_a_limit_is_kept(rates, expected):
    assert lowest(curve(rates), "false_incidents_per_hour", 0.5) == expected
    shuffled = curve(rates).sample(frac=1, random_state=0)
    assert lowest(shuffled, "false_incidents_per_hour", 0.5) == expected


def test_an_operating_point_is_the_lowest_that_keeps_the_limit_proven_by_the_bound():
    point = operate(curve({"a": [3, 1, 0.1, 0]}, {"a": [4, 2, 0.5, 0.3]}), limit=0.5)
    assert (point["logit"], point["proof"], point["false_incidents_per_hour_limit"]) == (2.0, "proven", 0.5)
    assert point["validation"] == {
        "a": {"hours": 2.0, "false_onsets": pytest.approx(0.6), "false_incidents": 0.2, "false_incidents_per_hour": 0.1,
              "false_incidents_per_hour_upper": 0.5, "recall": 0.8, "recall_lower": 0.5},
    }  # fmt: skip


def test_an_operating_point_whose_bound_is_above_the_limit_is_unproven():
    point = operate(curve({"a": [3, 0.1, 0.1, 0]}, {"a": [4, 2, 0.5, 0.3]}), limit=0.5)
    assert (point["logit"], point["proof"]) == (1.0, "unproven")  # not 2, where it would be proven
    point = operate(curve({"a": [3, 2, 1, 0.6]}), limit=0.5)  # nothing keeps it: the highest
    assert (point["logit"], point["proof"]) == (3.0, "unproven")
    both = curve({"a": [3, 0.1, 0.1, 0], "b": [3, 0.1, 0.1, 0]}, {"a": [4, 0.5, 0.5, 0.3], "b": [4, 2, 2, 2]})
    assert operate(both, limit=0.5)["proof"] == "unproven"  # every origin's bound counts


def test_two_models_are_compared_by_origin_each_at_its_own_point():
    row = {"hours": 2.0, "recall": 0.8, "false_incidents_per_hour": 1.0, "false_incidents_per_hour_upper": 3.0}
    one = {"real": row, "simulated": row}
    other = {
        "simulated": row | {"recall": 0.9, "false_incidents_per_hour": 3.0},
        "real": row | {"recall": 0.7, "false_incidents_per_hour": 3.1},
    }
    losses = against(one, other)
    assert list(losses) == ["simulated", "real"]
    assert losses["simulated"] == {"recall_drop": pytest.approx(-0.1), "false_incidents_per_hour_within_bound": True}
    assert losses["real"] == {"recall_drop": pytest.approx(0.1), "false_incidents_per_hour_within_bound": False}
    for nothing in ({"hours": 0.0}, {"recall": None}, {"recall": np.nan}):
        assert list(against(one | {"real": row | nothing}, other)) == ["simulated"]
    assert against({}, other) == against(one, {}) == {}


def test_the_stage_states_what_int8_loses_to_float_at_their_own_points(tmp_path, monkeypatch):
    """Float keeps the limit from logit 1 on, int8 from 2 on, where it finds 7 of the 9 shots that float does.

    Each false incident has three onsets: by these float would keep 0.5 an hour from 2 on alone.
    """
    rows = [
        {**{name: dtype() for name, dtype in tables.STREAM.items()}, **row(f"{kind}.wav", kind), "unique_s": 36_000.0}
        for kind in ("quiet", "shots")
    ]
    tables.write(tmp_path / "val/streams.csv", tables.frame(rows, tables.STREAM))
    false, hits = {"forest": [0, 0, 0], "float": [9, 3, 0], "int8": [9, 9, 0]}, [10, 9, 7]
    counts = [
        {key: r[key] for key in ("path", "origin", "kind")}
        | {"model": name, "logit": float(i)}
        | {f"false_{what}": n * numbers[i] * (r["kind"] == "quiet") for what, n in (("onsets", 3), ("incidents", 1))}
        | {"shots": 10 * (r["kind"] == "shots"), "hits": hits[i] * (r["kind"] == "shots")}
        for r in rows for name, numbers in false.items() for i in range(3)
    ]  # fmt: skip
    part = {"counts": counts, "shots": [], "false_onsets": [], "closest": []}
    monkeypatch.setattr(operate_stage, "score_streams", lambda *_: iter([part]))
    monkeypatch.setattr(operate_stage, "load_model", lambda path: Model(path, REPORT, jump, window=(32, 33)))
    (tmp_path / "params.yaml").write_bytes((Path(__file__).parents[2] / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    models = {name: tmp_path / name / "model" for name in false}
    operate_stage.main(streams=tmp_path / "val", out=tmp_path / "operating.csv", **models)
    forest, network, int8 = (tables.read_json(path.with_name("operating.json")) for path in models.values())
    assert [point["logit"] for point in (forest, network, int8)] == [0.0, 1.0, 2.0]
    at = network["validation"]["simulated"]
    assert (at["false_incidents"], at["false_onsets"], at["false_incidents_per_hour"]) == (3, 9, 0.3)
    assert int8["against_float"] == {
        "simulated": {"recall_drop": pytest.approx(0.2), "false_incidents_per_hour_within_bound": True}
    }
    assert "against_float" not in forest and "against_float" not in network


def test_each_look_at_the_test_streams_is_noted_once(tmp_path):
    model, other, plan, log = (tmp_path / name for name in ("m", "n", "plan", "reads.csv"))
    for path in (model, other, plan):
        path.write_text(path.name)

    def line(path: Path) -> str:
        return ",".join(hashlib.sha256(p.read_bytes()).hexdigest() for p in (path, plan))

    for path in (model, model, other, model):
        note_read(log, path, plan)
    assert log.read_text().splitlines() == ["model_sha256,streams_sha256", line(model), line(other)]
    before = line(model)
    plan.write_text("streams of another seed")
    note_read(log, model, plan)
    assert log.read_text().splitlines()[-1] == line(model) != before and len(log.read_text().splitlines()) == 4
