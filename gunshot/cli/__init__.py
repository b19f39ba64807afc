"""The command gunshot: a module for each command or group, named after it. The work is in the library.

A module imports the library in its commands' bodies: `gunshot --help` and each command load what they need alone.
"""

import gc
import subprocess
import sys

from gunshot.cli import (  # noqa: F401 - each hangs its commands in
    annotate,
    bridge,
    calibrate,
    cascade,
    compare,
    console,
    cross_validate,
    demo,
    detect,
    device,
    doctor,
    dossier,
    drift,
    evaluate,
    explore,
    export,
    firmware,
    hub,
    hub_audit,
    hub_cases,
    hub_collect,
    hub_demo,
    hub_orders,
    hub_rollout,
    hub_watch,
    import_,
    incidents,
    leave_one_out,
    listen,
    locate,
    models,
    promote,
    purge,
    review,
    rollback,
    runtime,
    search,
    sim_and_real,
    sim_to_real,
    simulate,
    tag,
    tag_report,
    train_verifier,
    wake,
)
from gunshot.cli.app import app


def main() -> None:
    """Run the command; what a user can mend is told in one line, without a traceback."""
    sys.stdout.reconfigure(errors="backslashreplace")  # a name need not be text that the terminal's encoding has
    try:
        app()
    except (ValueError, OSError, subprocess.CalledProcessError) as e:
        sys.exit(f"error: {e}")
    finally:
        gc.freeze()  # or Python would go through all that was imported once more before it ends
