"""What is left out of `make test`, what of a sweep is drawn, in which order files start, what a run makes once.

A test that is long, exhaustive, or needs the cross compiler is slow as well: `-m "not slow"` is the quick part.
"""

import gunshot  # noqa: F401, I001 - before NumPy loads: its loops are chosen then, see gunshot.base.processor

import fcntl
import os
import random
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# A shared machine's pauses are no fault of the code; thirty examples keep the whole quick.
settings.register_profile("unit", deadline=None, max_examples=30, derandomize=True)
settings.load_profile("unit")


def head() -> str:
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True)
    return git.stdout.strip()


SEED = os.environ.get("SWEEP") or head()  # each commit draws another sample


def pytest_report_header():
    return f"sweeps: drawn by SWEEP={SEED}; with this in the environment the same sample is drawn again"


def pytest_collection_modifyitems(items):
    sweeps = defaultdict(list)
    for item in items:
        if (mark := item.get_closest_marker("sweep")) and not item.get_closest_marker("exhaustive"):
            name = mark.kwargs.get("group") or item.nodeid.partition("[")[0]
            sweeps[name, *mark.args].append(item)
    for (name, count), members in sweeps.items():
        drawn = random.Random(f"{SEED} {name}").sample(members, min(count, len(members)))
        for item in members:
            if item not in drawn:
                item.add_marker("exhaustive")
    for item in items:
        if any(map(item.get_closest_marker, ("long", "firmware", "exhaustive"))):
            item.add_marker("slow")
    longest = defaultdict(float)
    for item in items:
        mark = item.get_closest_marker("timeout")
        longest[item.path] = max(longest[item.path], mark.args[0] if mark else 0.0)
    items.sort(key=lambda item: -longest[item.path])  # long files first: no core idles at the end


@pytest.fixture
def drawn(request) -> random.Random:
    """The source of a test's own draws from a sweep."""
    print(f"drawn by SWEEP={SEED}")  # shown where the test fails
    return random.Random(f"{SEED} {request.node.nodeid}")


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], None]], Path]:
    """once(name, make): a folder that the first process of this run makes, and the others wait for."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def folder(name: str, make: Callable[[Path], None]) -> Path:
        path, ready = root / name, root / f"{name}.ready"
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not ready.exists():
                shutil.rmtree(path, ignore_errors=True)  # of a process whose attempt failed
                path.mkdir()
                make(path)
                ready.touch()
        return path

    return folder
