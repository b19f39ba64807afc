"""What a command costs before it works, beside what NumPy and Numba alone cost on the same machine at the same time."""

import os
import pty
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile as sf

from gunshot.base import params, tables
from tests.cli.test_commands import REPO

ROUNDS = 9
REFERENCE = ("-c", "import numpy, numba")  # some 0.5 s of an idle core
COMMAND = "import sys; from gunshot.cli import main; sys.argv[0] = 'gunshot'; main()"


def cost_s(*arguments: str) -> float:
    """Return the CPU seconds, user and system, of a Python process."""
    environment = os.environ | {"PYTHONPATH": str(REPO), "COLUMNS": "100"}
    program = subprocess.Popen([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    assert program.returncode == 0, arguments
    return usage.ru_utime + usage.ru_stime


def ratio(*arguments: str) -> float:
    """Return the cost of the command as a multiple of that of REFERENCE, the median of pairs.

    Both of a pair find the machine as busy. The least of each would not: the shorter of the two sooner finds it idle.
    """
    pairs = [(cost_s("-c", COMMAND, *arguments), cost_s(*REFERENCE)) for _ in range(ROUNDS + 1)]
    return float(np.median([command / reference for command, reference in pairs[1:]]))  # the first pair fills caches


@pytest.mark.slow
def test_help_costs_less_than_numpy_and_numba():
    assert ratio("--help") <= 0.8


@pytest.mark.slow
def test_detect_hears_after_three_times_that(tmp_path, monkeypatch):
    """Tables, the forest, TensorFlow and plots are not among what it loads."""
    from gunshot.models.network import network, quantize

    monkeypatch.chdir(tmp_path)
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((REPO / name).read_bytes())
    p, x = params.load("network"), np.random.default_rng(0).normal(-60, 20, (64, 32, 71)).astype(np.float32)
    net = network.build(p.network, n_mels=32, n_frames=71)
    (tmp_path / "model.tflite").write_bytes(quantize.convert(quantize.fixed(net, n_frames=71), x))
    tables.write_json("report.json", {"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}})
    sf.write("x.wav", np.zeros(32000), 16000)
    assert ratio("detect", "x.wav", "--model", "model.tflite", "--threshold", "0.5") <= 2.9


@pytest.mark.slow
def test_nothing_here_imported_tensorflow_or_optuna():
    modules = "gunshot.cli, gunshot.models.model, gunshot.studies.recordings"
    code = f"import sys, {modules}; sys.exit(not {{'tensorflow', 'optuna'}}.isdisjoint(sys.modules))"
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


@pytest.mark.slow
def test_it_works_where_numba_finds_no_place_for_its_cache(tmp_path):
    """As of a service without a home, whose installation is read-only."""
    without = os.environ | {"PYTHONPATH": str(REPO), "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
    without.pop("NUMBA_CACHE_DIR", None)
    refused = "import numba; numba.njit(cache=True)(lambda x: x)"  # so Numba has no place indeed
    done = subprocess.run([sys.executable, "-c", refused], env=without, capture_output=True, text=True)
    assert "cannot cache function" in done.stderr
    code = "import numpy as np; from gunshot.models.scores.calibration import sigmoid; print(sigmoid(np.zeros(2)))"
    for run in ([COMMAND, "--help"], [code]):
        done = subprocess.run([sys.executable, "-c", *run], env=without, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout, done.stderr
    assert done.stdout == "[0.5 0.5]\n"


ANNOUNCED = """
from gunshot.base.compiled import compiled
from gunshot.cli import compiling

@compiled()
def twice(x):
    return 2 * x

compiling.announce()
assert (twice(1), twice(1.5)) == (2, 3)
"""


@pytest.mark.slow
def test_a_terminal_is_told_before_something_is_compiled_and_not_where_it_is_kept(tmp_path):
    (tmp_path / "twice.py").write_text(ANNOUNCED)
    environment = os.environ | {"PYTHONPATH": str(REPO), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    messages = []
    for _ in range(2):
        ours, theirs = pty.openpty()
        subprocess.run([sys.executable, tmp_path / "twice.py"], env=environment, stderr=theirs, check=True)
        os.write(theirs, b"end\n")
        with os.fdopen(ours) as terminal:
            messages.append(list(iter(terminal.readline, "end\n")))
        os.close(theirs)
    assert messages == [["compiling for this processor, once; some 15 s\n"], []]
    shutil.rmtree(tmp_path / "cache")
    piped = subprocess.run([sys.executable, tmp_path / "twice.py"], env=environment, stderr=subprocess.PIPE, check=True)
    assert piped.stderr == b""
