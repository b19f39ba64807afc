"""gunshot detect --verify: each shot has its incident's opinion, as text, as JSON and in the plot's title."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from gunshot.base import params, pipeline
from gunshot.models import model
from gunshot.report import plots
from tests.cli.test_commands import forest, main, project, run  # noqa: F401 - fixtures
from tests.cli.test_operating_point import bangs

REPORT = {"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}}


@pytest.fixture
def verifier(forest, monkeypatch):  # noqa: F811
    """One that asks for two bangs within its 2.4 s, of which most lie behind the first."""
    frames = params.load("verifier").verifier.frames
    path, real = pipeline.verifier(), model.load_model

    def load_model(named: Path) -> model.Model:
        def logit(x: np.ndarray) -> np.ndarray:
            level = x.mean(axis=1)  # how often it rises by 20 dB in a frame
            return 4.0 * (np.diff(level, axis=1) > 20).sum(axis=1) - 6

        return model.Model(path, REPORT, logit, window=(32, frames)) if named == path else real(named)

    monkeypatch.setattr(model, "load_model", load_model)
    path.parent.mkdir(parents=True)
    path.with_name("operating.json").write_text('{"logit": 0.0}')
    rng = np.random.default_rng(1)
    sf.write("three.wav", np.concatenate([bangs(rng, 16000), bangs(rng, 16000, 40000)]), 16000)


def test_as_text_and_as_json(verifier):
    done = run("detect", "three.wav", "quiet.wav", "--model", "forest.joblib", "--verify")
    assert done.exit_code == 0, done.output
    *shots, none = done.stdout.splitlines()
    assert [line.split()[-1] for line in shots] == ["doubted", "upheld", "doubted"] and "no shot" in none
    done = run("detect", "three.wav", "--model", "forest.joblib", "--verify", "--format", "json")
    rows = list(map(json.loads, done.stdout.splitlines()))
    assert [row["upheld"] for row in rows] == [False, True, False]
    assert rows[0]["opinion"] == pytest.approx(1 / (1 + np.exp(2)), abs=1e-4)
    alone = run("detect", "three.wav", "--model", "forest.joblib", "--format", "json").stdout
    assert [{k: v for k, v in row.items() if k not in ("opinion", "upheld")} for row in rows] == list(
        map(json.loads, alone.splitlines())
    )


def test_the_plot_has_each_incident_s_opinion(verifier, monkeypatch):
    titles, detection = [], plots.detection
    monkeypatch.setattr(plots, "detection", lambda *args, **kw: titles.append(args[1]) or detection(*args, **kw))
    done = run("detect", "three.wav", "--model", "forest.joblib", "--verify", "--plot", "p.png")
    assert done.exit_code == 0 and Path("p.png").stat().st_size > 10_000, done.output
    (title,) = titles
    assert title.startswith("three.wav\nthe verifier's opinion: 0.12 at 1.0 s, ")


def test_scores_of_windows_have_no_opinion(project, monkeypatch, capsys):  # noqa: F811
    message = main(monkeypatch, capsys, "detect", "a.wav", "--verify", "--scores")
    assert message.startswith("error: --verify has opinions of incidents, --scores prints windows")


def test_without_a_verifier_it_says_how_to_get_one(project, monkeypatch, capsys):  # noqa: F811
    message = main(monkeypatch, capsys, "detect", "a.wav", "--verify")
    assert message.startswith("error: models/verifier/verifier.tflite: no such model; make it with `dvc repro`")
