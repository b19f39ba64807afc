"""Near misses: what a slightly lower operating point would have raised, against two detectors heard apart."""

import itertools
import time
from contextlib import closing

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot.base import audio
from gunshot.detect import detector, listener
from gunshot.device import messages, near, run
from gunshot.device.incidents import Incidents
from gunshot.device.messages import Near
from gunshot.device.outbox import Outbox
from gunshot.device.topics import Birth
from tests.firmware.driven import MODEL, p, shots

QUIET_S = 54 * 0.056  # of whole windows, between sounds: an incident has closed by then
WEAK, LOUD, NOISE = shots([0.5], QUIET_S, seed=1, peak=300), shots([0.5], QUIET_S, seed=2), shots([], 0.056)
BIRTH = Birth(
    name="roof", number=7, session=1, model="00000000000000ff", operating_point=0.5, version=2, capabilities=[]
)


def highest(pcm: np.ndarray) -> int:
    """The highest sum of two windows' logits."""
    _, logits = listener.Listener(MODEL, [0.0], p).push(pcm)
    return int((logits[1:].astype(int) + logits[:-1]).max())


JUST_ABOVE = (highest(WEAK) + 1) / 2  # a mean logit that the weak sound does not reach, by a step


def counted(pcm: np.ndarray, logit: float, size: int) -> tuple[Near, np.ndarray | None, int]:
    """The near misses of sound in pieces of `size`, their log-mel, and how many incidents were told."""
    ear = listener.Listener(MODEL, [logit, logit - near.BELOW], p)
    teller = Incidents(ear, device=1, session=2, sequence=itertools.count(), model=3, p=p.firmware)
    sent = [m for i in range(0, len(pcm), size) for m in teller.push(pcm[i : i + size])] + teller.end()
    return *teller.near(), len({m.incident for m in sent})


def incidents(pcm: np.ndarray, logit: float) -> tuple[np.ndarray, list[tuple[int, float]]]:
    """The windows that decided shots of a detector of its own, and those of which each incident opened and closed."""
    ear = listener.Listener(MODEL, [logit], p)
    (rows,), _ = ear.push(pcm)
    opened = [rows[rows[:, detector.WHICH] == i, detector.DECIDED].min() for i in np.unique(rows[:, detector.WHICH])]
    return rows[:, detector.DECIDED], list(itertools.zip_longest(opened, ear.closed()[0], fillvalue=np.inf))


def test_the_weak_sound_is_one_and_the_loud_one_an_incident():
    nearly, log_mel, sent = counted(np.concatenate([WEAK, LOUD, WEAK]), JUST_ABOVE, 896)
    assert (nearly.count, sent) == (2, 1) and log_mel.shape == (71, 32) and log_mel.dtype == np.int8
    assert nearly.score == round(65535 * float(MODEL.score_of(np.array([highest(WEAK)]), windows=2)[0]))
    nearly, log_mel, sent = counted(WEAK, JUST_ABOVE + near.BELOW, 896)  # too far below to be one
    assert (nearly, log_mel, sent) == (Near(0, 0), None, 0)


@settings(max_examples=8, deadline=None)
@given(
    peaks=st.lists(st.integers(150, 700), min_size=1, max_size=4), size=st.sampled_from([896, 5000, 200_000]),
    logit=st.floats(-5, 25),
)  # fmt: skip
def test_it_is_each_incident_of_the_lower_one_in_which_the_own_has_no_shot(peaks, size, logit):
    pcm = np.concatenate([shots([0.5], QUIET_S, seed=i, peak=peak) for i, peak in enumerate(peaks)])
    own, lower = incidents(pcm, logit)[0], incidents(pcm, logit - near.BELOW)[1]
    alone = [(first, last) for first, last in lower if not ((own >= first) & (own <= last)).any()]
    assert counted(pcm, logit, size)[0].count == len(alone)


def test_a_heartbeat_tells_the_count_and_one_log_mel_once(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    section = p.firmware.model_copy(update={"heartbeat_s": 60.0})
    ear = listener.Listener(MODEL, [JUST_ABOVE, JUST_ABOVE - near.BELOW], p)
    with closing(Outbox(tmp_path)) as outbox:
        outbox.start()
        device = run.Device(ear, BIRTH, outbox, section, error_us=lambda: None)
        for pcm in (np.concatenate([WEAK, WEAK]), NOISE, NOISE, WEAK, NOISE):
            device.hear(audio.to_float(pcm), lost=False)
            now += 30.0
        beats = [messages.decode(one.payload) for one in outbox.first(100)]
    assert [beat.near.count for beat in beats] == [2, 3] and all(beat.alerts == 0 for beat in beats)
    assert all(beat.log_mel.shape == (71, 32) and beat.near.score for beat in beats)
