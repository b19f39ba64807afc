"""The flows on a real server on loopback: a schedule makes a candidate, its page takes the decision."""

import importlib
import os
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import sync_playwright

from gunshot.base import params
from gunshot.signing import record
from tests.flows.prefect_server import environment, started, until
from tests.flows.retraining_project import ROOT, prepare

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
pytest_plugins = ("tests.flows.registry_project", "tests.flows.retraining_project", "tests.flows.prefect_server")


def test_both_ways_to_serve_have_the_schedules_of_the_params(monkeypatch):
    monkeypatch.chdir(ROOT)
    serve = importlib.import_module("flows.serve")
    schedules = {d.name: [s.schedule.cron for s in d.schedules] for d in serve.deployments()}
    p = params.load("schedule").schedule
    assert schedules == {"retrain": [p.retrain], "monitor": [p.monitor], "review": [], "receive": []}
    declared = yaml.safe_load(Path("prefect.yaml").read_text())["deployments"]
    assert {d["name"]: [s["cron"] for s in d.get("schedules", [])] for d in declared} == schedules
    for d in declared:
        path, name = d["entrypoint"].split(":")
        assert hasattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)


@pytest.mark.parametrize(
    "cron", ["0 3 * *", "60 * * * *", "0 3 * * 8", "0 5-3 * * *", "*/0 * * * *", "0 3 * * mon", ""]
)
def test_a_schedule_that_cron_does_not_know_is_refused_by_name(tmp_path, cron):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({"schedule": {"retrain": cron, "monitor": "*/15 0-6,22 1 * 1-5/2"}}))
    with pytest.raises(params.ParamsError, match=r"params\.yaml: schedule.*(must have 5 parts|must be \*)"):
        params.load("schedule", path=path)


def pages(waiting, folder: Path) -> None:
    """Look at Prefect's pages as a reviewer does: the deployments, and the form that a run asks to be filled in."""
    drawn_ms = 3000 if "PICTURES" in os.environ else 0  # for a picture its curves and icons must be there, too
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        page = browser.new_page(viewport={"width": 1300, "height": 420})
        at = os.environ["PREFECT_API_URL"].removesuffix("/api")
        page.goto(f"{at}/deployments")
        page.get_by_text("review").first.wait_for()
        page.wait_for_timeout(drawn_ms)
        page.screenshot(path=folder / "deployments.png")
        page.set_viewport_size({"width": 1300, "height": 760})
        page.goto(f"{at}/runs/flow-run/{waiting}")
        page.get_by_role("button", name="Resume").first.click()
        page.get_by_text("gates passed").wait_for()
        page.wait_for_timeout(drawn_ms)
        page.screenshot(path=folder / "review_form.png")
        browser.close()


@pytest.mark.long
@pytest.mark.sweep(1, group="a review in the pages")
@pytest.mark.timeout(1200)
def test_a_schedule_makes_a_candidate_that_waits_for_a_person(server, copy, tmp_path, monkeypatch):
    prepare(copy, schedule={"retrain": "* * * * *", "monitor": "0 0 1 1 *"})
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    python = environment(tmp_path / "environment")
    with started(tmp_path / "serve.log", python, "-m", "flows.serve", cwd=copy.root) as serving:
        run = until(server, "retrain", "RUNNING")
        assert run.auto_scheduled and run.parameters == {"reason": "schedule"}
        server.pause_deployment(run.deployment_id)  # one is enough
        until(server, "retrain", "COMPLETED")
        waiting = until(server, "review", "PAUSED")
        pages(waiting.id, Path(os.environ.get("PICTURES", tmp_path)))
        assert serving.poll() is None and len(record.read(copy.root)) == 1
        given = {"decision": "approve", "by": "Ada", "reason": "better at night"}
        server.resume_flow_run(waiting.id, run_input=given | {"overrule": ["code=it passed"]})  # refused, asked again
        again = until(server, "review", "PAUSED", unlike=waiting.state.id)
        server.resume_flow_run(again.id, run_input=given)
        until(server, "review", "COMPLETED")
    last = record.read(copy.root)[-1]
    assert (last["version"], last["by"], last["reason"]) == ("v1.1.0", "Ada", "better at night")
    assert Path(waiting.parameters["folder"], "dossier.html").read_text() == "the page"
