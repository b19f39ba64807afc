"""Long proofs: the same hashes from two clean runs, and from a run that is killed at every stage."""

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

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]
GONE_S = 10.0  # after a kill, until nothing of the run may be left; a busy machine takes long to give its memory back


class Run:
    """`dvc repro` in a process group of its own, followed stage by stage."""

    def __init__(self, project: Project, **env: str):
        self.root = project.root
        env = project.env | {"PYTHONUNBUFFERED": "1"} | env
        self.process = subprocess.Popen(
            ["dvc", "repro"], cwd=project.root, env=env, start_new_session=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

        self.started: queue.Queue[str | None] = queue.Queue()  # the stages' names as they start, then None
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        for line in self.process.stdout:
            for stage in ran(line):
                self.started.put(stage)
        self.started.put(None)

    def kill(self, group: bool) -> None:
        (os.killpg if group else os.kill)(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def left(self) -> list[str]:
        """Commands that still run in the project's folder."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and (entry / "cwd").resolve() == self.root.resolve():
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        return [command for command in found if command]


def outs(project: Project) -> dict[str, dict[str, str]]:
    return {name: {out["path"]: out["md5"] for out in stage["outs"]} for name, stage in project.lock().items()}


@pytest.fixture(scope="module")
def again(fresh, tmp_path_factory) -> Project:
    """A second clean run in another folder, with the seconds that each stage took."""
    project = fresh(tmp_path_factory.mktemp("again") / "elsewhere")
    run, marks = Run(project), []
    while stage := run.started.get():
        marks.append((stage, time.monotonic()))
    assert run.process.wait() == 0
    ends = [at for _, at in marks[1:]] + [time.monotonic()]
    project.took = {stage: end - at for (stage, at), end in zip(marks, ends, strict=True)}
    return project


def test_two_clean_runs_have_the_same_hashes(made, again):
    assert outs(again) == outs(made)
    assert again.lock() == made.lock()
    page = "reports/index.html"
    assert (again.root / page).read_bytes() == (made.root / page).read_bytes()


def mend(project: Project) -> None:
    """Do as `make` does: a kill may cut off dvc.lock and rwlock, written in place; the run cache has the stages."""
    told = subprocess.run(["dvc", "stage", "list"], cwd=project.root, env=project.env, capture_output=True, text=True)
    if re.search(r"dvc\.lock' (is invalid|validation failed)", told.stderr):
        (project.root / "dvc.lock").unlink()  # nothing is committed here
    locks = project.root / ".dvc/tmp/rwlock"
    try:
        json.loads(locks.read_text())
    except (OSError, ValueError):
        locks.unlink(missing_ok=True)


@pytest.mark.parametrize(("group", "shell"), [(False, "/bin/sh"), (True, "/bin/bash")], ids=["dvc alone", "group"])
def test_a_run_killed_at_every_stage_ends_as_if_it_had_not_been(again, fresh, tmp_path, group, shell):
    project, order = fresh(tmp_path / "project"), list(again.took)
    rng, killed, last = random.Random(f"kill {group}"), 0, -1
    while True:
        run = Run(project, SHELL=shell)
        # The next stage that has not been killed; one that ended just before a kill does not start again.
        while (stage := run.started.get()) and order.index(stage) <= last:
            pass
        if stage is None:
            break
        last, took = order.index(stage), again.took[stage]
        with contextlib.suppress(queue.Empty):  # a stage that is faster this time leaves the kill to the next one
            run.started.get(timeout=rng.uniform(0.05, 0.9) * took)
            time.sleep(0.2)
        run.kill(group)
        killed += run.process.returncode == -signal.SIGKILL
        deadline = time.monotonic() + GONE_S
        while (left := run.left()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert left == [], f"killed in {stage}"
        mend(project)
    assert run.process.wait() == 0 and killed >= len(order) - 3  # a stage may be faster than the kill
    assert outs(project) == outs(again)
    assert project.lock() == again.lock()
    assert ran(project.repro()) == []
