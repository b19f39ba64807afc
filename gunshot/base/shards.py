"""The process in which a cluster's worker computes shards, fresh for each map: nothing of an earlier one counts.

A worker lives for days. Its process has loaded NumPy before `gunshot` could choose its loops, and would keep models,
tables and code that have changed since. Here all of it is new. The process ends when its worker does.
"""

import io
import os
import pickle
import platform
import queue
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path, PurePath
from typing import NamedTuple

import cloudpickle
from threadpoolctl import threadpool_limits

from gunshot.base import files, processor

LIBRARY = Path(__file__).parents[1]
SUFFIXES = (".py", ".yaml", ".j2")  # what the library is made of
NAMED = 5  # differences that are said


class RefusedError(RuntimeError):
    """A worker must not compute this: another result might come."""


class Terms(NamedTuple):
    """What a worker must agree with: the client's `fingerprint`, its folder, and a file that lies there meanwhile."""

    fingerprint: dict[str, str]
    folder: str
    mark: str


class Packed(NamedTuple):
    """Pickled work, and the places that it names by other than paths below the project's folder."""

    content: bytes
    places: tuple[str, ...]

    def load(self) -> object:
        """Return the work; RefusedError where a place is not seen here."""
        if unseen := [place for place in self.places if not os.path.exists(place)]:
            remedy = "all workers must see it at this path; TMPDIR says where temporary folders are"
            raise RefusedError(f"{files.shown(unseen[0])} is not there: {remedy}")
        return pickle.loads(self.content)


class _Pickler(cloudpickle.Pickler):
    """Notes the places that absolute paths name, and those that lead out of the folder."""

    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        self.places: set[str] = set()

    def reducer_override(self, obj: object):
        if isinstance(obj, PurePath) and (obj.is_absolute() or ".." in obj.parts):
            path = Path(obj)
            while not path.exists():  # yet: it is to be written
                path = path.parent
            self.places.add(str(path))
        return super().reducer_override(obj)


def packed(work: object) -> Packed:
    """Return work as a worker takes it: functions of a stage travel with their code, those of the library by name."""
    content = io.BytesIO()
    pickler = _Pickler(content)
    pickler.dump(work)
    return Packed(content.getvalue(), tuple(sorted(pickler.places)))


def fingerprint() -> dict[str, str]:
    """Return all that results depend on, by name: the library's files, packages, Python, and what is pinned."""
    sources = sorted(path for path in LIBRARY.rglob("*") if path.suffix in SUFFIXES)
    code = {f"gunshot/{p.relative_to(LIBRARY).as_posix()}": sha256(p.read_bytes()).hexdigest() for p in sources}
    # Not of sys.path, to which setuptools adds what it brings for itself.
    folders = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    installed = (info.name.removesuffix(".dist-info") for p in folders for info in Path(p).glob("*.dist-info"))
    packages = dict(name.rsplit("-", 1) for name in sorted(installed))
    # Where a processor is too old for the pins they are not set.
    pins = {name: os.environ.get(name, "none") for name in processor.PINS}
    return code | packages | pins | {"Python": platform.python_version(), "machine": platform.machine()}


def differences(client: dict[str, str], worker: dict[str, str]) -> str:
    """Return in words where two fingerprints differ; empty where they do not.

    Examples
    --------
    >>> differences({"numpy": "2.4.1", "scipy": "1.17.0"}, {"numpy": "2.4.0", "scipy": "1.17.0", "dask": "2026.8.0"})
    'dask 2026.8.0 there, none here; numpy 2.4.0 there, 2.4.1 here'
    """
    names = sorted(name for name in client.keys() | worker.keys() if client.get(name) != worker.get(name))
    said = [
        name if "/" in name else f"{name} {worker.get(name, 'none')} there, {client.get(name, 'none')} here"
        for name in names
    ]
    return "; ".join(said[:NAMED]) + (f" and {len(said) - NAMED} more" if len(said) > NAMED else "")


@contextmanager
def terms() -> Iterator[Terms]:
    """Give the terms of this process and its folder, in which a file marks it until the block ends."""
    folder = Path.cwd()
    with files.disk(folder), tempfile.NamedTemporaryFile(prefix=".gunshot-", suffix=files.SUFFIX, dir=folder) as mark:
        yield Terms(fingerprint(), str(folder), Path(mark.name).name)


def agree(terms: Terms) -> None:
    """Go to the client's folder, at its path or the one that this process was started in; RefusedError otherwise."""
    if said := differences(terms.fingerprint, fingerprint()):
        raise RefusedError(f"it does not run what is run here: {said}; update it, by `git pull` and `make`")
    for folder in (terms.folder, os.getcwd()):
        if Path(folder, terms.mark).exists():
            os.chdir(folder)
            return
    where = " nor ".join(dict.fromkeys(map(files.shown, (terms.folder, os.getcwd()))))
    raise RefusedError(f"it sees this folder neither at {where}; start it in the project's folder, on a disk for all")


def _computed(function: Callable, shared: tuple, items: list) -> tuple[str, object]:
    """Return "done", with the results and the seconds they took, or "failed", with the error as it was."""
    began = time.perf_counter()
    try:
        with threadpool_limits(1), files.without_rests():  # of BLAS, as in `processes`
            results = [function(item, *shared) for item in items]
        return "done", cloudpickle.dumps((results, time.perf_counter() - began))
    except Exception as e:
        from tblib import pickling_support

        pickling_support.install(e)  # with its traceback
        return "failed", pickle.dumps(e)


def _listen(pipe: Connection, messages: queue.SimpleQueue) -> None:
    """Put what the worker sends into a queue, and end the process at once when the worker has ended."""
    try:
        while True:
            messages.put(pipe.recv_bytes())
    except (EOFError, OSError):
        os._exit(1)


def main() -> None:
    """Answer each shard that comes through the pipe whose number is the argument."""
    pipe, messages = Connection(int(sys.argv[1])), queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, messages), daemon=True).start()
    terms, work = pickle.loads(messages.get())
    try:
        agree(terms)
        function, shared = work.load()
        while True:
            pipe.send(_computed(function, shared, pickle.loads(messages.get()).load()))
    except Exception as e:
        pipe.send(("refused", str(e) if isinstance(e, RefusedError) else f"{type(e).__name__}: {e}"))
