"""What becomes of a run that fails: a command ends in one line, and somebody is told of a run on a schedule."""

import inspect
import logging
import sys

from prefect.blocks.core import Block
from prefect.logging.loggers import flow_run_logger

from gunshot.base import params

# Of what Prefect says of a run that failed, what `command` says in one line.
SAID_TWICE = ("Encountered exception during execution", "Finished in state Failed")


def notify(flow, flow_run, state) -> None:
    """Tell of a run of a deployment that failed, by the notification block that `schedule.notify` names.

    A hook of flows, of which nothing else may come: that nobody could be told is in the run's log. Its arguments have
    Prefect's names, by which a worker passes them.
    """
    if not flow_run.deployment_id:  # who typed a command reads its error
        return
    log, block = flow_run_logger(flow_run, flow), None
    try:
        block = params.load("schedule").schedule.notify
        if not block:
            log.warning("nobody is told that this run failed: schedule.notify in params.yaml names no block")
            return
        Block.load(block).notify(f"{flow_run.name}: {state.message}", subject=f"gunshot: {flow.name} failed")
    except Exception as error:
        log.error("nobody is told that this run failed, schedule.notify=%r: %s", block, error)


def command(flow, *arguments: str):
    """Run a flow as `python -m flows.NAME ARGUMENTS` and return what it returns; exit with 2 and one line on an error.

    Errors that are no person's to mend keep their traceback.
    """
    module = f"flows.{flow.name}"
    names = [
        f"[{name.upper()}]" if given.default is not given.empty else name.upper()
        for name, given in inspect.signature(flow.fn).parameters.items()
    ]
    required = sum(not name.startswith("[") for name in names)
    if not required <= len(arguments) <= len(names) or any(text.startswith("-") for text in arguments):
        print(f"usage: python -m {module} {' '.join(names)}", file=sys.stderr)
        sys.exit(2)
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: not record.getMessage().startswith(SAID_TWICE))
    try:
        return flow(*arguments)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
