"""Held-out recordings: no group on two sides, each recording tested once, figures as counted by hand."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot import features
from gunshot.base import audio, params, processes, tables
from gunshot.models.scores import metrics
from gunshot.studies import cross_validation
from tests.streams import imported
from tests.streams.imported import SR, S

ROOT = Path(__file__).parents[2]
P = SimpleNamespace(
    audio=SimpleNamespace(sr=SR), streams=SimpleNamespace(seed=8, stream_s=S), simulate=SimpleNamespace(workers=1),
    detector=SimpleNamespace(max_false_incidents_per_hour=0.5), quality=SimpleNamespace(max_rejected=0.1),
)  # fmt: skip


SIZES = st.lists(st.integers(1, 9), min_size=4, max_size=30)  # recordings of each group


@pytest.mark.slow
@given(gun=SIZES, env=SIZES, count=st.integers(2, 4), seed=st.integers(0, 9))
@settings(max_examples=20)
def test_folds_split_no_group(gun, env, count, seed):
    names = [f"{kind}{i}" for kind, sizes in (("g", gun), ("e", env)) for i, n in enumerate(sizes) for _ in range(n)]
    groups = pd.DataFrame({"recording_group": names, "y": [1] * sum(gun) + [0] * sum(env)})
    fold = cross_validation.folds(groups, count, seed)
    assert fold.index.is_unique and set(fold.index) == set(names) and set(fold) == set(range(count))
    again = cross_validation.folds(groups, count, seed)
    assert fold.equals(again)


@pytest.mark.slow
@given(gun=st.integers(20, 60), env=st.integers(20, 60), seed=st.integers(0, 9))
@settings(max_examples=20)
def test_folds_hold_both_classes_in_like_shares(gun, env, seed):
    groups = pd.DataFrame({"recording_group": [f"{i}" for i in range(gun + env)], "y": [1] * gun + [0] * env})
    groups = pd.concat([groups, groups[::3]])  # some groups have two recordings
    fold = cross_validation.folds(groups, 4, seed)
    by_class = groups.groupby([groups["recording_group"].map(fold), "y"]).size().unstack()
    assert by_class.notna().all().all() and (by_class.max() <= 2 * by_class.min()).all()


def test_too_few_groups_for_the_folds_are_named():
    groups = pd.DataFrame({"recording_group": ["a", "a", "a", "b", "c", "d"], "y": [1, 1, 1, 0, 0, 0]})
    with pytest.raises(ValueError, match="folds=3 must be at most the recording groups of a class; y=1 has 1"):
        cross_validation.folds(groups, 3, 0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return imported.build(tmp_path_factory.mktemp("raw"))


@pytest.mark.slow
def test_streams_of_a_turn_hold_its_fold_and_the_next_one(corpus, tmp_path):
    raw, recordings, onsets, sides = corpus
    fold = pd.Series({group: {"train": 0, "val": 1, "test": 2}[side] for group, side in sides.items()})
    cross_validation.streams_of(fold, 2, 3, recordings, onsets, raw, tmp_path, P)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test", "val"]
    for side, number in (("test", 2), ("val", 0)):
        table = tables.read(tmp_path / side / "streams.csv", tables.STREAM)
        events = tables.read(tmp_path / side / "events.csv", tables.STREAM_EVENT)
        shots = tables.read(tmp_path / side / "shots.csv", tables.STREAM_SHOT)
        assert set(table["side"]) == {side} and set(table["origin"]) == {"real"}
        assert set(table["kind"]) == {"quiet", "shots"}
        assert set(events["recording_group"].map(fold)) == set(shots["recording_group"].map(fold)) == {number}
        assert len(shots) == 5
        for path, seconds in table[["path", "duration_s"]].itertuples(index=False):
            assert len(audio.read_pcm(tmp_path / side / path, sr=SR)) == round(seconds * SR)


@pytest.mark.slow
def test_over_all_turns_each_recording_is_tested_once(corpus, tmp_path):
    raw, recordings, onsets, sides = corpus
    fold = pd.Series({group: {"train": 0, "val": 1, "test": 2}[side] for group, side in sides.items()})
    tested, unique = [], 0.0
    for turn in range(3):
        cross_validation.streams_of(fold, turn, 3, recordings, onsets, raw, tmp_path / str(turn), P)
        table = tables.read(tmp_path / str(turn) / "test" / "streams.csv", tables.STREAM)
        events = tables.read(tmp_path / str(turn) / "test" / "events.csv", tables.STREAM_EVENT)
        quiet = table[table["kind"] == "quiet"]
        unique += quiet["unique_s"].sum()
        tested += [set(events.loc[events["path"].isin(quiet["path"]), "recording"])]
    env = recordings[(recordings["class"] == "env") & (recordings["source"] != "simulated")]
    assert sum(map(len, tested)) == len(set.union(*tested)) == len(env)
    assert unique == pytest.approx(env["duration_s"].sum(), abs=0.1 * len(env) * 2)


def turn(number: int, false: int, hours: float, hits: int) -> dict[str, pd.DataFrame]:
    """What `measure` gives of one turn: a quiet stream of `false` incidents of three onsets, and two shots."""
    quiet, shots = (
        {"path": f"real/{kind}/00000.wav", "origin": "real", "kind": kind, "model": "int8"}
        for kind in ("quiet", "shots")
    )
    common = {"place": "", "label": "bang", "recording_group": f"g{number}"}
    counted = [
        quiet | {"false_onsets": 3 * false, "false_incidents": false, "shots": 0, "hits": 0},
        shots | {"false_onsets": 0, "false_incidents": 0, "shots": 2, "hits": hits},
    ]
    fired = {"distance_m": -1.0, "peak_snr_db": 30.0, "heard": True, "firing": 0, "clear": True, "delay_s": 0.2}
    n = int(3600 * hours * SR)
    parts = {
        "counts": [row | {"logit": logit} for logit in (0.0, 1.0) for row in counted],
        "shots": [
            dict.fromkeys(tables.STREAM_SHOT, "") | shots | fired | {"onset": 1000 * i, "found": i < hits}
            for i in range(2)
        ],
        "false_onsets": [
            quiet | common | {"onset_s": i / 2, "score": 0.9, "incident": i // 3, "opens": i % 3 == 0, "cause": "bed"}
            for i in range(3 * false)
        ],
        "streams": [
            dict.fromkeys(tables.STREAM, "") | row | {"duration_s": 3600 * hours, "unique_s": unique}
            for row, unique in ((quiet, 3600 * hours), (shots, 0.0))
        ],
        "events": [
            dict.fromkeys(tables.STREAM_EVENT, "")
            | common
            | {"path": quiet["path"], "start": 0, "stop": n, "kind": "bed"}
        ],
    }
    return {key: pd.DataFrame(rows) for key, rows in parts.items()}


def test_hours_and_false_incidents_of_all_turns_add_up():
    report = cross_validation.pooled([turn(0, 3, 1.5, 2), turn(1, 0, 0.5, 1), turn(2, 1, 2.0, 2)], limit=0.5, sr=SR)
    row = report["figures"]["real"]["int8"]
    assert (row["hours"], row["false_incidents"], row["false_incidents_per_hour"]) == (
        pytest.approx(4.0),
        4,
        pytest.approx(1.0),
    )
    assert row["false_incidents_per_hour_upper"] == pytest.approx(metrics.rate_upper(4, 4.0))
    assert (row["shots"], row["recall"], row["firings"]) == (6, pytest.approx(5 / 6), 3)
    assert (row["false_onsets"], row["false_onsets_per_hour"], row["groups"]) == (12, pytest.approx(3.0), 3)
    (cause,) = report["tables"]["causes"].to_dict("records")
    assert (cause["label"], cause["false_incidents"], cause["events"]) == ("bang", 4, 3)


def test_turns_without_a_false_incident_or_shot_are_counted_all_the_same():
    quiet = turn(1, 0, 0.5, 1)
    quiet["shots"] = pd.DataFrame([])
    row = cross_validation.pooled([quiet, turn(0, 0, 1.0, 2)], limit=0.5, sr=SR)["figures"]["real"]["int8"]
    assert (row["hours"], row["false_incidents"], row["shots"], row["recall"]) == (pytest.approx(1.5), 0, 2, 1.0)


def test_training_is_apart_and_gives_the_path_of_the_model(monkeypatch, tmp_path):
    called = []
    monkeypatch.setattr(processes, "apart", lambda function, *args: called.append((function, args)))
    network = cross_validation.Network(tmp_path, 7, frozenset("ab"))
    path = cross_validation.train(network, "folders", "heard", P)
    assert path == tmp_path / "model.tflite"
    ((function, args),) = called
    assert function is cross_validation._train_of and args == (network, "folders", "heard", P, path)


@pytest.mark.slow
def test_hard_negatives_are_sought_by_source_and_not_in_what_is_left_out(tmp_path):
    whole = params.load("audio", "context", "features", "network", "simulate", path=ROOT / "params.yaml")
    rng, rows = np.random.default_rng(5), []
    for source, group, kind, seconds in (
        ("a", "x", "env", 1),
        ("b", "y", "env", 2),
        ("b", "z", "env", 3),
        ("b", "z", "gun", 1),
    ):
        name = f"{source}/{kind}{group}.wav"
        rows.append({"path": name, "class": kind, "source": source, "recording_group": group})
        (tmp_path / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
        audio.write_pcm(tmp_path / "raw" / name, rng.normal(0, 900, seconds * SR).astype(np.int16), sr=SR)
    (tmp_path / "train/simulated/quiet").mkdir(parents=True)
    audio.write_pcm(tmp_path / "train/simulated/quiet/0.wav", np.zeros(SR, np.int16), sr=SR)
    folders = cross_validation.Folders(tmp_path / "raw", tmp_path, tmp_path, tmp_path / "train", tmp_path)
    cross_validation.write_pool(pd.DataFrame(rows), folders, whole, tmp_path)
    pool = cross_validation.read_pool(tmp_path)
    assert {source: [group for group, _ in part] for source, part in pool.items()} == {
        "simulated": [""], "a": ["x"], "b": ["y", "z"]}  # fmt: skip
    lengths = {
        source: [mel.shape[1] for mel in part] for source, part in cross_validation.known(pool, {"x", "z"}).items()
    }
    frames = features.frames(2 * SR, n_fft=512, hop_length=112) + whole.context.frames
    assert set(lengths) == {"simulated", "b"} and lengths["b"] == [frames]
    silent = whole.network.model_copy(update={"hard_share": 0.0})
    silent = SimpleNamespace(**{**vars(whole), "network": silent})
    cross_validation.write_pool(pd.DataFrame(rows), folders, silent, tmp_path)
    assert cross_validation.read_pool(tmp_path) == {}


def test_training_sees_nothing_that_is_held(monkeypatch, tmp_path):
    """`_train` with a network, a converter and an interpreter that only note what they are given."""
    from gunshot.models.network import quantize, training

    x = np.arange(6, dtype=np.float32)[:, None, None] * np.ones((6, 2, 3), np.float32)
    y = np.array([1, 0, 1, 0])
    table = pd.DataFrame(
        {
            "y": y,
            "class": np.where(y, "gun", "env"),
            "source": "a",
            "recording_group": list("abcd"),
            "label": list("wxyz"),
        }
    )
    simulated = table[:2].assign(source="simulated")
    corpus = cross_validation.Corpus(x[:4], table, x[4:], simulated, x[:2] + 9, np.array([1, 0]))
    seen = {}

    def fit(x, y, x_val, y_val, rng, p, *, label, chance, pool):
        seen.update(
            label=label.tolist(),
            x=x[:, 0, 0].tolist(),
            y=y.tolist(),
            val=x_val[:, 0, 0].tolist(),
            chance=chance.tolist(),
            pool=pool,
        )
        return "net", None

    monkeypatch.setattr(training, "train", fit)
    monkeypatch.setattr(quantize, "fixed", lambda model, n_frames: (model, n_frames))
    monkeypatch.setattr(quantize, "convert", lambda model, x: seen.update(rows=x[:, 0, 0].tolist()) or b"artifact")
    tflm = SimpleNamespace(logit=lambda x: np.array([1.0, -1.0]))
    monkeypatch.setattr(quantize, "Tflm", lambda artifact: tflm)
    sections = {"quantize": SimpleNamespace(representative=3), "evaluate": SimpleNamespace(min_recall=0.95)}
    p = SimpleNamespace(network=SimpleNamespace(real_share=0.75), **sections)
    cross_validation._train(corpus, np.array([False, True, True, False]), {}, 3, p, tmp_path / "model.tflite")
    assert seen["x"] == [0, 3, 4, 5] and seen["y"] == [1, 0, 1, 0] and seen["val"] == [9, 10]
    assert seen["chance"] == [0.75, 0.75, 0.25, 0.25] and seen["pool"] == {}
    assert seen["label"] == [-1, -1, 0, 1]  # none of the real ones, w and x of the simulated
    assert len(seen["rows"]) == 3 and set(seen["rows"]) <= {0, 3, 4, 5}
    assert (tmp_path / "model.tflite").read_bytes() == b"artifact"
    assert {"chunk_threshold", "calibration"} <= set(tables.read_json(tmp_path / "report.json"))


def test_the_operating_point_keeps_the_limit_on_every_origin(monkeypatch, tmp_path):
    """Simulated streams keep 0.5 an hour from logit 0 on, real ones from 1 on."""
    folders = {tmp_path / "a": "simulated", tmp_path / "b": "real"}
    for folder in folders:
        rows = [
            {**dict.fromkeys(tables.STREAM, 0), "path": f"{origin}.wav", "side": "val", "origin": origin,
             "kind": "quiet", "place": "", "scene": "", "recording_group": "g", "unique_s": 3600 * 100.0}
            for origin in ("simulated", "real")
        ]  # fmt: skip
        tables.write(folder / "streams.csv", tables.frame(rows, tables.STREAM))

    def score(table, folder, paths, points, p):
        assert list(paths) == ["int8"] and points == {}
        for row in table.to_dict("records"):
            false = {"simulated": [0, 0, 0], "real": [900, 5, 5]}[row["origin"]]
            keys = {key: row[key] for key in ("path", "origin", "kind")} | {"model": "int8"}
            keys |= {"shots": 0, "hits": 0}
            counts = [
                keys | {"logit": float(i), "false_incidents": n, "false_onsets": 9 * n} for i, n in enumerate(false)
            ]
            yield {"counts": counts, "shots": [], "false_onsets": [], "closest": []}

    monkeypatch.setattr(cross_validation, "score_streams", score)
    point = cross_validation.validate(tmp_path / "m.tflite", folders, P)
    assert point["logit"] == 1.0 and set(point["validation"]) == {"simulated", "real"}
    assert point["validation"]["real"]["false_incidents"] == 5 and point["validation"]["simulated"]["hours"] == 100.0
