"""A small project in Git and DVC whose model is a file, with a key and candidates to decide on."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

BIN = Path(sys.executable).parent
ENVIRONMENT = {
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    "DVC_NO_ANALYTICS": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    **{f"GIT_{who}_NAME": "operator" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "operator@example.org" for who in ("AUTHOR", "COMMITTER")},
}
MODEL = Path("models/quantized/model.tflite")
DVC_YAML = {
    "stages": {"quantize": {"cmd": f"cp source {MODEL}", "deps": ["source"], "outs": [str(MODEL)]}},
    "artifacts": {"int8": {"path": str(MODEL), "type": "model"}},
}


def dvc(root: Path, *arguments: str) -> None:
    """Run a DVC command in this process: its import takes longer than its work."""
    from dvc.cli import main

    with contextlib.chdir(root):
        if main(arguments):
            raise ValueError(f"dvc {' '.join(arguments)} failed")


def get(self, commit: str, path: Path, to: Path) -> Path:
    """Do as Repository.data, in this process."""
    wanted = [path.as_posix(), "--rev", commit, "--out", str(to.absolute()), *self.remotes()]
    dvc(self.root, "get", "-q", "-f", ".", *wanted)
    return to


class Project:
    """The folder, and what a person does in it."""

    def __init__(self, root: Path):
        self.root = root

    def run(self, *command: str | Path, fails: bool = False) -> str:
        done = subprocess.run(command, cwd=self.root, text=True, capture_output=True)
        assert (done.returncode != 0) == fails, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def make(self) -> "Project":
        """Set the folder up, with a first candidate and the operator's key; the environment must be set."""
        from gunshot.signing import keys, record

        self.run("git", "init", "-q", "-b", "main")
        dvc(self.root, "init", "-q")
        (self.root / "dvc.yaml").write_text(yaml.safe_dump(DVC_YAML))
        keys.create("operator", self.root / record.KEYS)
        self.candidate("one")
        return self

    def candidate(self, model: str, *, operating: str = "{}") -> str:
        """Make and commit a model of this content; return the commit."""
        (self.root / "source").write_text(model)
        (self.root / MODEL).parent.mkdir(parents=True, exist_ok=True)
        dvc(self.root, "repro", "-q")
        for name, content in (("report.json", "{}"), ("operating.json", operating)):
            (self.root / MODEL).with_name(name).write_text(content)
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", f"candidate {model}")
        return self.head()

    def head(self) -> str:
        return self.run("git", "rev-parse", "HEAD").strip()

    def dossier(self, text: str = "the page") -> Path:
        path = self.root.parent / f"{self.root.name} dossier.html"
        path.write_text(text)
        return path

    def promote(self, commit: str, champion: str | None, **changes) -> dict:
        from gunshot.promotion import registry

        review = {
            "candidate": commit,
            "champion": champion,
            "gates": [{"name": "recall", "passed": True, "figure": 0.9}],
        }
        given = {"dossier": self.dossier(), "review": review, "by": "Ada", "reason": "better at night"} | changes
        return registry.promote(commit, root=self.root, **given)

    def rollback(self, **changes) -> dict:
        from gunshot.promotion import registry

        return registry.rollback(**{"by": "Bo", "reason": "alarms at noon", "root": self.root} | changes)

    def cached(self, commit: str) -> Path:
        """The object of DVC's cache that holds a commit's model."""
        lock = yaml.safe_load(self.run("git", "show", f"{commit}:dvc.lock"))
        md5 = lock["stages"]["quantize"]["outs"][0]["md5"]
        return self.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]

    def state(self) -> tuple:
        """All that a decision may change: the record, the tags, the branch."""
        record = self.root / "models/record.jsonl"
        return record.read_bytes() if record.exists() else b"", self.run("git", "show-ref")


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A project where v1.0.0 is in production and a second candidate waits."""
    folder = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (ENVIRONMENT | {"GUNSHOT_KEY": str(folder / "key.pem")}).items():
            patch.setenv(name, value)
        (folder / "project").mkdir()
        project = Project(folder / "project").make()
        first = project.head()
        project.promote(first, None)
        second = project.candidate("two")
    return project, first, second


@pytest.fixture
def copy(template, tmp_path, monkeypatch):
    """A copy of the template, with `first` and `second`, its candidates' commits."""
    original, first, second = template
    for name, value in (ENVIRONMENT | {"GUNSHOT_KEY": str(original.root.parent / "key.pem")}).items():
        monkeypatch.setenv(name, value)
    shutil.copytree(original.root, tmp_path / "project", symlinks=True)
    project = Project(tmp_path / "project")
    project.first, project.second = first, second
    return project


@pytest.fixture
def project(copy, monkeypatch):
    """The copy, with DVC in this process; tests of DVC's own faults run the command."""
    from gunshot.promotion import repository

    monkeypatch.setattr(repository.Repository, "data", get)
    return copy
