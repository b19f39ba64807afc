"""Automatic tags are kept where energy rises; a person's are kept wherever they are."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gunshot.base import audio
from gunshot.dataset import impulse
from gunshot.tags import Tag, unique

SR, N = 16000, 32000
SHOTS = (4000, 16000, 30000)


def recording() -> np.ndarray:
    rng = np.random.default_rng(0)
    y = 1e-3 * rng.standard_normal(N)
    for start in SHOTS:
        y[start : start + 1600] += 0.3 * rng.standard_normal(1600) * np.exp(-np.arange(1600) / 80)
    return audio.to_int16(y)


PCM = recording()
PLACES = st.integers(0, N + 500) | st.sampled_from(SHOTS).flatmap(lambda at: st.integers(at - 160, at + 160))
TAGS = st.lists(st.builds(Tag, PLACES, st.none() | st.sampled_from([0.0, 0.5, 1.0])), max_size=8).map(unique)


@given(TAGS, st.floats(-3, 30))
def test_what_is_left_out_is_automatic_and_does_not_rise(placed, min_rise_db):
    kept, rows = impulse.clear("m/gun/a.wav", placed, PCM, sr=SR, min_rise_db=min_rise_db)
    rises = dict(zip(placed, impulse.rise_db(PCM[None], np.array([t.start for t in placed], int), sr=SR), strict=True))
    faint = [tag for tag in placed if tag.confidence is not None and rises[tag] < min_rise_db]
    assert kept == [tag for tag in placed if tag not in faint]
    assert [row["value"] for row in rows] == [f"tag {tag.start}: {rises[tag]:.1f} dB" for tag in faint]
    assert all(row["file"] == "m/gun/a.wav" and "confirmed by a person" in row["rule"] for row in rows)


@given(st.sampled_from(SHOTS), st.integers(-100, 100), st.integers(6000, 14000))
def test_a_shot_is_clear_and_the_quiet_after_it_is_not(shot, off, quiet):
    kept, rows = impulse.clear("a", [Tag(quiet, 0.9), Tag(shot + off, 0.1)], PCM, sr=SR, min_rise_db=3)
    assert kept == [Tag(shot + off, 0.1)] and len(rows) == 1
