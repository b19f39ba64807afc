"""From a comparison to a decision, by the commands, in a real Git repository with DVC."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from gunshot.base import tables
from gunshot.cli import app
from gunshot.promotion import evidence, review
from tests import candidates

pytestmark = pytest.mark.slow
OUTS = {
    "group": "data/grouped", "split": "data/splits.csv", "featurize": "data/features", "evaluate": "reports/index.html",
    **{f"streams_{side}": f"data/streams/{side}" for side in tables.SIDES}, "quantize": "models/quantized/model.tflite",
}  # fmt: skip


def run(*command: str, root: Path) -> str:
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def gunshot(*arguments: str):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def recording(group: str, **values) -> dict:
    base = {"path": f"mine/{group}.wav", "class": "env", "label": "dog", "recording_group": group, "source": "mine"}
    return base | {"upstream": "me", "licence": "own", "sr_found": 16000, "duration_s": 1.0, "sha256": "0"} | values


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    """A working tree whose stages were run, after int8@v1.0.0, and a candidate's folder outside of it."""
    content = candidates.compared(tmp_path / "world", monkeypatch, candidate=0.0, champion=3.0)
    old = content["models"]["champion"]["operating"]  # of a version that counted false onsets
    old["fa_per_hour_limit"] = old.pop("false_incidents_per_hour_limit")
    root, folder = tmp_path / "tree", tmp_path / "candidate"
    folder.mkdir()
    tables.write_json(folder / "comparison.json", content)
    shutil.copytree(tmp_path / "world/candidate", root / "models/quantized")
    shutil.copytree(tmp_path / "world/streams", root / "data/streams/test")
    for side in ("train", "val"):
        for name in ("shots.csv", "events.csv", "streams.csv"):
            tables.write(root / f"data/streams/{side}/{name}", tables.frame([], tables.STREAM_TABLES[name]))
    chunk = {"chunk": "c", "path": "p", "index": 0, "recording": "r", "start": 0, "onset": -1}
    sides = dict(zip(tables.SIDES, "abc", strict=True))
    for side, group in sides.items():
        row = chunk | {"class": "env", "label": "dog", "recording_group": group, "source": "mine"}
        tables.write(root / f"data/features/{side}.csv", tables.frame([row], tables.CHUNK))
    rows = [{"recording_group": g, "side": s, "class": "env", "source": "mine"} for s, g in sides.items()]
    tables.write(root / "data/splits.csv", tables.frame(rows, tables.SPLIT))
    recordings = [
        recording("a"),
        recording("b", licence="CC0-1.0"),
        recording("c", licence="unknown"),
    ]  # c: test
    tables.write(root / "data/grouped/recordings.csv", tables.frame(recordings, tables.RECORDING))
    tables.write_json(root / "reports/validation/raw.json", candidates.facts(content)["validation"][0])
    tables.write_json(root / "reports/streams.json", candidates.facts(content)["streams"])
    (root / "reports/index.html").write_text("<html>")
    shutil.copy(candidates.ROOT / "params.yaml", root)
    stages = {name: {"cmd": "true", "outs": [out]} for name, out in OUTS.items()}
    stages["split"]["outs"] = [{"data/splits.csv": {"cache": False}}]
    artifacts = {"int8": {"path": "models/quantized/model.tflite"}}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages, "artifacts": artifacts}))
    for command in ("git init --quiet", "git config user.name Ada", "git config user.email ada@localhost",
                    "dvc init --quiet", "dvc commit --force --quiet", "git add .", "git commit --quiet -m One",
                    "git tag int8@v1.0.0", "git commit --quiet --allow-empty -m Two"):  # fmt: skip
        run(*command.split(), root=root)
    return root


def gates(tree: Path) -> dict[str, dict]:
    done = gunshot("dossier", tree.with_name("candidate"), "--champion", "v1.0.0", "--root", tree)
    assert done.exit_code == 0, (done.output, done.exception)
    content = json.loads((tree.with_name("candidate") / review.GATES).read_text())
    return {gate["name"]: gate for gate in content["gates"]}


def failed(tree: Path) -> set[str]:
    return {name for name, gate in gates(tree).items() if not gate["passed"]}


UNMEASURED = {"seeds", "parity-model", "parity-features", "parity-onsets", "instructions"}
LOUD = {"false-incidents", "false-incident-bound"}  # a door's dozen in 40 s


def test_from_a_comparison_to_a_decision(tree):
    folder = tree.with_name("candidate")
    assert failed(tree) == UNMEASURED | LOUD
    assert gates(tree)["licences"]["passed"] and gates(tree)["groups"]["figure"] == 0
    model = hashlib.sha256((tree / "models/quantized/model.tflite").read_bytes()).hexdigest()
    ports = {"mps2-an386": candidates.PORT}
    tables.write_json(folder / "seeds.json", {"recall": {"simulated": [0.9, 0.9, 0.91]}})
    tables.write_json(tree / "reports/firmware.json", {"model_sha256": "of another", "ports": ports})
    run("git", "add", ".", root=tree)
    run("git", "commit", "-qm", "Firmware of another model", root=tree)
    assert failed(tree) == UNMEASURED - {"seeds"} | LOUD
    tables.write_json(tree / "reports/firmware.json", {"model_sha256": model, "ports": ports})
    run("git", "commit", "-qam", "Firmware", root=tree)
    assert failed(tree) == LOUD
    page = (folder / review.PAGE).read_text()
    assert "Firmware of another model" in page and "in place of v1.0.0" in page
    said = ["review", folder, "approve", "--by", "Ada", "--reason", "finds soft shots"]
    over = ["--overrule", "false-incidents=doors are shut there", "--overrule", "false-incident-bound=a trial = 1 day"]
    assert "failed" in str(gunshot(*said).exception)
    assert "too few cases" in str(gunshot(*said, *over).exception)
    small = json.loads((folder / review.GATES).read_text())["small"]
    named = [text for name in small for text in ("--acknowledge", name)]
    done = gunshot(*said, *over, *named)
    assert done.exit_code == 0, done.exception
    decision = review.decided(folder)
    assert decision["call"]["acknowledge"] == small
    assert decision["call"]["overrule"]["false-incident-bound"] == "a trial = 1 day"
    assert decision["call"]["candidate"] == run("git", "rev-parse", "HEAD", root=tree)
    assert "Ada decided" in str(gunshot("review", folder, "reject", "--by", "Bo", "--reason", "no").exception)


def test_what_the_commit_does_not_hold_is_refused(tree):
    with (tree / "params.yaml").open("a") as f:
        f.write("# changed\n")
    assert "code" in failed(tree) and "data" not in failed(tree)
    assert "params.yaml" in gates(tree)["code"]["text"]
    run("git", "checkout", "-q", "params.yaml", root=tree)
    (tree / "notes.txt").write_text("new")
    assert gates(tree)["code"]["figure"] == 1
    (tree / "notes.txt").unlink()
    with (tree / "data/grouped/recordings.csv").open("a") as f:
        f.write("x/y.wav,env,dog,a,mine,me,unknown,16000,1.0,0\n")
    names = failed(tree)
    assert {"data", "licences"} <= names and "code" not in names
    assert "group" in gates(tree)["data"]["text"] and "unknown" in gates(tree)["licences"]["text"]


def test_a_comparison_of_something_else_is_refused(tree):
    folder = tree.with_name("candidate")
    with pytest.raises(ValueError, match="champion=None"):
        evidence.gather(folder, champion=None, root=tree)
    shots = (tree / "data/streams/test/shots.csv").read_text()
    (tree / "data/streams/test/shots.csv").write_text(shots.replace("M16", "M4"))
    with pytest.raises(ValueError, match="other streams"):
        evidence.gather(folder, champion="v1.0.0", root=tree)
    (tree / "data/streams/test/shots.csv").write_text(shots)
    (tree / "models/quantized/model.tflite").unlink()
    (tree / "models/quantized/model.tflite").write_text("another")
    with pytest.raises(ValueError, match="another model"):
        evidence.gather(folder, champion="v1.0.0", root=tree)


def test_a_group_on_two_sides_is_found(tree):
    events = tables.read(tree / "data/streams/test/events.csv", tables.STREAM_EVENT)
    events["recording_group"] = "a"
    (tree / "data/streams/test/events.csv").unlink()
    tables.write(tree / "data/streams/test/events.csv", events)
    sides = evidence.groups(tree)
    assert sides == {"train": {"a"}, "val": {"b"}, "test": {"a", "c"}}
