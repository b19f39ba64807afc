"""What `make bench-scale` states: the growth it fits, the order it runs stages in, the memory it sees."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stages import scale
from tests.stages.project import ROOT

# Holds 100 MB, as does a process that it starts; ends with its input.
HOLDS = "import os, sys; os.fork(); held = b'x' * 100_000_000; os.write(1, b'.'); sys.stdin.read()"


@settings(max_examples=20)
@given(st.floats(0.5, 20), st.floats(2, 200), st.floats(0.5, 2))
def test_growth_is_that_which_gave_the_seconds(start, an_hour, exponent):
    hours = [1.0, 4.0, 16.0, 64.0]
    fit = scale.growth(hours, [start + an_hour * h**exponent for h in hours])
    assert fit["exponent"] == pytest.approx(exponent, abs=0.01)
    assert fit["an_hour_s"] == pytest.approx(an_hour, rel=0.05)


def test_stages_run_behind_those_that_they_read():
    stages, there = scale.ordered(ROOT / "dvc.yaml"), set()
    every = {out for stage in stages.values() for out in scale.outputs(stage)}
    assert len(stages) == 23 and stages.keys() > scale.ALONE
    for stage in stages.values():
        assert {dep for dep in stage.get("deps", []) if dep in every} <= there
        there |= set(scale.outputs(stage))


def test_memory_is_that_of_a_process_and_of_those_it_started():
    command = [sys.executable, "-c", HOLDS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.read(2) == b".."
        with scale.watched([holder.pid]) as peak:
            scale.wait_for(lambda: peak[0] > 190)
        holder.stdin.close()
    assert peak[0] < 250
