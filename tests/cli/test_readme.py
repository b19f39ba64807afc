"""What README shows first, on what `make` made: the burst that it detects is found."""

import re
from pathlib import Path

import numpy as np
import pytest

from gunshot import tags
from gunshot.base import pipeline

ROOT = Path(__file__).parents[2]
TOLERANCE_S = 0.02
pytestmark = pytest.mark.firmware  # it needs what the pipeline makes


def test_the_python_example_finds_each_shot_of_the_burst_that_detect_is_shown_on(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    readme = Path("README.md").read_text()
    shown = re.search(r"gunshot detect (data/raw/\S+\.wav)", readme)[1]
    example = re.search(r"```python\n(.*?)```", readme, re.S)[1]
    assert shown in example
    exec(compile(example, "README.md", "exec"), {})
    onsets = np.array(re.findall(r"\d+\.\d+", capsys.readouterr().out), float)
    placed, _ = tags.read(pipeline.output("tag") / "tags.csv")
    known = placed[Path(shown).relative_to(pipeline.raw()).as_posix()]
    assert len(onsets) == len(known) > 1
    assert np.abs(onsets - [tag.start / 16_000 for tag in known]).max() < TOLERANCE_S
