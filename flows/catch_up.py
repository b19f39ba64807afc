"""A worker's clone brought to origin's branch: a pull step of Prefect's, before the run's flow is loaded."""

from flows import worktree
from flows.commands import DVC, run

LOCK = "requirements.lock"


def catch_up(branch: str = "main") -> dict[str, str]:
    """Bring this clone to origin's branch, with its tags and data; return the commit.

    What DVC's remote does not have is computed by the run.

    Raises
    ------
    RuntimeError
        The clone is not clean, origin or DVC's remote is not reached, or the packages of this environment are others.
    """
    worktree.clean()
    run("git", "fetch", "--quiet", "--tags", "origin", branch)
    if run("git", "diff", "--name-only", "HEAD", "FETCH_HEAD", "--", LOCK):
        raise RuntimeError(
            f"{LOCK} has changed: in this worker's clone, `git checkout origin/{branch} && make .venv/ready`, "
            "and start the worker again"
        )
    run("git", "checkout", "--quiet", "--detach", "FETCH_HEAD")
    run(DVC, "fetch", "--quiet")
    return {"commit": run("git", "rev-parse", "HEAD").strip()}
