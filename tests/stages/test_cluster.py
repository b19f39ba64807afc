"""The whole pipeline, and the commands that map, on a Dask cluster: every output has the bytes that processes give."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.base.dask_cluster import Cluster, cluster, wait_for
from tests.stages.project import Project
from tests.stages.test_repro import record

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(3600)]


@pytest.fixture
def workers(tmp_path):
    """workers(project): a cluster of three workers that were started in its folder."""
    with ExitStack() as ended:

        def start(project: Project) -> Cluster:
            started = ended.enter_context(cluster(tmp_path, project.root, project.env))
            started.ensure(3)
            return started

        yield start


def outputs(project: Project) -> dict[str, dict[str, str]]:
    """The hashes of each stage's outputs, as DVC takes them."""
    return {stage: {out["path"]: out["md5"] for out in entry["outs"]} for stage, entry in project.lock().items()}


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_pipeline_has_the_same_outputs_on_a_cluster_that_loses_a_worker_and_gets_one(pipeline, workers, tmp_path):
    project = pipeline.copy(tmp_path / "project")
    on = workers(project)
    env = on.settings | {"DASK_SCHEDULER_ADDRESS": on.address}
    shutil.rmtree(project.root / "data/raw/simulated")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(project.repro, "--force", "--no-run-cache", **env)
        wait_for(lambda: running.done() or len(list(project.root.glob("data/raw/simulated/gun/*/*.wav"))) > 3)
        on.workers[0].kill()  # by SIGKILL, in the middle
        on.add()
        done = running.result()
    for stage in ("simulate", "group", "tag", "chunk", "augment", "featurize", "score_streams"):
        assert f"on the Dask cluster at {on.address}" in done.partition(f"'{stage}'")[2].partition("Running stage")[0]
    assert outputs(project) == outputs(pipeline)


def test_commands_say_the_same_on_a_cluster(pipeline, workers, tmp_path):
    project = pipeline.copy(tmp_path / "project")
    for seed, name in enumerate(("range", "yard", "hill")):
        record(tmp_path / name, seed)
        project.run("gunshot", "import", "folder", str(tmp_path / name))
    project.repro("featurize", "streams_train", "streams_val", "streams_test")
    on = workers(project)
    env = on.settings | {"DASK_SCHEDULER_ADDRESS": on.address}
    commands = {
        "evaluate": (str(tmp_path / "range"), "--out"),
        "incidents": (str(tmp_path / "range"), "--out"),
        "cross-validate": ("--folds", "3", "--out"),
        "leave-one-out": ("--seeds", "1", "--out"),
    }
    for name, arguments in commands.items():
        suffix = "" if name == "evaluate" else ".json"
        for where, settings in (("local", {}), ("cluster", env)):
            (tmp_path / where).mkdir(exist_ok=True)
            said = project.run("gunshot", name, *arguments, str(tmp_path / where / f"{name}{suffix}"), **settings)
            assert ("on the Dask cluster" in said) == (where == "cluster")
    local, there = content(tmp_path / "local"), content(tmp_path / "cluster")
    assert len(local) == 8 and local == there
    verdicts = []
    for settings in ({}, env):
        project.run("gunshot", "drift", str(tmp_path / "range"), **settings)
        verdicts.append(content(project.root / "reports" / "drift"))
    one, other = ({name: data for name, data in each.items() if not name.endswith("html")} for each in verdicts)
    assert one and one == other
    project.run("gunshot", "tag", str(tmp_path / "range"))
    tagged = (tmp_path / "range" / "tags.csv").read_bytes()
    (tmp_path / "range" / "tags.csv").unlink()
    project.run("gunshot", "tag", str(tmp_path / "range"), **env)
    assert (tmp_path / "range" / "tags.csv").read_bytes() == tagged
