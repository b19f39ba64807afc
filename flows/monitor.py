"""Recordings from the field against training: `python -m flows.monitor` in the project's folder."""

import json
import subprocess
import sys
from pathlib import Path

from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.deployments import run_deployment

from flows.retrain import retrain

RETRAIN = "retrain/retrain"  # the deployment
REPORT = Path("reports/drift/report.html")
KEY = "drift"


@task
def drift(folder: str | None = None) -> dict:
    """Run `gunshot drift`, what it finds amiss in the run's log line by line; return its verdict.

    Raises
    ------
    RuntimeError
        It failed; the message repeats its last line.
    """
    command = [str(Path(sys.executable).with_name("gunshot")), "drift", "--format", "json"]
    done = subprocess.run([*command, *([folder] if folder else [])], capture_output=True, text=True, errors="replace")
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    for line in lines:
        get_run_logger().warning(line)
    if done.returncode:
        raise RuntimeError(f"gunshot drift exited with {done.returncode}: {lines[-1] if lines else 'it said nothing'}")
    return json.loads(done.stdout)


def markdown(verdict: dict) -> str:
    """Return a verdict as a page: what it is, then a table of the columns, those that drift first."""
    head = f"# {'Drift' if verdict['drift'] else 'No drift'}\n\n{verdict['reason']}.\n"
    counts = (
        f"\n{verdict['recordings']} recordings, {verdict.get('chunks', 0)} chunks, {verdict['rejected']} rejected.\n"
    )
    if not verdict.get("columns"):
        return head + counts
    rows = [
        f"| {'**drifts**' if r['drifts'] else ''} | {r['column']} | {r['distance']:.3f} | {r['threshold']:.3f} | "
        f"{r['reference']:.4g} | {r['batch']:.4g} |"
        for r in verdict["columns"]
    ]
    return "\n".join([head + counts, "| | column | distance | limit | training | here |", "|-" * 6 + "|", *rows, ""])


@task
def publish(verdict: dict) -> None:
    """Publish a verdict as the markdown artifact `drift`, and the link to Evidently's page as `drift-report`."""
    create_markdown_artifact(markdown(verdict), key=KEY, description=verdict["reason"])
    if verdict.get("columns"):
        create_link_artifact(REPORT.resolve().as_uri(), link_text="Evidently's report", key=f"{KEY}-report")


@flow
def monitor(folder: str | None = None) -> dict:
    """Measure the drift of a folder's recordings, data/field by default; where it is past the params start retrain.

    Returns the verdict. A monitor that a deployment runs starts retrain's deployment and does not wait for it, since
    its review may take days; one that runs directly runs retrain directly.

    Raises
    ------
    FileNotFoundError
        The working directory is not the project's folder.
    RuntimeError
        As for `drift`.
    """
    if not Path("dvc.yaml").is_file():
        raise FileNotFoundError("dvc.yaml: no such file; run this from the project's folder")
    verdict = drift(folder)
    publish(verdict)
    if verdict["drift"]:
        start_retrain(f"drift: {verdict['reason']}")
    return verdict


def start_retrain(reason: str) -> None:
    """Start the flow retrain with a reason: the one tie between the two flows."""
    if runtime.deployment.id:
        run_deployment(RETRAIN, parameters={"reason": reason}, timeout=0, as_subflow=False)
    else:
        retrain(reason=reason)


if __name__ == "__main__":
    monitor()
