"""What the verifier learns from: each file's incidents, by class, of the side that is asked for."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gunshot import features
from gunshot.base import audio, params, tables
from gunshot.models.model import Model
from gunshot.studies import examples, verifier
from tests.cli.test_operating_point import bangs

P = params.load("audio", "chunks", "context", "features", "detector", "verifier")
REPORT = {"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}}
LOUD = Model(Path("loud"), REPORT, lambda x: x.max(axis=(1, 2)) / 10 + 4, window=(32, P.context.frames))
COMMON = {"label": "bang", "recording_group": "g", "source": "simulated"}
SHAPE = (P.features.n_mels, P.verifier.frames)


def chunk(**known) -> dict:
    numbers = {"index": 0, "start": 0, "onset": -1}
    return dict.fromkeys(tables.CHUNK, "x") | numbers | {"class": "env", "source": "simulated"} | known


@pytest.fixture
def bang(tmp_path, monkeypatch) -> Path:
    """Four seconds with bangs at 1 and 3 s; the detector takes what is loud for a shot."""
    monkeypatch.setattr(examples, "load_once", lambda path: LOUD)
    audio.write_pcm(tmp_path / "a.wav", audio.to_int16(bangs(np.random.default_rng(1), 16000, 48000)), sr=16000)
    return tmp_path / "a.wav"


def heard(file: Path, shots: list[int], *, kind: str = "gun", cut: bool = False) -> np.ndarray:
    source = {"file": str(file), "class": kind, "cut": cut, "shots": np.array(shots, int), **COMMON}
    beds = [np.full((32, 1000), -90.0, np.float32)]
    return examples.of_source(source, Path("loud"), 2.0, beds, P)


def test_of_a_file_with_shots_only_what_is_one_is_heard_of_others_every_incident(bang):
    assert heard(bang, [16000, 48000]).shape == (2, *SHAPE)
    (one,) = heard(bang, [48000])
    assert abs(int(one.mean(axis=0).argmax()) - P.verifier.before) <= P.verifier.jitter + 3
    assert heard(bang, []).shape == (0, *SHAPE)
    assert heard(bang, [], kind="env").shape == (2, *SHAPE)
    np.testing.assert_array_equal(heard(bang, [], kind="env"), heard(bang, [], kind="env"))


def test_of_a_stream_each_incident_is_heard_as_it_is_and_cut(bang):
    whole, cut, *others = heard(bang, [], kind="env", cut=True)
    assert len(others) == 2
    log_mel = features.log_mel(audio.read_pcm(bang, sr=16000), sr=16000, **P.features.model_dump())
    at = int(log_mel.mean(axis=0).argmax())
    shift = int(whole.mean(axis=0).argmax()) - at  # of the window along the stream, its own sound all through
    lead = max(0, shift)
    np.testing.assert_array_equal(whole[:, lead:], log_mel[:, lead - shift : lead - shift + P.verifier.frames - lead])
    assert not np.array_equal(whole, cut)


def test_files_are_listed_once_with_all_their_shots():
    table = pd.DataFrame([
        chunk(file="b.wav", start=100, onset=50, **{"class": "gun"}), chunk(file="b.wav", start=50, onset=100),
        chunk(file="b.wav", start=900, onset=50), chunk(file="a.wav", start=7),
    ])  # fmt: skip
    one, two = examples.sources(table)
    assert (one["file"], one["class"], one["shots"].tolist()) == ("a.wav", "env", [])
    assert (two["file"], two["class"], two["shots"].tolist()) == ("b.wav", "gun", [150, 950])


def test_a_side_has_its_own_groups_and_streams_alone(tmp_path):
    for name, files in {"chunks": ["own"], "augmented": ["copy"]}.items():
        rows = [chunk(recording=f"{f}{side}.wav", path=f"{f}{side}.wav", recording_group=side)
                for f in files for side in ("train", "val", "test")]  # fmt: skip
        tables.write(tmp_path / name / "chunks.csv", tables.frame(rows, tables.CHUNK))
    sides = [{"recording_group": side, "side": side, "class": "env", "source": "s"} for side in tables.SIDES]
    tables.write(tmp_path / "splits.csv", tables.frame(sides, tables.SPLIT))
    for side in ("train", "val"):
        for kind in ("quiet", "shots"):
            audio.write_pcm(tmp_path / side / "simulated" / kind / "0.wav", np.zeros(9, np.int16), sr=16000)
    folders = {name: tmp_path / name for name in ("raw", "chunks", "augmented")}
    streams = {side: tmp_path / side for side in ("train", "val")}
    data = verifier.Data(**folders, splits=tmp_path / "splits.csv", streams=streams, network=Path(), detector=Path())
    names = [Path(row["file"]).relative_to(tmp_path).as_posix() for row in verifier.listed(data, "val")]
    assert names == ["raw/ownval.wav", "augmented/copyval.wav", "val/simulated/quiet/0.wav"]


@pytest.mark.parametrize("below", [0.0, 0.1, 0.3, 1.0, 4.0])
def test_thresholds_go_down_in_steps_from_below_to_the_operating_point_itself(tmp_path, monkeypatch, below):
    asked = []

    def on_streams(folder, detector, own, logits, p):
        asked.extend(logits)
        rows = [
            {"path": "a", "kind": "shots", "logit": each, "opinion": 1.0, "hits": 1, "false": False} for each in logits
        ]
        return pd.DataFrame(rows), {"hours": 1.0, "shots": 2}

    tables.write_json(tmp_path / "operating.json", {"logit": 2.2})
    monkeypatch.setattr(verifier.opinions, "on_streams", on_streams)
    monkeypatch.setattr(verifier, "load_model", lambda path: LOUD)
    p = params.load("verifier")
    p.verifier = p.verifier.model_copy(update={"below": below})
    data = verifier.Data(*[tmp_path] * 4, streams={"val": tmp_path}, network=tmp_path, detector=tmp_path / "d.tflite")
    content = verifier.thresholds(data, tmp_path / "v.tflite", p)
    assert (content["logit"], content["validation"]["recall_lost"]) == (1.0, 0.0)
    assert asked[-1] == 2.2 and asked[0] == 2.2 - below and asked == sorted(asked)
    assert max(np.diff(asked), default=0) <= verifier.STEP + 1e-9


@pytest.fixture
def thin(tmp_path, monkeypatch) -> verifier.Data:
    """Sides with streams, and validation ones with clear shots, of whose files nothing is let through by itself."""
    monkeypatch.setattr(verifier.opinions, "totals", lambda folder: {"hours": 1.0, "shots": 3})
    for side in ("train", "val"):
        audio.write_pcm(tmp_path / side / "simulated/quiet/0.wav", np.ones(5 * 16000, np.int16), sr=16000)
    tables.write_json(tmp_path / "operating.json", {"logit": 2.0})
    monkeypatch.setattr(verifier, "listed", lambda data, side: [{"class": kind, **COMMON} for kind in ("gun", "env")])
    streams = {side: tmp_path / side for side in ("train", "val")}
    return verifier.Data(*[tmp_path] * 4, streams=streams, network=Path(), detector=tmp_path / "d.tflite")


@pytest.mark.parametrize(("let", "counts"), [((), "0 and other sounds=0"), (("gun",), "1 and other sounds=0"),
                                             (("env",), "0 and other sounds=1")])  # fmt: skip
def test_a_side_without_examples_of_both_classes_is_named_with_its_counts(thin, monkeypatch, let, counts):
    def in_order(function, files, *shared, **options):
        return [np.zeros((int(file["class"] in let), *SHAPE), np.float32) for file in files]

    monkeypatch.setattr(examples.processes, "in_order", in_order)
    monkeypatch.setattr(examples, "import_libraries", lambda paths: None)
    with pytest.raises(
        ValueError, match=f"side train: shots={counts} that the detector lets through of 2 files must be 1"
    ):
        verifier.heard(thin, P)
    monkeypatch.setattr(verifier, "listed", lambda data, side: [])
    with pytest.raises(ValueError, match="shots=0 and other sounds=0 that the detector lets through of 0 files must"):
        verifier.heard(thin, P)


def test_a_side_without_streams_or_with_short_ones_is_refused_before_anything_is_heard(thin):
    (file,) = thin.streams["val"].rglob("*.wav")
    audio.write_pcm(file, np.ones(16000, np.int16), sr=16000)
    with pytest.raises(
        ValueError, match=r"quiet/0\.wav: \d+ frames must be verifier\.frames=335 or more, 2\.4 s; make str"
    ):
        verifier.heard(thin, P)
    file.unlink()
    with pytest.raises(ValueError, match="val: streams without shots=0 must be 1 at least; make them with `dvc repro`"):
        verifier.heard(thin, P)


def test_validation_streams_without_a_clear_shot_are_refused_before_anything_is_heard(thin, monkeypatch):
    monkeypatch.undo()
    tables.write(thin.streams["val"] / "streams.csv", tables.frame([], tables.STREAM))
    tables.write(thin.streams["val"] / "shots.csv", tables.frame([], tables.STREAM_SHOT))
    with pytest.raises(ValueError, match="val: clear shots=0 must be 1 at least, for a threshold"):
        verifier.heard(thin, P)


NAMES = ("verifier.tflite", "report.json", "history.csv", "operating.json")


@pytest.fixture
def old(thin, monkeypatch) -> Path:
    """A verifier that lies there when `make` makes another."""

    def trained(data, sets, out, p):
        for name in NAMES[:3]:
            out.with_name(name).write_text("new")
        return {"auc": 1.0}

    thin.detector.write_bytes(b"detector")
    monkeypatch.setattr(verifier, "heard", lambda data, p: {})
    monkeypatch.setattr(verifier, "_trained", trained)
    monkeypatch.setattr(verifier, "thresholds", lambda data, out, p: {"logit": float(out.read_text() == "new")})
    folder = thin.raw / "models/verifier"
    folder.mkdir(parents=True)
    for name in (*NAMES, ".gitignore"):
        folder.joinpath(name).write_text("old")
    return folder / NAMES[0]


def test_a_new_verifier_takes_the_place_of_the_old_one_whole(old, thin):
    assert verifier.make(thin, old, P) == {"auc": 1.0, "detector_sha256": verifier.opinion.sha256(thin.detector)}
    assert tables.read_json(old.with_name("operating.json")) == {"logit": 1.0}
    assert "old" not in {old.with_name(name).read_text() for name in NAMES}
    assert sorted(path.name for path in old.parent.iterdir()) == sorted((*NAMES, ".gitignore"))


def test_an_error_after_the_training_leaves_the_old_verifier(old, thin, monkeypatch):
    monkeypatch.setattr(verifier, "thresholds", lambda data, out, p: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        verifier.make(thin, old, P)
    assert {path.read_text() for path in old.parent.iterdir()} == {"old"}
    assert len(list(old.parent.iterdir())) == len(NAMES) + 1


@pytest.mark.parametrize("moves", range(len(NAMES)))
def test_a_kill_while_files_are_moved_leaves_no_verifier_that_is_loaded(old, thin, monkeypatch, moves):
    left, replace = [None] * moves, os.replace

    def killed(source, place):
        if Path(place).parent == old.parent:
            if not left:
                raise KeyboardInterrupt
            left.pop()
        replace(source, place)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        verifier.make(thin, old, P)
    assert not old.with_name("operating.json").exists()
