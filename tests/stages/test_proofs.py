"""The same bytes from two clean runs, in two folders, and from a run whose stages are killed."""

import contextlib
import json
import os
import queue
import random
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.stages.project import Project, ran
from tests.stages.test_wiring import STAGES

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]
GONE_S = 10.0  # after a kill, until nothing of the run may be left; a busy machine takes long to give its memory back


class Run:
    """`dvc repro` in a process group of its own, followed stage by stage."""

    def __init__(self, project: Project, **env: str):
        self.root = project.root
        env = project.env | {"PYTHONUNBUFFERED": "1"} | env
        self.program = subprocess.Popen(
            ["dvc", "repro"], cwd=project.root, env=env, start_new_session=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

        self.started: queue.Queue[str | None] = queue.Queue()  # the stages' names as they start, then None
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        for line in self.program.stdout:
            for stage in ran(line):
                self.started.put(stage)
        self.started.put(None)

    def kill(self, group: bool) -> None:
        (os.killpg if group else os.kill)(self.program.pid, signal.SIGKILL)
        self.program.wait()

    def left(self) -> list[str]:
        """Commands that still run in the project's folder."""
        commands = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and (entry / "cwd").resolve() == self.root.resolve():
                    commands.append((entry / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        return [command for command in commands if command]


def outs(project: Project) -> dict[str, dict[str, str]]:
    return {name: {out["path"]: out["md5"] for out in stage["outs"]} for name, stage in project.lock().items()}


def equal(project: Project, other: Project) -> None:
    """Two projects made the same: by the hashes, and by all of dvc.lock."""
    assert outs(project) == outs(other)
    assert project.lock() == other.lock()


@pytest.mark.exhaustive
def test_two_clean_runs_are_equal(pipeline, fresh, tmp_path):
    project = fresh(tmp_path / "elsewhere")
    assert len(ran(project.repro())) == len(STAGES)
    equal(project, pipeline)


def mend(project: Project) -> None:
    """Do as `make` does: a kill may cut off dvc.lock and rwlock, written in place; the run cache has the stages."""
    done = subprocess.run(["dvc", "stage", "list"], cwd=project.root, env=project.env, capture_output=True, text=True)
    if re.search(r"dvc\.lock' (is invalid|validation failed)", done.stderr):
        (project.root / "dvc.lock").unlink()  # nothing is committed here
    locks = project.root / ".dvc/tmp/rwlock"
    try:
        json.loads(locks.read_text())
    except (OSError, ValueError):
        locks.unlink(missing_ok=True)


def kill_stages(project: Project, stages: set[str], rng: random.Random) -> None:
    """Run the pipeline, and kill it once in each of these stages: DVC alone, or all that it started."""
    killed, left = 0, set(stages)
    while True:
        group = rng.random() < 0.5
        run = Run(project, SHELL="/bin/bash" if group else "/bin/sh")
        while (stage := run.started.get()) and stage not in left:
            pass
        if stage is None:
            break
        left.remove(stage)
        with contextlib.suppress(queue.Empty):  # where the stage ends before, the kill comes early in the next one
            run.started.get(timeout=10 ** rng.uniform(-1, 1.3))
            time.sleep(0.2)
        run.kill(group)
        killed += run.program.returncode == -signal.SIGKILL
        deadline = time.monotonic() + GONE_S
        while (remaining := run.left()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert remaining == [], f"killed in {stage}, {group=}"
        mend(project)
    assert run.program.wait() == 0 and not left
    assert killed >= len(stages) - 1  # the last stage may end before the kill


@pytest.mark.parametrize("count", [4, pytest.param(len(STAGES), marks=pytest.mark.exhaustive)])
def test_a_second_run_killed_in_its_stages_ends_equal_to_the_first(fresh, tmp_path, drawn, request, count):
    """The second run is in another folder; the stages that are not killed run there once, as in a clean run."""
    project = fresh(tmp_path / "elsewhere")
    kill_stages(project, set(drawn.sample(sorted(STAGES), count)), drawn)
    equal(project, request.getfixturevalue("pipeline"))  # only now: another process may be making it
    assert ran(project.repro()) == []
