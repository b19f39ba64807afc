"""Samples of sweeps that are too long for CI: another one for each commit, the same in all processes of a run.

`make test-exhaustive` runs what a sample leaves out. ``TEST_SEED=17 make test`` repeats the sample of a run that
stated this seed in its first lines.
"""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest


def _seed() -> int:
    if stated := os.environ.get("TEST_SEED"):
        return int(stated)
    command = ["git", "rev-parse", "--short=8", "HEAD"]
    commit = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True).stdout
    return int(commit.strip() or "0", 16)


SEED = _seed()


def swept(cases: Iterable, n: int) -> list:
    """Return all cases, for parametrize: those that are not among `n` that are drawn have the marker `exhaustive`."""
    cases = list(cases)
    sample = set(np.random.default_rng(SEED).permutation(len(cases))[:n].tolist())
    return [case if i in sample else pytest.param(case, marks=pytest.mark.exhaustive) for i, case in enumerate(cases)]
