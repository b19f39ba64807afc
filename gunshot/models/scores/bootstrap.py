"""The bootstrap over recording groups: what was recorded in one session is no independent evidence."""

from collections.abc import Callable, Sequence

import numpy as np


def interval(
    statistic: Callable[..., float | np.ndarray], groups: Sequence[int], rng: np.random.Generator, *, draws: int = 500
) -> tuple[np.ndarray, np.ndarray]:
    """Return the 2.5 and 97.5 percentiles of a statistic when recording groups are drawn with replacement.

    Parameters
    ----------
    statistic : called with how often each group was drawn, int64 [shape=(groups,)], an array for each stratum; returns
        a number, or an array of numbers
    groups : how many groups each stratum has; groups are drawn within a stratum, such as a class

    Raises
    ------
    ValueError
        A stratum has no group.

    See Also
    --------
    B. Efron, R. Tibshirani: An Introduction to the Bootstrap (1993), chapter 13: percentile intervals.
    """
    if min(groups, default=0) < 1:
        raise ValueError(f"groups={list(groups)} must each be at least 1")
    values = [
        statistic(*(np.bincount(rng.integers(count, size=count), minlength=count) for count in groups))
        for _ in range(draws)
    ]
    low, high = np.percentile(values, [2.5, 97.5], axis=0)
    return low, high
