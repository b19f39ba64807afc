"""Which windows a person is asked about first, and that `gunshot annotate` begins with their recordings."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from gunshot.base import params
from gunshot.field import queue
from gunshot.models.model import load_model
from gunshot.site import teaching
from gunshot.site.teaching import WIDE, most_teaching
from gunshot.tags import catalogue

ROOT = Path(__file__).parents[2]
P = params.load("audio", "chunks", "context", "features", "detector", path=ROOT / "params.yaml")


@given(st.lists(st.tuples(st.floats(0, 9), st.integers(-5, 5)), max_size=60), st.integers(0, 12))
def test_each_is_taken_once_and_none_that_few_doubt(windows, count):
    doubt, vectors = np.array([a for a, _ in windows]), np.array([[b] for _, b in windows]).reshape(-1, 1)
    taken = most_teaching(doubt, vectors, count)
    assert len(taken) == len(set(taken.tolist())) == min(count, len(windows))
    assert set(taken) <= set(np.argsort(doubt, kind="stable")[: WIDE * count])
    assert np.array_equal(taken, most_teaching(doubt, vectors, count))


@given(st.permutations(range(20)))
def test_a_sound_that_comes_again_and_again_is_asked_about_once(order):
    """Of five kinds, four times each, five windows are one of each kind, whichever are the most doubtful."""
    kinds = np.repeat(np.eye(5), 4, axis=0)
    taken = most_teaching(np.array(order, float), kinds, 5)
    assert sorted(kinds[taken].argmax(axis=1)) == list(range(5))


def test_what_comes_most_often_is_asked_about_first():
    kinds = np.array([0, 1, 1, 2, 2, 2, 0, 2])
    taken = most_teaching(np.zeros(len(kinds)), np.eye(3)[kinds], 3)
    assert kinds[taken].tolist() == [2, 0, 1] or kinds[taken].tolist() == [2, 1, 0]


def test_what_is_not_as_many_is_refused():
    with pytest.raises(ValueError, match="doubt=2, vectors=1 must be as many"):
        most_teaching(np.zeros(2), np.zeros((1, 3)), 1)


@pytest.mark.slow
def test_recordings_of_one_sound_do_not_fill_the_front_of_the_queue(tmp_path):
    """The int8 network: bangs that are alike, and one other sound, which comes second."""
    rng, root = np.random.default_rng(0), tmp_path / "field"
    (root / "dev").mkdir(parents=True)
    envelope, faint = np.exp(-np.arange(8000) / 800), 1e-4
    tone = 0.3 * np.sin(2 * np.pi * 3000 * np.arange(8000) / 16000)
    for i in range(7):
        bang = 0.3 * np.random.default_rng(1).standard_normal(8000) * envelope
        sf.write(root / "dev" / f"{i}.wav", np.r_[np.zeros(8000), bang] + faint * rng.standard_normal(16000), 16000)
    sf.write(root / "dev" / "other.wav", np.r_[np.zeros(8000), tone] + faint * rng.standard_normal(16000), 16000)
    (root / "dev" / "broken.wav").write_bytes(b"no audio")
    model = load_model(ROOT / "models/quantized/model.tflite")
    listed = catalogue.listed(root, tmp_path / "raw", tmp_path / "by_hand")
    ordered, scores = queue.by_doubt(listed, model, P)
    assert len(scores) == 8
    first = teaching.first(ordered, scores, model, P, count=2)
    keys, before = list(first.recordings), list(ordered.recordings)
    assert keys[0] != "dev/other.wav" and keys[1] == "dev/other.wav" and sorted(keys) == sorted(before)
    assert [key for key in before if key not in keys[:2]] == keys[2:]
