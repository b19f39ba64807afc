"""Onsets that sound makes finer: by what differs between devices, and never by an echo or another sound."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot.hub import refine
from gunshot.hub.refine import BEFORE_S, finer

SR = 16_000
SIZE = round((BEFORE_S + refine.AFTER_S) * SR)
LATE = st.integers(-60, 60)  # samples by which a device tells its onset early: the sound comes later in its clip


def clip(late: int, seed: int, *, level: float = 4000.0) -> np.ndarray:
    """The sound around an onset that was told so many samples too early."""
    shot = np.random.default_rng(5).normal(0, 1, 800) * np.exp(-np.arange(800) / 200)
    pcm = np.random.default_rng(seed).normal(0, 100, SIZE)
    at = round(BEFORE_S * SR) + late
    pcm[at : at + 800] += level * shot
    return pcm.astype(np.int16)


@settings(max_examples=15)
@given(late=st.lists(LATE, min_size=3, max_size=4), true_s=st.lists(st.floats(0, 3), min_size=4, max_size=4))
def test_onsets_differ_as_the_sounds_do(late, true_s):
    """By less than a quarter of a sample, where they were wrong by up to 60 samples each."""
    onset_s = {f"d{i}": true_s[i] - samples / SR for i, samples in enumerate(late)}
    clips = {f"d{i}": clip(samples, i) for i, samples in enumerate(late)}
    heard = finer(onset_s, clips, sr=SR)
    assert set(heard) == set(onset_s)
    off_s = np.array([heard[f"d{i}"] - true_s[i] for i in range(len(late))])
    assert np.ptp(off_s) < 0.25 / SR
    assert off_s.mean() == pytest.approx(-np.mean(late) / SR, abs=1e-6)  # together they are as late as they were told


def test_a_device_whose_sound_says_another_thing_is_left_as_it_was():
    onset_s = {f"d{i}": float(i) for i in range(5)}
    clips = {f"d{i}": clip(10 * i, i) for i in range(3)}
    clips["d3"] = clip(1000, 3)  # 62 ms from where its onset is: an echo
    assert set(finer(onset_s, clips, sr=SR)) == {"d0", "d1", "d2"}
    clips["d2"] = clip(0, 2, level=0.0)  # noise alone
    assert finer(onset_s, clips, sr=SR) == {}
    clips["d2"] = np.zeros(SIZE, np.int16)  # withheld
    assert finer(onset_s, clips, sr=SR) == {}
    assert finer({}, {}, sr=SR) == {}
