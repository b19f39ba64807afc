"""Promote a candidate: its data to DVC's remote, the decision on the record, both to where others see them."""

from prefect import flow, get_run_logger, task

from flows.commands import DVC, run
from gunshot.promotion import registry

RETRIES = {"retries": 3, "retry_delay_seconds": [2, 10, 60]}


@task(**RETRIES)
def keep() -> None:
    """Push the data to DVC's remote, where there is one, so that a promoted model can always be had again."""
    if run(DVC, "remote", "list").strip():
        run(DVC, "push", "--all-branches", "--quiet")  # the candidate is on a branch of its own
    else:
        get_run_logger().warning("no DVC remote: the cache has the only copy of the model")


@task(**RETRIES)
def publish() -> None:
    """Push the branch and the decision's tags to origin, all or none; others' decisions in between refuse it."""
    if "origin" in run("git", "remote").split():
        tags = run("git", "tag", "--list", f"{registry.ARTIFACT}[@#]*").split()
        run("git", "push", "--atomic", "--quiet", "origin", "HEAD", *(f"refs/tags/{tag}" for tag in tags))


@flow
def promote(call: dict) -> dict:
    """Put a candidate into production and return the record's entry; `call` has the arguments of `registry.promote`."""
    keep()
    entry = registry.promote(**call)
    get_run_logger().info("%s is in production, line %d of the record", entry["version"], entry["number"])
    publish()
    return entry
