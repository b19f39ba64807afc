"""Corpora handed to DVC, whose lock another command may hold: `dvc repro` for as long as it runs."""

import fcntl
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

DVC = Path(".dvc")
POLL_S = 0.5
LOCKED = ("Unable to acquire lock", "is being blocked by")


def ready(out: Path) -> None:
    """Return once nothing keeps `out`, a folder below the project's, from being written and tracked.

    Raises
    ------
    ValueError
        `out` or a folder above it is a link, or it is no folder.
    """
    for part in (out, *out.parents):
        if part.is_symlink():
            raise ValueError(
                f"{part}: leads to {part.resolve()}; DVC tracks nothing behind a link: put a folder in its place, or "
                "import under another --name"
            )
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: must be a folder; move that file away, or import under another --name")
    _wait("nothing is written before")


def track(out: Path) -> None:
    """Add `out` to DVC, whenever that is free.

    Raises
    ------
    ValueError
        DVC cannot, for another reason than its lock.
    """
    while True:
        _wait(f"{out} is whole, and tracked after that")
        command = [sys.executable, "-m", "dvc", "add", str(out)]  # with --quiet it would not say why it failed
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if not done.returncode:
            return
        if not any(text in done.stdout for text in LOCKED):
            why = next((line for line in done.stdout.splitlines() if line.startswith("ERROR")), done.stdout.strip())
            raise ValueError(f"{out}: all is imported, but DVC does not track it: {why}; mend that, then import again")
        time.sleep(POLL_S)


def _wait(meanwhile: str) -> None:
    """Return once no other command holds DVC's lock; say for which one this waits."""
    before = None
    while held := _holder():
        pid, command = held
        if pid != before:
            print(f"waits for process {pid}{command}, which holds DVC's lock; {meanwhile}", flush=True)
        before = pid
        time.sleep(POLL_S)


def _holder() -> tuple[int, str] | None:
    """Return a process that holds DVC's lock, or a file's while it runs a stage, and its command, if known."""
    locks: dict = {}
    with suppress(FileNotFoundError, ValueError):  # not there, or being written
        locks = json.loads((DVC / "tmp/rwlock").read_text(encoding="utf-8"))
    readers = [entry for entries in locks.get("read", {}).values() for entry in entries]
    for entry in [*locks.get("write", {}).values(), *readers]:
        if entry and _lives(entry["pid"]):
            return entry["pid"], f" ({entry['cmd']})"
    with suppress(FileNotFoundError), open(DVC / "tmp/lock", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read() or 0), ""
    return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True
