"""Recordings end to end: what is left out takes its incidents along, and stretches hold each of the rest once."""

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from gunshot.base import audio, params
from gunshot.detect import listener
from gunshot.detect.detector import WHICH
from gunshot.models.model import load_model
from gunshot.site import heard
from gunshot.site.hours import LEAST, Span, check_overlap, lay
from tests.site.conftest import SR, recording, write

TIMES = st.lists(st.floats(0, 599), max_size=20)
PAIRS = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 600), st.floats(0, 600)), max_size=5)


@given(TIMES, TIMES, PAIRS)
def test_what_is_kept_is_counted_once(first, second, pairs):
    left_out = [Span(i, min(a, b), max(a, b)) for i, a, b in pairs]
    hours = lay([recording(alerts=first), recording(alerts=second)], left_out, sr=SR)
    seconds = np.arange(0, 600, 0.5)
    kept = [
        ~np.any([(s.start_s <= seconds) & (seconds < s.stop_s) for s in left_out if s.recording == i] or [seconds < 0],
                axis=0)
        for i in (0, 1)
    ]  # fmt: skip
    assert hours.duration_s == pytest.approx(sum(k.sum() / 2 for k in kept), abs=0.5 * 2 * (len(pairs) + 1))
    expected = sum(
        not any(s.recording == i and s.start_s <= t < s.stop_s for s in left_out)
        for i, times in enumerate((first, second))
        for t in times
    )
    if hours.duration_s > 0:
        assert hours.counts().sum() == expected and len(hours.counts()) == LEAST


def test_each_alert_lies_in_its_own_stretch():
    first, second = recording(alerts=(10.0, 250.0)), recording(alerts=(10.0, 599.0))
    assert lay([first, second], [], sr=SR).counts()[:, 0].tolist() == [1, 1, 1, 0, 1]
    assert lay([first, second], [Span(0, 0.0, 200.0)], sr=SR).counts()[:, 0].tolist() == [1, 0, 1, 0, 1]


def test_stretches_are_an_hour_at_most_and_lead_back_to_their_recordings():
    hours = lay([recording(duration_s=5 * 3600), recording(duration_s=3000.5)], [Span(0, 0, 1800)], sr=SR)
    edges = hours.edges()
    assert len(edges) == 7 and np.diff(edges).max() <= 3600
    assert hours.back(*edges[:2]) == [Span(0, 1800, 1800 + edges[1])]
    last, other = hours.back(*edges[-2:])
    assert (last.recording, other.recording, other.start_s, last.stop_s) == (0, 1, 0, 5 * 3600)
    assert other.stop_s == pytest.approx(3000.5)
    assert len(lay([recording(duration_s=60)], [], sr=SR).edges()) == LEAST + 1


def test_an_ear_counts_the_incidents_that_a_listener_has_at_each_threshold(site):
    write("bangs.wav", [5.0, 5.3, 12.0, 14.5, 29.5, 30.2], 40.0)  # the last two lie in two blocks
    p = params.load("audio", "chunks", "context", "features", "detector", "quality", "streams")
    model = load_model(site / "forest.joblib")
    logits = [-2.0, 0.0, 2.0, 6.0]
    one = heard.hear("bangs.wav", site / "bangs.wav", model, logits, 0.0, p)
    ear = listener.Listener(model, logits, p)
    every, _ = ear.push(audio.read("bangs.wav", sr=SR))
    more, _ = ear.finish()
    for alerts, shots, last in zip(one.alerts, every, more, strict=True):
        assert len(alerts) == len(np.unique(np.r_[shots[:, WHICH], last[:, WHICH]]))
    assert len(one.alerts[1]) == len(one.onsets) == 4 and one.samples == 40 * SR
    assert [len(onsets) for onsets in one.onsets] == [2, 1, 1, 2]
    assert np.allclose(one.alerts[1], [5.0, 12.0, 14.5, 29.5], atol=0.03)


def test_a_long_silence_within_a_recording_is_known(site):
    write("gap.wav", [5.0], 60.0)
    y, _ = sf.read("gap.wav")
    y[20 * SR : 35 * SR] = 0.25  # a recorder that stopped: an offset, and nothing else
    y[40 * SR : 45 * SR] = 0
    y[50 * SR :] = 0
    sf.write("gap.wav", y, SR)
    p = params.load("audio", "chunks", "context", "features", "detector", "quality", "streams")
    one = heard.hear("gap.wav", site / "gap.wav", load_model(site / "forest.joblib"), [0.0], 0.0, p)
    (first, last) = one.silent
    assert first == pytest.approx((20.0, 35.0), abs=1.01) and last == (50.0, 60.0)


def test_two_recordings_of_one_time_are_an_error():
    at = [recording("a.wav", 600.0, began="2026-05-01T22:00:00"), recording("b.wav", 60.0)]
    check_overlap([recording("c.wav", 9.0, began="2026-05-01T22:09:59"), *at[1:]], sr=SR)
    check_overlap([recording("c.wav", 9.0, began="2026-05-01T22:09:59"), *at[:1]], sr=SR)  # names tell whole seconds
    with pytest.raises(ValueError, match=r"c\.wav: begins 60 s before the end of a\.wav, by their names"):
        check_overlap([recording("c.wav", 9.0, began="2026-05-01T22:09:00"), *at], sr=SR)


def test_an_incident_that_goes_on_wakes_again():
    assert heard.woken([], [], 10.0, again_s=120.0).tolist() == []
    assert heard.woken([0.5], [119.0], 3600.0, again_s=120.0).tolist() == [0.5]
    assert len(heard.woken([0.0], [], 9 * 3600.0, again_s=120.0)) == 271  # one sound all day


@pytest.mark.parametrize("name", ["a.wav", "20261399_101010.wav", "2026.wav", "120260501_221003.wav"])
def test_a_name_without_a_date_is_none(name):
    assert heard.began(name) is None


@pytest.mark.parametrize("name", ["20260501_221003.wav", "x/yard_2026-05-01T22-10-03.flac", "A-20260501221003Z.WAV"])
def test_a_name_says_when_a_recording_began(name):
    assert heard.began(name).isoformat() == "2026-05-01T22:10:03+00:00"
