"""gunshot detect --verify: each shot has its incident's opinion, as text, as JSON and in the plot's title."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from gunshot.base import params, pipeline
from gunshot.detect import opinion
from gunshot.models import model
from gunshot.report import plots
from tests.cli.test_commands import forest, main, project, run  # noqa: F401 - fixtures
from tests.cli.test_operating_point import bangs

REPORT = {"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}}


@pytest.fixture
def verifier(forest, monkeypatch):  # noqa: F811
    """One that asks for two bangs within its 2.4 s, most of which lie behind the first; the detector is a forest."""
    frames = params.load("verifier").verifier.frames
    path, real, detector = pipeline.verifier(), model.load_model, pipeline.models()["int8"].with_name("forest.joblib")
    Path("dvc.yaml").write_text(
        Path("dvc.yaml").read_text().replace("path: models/quantized/model.tflite", f"path: {detector}")
    )
    detector.parent.mkdir(parents=True)
    for name in ("forest.joblib", "report.json", "operating.json"):
        Path(name).rename(detector.with_name(name))

    def load_model(named: Path) -> model.Model:
        def logit(x: np.ndarray) -> np.ndarray:
            level = x.mean(axis=1)  # how often it rises by 20 dB in a frame
            return 2.0 * (np.diff(level, axis=1) > 20).sum(axis=1) - 4

        stated = REPORT | {"detector_sha256": opinion.sha256(detector)}
        return model.Model(path, stated, logit, window=(32, frames)) if named == path else real(named)

    monkeypatch.setattr(opinion, "load_model", load_model)
    path.parent.mkdir(parents=True)
    path.with_name("operating.json").write_text('{"logit": 0.0}')
    rng = np.random.default_rng(1)
    sf.write("three.wav", np.concatenate([bangs(rng, 16000), bangs(rng, 16000, 40000)]), 16000)


def test_as_text_and_as_json(verifier):
    done = run("detect", "three.wav", "quiet.wav", "--verify")
    assert done.exit_code == 0, done.output
    *shots, none = done.stdout.splitlines()
    assert [line.split()[-1] for line in shots] == ["doubted", "upheld", "doubted"] and "no shot" in none
    done = run("detect", "three.wav", "--verify", "--format", "json")
    rows = list(map(json.loads, done.stdout.splitlines()))
    assert [row["upheld"] for row in rows] == [False, True, False]
    assert rows[0]["opinion"] == pytest.approx(1 / (1 + np.exp(2)), abs=1e-4)
    alone = run("detect", "three.wav", "--format", "json").stdout
    assert [{k: v for k, v in row.items() if k not in ("opinion", "upheld")} for row in rows] == list(
        map(json.loads, alone.splitlines())
    )


@pytest.mark.slow
def test_the_plot_has_each_incident_s_opinion(verifier, monkeypatch):
    titles, detection = [], plots.detection
    monkeypatch.setattr(plots, "detection", lambda *args, **kw: titles.append(args[1]) or detection(*args, **kw))
    done = run("detect", "three.wav", "--verify", "--plot", "p.png")
    assert done.exit_code == 0 and Path("p.png").stat().st_size > 10_000, done.output
    (title,) = titles
    assert title.startswith("three.wav\nthe verifier's opinion: 0.12 at 1.0 s, ")


def test_scores_of_windows_have_no_opinion(project, monkeypatch, capsys):  # noqa: F811
    message = main(monkeypatch, capsys, "detect", "a.wav", "--verify", "--scores")
    assert message.startswith("error: --verify has opinions of incidents, --scores prints windows")


def test_without_a_verifier_it_says_how_to_get_one(project, monkeypatch, capsys):  # noqa: F811
    message = main(monkeypatch, capsys, "detect", "a.wav", "--verify")
    assert message.startswith(
        "error: models/verifier/verifier.tflite: no such model; make it with `gunshot train-verifier`"
    )


@pytest.mark.slow
@pytest.mark.parametrize("point", [2.0, float(np.nextafter(2.0, 3.0)), -2.0])
def test_an_incident_at_the_threshold_itself_is_upheld_as_the_cascade_does(verifier, point):
    """The score of a logit of 2 is lower in float32 than in float64, which is why logits are compared."""
    opinions = [-2.0, 2.0, -2.0]  # of three.wav
    pipeline.verifier().with_name("operating.json").write_text(json.dumps({"logit": point}))
    done = run("detect", "three.wav", "--verify", "--format", "json")
    assert done.exit_code == 0, done.output
    rows = list(map(json.loads, done.stdout.splitlines()))
    assert [row["upheld"] for row in rows] == [value >= point for value in opinions]


@pytest.mark.parametrize("name", ["float", "forest"])
def test_only_the_int8_detector_has_a_verifier(project, monkeypatch, capsys, name):  # noqa: F811
    message = main(monkeypatch, capsys, "detect", "a.wav", "--verify", "--model", name)
    assert message.startswith(f"error: --verify is of the int8 detector, --model {name} must be int8")
