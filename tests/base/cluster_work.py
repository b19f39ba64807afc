"""What the tests of clusters map: a module that workers import."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from gunshot.base import files, processes, seeds


def product(item: int, *shared) -> tuple:
    """An array that the order of sums would change."""
    rng = seeds.generator(1, str(item))
    return item, (rng.normal(size=(40, 300)) @ rng.normal(size=300)).tobytes(), shared


def where(_: int, shared: object) -> tuple[int, int, int]:
    return os.getppid(), os.getpid(), id(shared)


def fail(item: int) -> int:
    if item == 3:
        raise ValueError(f"item={item} is bad")
    return item


def wait(item: int, folder: Path) -> None:
    """Never end; the file `item` has this process's id."""
    with files.atomic(folder / str(item)) as part:
        part.write_text(str(os.getpid()))
    signal.pause()


def wait_apart(item: int, folder: Path) -> int:
    """As `wait`, in a process of its own, but item 0."""
    return processes.apart(wait, item, folder) if item else processes.apart(fail, item)


def stop_itself(item: int, folder: Path) -> int:
    """Die of memory, as the kernel does it."""
    if item == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def stop_worker(item: int) -> int:
    """Take the worker along."""
    if item == 2:
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()
    return item


def write(item: int, folder: Path, notes: Path) -> int:
    """Write a file in two halves; between those of item 5 the first attempt waits for the end of its worker.

    In `notes` lie a file for each worker that takes part, `first`, with the worker of that attempt, and `go`, before
    which nothing is written from item 8 on.
    """
    (notes / str(os.getppid())).touch()
    with files.atomic(folder / f"{item}.txt") as part:
        part.write_text(f"half of {item}")
        if item == 5 and not (notes / "first").exists():
            with files.atomic(notes / "first") as note:
                note.write_text(str(os.getppid()))
            signal.pause()
        while item >= 8 and not (notes / "go").exists():
            time.sleep(0.01)
        part.write_text(f"all of {item}")
    return item


def blas_threads(_: int) -> tuple[list[int], str]:
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    return [pool["num_threads"] for pool in threadpool_info()], os.environ.get("OPENBLAS_CORETYPE", "none")
