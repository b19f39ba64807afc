"""The flow retrain on a real server, over a DVC project of one stage."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

METRICS = {"int8": {"auc": 0.75, "shots": 4}, "float": {"auc": 0.875, "shots": 4}}
REPORT = {"bytes": 1234, "float": {"auc": 0.875}}
STAGE = f"""
import json, pathlib, sys
print("making", "figures")
for path, content in zip(sys.argv[1:], ({METRICS}, {REPORT})):
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(path).write_text(json.dumps(content))
"""


@pytest.fixture(scope="module")
def flows(tmp_path_factory):
    """The module flows.retrain, on a server and in a home that last as long as this file's tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        patch.delenv("PREFECT_API_URL", raising=False)
        retrain = importlib.import_module("flows.retrain")  # first: it sets variables that Prefect reads
        from prefect.testing.utilities import prefect_test_harness

        with prefect_test_harness(server_startup_timeout=None):
            yield retrain


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A DVC project whose one stage writes a metrics file and a report."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    dvc = Path(sys.executable).with_name("dvc")
    subprocess.run([dvc, "init", "--no-scm", "--quiet"], check=True)
    write_stage("figures", STAGE)
    return tmp_path


def write_stage(name: str, code: str) -> None:
    outs = ["reports/metrics.json", "models/quantized/report.json"]
    Path("stage.py").write_text(code)
    command = f'"{sys.executable}" stage.py {" ".join(outs)}'
    stage = {"cmd": command, "deps": ["stage.py"], "metrics": [{out: {"cache": False}} for out in outs]}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {name: stage}}))


def artifact(key: str):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    with get_client(sync_client=True) as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        return client.read_artifacts(artifact_filter=wanted, limit=10, sort="CREATED_DESC")


@pytest.mark.slow
def test_publishes_what_the_pipeline_measured(flows, project, caplog):
    found = flows.retrain()
    assert found == {"reports/metrics.json": METRICS, "models/quantized/report.json": REPORT}
    assert "making figures" in caplog.messages
    [metrics] = artifact("reports-metrics-json")
    assert yaml.safe_load(metrics.data) == [{"model": name, **figures} for name, figures in METRICS.items()]
    assert (metrics.type, metrics.description) == ("table", "reports/metrics.json")
    [report] = artifact("models-quantized-report-json")
    assert yaml.safe_load(report.data) == [
        {"figure": "bytes", "value": 1234},
        {"figure": "float.auc", "value": 0.875},
    ]


@pytest.mark.slow
def test_a_failing_stage_fails_the_flow_by_name(flows, project):
    write_stage("tuning", 'raise SystemExit("widths=0 must be at least 1")')
    with pytest.raises(RuntimeError, match=r"(?s)widths=0 must be at least 1.*failed to reproduce 'tuning'"):
        flows.retrain()
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        states = [run.state_type.value for run in client.read_flow_runs(limit=1, sort="START_TIME_DESC")]
    assert states == ["FAILED"]


@pytest.mark.slow
def test_a_pipeline_without_metrics_is_an_error(flows, project):
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"figures": {"cmd": "true"}}}))
    with pytest.raises(RuntimeError, match="metrics=0"):
        flows.retrain()


@pytest.mark.slow
def test_runs_in_the_project_folder_alone(flows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"dvc\.yaml: no such file; run this from the project's folder"):
        flows.retrain.fn()
