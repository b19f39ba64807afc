"""The odds that a device's incidents come more often than its limit allows: an exact test for all time, on counts."""

import math
from collections.abc import Sequence

RATES = (2.0, 4.0, 8.0)  # times the limit: the rates that are held against it


class Odds:
    """How much more likely incidents are at more than a limit of so many an hour than at the limit.

    They are a mixture of likelihood ratios of Poisson processes, of RATES times the limit against the limit. One begins
    with each hour h from 1 on, of the weight 1 / (h (h + 1)), so that a change is noticed whenever it comes; all the
    weights are 1 together. With those that have not begun it is a supermartingale where incidents are Poisson at the
    limit or below in each hour: there it ever reaches 1 / alpha with a probability of alpha at most, however often one
    looks. Where only their average is at the limit, and part of each day above it, it reaches that far more often.

    Sources: A. Wald, Sequential Tests of Statistical Hypotheses, 1945 (the ratio); J. Ville, 1939 (the bound for all
    time); H. Robbins, Statistical Methods Related to the Law of the Iterated Logarithm, 1970 (mixtures).

    Attributes
    ----------
    ratios : list of float, the weighted sum of the likelihood ratios of each of RATES
    hours : float, that passed

    Examples
    --------
    Three incidents at once make no 1 in 100, four do:

    >>> odds = Odds(0.5)
    >>> for _ in range(4):
    ...     odds.count()
    ...     print(f"{odds.value:.0f}")
    2
    14
    97
    728
    """

    def __init__(self, limit: float, ratios: Sequence[float] | None = None, hours: float = 0.0):
        self._limit, self.hours = limit, hours
        self.ratios = [_weight(1)] * len(RATES) if ratios is None else list(ratios)

    def wait(self, hours: float) -> None:
        """Let so many hours pass without an incident."""
        while hours > 0:
            end = int(self.hours) + 1  # of this hour
            passed = min(hours, end - self.hours)
            self.ratios = [
                ratio * math.exp((1 - rate) * self._limit * passed)
                for ratio, rate in zip(self.ratios, RATES, strict=True)
            ]
            hours -= passed
            self.hours += passed
            if self.hours >= end:
                self.ratios = [ratio + _weight(end + 1) for ratio in self.ratios]

    def count(self) -> None:
        """Count an incident."""
        self.ratios = [ratio * rate for ratio, rate in zip(self.ratios, RATES, strict=True)]

    @property
    def value(self) -> float:
        """Return the odds."""
        return sum(self.ratios)


def _weight(hour: int) -> float:
    return 1 / (hour * (hour + 1)) / len(RATES)
