"""The odds against a limit, against their definition."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import poisson

from gunshot.device.odds import RATES, Odds

LIMIT = st.floats(0.05, 5.0)


def defined(gaps_h: list[float], limit: float) -> float:
    """The odds after incidents with these gaps before each: the sum over all that have begun."""
    times, total = np.cumsum(gaps_h), 0.0
    for hour in range(1, int(times[-1]) + 2):
        count, passed = int((times >= hour - 1).sum()), times[-1] - (hour - 1)
        for rate in RATES:
            total += rate**count * math.exp(-(rate - 1) * limit * passed) / (hour * (hour + 1)) / len(RATES)
    return total


@given(st.lists(st.floats(0.01, 9.99), min_size=1, max_size=12), LIMIT, st.integers(1, 7))
def test_they_are_the_mixture_of_ratios_however_time_is_cut(gaps_h, limit, pieces):
    assume(all(abs(t - round(t)) > 1e-6 for t in np.cumsum(gaps_h)))  # none at the very beginning of an hour
    odds = Odds(limit)
    for gap_h in gaps_h:
        for _ in range(pieces):
            odds.wait(gap_h / pieces)
        odds.count()
    assert odds.hours == pytest.approx(sum(gaps_h)) and odds.value == pytest.approx(defined(gaps_h, limit), rel=1e-6)


@given(LIMIT, st.floats(0.0, 0.99), st.floats(0.0, 1.0))
def test_their_mean_is_what_has_begun_at_the_limit_and_less_below_it(limit, hours, share):
    """Over all counts that an hour's part can have, by their chances."""
    values, odds = [], Odds(limit)
    odds.wait(hours)
    for _ in range(200):
        values.append(odds.value)
        odds.count()
    chances = poisson.pmf(np.arange(200), share * limit * hours)
    assert chances @ values <= 0.5 * (1 + 1e-9)
    assert poisson.pmf(np.arange(200), limit * hours) @ values == pytest.approx(0.5)


def test_all_that_begins_weighs_one_together():
    odds = Odds(1e-9)
    odds.wait(10_000.0)
    assert odds.value == pytest.approx(1 - 1 / 10_002, abs=1e-4)
