"""Experiments of params tried without DVC: the values and nothing else, on HEAD, the working tree as it was."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gunshot.base import params
from gunshot.promotion import experiments
from gunshot.promotion.repository import Repository

ROOT = Path(__file__).parents[2]
VALUES = st.floats(1e-9, 1e9) | st.integers(-(10**6), 10**6) | st.booleans() | st.text(st.characters(codec="ascii"))


@pytest.fixture
def repository(tmp_path) -> Repository:
    repository = Repository(tmp_path)
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    repository.git("init", "-q", "-b", "main")
    for key in ("name", "email"):
        repository.git("config", f"user.{key}", "test@example.org")
    repository.git("add", ".")
    repository.git("commit", "-qm", "sources")
    return repository


def saved(repository: Repository, name: str) -> str:
    head = repository.commit("HEAD")
    return f"refs/exps/{head[:2]}/{head[2:]}/{name}"


def test_an_experiment_holds_the_values_and_what_is_tracked_as_it_lies_there(repository):
    path = repository.root / "params.yaml"
    path.write_text(path.read_text().replace("  epochs: 10\n", "  epochs: 12\n"))
    (repository.root / "params.yaml.orig").touch()  # nobody tracks it
    before = repository.git("status", "--porcelain")
    for recall in (0.5, 0.6):  # the later one replaces the other
        experiments.save(repository, "try-1", {"network.width": 0.00005, "network.separable": True}, {"recall": recall})
    assert repository.git("status", "--porcelain") == before and repository.git("diff", "--cached") == b""
    commit = saved(repository, "try-1")
    shown = repository.show(commit, Path("params.yaml")).decode()
    lines = zip((ROOT / "params.yaml").read_text().splitlines(), shown.splitlines(), strict=True)
    assert [re.sub(" +", " ", new).strip() for old, new in lines if old != new] == [
        re.sub(" +", " ", line)
        for line in (
            "width: 5.0e-05 # multiplies every layer's filters; the int8 model keeps promotion.max_bytes",
            "separable: true # all but the first: depthwise, then 1x1",
            "epochs: 12",
        )
    ]
    assert json.loads(repository.show(commit, experiments.METRICS)) == {"search": {"recall": 0.6}}
    assert yaml.safe_load(repository.show(commit, experiments.DECLARED)) == {"metrics": ["search.json"]}
    empty = {path for path in repository.git("ls-tree", "-r", "--name-only", commit).decode().split()
             if repository.show(commit, Path(path)) == b"{}\n"}  # fmt: skip
    assert empty == {"models/network/report.json", "models/quantized/report.json", "models/quantized/parity.json",
                     "reports/metrics.json", "reports/streams.json"}  # fmt: skip


@pytest.mark.slow
@given(value=VALUES)
def test_any_value_is_written_as_yaml_reads_it_and_nothing_else_changes(value):
    path = ROOT / "params.yaml"
    text = experiments._with(path, {"network.leak": value, "quantize.seed": value})
    document = yaml.load(path.read_text(), yaml.CSafeLoader)
    document["network"]["leak"] = document["quantize"]["seed"] = value
    assert yaml.load(text, yaml.CSafeLoader) == document
    assert re.findall("#.*", text) == re.findall("#.*", path.read_text()) or "#" in str(value)


def test_params_of_another_form_keep_it(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("network: {width: 1.0} # wide\n")
    assert experiments._with(path, {"network.width": 1e-05}) == "network: {width: 1.0e-05} # wide\n"


def test_each_key_of_params_yaml_can_be_written():
    keys = [f"{section}.{name}" for section, model in params.SECTIONS.items() for name in model.model_fields]
    assert experiments._with(ROOT / "params.yaml", dict.fromkeys(keys, 12345)).count(" 12345") == len(keys)


def test_where_nothing_was_committed_git_says_so(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    with pytest.raises(ValueError, match="HEAD"):
        experiments.save(Repository(tmp_path), "try-1", {}, {})
