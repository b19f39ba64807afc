"""Maps on a Dask cluster whose worker is a thread of this process; the processes beside it are real ones."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask.config
import pytest
from distributed import LocalCluster
from hypothesis import given
from hypothesis import strategies as st

from gunshot.base import cluster, files, processes, shards
from tests.base import cluster_work as work

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PACKAGES = st.dictionaries(st.sampled_from(["dask", "numpy", "scipy", "zict"]), st.sampled_from(["1", "2"]))


@pytest.fixture(scope="module")
def address():
    options = {"processes": False, "dashboard_address": None, "protocol": "tcp", "host": "127.0.0.1"}
    with LocalCluster(n_workers=1, threads_per_worker=2, **options) as local:
        yield local.scheduler_address


@pytest.fixture
def on_dask(address, monkeypatch):
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", address)


def test_results_are_those_of_processes_in_order_whatever_the_batch(address, monkeypatch):
    local = list(processes.in_order(work.product, range(13), "a", {"b": 1}, workers=2))
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", address)
    for batch in (1, 5):
        assert list(processes.in_order(work.product, range(13), "a", {"b": 1}, workers=2, batch=batch)) == local
    assert list(processes.in_order(work.product, [], workers=2)) == []


def test_a_map_has_processes_of_its_own_beside_the_worker_and_what_is_shared_reaches_each_once(on_dask):
    maps = [set(processes.in_order(work.where, range(20), ["x"], workers=2, batch=1)) for _ in range(2)]
    pids = [{pid for _, pid, _ in places} for places in maps]
    assert all(1 <= len(places) == len(own) <= 2 for places, own in zip(maps, pids, strict=True))
    assert not pids[0] & pids[1] and {parent for places in maps for parent, *_ in places} == {os.getpid()}
    wait_for(lambda: not any(map(running, pids[0] | pids[1])))


def test_blas_has_one_thread_and_the_loops_of_the_pinned_processor(on_dask):
    [(threads, core)] = processes.in_order(work.blas_threads, [0], workers=2)
    assert threads and set(threads) == {1} and core == os.environ.get("OPENBLAS_CORETYPE", "none")


def test_an_error_reaches_the_caller_as_it_was_and_says_where(on_dask):
    results = []
    with pytest.raises(ValueError) as caught:
        for item in processes.in_order(work.fail, range(8), workers=2, batch=1):
            results.append(item)
    assert results == [0, 1, 2] and str(caught.value) == "item=3 is bad" and caught.traceback[-1].name == "fail"
    assert "in fail, items 3 to 3 of 8 (from 3) on worker" in caught.value.__notes__[0]


def test_a_process_that_is_killed_is_told_with_its_shard(on_dask, tmp_path):
    said = r"stop_itself, items 2 to 2 of 4 \(from 2\): its process on worker .* ended with -9; most likely .* memory"
    with pytest.raises(cluster.ClusterError, match=said):
        list(processes.in_order(work.stop_itself, range(4), tmp_path, workers=2, batch=1))


@pytest.mark.parametrize("function", ["wait_twice", "wait_apart"])
def test_what_nobody_waits_for_any_more_is_ended_in_its_middle(on_dask, tmp_path, function):
    """`wait_apart` is as training is: in a process of its own beside that of the map."""
    function = {"wait_twice": wait_twice, "wait_apart": work.wait_apart}[function]
    mapped = processes.in_order(function, [0, 1], tmp_path, workers=1, batch=1)
    assert next(mapped) == 0
    wait_for((tmp_path / "1").exists)
    pid = int((tmp_path / "1").read_text())
    assert running(pid)
    mapped.close()
    wait_for(lambda: not running(pid))


def wait_twice(item: int, folder: Path) -> int:
    return work.wait(item, folder) if item else item


def test_other_code_is_refused_by_name(on_dask, monkeypatch):
    mine = shards.fingerprint()
    monkeypatch.setattr(shards, "fingerprint", lambda: mine | {"numpy": "1.0", "gunshot/features.py": "other"})
    theirs = f"gunshot/features.py; numpy {mine['numpy']} there, 1.0 here"
    with pytest.raises(cluster.ClusterError, match=rf"worker \S+ \(tcp://.*\) refuses: .*{theirs}; update it"):
        list(processes.in_order(work.fail, range(2), workers=2))


def test_another_folder_is_refused(on_dask, monkeypatch, tmp_path):
    """The client's is named in vain: a worker there would write to a disk of its own."""
    away = contextlib.nullcontext(shards.Terms(shards.fingerprint(), str(tmp_path), ".gunshot-0.part"))
    monkeypatch.setattr(shards, "terms", lambda: away)
    with pytest.raises(cluster.ClusterError, match=f"sees this folder neither at {tmp_path} nor {os.getcwd()}; start"):
        list(processes.in_order(work.fail, range(2), workers=2))


def test_a_place_that_a_worker_does_not_see_is_refused(tmp_path):
    packed = shards.packed([tmp_path / "not yet" / "a.wav", Path("data/raw"), f"{tmp_path} as text"])
    assert packed.places == (str(tmp_path),) and packed.load()[1] == Path("data/raw")
    tmp_path.rmdir()
    with pytest.raises(shards.RefusedError, match=rf"^{tmp_path} is not there: .*TMPDIR"):
        packed.load()


def test_terms_hold_a_file_in_the_folder_while_the_map_lasts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with shards.terms() as terms:
        assert [path.name for path in tmp_path.iterdir()] == [terms.mark] and terms.folder == str(tmp_path)
        monkeypatch.chdir("/")
        shards.agree(pickle.loads(pickle.dumps(terms)))  # goes there
        assert Path.cwd() == tmp_path
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(shards.RefusedError, match="sees this folder neither"):
        shards.agree(terms)


def test_no_scheduler_is_told(monkeypatch):
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:1")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "100ms"}),
        pytest.raises(cluster.ClusterError, match=r"DASK_SCHEDULER_ADDRESS=tcp://127.0.0.1:1: .*; start a scheduler"),
    ):
        list(processes.in_order(work.fail, range(2), workers=2))


@given(PACKAGES, PACKAGES)
def test_differences_name_all_that_differs_and_nothing_else(client, worker):
    said = shards.differences(client, worker)
    named = {part.split()[0] for part in said.split("; ") if part}
    assert named == {name for name, _ in client.items() ^ worker.items()}


def test_files_of_one_that_was_killed_are_removed_and_those_of_others_are_not(tmp_path):
    for name in (".a.b.wav.12345678.part", ".b.wav.12345678.part", ".a.b.wav.x.12345678.part"):
        (tmp_path / name).touch()
    with files.without_rests(), files.atomic(tmp_path / "a.b.wav") as part:
        part.write_text("a")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".a.b.wav.x.12345678.part", ".b.wav.12345678.part", "a.b.wav"]


def test_without_an_address_nothing_of_dask_is_needed():
    lines = ["import sys", *(f"sys.modules[{name!r}] = None" for name in ("dask", "distributed", "cloudpickle"))]
    lines += ["from gunshot.base import processes", "print(sum(processes.in_order(abs, range(-9, 1), workers=1)))"]
    clean = {key: value for key, value in os.environ.items() if key != "DASK_SCHEDULER_ADDRESS"}
    run = [sys.executable, "-c", "\n".join(lines)]
    assert subprocess.run(run, env=clean, cwd=ROOT, capture_output=True, text=True).stdout == "45\n"
    done = subprocess.run(run, env=clean | {"DASK_SCHEDULER_ADDRESS": "tcp://x:1"}, cwd=ROOT, stderr=-1, text=True)
    assert "needs the extra cluster" in done.stderr


def running(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIG_DFL)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
