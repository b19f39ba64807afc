"""The flow monitor on a real server, over a stand-in for `gunshot drift`."""

import importlib
import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gunshot import tags
from gunshot.base import params
from tests.flows.retraining_project import ROOT

QUIET = {
    "drift": False, "reason": "0 of 2 columns drift", "recordings": 40, "effective": 39, "chunks": 200, "rejected": 1,
    "model": "v1.0.0", "batch": "ab" * 32,
    "columns": [
        {"column": "level_db", "distance": 0.1, "threshold": 0.2, "drifts": False, "reference": -40.0, "batch": -41.5},
    ],
}  # fmt: skip
LOUD = QUIET | {
    "drift": True, "reason": "1 of 2 columns drift: level_db -40 -> -28",
    "columns": [
        {"column": "level_db", "distance": 0.5, "threshold": 0.2, "drifts": True, "reference": -40.0, "batch": -28.0},
    ],
}  # fmt: skip
NONE = {"drift": False, "reason": "no recordings in data/field", "recordings": 0, "rejected": 0} | {
    name: QUIET[name] for name in ("model", "batch")
}


@pytest.fixture
def flows(prefect):
    """The module flows.monitor, on a server."""
    return importlib.import_module("flows.monitor")


@pytest.fixture
def project(tmp_path, monkeypatch, flows):
    """A folder in which `gunshot` says what `said` writes, and what was asked of retrain is noted."""
    monkeypatch.chdir(tmp_path)
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, name)
    subprocess.run(["git", "init", "-q"], check=True)
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    monkeypatch.setattr(sys, "executable", str(python))
    started = []
    monkeypatch.setattr(flows, "retrain", lambda **given: started.append(given))
    return started


def says(verdict: dict, *, code: int = 0, amiss: str = "") -> None:
    """Put a command beside this Python that prints its arguments and `amiss` as errors, then a verdict."""
    command = Path("bin/gunshot")
    command.write_text(
        f"#!/bin/sh\nprintf '%s\\n' \"arguments: $*\" '{amiss}' >&2\n"
        f"cat <<'END'\n{json.dumps(verdict)}\nEND\nexit {code}\n"
    )
    command.chmod(command.stat().st_mode | stat.S_IXUSR)


def artifact(key: str):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    with get_client(sync_client=True) as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        return client.read_artifacts(artifact_filter=wanted, limit=10, sort="CREATED_DESC")


@pytest.mark.slow
def test_without_drift_the_verdict_is_published_and_nothing_starts(flows, project, caplog):
    says(QUIET, amiss="rejected: a.wav: broken: must be audio")
    assert flows.monitor() == QUIET
    assert project == []
    assert "rejected: a.wav: broken: must be audio" in caplog.messages
    assert "arguments: drift --format json" in caplog.messages
    shown = artifact("drift")[0]
    assert shown.type == "markdown" and shown.data.startswith("# No drift")
    assert "level_db | 0.100 | 0.200 | -40 | -41.5" in shown.data and "1 rejected" in shown.data
    link = artifact("drift-report")[0]
    assert Path("reports/drift/report.html").resolve().as_uri() in link.data


@pytest.mark.slow
def test_drift_starts_retrain_once_with_its_reason(flows, project, caplog):
    says(LOUD)
    assert flows.monitor("data/field/mast1")["drift"]
    assert project == [{"reason": "drift: 1 of 2 columns drift: level_db -40 -> -28"}]
    assert "arguments: drift --format json data/field/mast1" in caplog.messages
    shown = artifact("drift")[0].data
    assert shown.startswith("# Drift") and "**drifts**" in shown
    assert "A retraining is started." in shown and "measured with v1.0.0" in shown
    assert flows.worktree.running() is None


def candidate(name: str, **files: dict) -> Path:
    folder = Path("reports/candidates", name)
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / f"{file}.json").write_text(json.dumps(content))
    return folder


def held(flows, started: list, *words: str) -> None:
    """The monitor finds drift, starts nothing, and says these words in log and artifact."""
    says(LOUD)
    assert flows.monitor()["drift"] and started == []
    shown = artifact("drift")[0].data
    assert "No retraining is started: " in shown
    assert all(word in shown for word in words), shown


@pytest.mark.slow
def test_while_a_candidate_waits_for_review_nothing_starts(flows, project, caplog):
    folder = candidate("20260102T030405Z", gates={}, drift={"batch": "another"})
    held(flows, project, f"{folder} waits for review", f"gunshot review {folder} approve|reject")
    assert any(f"No retraining is started: {folder} waits" in message for message in caplog.messages)


@pytest.mark.slow
def test_a_second_candidate_of_the_same_batch_is_not_made(flows, project):
    folder = candidate("20260102T030405Z", gates={}, review={}, drift=LOUD)
    candidate("20260103T030405Z", gates={}, review={}, drift=LOUD | {"batch": "another"})
    candidate("20260104T030405Z", gates={}, review={})  # by hand, before anything came back
    held(flows, project, f"{folder} was made from this very batch", "gunshot annotate data/field")


@pytest.mark.slow
def test_while_another_retraining_runs_nothing_starts(flows, project, monkeypatch):
    from prefect.concurrency.sync import concurrency

    with flows.worktree.alone("the first"):
        held(flows, project, "another retraining is running: process", "the first; let it end")
    with concurrency(flows.worktree.LIMIT, lease_duration=60, strict=True):  # on another machine
        held(flows, project, "it holds Prefect's concurrency limit 'retrain'")


@pytest.mark.slow
def test_a_retraining_that_failed_is_started_again_and_so_is_one_of_another_batch(flows, project):
    says(LOUD)
    candidate("20260102T030405Z", drift=LOUD)  # no gates: it was never finished
    candidate("20260103T030405Z", gates={}, review={}, drift=LOUD | {"batch": "another"})
    flows.monitor()
    assert len(project) == 1


@pytest.mark.slow
def test_where_git_cannot_be_asked_nobody_is_said_to_be_running(flows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError, match="git rev-parse"):
        flows.worktree.running()


@pytest.mark.slow
def test_a_deployment_starts_the_deployment_and_does_not_wait(flows, project, monkeypatch):
    """Its review suspends it, which Prefect forbids to a flow within a flow."""
    asked = []
    monkeypatch.setattr(flows.runtime.deployment, "id", "1234", raising=False)
    monkeypatch.setattr(flows, "run_deployment", lambda *args, **given: asked.append((args, given)))
    says(LOUD)
    flows.monitor()
    expected = {"parameters": {"reason": f"drift: {LOUD['reason']}"}, "timeout": 0, "as_subflow": False}
    assert asked == [((flows.RETRAIN,), expected)] and project == []


@pytest.mark.slow
def test_enough_confirmed_recordings_start_retrain_without_drift(flows, project):
    least = params.load("monitor").monitor.min_confirmed
    placed = {f"mast-1/{i}.wav": [tags.Tag(4000)] for i in range(least - 1)}
    tags.amend(Path("data/field/tags.csv"), placed | {"mast-1/automatic.wav": [tags.Tag(4000, 0.5)]})
    says(QUIET)
    flows.monitor()
    assert project == []
    tags.amend(Path("data/field/tags.csv"), {"mast-1/without.wav": []})
    flows.monitor()
    assert project == [{"reason": f"{least} confirmed recordings wait in data/field"}]
    assert "A retraining is started." in artifact("drift")[0].data
    candidate("20260102T030405Z", gates={}, review={}, drift=QUIET)
    flows.monitor()
    assert len(project) == 1


@pytest.mark.slow
def test_no_recordings_are_no_failure(flows, project):
    says(NONE)
    assert flows.monitor() == NONE
    assert project == [] and "no recordings in data/field" in artifact("drift")[0].data


@pytest.mark.slow
def test_a_command_that_fails_fails_the_flow_and_starts_nothing(flows, project):
    says(LOUD, code=1, amiss="error: reference.csv: no such file")
    with pytest.raises(RuntimeError, match=r"gunshot drift exited with 1: error: reference\.csv: no such file"):
        flows.monitor()
    assert project == []


@pytest.mark.slow
def test_runs_in_the_project_folder_alone(flows, project):
    Path("dvc.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"dvc\.yaml: no such file; run this from the project's folder"):
        flows.monitor.fn()


def test_retrain_takes_a_reason():
    import inspect

    assert inspect.signature(importlib.import_module("flows.retrain").retrain.fn).parameters["reason"].annotation is str
