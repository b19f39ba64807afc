"""The commands that flows type, of this Python's environment, whichever shell started it."""

import subprocess
import sys
from pathlib import Path

DVC, GUNSHOT = (Path(sys.executable).with_name(name) for name in ("dvc", "gunshot"))


def run(*command: str | Path, cwd: Path | None = None, errors: bool = True) -> str:
    """Return what a command prints, with what it says of errors unless told otherwise.

    RuntimeError with its last lines where it fails.
    """
    done = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT if errors else subprocess.PIPE,
        text=True, errors="replace",
    )  # fmt: skip
    if done.returncode:
        output = (done.stdout + (done.stderr or "")).strip()[-2000:]
        raise RuntimeError(f"{' '.join(map(str, command))} exited with {done.returncode}: {output}")
    return done.stdout
