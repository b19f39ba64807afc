"""What a command costs before it works, beside what NumPy and Numba alone cost on the same machine at the same time."""

import os
import subprocess
import sys

import pytest

from tests.cli.test_commands import REPO

ROUNDS = 5
REFERENCE = ("-c", "import numpy, numba")  # some 0.5 s of an idle core
COMMAND = "import sys; from gunshot.cli import main; sys.argv[0] = 'gunshot'; main()"


def cost_s(*arguments: str) -> float:
    """Return the CPU seconds, user and system, of a Python process."""
    environment = os.environ | {"PYTHONPATH": str(REPO), "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return usage.ru_utime + usage.ru_stime


def ratio(*arguments: str) -> float:
    """Return the least cost of the command as a multiple of the least cost of REFERENCE; they take turns."""
    pairs = [(cost_s("-c", COMMAND, *arguments), cost_s(*REFERENCE)) for _ in range(ROUNDS + 1)]
    command, reference = (min(costs) for costs in zip(*pairs[1:], strict=True))  # the first pair fills caches
    return command / reference


@pytest.mark.slow
def test_help_costs_less_than_numpy_and_numba():
    assert ratio("--help") <= 0.85


@pytest.mark.slow
def test_detect_hears_after_two_and_a_half_times_that(tmp_path, monkeypatch):
    project(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert ratio("detect", "x.wav", "--model", "model.tflite") <= 2.6
