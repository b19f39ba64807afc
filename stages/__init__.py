"""One file a DVC stage: read its section, load, call the library, save."""

import atexit
import linecache
import os
import sys
import time
import traceback
from pathlib import Path
from types import TracebackType

from gunshot.base import processes


def paths_by_name() -> dict[str, Path]:
    """Return the paths of a command of the form `--name PATH --name PATH ...`, by name and in order."""
    names, paths = sys.argv[1::2], sys.argv[2::2]
    return {name.removeprefix("--"): Path(path) for name, path in zip(names, paths, strict=True)}


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print what the library tells the user, a ValueError that it raises itself, without a traceback."""
    *_, last = traceback.walk_tb(trace)
    frame, line = last
    raised = linecache.getline(frame.f_code.co_filename, line).strip().startswith("raise ")
    if issubclass(kind, ValueError) and raised and frame.f_globals.get("__name__", "").startswith("gunshot."):
        print(error, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _end

if os.environ.get("DVC_STAGE"):  # a killed `dvc repro` must not leave a stage that still writes
    # stages/run notes who started it; a process that a stage starts is told nothing and has its own parent.
    parent = os.environ.pop("STAGE_PARENT", None)
    processes.end_with_parent(int(parent or os.getppid()))
    if parent:
        began = time.monotonic()
        atexit.register(lambda: print(f"{os.environ['DVC_STAGE']}: {time.monotonic() - began:.0f} s"))
