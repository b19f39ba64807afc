"""Calibration: known slopes are found again, and the error by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot.models.scores import calibration


@given(st.floats(-500, 500))
def test_logit_undoes_sigmoid_between_the_ends(value):
    p = float(calibration.sigmoid(np.float64(value)))
    assert 0 <= p <= 1 and p == pytest.approx(1 / (1 + np.exp(-value)) if value > -500 else 0, abs=1e-12)
    if abs(value) < 6.9:
        assert calibration.logit(p) == pytest.approx(value, abs=1e-9)
    else:
        assert abs(calibration.logit(p)) == pytest.approx(np.log(999), abs=0.01)


def drawn(slope: float, intercept: float, n: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    """Labels whose share of shots at each logit is known."""
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 3, n)
    return (rng.random(n) < 1 / (1 + np.exp(-slope * logit - intercept))).astype(int), logit


@pytest.mark.slow
@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.4, -1.0), (2.5, 1.5)])
def test_known_slopes_are_found_again(slope, intercept):
    y, logit = drawn(slope, intercept)
    fit = calibration.calibrate(y, logit)
    assert fit == pytest.approx({"slope": slope, "intercept": intercept}, abs=0.08)
    before, after = (
        calibration.calibration_error(y, score)
        for score in (calibration.sigmoid(logit), calibration.calibrated(logit, fit))
    )
    assert after < 0.015 and (after < before / 3 or slope == 1)


def test_the_fit_is_the_likeliest():
    y, logit = drawn(0.7, 0.3, 500)
    fit = calibration.calibrate(y, logit)

    def loss(slope: float, intercept: float) -> float:
        score = calibration.calibrated(logit, {"slope": slope, "intercept": intercept})
        return -float(np.mean(np.log(np.where(y == 1, score, 1 - score))))

    best = loss(**fit)
    for change in (-0.02, 0.02):
        assert loss(fit["slope"] + change, fit["intercept"]) > best
        assert loss(fit["slope"], fit["intercept"] + change) > best


def test_calibration_keeps_the_order():
    y, logit = drawn(0.7, 0.3, 300)
    scores = calibration.calibrated(logit, calibration.calibrate(y, logit))
    assert np.array_equal(np.argsort(scores), np.argsort(logit))


def test_reliability_and_error_by_hand():
    y = np.array([0, 1, 0, 1, 1, 1])
    score = np.array([0.05, 0.15, 0.15, 0.65, 0.6, 1.0])
    table = calibration.reliability(y, score, bins=10)
    assert table["bin"].tolist() == [0, 1, 6, 9] and table["chunks"].tolist() == [1, 2, 2, 1]
    assert table["score"].tolist() == pytest.approx([0.05, 0.15, 0.625, 1.0])
    assert table["share"].tolist() == [0, 0.5, 1, 1]
    assert calibration.calibration_error(y, score) == pytest.approx((0.05 + 2 * 0.35 + 2 * 0.375 + 0) / 6)


def test_perfect_scores_have_no_error():
    y = np.array([0, 1, 1])
    assert calibration.calibration_error(y, y.astype(float)) == 0
