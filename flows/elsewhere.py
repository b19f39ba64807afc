"""Flows that a worker of a pool runs in a clone of its own: what they make comes back by Git and DVC."""

import shutil
import tempfile
from pathlib import Path

from prefect import flow, task
from prefect.deployments import run_deployment

from flows.commands import DVC, run
from flows.failures import notify
from flows.promote import RETRIES
from flows.receive import FOLDERS, RECEIVE
from flows.retrain import make
from flows.worktree import BRANCH
from gunshot.promotion.repository import Repository


@task(**RETRIES)
def send(folder: Path) -> None:
    """Push a candidate: its data to DVC's remote, its branch and its folder to origin.

    The folder is a commit of its own under `refs/candidates`, since Git ignores it in every tree.
    """
    branch = f"{BRANCH}/{folder.name}"
    run(DVC, "push", "--quiet", "--all-branches")
    repo = Repository(Path())
    with tempfile.TemporaryDirectory() as scratch:
        index = {"GIT_INDEX_FILE": f"{scratch}/index"}
        repo.git("add", "--force", "--", str(folder), **index)
        tree = repo.git("write-tree", **index).decode().strip()
    message = f"What candidate {folder.name} is decided from"
    commit = repo.git("commit-tree", tree, "-p", branch, "-m", message).decode().strip()
    run("git", "push", "--atomic", "--quiet", "origin", branch, f"{commit}:{FOLDERS}/{folder.name}")


@flow(on_failure=[notify], on_crashed=[notify])
def retrain_elsewhere(reason: str = "by hand") -> str | None:
    """Make a candidate here, send it, and let it be received where `flows.serve` runs; return its name.

    None where the pipeline makes the champion again. Only what is committed and in DVC's remote is trained on, not what
    lies in somebody's data/field. Nothing of the candidate is left here but what is in DVC's cache.
    """
    folder = make(reason)
    if folder is None:
        return None
    send(folder)
    shutil.rmtree(folder)
    run("git", "branch", "--quiet", "-D", f"{BRANCH}/{folder.name}")
    run_deployment(RECEIVE, parameters={"name": folder.name}, timeout=0, as_subflow=False)
    return folder.name
