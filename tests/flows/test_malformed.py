"""The flow monitor with the real `gunshot drift`, over a field in which some recordings are malformed."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.signal
import soundfile as sf

from gunshot.base import audio, params, tables
from gunshot.dataset import chunks
from gunshot.field import drift
from gunshot.models.model import Model
from gunshot.promotion import registry
from gunshot.signing import record
from tests.flows.registry_project import Project
from tests.flows.retraining_project import ROOT

pytest_plugins = ("tests.flows.registry_project", "tests.flows.retraining_project")
P = params.load("audio", "chunks", "context", "features", path=ROOT / "params.yaml")
MODEL = Model(  # scores how far the loudest frame stands out
    Path("stand-in"),
    {"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}},
    logit=lambda x: (x.mean(axis=1).max(axis=1) - np.median(x.mean(axis=1), axis=1)) / 6 - 3,
    window=(P.features.n_mels, P.context.frames),
)
MODEL.__dict__["operating_point"] = 0.5  # in place of an operating.json
GUNSHOT = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from gunshot import cli
from gunshot.field import drift
from tests.flows.test_malformed import MODEL
drift.load_once = lambda path: MODEL
cli.main()
"""


def noise(rng: np.random.Generator) -> np.ndarray:
    return scipy.signal.lfilter([1], [1, -0.9], rng.standard_normal(20000)) * rng.uniform(0.001, 0.02)


def reference(rng: np.random.Generator):
    """The table of the champion's training: eighty recordings of noise."""
    cut = {"hop": P.chunks.env_hop, "chunk_length": P.audio.chunk_length}
    parts = []
    for pcm in (audio.to_int16(noise(rng)) for _ in range(80)):
        starts = chunks.at_hop(len(pcm), **cut)
        parts.append(drift.describe(pcm, starts, MODEL, P))
    return drift.frame(np.repeat([f"r{i}" for i in range(80)], [len(part) for part in parts]), np.concatenate(parts))


@pytest.fixture
def field(flows, copy, tmp_path, monkeypatch) -> tuple[Project, Path]:
    """A project whose champion's reference is known, and its folder of what one device sends: forty recordings."""
    for name in ("params.yaml", "dvc.yaml"):
        (copy.root / name).write_bytes((ROOT / name).read_bytes())
    rng = np.random.default_rng(7)
    tables.write(copy.root / "models/promoted/v1.0.0/reference.csv", reference(rng))
    device = copy.root / "data/field/mast1"
    device.mkdir(parents=True)
    for i in range(40):
        sf.write(device / f"{i:02d}.flac", noise(rng), P.audio.sr)
    (tmp_path / "gunshot").write_text(GUNSHOT)
    (tmp_path / "gunshot").chmod(0o755)
    monitor = importlib.import_module("flows.monitor")
    monkeypatch.setattr(monitor, "sys", SimpleNamespace(executable=tmp_path / "python"))
    monkeypatch.setattr(monitor, "retrain", lambda **given: pytest.fail(f"a retraining was started: {given}"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(copy.root)
    return copy, device


@pytest.mark.slow
def test_malformed_recordings_are_told_by_name_and_the_rest_is_judged(field, caplog):
    project, device = field
    before = project.state()
    (device / "broken.wav").write_bytes(b"RIFF nothing")
    (device / "empty.wav").touch()
    sf.write(device / "nan.wav", np.full(P.audio.sr, np.nan), P.audio.sr, subtype="FLOAT")
    verdict = importlib.import_module("flows.monitor").monitor()
    assert (verdict["drift"], verdict["model"], verdict["recordings"], verdict["rejected"]) == (False, "v1.0.0", 40, 3)
    for name in ("broken.wav", "empty.wav", "nan.wav"):
        assert any(message.startswith(f"rejected: mast1/{name}: ") for message in caplog.messages)
    assert len(list(device.iterdir())) == 43
    assert project.state() == before and list(record.faults(project.root)) == []


@pytest.mark.slow
def test_where_no_recording_can_be_read_the_run_fails_and_starts_nothing(field):
    project, device = field
    before = project.state()
    for path in device.iterdir():
        path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(RuntimeError, match=r"no recording can be measured; 40 are listed in .*rejected\.csv"):
        importlib.import_module("flows.monitor").monitor()
    assert project.state() == before
    assert registry.champion(record.read(project.root))["version"] == "v1.0.0"
