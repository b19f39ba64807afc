"""The detector: windows that alarm to incidents, and onsets on time from log-mels of clicks in noise."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot import audio, detector, features, params

P = params.load("audio", "features", "detector", path=Path(__file__).parents[2] / "params.yaml")
SR, L, HOP = P.audio.sr, P.audio.chunk_length, P.detector.hop
N_FRAMES = 33
OPTIONS = {
    "hop": HOP, "n_frames": N_FRAMES, "cooldown_s": P.detector.cooldown_s, "sr": SR, "n_fft": P.features.n_fft,
    "hop_length": P.features.hop_length,
}  # fmt: skip


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 8))
def test_incidents_join_alarms_across_short_gaps_alone(alarms, cooldown):
    found = detector.incidents(np.array(alarms, float), threshold=0.5, cooldown=cooldown)
    # A state machine, a window at a time, as firmware would write it.
    expected, quiet = [], cooldown + 1
    for i, alarm in enumerate(alarms):
        quiet = 0 if alarm else quiet + 1
        if alarm and expected and i - expected[-1][1] - 1 <= cooldown:
            expected[-1][1] = i
        elif alarm:
            expected.append([i, i])
    assert found == [tuple(pair) for pair in expected]


def test_a_score_at_the_threshold_alarms():
    assert detector.incidents(np.float32([0.1, 0.7, 0.69]), threshold=0.7, cooldown=0) == [(1, 1)]
    assert detector.incidents(np.zeros(0), threshold=0.5, cooldown=3) == []


def test_rise_is_the_positive_step_over_the_mean_of_four_frames():
    log_mel = np.full((2, 10), -60.0, np.float32)
    log_mel[0, 5:] = -40
    found = detector.rise(log_mel)
    assert found == pytest.approx([0, 0, 0, 0, 0, 10, 7.5, 5, 2.5, 0], abs=1e-5)
    assert detector.rise(-log_mel)[5] == 0


def recording(rng: np.random.Generator, starts_s: list[float], duration_s: float, decay_ms: float, snr_db: float):
    """The log-mel of decaying bursts at known times in noise."""
    y = 0.001 * rng.standard_normal(int(duration_s * SR))
    for start_s in starts_s:
        start, n = round(start_s * SR), int(8 * decay_ms / 1000 * SR)
        shot = rng.standard_normal(n) * np.exp(-np.arange(n) / (decay_ms / 1000 * SR))
        shot[0] = 3.0
        part = y[start : start + n]
        part += 0.001 * 10 ** (snr_db / 20) * shot[: len(part)]
    return features.log_mel(audio.to_int16(y), sr=SR, **P.features.model_dump())


def perfect(log_mel: np.ndarray, starts_s: list[float]) -> np.ndarray:
    """The scores of a model that alarms where a window holds a shot in its middle."""
    first = np.arange(1 + (log_mel.shape[1] - N_FRAMES) // HOP)[:, None] * HOP * OPTIONS["hop_length"] / SR
    place = (np.array(starts_s)[None] - first) / (L / SR)
    return np.where(((place > 0.05) & (place < 0.75)).any(axis=1), 0.9, 0.1).astype(np.float32)


@given(st.integers(0, 2**32), st.floats(0.3, 1.5), st.floats(3, 60), st.floats(25, 50))
def test_an_onset_is_within_10_ms(seed, start_s, decay_ms, snr_db):
    log_mel = recording(np.random.default_rng(seed), [start_s], 2.0, decay_ms, snr_db)
    (onset,) = detector.onsets(log_mel, perfect(log_mel, [start_s]), threshold=0.5, **OPTIONS)
    assert abs(onset.onset_s - start_s) < 0.010 and onset.score == pytest.approx(0.9)


@given(st.integers(0, 2**32), st.integers(2, 6), st.floats(0.062, 0.4))
def test_the_shots_of_a_burst_are_told_apart(seed, count, interval_s):
    starts = [0.4 + i * interval_s for i in range(count)]
    log_mel = recording(np.random.default_rng(seed), starts, starts[-1] + 0.6, 5, 45)
    found = detector.onsets(log_mel, perfect(log_mel, starts), threshold=0.5, **OPTIONS)
    assert len(found) == count, found
    assert np.abs(np.array([onset.onset_s for onset in found]) - starts).max() < 0.010


def test_shots_further_apart_than_the_cooldown_are_incidents_of_their_own():
    starts = [0.5, 2.0]
    log_mel = recording(np.random.default_rng(0), starts, 3.0, 10, 40)
    scores = perfect(log_mel, starts)
    cooldown = int(OPTIONS["cooldown_s"] * SR / (HOP * OPTIONS["hop_length"]))
    assert len(detector.incidents(scores, threshold=0.5, cooldown=cooldown)) == 2
    soft = recording(np.random.default_rng(0), starts, 3.0, 10, 40)
    soft[:, 250:] = log_mel[:, 250:] - 30  # levels in one incident do not hide another's
    assert len(detector.onsets(soft, scores, threshold=0.5, **OPTIONS)) == 2


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40), st.floats(0, 1), st.integers(0, 2**32), st.data())
def test_each_incident_has_an_onset_that_an_alarming_window_holds(scores, threshold, seed, data):
    scores = np.array(scores, np.float32)
    frames = (len(scores) - 1) * HOP + N_FRAMES + data.draw(st.integers(0, HOP - 1))
    log_mel = np.random.default_rng(seed).normal(-50, data.draw(st.sampled_from([0, 1, 20])), (32, frames))
    cooldown = int(OPTIONS["cooldown_s"] * SR / (HOP * OPTIONS["hop_length"]))
    incidents = detector.incidents(scores, threshold=threshold, cooldown=cooldown)
    found = detector.onsets(log_mel.astype(np.float32), scores, threshold=threshold, **OPTIONS)
    assert len(found) >= len(incidents) and (incidents or not found)
    frame = [round((onset.onset_s * SR - OPTIONS["n_fft"] // 2) / OPTIONS["hop_length"]) for onset in found]
    assert frame == sorted(frame)
    for first, last in incidents:
        assert any(first * HOP <= f < last * HOP + N_FRAMES for f in frame)
    for f, onset in zip(frame, found, strict=True):
        holds = [w for w in range(len(scores)) if w * HOP <= f < w * HOP + N_FRAMES]
        assert onset.score == max(scores[holds]) and np.float32(onset.score) >= np.float32(threshold)


def test_no_onset_lies_in_the_quiet_gap_of_an_incident():
    shot, slam = 0.5, 0.85  # the slam is louder, and no window that holds it alarms
    log_mel = recording(np.random.default_rng(1), [shot, slam], 2.0, 10, 30)
    log_mel[:, 118:128] += 30
    scores = np.full(1 + (log_mel.shape[1] - N_FRAMES) // HOP, 0.1, np.float32)
    scores[[7, 17]] = 0.9
    found = detector.onsets(log_mel, scores, threshold=0.5, **OPTIONS)
    assert abs(found[0].onset_s - shot) < 0.010 and all(abs(onset.onset_s - slam) > 0.05 for onset in found)


def test_quiet_scores_give_no_onsets():
    log_mel = recording(np.random.default_rng(0), [0.5], 1.0, 10, 40)
    scores = np.full(1 + (log_mel.shape[1] - N_FRAMES) // HOP, 0.2)
    assert detector.onsets(log_mel, scores, threshold=0.5, **OPTIONS) == []
    assert detector.onsets(log_mel[:, :20], np.zeros(0), threshold=0.5, **OPTIONS) == []
