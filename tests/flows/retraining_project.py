"""A project that retrains in seconds: its model is a copied file, its comparison and its page are stand-ins."""

import importlib
import sys
from pathlib import Path

import pytest
import yaml

from gunshot.promotion import audit, registry
from gunshot.signing import record
from tests.flows.registry_project import MODEL, Project

ROOT = Path(__file__).parents[2]
RETRAIN = ("-m", "flows.retrain")
METRICS = {"int8": {"auc": 0.75, "shots": 4}, "float": {"auc": 0.875, "shots": 4}}
STAGE = f"""
import json, os, pathlib, sys
print("making", "figures")
if pathlib.Path("fail").exists():
    sys.exit("widths=0 must be at least 1")
pathlib.Path("reports").mkdir(exist_ok=True)
field = pathlib.Path("data/raw/field/recordings.csv")
metrics = {METRICS}
metrics["int8"]["field"] = len(field.read_text().splitlines()) - 1 if field.exists() else 0
pathlib.Path("reports/metrics.json").write_text(json.dumps(metrics))
"""
OPERATE = """
import json, pathlib, yaml
seed = yaml.safe_load(pathlib.Path("params.yaml").read_text())["network"]["seed"]
found = {"validation": {"simulated": {"recall": seed / 8}, "real": {"recall": 0.0}}}
pathlib.Path("models/quantized/operating.json").write_text(json.dumps(found))
"""
# compare, export and dossier need trained models and streams (tests/flows/test_dossier_command.py); the rest is real.
GUNSHOT = f"""#!{sys.executable}
import hashlib, json, pathlib, subprocess, sys
name, *rest = sys.argv[1:]
if name == "compare":
    pathlib.Path(rest[rest.index("--out") + 1]).write_text(json.dumps(rest))
elif name == "export":
    print("models/promoted/" + rest[1])
elif name == "dossier":
    folder = pathlib.Path(rest[0])
    (folder / "dossier.html").write_text("the page")
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], text=True).strip()
    champion = rest[rest.index("--champion") + 1] if "--champion" in rest else None
    dirty = subprocess.check_output(["git", "status", "--porcelain"], text=True)
    gates = [{{"name": "code", "passed": not dirty, "figure": len(dirty), "limit": 0, "text": dirty}}]
    (folder / "gates.json").write_text(json.dumps({{
        "candidate": commit, "champion": champion, "gates": gates, "small": [],
        "dossier": hashlib.sha256(b"the page").hexdigest()}}))
else:
    from gunshot.cli import main
    main()
"""


def prepare(project: Project, **changes: dict) -> None:
    """Give a project params with these sections, a stage that measures, and a commit of all that."""
    sections = yaml.safe_load((ROOT / "params.yaml").read_text())
    sections["promotion"]["min_seeds"] = 2  # as few as may be: each is a run of the pipeline
    for name, section in changes.items():
        sections[name] |= section
    (project.root / "params.yaml").write_text(yaml.safe_dump(sections))
    (project.root / "stage.py").write_text(STAGE)
    (project.root / "operate.py").write_text(OPERATE)
    third_party = project.root / "firmware/third_party"
    third_party.mkdir(parents=True)
    (third_party / "requirements.txt").write_text("")
    raw = project.root / "data/raw"
    raw.mkdir(parents=True)
    (raw / "keep").write_text("")
    stages = yaml.safe_load((project.root / "dvc.yaml").read_text())
    stages["stages"] |= {
        "simulate": {"cmd": "mkdir data/raw/simulated && touch data/raw/simulated/a", "outs": ["data/raw/simulated"]},
        "figures": {
            "cmd": f'"{sys.executable}" stage.py', "deps": ["stage.py", "source", "data/raw"],
            "metrics": [{"reports/metrics.json": {"cache": False}}],
        },
        "operate": {
            "cmd": f'"{sys.executable}" operate.py', "deps": ["operate.py", "source"], "params": ["network.seed"],
            "metrics": [{"models/quantized/operating.json": {"cache": False}}],
        },
    }  # fmt: skip
    (project.root / "dvc.yaml").write_text(yaml.safe_dump(stages, sort_keys=False))
    (project.root / ".gitignore").write_text(
        "/reports/candidates/\n/reports/drift/\n/.worktrees/\n/data/field\n/models/promoted\n__pycache__/\n"
    )
    (project.root / ".dvcignore").write_text("/.worktrees\n")
    (project.root / "source").write_text("three")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "three")


@pytest.fixture
def flows(prefect):
    """The module flows.retrain, on a server."""
    return importlib.import_module("flows.retrain")


@pytest.fixture
def retraining(flows, copy, monkeypatch, tmp_path):
    """A project where v1.0.0 is in production and the next model is to be made, its commands and the flow in it."""
    prepare(copy)
    stand_in(tmp_path / "gunshot", monkeypatch)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(copy.root)
    return copy


def stand_in(path: Path, monkeypatch) -> None:
    path.write_text(GUNSHOT)
    path.chmod(0o755)
    for name in ("flows.retrain", "flows.review"):
        monkeypatch.setattr(importlib.import_module(name), "GUNSHOT", path)


def everything(project: Project) -> tuple:
    """Return what a retraining that fails must leave: files, HEAD, record, tags and branches."""
    names = project.run("git", "status", "--porcelain", "--ignored")
    return names, project.state(), (project.root / MODEL).read_bytes()


def survived(project: Project, head: str) -> None:
    """The champion, the record, HEAD and the working tree are as they were."""
    entries = record.read(project.root)
    assert [e["version"] for e in entries] == ["v1.0.0"] and audit.verify(project.root) == []
    assert registry.content(registry.champion(entries), root=project.root) == b"one"
    assert project.head() == head and (project.root / MODEL).read_text() == "two"
    assert project.run("git", "status", "--porcelain") == ""


def open_candidates(project: Project) -> list[str]:
    """The candidates that can be reviewed, each with its branch; nothing else is left."""
    names = [path.parent.name for path in sorted((project.root / "reports/candidates").glob("*/gates.json"))]
    branches = project.run("git", "branch", "--format=%(refname:short)", "--list", "retrain/*").split()
    assert branches == [f"retrain/{name}" for name in names]
    assert not list((project.root / ".worktrees").iterdir())
    return names
