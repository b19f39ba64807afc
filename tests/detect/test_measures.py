"""Scores and levels as devices state them: near the exact ones, whole, and without overflow wherever they end."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot.base import audio
from gunshot.detect import measures
from gunshot.models.scores import calibration


@given(
    slope=st.floats(0.01, 5), intercept=st.floats(-20, 20), step=st.floats(0.01, 1), windows=st.integers(1, 32),
    share=st.floats(-1, 1),
)  # fmt: skip
def test_a_score_is_the_calibrated_one(slope, intercept, step, windows, share):
    stated, logit_sum = {"slope": slope, "intercept": intercept}, int(share * 32767 * windows)
    score = measures.score(logit_sum, *measures.score_factors(stated, step, windows=windows))
    exact = calibration.calibrated(np.array([logit_sum * float(np.float32(step)) / windows]), stated)
    assert abs(score - 65535 * exact[0]) <= 0.6


@pytest.mark.parametrize(("intercept", "ends"), [(200.0, (0, 65535)), (-200.0, (0, 65535)), (0.0, (0, 65535))])
def test_the_ends_are_0_and_1_however_far(intercept, ends):
    by = measures.score_factors({"slope": 5.0, "intercept": intercept}, 1.0, windows=1)
    assert all(np.isfinite(np.float32(each)) and each > 0 for each in (by[0], *by[1]))
    assert (measures.score(-(2**20) + 1, *by), measures.score(2**20 - 1, *by)) == ends


@given(squares=st.integers(0, 2**63), count=st.integers(0, 2**40), pa=st.floats(0.01, 1e5))
def test_a_level_is_that_of_the_mean_square(squares, count, pa):
    mean = max(1.0, squares / count) if count and squares > count else 1.0
    if not count and squares:
        return  # the mean of no squares
    level = measures.spl_tenths(squares, count, measures.spl_offset(pa))
    exact = 10 * audio.spl_db(np.array(1.0), full_scale_pa=pa) + 100 * np.log10(mean)
    assert abs(level - exact) <= 0.51
