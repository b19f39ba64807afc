"""The leakage gap is large where groups leak, and none where they cannot."""

import numpy as np
import pytest

from gunshot.studies import leakage


def corpus(rng, *, signature: float, signal: float, groups: int = 120, each: int = 6):
    """Chunks that carry their group's own pattern, times `signature`, and their class's, times `signal`."""
    y = np.repeat(rng.integers(0, 2, groups), each)
    owner = np.repeat(np.arange(groups), each)
    x = signature * np.repeat(rng.standard_normal((groups, 30)), each, axis=0)
    x += rng.standard_normal(x.shape)
    x[:, 0] += signal * (2 * y - 1)
    return x.astype(np.float32), y, np.array([f"g{g}" for g in owner])


@pytest.mark.slow
def test_where_only_the_group_tells_the_class_a_random_split_pretends():
    rng = np.random.default_rng(0)
    figures = leakage.gap(*corpus(rng, signature=3.0, signal=0.0), rng)
    assert figures["grouped"]["accuracy"] == pytest.approx(0.5, abs=0.12)
    assert figures["random"]["accuracy"] > 0.9 and figures["gap"] > 0.3
    assert 0.2 < figures["gap_lower"] <= figures["gap"] <= figures["gap_upper"]


@pytest.mark.slow
def test_where_groups_share_nothing_there_is_no_gap():
    rng = np.random.default_rng(1)
    figures = leakage.gap(*corpus(rng, signature=0.0, signal=1.5), rng)
    assert figures["gap_lower"] < 0 < figures["gap_upper"] and abs(figures["gap"]) < 0.03
    assert figures["grouped"]["auc"] > 0.9


def test_too_few_groups_are_named():
    rng = np.random.default_rng(2)
    with pytest.raises(ValueError, match="at least 5 recording groups"):
        leakage.gap(*corpus(rng, signature=1.0, signal=1.0, groups=4), rng)


def test_a_sample_holds_whole_groups():
    rng = np.random.default_rng(3)
    groups = rng.integers(0, 50, 1000).astype(str)
    rows = leakage.sample(groups, rng, chunks=300)
    assert 300 <= len(rows) < 360 and np.all(np.diff(rows) > 0)
    assert not set(groups[rows]) & set(np.delete(groups, rows))
    assert len(leakage.sample(groups, rng, chunks=10**6)) == 1000


@pytest.mark.slow
def test_it_is_the_same_to_the_last_bit_however_its_threads_come():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(48), 5)
    x, y = rng.normal(size=(240, 100)).astype(np.float32), groups % 2
    figures = [leakage.gap(x, y, groups, np.random.default_rng(1)) for _ in range(6)]
    assert all(one == figures[0] for one in figures)
