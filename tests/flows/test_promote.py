"""The flows promote and rollback: what reaches DVC's remote and the others' repository, and when it may not."""

from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from flows import promote, rollback
from gunshot.promotion import audit, bundle
from gunshot.signing import record
from tests.flows.registry_project import BIN, Project

pytest_plugins = "tests.flows.registry_project"


@pytest.fixture
def shared(project, tmp_path, monkeypatch):
    """The project with an origin and a DVC remote that all reach."""
    project.run("git", "init", "-q", "--bare", "-b", "main", tmp_path / "origin")
    project.run("git", "remote", "add", "origin", tmp_path / "origin")
    project.run(BIN / "dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    project.run("git", "commit", "-qam", "remote")
    project.run("git", "push", "-q", "--tags", "origin", "main")
    monkeypatch.chdir(project.root)
    monkeypatch.setattr(bundle, "export", lambda: Path("models/promoted"))  # tests/flows/test_bundle.py
    with disable_run_logger():
        yield project


def decide(project: Project, by: str = "Ada") -> dict:
    gates = [{"name": "recall", "passed": True, "figure": 0.9}]
    return promote.promote.fn({
        "candidate": project.second,
        "dossier": project.dossier(),
        "review": {"candidate": project.second, "champion": "v1.0.0", "gates": gates, "small": ["weapon=M16"]},
        "by": by,
        "reason": "better at night",
        "acknowledge": ["weapon"],
    })  # fmt: skip


@pytest.fixture(autouse=True)
def tasks_without_a_server(monkeypatch):
    for name in ("keep", "publish"):
        monkeypatch.setattr(promote, name, getattr(promote, name).fn)
    monkeypatch.setattr(rollback, "publish", promote.publish)


@pytest.mark.slow
def test_a_decision_reaches_a_clone_that_can_check_it(shared, tmp_path):
    assert decide(shared)["version"] == "v1.1.0"
    assert rollback.rollback.fn("Bo", "alarms at noon", "v1.0.0")["version"] == "v1.0.0"
    shared.run("git", "clone", "-q", tmp_path / "origin", tmp_path / "clone")
    clone = Project(tmp_path / "clone")
    assert len(record.read(clone.root)) == 3 and record.read(clone.root)[1]["acknowledged"] == ["weapon=M16"]
    faults = audit.verify(clone.root)  # version 1.0.0 was made before there was a remote
    assert len(faults) == 1 and shared.first[:12] in faults[0]


@pytest.mark.slow
def test_two_reviewers_in_two_clones_cannot_both_publish(shared, tmp_path, monkeypatch):
    shared.run("git", "clone", "-q", tmp_path / "origin", tmp_path / "other")
    other = Project(tmp_path / "other")
    other.second = shared.second
    other.run(BIN / "dvc", "cache", "dir", "--local", str(shared.root / ".dvc/cache"))
    decide(shared)
    monkeypatch.chdir(other.root)
    with pytest.raises(RuntimeError, match=r"git push .* exited with 1"):
        decide(other, by="Bo")
    assert shared.run("git", "ls-remote", "--tags", "origin", "int8#prod#2^{}").split()[0] == shared.second
    assert shared.run("git", "ls-remote", "origin", "main").split()[0] == shared.head()


@pytest.mark.slow
def test_where_the_remote_is_unreachable_nothing_is_decided(shared, tmp_path):
    (tmp_path / "store").mkdir(exist_ok=True)
    (tmp_path / "store" / "files").write_text("no folder")
    before = shared.state()
    with pytest.raises(RuntimeError, match="dvc push --all-branches --quiet exited with"):
        decide(shared)
    assert shared.state() == before


@pytest.mark.slow
def test_the_only_version_cannot_be_rolled_back(shared):
    before = shared.state()
    with pytest.raises(ValueError, match=r"to=None: nothing was in production before v1\.0\.0"):
        rollback.rollback.fn("Bo", "alarms at noon")
    assert shared.state() == before
