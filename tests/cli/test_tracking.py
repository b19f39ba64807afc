"""Import beside DVC: it waits for whoever holds the lock and says who that is, and nothing is half done."""

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import zc.lockfile

from gunshot import cli
from gunshot.cli import tracking

REPO = Path(__file__).parents[2]
SLOW = """
  slow:
    cmd: head -c 1 go
    deps: [data/raw]
"""
IMPORT = [sys.executable, "-c", "from gunshot.cli import main; main()", "import", "folder", "in", "--name", "mine"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a stage that runs until someone writes to the pipe `go`, and a folder to import."""
    (tmp_path / "dvc.yaml").write_text((REPO / "dvc.yaml").read_text().replace("stages:\n", f"stages:\n{SLOW}", 1))
    (tmp_path / "params.yaml").write_bytes((REPO / "params.yaml").read_bytes())
    (tmp_path / "in/gun").mkdir(parents=True)
    sf.write(tmp_path / "in/gun/a.wav", 0.1 * np.random.default_rng(0).standard_normal(8000), 16000)
    (tmp_path / "data/raw").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for name in ("SITE_CACHE_DIR", "GLOBAL_CONFIG_DIR", "SYSTEM_CONFIG_DIR"):
        monkeypatch.setenv(f"DVC_{name}", str(tmp_path / ".settings"))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    return tmp_path


def dvc(*args: str) -> list[str]:
    return [sys.executable, "-m", "dvc", *args]


def fails(monkeypatch, *args: str) -> str:
    monkeypatch.setattr(sys, "argv", ["gunshot", "import", "folder", "in", "--name", "mine", *args])
    with pytest.raises(SystemExit) as e:
        cli.main()
    return e.value.code


@pytest.mark.slow
def test_import_waits_for_a_pipeline_that_runs_and_is_tracked_after_it(project):
    subprocess.run(dvc("init", "--no-scm", "--quiet"), check=True)
    os.mkfifo("go")
    with subprocess.Popen(dvc("repro", "--single-item", "slow"), stdout=subprocess.DEVNULL) as repro:
        lock = project / ".dvc/tmp/rwlock"
        while not (lock.exists() and str(project / "data/raw") in lock.read_text()) and repro.poll() is None:
            time.sleep(0.02)
        with subprocess.Popen(IMPORT, stdout=subprocess.PIPE, text=True) as imported:
            said = imported.stdout.readline()
            assert said.startswith(f"waits for process {repro.pid} (") and "repro --single-item slow" in said, said
            assert said.endswith("which holds DVC's lock; nothing is written before\n")
            assert list((project / "data/raw").iterdir()) == []
            with open("go", "w") as go:
                go.write("x")
            said = imported.stdout.read()
        assert imported.returncode == 0 and repro.wait() == 0, said
    assert "1 imported" in said and "tracked by DVC in data/raw/mine.dvc" in said
    assert Path("data/raw/mine.dvc").is_file() and Path("data/raw/mine/gun/a.wav").is_file()


def test_a_lock_of_a_process_that_is_gone_is_no_lock(project):
    gone = subprocess.Popen(["true"])
    gone.wait()
    Path(".dvc/tmp").mkdir(parents=True)
    entry = {"pid": gone.pid, "cmd": "dvc repro"}
    Path(".dvc/tmp/rwlock").write_text(json.dumps({"write": {"/x": entry}, "read": {"/y": [entry]}}))
    Path(".dvc/tmp/lock").write_text(f" {gone.pid}\n")
    assert tracking._holder() is None
    for text in ("", "{", "{}"):
        Path(".dvc/tmp/rwlock").write_text(text)
        assert tracking._holder() is None
    Path(".dvc/tmp/rwlock").write_text(json.dumps({"read": {"/y": [entry, entry | {"pid": os.getpid()}]}}))
    assert tracking._holder() == (os.getpid(), " (dvc repro)")
    Path(".dvc/tmp/rwlock").unlink()
    with closing(zc.lockfile.LockFile(".dvc/tmp/lock")):  # as DVC holds it between stages
        assert tracking._holder() == (os.getpid(), "")
    assert tracking._holder() is None


@pytest.mark.parametrize("link", ["data/raw/mine", "data/raw", "data"])
def test_a_corpus_behind_a_link_is_refused_before_anything_is_written(project, monkeypatch, link):
    away = project / "away"
    Path(link).parent.mkdir(exist_ok=True)
    if Path(link).is_dir():
        Path(link).rename(away)
    away.mkdir(exist_ok=True)
    Path(link).symlink_to(away)
    before = sorted(away.rglob("*"))
    message = fails(monkeypatch)
    assert message.startswith(
        f"error: {link}: leads to {away}; DVC tracks nothing behind a link: put a folder in its place"
    )
    assert sorted(away.rglob("*")) == before


def test_a_file_in_the_corpus_s_place_is_named(project, monkeypatch):
    Path("data/raw/mine").write_text("x")
    assert fails(monkeypatch).startswith("error: data/raw/mine: must be a folder; move that file away")


@pytest.mark.slow
def test_why_dvc_does_not_track_it_is_told_in_one_line(project, monkeypatch):
    Path(".dvc").mkdir()  # no project of DVC's
    message = fails(monkeypatch)
    assert (
        message.startswith("error: data/raw/mine: all is imported, but DVC does not track it: ERROR")
        and "\n" not in message
    )
    assert message.endswith("mend that, then import again") and Path("data/raw/mine/gun/a.wav").is_file()
