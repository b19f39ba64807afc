"""A Prefect server on loopback, on SQLite or on a PostgreSQL of its own, and processes that end with their test."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.retraining_project import GUNSHOT, ROOT


@contextlib.contextmanager
def started(log: Path, *command: str | Path, **options) -> Iterator[subprocess.Popen]:
    """Run a command and what it starts, for as long as the test needs it."""
    with log.open("a") as out:
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


def free_port() -> str:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


class Server:
    """A server of this test's, its port the same however often it is started, and this process's client of it."""

    def __init__(self, folder: Path, client):
        self.folder, self.client = folder, client

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen]:
        """Run it, with the settings of pyproject.toml and of the environment; give its process once it answers."""
        log, port = self.folder / "server.log", os.environ["PREFECT_API_URL"].split(":")[2].removesuffix("/api")
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
        with started(log, *command, cwd=ROOT) as one:
            end = time.monotonic() + 180
            while self.client.api_healthcheck() is not None:
                assert one.poll() is None and time.monotonic() < end, log.read_text()
                time.sleep(1)
            yield one


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A server on SQLite that is not started yet."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    url = {PREFECT_API_URL: os.environ["PREFECT_API_URL"]}
    with temporary_settings(url), get_client(sync_client=True) as client:
        yield Server(tmp_path, client)


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """Run Debian's PostgreSQL on a loopback port, in a folder of its own; give the URL that Prefect's server takes.

    Its user owns a database and is no superuser. PostgreSQL refuses to run as root, for whom `postgres` runs it.
    """
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not programs:
        pytest.fail("/usr/lib/postgresql/*/bin/postgres: no such file; apt-get install postgresql")
    port, root = free_port(), os.geteuid() == 0
    owner = {"user": "postgres", "group": "postgres", "extra_groups": []} if root else {}
    with tempfile.TemporaryDirectory() as name:
        if root:
            shutil.chown(name, "postgres", "postgres")

        def run(program: str, *arguments: str) -> None:
            with Path(name, "said").open("w+") as said:  # no pipe, which the server would hold open
                command = [programs[-1].with_name(program), *arguments]
                done = subprocess.run(command, stdout=said, stderr=subprocess.STDOUT, cwd=name, **owner)
                said.seek(0)
                assert done.returncode == 0, f"{command}: {said.read()}"

        run("initdb", "-D", "data", "--auth-local=peer", "--auth-host=scram-sha-256", "--no-sync")
        run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", f"-h 127.0.0.1 -p {port} -k {name}", "start")
        try:
            for sql in ("CREATE ROLE prefect LOGIN PASSWORD 'secret'", "CREATE DATABASE prefect OWNER prefect"):
                run("psql", "-q", "-h", name, "-p", port, "-d", "postgres", "-c", sql)
            yield f"postgresql+asyncpg://prefect:secret@127.0.0.1:{port}/prefect"
        finally:
            run("pg_ctl", "-D", "data", "-w", "-m", "immediate", "stop")


@pytest.fixture(params=[pytest.param("SQLite", marks=pytest.mark.exhaustive), "PostgreSQL"])
def server(request, stopped, monkeypatch):
    """The client of a server that runs, on either database."""
    with contextlib.ExitStack() as stack:
        if request.param == "PostgreSQL":
            url = stack.enter_context(postgresql())
            monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", url)
        stack.enter_context(stopped.running())
        yield stopped.client
        assert (stopped.folder / "prefect/prefect.db").exists() == (request.param == "SQLite")
