"""The evidence on a candidate, from its working tree and from files beside its comparison."""

import json
import os
import subprocess
import sys
from pathlib import Path

from gunshot.base import pipeline, tables
from gunshot.models.model import read_report
from gunshot.promotion import comparison

BESIDE = ("metrics", "params", "drift", "seeds")  # in the candidate's folder where they were made, as JSON
TRAINED = ("train", "val")  # sides that a model is trained or tuned on
DVC = Path(sys.executable).with_name("dvc")


def _run(*command: str | Path, root: Path) -> str:
    done = subprocess.run(command, cwd=root, env=os.environ, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{Path(command[0]).name} {command[1]} failed: {done.stderr.strip()}")
    return done.stdout


def _optional(path: Path):
    return tables.read_json(path) if path.exists() else None


def _must_state(path: Path, stated: dict, key: str, remedy: str) -> None:
    if key not in stated:
        raise ValueError(f"{path}: {key} must be stated; {remedy} anew")


def streams(path: Path) -> dict | None:
    """Return reports/streams.json, if it is there; ValueError where it counts false onsets, as it once did."""
    stated = _optional(path)
    for change in (stated or {}).get("int8_against_float", {}).values():
        _must_state(path, change, "false_incidents_per_hour_within_bound", "make it with `dvc repro`")
    return stated


def firmware(path: Path, sha256: str) -> dict | None:
    """Return by port what `gunshot firmware parity` measured; None where it measured no model of this SHA-256.

    The report is in Git: a new candidate's tree holds the champion's until it is made anew.
    """
    measured = _optional(path) or {}
    return measured["ports"] if measured.get("model_sha256") == sha256 else None


def versions(root: Path, champion: str | None) -> dict:
    """Return the tree's commit, the champion's, what is changed since, and the log of the commits between.

    Parameters
    ----------
    champion : its version, whose tag is GTO's; None where nothing is in production
    """
    tag = f"int8@{champion}"
    lines = _run("git", "status", "--porcelain", root=root).splitlines()
    stale = json.loads(_run(DVC, "status", "--json", root=root) or "{}")
    span = [f"{tag}..HEAD"] if champion else ["-20"]
    return {
        "commit": _run("git", "rev-parse", "HEAD", root=root).strip(),
        "champion_commit": champion and _run("git", "rev-parse", f"{tag}^{{commit}}", root=root).strip(),
        "changed": [line[3:] for line in lines],
        "stale": sorted(stale),
        "log": _run("git", "log", "--format=%h %as %s", *span, root=root).splitlines(),
    }


def sources(root: Path) -> list[dict]:
    """Return source, upstream, licence and how many recordings of the sides that a model is trained and tuned on."""
    table = tables.read(pipeline.output("group", root=root) / "recordings.csv", tables.RECORDING)
    side = tables.read(pipeline.output("split", root=root), tables.SPLIT).set_index("recording_group")["side"]
    table = table[table["recording_group"].map(side).isin(TRAINED)]
    keys = ["source", "upstream", "licence"]
    return table.groupby(keys, sort=True).size().rename("recordings").reset_index().to_dict("records")


def groups(root: Path) -> dict[str, set[str]]:
    """Return the recording groups of each side: of its chunks, copies among them, and of its streams."""
    members = {}
    for side in tables.SIDES:
        table = tables.read(pipeline.output("featurize", root=root) / f"{side}.csv", tables.CHUNK)
        members[side] = set(table["recording_group"])
        folder = pipeline.output(f"streams_{side}", root=root)
        for name in ("shots.csv", "events.csv"):
            members[side] |= set(tables.read(folder / name, tables.STREAM_TABLES[name])["recording_group"])
        members[side].discard("")
    return members


def gather(folder: Path, *, champion: str | None, root: Path) -> dict:
    """Return all facts that gates and dossier are made from.

    Parameters
    ----------
    folder : the candidate's: comparison.json, and BESIDE where they were made
    champion : its version; None where nothing is in production
    root : the candidate's working tree, whose stages were run

    Raises
    ------
    ValueError
        The comparison is of another model or other streams than the tree's, or names a champion where none is given; or
        a file was made by an earlier version, and counts false onsets.
    """
    compared = tables.read_json(folder / "comparison.json")
    path = pipeline.models(root=root)["int8"]
    _must_state(folder / "comparison.json", compared, "false_incidents", "run `gunshot compare`")
    operating = compared["models"][comparison.CANDIDATE]["operating"]
    beside = path.with_name("operating.json")
    _must_state(beside, operating, "false_incidents_per_hour_limit", "make it with `dvc repro operate`")
    if compared["models"][comparison.CANDIDATE]["sha256"] != comparison.contender(path).sha256:
        raise ValueError(f"{folder}/comparison.json is of another model than {path}; run `gunshot compare` anew")
    tested = pipeline.output("streams_test", root=root)
    if compared["streams"] != comparison.streams_sha256(tested):
        raise ValueError(f"{folder}/comparison.json is of other streams than {tested}; run `gunshot compare` anew")
    if (comparison.CHAMPION in compared["models"]) != (champion is not None):
        raise ValueError(f"champion={champion} must be given where {folder}/comparison.json has one, and only there")
    reports = pipeline.output("evaluate", root=root).parent
    return {
        **versions(root, champion),
        "champion": champion,
        "comparison": compared,
        "validation": [tables.read_json(file) for file in sorted((reports / "validation").glob("*.json"))],
        "groups": groups(root),
        "sources": sources(root),
        "streams": streams(reports / "streams.json"),
        "firmware": firmware(reports / "firmware.json", comparison.contender(path).sha256[path.name]),
        "report": read_report(path),
        **{name: _optional(folder / f"{name}.json") for name in BESIDE},
    }
