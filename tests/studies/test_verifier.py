"""What the verifier learns from: each file's incidents, by class, of the side that is asked for."""

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
