"""The threshold that a site needs, and what its hours prove: pure arithmetic on counts of false incidents."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import chi2

from gunshot.alarms.det import lowest
from gunshot.models.scores import metrics
from gunshot.site.hours import LEAST

RATE, UPPER = "false_incidents_per_hour", "false_incidents_per_hour_upper"


@dataclass(frozen=True)
class Measured:
    """How many incidents there were in how many hours."""

    false_incidents: int
    hours: float

    @property
    def rate(self) -> float:
        """Return incidents an hour."""
        return self.false_incidents / self.hours

    @property
    def upper(self) -> float:
        """Return the exact one-sided 95 % upper bound of incidents an hour."""
        return metrics.rate_upper(self.false_incidents, self.hours)

    @property
    def lower(self) -> float:
        """Return the exact one-sided 95 % lower bound of incidents an hour: where it is above a limit, that is broken.

        Examples
        --------
        Two in an hour do not prove more than one in two hours, three do:

        >>> [round(Measured(n, 1.0).lower, 2) for n in (0, 1, 2, 3)]
        [0.0, 0.05, 0.36, 0.82]
        """
        return float(chi2.ppf(0.05, 2 * self.false_incidents) / 2 / self.hours) if self.false_incidents else 0.0


def hours_needed(count: int, limit: float) -> float:
    """Return how many hours with `count` incidents prove at most `limit` an hour, by the bound of `Measured.upper`.

    Examples
    --------
    Six hours without an incident prove at most one in two hours:

    >>> round(hours_needed(0, 0.5), 2)
    5.99
    """
    return float(chi2.ppf(0.95, 2 * (count + 1)) / 2 / limit)


def curve(count: np.ndarray, hours: float, logits: np.ndarray) -> pd.DataFrame:
    """Return a row for each mean logit: incidents, incidents an hour, and their upper bound.

    Parameters
    ----------
    count : np.ndarray [shape=(thresholds,)]
    """
    upper = [metrics.rate_upper(int(n), hours) for n in count]
    return pd.DataFrame({"logit": logits, "false_incidents": count, RATE: count / hours, UPPER: upper})


def choose(rows: pd.DataFrame, *, point: float, limit: float, lower: bool = False) -> float | None:
    """Return the lowest mean logit from which upward incidents an hour keep the limit; None where not even the highest.

    It is the operating point or above. With `lower` it is below where the bound keeps the limit there, and at all
    thresholds above. The thresholds are tried from the highest down, up to the first that fails, in an order that was
    fixed before anything was heard: so each is tested at 95 %, however many there are.

    Parameters
    ----------
    rows : of `curve`
    point : the operating point
    """
    proven = lowest(rows, UPPER, limit) if lower else None
    if proven is not None and proven < point:
        return proven
    return lowest(rows[rows["logit"] >= point], RATE, limit)


def held_out(
    counts: np.ndarray, hours: float, logits: np.ndarray, *, point: float, limit: float, lower: bool = False
) -> Measured:
    """Return the incidents of each stretch at the threshold that all other stretches choose.

    Where no threshold keeps the limit on the others, it is the highest. `lower` counts only where `lowers` does.

    Parameters
    ----------
    counts : np.ndarray [shape=(stretches, thresholds)], of stretches of equal length, which last `hours` together
    """
    lower = lower and lowers(counts, hours, logits, point=point, limit=limit)
    chosen = _of_the_others(counts, hours, logits, point=point, limit=limit, lower=lower)
    places = [-1 if logit is None else int(np.flatnonzero(logits == logit)[0]) for logit in chosen]
    return Measured(sum(int(row[place]) for row, place in zip(counts, places, strict=True)), hours)


def lowers(counts: np.ndarray, hours: float, logits: np.ndarray, *, point: float, limit: float) -> bool:
    """Return whether all hours, and those without any one stretch, choose a threshold below the operating point.

    Else the held-out incidents would be counted at the operating point, and be no measurement of a lower threshold.
    """
    every = choose(curve(counts.sum(axis=0), hours, logits), point=point, limit=limit, lower=True)
    chosen = [every, *_of_the_others(counts, hours, logits, point=point, limit=limit, lower=True)]
    return all(logit is not None and logit < point for logit in chosen)


def _of_the_others(counts: np.ndarray, hours: float, logits: np.ndarray, **how) -> list[float | None]:
    """Return for each stretch what `choose` makes of all others."""
    others_h = hours * (1 - 1 / len(counts))
    return [choose(curve(counts.sum(axis=0) - row, others_h, logits), **how) for row in counts]


def hours_to_lower(count: np.ndarray, logits: np.ndarray, *, point: float, limit: float) -> float:
    """Return how many hours lower a threshold for sure, if there are no more incidents; inf where none is lower.

    All but one stretch must prove it: of `hours.Hours.edges`, that leaves out an hour at most, or a fifth.

    Parameters
    ----------
    count : np.ndarray [shape=(thresholds,)], of all hours
    """
    below = np.flatnonzero(logits < point)
    if not len(below):
        return np.inf
    proof = hours_needed(int(count[below[-1] :].max()), limit)
    return min(proof + 1, proof * LEAST / (LEAST - 1))
