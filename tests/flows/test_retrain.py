"""The flow retrain on a real server, over a small project in Git and DVC that has a champion."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import yaml

from gunshot import tags
from gunshot.signing import record
from tests.flows.registry_project import MODEL
from tests.flows.retraining_project import METRICS, everything

pytest_plugins = ("tests.flows.registry_project", "tests.flows.retraining_project")
pytestmark = pytest.mark.slow


def artifact(key: str):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    with get_client(sync_client=True) as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        return client.read_artifacts(artifact_filter=wanted, limit=10, sort="CREATED_DESC")


def decide(folder: str, decision: str, project) -> None:
    command = ["gunshot", "review", folder, decision, "--by", "Ada", "--reason", "better at night"]
    project.run(*command)


def test_a_candidate_is_made_beside_the_tree_reviewed_and_promoted(flows, retraining, caplog):
    before, head, others = retraining.state(), retraining.head(), len(artifact("reports-metrics-json"))
    folder = Path(flows.retrain("a new place"))
    assert "making figures" in caplog.messages
    assert retraining.state()[0] == before[0] and retraining.head() == head
    assert retraining.run("git", "status", "--porcelain") == "" and (retraining.root / MODEL).read_text() == "two"
    assert not list(Path(".worktrees").iterdir())
    branch = f"retrain/{folder.name}"
    assert "a new place" in retraining.run("git", "log", "-1", "--format=%s", branch)
    gates = json.loads((folder / "gates.json").read_text())
    assert gates["candidate"] == retraining.run("git", "rev-parse", branch).strip()
    assert gates["champion"] == "v1.0.0" and gates["gates"][0]["passed"]
    compared = json.loads((folder / "comparison.json").read_text())
    assert compared[:2] == [
        str(retraining.root / f".worktrees/retrain-{folder.name}/models/quantized"),
        str(retraining.root / "models/promoted/v1.0.0"),
    ]
    differ = json.loads((folder / "metrics.json").read_text())["reports/metrics.json"]
    assert differ["int8.auc"]["new"] == 0.75
    recall = {"simulated": [6 / 8, 7 / 8], "real": [0.0, 0.0]}
    assert json.loads((folder / "seeds.json").read_text()) == {"seeds": [6, 7], "recall": recall}
    assert "seed: 6" in retraining.run("git", "show", f"{branch}:params.yaml")
    assert any("the gates of parity and of instructions will fail" in message for message in caplog.messages)
    [metrics, *older] = artifact("reports-metrics-json")
    assert len(older) == others  # of other tests that have this server
    assert [row["auc"] for row in yaml.safe_load(metrics.data)] == [f["auc"] for f in METRICS.values()]
    assert yaml.safe_load(artifact("gates")[0].data) == gates["gates"] and artifact("dossier")

    from flows.review import review

    assert review(str(folder)) is None  # nobody has decided
    decide(str(folder), "approve", retraining)
    assert review(str(folder))["version"] == "v1.1.0"
    assert record.read(retraining.root)[-1]["commit"] == gates["candidate"]

    retraining.run("git", "merge", "-q", "-m", "merge", branch)
    retraining.run("dvc", "checkout", "-q")
    assert flows.retrain("schedule") is None  # the pipeline makes the champion again
    assert any("makes v1.1.0 again, to the byte: nothing to review" in message for message in caplog.messages)
    assert not list(Path(".worktrees").iterdir()) and len(list(folder.parent.iterdir())) == 1
    assert retraining.run("git", "branch", "--format=%(refname:short)", "--list", "retrain/*").split() == [branch]


def test_a_dirty_tree_is_refused_by_name(flows, retraining):
    Path("notes.txt").write_text("new")
    before = everything(retraining)
    with pytest.raises(RuntimeError, match=r"not clean: notes\.txt"):
        flows.retrain()
    assert everything(retraining) == before


def test_of_two_at_once_the_second_is_told_who_is_first(flows, retraining):
    hold = "import sys; from flows.worktree import alone\nwith alone('the first'): print('held', flush=True); input()"
    first = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(RuntimeError, match=rf"process {first.pid}, .* the first"):
            flows.retrain()
        assert not Path(".worktrees").exists()
    finally:
        first.kill()
        first.communicate()
    with flows.worktree.alone("the second"):  # a killed process holds nothing
        pass


def test_of_two_machines_on_one_server_the_second_is_refused(flows, retraining, monkeypatch):
    from prefect.concurrency.sync import concurrency

    tree = flows.worktree
    with tree.alone("makes the limit"):
        pass
    before = everything(retraining)
    monkeypatch.setattr(tree, "WAIT_S", 1)
    with concurrency(tree.LIMIT, lease_duration=60, strict=True), pytest.raises(RuntimeError, match="limit 'retrain'"):
        flows.retrain()
    assert everything(retraining) == before
    with tree.alone("it is free again"):
        pass


def test_a_failing_stage_fails_by_name_and_changes_nothing(flows, retraining):
    Path("fail").write_text("")
    retraining.run("git", "add", "fail")
    retraining.run("git", "commit", "-qm", "fails")
    compiled = Path("gunshot/__pycache__/loop.nbi")  # by Numba, for stages in the worktree too
    compiled.parent.mkdir(parents=True)
    compiled.write_bytes(b"a loop")
    record_before, head, model = retraining.state()[0], retraining.head(), Path(MODEL).read_bytes()
    with pytest.raises(RuntimeError, match=r"(?s)widths=0 must be at least 1.*failed to reproduce 'figures'"):
        flows.retrain()
    assert (retraining.state()[0], retraining.head(), Path(MODEL).read_bytes()) == (record_before, head, model)
    assert retraining.run("git", "status", "--porcelain") == "" and not Path("reports/candidates").exists()
    [left] = Path(".worktrees").iterdir()  # to be looked at, until the next run
    assert (left / compiled).read_bytes() == b"a loop"
    retraining.run("git", "rm", "-q", "fail")
    retraining.run("git", "commit", "-qm", "mended")
    folder = Path(flows.retrain())
    assert not left.exists() and (folder / "gates.json").exists()
    assert retraining.run("git", "branch", "--list", "retrain/*").split() == [f"retrain/{folder.name}"]


def test_what_a_person_confirmed_is_trained_on_and_stays_here(flows, retraining):
    root = Path("data/field")
    for name in ("shot", "unheard"):
        (root / "dev-1").mkdir(parents=True, exist_ok=True)
        sf.write(root / f"dev-1/{name}.wav", 0.1 * np.random.default_rng(len(name)).standard_normal(16000), 16000)
    tags.amend(root / "tags.csv", {"dev-1/shot.wav": [tags.Tag(500)]})
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    folder = Path(flows.retrain())
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    assert not Path("data/raw/field").exists()
    figures = json.loads(retraining.run("git", "show", f"retrain/{folder.name}:reports/metrics.json"))
    assert figures["int8"]["field"] == 1
    files = retraining.run("git", "ls-tree", "-r", "--name-only", f"retrain/{folder.name}").split()
    assert "data/raw/field.dvc" in files and not [name for name in files if name.endswith(".wav")]


def test_a_candidate_has_the_verdict_of_when_its_recordings_were_gathered(flows, retraining, monkeypatch):
    verdict = {"drift": True, "reason": "rain", "batch": "1"}
    flows.VERDICT.parent.mkdir(parents=True)
    flows.VERDICT.write_text(json.dumps(verdict))
    later = json.dumps(verdict | {"batch": "2"})  # the monitor's, an hour later
    monkeypatch.setattr(flows, "publish", lambda tree: flows.VERDICT.write_text(later))
    folder = Path(flows.retrain("drift: rain"))
    assert json.loads((folder / "drift.json").read_text()) == verdict
    assert "drift" not in retraining.run("git", "ls-tree", "-r", "--name-only", f"retrain/{folder.name}")


def test_the_first_training_needs_no_champion(flows, retraining):
    retraining.run("git", "rm", "-q", "models/record.jsonl")
    retraining.run("git", "commit", "-qm", "as before the first")
    retraining.run("git", "tag", "-d", *retraining.run("git", "tag").split())
    folder = Path(flows.retrain())
    assert json.loads((folder / "gates.json").read_text())["champion"] is None
    assert len(json.loads((folder / "comparison.json").read_text())) == 3  # one model, --out FILE


def test_a_reviewer_who_never_answers_has_rejected(flows, retraining):
    folder = Path(flows.retrain())
    from prefect import flow

    from flows.review import expire

    days = yaml.safe_load(Path("params.yaml").read_text())["promotion"]["review_days"]
    start = datetime.strptime(folder.name, flows.worktree.TIME).replace(tzinfo=UTC)
    before = len(record.read(retraining.root))
    flow(expire)(folder.parent, start + timedelta(days=days))
    assert len(record.read(retraining.root)) == before
    flow(expire)(folder.parent, start + timedelta(days=days, seconds=1))
    last = record.read(retraining.root)[-1]
    assert (last["event"], last["by"]) == ("rejected", "nobody") and "no decision within" in last["reason"]


def test_where_the_params_say_so_what_passes_every_gate_is_promoted(flows, retraining):
    sections = yaml.safe_load(Path("params.yaml").read_text())
    sections["promotion"]["auto"] = True
    Path("params.yaml").write_text(yaml.safe_dump(sections))
    retraining.run("git", "commit", "-qam", "auto")
    flows.retrain()
    last = record.read(retraining.root)[-1]
    assert (last["version"], last["by"]) == ("v1.1.0", "promotion.auto")


def test_runs_in_the_project_folder_alone(flows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"dvc\.yaml: no such file; run this from the project's folder"):
        flows.retrain.fn()
