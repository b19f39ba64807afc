"""The command gunshot: a module for each topic, thin; the work is in the library."""

import subprocess
import sys

from gunshot.cli import (  # noqa: F401 - each hangs its commands in
    annotate,
    cross_validate,
    detect,
    drift,
    explore,
    export,
    field,
    firmware,
    import_,
    listen,
    models,
    review,
    sim_to_real,
    simulate,
    tag,
)
from gunshot.cli.app import app


def main() -> None:
    """Run the command; what a user can mend is told in one line, without a traceback."""
    try:
        app()
    except (ValueError, OSError, subprocess.CalledProcessError) as e:
        sys.exit(f"error: {e}")
