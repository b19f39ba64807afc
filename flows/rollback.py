"""Roll back: `python -m flows.rollback BY REASON [VERSION]` in the project's folder."""

import sys

from prefect import flow, get_run_logger

from flows.failures import command
from flows.promote import publish
from gunshot.promotion import bundle, registry


@flow
def rollback(by: str, reason: str, to: str | None = None) -> dict:
    """Give an earlier version back and return the record's entry; arguments and errors as of `registry.rollback`."""
    entry = registry.rollback(to=to, by=by, reason=reason)
    get_run_logger().info("%s is in production again, see %s", entry["version"], bundle.export())
    publish()
    return entry


if __name__ == "__main__":
    command(rollback, *sys.argv[1:])
