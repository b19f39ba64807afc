"""The whole pipeline on a small corpus, as a person runs it: dvc, git and gunshot in a copy of the project."""

import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import yaml

from tests.stages import test_wiring
from tests.stages.project import Project, ran

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
FOLDERS = {"forest": "forest", "float": "network", "int8": "quantized"}  # of each model, below models
MODELS = set(FOLDERS)


def read(project: Project, path: str) -> dict:
    return json.loads((project.root / path).read_text())


def table(project: Project, path: str) -> pd.DataFrame:
    return pd.read_csv(project.root / path, dtype=str, keep_default_na=False)


def test_first_run_makes_everything_and_the_second_nothing(pipeline):
    assert sorted(ran(pipeline.log)) == sorted(test_wiring.STAGES)
    for stage in test_wiring.STAGES:
        for out in test_wiring.outs(stage):
            path = pipeline.root / out
            assert path.is_file() or any(path.iterdir()), out
    before = os.times()
    assert ran(pipeline.repro()) == []
    after = os.times()
    used_s = after.children_user + after.children_system - before.children_user - before.children_system
    assert used_s < 8  # of a processor: what else the machine does is no fault of the pipeline


def test_reports_say_what_they_must(pipeline):
    metrics = read(pipeline, "reports/metrics.json")
    assert set(metrics) == MODELS
    for figures in metrics.values():
        assert {"accuracy", "recall", "auc"} <= set(figures)
        assert all(0 <= figures[key] <= 1 for key in ("accuracy", "recall", "auc"))
    quantized = read(pipeline, "models/quantized/report.json")
    assert quantized["bytes"] == (pipeline.root / "models/quantized/model.tflite").stat().st_size
    assert quantized["arena_bytes"] > 0 and "CONV_2D" in quantized["operators"]
    assert {"accuracy_delta", "auc_delta", "flip_rate"} <= set(quantized)
    assert quantized["accuracy_delta"] == pytest.approx(metrics["int8"]["accuracy"] - metrics["float"]["accuracy"])
    assert quantized["auc_delta"] == pytest.approx(metrics["int8"]["auc"] - metrics["float"]["auc"])
    on_streams = read(pipeline, "reports/streams.json")
    for name, folder in FOLDERS.items():
        operating, figures = read(pipeline, f"models/{folder}/operating.json"), on_streams["simulated"][name]
        assert operating["proof"] == "unproven"  # of so few hours nothing is
        assert (
            operating["validation"]["simulated"]["false_incidents_per_hour"]
            <= operating["false_incidents_per_hour_limit"]
        )
        assert figures["hours"] == pytest.approx(0.025) and figures["shots"] > 0
        assert figures["false_incidents_per_hour"] == pytest.approx(figures["false_incidents"] / figures["hours"])
    assert set(on_streams["real"]) == MODELS and on_streams["real"]["int8"]["hours"] == 0
    assert "<html" in (pipeline.root / "reports/index.html").read_text()
    assert list((pipeline.root / "firmware/generated").iterdir())


def test_groups_stay_on_one_side_and_only_training_is_augmented(pipeline):
    sides = table(pipeline, "data/splits.csv").set_index("recording_group")["side"]
    assert sides.index.is_unique and set(sides) == {"train", "val", "test"}
    assert set(table(pipeline, "data/augmented/chunks.csv")["recording_group"].map(sides)) == {"train"}
    chunks = {}
    for side in ("train", "val", "test"):
        rows = table(pipeline, f"data/features/{side}.csv")
        assert set(rows["recording_group"].map(sides)) == {side}
        assert set(rows["class"]) == {"gun", "env"}
        assert np.load(pipeline.root / f"data/features/{side}.npy", mmap_mode="r").shape == (len(rows), 32, 71)
        assert rows["chunk"].str.contains("~").any() == (side == "train")
        chunks[side] = set(rows["chunk"])
    representative = table(pipeline, "models/quantized/representative.csv")["chunk"]
    assert len(representative) == 32 and set(representative) <= chunks["train"]
    assert set(table(pipeline, "reports/predictions.csv")["chunk"]) == chunks["test"]


def test_streams_of_each_side_are_apart_and_their_onsets_and_places_are_known(pipeline):
    groups = set()
    for side, kinds in (("train", {"quiet"}), ("val", {"quiet", "shots"}), ("test", {"quiet", "shots"})):
        folder = f"data/streams/{side}"
        streams, shots = table(pipeline, f"{folder}/streams.csv"), table(pipeline, f"{folder}/shots.csv")
        assert (
            set(streams["side"]) == {side} and set(streams["kind"]) == kinds and set(streams["duration_s"]) == {"30.0"}
        )
        assert set(shots["path"]) == set(streams["path"][streams["kind"] == "shots"])
        wavs = {path.relative_to(pipeline.root / folder).as_posix() for path in (pipeline.root / folder).rglob("*.wav")}
        assert wavs == set(streams["path"]) and not groups & set(streams["recording_group"])
        assert {sf.info(pipeline.root / folder / path).frames for path in wavs} == {30 * 16_000}
        groups |= set(streams["recording_group"])


@pytest.mark.long
def test_each_look_at_test_streams_is_noted_once(pipeline, narrow):
    for project, looks in ((pipeline, 1), (narrow, 2)):
        reads = table(project, "reports/test_reads.csv")
        assert (
            len(reads) == looks and len(set(reads["model_sha256"])) == looks and reads["streams_sha256"].nunique() == 1
        )
    model = (pipeline.root / "models/quantized/model.tflite").read_bytes()
    assert table(pipeline, "reports/test_reads.csv")["model_sha256"][0] == hashlib.sha256(model).hexdigest()


def test_stages_open_what_they_declare_and_nothing_else(pipeline):
    """dvc.yaml against what Python really opened: data, and the project's own code."""
    opened = defaultdict(set)
    for stage, mode, path in csv.reader((pipeline.root.parent / "trace.csv").open()):
        sought_in_vain = mode == "r" and not (pipeline.root / path).exists()
        marks_a_package = path.endswith("__init__.py") and test_wiring.bare(pipeline.root / path)
        if "__pycache__" not in path and not sought_in_vain and not marks_a_package:
            opened[stage].add((mode, path))
    assert set(opened) == set(test_wiring.STAGES)
    for stage, files in opened.items():
        outs = test_wiring.outs(stage)
        readable = test_wiring.deps(stage) + outs
        readable += ["params.yaml"] if test_wiring.STAGES[stage].get("params") else []
        for mode, path in files:
            part = PurePosixPath(path).suffix == ".part"
            beside = [str(PurePosixPath(out).parent) for out in outs] if part else []
            allowed = [*beside, *(outs if mode == "w" else readable)]
            assert any(test_wiring.holds(known, path) for known in allowed), f"{stage} opens {path} ({mode})"
        assert any(path.endswith(f"stages/{test_wiring.module(stage)}.py") for _, path in files)


@pytest.fixture(scope="module")
def narrow(pipeline, tmp_path_factory) -> Project:
    """The project after an experiment with half the filters."""
    project = pipeline.copy(tmp_path_factory.mktemp("narrow") / "project")
    project.log = project.run("dvc", "exp", "run", "-S", "network.width=0.5")
    return project


@pytest.mark.long
def test_experiment_reruns_what_a_param_changes(pipeline, narrow):
    again = ["train_network", "quantize", "reference", "operate", "score_streams", "evaluate", "export"]
    assert sorted(ran(narrow.log)) == sorted(again) and ran(narrow.log)[:2] == again[:2]
    small, large = (read(p, "models/quantized/report.json")["bytes"] for p in (narrow, pipeline))
    assert small < 0.8 * large
    assert (narrow.root / "models/quantized/model.tflite").stat().st_size == small
    assert str(small) in "".join(p.read_text() for p in (narrow.root / "firmware/generated").glob("*.[ch]"))
    assert read(narrow, "reports/metrics.json")["forest"] == read(pipeline, "reports/metrics.json")["forest"]


@pytest.mark.long
def test_experiment_shows_in_diffs(narrow):
    params = json.loads(narrow.run("dvc", "params", "diff", "--json"))
    assert params["params.yaml"] == {"network.width": {"old": 1.0, "new": 0.5, "diff": -0.5}}
    metrics = json.loads(narrow.run("dvc", "metrics", "diff", "--json"))
    size = metrics["models/quantized/report.json"]["bytes"]
    assert size["new"] == read(narrow, "models/quantized/report.json")["bytes"] and size["diff"] < 0
    assert not [key for key in metrics.get("reports/metrics.json", {}) if key.startswith("forest.")]
    assert len(narrow.run("dvc", "exp", "list", "--name-only").split()) == 1


def test_plots_and_dag(pipeline, tmp_path):
    shown = json.loads(pipeline.run("dvc", "plots", "show", "--json", "-o", str(tmp_path)))
    names = {next(iter(plot)) for plot in yaml.safe_load((pipeline.root / "dvc.yaml").read_text())["plots"]}
    assert names <= set(shown["data"])
    assert all(shown["data"][name] for name in names) and not shown.get("errors")
    pipeline.run("dvc", "plots", "show", "-o", str(tmp_path))
    page = (tmp_path / "index.html").read_text()
    assert "ROC" in page and "vega" in page
    dag = pipeline.run("dvc", "dag", "--dot")
    assert set(test_wiring.STAGES) <= set(re.findall(r'"(\w+)"', dag))


def test_a_clone_pulls_what_was_pushed_and_runs_nothing(pipeline, tmp_path):
    project = pipeline.copy(tmp_path / "project")
    project.run("dvc", "remote", "add", "-d", "local", str(tmp_path / "remote"))
    project.commit("remote")
    project.run("dvc", "push")
    subprocess.run(["git", "clone", "-q", str(project.root), str(tmp_path / "clone")], check=True)
    clone = Project(tmp_path / "clone", pipeline.shared)
    clone.run("dvc", "pull")
    assert "up to date" in clone.run("dvc", "status")
    assert ran(clone.repro()) == []
    assert clone.run("git", "status", "--porcelain") == ""
    for path in ("models/quantized/model.tflite", "models/network/network.keras", "data/features/test.npy"):
        assert (clone.root / path).read_bytes() == (pipeline.root / path).read_bytes()


def record(folder: Path, seed: int) -> None:
    """Six shots in noise and six recordings of noise, at 44.1 kHz."""
    rng = np.random.default_rng(seed)
    for class_, label in (("gun", "rifle"), ("env", "wind")):
        (folder / class_ / label).mkdir(parents=True)
        for i in range(6):
            y = 0.01 * rng.standard_normal(2 * 44100)
            if class_ == "gun":
                y[30000:] += 0.8 * rng.uniform(-1, 1, len(y) - 30000) * np.exp(-np.arange(len(y) - 30000) / 2000)
            sf.write(folder / class_ / label / f"{i}.wav", y, 44100)


@pytest.fixture(scope="module")
def imported(pipeline, tmp_path_factory) -> Project:
    """The project after a folder of recordings was imported and the data was made anew."""
    folder = tmp_path_factory.mktemp("imported")
    record(folder / "range", 5)
    project = pipeline.copy(folder / "project")
    project.run("gunshot", "import", "folder", str(folder / "range"))
    project.log = project.repro("featurize", "streams_train", "streams_val", "streams_test")
    project.commit("a corpus")
    return project


@pytest.mark.long
def test_imported_corpus_is_picked_up(pipeline, imported):
    assert (imported.root / "dvc.yaml").read_bytes() == (pipeline.root / "dvc.yaml").read_bytes()
    assert "simulate" not in ran(imported.log)
    assert {"validate_raw", "tag", "chunk", "split", "augment", "featurize"} <= set(ran(imported.log))
    recordings = table(imported, "data/tagged/recordings.csv")
    new = recordings[recordings["source"] != "simulated"]
    assert len(new) == 12 and set(new["path"].str.split("/").str[0]) == {"range"}
    assert set(new[new["class"] == "gun"]["tagged"]) == {"automatic"}
    wav = sf.info(imported.root / "data/raw" / new["path"].iloc[0])
    assert (wav.samplerate, wav.channels, wav.subtype, set(new["sr_found"])) == (16000, 1, "PCM_16", {"44100"})
    features = pd.concat(table(imported, f"data/features/{side}.csv") for side in ("train", "val", "test"))
    assert set(new["path"]) <= set(features["recording"])
    sides = table(imported, "data/splits.csv").set_index("recording_group")["side"]
    for side in ("train", "val", "test"):
        laid = table(imported, f"data/streams/{side}/events.csv")
        laid = laid[laid["recording"] != ""]
        env = new[(new["class"] == "env") & (new["recording_group"].map(sides) == side)]
        assert set(laid["recording"]) == set(env["path"])
    assert ran(imported.repro("featurize")) == []


@pytest.mark.long
def test_groups_keep_their_side(pipeline, imported):
    before, after = (table(p, "data/splits.csv").set_index("recording_group") for p in (pipeline, imported))
    assert len(after) > len(before)
    pd.testing.assert_frame_equal(after.loc[before.index], before)


@pytest.mark.long
def test_recording_damaged_after_import_is_named(imported, tmp_path):
    project = imported.copy(tmp_path / "project")
    path = project.root / "data/raw/range/gun/rifle/3.wav"
    damaged = bytearray(path.read_bytes())
    damaged[20000] ^= 0x40
    path.unlink()
    path.write_bytes(damaged)
    printed = project.repro("tag", fails=True)
    assert "range/gun/rifle/3.wav" in printed and "must hold the samples that were imported" in printed
    assert "failed to reproduce 'validate_raw'" in printed and "tag" not in ran(printed)


@pytest.mark.sweep(1)
@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("quality", "silense_db", -80.0, "quality.silense_db=-80.0 is not a known key"),
        ("tags", "min_rise_db", "nine", "tags.min_rise_db='nine'"),
        ("tags", "min_interval_ms", -1.0, "tags.min_interval_ms=-1.0"),
    ],
)
def test_bad_param_is_named(pipeline, tmp_path, section, key, value, message):
    project = pipeline.copy(tmp_path / "project")
    project.params({section: {key: value}})
    printed = project.repro("tag", fails=True)
    assert message in printed
    assert len(ran(printed)) == 1


@pytest.mark.sweep(1)
@pytest.mark.parametrize(("guns", "message"), [(0, "must have recordings"), (2, "must have enough recording groups")])
def test_too_few_recordings_of_a_class_stop_the_pipeline(fresh, tmp_path, guns, message):
    project = fresh(tmp_path / "project")
    project.params({"simulate": {"gun_recordings": guns, "env_recordings": 6}})
    printed = project.repro(fails=True)
    assert ran(printed) == ["simulate", "validate_raw"]
    assert message in printed


def test_groups_too_few_to_split_are_an_error(pipeline, tmp_path):
    project = pipeline.copy(tmp_path / "project")
    path = project.root / "data/chunks/chunks.csv"
    chunks = table(pipeline, "data/chunks/chunks.csv")
    guns = sorted(set(chunks["recording_group"][chunks["class"] == "gun"]))
    chunks[~chunks["recording_group"].isin(guns[2:])].to_csv(path, index=False)
    (project.root / "data/splits.csv").unlink()
    printed = project.run("stages/run", "split", "data/chunks", "data/grouped", "data/splits.csv", fails=True)
    assert re.search(r"class 'gun' has 2 recording group\(s\), none in \['(val|test)'\]", printed)
    assert not (project.root / "data/splits.csv").exists()


def test_bad_tags_are_listed(pipeline, tmp_path):
    project = pipeline.copy(tmp_path / "project")
    rows = table(pipeline, "data/tagged/recordings.csv")
    guns, env = (rows["path"][rows["class"] == class_].tolist() for class_ in ("gun", "env"))
    before = dict(line.split(",", 1) for line in (pipeline.root / "data/tagged/tags.csv").read_text().split())
    rises = before[guns[2]].split(",")[0]  # an automatic tag must
    lines = [f"{guns[0]},4000,9999999", f"{guns[1]},soon", f"{env[0]},100", "simulated/nowhere.wav,1"]
    lines += ["elsewhere/a.wav,1", f"{guns[2]},{rises}@0.9"]
    (project.root / "data/tags/mine.csv").write_text("\n".join(lines) + "\n")
    printed = project.repro("tag")
    assert ran(printed) == ["tag"] and "1 lines of data/tags wait for elsewhere" in printed
    tagged = table(project, "data/tagged/recordings.csv").set_index("path")["tagged"]
    assert (tagged[guns[0]], tagged[guns[2]]) == ("given", "automatic")
    rejected = table(project, "data/tagged/rejected.csv")
    assert sorted(rejected["file"]) == sorted([guns[0], "data/tags/mine.csv:2", *["data/tags/mine.csv"] * 2])
    assert set(rejected["value"]) == {"tag 9999999", "start 'soon'", env[0], "simulated/nowhere.wav"}
    assert rejected["rule"].str.len().min() > 10
    tags = dict(line.split(",", 1) for line in (project.root / "data/tagged/tags.csv").read_text().split())
    assert tags == before | {guns[0]: "4000", guns[2]: f"{rises}@0.90"}


def test_too_many_bad_tags_stop_the_pipeline(pipeline, tmp_path):
    project = pipeline.copy(tmp_path / "project")
    (project.root / "data/tags/mine.csv").write_text("".join(f"simulated/gone/{i}.wav,1\n" for i in range(40)))
    printed = project.repro("tag", fails=True)
    assert re.search(r"40 of \d+ rejected, more than quality.max_rejected=0.1 allows", printed)
    assert "data/tagged/rejected.csv" in printed and "simulated/gone/0.wav" in printed
    assert len(table(project, "data/tagged/rejected.csv")) == 40


@pytest.mark.long
def test_kept_group_that_is_gone_keeps_its_row(imported, tmp_path):
    """A corpus taken away leaves its sides, so that it comes back to the same ones."""
    project = imported.copy(tmp_path / "project")
    (project.root / "data/raw/range.dvc").unlink()
    shutil.rmtree(project.root / "data/raw/range")
    project.repro("split")
    pd.testing.assert_frame_equal(table(project, "data/splits.csv"), table(imported, "data/splits.csv"))
    assert "range" not in set(table(project, "data/chunks/chunks.csv")["source"])
