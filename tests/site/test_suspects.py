"""Hours that seem to hold shots: bursts, and stretches far above the rest; what is even, or a person's, is none."""

import numpy as np
import pytest

from gunshot.site import suspects
from gunshot.site.hours import Span, lay
from tests.site.conftest import SR, recording


def crowded(alerts: list[float]) -> list[suspects.Suspect]:
    heard = [recording("night.wav", 9 * 3600, alerts=alerts)]
    hours = lay(heard, [], sr=SR)
    return suspects.crowded(hours, hours.counts()[:, 0], heard)


def test_a_stretch_far_above_the_rest_is_named_with_its_times():
    even = [1800 + 3600 * i for i in range(9)]
    assert crowded([]) == crowded(even) == crowded(even * 3) == []
    (one,) = crowded(even + [3 * 3600 + 60 * i for i in range(12)])
    assert one.why == "night.wav 3:00:00 to night.wav 4:00:00: 13 incidents, elsewhere 1.0 in as long"
    assert one.spans == [Span(0, 3 * 3600, 4 * 3600)]


def test_one_hour_in_a_thousand_sites_is_named_by_chance():
    rng = np.random.default_rng(0)
    named = sum(bool(crowded(rng.uniform(0, 9 * 3600, rng.poisson(18)).tolist())) for _ in range(300))
    assert named <= 2


@pytest.mark.parametrize(
    ("onsets", "is_one"),
    [
        ([1.0], False), ([1.0, 1.1], False), ([1.0, 1.09, 1.18], True), ([1.0, 1.5, 2.0, 2.5], False),
        ([1.0, 2.0, 2.1, 2.2], True), ([1.0, 1.1, 1.5, 1.6], False),
    ],
)  # fmt: skip
def test_a_burst_is_three_onsets_as_close_as_steady_fire(onsets, is_one):
    heard = [recording("a.wav"), recording("b.wav", onsets=[onsets])]
    out = suspects.bursts(heard, [], sr=SR)
    assert len(out) == is_one
    if out:
        assert out[0].spans == [Span(1, 0.0, onsets[-1] + 60)] and "b.wav at 0:00:01" in out[0].why
        assert suspects.bursts(heard, [Span(1, 0.5, 3.0)], sr=SR) == []  # a person dismissed it
        assert suspects.bursts(heard, [Span(0, 0.5, 3.0)], sr=SR) == out
