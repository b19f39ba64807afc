"""The search of DOC/experiments.md: experiments wait in the queue, a worker runs them, their figures are told."""

import json
import re
import time

import pytest

pytestmark = pytest.mark.exhaustive
WIDTHS = (0.5, 0.75)


def wait(project, *, limit_s: float) -> list[str]:
    """Return how each task of the queue ended, once none waits or runs."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        status = project.run("dvc", "queue", "status")
        if not re.search(r"\b(Queued|Running)\b", status):
            return re.findall(r"\b(Success|Failed)\b", status)
        time.sleep(2)
    raise AssertionError(f"the queue must be done in {limit_s:g} s\n{status}")


def test_experiments_that_were_queued_are_run_and_shown_with_their_figures(pipeline, tmp_path):
    project = pipeline.copy(tmp_path / "project")
    widths = ",".join(map(str, WIDTHS))
    project.run("dvc", "exp", "run", "--queue", "-S", f"network.width={widths}", "quantize")
    assert project.run("dvc", "queue", "status").count("Queued") == len(WIDTHS)
    project.run("dvc", "queue", "start")
    try:
        assert wait(project, limit_s=400) == ["Success"] * len(WIDTHS)
    finally:
        project.run("dvc", "queue", "stop", "--kill")
    _, base = json.loads(project.run("dvc", "exp", "show", "--json"))
    assert len(base["experiments"]) == len(WIDTHS)
    sizes = {}
    for experiment in base["experiments"]:
        data = experiment["revs"][0]["data"]
        width = data["params"]["params.yaml"]["data"]["network"]["width"]
        sizes[width] = data["metrics"]["models/quantized/report.json"]["data"]["bytes"]
    own = json.loads((pipeline.root / "models/quantized/report.json").read_text())["bytes"]
    assert tuple(sorted(sizes)) == WIDTHS and sizes[0.5] < sizes[0.75] < own
    assert project.run("git", "status", "--porcelain") == ""  # the workspace stays as it was
