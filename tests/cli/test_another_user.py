"""A user without a home, who may read the project and nothing more: a service, a container."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_commands import REPO, forest, project, shifted  # noqa: F401 - fixtures
from tests.cli.test_malformed_audio import a_recording

COMMAND = "import sys; sys.argv[0] = 'gunshot'; from gunshot.cli import main; main()"
NOBODY = 65534
# He may read what root's tests made, and the Python they run on, wherever that is.
AS = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--inh-caps=+dac_read_search"]
AS = [*map(str, AS), "--ambient-caps=+dac_read_search"] if os.getuid() == 0 else []


def run(*arguments: str) -> subprocess.CompletedProcess:
    environment = {
        "PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(REPO), "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_DISABLE_JIT": "1",  # compiling without a cache takes long; test_start_up has that it works
    }  # fmt: skip
    return subprocess.run(
        [*AS, sys.executable, "-c", COMMAND, *arguments], env=environment, capture_output=True, text=True
    )


@pytest.fixture
def closed(project):  # noqa: F811
    """The project's folder, in which he may not write."""
    project.chmod(0o555)
    yield project
    project.chmod(0o755)


@pytest.mark.slow
def test_help_doctor_and_detect_work(forest, closed):  # noqa: F811
    assert run("--help").returncode == 0
    doctor = run("doctor")
    assert doctor.returncode == 0 and doctor.stderr == "" and "\nmissing  this folder " in doctor.stdout
    closed.chmod(0o755)
    Path("x.wav").write_bytes(a_recording())
    closed.chmod(0o555)
    heard = run("detect", "x.wav", "--model", "forest.joblib")
    assert (heard.returncode, heard.stderr) == (0, "") and heard.stdout.startswith("x.wav  ")


@pytest.mark.slow
def test_where_he_may_not_write_he_is_told_which_file_and_what_to_do(closed):
    done = run("simulate", "--duration", "1", "--out", "sub/x.wav")
    user = NOBODY if AS else os.getuid()
    rule = f"Permission denied; user {user} must be allowed to write there; or choose another place"
    assert (done.returncode, done.stderr) == (1, f"error: sub/x.wav: {rule}\n")
