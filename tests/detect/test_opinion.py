"""The second opinion: of each incident's highest shot, the same in blocks as of the whole recording."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from gunshot import features
from gunshot.base import audio, params, tables
from gunshot.detect import opinion, recording
from gunshot.models import model
from gunshot.models.model import Model

P = params.load("audio", "chunks", "context", "features", "detector", "verifier")
REPORT = {"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}}
WINDOW = (P.features.n_mels, P.verifier.frames)


def weigh(x: np.ndarray) -> np.ndarray:
    """A verifier whose opinion depends on each frame of each band."""
    return (x * np.linspace(0.5, 1, x[0].size).reshape(x[0].shape)).mean(axis=(1, 2)) / 20 + 2


VERIFIER = Model(Path("verifier"), REPORT, weigh, window=WINDOW)


@pytest.fixture(scope="module")
def long(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("long") / "long.wav"
    rng = np.random.default_rng(0)
    sf.write(file, rng.normal(0, 0.01, 40 * 16000) * (1 + 20 * (rng.random(40).repeat(16000) > 0.8)), 16000)
    return file


def test_opinions_of_a_file_in_blocks_are_those_of_the_whole(long, monkeypatch):
    pcm = audio.read_pcm(long, sr=16000)
    whole = features.log_mel(pcm, sr=16000, **P.features.model_dump())
    onset_s = np.array([0.0, 0.1, 3.0, 3.01, 17.3, 38.9, 39.99, 40.0])
    expected = opinion.of_frames(VERIFIER, whole, opinion.frames(onset_s, P), P)
    blocks = [pcm[i : i + 9000].astype(np.float32) / 32768 for i in range(0, len(pcm), 9000)]
    monkeypatch.setattr(audio, "blocks", lambda *args, **kwargs: iter(blocks))
    np.testing.assert_allclose(opinion.of_file(VERIFIER, long, onset_s, P), expected, atol=1e-5)
    assert len(set(expected.round(4))) > 5
    assert opinion.of_file(VERIFIER, long, np.zeros(0), P).shape == (0,)


def test_each_shot_has_the_opinion_of_its_incident_s_highest_shot(long):
    empty = np.zeros(0, np.float32)
    onset_s, incident, score = np.array([2.0, 2.2, 9.0, 9.4, 9.1]), np.array([1, 1, 2, 2, 3]), [0.6, 0.9, 0.8, 0.7, 0.7]
    part = recording.Part(empty, onset_s, np.array(score), empty, empty, empty, incident)
    said = opinion.of_shots(VERIFIER, long, part, P)
    alone = opinion.of_file(VERIFIER, long, np.array([2.2, 9.0, 9.1]), P).astype(np.float32)
    np.testing.assert_array_equal(said, alone[[0, 0, 1, 1, 2]])
    none = recording.Part(empty, empty, empty, empty, empty, empty, np.zeros(0, int))
    assert opinion.of_shots(VERIFIER, long, none, P).shape == (0,)


def test_a_verifier_of_another_window_is_named():
    other = Model(Path("old.tflite"), REPORT, weigh, window=(32, 200))
    with pytest.raises(ValueError, match=r"old\.tflite: windows of 200 frames must have verifier\.frames=335"):
        opinion.of_frames(other, np.zeros((32, 400)), np.array([0]), P)
    other = Model(Path("old.tflite"), REPORT, weigh, window=(40, 335))
    with pytest.raises(ValueError, match=r"old\.tflite: windows of 40 bands must have features\.n_mels=32"):
        opinion.of_frames(other, np.zeros((40, 400)), np.array([0]), P)


def test_a_recording_shorter_than_a_frame_has_an_opinion(tmp_path):
    sf.write(tmp_path / "short.wav", np.full(100, 0.1), 16000)
    assert np.isfinite(opinion.of_file(VERIFIER, tmp_path / "short.wav", np.array([0.0]), P)).all()


@pytest.fixture
def pair(tmp_path, monkeypatch) -> tuple[Path, Path]:
    """A verifier's files, which load as VERIFIER's do, and its detector's."""
    path, detector = tmp_path / "verifier/verifier.tflite", tmp_path / "model.tflite"
    detector.write_bytes(b"detector")
    tables.write_json(path.with_name("report.json"), REPORT | {"detector_sha256": opinion.sha256(detector)})
    tables.write_json(path.with_name("operating.json"), {"logit": 0.5})
    path.write_bytes(b"whole")
    read = model.load_model

    def load_model(file: Path) -> Model:
        whole = path.exists() and path.read_bytes() == b"whole"
        return Model(file, model.read_report(file), weigh, window=WINDOW) if whole else read(file)

    monkeypatch.setattr(opinion, "load_model", load_model)
    return path, detector


def test_a_verifier_is_loaded_with_its_detector(pair):
    assert opinion.load(*pair, P).path == pair[0]
    pair[1].write_bytes(b"another")
    assert opinion.load(pair[0], None, P).path == pair[0]  # behind any, as a hub's


@pytest.mark.parametrize("missing", ["verifier.tflite", "report.json", "operating.json"])
def test_a_verifier_of_which_a_file_is_missing_is_made_by_its_command(pair, missing):
    pair[0].with_name(missing).unlink()
    with pytest.raises(
        FileNotFoundError, match=rf"{missing}: no such (file|model); make it with `gunshot train-v"
    ) as e:
        opinion.load(pair[0], None, P)
    assert "dvc" not in str(e.value)


@pytest.mark.parametrize(("damaged", "content"), [("verifier.tflite", b"cut"), ("report.json", b"{"),
                                                  ("operating.json", b'{"logit": null}')])  # fmt: skip
def test_a_damaged_verifier_is_named_with_its_remedy(pair, damaged, content):
    pair[0].with_name(damaged).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{damaged}: .*; make it with `gunshot train-verifier`$") as e:
        opinion.load(*pair, P)
    assert "dvc" not in str(e.value)


def test_a_verifier_of_another_detector_or_of_none_is_refused(pair):
    pair[1].write_bytes(b"another")
    with pytest.raises(
        ValueError, match=r"made behind another detector than .*model\.tflite; run `gunshot train-verif"
    ):
        opinion.load(*pair, P)
    tables.write_json(pair[0].with_name("report.json"), REPORT)
    with pytest.raises(ValueError, match="made behind another detector"):
        opinion.load(*pair, P)
