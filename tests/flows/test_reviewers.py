"""A review in Prefect's pages: nobody answers it, or two people do, there and by the command."""

import time
from pathlib import Path

import pytest

from gunshot.promotion import audit, registry
from gunshot.signing import record
from tests.flows.prefect_server import environment, started, until
from tests.flows.registry_project import Project
from tests.flows.retraining_project import RETRAIN, ROOT, open_candidates, prepare, survived

pytest_plugins = ("tests.flows.registry_project", "tests.flows.prefect_server")
pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]
NEVER = {"retrain": "0 0 1 1 *", "monitor": "0 0 1 1 *"}


def asked(project: Project, stopped, python: Path) -> Path:
    """Make a candidate and ask for a decision on it in Prefect's pages; return its folder."""
    from prefect.deployments import run_deployment

    project.run(python, *RETRAIN)
    [name] = open_candidates(project)
    folder = project.root / "reports/candidates" / name
    end = time.monotonic() + 120
    while len(stopped.client.read_deployments()) < 3:
        assert time.monotonic() < end
        time.sleep(1)
    run_deployment("review/review", parameters={"folder": str(folder)}, timeout=0, as_subflow=False)
    return folder


@pytest.mark.sweep(1, group="a review in the pages")
def test_a_reviewer_who_never_answers_in_the_pages_has_rejected(copy, stopped, tmp_path, monkeypatch):
    prepare(copy, schedule=NEVER, promotion={"review_days": 30 / 86400})
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    python, head = environment(tmp_path / "environment"), copy.head()
    with stopped.running(), started(tmp_path / "serve.log", python, "-m", "flows.serve", cwd=copy.root):
        folder = asked(copy, stopped, python)
        until(stopped.client, "review", "PAUSED")
        run = until(stopped.client, "review", "FAILED")
        assert "never resumed" in run.state.message
        late = stopped.client.resume_flow_run(run.id, run_input={"decision": "approve", "by": "Ada", "reason": "late"})
        assert late.status.value != "ACCEPT"
        survived(copy, head)
        copy.run(python, *RETRAIN)
    last = record.read(copy.root)[-1]
    assert (last["event"], last["by"], last["number"]) == ("rejected", "nobody", 2)
    assert last["commit"] == copy.run("git", "rev-parse", f"retrain/{folder.name}").strip()
    assert registry.champion(record.read(copy.root))["version"] == "v1.0.0" and audit.verify(copy.root) == []


@pytest.mark.sweep(1, group="a review in the pages")
def test_a_review_by_the_command_ends_the_run_that_waits_in_the_pages(copy, stopped, tmp_path, monkeypatch):
    prepare(copy, schedule=NEVER)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    python = environment(tmp_path / "environment")
    with stopped.running(), started(tmp_path / "serve.log", python, "-m", "flows.serve", cwd=copy.root):
        folder = asked(copy, stopped, python)
        waiting = until(stopped.client, "review", "PAUSED")
        given = ("--by", "Ada", "--reason", "better at night")
        copy.run(python.with_name("gunshot"), "review", folder, "approve", *given)
        said = copy.run(python, "-m", "flows.review", folder)
        assert f"{waiting.name} waited for this decision" in said
        end = time.monotonic() + 240
        while not (state := stopped.client.read_flow_run(waiting.id).state).is_final():
            assert time.monotonic() < end
            time.sleep(1)
        assert state.is_completed(), state.message
    assert [(e["event"], e["by"]) for e in record.read(copy.root)[1:]] == [("promoted", "Ada")]


@pytest.mark.sweep(1, group="a review in the pages")
@pytest.mark.parametrize(("decision", "event"), [("approve", "promoted"), ("reject", "rejected")])
def test_of_two_reviewers_in_the_pages_and_by_the_command_one_decides(
    copy, stopped, tmp_path, monkeypatch, decision, event
):
    prepare(copy, schedule=NEVER)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    python = environment(tmp_path / "environment")
    carry_out = (python, "-m", "flows.review")
    with stopped.running(), started(tmp_path / "serve.log", python, "-m", "flows.serve", cwd=copy.root):
        folder = asked(copy, stopped, python)
        waiting = until(stopped.client, "review", "PAUSED")
        given = ("--by", "Ada", "--reason", "better at night")
        copy.run(python.with_name("gunshot"), "review", folder, decision, *given)
        other = {"decision": "reject" if decision == "approve" else "approve", "by": "Bo", "reason": "I differ"}
        stopped.client.resume_flow_run(waiting.id, run_input=other)
        with started(tmp_path / "review.log", *carry_out, folder, cwd=copy.root) as one:  # both carry it out
            one.wait(300)
        end = time.monotonic() + 240
        while not stopped.client.read_flow_run(waiting.id).state.is_final():
            assert time.monotonic() < end
            time.sleep(1)
        copy.run(*carry_out, folder)
    entries = record.read(copy.root)
    assert [(e["event"], e["by"]) for e in entries[1:]] == [(event, "Ada")]
    assert audit.verify(copy.root) == []
