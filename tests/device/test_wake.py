"""Which windows a device scores that sleeps: what rises, what that wants, and what an open incident keeps awake."""

from dataclasses import replace

import numpy as np
import pytest

from gunshot.detect import detector
from gunshot.device import wake

HOP, N_FFT = 112, 512
S = detector.Settings(
    on=10, off=5, even=5, windows=1, hop=8, n_frames=71, first=12, stop=36, cooldown=3, min_rise=100
)  # fmt: skip


def noise(hops: int, level: float = 100.0, seed: int = 0) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(0, level, hops * HOP), -32768, 32767).astype(np.int16)


def rises(pcm: np.ndarray, db: int = 12) -> list[int]:
    return np.flatnonzero(wake.rises(pcm, hop_length=HOP, db=db)).tolist()


@pytest.mark.slow
def test_what_sounds_alike_does_not_rise_however_loud():
    t = np.arange(200 * HOP)
    for pcm in (
        noise(400),
        noise(400, level=20_000.0),
        np.zeros(200 * HOP, np.int16),
        np.full(200 * HOP, -32768, np.int16),
        (32767 * np.sin(t * 0.05)).astype(np.int16),
    ):
        assert rises(pcm) == []


@pytest.mark.parametrize("tone", [0.05, 2.5], ids=["127 Hz", "6.4 kHz"])
def test_a_sound_in_either_band_rises_by_what_was_asked_for(tone):
    """In noise; the hop before counts too, and the low-pass rings: a sound of one hop rises in two, or three."""
    pcm = noise(100, level=50.0)
    pcm[60 * HOP : 61 * HOP] += (3000 * np.sin(np.arange(HOP) * tone)).astype(np.int16)
    assert rises(pcm) in ([60, 61], [60, 61, 62]) and rises(pcm, db=40) == []


def test_a_level_that_stays_wakes_for_two_seconds():
    pcm = np.concatenate([noise(400, level=50.0), noise(800, level=2000.0, seed=1)])
    assert rises(pcm)[0] == 400 and 400 + 143 < rises(pcm)[-1] < 400 + 300


def test_a_rise_wants_the_windows_that_seek_shots_in_a_frame_that_holds_it():
    risen = np.zeros(300, bool)
    for at in (0, 1, 7, 8, 120, 121, 122, 123, 299):
        risen[:] = False
        risen[at] = True
        frames = {t + S.lead for t in range(300) if t * HOP < (at + 1) * HOP and t * HOP + N_FFT > at * HOP}
        within = [any(w * S.hop + S.first <= t < w * S.hop + S.stop for t in frames) for w in range(40)]
        assert wake.wanted(risen, 40, S, n_fft=N_FFT, hop_length=HOP).tolist() == within


def test_while_an_incident_is_open_all_is_scored_and_what_sleeps_opens_none():
    logits = np.full(60, 0)
    logits[[5, 20, 22]] = 20  # 5 is wanted by no rise; 22 by the incident alone
    rise = np.zeros((60 * S.hop + S.n_frames, detector.GROUPS), np.int32)
    rise[20 * S.hop + 20] = rise[22 * S.hop + 30] = 100
    wants = np.zeros(60, bool)
    wants[19:22] = True
    shots, scored = wake.decide(rise, logits, wants, S)
    assert np.flatnonzero(scored).tolist() == list(range(19, 22 + S.cooldown + 2))
    assert shots[:, detector.DECIDED].tolist() == [20, 22] and set(shots[:, detector.WHICH]) == {1}


def test_one_that_never_sleeps_decides_as_the_detector():
    rng = np.random.default_rng(3)
    rise = rng.integers(0, 60, (400 * S.hop + S.n_frames, detector.GROUPS)).astype(np.int32)
    logits = rng.integers(-5, 14, 400)
    shots, scored = wake.decide(rise, logits, np.ones(400, bool), S)
    whole = detector.Detector(S).push(rise, logits)
    assert scored.all() and len(whole) > 20 and shots.tolist() == whole.tolist()


def test_what_is_computed_is_counted():
    scored = np.zeros(40, bool)
    scored[[5, 6, 8, 30]] = True  # 6 follows; of 8 all but two hops of frames are there; 30 begins anew
    assert wake.cost(scored, S) == {"frames": 79 + 8 + 16 + 79, "windows": 10 + 1 + 2 + 10}
    scored[2] = True  # a stream has no frame before its first: 2 hops and 39 frames; of 5 three hops are new
    assert wake.cost(scored, S)["frames"] == 55 + 24 + 8 + 16 + 79
    assert wake.cost(np.zeros(40, bool), S) == {"frames": 0, "windows": 0}


@pytest.mark.parametrize("db", [0, -3, 61, 2.5])
def test_a_rise_that_is_none_is_refused(db):
    with pytest.raises(ValueError, match=f"db={db} must be a whole number from 1 to 60"):
        wake.rises(noise(2), hop_length=HOP, db=db)


def test_a_mean_over_windows_is_refused():
    with pytest.raises(ValueError, match="windows=2 must be 1 where a device sleeps"):
        wake.decide(np.zeros((80, 4), np.int32), np.zeros(1), np.ones(1, bool), replace(S, windows=2))
