"""A team's storage over SSH and S3: `make` in a clone downloads what others made, and computes what is not there."""

import contextlib
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml

from tests.flows.prefect_server import free_port, started
from tests.flows.registry_project import dvc
from tests.stages import test_wiring
from tests.stages.project import ROOT, Project, ran
from tests.stages.test_proofs import equal

pytest_plugins = "tests.stages.ssh_server"
pytestmark = pytest.mark.slow
SAMPLED = pytest.mark.sweep(1, group="a clone's make")  # each is some runs of DVC
EQUIPMENT = "/.venv\n/Makefile\n/pyproject.toml\n/requirements.lock\n"
STAGES = {
    "letters": {
        "cmd": "mkdir letters && for i in 1 2 3; do cat source >letters/$i; done",
        "deps": ["source"], "outs": ["letters"],
    },
    "count": {
        "cmd": "wc -c letters/1 >count && wc -c letters/2 >count.txt",
        "deps": ["letters"], "outs": ["count"], "metrics": [{"count.txt": {"cache": False}}],
    },
}  # fmt: skip


class Clone(Project):
    """A clone in which `make` was typed before, so that its environment is there."""

    @property
    def env(self) -> dict[str, str]:
        return {name: value for name, value in super().env.items() if not name.startswith(("MAKE", "MFLAGS"))}

    def equip(self) -> "Clone":
        """Give it the Makefile, and this environment as its own."""
        for name in ("Makefile", "requirements.lock", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root)
        (self.root / ".venv").mkdir()
        (self.root / ".venv/bin").symlink_to(Path(sys.prefix) / "bin")
        (self.root / ".venv/ready").touch()
        return self

    def remote(self, url: str, **settings: str) -> None:
        """Name a remote for all, and commit that."""
        dvc(self.root, "remote", "add", "-q", "-d", "lab", url)
        for name, value in settings.items():
            dvc(self.root, "remote", "modify", "-q", "lab", name, value)
        self.commit("a remote")

    def mine(self, ssh) -> None:
        """Name the account's key for this clone alone."""
        lines = ["['remote \"lab\"']", f"keyfile = {ssh.folder / 'key'}"]
        (self.root / ".dvc/config.local").write_text("\n".join(lines) + "\n")

    def clone(self, to: Path, ssh=None) -> "Clone":
        """Return a clone of what is committed here, on a machine that shares nothing but the server."""
        self.run("git", "clone", "-q", ".", str(to))
        there = Clone(to, to.with_name(f"{to.name} machine")).equip()
        if ssh:
            there.mine(ssh)
        return there


@pytest.fixture
def alone(tmp_path) -> Clone:
    """A small project after its first `dvc repro`, that has no remote."""
    (tmp_path / "first").mkdir()
    project = Clone(tmp_path / "first", tmp_path / "machine")
    project.run("git", "init", "-q", "-b", "main")
    dvc(project.root, "init", "-q")
    (project.root / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    (project.root / "source").write_text("one")
    (project.root / ".gitignore").write_text(EQUIPMENT)
    dvc(project.equip().root, "repro", "-q")
    project.commit("first")
    return project


@pytest.fixture
def first(alone, ssh, tmp_path) -> Clone:
    """The small project with a remote, to which nobody has pushed yet."""
    (tmp_path / "store").mkdir()
    alone.remote(ssh.url(tmp_path / "store"), verify="true")
    alone.mine(ssh)
    return alone


def contents(project: Project) -> dict[str, bytes]:
    paths = [path for name in ("letters", "count", "count.txt") for path in (project.root / name,)]
    files = [file for path in paths for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    return {file.relative_to(project.root).as_posix(): file.read_bytes() for file in files}


def objects(store: Path) -> list[Path]:
    return [path for path in (store / "files").rglob("*") if path.is_file()]


@SAMPLED
def test_what_nobody_has_pushed_is_computed(first, ssh, tmp_path):
    with ssh.running():
        second = first.clone(tmp_path / "second", ssh)
        printed = second.run("make")
        assert ssh.logins() > 0
    assert ran(printed) == ["letters", "count"] and "gave nothing" not in printed
    assert contents(second) == contents(first)


@SAMPLED
def test_what_nobody_has_committed_comes_from_the_run_cache(first, ssh, tmp_path):
    second = first.clone(tmp_path / "second", ssh)
    for project in (first, second):
        (project.root / "source").write_text("two")
    first.repro()
    with ssh.running():
        first.run("dvc", "push", "--run-cache")
        printed = second.run("make")
    # A stage whose metrics lie in Git is not in a remote's run cache, as DVC pushes no such file.
    assert "Stage 'letters' is cached" in printed and ran(printed) == ["count"]
    assert contents(second) == contents(first)


@SAMPLED
@pytest.mark.parametrize("amiss", ["no server", "another key"])
def test_a_remote_that_cannot_be_reached_is_said_and_all_is_computed(first, ssh, tmp_path, amiss):
    second = first.clone(tmp_path / "second", ssh)
    (ssh.folder / "key.pub").write_text((ssh.folder / "host.pub").read_text())
    with ssh.running() if amiss == "another key" else contextlib.nullcontext():
        printed = second.run("make")
    assert ran(printed) == ["letters", "count"] and contents(second) == contents(first)
    assert "ERROR: failed to connect to ssh" in printed
    assert "DVC's remote gave nothing, as said above: what is missing is computed here." in printed


@SAMPLED
def test_an_object_that_was_altered_in_the_remote_is_not_taken(first, ssh, tmp_path):
    second = first.clone(tmp_path / "second", ssh)
    with ssh.running():
        first.run("dvc", "push", "-q")
        for path in (tmp_path / "store/files").rglob("*"):
            if path.is_file() and b"one" in path.read_bytes():
                path.chmod(0o644)
                path.write_bytes(path.read_bytes().replace(b"one", b"own"))
        printed = second.run("make")
    assert "letters" in ran(printed) and contents(second) == contents(first)


@SAMPLED
def test_a_clone_without_a_remote_asks_for_none(alone):
    printed = alone.run("make")
    assert ran(printed) == [] and "dvc repro\n" in printed and "--pull" not in printed and "gave nothing" not in printed


@pytest.fixture
def s3(tmp_path, monkeypatch) -> Iterator[str]:
    """The address of moto's S3 server, with a bucket: it takes any key, and knows no TLS, rights or limits."""
    at = f"http://127.0.0.1:{(port := free_port())}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    with started(tmp_path / "s3.log", sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port) as one:
        end = time.monotonic() + 60
        while True:
            assert one.poll() is None and time.monotonic() < end, (tmp_path / "s3.log").read_text()
            with contextlib.suppress(requests.ConnectionError):
                requests.put(f"{at}/lab", timeout=10).raise_for_status()
                break
            time.sleep(0.1)
        yield at


@SAMPLED
def test_a_bucket_is_as_good_as_a_folder_by_ssh(alone, s3, tmp_path):
    alone.remote("s3://lab/store", endpointurl=s3)
    alone.run("dvc", "push", "-q", "--run-cache")
    assert len(re.findall("<Key>store/files/md5/", requests.get(f"{s3}/lab", timeout=10).text)) == 3
    second = alone.clone(tmp_path / "second")
    assert ran(second.run("make")) == [] and contents(second) == contents(alone)


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_a_new_machine_is_ready_without_running_a_stage(pipeline, ssh, tmp_path):
    """The whole pipeline on a small corpus: pushed by one, and the same in another's clone, the page too."""
    project = Clone(pipeline.copy(tmp_path / "project").root, tmp_path / "machine").equip()
    (project.root / ".gitignore").write_text((project.root / ".gitignore").read_text() + EQUIPMENT)
    (tmp_path / "store").mkdir()
    project.remote(ssh.url(tmp_path / "store"), verify="true")
    project.mine(ssh)
    with ssh.running():
        project.run("dvc", "push", "-q", "--run-cache")
        new = project.clone(tmp_path / "new", ssh)
        assert ran(new.run("make")) == []
    equal(new, project)
    for path in (path for stage in test_wiring.STAGES for path in test_wiring.outs(stage)):
        assert (new.root / path).exists(), path
    assert (new.root / "reports/index.html").read_bytes() == (project.root / "reports/index.html").read_bytes()


# A recording is a file, and so are its chunks and its changed copies; 2,404 of the default corpus.
BY_RECORDING = {"data/raw/simulated", "data/chunks", "data/augmented"}


def test_no_stage_makes_more_files_than_a_remote_bears():
    """In the default pipeline, as dvc.lock counts them: a few hundred, but for the recordings themselves."""
    stages = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    counts = {out["path"]: out.get("nfiles", 1) for stage in stages.values() for out in stage["outs"]}
    recordings = counts["data/raw/simulated"]
    assert {path for path, count in counts.items() if count > 300} <= BY_RECORDING
    assert all(counts[path] <= 1.2 * recordings for path in BY_RECORDING), counts
