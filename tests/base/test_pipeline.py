"""What dvc.yaml says about outputs and models."""

from pathlib import Path

import pytest

from gunshot.base import pipeline

REPO = Path(__file__).parents[2]
DVC = """
stages:
  simulate: {cmd: a, outs: [data/raw/simulated, other]}
  split: {cmd: b, outs: [{data/splits.csv: {cache: false, persist: true}}]}
artifacts:
  int8: {path: models/quantized/model.tflite, type: model}
  forest: {path: models/forest/forest.joblib, type: model}
"""


def test_the_first_output_with_and_without_options(tmp_path):
    (tmp_path / "dvc.yaml").write_text(DVC)
    assert pipeline.output("simulate", root=tmp_path) == tmp_path / "data/raw/simulated"
    assert pipeline.output("split", root=tmp_path) == tmp_path / "data/splits.csv"


def test_models_by_name(tmp_path):
    (tmp_path / "dvc.yaml").write_text(DVC)
    assert pipeline.models(root=tmp_path) == {
        "int8": tmp_path / "models/quantized/model.tflite",
        "forest": tmp_path / "models/forest/forest.joblib",
    }


def test_paths_are_relative_to_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "dvc.yaml").write_text(DVC)
    monkeypatch.chdir(tmp_path)
    assert pipeline.output("simulate") == Path("data/raw/simulated")


@pytest.mark.parametrize("ask", [pipeline.models, lambda root: pipeline.output("simulate", root=root)])
def test_a_missing_file_says_what_to_do(tmp_path, ask):
    with pytest.raises(FileNotFoundError, match=r"dvc\.yaml: no such file; run this from the project's folder"):
        ask(root=tmp_path)


def test_the_repository_names_what_the_commands_ask_for():
    assert set(pipeline.models(root=REPO)) == {"int8", "float", "forest"}
    assert {path.suffix for path in pipeline.models(root=REPO).values()} == {".tflite", ".keras", ".joblib"}
    for stage in ("simulate", "chunk", "split", "evaluate"):
        assert pipeline.output(stage, root=REPO).is_relative_to(REPO)
