"""The flows on a real server on loopback: a schedule makes a candidate, its page takes the decision."""

import contextlib
import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from retraining_project import GUNSHOT, ROOT, prepare

from gunshot import params
from gunshot.promotion import record

pytest_plugins = ("registry_project", "retraining_project")


def test_both_ways_to_serve_have_the_schedules_of_the_params(monkeypatch):
    monkeypatch.chdir(ROOT)
    serve = importlib.import_module("flows.serve")
    made = {d.name: [s.schedule.cron for s in d.schedules] for d in serve.deployments()}
    p = params.load("schedule").schedule
    assert made == {"retrain": [p.retrain], "monitor": [p.monitor], "review": []}
    declared = yaml.safe_load(Path("prefect.yaml").read_text())["deployments"]
    assert {d["name"]: [s["cron"] for s in d.get("schedules", [])] for d in declared} == made
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


@contextlib.contextmanager
def started(log: Path, *command: str | Path, **options):
    """Run a command and what it starts, for as long as the test needs it."""
    with log.open("w") as out:
        one = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, **options)
        try:
            yield one
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGTERM)
            try:
                one.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(one.pid, signal.SIGKILL)
                one.wait()


def environment(folder: Path) -> Path:
    """Make a Python of this environment whose `gunshot` is the stand-in; return it."""
    prefix = Path(sys.prefix)
    (folder / "bin").mkdir(parents=True)
    (folder / "lib").symlink_to(prefix / "lib")
    shutil.copy(prefix / "pyvenv.cfg", folder)
    (folder / "bin/python").symlink_to(sys.executable)
    (folder / "bin/dvc").symlink_to(prefix / "bin/dvc")
    (folder / "bin/gunshot").write_text(GUNSHOT)
    (folder / "bin/gunshot").chmod(0o755)
    return folder / "bin/python"


def until(client, flow: str, state: str, *, unlike=None, seconds: float = 240):
    """Return a run of a flow that is in a state, another one than `unlike`, as the server's API tells."""
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    wanted = FlowFilter(name=FlowFilterName(any_=[flow]))
    end, runs = time.monotonic() + seconds, []
    while time.monotonic() < end:
        runs = client.read_flow_runs(flow_filter=wanted, limit=50, sort="EXPECTED_START_TIME_ASC")
        for run in runs:
            if run.state_type.value == state and run.state.id != unlike:
                return run
        time.sleep(2)
    raise AssertionError(f"no run of {flow} is {state}: {[(run.state_name, run.state.message) for run in runs]}")


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A Prefect server on SQLite, and this process's client of it."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
    url = {PREFECT_API_URL: os.environ["PREFECT_API_URL"]}
    with (
        started(tmp_path / "server.log", *command, cwd=tmp_path),
        temporary_settings(url),
        get_client(sync_client=True) as client,
    ):
        end = time.monotonic() + 120
        while client.api_healthcheck() is not None:
            assert time.monotonic() < end, (tmp_path / "server.log").read_text()
            time.sleep(1)
        yield client


@pytest.mark.long
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
        assert serving.poll() is None and len(record.read(copy.root)) == 1
        given = {"decision": "approve", "by": "Ada", "reason": "better at night"}
        server.resume_flow_run(waiting.id, run_input=given | {"overrule": ["code=it passed"]})  # refused, asked again
        again = until(server, "review", "PAUSED", unlike=waiting.state.id)
        server.resume_flow_run(again.id, run_input=given)
        until(server, "review", "COMPLETED")
    last = record.read(copy.root)[-1]
    assert (last["version"], last["by"], last["reason"]) == ("v1.1.0", "Ada", "better at night")
    assert Path(waiting.parameters["folder"], "dossier.html").read_text() == "the page"
