"""Maps on a real Dask cluster over TCP and TLS, of workers that are killed and that come."""

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask.config
import pytest

from gunshot.base import cluster, processes
from gunshot.simulate import corpus
from stages import chunk
from tests.base import cluster_work as work
from tests.base.dask_cluster import cluster as started
from tests.base.dask_cluster import wait_for

ROOT = Path(__file__).parents[2]
CORPUS = corpus.Corpus(seed=2, duration_s=(1.2, 1.4), distance_m=(2.0, 1500.0), sr=16000)


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """A cluster whose workers were started in a project's folder."""
    root = tmp_path_factory.mktemp("cluster")
    (root / "project").mkdir()
    shutil.copy(ROOT / "params.yaml", root / "project")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("DASK_", "PYTEST"))}
    with started(root, root / "project", clean | {"PYTHONPATH": str(ROOT)}) as one:
        yield one


@pytest.fixture
def on_cluster(tls, monkeypatch):
    monkeypatch.chdir(tls.cwd)
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", tls.address)
    return tls


def content(folder: Path) -> dict[str, bytes]:
    """The bytes of each file below a folder, hidden ones too."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_workers_come_and_go_and_every_result_and_file_is_there_whole(on_cluster, tmp_path):
    """Three workers, of which one is killed while it writes; another one comes and takes part."""
    assert on_cluster.address.startswith("tls://")
    on_cluster.ensure(3)
    out, notes = tmp_path / "out", tmp_path / "notes"
    notes.mkdir()
    with ThreadPoolExecutor(1) as pool:
        results = pool.submit(list, processes.in_order(work.write, range(16), out, notes, workers=2, batch=1))
        wait_for((notes / "first").exists)
        killed = int((notes / "first").read_text())
        assert killed in [worker.pid for worker in on_cluster.workers]
        os.kill(killed, signal.SIGKILL)
        added = on_cluster.add()
        wait_for((notes / str(added.pid)).exists)
        (notes / "go").touch()
        assert results.result() == list(range(16))
    assert content(out) == {f"{i}.txt": f"all of {i}".encode() for i in range(16)}


@pytest.mark.slow
def test_a_corpus_and_its_chunks_have_the_same_bytes_on_processes_and_on_the_cluster(on_cluster, monkeypatch):
    """The stage `chunk` runs as DVC runs it: what it maps is in no module that a worker could import."""
    on_cluster.ensure(2)
    variants = {"one": 1, "two": 2, "cluster": 1}
    for name, workers in variants.items():
        if name == "cluster":
            monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", on_cluster.address)
        else:
            monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
        raw, tagged, chunks = (Path(name, folder) for folder in ("raw", "tagged", "chunks"))
        corpus.write(raw / "simulated", CORPUS, gun_recordings=4, env_recordings=4, workers=workers)
        tagged.mkdir()
        for table in ("recordings.csv", "tags.csv"):
            shutil.copy(raw / "simulated" / table, tagged)
        if name != "cluster":
            chunk.main(raw, tagged, chunks)
    env = os.environ | on_cluster.settings | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stages.chunk", raw, tagged, chunks]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and f"on the Dask cluster at {on_cluster.address}" in done.stderr, done.stderr
    one, two, there = (content(Path(name)) for name in variants)
    assert one == two == there and len(one) > 20


@pytest.mark.slow
def test_workers_that_end_with_a_shard_are_told_with_it(on_cluster):
    """As when each runs out of memory: with allowed-failures=1 the second is the last."""
    on_cluster.ensure(2)
    said = r"stop_worker, items 2 to 2 of 4 \(from 2\): 2 workers ended with it, the last at tls://.*too little memory"
    with pytest.raises(cluster.ClusterError, match=said):
        list(processes.in_order(work.stop_worker, range(4), workers=2, batch=1))


CLIENT = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from gunshot.base import processes
from tests.base import cluster_work as work

list(processes.in_order(work.wait, [0], Path(sys.argv[1]), workers=1))
"""


@pytest.mark.exhaustive
def test_a_client_that_is_killed_leaves_nothing_that_still_writes(on_cluster, tmp_path):
    on_cluster.ensure(1)
    env = os.environ | on_cluster.settings | {"PYTHONPATH": str(ROOT)}
    client = subprocess.Popen([sys.executable, "-c", CLIENT, tmp_path], env=env)
    wait_for((tmp_path / "0").exists)
    pid = int((tmp_path / "0").read_text())
    os.kill(pid, 0)
    client.kill()
    client.wait()
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), seconds=60)


@pytest.mark.slow
def test_who_has_no_certificate_is_not_let_in(on_cluster):
    with (
        dask.config.set({"distributed.comm.tls.client.cert": None, "distributed.comm.tls.client.key": None}),
        pytest.raises(cluster.ClusterError, match=f"DASK_SCHEDULER_ADDRESS={on_cluster.address}: "),
    ):
        list(processes.in_order(work.fail, range(2), workers=2))
