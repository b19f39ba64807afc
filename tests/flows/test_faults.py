"""What goes wrong while a model is made or recorded: in each the champion and the record survive."""

import contextlib
import functools
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from gunshot.promotion import audit, registry
from gunshot.signing import record
from tests.flows.prefect_server import environment, started
from tests.flows.registry_project import MODEL, Project
from tests.flows.retraining_project import RETRAIN, ROOT, STAGE, open_candidates, prepare, survived

pytest_plugins = ("tests.flows.registry_project", "tests.flows.retraining_project", "tests.flows.prefect_server")
HELD = """
import os, time
if "HOLD" in os.environ:
    pathlib.Path(os.environ["HOLD"], "reached").touch()
    while not pathlib.Path(os.environ["HOLD"], "go").exists():
        time.sleep(0.2)
"""


class Held:
    """A project to retrain, whose stage waits in the middle where it is told to."""

    def __init__(self, project: Project, folder: Path):
        self.project, self.hold, self.log = project, folder / "hold", folder / "retrain.log"
        self.python = environment(folder / "environment")
        self.hold.mkdir()
        prepare(project)
        (project.root / "stage.py").write_text(STAGE.replace('print("making"', f'{HELD}\nprint("making"'))
        project.run("git", "commit", "-qam", "held")
        self.head = project.head()

    def retraining(self, **variables: str):
        """Start the flow, whose stage waits until `go`."""
        given = os.environ | variables | {"HOLD": str(self.hold)}
        return started(self.log, self.python, *RETRAIN, "held", cwd=self.project.root, env=given)

    def reached(self, one: subprocess.Popen) -> None:
        end = time.monotonic() + 180
        while not (self.hold / "reached").exists():
            assert one.poll() is None and time.monotonic() < end, self.log.read_text()
            time.sleep(0.2)

    def go(self) -> None:
        (self.hold / "go").touch()


@pytest.fixture
def held(copy, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return Held(copy, tmp_path)


def kill(one: subprocess.Popen) -> None:
    """Kill a process and what it started, except what has a session of its own."""
    os.killpg(one.pid, signal.SIGKILL)
    one.wait()


def running(group: int) -> list[str]:
    """The processes of a group that have not ended."""
    members = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended while it was looked at
            state, _, its_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            members += [entry.name] if int(its_group) == group and state != "Z" else []
    return members


def states(client) -> list[str]:
    return sorted(run.state_type.value for run in client.read_flow_runs())


@pytest.mark.long
@pytest.mark.sweep(1, group="killed in mid-run")
def test_a_server_killed_in_mid_run_and_soon_back_costs_nothing(held, stopped):
    with stopped.running() as server, held.retraining() as one:
        held.reached(one)
        kill(server)
        held.go()
        time.sleep(5)  # some of its calls fail, and are repeated
        with stopped.running():
            assert one.wait(300) == 0, held.log.read_text()
            assert states(stopped.client) == ["COMPLETED"]
    survived(held.project, held.head)
    assert len(open_candidates(held.project)) == 1


@pytest.mark.long
@pytest.mark.sweep(1, group="killed in mid-run")
def test_a_server_killed_in_mid_run_fails_the_run_and_the_same_command_goes_on(held, stopped):
    with stopped.running() as server, held.retraining(PREFECT_CLIENT_MAX_RETRIES="0") as one:
        held.reached(one)
        kill(server)
        held.go()
        assert one.wait(300) == 1 and "Connection refused" in held.log.read_text()
    survived(held.project, held.head)
    assert not list(held.project.root.glob("reports/candidates/*"))
    with stopped.running():
        held.project.run(held.python, *RETRAIN)
        assert states(stopped.client) == ["COMPLETED", "RUNNING"]  # nobody could tell it that the first has ended
    survived(held.project, held.head)
    assert len(open_candidates(held.project)) == 1


@pytest.mark.long
@pytest.mark.sweep(1, group="killed in mid-run")
def test_a_retraining_killed_in_mid_run_leaves_no_lock_and_the_same_command_goes_on(held, stopped):
    with stopped.running(), held.retraining() as one:
        held.reached(one)
        os.kill(one.pid, signal.SIGKILL)  # its pipeline outlives it
        one.wait()
        survived(held.project, held.head)
        held.project.run(held.python, *RETRAIN)
        [name] = open_candidates(held.project)
        held.go()  # the first's pipeline goes on, in a folder that is no more
        end = time.monotonic() + 120
        while running(group=one.pid):
            assert time.monotonic() < end
            time.sleep(0.2)
    assert open_candidates(held.project) == [name]
    survived(held.project, held.head)


def mounts(test):
    """Run a test that mounts a file system: as root, or in a namespace in which its user is root."""

    @functools.wraps(test)
    def run(request, **given):
        if os.geteuid() == 0:
            return test(request, **given)
        inside = ["unshare", "-rm", sys.executable, "-m", "pytest", "-q", f"{__file__}::{request.node.name}"]
        done = subprocess.run(inside, text=True, capture_output=True)
        assert done.returncode == 0, f"mounting needs root, or a user namespace: {done.stdout}{done.stderr}"

    return run


@pytest.fixture
def small(request):
    """A function that makes an empty folder a file system of so many KiB, or gives it another size."""

    def mount(folder: Path, size: int) -> None:
        how = "remount," if folder.is_mount() else ""
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"{how}size={size}k", "none", folder], check=True)
        if not how:
            request.addfinalizer(lambda: subprocess.run(["umount", "--lazy", folder], check=True))

    return mount


@pytest.mark.long
@pytest.mark.sweep(2, group="a fault of the surroundings")
@mounts
def test_a_disk_that_is_full_while_a_model_is_written(request, flows, retraining, small):
    stages = yaml.safe_load(Path("dvc.yaml").read_text())
    stages["stages"]["quantize"]["cmd"] = f"head -c 8000000 /dev/zero > {MODEL}"
    Path("dvc.yaml").write_text(yaml.safe_dump(stages, sort_keys=False))
    retraining.run("git", "commit", "-qam", "a large model")
    head = retraining.head()
    Path(".worktrees").mkdir()
    small(Path(".worktrees"), 4096)
    with pytest.raises(RuntimeError, match=r"(?s)No space left on device.*failed to reproduce 'quantize'"):
        flows.retrain()
    survived(retraining, head)
    small(Path(".worktrees"), 65536)
    flows.retrain()
    survived(retraining, head)
    assert len(open_candidates(retraining)) == 1


def fill(disk: Path, room: int) -> None:
    """Leave so many KiB of a file system."""
    free = os.statvfs(disk)
    (disk / "ballast").write_bytes(bytes(free.f_bavail * free.f_frsize - room * 1024))


@pytest.mark.slow
@pytest.mark.sweep(1)
@mounts
@pytest.mark.parametrize("name", ["promote", "rollback"])
def test_a_disk_that_is_full_while_a_decision_is_recorded(request, project, small, tmp_path, name):
    """With a little more room each time, until there is enough: it is full at one step after another."""
    if name == "rollback":
        project.promote(project.second, "v1.0.0")
    disk, lines, failed = tmp_path / "disk", [], True
    before = record.read(project.root)
    disk.mkdir()
    small(disk, 65536)
    for room in range(0, 512, 8):
        shutil.copytree(project.root, disk / "project", symlinks=True)
        here = Project(disk / "project")
        decide = here.rollback if name == "rollback" else functools.partial(here.promote, project.second, "v1.0.0")
        fill(disk, room)
        try:
            decide()
            failed = False
        except (OSError, ValueError) as error:
            assert re.search("No space left|diskspace|couldn't write", str(error)), error
        entries = record.read(here.root)
        assert entries[: len(before)] == before
        lines.append(len(entries) - len(before))
        (disk / "ballast").unlink()
        if failed:
            decide()  # there is room again
        entries = record.read(here.root)
        assert len(entries) == len(before) + 1 and audit.verify(here.root) == []
        assert entries[-1]["version"] == {"promote": "v1.1.0", "rollback": "v1.0.0"}[name]
        shutil.rmtree(here.root)
        if not failed:
            break
    assert not failed and lines[0] == 0 and 1 in lines[:-1]


@pytest.mark.long
@pytest.mark.sweep(2, group="a fault of the surroundings")
def test_a_rejection_by_nobody_that_was_not_recorded_is_made_up_for(flows, retraining, monkeypatch, tmp_path):
    folder = Path(flows.retrain())
    from prefect import flow

    from flows.review import expire

    key = os.environ["GUNSHOT_KEY"]
    monkeypatch.setenv("GUNSHOT_KEY", str(tmp_path / "none"))
    later = datetime.now(UTC) + timedelta(days=400)
    flow(expire)(folder.parent, later)
    assert len(record.read(retraining.root)) == 1 and (folder / "review.json").exists()
    monkeypatch.setenv("GUNSHOT_KEY", key)
    for _ in range(2):
        flow(expire)(folder.parent, later)
        assert [e["by"] for e in record.read(retraining.root)[1:]] == ["nobody"]


@pytest.mark.long
@pytest.mark.sweep(2, group="a fault of the surroundings")
def test_without_the_others_repository_the_same_command_publishes(flows, retraining, monkeypatch, tmp_path):
    from flows import promote
    from flows.review import review

    retry = promote.publish.with_options(retries=0)
    monkeypatch.setattr(promote, "publish", retry)
    monkeypatch.setattr("flows.review.publish_decision", retry)
    folder = flows.retrain()
    given = ("--by", "Ada", "--reason", "better at night")
    retraining.run("gunshot", "review", folder, "approve", *given)
    retraining.run("git", "remote", "add", "origin", tmp_path / "origin")
    with pytest.raises(RuntimeError, match=r"git push .* exited with"):
        review(folder)
    assert registry.champion(record.read(retraining.root))["version"] == "v1.1.0"
    retraining.run("git", "init", "-q", "--bare", tmp_path / "origin")
    assert review(folder)["version"] == "v1.1.0" and len(record.read(retraining.root)) == 2
    assert "int8@v1.1.0" in retraining.run("git", "ls-remote", "--tags", "origin")


@pytest.fixture
def clock(monkeypatch):
    """A function that sets every clock of the flows and of the record so many days ahead."""

    def jump(days: int) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz=None):
                return datetime.now(tz) + timedelta(days=days)

        for name in ("flows.retrain", "flows.review", "flows.worktree", "gunshot.signing.record"):
            monkeypatch.setattr(importlib.import_module(name), "datetime", Clock)
        monkeypatch.setattr(registry.time, "time", lambda: datetime.now().timestamp() + 86400 * days)

    return jump


@pytest.mark.long
@pytest.mark.sweep(2, group="a fault of the surroundings")
def test_a_clock_that_jumps_while_a_candidate_waits(flows, retraining, clock):
    from flows.review import review

    clock(400)
    ahead = flows.retrain()
    clock(0)
    waiting = flows.retrain()  # beside the one that is of the future, and does not expire yet
    assert len(record.read(retraining.root)) == 1
    given = ("--by", "Ada", "--reason", "better at night")
    retraining.run("gunshot", "review", ahead, "approve", *given)
    assert review(ahead)["version"] == "v1.1.0"
    clock(400)
    assert flows.retrain() is None  # makes the new champion again
    # the one that waited was in time, but not by this clock: rejected, which is on the record and can be done again
    entries = record.read(retraining.root)
    assert [(e["event"], e["clock_behind"]) for e in entries[1:]] == [("promoted", False), ("rejected", False)]
    assert entries[-1]["commit"] == json.loads(Path(waiting, "gates.json").read_text())["candidate"]
    assert registry.champion(entries)["version"] == "v1.1.0"
    clock(0)
    entry = registry.rollback(by="Bo", reason="alarms at noon")
    assert entry["version"] == "v1.0.0" and entry["clock_behind"] and audit.verify(retraining.root) == []
    assert len(open_candidates(retraining)) == 2
