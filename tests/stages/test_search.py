"""gunshot search in a project: its rows are the networks that DVC makes, and its best ones are what DVC shows."""

import json
import os
import signal
import subprocess

import pandas as pd
import pytest
import yaml

from tests.base.dask_cluster import cluster, wait_for

ALONE = {"rows": 1, "seeds": 1, "together": 1, "seed": 1, "space": {"network.separable": [False, True]}}
SEVERAL = {"rows": 2, "seeds": 1, "together": 2, "seed": 1, "space": {"network.width": {"low": 0.3, "high": 1.0}}}
HOME = "reports/search/try"


@pytest.fixture
def project(pipeline, tmp_path):
    return pipeline.copy(tmp_path / "project")


def written(project, content: dict) -> str:
    (project.root / "try.yaml").write_text(yaml.safe_dump(content))
    project.commit("a search")
    return "try.yaml"


def shown(project) -> dict[str, dict]:
    """What `dvc exp show` has of each experiment: its params, and its metrics by file."""
    _, head = json.loads(project.run("dvc", "exp", "show", "--json"))
    return {rev["name"]: rev["data"] for one in head["experiments"] or [] for rev in one["revs"]}


@pytest.mark.long
def test_a_row_is_the_network_that_dvc_makes_and_dvc_shows_it(project):
    said = project.run("gunshot", "search", written(project, ALONE))
    rows = pd.read_csv(project.root / HOME / "rows.csv")
    network = project.root / HOME / "networks" / rows["network"][0]
    assert (network / "model.tflite").read_bytes() == (project.root / "models/quantized/model.tflite").read_bytes()
    point = json.loads((project.root / "models/quantized/operating.json").read_text())
    assert rows["recall"][0] == point["validation"]["simulated"]["recall"]
    assert "take: dvc exp apply try-0" in said and project.run("git", "status", "--porcelain") == ""
    data = shown(project)["try-0"]
    assert data["metrics"]["reports/search.json"]["data"]["search"]["recall"] == rows["recall"][0]
    assert data["metrics"]["models/forest/report.json"]["data"] and not data["metrics"]["reports/metrics.json"]["data"]
    assert data["params"]["params.yaml"]["data"] == yaml.safe_load((project.root / "params.yaml").read_text())
    project.params({"features": {"fmin": 120.0}})  # the features on the disk are of another
    said = project.run("gunshot", "search", "try.yaml", fails=True)
    assert "featurize" in said and "not as dvc.lock has it; run `dvc repro featurize streams_train" in said


@pytest.mark.exhaustive
def test_a_search_that_is_killed_goes_on_there_and_on_a_cluster_and_dvc_makes_what_it_took(project, pipeline, tmp_path):
    command = "gunshot", "search", written(project, SEVERAL)
    other = project.copy(tmp_path / "other")
    whole = project.run(*command)
    networks = other.root / HOME / "networks"
    running = subprocess.Popen(command, cwd=other.root, env=other.env, start_new_session=True)
    wait_for(lambda: list(networks.glob("*/report.json")))
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    with cluster(tmp_path, other.root, other.env) as on:
        on.ensure(2)
        resumed = other.run(*command, **on.settings, DASK_SCHEDULER_ADDRESS=on.address)
    assert resumed.splitlines()[-6:] == whole.splitlines()[-6:]
    for path in (project.root / HOME).rglob("*"):
        if path.suffix in (".tflite", ".csv", ".json"):
            assert (other.root / path.relative_to(project.root)).read_bytes() == path.read_bytes()
    rows, data = pd.read_csv(other.root / HOME / "rows.csv"), shown(other)
    assert set(data) == {f"try-{row}" for row in rows["row"]} == set(shown(project))
    best = next(row for row in rows.to_dict("records") if row["row"])  # not params.yaml as it is
    other.run("dvc", "exp", "apply", f"try-{best['row']}")
    other.repro("quantize")
    taken = (other.root / "models/quantized/model.tflite").read_bytes()
    assert taken == (networks / best["network"] / "model.tflite").read_bytes()
    assert taken != (pipeline.root / "models/quantized/model.tflite").read_bytes()


@pytest.mark.slow
def test_what_is_missing_is_said_before_any_work(fresh, tmp_path):
    project = fresh(tmp_path / "project")
    said = project.run("gunshot", "search", written(project, ALONE), fails=True)
    assert "data/features, data/streams/train, data/streams/val: not made yet; run `dvc repro featurize" in said
    project.params({"network": {"depth": 9}})
    assert "network.depth=9" in project.run("gunshot", "search", "try.yaml", fails=True)
