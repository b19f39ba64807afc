"""Automatic onsets: on signals whose shots are known, and on sound that holds none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot.base import audio, params
from gunshot.dataset import onsets

SR = 16000
FOUND = {"sr": SR, **params.load("tags").tags.model_dump()}


def find(y: np.ndarray) -> np.ndarray:
    return np.array([tag.start for tag in onsets.find(audio.to_int16(y), **FOUND)], np.int64)


def noise(n: int, rng: np.random.Generator, level_db: float = -50.0) -> np.ndarray:
    return 10 ** (level_db / 20) * rng.standard_normal(n)


def burst(rng: np.random.Generator, decay_ms: float) -> np.ndarray:
    n = int(6 * decay_ms * SR / 1000)
    return rng.standard_normal(n) * np.exp(-np.arange(n) / (decay_ms * SR / 1000))


def close(actual: np.ndarray, starts: list[int], within_ms: float = 15.0) -> bool:
    return len(actual) == len(starts) and bool(np.all(np.abs(actual - np.array(starts)) <= within_ms * SR / 1000))


def with_shots(starts: list[int], rng: np.random.Generator, level_db: float, decay_ms: float) -> np.ndarray:
    y = noise(starts[-1] + 8000, rng, -60)
    for start in starts:
        shot = 10 ** (level_db / 20) * burst(rng, decay_ms)
        y[start : start + len(shot)] += shot
    return y


@pytest.mark.slow
@given(st.integers(0, 2**32), st.integers(3, 12), st.floats(50, 130), st.floats(-20, -3), st.floats(3.0, 6.0))
def test_bursts_from_50_ms_apart_are_found_within_15_ms(seed, shots, period_ms, level_db, decay_ms):
    rng = np.random.default_rng(seed)
    gaps = period_ms * 16 * np.clip(1 + 0.01 * rng.standard_normal(shots), 0.97, 1.03)
    starts = (rng.integers(2000, 6000) + np.cumsum(gaps)).astype(int).tolist()
    actual = find(with_shots(starts, rng, level_db, decay_ms))
    assert np.all(np.diff(actual) > 0)
    assert close(actual, starts), (actual, starts)


@pytest.mark.slow
@given(st.integers(0, 2**32), st.integers(1, 5), st.floats(-20, -3), st.floats(3.0, 12.0))
def test_single_shots_are_found_within_15_ms(seed, shots, level_db, decay_ms):
    rng = np.random.default_rng(seed)
    starts = (rng.integers(2000, 6000) + np.cumsum(rng.integers(5000, 16000, size=shots))).tolist()
    actual = find(with_shots(starts, rng, level_db, decay_ms))
    assert close(actual, starts), (actual, starts)


@pytest.mark.slow
def test_a_long_recording_takes_time_in_proportion():
    rng = np.random.default_rng(0)
    starts = list(range(8000, 60 * SR, 12000))
    assert close(find(with_shots(starts, rng, -6, 8.0)), starts)


def test_confidences_grow_with_the_rise_and_other_rates_are_refused():
    rng = np.random.default_rng(1)
    y = noise(8 * SR, rng, -50)
    y[8000:8400] += burst(rng, 5)[:400] * 0.5
    y[104000:104400] += burst(rng, 5)[:400] * 0.02
    (clear, faint) = onsets.find(audio.to_int16(y), **FOUND)
    assert 0.5 < faint.confidence < clear.confidence < 1
    with pytest.raises(ValueError, match="sr=8000"):
        onsets.find(audio.to_int16(y), **FOUND | {"sr": 8000})


@pytest.mark.slow
@given(st.integers(0, 2**32), st.integers(30, 20000))
def test_a_click_of_one_sample_is_found_at_its_place(seed, start):
    y = noise(24000, np.random.default_rng(seed), -60)
    y[start] = 0.7
    assert close(find(y), [start], within_ms=5)


@pytest.mark.parametrize("start", [0, 16, 100, 7900])
def test_a_shot_at_the_recording_s_ends_is_found(start):
    rng = np.random.default_rng(start)
    y = noise(8000, rng)
    shot = 0.5 * burst(rng, 5)[: 8000 - start]
    y[start : start + len(shot)] += shot
    actual = find(y)
    assert close(actual, [start], within_ms=5), actual


@pytest.mark.slow
@settings(max_examples=20)
@given(st.integers(0, 2**32), st.floats(-80, -10), st.sampled_from(["white", "brown", "hum"]))
def test_stationary_sound_holds_no_onset(seed, level_db, kind):
    rng = np.random.default_rng(seed)
    y = noise(4 * SR, rng, 0)
    if kind == "brown":
        y = np.convolve(y, np.exp(-np.arange(40) / 8), mode="same")
    if kind == "hum":
        y = 0.01 * y + np.sin(2 * np.pi * 100 * np.arange(len(y)) / SR + rng.uniform(0, 6))
    y *= 10 ** (level_db / 20) / y.std()
    assert find(y).tolist() == []


def test_an_echo_38_db_down_is_no_shot_and_a_shot_6_db_down_is():
    rng = np.random.default_rng(5)
    y = noise(SR, rng, -80)
    for start, level in ((4000, 0.0), (8000, -6.0), (12000, -38.0)):
        shot = 0.9 * 10 ** (level / 20) * burst(rng, 4)
        y[start : start + len(shot)] += shot
    assert close(find(y), [4000, 8000])


@pytest.mark.parametrize("n", [0, 1, 79, 80, 81, 500])
def test_silence_and_the_shortest_recordings_hold_none(n):
    actual = find(np.zeros(n))
    assert actual.dtype == np.int64 and actual.tolist() == []


def test_the_level_does_not_matter():
    rng = np.random.default_rng(7)
    y = noise(SR, rng, -40)
    y[5000:5200] += 0.9 * burst(rng, 3)[:200]
    loud, soft = (find(y * g) for g in (0.9, 0.09))
    assert close(loud, [5000]) and close(soft, [5000])


def test_a_burst_begins_with_its_shock_waves_also_where_all_but_the_first_drown():
    """Each blast follows its shock wave by 20 ms; behind the first blast no shock wave is heard any more."""
    rng = np.random.default_rng(11)
    y = 1e-4 * rng.standard_normal(SR * 2)
    starts = 8000 + 960 * np.arange(10)
    y[8000:8032] += 0.05 * rng.standard_normal(32)
    for start in starts + 320:
        y[start : start + 4000] += 0.3 * rng.standard_normal(4000) * np.exp(-np.arange(4000) / 300)
    actual = np.array([tag.start for tag in onsets.find(audio.to_int16(y), **FOUND)])
    assert len(actual) == len(starts) and np.abs(actual - starts).max() < 0.015 * SR, actual - starts[: len(actual)]
