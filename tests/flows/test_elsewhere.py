"""A candidate that is made in one clone and decided in another, and a worker's clone that is brought up to date."""

import importlib
import json
from pathlib import Path

import pytest

from tests.flows.registry_project import Project

pytest_plugins = ("tests.flows.registry_project", "tests.flows.retraining_project")
pytestmark = pytest.mark.slow


@pytest.fixture
def shared(retraining, tmp_path) -> Project:
    """The project with an origin and a DVC remote, both of which have what it has."""
    retraining.run("git", "init", "-q", "--bare", "-b", "main", tmp_path / "origin.git")
    retraining.run("git", "remote", "add", "origin", tmp_path / "origin.git")
    with Path(".dvc/config").open("a") as file:
        file.write(f"[core]\nremote = lab\n['remote \"lab\"']\nurl = {tmp_path / 'store'}\n")
    retraining.run("git", "commit", "-qam", "shared")
    retraining.run("git", "push", "-q", "origin", "main", "--tags")
    retraining.run("dvc", "push", "-q")
    return retraining


def clone(project: Project, to: Path, monkeypatch) -> Project:
    """Return another's clone, in which the flows run from now on."""
    project.run("git", "clone", "-q", to.with_name("origin.git"), to)
    monkeypatch.chdir(to)
    return Project(to)


@pytest.mark.long
def test_a_candidate_that_was_sent_is_received_in_another_clone(flows, shared, tmp_path, monkeypatch):
    elsewhere, receive = (importlib.import_module(f"flows.{name}") for name in ("elsewhere", "receive"))
    started = []
    monkeypatch.setattr(elsewhere, "run_deployment", lambda name, **given: started.append((name, given["parameters"])))
    name = elsewhere.retrain_elsewhere("rain")
    assert started == [("receive/receive", {"name": name})]
    assert not list(Path("reports/candidates").iterdir()) and not list(Path(".worktrees").iterdir())
    assert shared.run("git", "branch", "--list", "retrain/*") == "" and shared.run("git", "status", "--short") == ""

    home = clone(shared, tmp_path / "home", monkeypatch)
    folder = Path(receive.receive(name))
    assert folder == home.root / "reports/candidates" / name and home.run("git", "status", "--short") == ""
    names = {"comparison.json", "dossier.html", "gates.json", "metrics.json", "params.json", "seeds.json"}
    assert {path.name for path in folder.iterdir()} == names
    branch = home.run("git", "rev-parse", f"retrain/{name}").strip()
    assert json.loads((folder / "gates.json").read_text())["candidate"] == branch
    home.run("dvc", "get", "-q", ".", "models/quantized/model.tflite", "--rev", branch, "-o", "model")
    assert (home.root / "model").read_bytes() == b"three"  # from the remote alone
    with pytest.raises(ValueError, match=r"name=.\.\./other. must be a candidate.s"):
        receive.receive("../other")
    with pytest.raises(RuntimeError, match="couldn't find remote ref"):
        receive.receive("20260101T000000Z")


def test_a_workers_clone_follows_origin_and_refuses_what_it_cannot_run(shared, tmp_path, monkeypatch):
    catch_up = importlib.import_module("flows.catch_up").catch_up
    worker = clone(shared, tmp_path / "worker", monkeypatch)
    (shared.root / "source").write_text("four")
    shared.run("git", "commit", "-qam", "four")
    shared.run("git", "push", "-q", "origin", "main")
    assert catch_up() == {"commit": shared.head()} and (worker.root / "source").read_text() == "four"
    (worker.root / "notes.txt").write_text("")
    with pytest.raises(RuntimeError, match=r"not clean: notes\.txt"):
        catch_up()
    (worker.root / "notes.txt").unlink()
    (shared.root / "requirements.lock").write_text("numpy==2.4.6")
    shared.run("git", "add", "-A")
    shared.run("git", "commit", "-qm", "a package")
    shared.run("git", "push", "-q", "origin", "main")
    for _ in range(2):  # it stays refused
        with pytest.raises(RuntimeError, match=r"requirements\.lock has changed: .* `git checkout origin/main && make"):
            catch_up()
    with pytest.raises(RuntimeError, match="couldn't find remote ref other"):
        catch_up("other")
