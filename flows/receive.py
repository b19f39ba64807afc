"""A candidate that a worker made elsewhere, brought here: `python -m flows.receive NAME` in the project's folder."""

import sys
from datetime import datetime

from prefect import flow

from flows.commands import run
from flows.failures import command, notify
from flows.retrain import CANDIDATES, hand_over
from flows.worktree import BRANCH, TIME

RECEIVE = "receive/receive"  # the deployment
FOLDERS = "refs/candidates"  # at origin, the folder of each candidate


@flow(on_failure=[notify], on_crashed=[notify])
def receive(name: str) -> str:
    """Fetch a candidate's branch and folder from origin and hand it over for review; return the folder.

    Its data stays in DVC's remote until it is asked for: the model at its promotion, all by `make` after a merge.

    Raises
    ------
    ValueError
        The name is no time such as candidates are named by.
    RuntimeError
        Origin has no such candidate.
    """
    try:
        datetime.strptime(name, TIME)
    except ValueError:
        raise ValueError(f"name={name!r} must be a candidate's, as 20261130T030000Z") from None
    folder = (CANDIDATES / name).absolute()
    refs = [f"{ref}:{ref}" for ref in (f"refs/heads/{BRANCH}/{name}", f"{FOLDERS}/{name}")]
    run("git", "fetch", "--quiet", "origin", *refs)
    run("git", "restore", f"--source={FOLDERS}/{name}", "--worktree", "--", CANDIDATES / name)
    hand_over(folder)
    return str(folder)


if __name__ == "__main__":
    command(receive, *sys.argv[1:])
