"""The threshold of a site: never too many incidents, never raised by quiet hours, lower only where that is proven."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson

from gunshot.site import calibration
from gunshot.site.hours import Hours, Span
from gunshot.site.threshold import Measured, choose, curve, held_out, hours_needed, hours_to_lower, lowers

LOGITS = np.arange(0.0, 4.0, 0.5)
POINT = 1.0
# By threshold and stretch; a low threshold may join incidents, so that counts need not fall.
COUNTS = st.lists(st.lists(st.integers(0, 4), min_size=len(LOGITS), max_size=len(LOGITS)), min_size=2, max_size=9)
HOURS = st.floats(0.02, 200.0)
LIMIT = st.floats(0.01, 10.0)


def chosen(counts, hours, **options) -> float | None:
    return choose(curve(np.array(counts).sum(axis=0), hours, LOGITS), point=POINT, **options)


@given(COUNTS, HOURS, LIMIT, st.booleans())
def test_it_never_gives_more_incidents_in_these_hours_than_the_limit_allows(counts, hours, limit, lower):
    logit = chosen(counts, hours, limit=limit, lower=lower)
    total = np.array(counts).sum(axis=0)
    if logit is None:
        assert total[-1] > limit * hours * (1 - 1e-9)
        return
    assert (total[logit <= LOGITS] <= limit * hours * (1 + 1e-9)).all()  # there and above
    assert logit >= POINT or lower


@pytest.mark.slow
@given(COUNTS, HOURS, st.floats(0.0, 100.0), LIMIT, st.booleans())
def test_quiet_hours_never_raise_it(counts, hours, more, limit, lower):
    before = chosen(counts, hours, limit=limit, lower=lower)
    after = chosen(counts, hours + more, limit=limit, lower=lower)
    assert before is None or (after is not None and after <= before)


@pytest.mark.slow
@given(COUNTS, HOURS, LIMIT)
def test_below_the_operating_point_the_bound_keeps_the_limit(counts, hours, limit):
    logit, raised = (chosen(counts, hours, limit=limit, lower=lower) for lower in (True, False))
    assert logit == raised or logit < POINT  # to raise it takes no proof
    if logit is not None and logit < POINT:
        rows = curve(np.array(counts).sum(axis=0), hours, LOGITS)
        assert (rows.loc[rows["logit"] >= logit, "false_incidents_per_hour_upper"] <= limit).all()


def test_it_is_the_lowest_from_the_operating_point_that_keeps_the_limit():
    none = np.zeros((5, len(LOGITS)), int)
    assert chosen(none, 1.0, limit=0.5) == POINT
    assert chosen(none, 5.9, limit=0.5, lower=True) == POINT  # 5.99 h would prove it
    assert chosen(none, 6.0, limit=0.5, lower=True) == LOGITS[0]
    none[2, LOGITS <= 2.0] = 1
    assert chosen(none, 1.0, limit=0.5) == 2.5 and chosen(none, 2.0, limit=0.5) == POINT
    assert chosen(none, 6.0, limit=0.5, lower=True) == POINT  # though only 2.5 is proven: to stay takes no proof
    none[:, -1] = 1
    assert chosen(none, 1.0, limit=0.5) is None


def test_held_out_hours_are_counted_at_what_the_others_choose():
    """The one incident at 2.0 raises the threshold; in the stretch where it is, the others know nothing of it."""
    counts = np.zeros((5, len(LOGITS)), int)
    counts[2, LOGITS <= 2.0] = 1
    assert chosen(counts, 1.0, limit=0.5) == 2.5
    assert held_out(counts, 1.0, LOGITS, point=POINT, limit=0.5) == Measured(1, 1.0)
    counts[4, LOGITS <= 3.0] = 1  # now the stretch of the lower one is held out at the higher threshold
    assert held_out(counts, 1.0, LOGITS, point=POINT, limit=0.5) == Measured(1, 1.0)
    counts[:] = 1  # no threshold keeps it: the highest
    assert held_out(counts, 1.0, LOGITS, point=POINT, limit=0.5) == Measured(5, 1.0)


def test_a_lower_threshold_is_measured_at_lower_thresholds():
    """Six hours prove it, but five of them do not: each would be counted at the operating point, where none is."""
    counts = np.zeros((6, len(LOGITS)), int)
    assert chosen(counts, 6.0, limit=0.5, lower=True) < POINT
    assert not lowers(counts, 6.0, LOGITS, point=POINT, limit=0.5)
    counts = np.zeros((10, len(LOGITS)), int)
    assert lowers(counts, 10.0, LOGITS, point=POINT, limit=0.5)
    counts[3, LOGITS[0] == LOGITS] = 1  # the others alone choose the lowest
    assert held_out(counts, 10.0, LOGITS, point=POINT, limit=0.5, lower=True) == Measured(1, 10.0)
    assert held_out(counts, 10.0, LOGITS, point=POINT, limit=0.5) == Measured(0, 10.0)
    counts[:, :] = 0
    counts[3, LOGITS < POINT] = 1  # the others would lower it, but 9 h with that one prove nothing: it stays
    assert chosen(counts, 10.0, limit=0.5, lower=True) < POINT
    assert not lowers(counts, 10.0, LOGITS, point=POINT, limit=0.5)
    assert held_out(counts, 10.0, LOGITS, point=POINT, limit=0.5, lower=True) == Measured(0, 10.0)


@pytest.mark.slow
@given(st.integers(0, 3), st.sampled_from([0.3, 0.5, 1.0, 5.0, 30.0]))
def test_the_hours_that_lower_do(n, limit):
    count = np.where(LOGITS <= 0.5, n, 0)
    hours = hours_to_lower(count, LOGITS, point=POINT, limit=limit) + 1e-6
    stretches = len(Hours([Span(0, 0.0, hours * 3600)], []).edges()) - 1
    counts = np.zeros((stretches, len(LOGITS)), int)
    counts[0] = count
    assert lowers(counts, hours, LOGITS, point=POINT, limit=limit)
    assert not lowers(counts, hours_needed(n, limit) - 1e-6, LOGITS, point=POINT, limit=limit)
    assert hours_to_lower(count, LOGITS, point=LOGITS[0], limit=limit) == np.inf


@given(st.integers(0, 200), st.floats(0.01, 20.0))
def test_the_hours_needed_are_where_poisson_gives_one_in_twenty(count, limit):
    hours = hours_needed(count, limit)
    assert poisson.cdf(count, limit * hours) == pytest.approx(0.05, rel=1e-6)
    assert Measured(count, hours).upper == pytest.approx(limit)


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        (Measured(0, 9.0), "9.00 h without an incident prove at most 0.33/h"),
        (Measured(0, 1.0), "1.00 h without an incident prove at most 3.00/h; 4.99 h more without one would prove "
                           "0.5/h"),
        (Measured(1, 2.0), "2.00 h with 1 incident (0.50/h) prove at most 2.37/h; 7.49 h more without another would "
                           "prove 0.5/h"),
    ],
)  # fmt: skip
def test_the_bound_is_said_in_words(measured, words):
    assert calibration.in_words(measured, 0.5) == words


def test_hours_that_were_chosen_by_their_counts_prove_nothing():
    words = "9.00 h without an incident: at most 0.33/h, of hours chosen by their counts: no proof"
    assert calibration.in_words(Measured(0, 9.0), 0.5, by_counts="hours") == words
