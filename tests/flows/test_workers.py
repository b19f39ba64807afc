"""A worker in another clone, as another user, who has SSH alone: what it makes comes back by Git and DVC."""

import contextlib
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gunshot.promotion import registry
from gunshot.signing import record
from tests.cli.test_another_user import AS, NOBODY
from tests.flows.prefect_server import environment, started, until
from tests.flows.registry_project import Project
from tests.flows.retraining_project import ROOT, STAGE, prepare

pytest_plugins = (
    "tests.flows.registry_project", "tests.flows.retraining_project", "tests.flows.prefect_server",
    "tests.stages.ssh_server",
)  # fmt: skip
PREFECT = (sys.executable, "-m", "prefect")
# The stage waits in the middle where it is told to: until `go`, or until so many have come so far.
HELD = """
import time
hold = pathlib.Path(os.environ.get("HOLD", "none"))
if (hold / "wait").exists():
    (hold / f"reached {os.getpid()}").touch()
    while not (hold / "go").exists() and len(list(hold.glob("reached *"))) < int((hold / "wait").read_text()):
        time.sleep(0.1)
"""


class Team:
    """A project whose people share an origin and a DVC remote on a server, and workers' clones of it."""

    def __init__(self, home: Project, ssh, folder: Path):
        self.home, self.ssh, self.folder, self.hold = home, ssh, folder, folder / "hold"
        self.hold.mkdir(mode=0o777)
        self.hold.chmod(0o777)

    def begin(self) -> None:
        prepare(self.home)
        root = self.home.root
        for name in ("flows", "gunshot"):  # the code, as every clone of the project has it
            (root / name).symlink_to(ROOT / name)
        shutil.copy(ROOT / "pyproject.toml", root)
        (root / "stage.py").write_text(STAGE.replace('print("making"', f'{HELD}\nprint("making"'))
        for name in ("origin.git", "store"):
            (self.folder / name).mkdir()
        self.home.run("git", "init", "-q", "--bare", "-b", "main", self.folder / "origin.git")
        self.home.run("git", "remote", "add", "origin", self.ssh.url(self.folder / "origin.git"))
        self.home.run("dvc", "remote", "add", "-q", "-d", "lab", self.ssh.url(self.folder / "store"))
        self.home.run("git", "add", "-A")
        self.home.run("git", "commit", "-qm", "a team")
        self.home.run("git", "push", "-q", "origin", "main", "--tags")
        self.key(root)
        self.home.run("dvc", "push", "-q", "--all-tags")

    def key(self, root: Path) -> None:
        Project(root).run("dvc", "remote", "modify", "--local", "lab", "keyfile", self.ssh.folder / "key")

    def clone(self, name: str) -> Path:
        """Return a clone that belongs to nobody, in which the environment is as if `make` had been typed there."""
        root = self.folder / name
        self.home.run("git", "clone", "-q", self.ssh.url(self.folder / "origin.git"), root)
        self.key(root)
        environment(root / ".venv")
        (root / ".git/info/exclude").write_text("/.venv\n")
        if AS:
            for path in (root, *root.rglob("*")):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        return root

    @contextlib.contextmanager
    def worker(self, root: Path) -> Iterator:
        """Run a worker in a clone, as nobody."""
        home = root.with_name(f"{root.name} home")
        home.mkdir(mode=0o777)
        home.chmod(0o777)
        names = ("HOME", "TMPDIR", "PREFECT_HOME", "DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR")
        given = os.environ | dict.fromkeys(names, str(home)) | {"HOLD": str(self.hold), "USER": "nobody"}
        given |= {"LOGNAME": "nobody", "GUNSHOT_KEY": "/nonexistent/key.pem"}
        command = (*AS, root / ".venv/bin/python", "-m", "prefect", "worker", "start", "--pool", "lab", "--limit", "1")
        with started(home / "worker.log", *command, "--name", root.name, cwd=root, env=given) as one:
            yield one


@pytest.fixture
def team(copy, ssh, tmp_path, monkeypatch) -> Iterator[Team]:
    """The team, its storage server at work; its folder is open to all, as no test's own is."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("GIT_SSH_COMMAND", ssh.git)
    with ssh.running(), tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        team = Team(copy, ssh, Path(name))
        team.begin()
        yield team


@pytest.fixture
def pool(team, server):
    """A work pool with what flows/elsewhere.yaml declares, set up by Prefect's own commands."""
    team.home.run(*PREFECT, "work-pool", "create", "lab", "--type", "process")
    team.home.run(*PREFECT, "--no-prompt", "deploy", "--prefect-file", ROOT / "flows/elsewhere.yaml", "--all")
    return server


def slots(client) -> int:
    """How many hold the right to retrain."""
    return client.read_global_concurrency_limit_by_name(worktree().LIMIT).active_slots


def worktree():
    return importlib.import_module("flows.worktree")


def eventually(happens, *, seconds: float) -> float:
    """Wait until something happens; return how long it took, s."""
    begin = time.monotonic()
    while not happens():
        assert time.monotonic() < begin + seconds
        time.sleep(0.5)
    return time.monotonic() - begin


def submit(deployment: str, **parameters):
    from prefect.deployments import run_deployment

    return run_deployment(deployment, parameters=parameters, timeout=0, as_subflow=False)


def kill_all_in(root: Path) -> None:
    """Kill every process that works in a clone, as when its machine loses power."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").resolve().is_relative_to(root):
                os.kill(int(entry.name), signal.SIGKILL)


@pytest.mark.exhaustive
@pytest.mark.timeout(1200)
def test_a_worker_retrains_from_the_remote_alone_and_its_candidate_comes_back(team, pool, tmp_path):
    root, home = team.clone("one"), team.home
    python = environment(tmp_path / "environment")
    with team.worker(root), started(tmp_path / "serve.log", python, "-m", "flows.serve", cwd=home.root):
        submit("retrain-elsewhere/lab", reason="rain")
        until(pool, "retrain-elsewhere", "COMPLETED")
        waiting = until(pool, "review", "PAUSED")
        folder = Path(waiting.parameters["folder"])
        branch = f"retrain/{folder.name}"
        gates = json.loads((folder / "gates.json").read_text())
        assert folder.parent == home.root / "reports/candidates" and (folder / "dossier.html").read_text() == "the page"
        assert gates["candidate"] == home.run("git", "rev-parse", branch).strip()
        assert "rain" in home.run("git", "log", "-1", "--format=%s", branch) and home.run("git", "status", "-s") == ""
        assert not list(root.glob("reports/candidates/*")) and not list(root.glob(".worktrees/*"))
        if AS:
            assert {path.stat().st_uid for path in root.rglob("*") if not path.is_symlink()} == {NOBODY}
        time.sleep(heartbeats().WITHIN_S + 30)  # who waits for a person sends no heartbeat, and has not crashed
        assert until(pool, "review", "PAUSED").id == waiting.id
        pool.resume_flow_run(waiting.id, run_input={"decision": "approve", "by": "Ada", "reason": "better in rain"})
        until(pool, "review", "COMPLETED")
    last = record.read(home.root)[-1]
    assert (last["version"], last["commit"]) == ("v1.1.0", gates["candidate"])
    assert registry.content(last, root=home.root) == b"three"  # from DVC's remote: it was never made here


def heartbeats():
    return importlib.import_module("flows.heartbeats")


@pytest.mark.exhaustive
@pytest.mark.timeout(1200)
def test_a_worker_that_dies_leaves_a_run_that_crashed_and_a_free_slot_within_two_minutes(team, pool, tmp_path):
    one, two = team.clone("one"), team.clone("two")
    (team.hold / "wait").write_text("1000")
    python = environment(tmp_path / "environment")
    serving = started(tmp_path / "serve.log", python, "-m", "flows.serve", cwd=team.home.root)
    with serving, team.worker(one):
        first = submit("retrain-elsewhere/lab", reason="the first")
        eventually(lambda: list(team.hold.glob("reached *")), seconds=180)
        assert slots(pool) == 1
        begin = time.monotonic()
        kill_all_in(one)
        eventually(lambda: pool.read_flow_run(first.id).state_type.value == "CRASHED", seconds=120)
        crashed_s = time.monotonic() - begin
        eventually(lambda: slots(pool) == 0, seconds=120 - crashed_s)
        print(f"crashed after {crashed_s:.0f} s, free after {time.monotonic() - begin:.0f} s")
        (team.hold / "go").touch()
        with team.worker(two):
            second = submit("retrain-elsewhere/lab", reason="the second")
            eventually(lambda: pool.read_flow_run(second.id).state_type.value == "COMPLETED", seconds=300)
