"""Work that maps, on a Dask cluster: `processes.in_order` comes here where DASK_SCHEDULER_ADDRESS is set.

Items go in shards of some seconds. Beside each worker a process of this map's own computes them, see
`gunshot.base.shards`. A shard whose worker ends is computed again by another.
"""

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing import Pipe
from typing import NamedTuple
from uuid import uuid4

try:
    from distributed import Client, Future, KilledWorker, get_worker
except ModuleNotFoundError as e:
    needed = "DASK_SCHEDULER_ADDRESS is set, which needs the extra cluster (.venv/bin/uv pip install -e '.[cluster]')"
    raise ValueError(f"{e}: {needed}; unset it to run on this machine") from None

from gunshot.base import files, shards

SHARD_S = 2.0  # of work in a shard
WAIT_S = 10.0  # for a result, before it is said that there is no worker
ASK_S = 0.5  # how often a worker looks whether what it computes is still wanted
START = "import sys; from gunshot.base.shards import main; main()"


class ClusterError(ValueError):
    """Workers cannot be reached, or could not or would not compute a shard; as text, why and what to do."""


class Child:
    """A process beside a worker."""

    def __init__(self, begin: bytes):
        self.pipe, there = Pipe()
        with there:
            number = there.fileno()
            command = [sys.executable, "-c", START, str(number)]
            self.started = subprocess.Popen(command, pass_fds=[number], stdin=subprocess.DEVNULL)
        self.pipe.send_bytes(begin)

    def ask(self, shard: bytes, wanted: Callable[[], bool]) -> tuple[str, object]:
        """Return what `shards` answers; "ended" and the exit code where the process ended, or was ended, instead."""
        try:
            self.pipe.send_bytes(shard)
            while not self.pipe.poll(ASK_S):
                if not wanted():
                    self.started.kill()
            return self.pipe.recv()
        except (EOFError, OSError):
            return "ended", self.end()

    def end(self) -> int:
        """Return the exit code of the process, which ends when nobody listens."""
        self.pipe.close()
        return self.started.wait()


class Crew:
    """The processes of one map beside one worker, one a thread; they end when Dask lets go of it."""

    def __init__(self, begin: bytes):
        self.begin, self.idle = begin, []

    def __reduce__(self):
        return Crew, (self.begin,)

    def __del__(self):
        for child in self.idle:
            child.end()

    def compute(self, shard: bytes, wanted: Callable[[], bool]) -> tuple[str, object]:
        """Return what `Child.ask` does."""
        try:
            child = self.idle.pop() if self.idle else Child(self.begin)
        except OSError as e:
            return "refused", str(e)
        kind, answer = child.ask(shard, wanted)
        if kind in ("done", "failed"):
            self.idle.append(child)
        elif kind == "refused":
            child.end()
        return kind, answer


def compute(crew: Crew, shard: bytes) -> tuple[str, object, str]:
    """Return what `Child.ask` does, and this worker's name."""
    worker = get_worker()
    key = worker.get_current_task()

    def wanted() -> bool:  # not where the client has gone
        task = worker.state.tasks.get(key)
        return task is not None and task.state != "cancelled"

    return *crew.compute(shard, wanted), f"worker {worker.name} ({worker.address})"


class Shard(NamedTuple):
    """Some of a map's items, and what will come of them."""

    name: str
    items: int
    future: Future


def in_order(function: Callable, items: Iterable, *shared, batch: int = 4) -> Iterator:
    """Yield ``function(item, *shared)`` for each item, in order, computed by workers that may come and go.

    `batch` is the number of items of the first shards; then their time decides.

    Raises
    ------
    ClusterError
        No scheduler answers, a worker refuses, or one ended with a shard: of memory, most likely.
    """
    items = list(items)
    if not items:
        return
    with _connected() as client, shards.terms() as terms:
        begin = pickle.dumps((terms, shards.packed((function, shared))))
        run, label = uuid4().hex[:8], getattr(function, "__qualname__", None) or function.func.__qualname__
        # A task and no scattered data: what computes can be computed again where its worker ends.
        crew = client.submit(Crew, begin, key=f"{label} start-{run}")
        ahead, at, size = deque(), 0, batch
        while at < len(items) or ahead:
            threads = sum(client.nthreads().values())
            while at < len(items) and len(ahead) < 2 * threads + 2:
                part = items[at : at + size]
                content = pickle.dumps(shards.packed(part))
                future = client.submit(compute, crew, content, key=f"{label}-{run}-{at}", priority=-at)
                name = f"{label}, items {at} to {at + len(part) - 1} of {len(items)} (from {str(part[0])[:200]})"
                ahead.append(Shard(name, len(part), future))
                at += len(part)
            shard = ahead.popleft()
            results, seconds = _results(client, shard)
            most = (len(items) - at) // (2 * threads or 1)  # so that all have work until the end
            size = max(1, min(int(SHARD_S * shard.items / max(seconds, 1e-6)), most))
            yield from results


@contextmanager
def _connected() -> Iterator[Client]:
    """Give a client of the scheduler, with Dask's own settings of security."""
    address = os.environ["DASK_SCHEDULER_ADDRESS"]
    try:
        client = Client(address, set_as_default=False)
    except (OSError, ValueError, TypeError, RuntimeError) as e:
        remedy = "start a scheduler there, or unset it: then processes of this machine do the work"
        raise ClusterError(f"DASK_SCHEDULER_ADDRESS={address}: {e}; {remedy}") from None
    with client:
        shown = "dashboard" in client.scheduler_info(n_workers=0)["services"]
        _say(f"on the Dask cluster at {address}" + (f", see {client.dashboard_link}" if shown else ""))
        yield client


@cache  # once a process
def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _results(client: Client, shard: Shard) -> tuple[list, float]:
    """Return a shard's results and the seconds that they took, whoever has to wait; or raise what the function did."""
    while True:
        try:
            kind, answer, worker = shard.future.result(timeout=WAIT_S)
            break
        except TimeoutError:
            if not client.nthreads():
                _say(f"the scheduler at {client.scheduler.address} has no worker; waiting for one")
        except KilledWorker as e:
            ended = f"{e.allowed_failures + 1} workers ended with it, the last at {e.last_worker.address}"
            remedy = "most likely they had too little memory: give them more, or start fewer on a machine"
            raise ClusterError(f"{shard.name}: {ended}; {remedy}") from None
        except Exception as e:  # of Dask: what the function raises comes as an answer
            what = f"{type(e).__name__}: {e}"
            remedy = "scheduler and workers must run this project's environment, and go on running"
            raise ClusterError(f"{shard.name}: {what}; {remedy}") from e
    if kind == "done":
        return pickle.loads(answer)
    if kind == "failed":
        error = pickle.loads(answer)
        error.add_note(f"in {shard.name} on {worker}")
        raise error
    if kind == "refused":
        raise ClusterError(f"{shard.name}: {worker} refuses: {files.shown(answer)}")
    ended = f"its process on {worker} ended with {answer}"
    remedy = "most likely it had too little memory (-9): give that machine more, or start fewer workers on it"
    raise ClusterError(f"{shard.name}: {ended}; {remedy}")
