"""Messages of incidents against the listener's own shots: what is told, when, and that nothing is told twice."""

from itertools import count, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot.base import audio
from gunshot.detect import detector, listener
from gunshot.device import incidents, messages
from gunshot.device.messages import Incident, State
from tests.firmware.driven import MODEL, SETTINGS, p, shots

SR, HOP_S = p.audio.sr, p.detector.hop * p.features.hop_length / p.audio.sr
SHAPE = (71, 32)


def a_listener() -> listener.Listener:
    return listener.Listener(MODEL, [0.0], p)


def incident_messages(pcm: np.ndarray, size: int, *, lost: int = 0) -> tuple[list[Incident], list[int]]:
    """The messages of samples, in pieces of `size`, and how many samples were given before each; then the end's."""
    source = incidents.Incidents(a_listener(), device=1, session=2, sequence=count(), model=3, p=p.firmware)
    out, heard = source.gap(lost) if lost else [], []
    for i in range(0, len(pcm), size):
        new = source.push(pcm[i : i + size])
        out, heard = out + new, heard + [i + size] * len(new)
    return out + source.end(), heard


def by_incident(sent: list[Incident]) -> list[list[Incident]]:
    return [[m for m in sent if m.incident == number] for number in sorted({m.incident for m in sent})]


@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**32), gaps_s=st.lists(st.floats(0.05, 1.6), min_size=1, max_size=8),
    size=st.sampled_from([896, 5000, 200_000]),
)  # fmt: skip
def test_messages_tell_the_listener_s_shots(seed, gaps_s, size):
    starts = 0.3 + np.cumsum(gaps_s)
    pcm = shots(starts.tolist(), starts[-1] + 0.7, seed)
    sent, _ = incident_messages(pcm, size)
    ear = a_listener()
    (rows,), _ = ear.push(pcm)
    onsets, peaks, which = ear.samples(rows), ear.peaks(rows), rows[:, detector.WHICH]
    assert [m.sequence for m in sent] == list(range(len(sent)))
    assert [[o for m in each for o in m.onsets] for each in by_incident(sent)] == [
        onsets[which == number].tolist() for number in np.unique(which)
    ]
    for each in by_incident(sent):
        own = which == each[0].incident
        scores = 65535 * MODEL.score_of(rows[own, detector.LOGIT_SUM], windows=2)
        levels = 10 * audio.spl_db(peaks[own], full_scale_pa=p.firmware.full_scale_pa)
        assert [m.state for m in each] == [State.OPENED, *[State.UPDATED] * (len(each) - 2), State.CLOSED]
        assert {m.onset for m in each} == {onsets[own][0]}
        for message in each:
            so_far = message.shots
            assert so_far == sum(len(m.onsets) for m in each[: each.index(message) + 1])
            assert abs(message.score - scores[:so_far].max()) <= 1 and abs(message.spl_db - levels[:so_far].max()) <= 1
        decided = rows[own, detector.DECIDED] * p.detector.hop + MODEL.window[1] - 1 - SETTINGS.lead
        assert each[-1].decided == decided[-1] * p.features.hop_length + p.features.n_fft
        # The evidence goes with each new highest score, and with no other message.
        scored = [0, *(m.score for m in each)]
        rises = [now > before for before, now in pairwise(scored)]
        assert [m.log_mel is not None for m in each] == rises
        assert all(m.log_mel is None or m.log_mel.shape == SHAPE for m in each)


def test_the_size_of_the_pieces_changes_nothing():
    pcm = shots(np.arange(0.5, 4.5, 0.3).tolist(), 6.5)
    whole, pieces = (list(map(messages.encode, incident_messages(pcm, size)[0])) for size in (len(pcm), 313))
    assert whole == pieces and len(whole) >= 5


def test_a_burst_of_half_a_second_is_three_messages_at_most():
    sent, _ = incident_messages(shots([0.7, 0.8, 0.92, 1.03, 1.2], 3.5), 100)
    opened, *updated, closed = sent
    assert (opened.state, closed.state) == (State.OPENED, State.CLOSED) and len(updated) <= 1
    assert closed.shots == 5 and sum(len(m.onsets) for m in sent) == 5


def test_automatic_fire_is_told_each_second():
    """And each second's message comes as soon as its window has ended, and a closing one after quiet."""
    sent, heard = incident_messages(shots(np.arange(0.7, 6.0, 0.08).tolist(), 9.0), 128)
    opened, *updated, closed = sent
    between_s = np.diff(heard[:-1]) / SR
    assert len(updated) in (5, 6) and (between_s >= 1 - 128 / SR).all() and (between_s <= 1 + 2 * HOP_S).all()
    assert opened.log_mel is not None and closed.onsets == () and closed.shots >= 60
    quiet_s = (heard[-1] - closed.decided) / SR  # until the last shot has left the windows there is none: half a second
    assert p.detector.cooldown_s - HOP_S <= quiet_s <= p.detector.cooldown_s + 0.5 + 2 * HOP_S


def test_quiet_tells_nothing():
    assert incident_messages(shots([], 3.0), 896) == ([], [])


def test_onsets_that_do_not_fit_are_counted(monkeypatch):
    """A device has room for some; its message says how many shots there were."""
    monkeypatch.setattr(detector, "MOST_ONSETS", 3)
    sent, _ = incident_messages(shots(np.arange(0.7, 2.0, 0.1).tolist(), 4.0), 896)
    assert all(len(m.onsets) <= 3 for m in sent)
    assert sent[-1].shots == 13 > sum(len(m.onsets) for m in sent) and sent[1].shots - sent[0].shots > 3


@pytest.mark.parametrize("lost", [1, 12_345])
def test_a_gap_closes_the_incident_and_its_samples_count(lost):
    source = incidents.Incidents(a_listener(), device=1, session=2, sequence=count(), model=3, p=p.firmware)
    first, second = shots([0.7], 1.1), shots([0.6], 1.1)
    opened, closed = source.push(first) + source.gap(lost)
    (again,) = source.push(second)
    assert (opened.state, closed.state, again.state) == (State.OPENED, State.CLOSED, State.OPENED)
    assert (opened.incident, closed.incident, again.incident) == (1, 1, 2)
    (alone,) = incident_messages(second, len(second))[0][:1]
    moved = len(first) + lost
    assert (again.onset, again.decided) == (alone.onset + moved, alone.decided + moved)
    assert source.ear.gaps == 1


def test_a_model_s_number_is_its_sha256_s_beginning():
    assert f"{incidents.model_number(b'abc'):016x}" == "ba7816bf8f01cfea"  # FIPS 180-2
