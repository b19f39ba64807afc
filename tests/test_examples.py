"""Examples in docstrings of what a notebook calls: they run in a folder as `make` leaves it, and give what they say."""

import doctest
import importlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from gunshot.base import tables
from gunshot.models import forest

MODULES = [
    "alarms.score", "dataset.chunks", "dataset.onsets", "detect.detector", "detect.listener", "features",
    "models.model", "models.scores.metrics", "simulate.corpus", "simulate.streams",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """params.yaml, and a small forest where the pipeline puts its own."""
    root = tmp_path_factory.mktemp("project")
    shutil.copy(Path(__file__).parents[1] / "params.yaml", root)
    path = root / "models/forest/forest.joblib"
    path.parent.mkdir(parents=True)
    x = np.random.default_rng(0).integers(-100, 0, (40, 32, 33)).astype(np.float32)
    model = RandomForestClassifier(2, random_state=0).fit(forest.codes(x), np.arange(40) % 2)
    model.window_ = x.shape[1:]
    forest.save(model, path)
    report = {"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}}
    tables.write_json(path.with_name("report.json"), report)
    return root


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    failed, tried = doctest.testmod(importlib.import_module(f"gunshot.{name}"))
    assert tried > 0, f"gunshot.{name}: a docstring must hold an example"
    assert failed == 0, f"gunshot.{name}: {failed} of {tried} examples give something else; they are printed above"
