"""Run the pipeline, publish its metrics: `python -m flows.retrain` in the project's folder."""

import json
import os
import re
import subprocess
import sys
from collections import deque
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact

TAIL = 20  # lines of output that a failure repeats
# Output as it comes, and a progress bar that does not fill the log.
ENVIRONMENT = {"PYTHONUNBUFFERED": "1", "TQDM_MININTERVAL": "30"}


def _dvc(*arguments: str, stderr: int | None = None) -> subprocess.Popen:
    """Return a running `dvc` of this Python's environment, whichever shell started it."""
    command = [str(Path(sys.executable).with_name("dvc")), *arguments]
    return subprocess.Popen(
        command, env={**ENVIRONMENT, **os.environ}, stdout=subprocess.PIPE, stderr=stderr, text=True, errors="replace"
    )


@task
def repro() -> None:
    """Run `dvc repro`, its output in the run's log line by line.

    Raises
    ------
    RuntimeError
        It failed; the message names the stage, as DVC does, and repeats the last lines.
    """
    log, tail = get_run_logger(), deque(maxlen=TAIL)
    with _dvc("repro", stderr=subprocess.STDOUT) as run:
        try:
            for line in map(str.rstrip, run.stdout):
                if line:
                    log.info(line)
                    tail.append(line)
        finally:
            run.terminate()  # a cancelled run leaves no pipeline behind; one that has ended does not notice
    if run.returncode:
        raise RuntimeError(f"dvc repro exited with {run.returncode}; its last lines:\n" + "\n".join(tail))


def rows(content: dict) -> list[dict]:
    """Return a metrics file as a table: a row a model where it holds nothing else, otherwise a row a figure."""
    if content and all(isinstance(value, dict) for value in content.values()):
        return [{"model": name, **figures} for name, figures in content.items()]
    found = []
    for name, value in content.items():
        found += [(f"{name}.{key}", v) for key, v in value.items()] if isinstance(value, dict) else [(name, value)]
    return [{"figure": name, "value": value} for name, value in found]


@task
def publish() -> dict[str, dict]:
    """Publish each metrics file that dvc.yaml declares as a table artifact; return their contents by path.

    An artifact's key is its path in lower case with dashes: `reports-metrics-json`.

    Raises
    ------
    RuntimeError
        `dvc metrics show` failed or shows none, or a file cannot be read.
    """
    with _dvc("metrics", "show", "--json") as run:
        shown = run.stdout.read()
    if run.returncode:
        raise RuntimeError(f"dvc metrics show exited with {run.returncode}")
    files = json.loads(shown).get("", {}).get("data", {})
    if not files:
        raise RuntimeError("metrics=0: dvc.yaml must declare at least one metrics file")
    if broken := [path for path, file in files.items() if "data" not in file]:
        raise RuntimeError(f"{', '.join(broken)}: dvc metrics show cannot read it")
    for path, file in files.items():
        key = re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-")
        create_table_artifact(table=rows(file["data"]), key=key, description=path)
    return {path: file["data"] for path, file in files.items()}


@flow
def retrain(reason: str = "by hand") -> dict[str, dict]:
    """Bring the pipeline up to date and publish what it measured; return the metrics by path.

    `reason` says why, in words; it is a parameter of the run, and in its log.

    Raises
    ------
    FileNotFoundError
        The working directory is not the project's folder.
    RuntimeError
        As for `repro` and `publish`.
    """
    if not Path("dvc.yaml").is_file():
        raise FileNotFoundError("dvc.yaml: no such file; run this from the project's folder")
    get_run_logger().info("retrain: %s", reason)
    repro()
    return publish()


if __name__ == "__main__":
    retrain()
