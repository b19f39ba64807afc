"""A flow that fails: one line for whoever typed it, a notification for whoever is asked to look after the schedule."""

import functools
import http.server
import importlib
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from tests.flows.prefect_server import free_port
from tests.flows.registry_project import Project
from tests.flows.retraining_project import ROOT

pytest_plugins = ("tests.flows.registry_project", "tests.flows.retraining_project")


def typed(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-m", *command], cwd=cwd, env=environment, capture_output=True, text=True)


def errors(done: subprocess.CompletedProcess) -> list[str]:
    """What it says beside Prefect's own lines of what begins and ends."""
    return [line for line in done.stderr.splitlines() if "| INFO" not in line and "| WARNING" not in line]


@pytest.mark.slow
def test_what_a_person_can_mend_is_one_line_and_exit_2(flows, retraining: Project):
    from prefect.settings import PREFECT_API_URL

    os.environ["PREFECT_API_URL"] = PREFECT_API_URL.value()  # of the server that this process's flows run on
    try:
        (retraining.root / "dirt").write_text("x")
        dirty = typed("flows.retrain", cwd=retraining.root)
        back = typed("flows.rollback", "Bo", "alarms at noon", cwd=retraining.root)
        none = typed("flows.review", retraining.root, cwd=retraining.root)
    finally:
        del os.environ["PREFECT_API_URL"]
    assert (dirty.returncode, back.returncode, none.returncode) == (2, 2, 2)
    assert errors(dirty) == ["error: the working tree is not clean: dirt; commit or remove them"], dirty.stderr
    assert errors(back) == ["error: to=None: nothing was in production before v1.0.0"], back.stderr
    assert errors(none) == [f"error: {retraining.root}: nobody has decided; see `gunshot review --help`"], none.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "usage"),
    [
        (("flows.rollback", "Bo"), "usage: python -m flows.rollback BY REASON [TO]"),
        (("flows.retrain", "--help"), "usage: python -m flows.retrain [REASON]"),
    ],
)
def test_arguments_that_a_flow_does_not_take_start_nothing(tmp_path, arguments, usage):
    done = typed(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.splitlines() == [usage] and not list(tmp_path.iterdir())


@functools.cache
def note():
    """A kind of notification block, which writes to a file."""
    from prefect.blocks.abstract import NotificationBlock

    class Note(NotificationBlock):
        file: str

        def notify(self, body: str, subject: str | None = None) -> None:
            Path(self.file).write_text(f"{subject}\n{body}\n")

    return Note


@pytest.fixture
def notes(prefect, tmp_path, monkeypatch):
    """Where a notification block writes to, which the params name."""
    monkeypatch.chdir(tmp_path)
    sections = yaml.safe_load((ROOT / "params.yaml").read_text())
    sections["schedule"]["notify"] = "note/people"
    Path("params.yaml").write_text(yaml.safe_dump(sections))
    note()(file=str(tmp_path / "notes")).save("people", overwrite=True)
    return tmp_path / "notes"


def fails(module: str, *, deployed: bool) -> str:
    """Run a flow outside a project's folder, by a deployment or as it is; return what its run says."""
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow

    flow = getattr(importlib.import_module(f"flows.{module}"), module)
    with get_client(sync_client=True) as client:
        run = None
        if deployed:
            deployment = client.create_deployment(flow_id=client.create_flow(flow), name=module)
            run = client.create_flow_run_from_deployment(deployment)
    with pytest.raises(FileNotFoundError):
        run_flow(flow, flow_run=run)
    return run.name if run else ""


@pytest.mark.slow
@pytest.mark.parametrize("module", ["retrain", "monitor"])
def test_a_run_of_the_schedule_that_fails_tells_somebody(notes, module, monkeypatch):
    failures, lines = importlib.import_module("flows.failures"), []
    log = logging.Logger("run")  # of this test alone: Prefect sets up those that pytest captures
    log.addFilter(lambda record: lines.append(record.getMessage()))
    monkeypatch.setattr(failures, "flow_run_logger", lambda run, flow: log)
    fails(module, deployed=False)  # whoever typed it reads it
    assert not notes.exists()
    name = fails(module, deployed=True)
    subject, body = notes.read_text().splitlines()
    assert subject == f"gunshot: {module} failed" and body.startswith(name)
    assert "dvc.yaml: no such file; run this from the project's folder" in body
    text = Path("params.yaml").read_text()
    for block, said in (("''", "schedule.notify in params.yaml names no block"), ("note/nobody", "'note/nobody'")):
        Path("params.yaml").write_text(text.replace("note/people", block))
        fails(module, deployed=True)
        assert "nobody is told that this run failed" in lines[-1] and said in lines[-1]


@pytest.fixture
def address() -> tuple[str, int]:
    """Where Prefect's server is to be, and is not."""
    port = int(free_port())
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
        yield "127.0.0.1", port


class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"true")

    def log_message(self, *_):
        pass


@pytest.mark.slow
def test_the_flows_are_served_once_the_server_answers(address, capsys):
    from tenacity import stop_after_attempt, wait_none

    fault = importlib.import_module("flows.serve").fault
    refused = fault.retry_with(stop=stop_after_attempt(3), wait=wait_none())()
    said = capsys.readouterr().err.splitlines()
    assert "refused" in str(refused).lower() and len(said) == 2
    assert all(line.startswith("waiting for Prefect's server: ") for line in said)
    servers = []

    def start(_: float) -> None:  # in the place of the first wait
        if not servers:
            servers.append(http.server.HTTPServer(address, Healthy))
            threading.Thread(target=servers[0].serve_forever, daemon=True).start()

    try:
        assert fault.retry_with(sleep=start)() is None
    finally:
        servers[0].shutdown()
        servers[0].server_close()
    assert capsys.readouterr().err.startswith("waiting for Prefect's server: ")
