"""From new recordings to a candidate for review: `python -m flows.retrain [REASON]` in the project's folder."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

import yaml
from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.deployments import run_deployment

from flows import worktree
from flows.commands import DVC, GUNSHOT, run
from flows.failures import command, notify
from flows.review import REVIEW, expire, review
from gunshot.base import params, pipeline, tables
from gunshot.promotion import registry
from gunshot.signing import record

TAIL = 20  # lines of output that a failure repeats
# Output as it comes, and a progress bar that does not fill the log.
ENVIRONMENT = {"PYTHONUNBUFFERED": "1", "TQDM_MININTERVAL": "30"}
CANDIDATES = Path("reports/candidates")
VERDICT = Path("reports/drift/verdict.json")


@task
def gather(tree: Path) -> None:
    """Bring the recordings that a person confirmed in data/field into a worktree, and commit them there.

    The originals stay until the branch is merged and `gunshot import field` has been run here. Drift's verdict on them
    comes along: by the time that a candidate is made the monitor may have written that of another batch.
    """
    if VERDICT.exists():
        (tree / VERDICT).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(VERDICT, tree / VERDICT)
    here = pipeline.field()
    if here.is_dir() and any(path.is_dir() for path in here.iterdir()):  # a folder a device
        worktree.lend(tree)
        get_run_logger().info(run(GUNSHOT, "import", "field", cwd=tree).strip())
        worktree.commit(tree, "Recordings from the field")


@task
def repro(tree: Path, *stages: str) -> None:
    """Run `dvc repro` in a worktree, its output in the run's log line by line.

    stages : the last ones to run; none: all of the pipeline

    Raises
    ------
    RuntimeError
        It failed; the message names the stage, as DVC does, and repeats the last lines.
    """
    log, tail = get_run_logger(), deque(maxlen=TAIL)
    said = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    with subprocess.Popen([DVC, "repro", *stages], cwd=tree, env={**ENVIRONMENT, **os.environ}, **said) as started:
        try:
            for line in map(str.rstrip, started.stdout):
                if line:
                    log.info(line)
                    tail.append(line)
        finally:
            started.terminate()  # a cancelled run leaves no pipeline behind; one that has ended does not notice
    if started.returncode:
        raise RuntimeError(
            f"dvc repro exited with {started.returncode}; until the next run, {tree} is as it was left; its last "
            "lines:\n" + "\n".join(tail)
        )


def rows(content: dict) -> list[dict]:
    """Return a metrics file as a table: a row for each model where it holds models alone, else one for each figure."""
    if content and all(isinstance(value, dict) for value in content.values()):
        return [{"model": name, **figures} for name, figures in content.items()]
    flat = []
    for name, value in content.items():
        flat += [(f"{name}.{key}", v) for key, v in value.items()] if isinstance(value, dict) else [(name, value)]
    return [{"figure": name, "value": value} for name, value in flat]


@task
def publish(tree: Path) -> None:
    """Publish each metrics file that dvc.yaml declares as a table artifact.

    An artifact's key is its path in lower case with dashes: `reports-metrics-json`.

    Raises
    ------
    RuntimeError
        `dvc metrics show` failed or shows none, or a file cannot be read.
    """
    files = json.loads(run(DVC, "metrics", "show", "--json", cwd=tree, errors=False)).get("", {}).get("data", {})
    if not files:
        raise RuntimeError("metrics=0: dvc.yaml must declare at least one metrics file")
    if broken := [path for path, file in files.items() if "data" not in file]:
        raise RuntimeError(f"{', '.join(broken)}: dvc metrics show cannot read it")
    for path, file in files.items():
        key = re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-")
        create_table_artifact(table=rows(file["data"]), key=key, description=path)


@task
def measure_parity(tree: Path) -> None:
    """Measure the firmware with a worktree's model; the gates read this report, and fail where there is none."""
    shutil.copytree("firmware/third_party", tree / "firmware/third_party", dirs_exist_ok=True)  # or it would download
    try:
        run(GUNSHOT, "firmware", "parity", cwd=tree)
    except RuntimeError as error:
        get_run_logger().error("the gates of parity and of instructions will fail: %s", error)


@task
def seeds(tree: Path, folder: Path) -> None:
    """Write the recall of networks that differ by the seed alone, at the limit of false incidents, to seeds.json.

    It is of validation streams, by origin: test streams are for the candidate alone. The worktree must be committed; it
    is left as it was. The networks stay in DVC's run cache, so that a rerun does not train them again.
    """
    path = tree / "params.yaml"
    sections = yaml.safe_load(path.read_text())
    first, count = sections["network"]["seed"], sections["promotion"]["min_seeds"]
    recalls = [validated(tree)]
    for seed in range(first + 1, first + count):
        sections["network"]["seed"] = seed
        path.write_text(yaml.safe_dump(sections))
        repro(tree, "operate")
        recalls.append(validated(tree))
    run("git", "checkout", "--quiet", "--", ".", cwd=tree)
    run(DVC, "checkout", "--quiet", "--force", cwd=tree)
    recall = {origin: [of_seed[origin] for of_seed in recalls] for origin in recalls[0]}
    tables.write_json(folder / "seeds.json", {"seeds": list(range(first, first + count)), "recall": recall})


def validated(tree: Path) -> dict[str, float]:
    """Return the int8 model's recall at its operating point by origin of validation streams that hold clear shots."""
    validation = tables.read_json(pipeline.models(root=tree)["int8"].with_name("operating.json"))["validation"]
    return {origin: figures["recall"] for origin, figures in validation.items() if not math.isnan(figures["recall"])}


@task
def candidate(tree: Path, base: str, folder: Path) -> None:
    """Compare a worktree's model with the champion, and write all that a reviewer decides from to a folder.

    base : the commit that the differences are shown against where there is no champion
    """
    champion = json.loads(run(GUNSHOT, "models", "--format", "json", errors=False))["champion"]
    contenders = [pipeline.models(root=tree)["int8"].parent]
    if champion:
        contenders.append(Path(run(GUNSHOT, "export", "promoted", champion, errors=False).split()[-1]).absolute())
        base = run("git", "rev-parse", f"int8@{champion}^{{commit}}").strip()
    run(GUNSHOT, "compare", *contenders, "--out", folder / "comparison.json", cwd=tree)
    for kind in ("metrics", "params"):
        (folder / f"{kind}.json").write_text(run(DVC, kind, "diff", "--json", base, cwd=tree, errors=False))
    if (tree / VERDICT).exists():
        shutil.copy(tree / VERDICT, folder / "drift.json")
    against = ["--champion", champion] if champion else []
    get_run_logger().info(run(GUNSHOT, "dossier", folder, *against, cwd=tree).strip())
    create_link_artifact((folder / "dossier.html").as_uri(), link_text="The dossier", key="dossier")
    create_table_artifact(table=tables.read_json(folder / "gates.json")["gates"], key="gates")


def nothing_new(tree: Path) -> str | None:
    """Return the champion's version where a worktree's model, report and operating point are its, byte for byte."""
    champion = registry.champion(record.read())
    same = champion and all(
        (tree / name).exists() and registry.sha256((tree / name).read_bytes()) == sha256
        for name, sha256 in champion["files"].items()
    )
    return champion["version"] if same else None


@flow(on_failure=[notify], on_crashed=[notify])
def retrain(reason: str = "by hand") -> str | None:
    """Make a candidate in a worktree of its own and hand it over for review; return its folder.

    `reason` says why, in words; it is a parameter of the run, in its log, and the candidate's commit. Nothing else
    than that folder and the branch is left here; a run that fails changes neither champion nor working tree. Where the
    pipeline makes the champion anew there is nothing to review: nothing is left, and None is returned.

    Raises
    ------
    FileNotFoundError
        The working directory is not the project's folder.
    RuntimeError
        Another retraining is running, the working tree is not clean, or a command failed.
    """
    folder = make(reason)
    if folder is None:
        return None
    hand_over(folder)
    return str(folder)


def make(reason: str) -> Path | None:
    """Make a candidate and return its folder, absolute; None, and nothing is left, where it is the champion again."""
    if not Path("dvc.yaml").is_file():
        raise FileNotFoundError("dvc.yaml: no such file; run this from the project's folder")
    get_run_logger().info("retrain: %s", reason)
    with worktree.alone(reason):
        worktree.sweep()
        expire(CANDIDATES)
        worktree.clean()
        now, base = datetime.now(UTC), run("git", "rev-parse", "HEAD").strip()
        folder = (CANDIDATES / f"{now:{worktree.TIME}}").absolute()
        tree = worktree.make(now)
        gather(tree)
        repro(tree)
        publish(tree)
        if version := nothing_new(tree):
            get_run_logger().warning("the pipeline makes %s again, to the byte: nothing to review", version)
            worktree.sweep()
            return None
        measure_parity(tree)
        worktree.commit(tree, f"Candidate {folder.name}: {reason}")
        folder.mkdir(parents=True)
        seeds(tree, folder)
        candidate(tree, base, folder)
        worktree.remove(tree)
    return folder


def hand_over(folder: Path) -> None:
    """Ask for a decision: the params' where they say so, else on a server in its pages, else by the command."""
    auto = params.load("promotion").promotion.auto
    if auto or runtime.deployment.id:
        given = {"folder": str(folder), "auto": auto}
        if runtime.deployment.id:
            run_deployment(REVIEW, parameters=given, timeout=0, as_subflow=False)
            return
        review(**given)
    get_run_logger().warning(
        f"read {folder}/dossier.html, decide with `gunshot review {folder} approve|reject --by NAME --reason TEXT`, "
        f"then `python -m flows.review {folder}`"
    )


if __name__ == "__main__":
    command(retrain, *sys.argv[1:])
