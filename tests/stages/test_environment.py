"""`make .venv/ready`: the right Python is asked for before anything is made, and a wrong environment is made anew."""

import os
import shutil
import subprocess
import tomllib

import pytest

from tests.cli.test_commands import REPO

# It answers as a Python of a version does; its environments hold itself and, once pip has run, a uv that does nothing.
PYTHON = """#!/bin/sh
echo "$(basename "$0"): $*" >>log
case "$1 $2" in
  "-c import pip"*) test {version} = 3.11 && test ! -e no-pip ;;
  "-c "*) echo {version} ;;
  "-m venv") rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  "-m pip") printf '#!/bin/sh\necho "uv: $*" >>log\n' >.venv/bin/uv && chmod +x .venv/bin/uv ;;
esac
"""


@pytest.fixture
def make(tmp_path):
    """A function that runs `make .venv/ready` of the project in an empty folder, with a Python of a version."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(REPO / name, tmp_path)
    for version in ("3.11", "3.12"):
        (tmp_path / f"python{version}").write_text(PYTHON.format(version=version))
        (tmp_path / f"python{version}").chmod(0o755)

    def run(version: str) -> tuple[int, str, str]:
        """Return the exit code, what was said, and what was run."""
        (tmp_path / "log").write_text("")
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
        command = ["make", ".venv/ready", f"PYTHON={tmp_path / f'python{version}'}"]
        done = subprocess.run(command, cwd=tmp_path, env=kept, capture_output=True, text=True)
        return done.returncode, done.stdout, (tmp_path / "log").read_text()

    return run


def is_new(log: str) -> bool:
    return "-m venv --clear .venv" in log


def test_another_python_is_refused_before_anything_is_made(make, tmp_path):
    code, said, log = make("3.12")
    assert code and f"Python 3.11 is needed; PYTHON={tmp_path / 'python3.12'} is 3.12. Nothing was installed" in said
    assert not is_new(log) and not (tmp_path / ".venv").exists()
    code, said, _ = make("3.9")  # there is none
    assert code and "python3.9 is none. Nothing was installed: make PYTHON=/path/to/python3.11" in said


def test_the_right_one_then_makes_the_environment_and_says_so(make, tmp_path):
    make("3.12")
    code, said, log = make("3.11")
    assert not code and is_new(log) and (tmp_path / ".venv/ready").exists()
    assert "Making .venv with" in said and "this takes some minutes" in said
    sync = next(line for line in log.splitlines() if line.startswith("uv: pip sync"))
    assert "--quiet" not in sync  # it shows what it fetches


def test_an_environment_of_another_python_or_a_half_made_one_is_made_anew(make, tmp_path):
    for amiss in (lambda: shutil.copy(tmp_path / "python3.12", tmp_path / ".venv/bin/python"),
                  lambda: (tmp_path / ".venv/bin/python").unlink()):  # fmt: skip
        assert make("3.11")[0] == 0
        amiss()
        (tmp_path / ".venv/ready").unlink()
        code, _, log = make("3.11")
        assert not code and is_new(log)
    (tmp_path / ".venv/ready").unlink()
    code, _, log = make("3.12")  # a sound one is kept, whichever Python would make the next
    assert not code and not is_new(log) and "uv: pip sync" in log
    (tmp_path / ".venv/ready").unlink()
    (tmp_path / "no-pip").touch()  # as Debian leaves one without python3.11-venv
    assert is_new(make("3.11")[2])


def test_the_makefile_asks_for_the_python_that_the_packages_allow():
    allowed = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["requires-python"]
    (needed,) = (line.split()[-1] for line in (REPO / "Makefile").read_text().splitlines() if line.startswith("NEEDED"))
    major, minor = needed.split(".")
    assert allowed == f">={needed},<{major}.{int(minor) + 1}"
