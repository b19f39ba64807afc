"""Promote a candidate: its data to DVC's remote, the decision on the record, both to where others see them."""

import subprocess
import sys
from pathlib import Path

from prefect import flow, get_run_logger, task

from gunshot.promotion import registry

RETRIES = {"retries": 3, "retry_delay_seconds": [2, 10, 60]}


def _run(*command: str | Path) -> str:
    """Return what a command prints; RuntimeError with its last lines where it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(map(str, command))} exited with {done.returncode}: {done.stdout.strip()[-2000:]}"
        )
    return done.stdout


@task(**RETRIES)
def keep() -> None:
    """Push the data to DVC's remote, where there is one, so that a promoted model can always be had again."""
    dvc = Path(sys.executable).with_name("dvc")
    if _run(dvc, "remote", "list").strip():
        _run(dvc, "push", "--quiet")
    else:
        get_run_logger().warning("no DVC remote: the cache has the only copy of the model")


@task(**RETRIES)
def publish() -> None:
    """Push the branch and the decision's tags to origin, all or none; others' decisions in between refuse it."""
    if "origin" in _run("git", "remote").split():
        tags = _run("git", "tag", "--list", f"{registry.ARTIFACT}[@#]*").split()
        _run("git", "push", "--atomic", "--quiet", "origin", "HEAD", *(f"refs/tags/{tag}" for tag in tags))


@flow
def promote(
    candidate: str, *, dossier: Path, review: dict, by: str, reason: str, overrule: dict[str, str] | None = None
) -> dict:
    """Put a candidate into production and return the record's entry; arguments and errors as of `registry.promote`."""
    keep()
    entry = registry.promote(candidate, dossier=dossier, review=review, by=by, reason=reason, overrule=overrule)
    get_run_logger().info("%s is in production, line %d of the record", entry["version"], entry["number"])
    publish()
    return entry
