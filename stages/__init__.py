"""One file a DVC stage: read its section, load, call the library, save."""

import os

from gunshot import processes

if os.environ.get("DVC_STAGE"):  # a killed `dvc repro` must not leave a stage that still writes
    # stages/run notes who started it; a process that a stage starts is told nothing and has its own parent.
    processes.end_with_parent(int(os.environ.pop("STAGE_PARENT", os.getppid())))
