"""Processes: results in order, what is shared, errors, and an end with the parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gunshot.base import processes


def late(item: int, *shared) -> tuple:
    time.sleep(0.02 * (item % 3 == 0))
    return (item, *shared)


def fail(item: int) -> int:
    if item == 3:
        raise ValueError(f"item={item} is bad")
    return item


def identity(item: int, shared: object) -> tuple[int, int]:
    return os.getpid(), id(shared)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "batch"), [(1, 1), (2, 1), (3, 4)])
def test_results_come_in_order_whatever_the_workers(workers, batch):
    results = list(processes.in_order(late, range(13), "a", {"b": 1}, workers=workers, batch=batch))
    assert results == [(i, "a", {"b": 1}) for i in range(13)]


def test_nothing_to_do_is_nothing():
    assert list(processes.in_order(late, [], workers=2)) == []


def test_what_is_shared_reaches_a_process_once_and_the_work_is_done_elsewhere():
    pairs = set(processes.in_order(identity, range(20), [1, 2], workers=2, batch=1))
    pids = {pid for pid, _ in pairs}
    assert os.getpid() not in pids and 1 <= len(pids) <= 2 and len(pairs) == len(pids)


def test_an_error_reaches_the_caller_as_it_was():
    results = []
    with pytest.raises(ValueError, match="item=3 is bad"):
        for item in processes.in_order(fail, range(8), workers=2, batch=1):
            results.append(item)
    assert results == [0, 1, 2]


def test_items_are_asked_for_as_they_are_needed(monkeypatch):
    """Neither items nor results of a long map fill the memory."""
    monkeypatch.setattr(processes, "AHEAD", 3)
    asked = []
    items = (asked.append(i) or i for i in range(100))
    for done, _ in enumerate(processes.in_order(late, items, workers=2, batch=2)):
        assert len(asked) <= min(100, done + 1 + (3 + 1) * 2)
    assert done == 99 and asked == list(range(100))


def pid_of(_: int) -> int:
    return os.getpid()


def imported(name: str) -> bool:
    return name in sys.modules


@pytest.mark.slow
def test_apart_is_one_fresh_process_and_gives_what_the_function_gives():
    assert processes.apart(late, 3, "a", {"b": 1}) == (3, "a", {"b": 1})
    pids = {processes.apart(pid_of, 0) for _ in range(2)}
    assert len(pids) == 2 and os.getpid() not in pids


def test_apart_starts_without_what_this_process_has_imported(monkeypatch):
    """A fork would have it, and with TensorFlow the locks of its threads."""
    monkeypatch.setitem(sys.modules, "no_such_module", sys)
    assert imported("no_such_module") and not processes.apart(imported, "no_such_module")


@pytest.mark.slow
def test_apart_raises_what_the_function_raises():
    assert processes.apart(fail, 2) == 2
    with pytest.raises(ValueError, match="item=3 is bad"):
        processes.apart(fail, 3)


def running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


SLEEPER = r"""
import os, time

def work(item):
    os.write(1, f"{os.getpid()}\n".encode())  # one write: two processes share the pipe
    time.sleep(120)
"""
PARENT = """
from sleeper import work
from gunshot.base import processes

if __name__ == "__main__":
    {call}
"""
CALLS = {
    "list(processes.in_order(work, range(2), workers=2, batch=1))": 2,
    "processes.apart(work, 0)": 1,
}


@pytest.mark.parametrize("call", CALLS)
def test_a_killed_parent_takes_its_children_with_it(tmp_path, call):
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    (tmp_path / "parent.py").write_text(PARENT.format(call=call))
    path = os.pathsep.join([str(tmp_path), str(Path(processes.__file__).parents[1])])
    command, environment = [sys.executable, tmp_path / "parent.py"], os.environ | {"PYTHONPATH": path}
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        children = [int(parent.stdout.readline()) for _ in range(CALLS[call])]
        assert len(set(children)) == CALLS[call] and all(map(running, children))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        deadline = time.monotonic() + 60
        while any(map(running, children)) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not any(map(running, children))
    finally:
        parent.kill()
        parent.stdout.close()
