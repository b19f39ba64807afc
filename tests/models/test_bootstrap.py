"""The interval is scipy's percentile bootstrap where each group is one value; strata are drawn apart."""

import numpy as np
import pytest
import scipy.stats

from gunshot.models.scores import bootstrap

VALUES = np.random.default_rng(1).normal(3.0, 1.0, 25)


def mean(count: np.ndarray) -> float:
    return float((count * VALUES).sum() / count.sum())


def test_the_interval_of_a_mean_is_scipys():
    low, high = bootstrap.interval(mean, [25], np.random.default_rng(2), draws=4000)
    theirs = scipy.stats.bootstrap((VALUES,), np.mean, method="percentile", n_resamples=4000, rng=3).confidence_interval
    assert (low, high) == pytest.approx(theirs, abs=0.03)
    assert (low, high) == bootstrap.interval(mean, [25], np.random.default_rng(2), draws=4000)


def test_each_stratum_draws_as_many_groups_as_it_has():
    sums = []
    bootstrap.interval(lambda a, b: sums.append((a.sum(), b.sum(), len(a), len(b))) or 0.0, [3, 5],
                       np.random.default_rng(0), draws=20)  # fmt: skip
    assert set(sums) == {(3, 5, 3, 5)}


def test_a_statistic_may_be_several_numbers():
    low, high = bootstrap.interval(lambda count: np.array([mean(count), 7.0]), [25], np.random.default_rng(2))
    assert low[1] == high[1] == 7.0 and low[0] < VALUES.mean() < high[0]


@pytest.mark.parametrize("groups", [[], [3, 0]])
def test_a_stratum_without_a_group_is_an_error(groups):
    with pytest.raises(ValueError, match="must each be at least 1"):
        bootstrap.interval(lambda *counts: 0.0, groups, np.random.default_rng(0))
