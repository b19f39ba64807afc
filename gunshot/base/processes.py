"""Processes that end with their parent, so that a killed run leaves nothing behind that still writes."""

import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context

from threadpoolctl import threadpool_limits

PR_SET_PDEATHSIG = 1  # prctl(2)
AHEAD = 256  # batches that are handed out before the first of them is asked for
_shared: tuple = ()


def end_with_parent(parent: int) -> None:
    """Ask Linux to kill this process when its parent, the process `parent`, dies; elsewhere do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before it was asked for
            os.kill(os.getpid(), signal.SIGKILL)


def _start(parent: int, shared: tuple) -> None:
    global _shared
    _shared = shared
    threadpool_limits(1)  # of BLAS: the processes are the parallelism
    end_with_parent(parent)


def _call(function: Callable, items: list) -> list:
    return [function(item, *_shared) for item in items]


def in_order(function: Callable, items: Iterable, *shared, workers: int, batch: int = 4) -> Iterator:
    """Yield ``function(item, *shared)`` for each item, in order, computed in `workers` processes.

    What is shared is handed to each process once, not with every item. AHEAD batches are at work, or wait to be
    yielded: neither many items nor many results fill the memory. Where DASK_SCHEDULER_ADDRESS is set, the workers of
    that cluster compute, however many they are, and the results are the same (DOC/scale.md).
    """
    if os.environ.get("DASK_SCHEDULER_ADDRESS"):
        from gunshot.base import cluster

        yield from cluster.in_order(function, items, *shared, batch=batch)
        return
    with ProcessPoolExecutor(workers, initializer=_start, initargs=(os.getpid(), shared)) as pool:
        left, waiting = iter(items), deque()
        try:
            while part := list(islice(left, batch)):
                waiting.append(pool.submit(_call, function, part))
                if len(waiting) > AHEAD:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()


def apart(function: Callable, *args):
    """Return ``function(*args)``, computed in one fresh process that ends with this one."""
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=end_with_parent, initargs=(os.getpid(),)) as pool:
        return pool.submit(function, *args).result()
