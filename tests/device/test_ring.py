"""The ring against all that was pushed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot.device.ring import Ring

SR = 100


@given(st.lists(st.one_of(st.integers(0, 70), st.just("gap")), max_size=20), st.data())
def test_it_holds_the_last_samples_since_the_last_hole(blocks, data):
    ring, heard, hole = Ring(SR, seconds=0.5), np.zeros(0, np.int16), 0
    for size in blocks:
        if size == "gap":
            ring.gap()
            hole = len(heard)
        else:
            new = (np.arange(size) + len(heard)).astype(np.int16)
            ring.push(new)
            heard = np.append(heard, new)
    assert (ring.start, ring.stop) == (max(hole, len(heard) - 50), len(heard))
    start = data.draw(st.integers(ring.start, ring.stop))
    stop = data.draw(st.integers(start, ring.stop))
    assert np.array_equal(ring.cut(start, stop), heard[start:stop])
    for first, last in ((ring.start - 1, ring.stop), (ring.start, ring.stop + 1), (ring.stop, ring.start - 1)):
        with pytest.raises(ValueError, match="must be in the ring, which holds"):
            ring.cut(first, last)


def test_a_time_is_a_sample(monkeypatch):
    now = 1_700_000_000
    monkeypatch.setattr("time.time_ns", lambda: now * 10**9)
    ring = Ring(SR)
    ring.push(np.zeros(3 * SR, np.int16))
    now += 5  # nothing was heard since
    at = (now - 5) * 1_000_000
    assert [ring.sample_at(at + us) for us in (-3_000_000, -500_000, 0, 2_000_000)] == [0, 250, 300, 500]
