"""gunshot doctor: what this machine lacks is told with what needs it and what to do, on a page that always ends."""

import os
import re
import subprocess
import sys

import pytest

from gunshot.cli import doctor
from tests.cli.test_commands import REPO, project, run  # noqa: F401 - a fixture

COMMAND = "import sys; sys.argv[0] = 'gunshot'; from gunshot.cli import main; main()"


def outcome(**environment: str) -> tuple[int, dict[str, str]]:
    """Return the exit code, and of each check what it says, by name."""
    kept = {"PYTHONPATH": str(REPO), "PATH": os.environ["PATH"], "HOME": os.environ["HOME"]} | environment
    done = subprocess.run([sys.executable, "-c", COMMAND, "doctor"], env=kept, capture_output=True, text=True)
    assert done.returncode in (0, 1) and not done.stderr, done.stderr
    lines = done.stdout.splitlines()
    assert all(len(line) <= 100 for line in lines if not line.startswith("OK"))
    assert lines[0].startswith("gunshot ") and "Python 3.11" in lines[0]
    *rows, last = re.sub(r"\n {9,}", " ", done.stdout).splitlines()[1:]
    return done.returncode, {check.name: row for check, row in zip(doctor.CHECKS, rows, strict=True)} | {"": last}


@pytest.mark.slow
def test_a_machine_that_lacks_nearly_everything_still_has_the_core(project, tmp_path):  # noqa: F811
    (empty := tmp_path / "empty").mkdir()
    code, rows = outcome(
        PATH=str(empty), HOME=str(tmp_path / "nobody"), LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0",
        NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator",
    )  # fmt: skip
    assert code == 0 and rows[""] == "the core works"
    core = {check.name for check in doctor.CHECKS if check.core}
    assert all(rows[name].startswith(f"OK       {name} ") for name in core) and len(core) == 4
    for name in ("home", "text", "compiled loops", "models", "git", "C compiler", "cross compiler", "QEMU", "Chromium"):
        assert rows[name].startswith(f"missing  {name} "), rows[name]
    assert "no gcc, cmake, ninja on the PATH" in rows["C compiler"]


@pytest.mark.slow
def test_what_is_there_is_named(project):  # noqa: F811
    code, rows = outcome(LC_ALL="C.UTF-8")
    assert code == 0 and all(rows[name].startswith("OK ") for name in ("git", "text", "compiled loops", "home", "disk"))
    assert "git" in rows["git"].split()[-1] and f"{sys.executable}" in rows["Python"]


@pytest.mark.slow
def test_without_the_core_it_ends_with_1_and_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, rows = outcome(TMPDIR=str(tmp_path))
    assert code == 1 and rows[""] == "the core does not work: project"
    assert "params.yaml: no such file" in rows["project"] and "Needed by all" in rows["project"]


def test_a_missing_package_and_a_full_disk_are_told(project, monkeypatch):  # noqa: F811
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "bokeh" else version(name))
    monkeypatch.setattr(doctor, "DISK_GB", 10**9)
    done = run("doctor")
    assert done.exit_code == 0
    said = re.sub(r"\n {9,}", " ", done.stdout)
    assert "bokeh not installed. Needed by annotate, explore" in said
    assert "GB free here, 1000000000 GB are needed. Needed by the pipeline: make room" in said


def test_the_version_is_told_without_a_project():
    done = run("--version")
    assert done.exit_code == 0 and done.stdout.startswith("gunshot ") and "Python 3.11" in done.stdout
