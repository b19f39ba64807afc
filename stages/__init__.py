"""One file a DVC stage: read its section, load, call the library, save."""

import os

from gunshot import processes

if os.environ.get("DVC_STAGE"):  # a killed `dvc repro` must not leave a stage that still writes
    processes.end_with_parent()
