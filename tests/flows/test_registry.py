"""Promotion, rejection, rollback: what the record, Git's tags and GTO say afterwards, also after faults and crashes."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gunshot import cli
from gunshot.promotion import audit, registry, repository
from gunshot.signing import keys, record
from tests.flows.registry_project import BIN, ENVIRONMENT, MODEL, Project

pytest_plugins = "tests.flows.registry_project"
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
GATES = [{"name": "recall", "passed": False, "figure": 0.71}, {"name": "size", "passed": True, "figure": 27864}]


def refused(project, match: str, call) -> None:
    """The call fails with this message and changes nothing."""
    before = project.state()
    with pytest.raises((ValueError, OSError), match=match):
        call()
    assert project.state() == before


def review(project, commit: str, champion: str | None, gates=GATES) -> dict:
    return {"candidate": commit, "champion": champion, "gates": gates}


def test_gto_and_dvc_see_what_was_promoted_and_rolled_back(project):
    import gto.api

    entry = project.promote(project.second, "v1.0.0")
    assert (entry["version"], entry["number"], entry["stage"]) == ("v1.1.0", 2, "prod")
    assert entry["replaced"] == {"version": "v1.0.0", "commit": project.first}
    get = [BIN / "dvc", "artifacts", "get", "--quiet", "--force", ".", "int8", "--stage", "prod", "--out", "got"]
    for expected, decide in (("two", lambda: None), ("one", project.rollback)):
        decide()
        project.run(*get)
        assert (project.root / "got").read_text() == expected
    (project.root / "got").unlink()
    shown = gto.api.show(str(project.root), "int8")
    assert sorted(v["version"] for v in shown) == ["v1.0.0", "v1.1.0"]
    assert project.run("git", "tag", "-l").split() == [
        "int8#prod!#2", "int8#prod!#3", "int8#prod#1", "int8#prod#2", "int8#prod#3", "int8@v1.0.0", "int8@v1.1.0"
    ]  # fmt: skip
    message = project.run("git", "tag", "-l", "--format=%(contents)", "int8@v1.1.0")
    sha256 = entry["files"][str(MODEL)]
    for text in ("by: Ada", "reason: better at night", entry["dossier"], sha256, entry["data"], project.second):
        assert text in message
    assert audit.verify(project.root) == []
    assert [(p["version"], p["until"] is None) for p in registry.production(record.read(project.root))] == [
        ("v1.0.0", False), ("v1.1.0", False), ("v1.0.0", True)
    ]  # fmt: skip
    assert project.run("git", "status", "--porcelain") == ""


def test_a_rollback_walks_back_and_can_go_forward_again(project):
    project.promote(project.second, "v1.0.0")
    third = project.candidate("three")
    project.promote(third, "v1.1.0")
    assert [project.rollback()["version"] for _ in range(2)] == ["v1.1.0", "v1.0.0"]
    refused(project, "nothing was in production before v1.0.0", project.rollback)
    refused(project, "in production already", lambda: project.rollback(to="v1.0.0"))
    refused(project, "to=v7.0.0 must be", lambda: project.rollback(to="v7.0.0"))
    assert project.rollback(to="v1.2.0")["number"] == 6
    refused(
        project,
        "candidate=.* is v1.1.0, which was; `gunshot rollback",
        lambda: project.promote(project.second, "v1.2.0"),
    )


def test_a_failed_gate_needs_a_reason_of_its_own(project):
    def decide(**overrule):
        return project.promote(project.second, "v1.0.0", review=review(project, project.second, "v1.0.0"), **overrule)

    refused(project, r"gates=\['recall'\] failed", decide)
    refused(project, "must say something", lambda: decide(overrule={"recall": " "}))
    refused(project, r"overrule=\['size'\] must name", lambda: decide(overrule={"recall": "why", "size": "why"}))
    entry = decide(overrule={"recall": "the slice holds\n12 cases"})
    assert entry["overruled"] == {"recall": "the slice holds 12 cases"}
    assert entry["gates"] == GATES
    assert "overruled recall: the slice holds 12 cases" in project.run(
        "git", "tag", "-l", "--format=%(contents)", "int8#prod#2"
    )


def test_what_a_reviewer_acknowledged_is_on_the_record_and_in_the_tags(project):
    given = review(project, project.second, "v1.0.0", GATES[1:]) | {"small": ["weapon=M16", "weapon=Uzi", "place=mall"]}

    def decide(*acknowledge: str):
        return project.promote(project.second, "v1.0.0", review=given, acknowledge=list(acknowledge))

    refused(project, r"slices=\['weapon=M16', 'weapon=Uzi', 'place=mall'\] have too few cases", decide)
    refused(project, r"acknowledge=\['place=subway'\] must name", lambda: decide("weapon", "place", "place=subway"))
    entry = decide("weapon", "place=mall")
    assert record.read(project.root)[-1] == entry and entry["acknowledged"] == given["small"]
    message = project.run("git", "tag", "-l", "--format=%(contents)", "int8@v1.1.0")
    assert all(f"\nacknowledged: {name}\n" in message for name in given["small"])
    assert project.rollback()["acknowledged"] == []
    assert audit.verify(project.root) == []


@pytest.mark.parametrize(
    ("gates", "match"),
    [
        ([], "must be a list"),
        ([{"name": "recall", "passed": "yes", "figure": 1}], "passed"),
        ([GATES[1], GATES[1]], "each name once"),
        (["recall"], "must be a list"),
    ],
)
def test_gates_that_say_nothing_are_refused(project, gates, match):
    given = review(project, project.second, "v1.0.0", gates)
    refused(project, match, lambda: project.promote(project.second, "v1.0.0", review=given))


def test_a_rejected_candidate_is_on_the_record_and_not_in_production(project):
    given = {"dossier": project.dossier("poor"), "by": "Ada", "reason": "misses distant shots", "root": project.root}
    entry = registry.reject(project.second, review=review(project, project.second, "v1.0.0"), **given)
    assert (entry["event"], entry["stage"], entry["version"]) == ("rejected", "archived", None)
    assert registry.champion(record.read(project.root))["version"] == "v1.0.0"
    assert "int8#archived#2" in project.run("git", "tag", "-l")
    assert audit.verify(project.root) == []
    assert project.promote(project.second, "v1.0.0")["version"] == "v1.1.0"  # someone thinks again
    assert audit.verify(project.root) == []


def test_a_trial_in_staging_keeps_its_version_in_production(project):
    assert project.promote(project.second, "v1.0.0", registry_stage="staging")["version"] == "v1.1.0"
    assert registry.champion(record.read(project.root))["version"] == "v1.0.0"
    assert project.promote(project.second, "v1.0.0")["version"] == "v1.1.0"
    assert audit.verify(project.root) == []
    assert project.run("git", "tag", "-l", "int8*").split() == [
        "int8#prod!#3", "int8#prod#1", "int8#prod#3", "int8#staging#2", "int8@v1.0.0", "int8@v1.1.0"
    ]  # fmt: skip


def test_first_run_has_no_champion(tmp_path, monkeypatch):
    for name, value in (ENVIRONMENT | {"GUNSHOT_KEY": str(tmp_path / "key.pem")}).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "new").mkdir()
    project = Project(tmp_path / "new").make()
    assert registry.champion(record.read(project.root)) is None and audit.verify(project.root) == []
    refused(project, "to=None must be a version that was in production: none", project.rollback)
    refused(project, "champion=None is in production", lambda: project.promote(project.head(), "v1.0.0"))
    assert project.promote(project.head(), None)["version"] == "v1.0.0"


def test_a_candidate_equal_to_the_champion_is_refused(project):
    again = project.candidate("one")
    assert again != project.first
    refused(project, "is v1.0.0, which is there; nothing to promote", lambda: project.promote(again, "v1.0.0"))
    other = project.candidate("one", operating='{"logit": 3}')  # the same model, operated in another way
    assert project.promote(other, "v1.0.0")["version"] == "v1.1.0"


def test_of_two_reviewers_at_once_one_is_refused(project):
    common = project.root / ".git" / "gunshot-record.lock"
    with common.open("w") as f:  # the other one's process; any lock of theirs must do
        fcntl.flock(f, fcntl.LOCK_SH)
        refused(project, "another decision is just being recorded", lambda: project.promote(project.second, "v1.0.0"))
    project.promote(project.second, "v1.0.0")
    third = project.candidate("three")
    refused(
        project,
        "champion=v1.1.0 is in production, the gates compared with v1.0.0",
        lambda: project.promote(third, "v1.0.0"),
    )


def test_two_processes_at_once_leave_one_line(project):
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from tests.flows.registry_project import Project\n"
        "Project(Path(sys.argv[2])).promote(sys.argv[3], 'v1.0.0', by=sys.argv[4])"
    )
    project.dossier()
    arguments = [str(ROOT), str(project.root), project.second]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, *arguments, who], env=environment, stderr=subprocess.PIPE, text=True
        )
        for who in ("Ada", "Bo")
    ]
    errors = [child.communicate()[1] for child in running]
    assert sorted(child.returncode for child in running) == [0, 1]
    assert any(why in "".join(errors) for why in ("another decision", "nothing to promote", "evaluate anew"))
    assert len(record.read(project.root)) == 2 and audit.verify(project.root) == []


STEPS = ["dossier", "line", "add", "commit", "version tag", "unassigning tag", "assigning tag"]


class Crash(BaseException):
    """The process dies here."""


def crash_at(monkeypatch, step: int) -> None:
    """Die before the write number `step`, as STEPS has them."""
    done = 0

    def dying(function, writes):
        def call(*args, **kwargs):
            nonlocal done
            if writes(args):
                if done == step:
                    raise Crash
                done += 1
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(record, "write", dying(record.write, lambda args: True))
    git = repository.Repository.git
    monkeypatch.setattr(repository.Repository, "git", dying(git, lambda args: args[1] in ("add", "commit", "tag")))


@pytest.mark.sweep(3)
@pytest.mark.parametrize("step", range(len(STEPS)), ids=STEPS)
def test_a_crash_leaves_all_as_it_was_or_the_same_command_completes(project, step):
    before = project.state()
    with pytest.MonkeyPatch.context() as patch:
        crash_at(patch, step)
        with pytest.raises(Crash):
            project.promote(project.second, "v1.0.0")
    if step < 2:  # nothing was recorded
        assert project.state() == before and audit.verify(project.root) == []
    else:
        assert registry.champion(record.read(project.root))["version"] == "v1.1.0"
        assert audit.verify(project.root) != []
    entry = project.promote(project.second, "v1.0.0")
    assert (entry["number"], entry["version"]) == (2, "v1.1.0")
    assert audit.verify(project.root) == [] and len(record.read(project.root)) == 2
    assert project.run("git", "status", "--porcelain") == ""


@pytest.mark.sweep(2)
@pytest.mark.parametrize("step", range(5), ids=[STEPS[i] for i in (1, 2, 3, 5, 6)])
def test_another_command_finishes_what_a_crash_left(project, step):
    project.promote(project.second, "v1.0.0")
    with pytest.MonkeyPatch.context() as patch:
        crash_at(patch, step)
        with pytest.raises(Crash):
            project.rollback()
    third = project.candidate("three")
    champion = registry.champion(record.read(project.root))["version"]
    assert champion == ("v1.1.0" if step == 0 else "v1.0.0")
    assert project.promote(third, champion)["version"] == "v1.2.0"
    assert audit.verify(project.root) == []


def test_a_full_disk_changes_nothing(project):
    line = len((project.root / record.PATH).read_bytes())
    code = (
        "import resource, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from tests.flows.registry_project import Project; from gunshot.signing import record\n"
        "append = record.append\n"
        "def full(*a, **k):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]),) * 2)\n"
        "    return append(*a, **k)\n"
        "record.append = full\n"
        "Project(Path(sys.argv[2])).promote(sys.argv[3], 'v1.0.0')"
    )
    before = project.state()
    arguments = [str(ROOT), str(project.root), project.second, str(line + 10)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
    )
    assert done.returncode == 1 and "OSError: [Errno 27]" in done.stderr, done.stderr
    assert project.state() == before
    assert not list((project.root / "models").glob(".*.part"))
    assert project.promote(project.second, "v1.0.0")["number"] == 2


def test_a_rollback_without_the_bytes_changes_nothing_and_works_once_the_remote_is_back(copy, tmp_path):
    project = copy
    project.run(BIN / "dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    project.run("git", "commit", "-qam", "remote")
    second = project.candidate("two again")
    shutil.copytree(project.root / ".dvc/cache", tmp_path / "store")  # all commits', also those before the remote
    project.promote(second, "v1.0.0")
    os.rename(tmp_path / "store", tmp_path / "gone")
    assert audit.verify(project.root) == []  # the cache has all
    os.rename(tmp_path / "gone", tmp_path / "store")
    project.cached(project.first).unlink()
    os.rename(tmp_path / "store", tmp_path / "gone")
    refused(project, "neither DVC's cache nor its remote gives it", project.rollback)
    assert any("neither" in fault for fault in audit.verify(project.root))
    os.rename(tmp_path / "gone", tmp_path / "store")
    entry = project.rollback()
    assert registry.content(entry, root=project.root) == b"one"


def test_a_corrupt_cache_object_is_neither_promoted_nor_rolled_back_to(copy):
    project = copy
    for commit, decide in (
        (project.second, lambda: project.promote(project.second, "v1.0.0")),
        (project.first, project.rollback),
    ):
        path, kept = project.cached(commit), project.cached(commit).read_bytes()
        path.chmod(0o644)
        path.write_bytes(b"zzz")
        refused(project, "the object is corrupt: remove .dvc/cache/files/md5", decide)
        path.write_bytes(kept)
        decide()


def test_a_clock_that_jumped_orders_nothing(project, monkeypatch):
    now = datetime.now(UTC)
    append = record.append
    for days in (800, -800, 0):
        monkeypatch.setattr(record, "append", lambda *a, d=days, **k: append(*a, **k, now=now + timedelta(days=d)))
        monkeypatch.setattr(registry.time, "time", lambda d=days: (now + timedelta(days=d)).timestamp())
        if days == 800:
            project.promote(project.second, "v1.0.0")
        else:
            project.rollback(to="v1.0.0" if days == -800 else "v1.1.0")
    entries = record.read(project.root)
    assert [e["clock_behind"] for e in entries] == [False, False, True, True]
    assert [e["version"] for e in entries] == ["v1.0.0", "v1.1.0", "v1.0.0", "v1.1.0"]
    assert audit.verify(project.root) == []  # GTO, which goes by dates, agrees


def test_without_a_key_or_with_a_stranger_s_nothing_is_decided(project, tmp_path, monkeypatch):
    decide = lambda: project.promote(project.second, "v1.0.0")  # noqa: E731
    monkeypatch.setenv("GUNSHOT_KEY", str(tmp_path / "none.pem"))
    refused(project, "no key; make one with `gunshot models key NAME`", decide)
    keys.create("stranger", tmp_path / "elsewhere")
    refused(project, "is none of those in models/keys", decide)
    (tmp_path / "none.pem").chmod(0o640)
    refused(project, "chmod 600", decide)
    (tmp_path / "none.pem").chmod(0o600)
    (tmp_path / "none.pem").write_text("no key")
    refused(project, "must be an Ed25519 key in PEM", decide)


@pytest.mark.parametrize("name", ["", "../x", "a b"])
def test_a_key_s_name_is_a_file_s(tmp_path, monkeypatch, name):
    monkeypatch.setenv("GUNSHOT_KEY", str(tmp_path / "key.pem"))
    with pytest.raises(ValueError, match="must be letters"):
        keys.create(name, tmp_path)
    keys.create("ada", tmp_path / "keys")
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ValueError, match="never written over"):
        keys.create("bo", tmp_path / "keys")


def test_a_detached_head_is_refused(project):
    project.run("git", "checkout", "-q", "--detach")
    refused(project, "HEAD is detached", lambda: project.promote(project.second, "v1.0.0"))


def test_other_changes_of_the_working_tree_stay_uncommitted(project):
    (project.root / "source").write_text("edited")
    (project.root / "staged").write_text("new")
    project.run("git", "add", "staged")
    project.promote(project.second, "v1.0.0")
    assert project.run("git", "status", "--porcelain").splitlines() == [" M source", "A  staged"]
    assert set(project.run("git", "show", "--name-only", "--format=", "HEAD").split()) == {"models/record.jsonl"}


def test_the_command_tells_people_and_machines(project, monkeypatch):
    gates = project.root.parent / "gates.json"
    gates.write_text(json.dumps(review(project, project.second, "v1.0.0") | {"small": ["weapon=M16"]}))

    def gunshot(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(cli.app, list(arguments))
        assert done.exit_code == code, done.output
        return done.output

    options = ["--dossier", str(project.dossier()), "--gates", str(gates), "--by", "Ada", "--reason", "night"]
    why = ["--overrule", "recall=few cases"]
    monkeypatch.chdir(project.root)
    gunshot("promote", project.second, *options, code=1)
    gunshot("promote", project.second, *options, *why, code=1)
    promoted = gunshot("promote", project.second, *options, *why, "--acknowledge", "weapon")
    assert "v1.1.0 is in prod, line 2" in promoted
    shown = json.loads(gunshot("models", "--format", "json"))
    assert shown["champion"] == "v1.1.0" and [p["version"] for p in shown["production"]] == ["v1.0.0", "v1.1.0"]
    assert shown["record"] == record.read(project.root)
    said = ("v1.1.0", "Ada, with the key of operator: night", "overruled recall: few cases", "few cases: 1 of weapon")
    assert all(words in gunshot("models") for words in said) and shown["record"][-1]["acknowledged"] == ["weapon=M16"]
    assert "2 lines, no fault" in gunshot("models", "verify")
    assert json.loads(gunshot("models", "verify", "--format", "json"))["faults"] == []
    (project.root / record.PATH).write_bytes(b"")
    assert "fault: tag int8#prod#1 is not in the record" in gunshot("models", "verify", code=1)
