"""What is computed does not depend on which x86-64-v3 processor computes it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gunshot.base import processor

ROOT = Path(__file__).parents[2]
CHOSEN = """
import gunshot, json, os
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
import scipy.linalg, threadpoolctl
from numba.core.codegen import JITCPUCodegen
print(json.dumps({
    "numpy": [name for name in __cpu_dispatch__ if __cpu_features__[name]],
    "openblas": [pool["architecture"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"],
    "numba": JITCPUCodegen("chosen").magic_tuple()[1:],
    "variables": {name: os.environ.get(name) for name in gunshot.processor.PINS},
}))
"""


def chosen(**variables: str) -> dict:
    env = {name: value for name, value in os.environ.items() if name not in processor.PINS} | variables
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", CHOSEN], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_libraries_compute_as_on_the_oldest_processor():
    """A processor without AVX2 cannot run the pipeline's tests: this one has it."""
    choice = chosen()
    assert choice["numpy"] == ["X86_V3"]
    assert choice["openblas"] == ["Haswell", "Haswell"]
    assert choice["numba"] == ["x86-64-v3", ""]
    assert choice["variables"] == processor.PINS


@pytest.mark.slow
def test_what_a_person_sets_stays():
    choice = chosen(OPENBLAS_CORETYPE="Nehalem")
    assert choice["variables"] == processor.PINS | {"OPENBLAS_CORETYPE": "Nehalem"}


SCENES = """
import sys
sys.path[:0] = sys.argv[1:]  # an emulated interpreter does not know of the environment
import gunshot, hashlib
from gunshot.simulate.corpus import Corpus, render
corpus = Corpus(1, (0.5, 0.6), (2.0, 300.0), 16000)
for class_ in ("gun", "env"):
    print(hashlib.sha256(render(class_, 3, corpus).pcm.tobytes()).hexdigest())
"""


@pytest.mark.long
def test_an_older_processor_renders_the_same_scenes():
    """Emulated: AVX2 without AVX-512, and last bits of reciprocals of its own. Training takes too long there."""
    emulator = shutil.which("qemu-x86_64")
    assert emulator, "qemu-x86_64 is missing: install Debian's qemu-user"
    command = [str(Path(sys.executable).resolve()), "-c", SCENES, str(ROOT), *filter(None, sys.path)]
    own, emulated = (
        subprocess.run([*before, *command], capture_output=True, text=True, check=True, timeout=500).stdout
        for before in ([], [emulator, "-cpu", "Haswell"])
    )
    assert len(own.split()) == 2 and own == emulated
