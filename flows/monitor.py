"""Recordings from the field against training: `python -m flows.monitor` in the project's folder."""

import json
import subprocess
import sys
from pathlib import Path

from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.deployments import run_deployment

from flows import worktree
from flows.failures import command, notify
from flows.retrain import CANDIDATES, retrain
from flows.review import waiting
from gunshot import tags
from gunshot.base import params, pipeline, tables
from gunshot.promotion import review

RETRAIN = "retrain/retrain"  # the deployment
REPORT = Path("reports/drift/report.html")
KEY = "drift"


@task
def drift(folder: str | None = None) -> dict:
    """Run `gunshot drift`, log line by line what it finds amiss, and return its verdict.

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


def due(verdict: dict) -> str | None:
    """Return why a retraining is due: drift, or monitor.min_confirmed recordings that are confirmed, else None."""
    if verdict["drift"]:
        return f"drift: {verdict['reason']}"
    path, least = pipeline.field() / "tags.csv", params.load("monitor").monitor.min_confirmed
    tagged = tags.read(path)[0].values() if path.exists() else []
    confirmed = sum(tags.state(placed) == "confirmed" for placed in tagged)
    return f"{confirmed} confirmed recordings wait in {path.parent}" if confirmed >= least else None


def held(verdict: dict) -> str | None:
    """Return why a retraining that is due must not be started, and what to do; None where nothing speaks against it.

    One that failed has left no gates, so that it is started again.
    """
    if waits := worktree.running():
        return waits
    if waits := waiting(CANDIDATES):
        return (
            f"{waits[-1]} waits for review; read its {review.PAGE}, then `gunshot review {waits[-1]} approve|reject "
            f"--by NAME --reason TEXT` and `python -m flows.review {waits[-1]}`, or decide in Prefect's pages"
        )
    for path in sorted(CANDIDATES.glob("*Z/drift.json"), reverse=True):
        if path.with_name(review.GATES).exists() and tables.read_json(path).get("batch") == verdict["batch"]:
            return (
                f"{path.parent} was made from this very batch; confirm recordings (`gunshot annotate data/field`), "
                "mend the device, or `python -m flows.retrain` all the same"
            )
    return None


def markdown(verdict: dict, *, outcome: str = "") -> str:
    """Return a verdict as a page: what it is, what follows, then a table of the columns, those that drift first."""
    head = f"# {'Drift' if verdict['drift'] else 'No drift'}\n\n{verdict['reason']}.\n"
    head += f"\n{outcome}.\n" if outcome else ""
    counts = (
        f"\n{verdict['recordings']} recordings, {verdict.get('chunks', 0)} chunks, {verdict['rejected']} rejected; "
        f"measured with {verdict['model']}.\n"
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
def publish(verdict: dict, outcome: str = "") -> None:
    """Publish a verdict and what follows as the markdown artifact `drift`, and a link to Evidently's `drift-report`."""
    create_markdown_artifact(markdown(verdict, outcome=outcome), key=KEY, description=verdict["reason"])
    if verdict.get("columns"):
        create_link_artifact(REPORT.resolve().as_uri(), link_text="Evidently's report", key=f"{KEY}-report")


@flow(on_failure=[notify], on_crashed=[notify])
def monitor(folder: str | None = None) -> dict:
    """Measure the drift of a folder's recordings, data/field by default; start retrain where it is `due`.

    It does not where one is running, a candidate waits for review, or one was made from this very batch: `held`.
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
    reason = due(verdict)
    if not reason:
        publish(verdict)
        return verdict
    against = held(verdict)
    outcome = f"No retraining is started: {against}" if against else "A retraining is started"
    get_run_logger().warning("%s. %s", reason, outcome)
    publish(verdict, outcome)
    if not against:
        start_retrain(reason)
    return verdict


def start_retrain(reason: str) -> None:
    """Start the flow retrain with a reason: the one tie between the two flows."""
    if runtime.deployment.id:
        run_deployment(RETRAIN, parameters={"reason": reason}, timeout=0, as_subflow=False)
    else:
        retrain(reason=reason)


if __name__ == "__main__":
    command(monitor, *sys.argv[1:])
