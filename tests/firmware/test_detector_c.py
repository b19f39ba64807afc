"""The detector in C: integer for integer the one in Python, however far along, and no byte beyond its buffers."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot.detect import detector
from gunshot.detect.detector import (
    FASTEST,
    FRAMES,
    GROUPS,
    LAST,
    LOCAL,
    NEAR,
    NEXT,
    ONSET,
    PAST,
    WHICH,
    WINDOWS,
    Detector,
    Settings,
)

pytestmark = pytest.mark.slow

N_MELS = 32
MOST_RISE = PAST * 255 * N_MELS // GROUPS  # of a group
YEARS = 30 * 365 * 86400 * 16000 // 112 // 8  # windows of thirty years
NAMES = [*Settings.__dataclass_fields__, "lead"]


def case_of(seed: int) -> tuple[np.ndarray, np.ndarray, Settings]:
    """Rises, logits, settings; from few values, so that ties are common, to the most that codes can rise."""
    rng = np.random.default_rng(seed)
    hop, n_frames, most = rng.integers(1, 13), rng.integers(12, 61), rng.choice([30, 32767])
    first, off = rng.integers(0, n_frames - LOCAL + 1), rng.integers(-most, most // 4)
    values = {
        "on": off + rng.integers(0, most // 2), "off": off, "even": off - rng.choice([0, rng.integers(0, most // 2)]),
        "windows": rng.choice([1, 1, 2, 3, 32]), "hop": hop,
        "n_frames": n_frames, "first": first, "stop": rng.integers(first + 1, n_frames - LOCAL + 2),
        "cooldown": rng.integers(0, 7), "min_rise": rng.choice([1, 5, 20, 50, 300, 2**31 - 1]),
    }  # fmt: skip
    logits = np.clip(np.cumsum(rng.integers(-most // 4, most // 4 + 1, rng.choice([1, 150, 150]))), -most, most)
    logits[: rng.integers(20)] = rng.choice([-most, 0, most])
    n = (len(logits) - 1) * hop + n_frames
    shape = n, GROUPS
    match rng.integers(3):
        case 0:  # few that rise, by much the same
            rises = (rng.random(shape) < rng.choice([0.05, 0.3])) * rng.integers(15, 17, shape)
        case 1:
            rises = rng.integers(0, rng.choice([3, 10, 1300, MOST_RISE + 1]), shape)
        case _:  # at a steady rate, which drifts, in noise
            rises = rng.integers(0, rng.choice([2, 20]), shape)
            gaps = rng.integers(5, 22) + rng.integers(0, 2, n)
            at = np.cumsum(gaps)
            rises[at[at < n]] += rng.integers(1, 60, GROUPS)
    rises[: rng.integers(n)] *= rng.choice([1, 4])
    s = Settings(**{name: int(value) for name, value in values.items()})
    return rises.astype(np.int32), logits.astype(np.int16), s


cases = st.integers(0, 2**32).map(case_of)


def in_c(driver, rises, logits, s: Settings, far: int = 0) -> list:
    head = struct.pack("<11iqi", *(getattr(s, name) for name in NAMES), far, len(logits))
    answer = driver.ask("d", head + logits.astype("<i2").tobytes() + rises.astype("<i2").tobytes())
    return np.frombuffer(answer, "<i8").reshape(-1, 6).tolist()


@settings(max_examples=300)
@given(case=cases)
def test_it_decides_as_python(driver, case):
    rises, logits, s = case
    assert in_c(driver, rises, logits, s) == Detector(s).push(rises, logits).tolist()


@given(case=cases, far=st.sampled_from([1, 2**31 - 3, 2**32 - 2, YEARS]))
def test_it_decides_so_after_years(driver, case, far):
    rises, logits, s = case
    d = Detector(s)
    d._state[WINDOWS], d._state[FRAMES] = far, far * s.hop
    d._state[[NEXT, LAST]] += far * s.hop
    assert in_c(driver, rises, logits, s, far) == d.push(rises, logits).tolist()


def test_the_cases_hold_many_shots_and_incidents(driver):
    """Or the tests above would prove little."""
    results = [np.array(in_c(driver, *case_of(seed)), np.int64).reshape(-1, 6) for seed in range(200)]
    shots, incidents = np.array([(len(rows), len(set(rows[:, WHICH]))) for rows in results]).T
    assert shots.max() > 40 and np.mean(shots > 1) > 0.3 and np.mean(incidents > 1) > 0.2
    gaps = [np.diff(rows[:, ONSET]) for rows in results]
    assert min(gap.min(initial=9) for gap in gaps) == FASTEST - NEAR
    assert np.mean([(gap < LOCAL).sum() > 3 for gap in gaps]) > 0.02  # fire that only its rate tells apart


def test_all_the_shots_of_a_window_have_room(driver):
    """As many as can be, LOCAL apart, told at once; the driver's buffer has just the room that the header asks for."""
    s = Settings(on=0, off=0, even=0, windows=24, hop=8, n_frames=300, first=0, stop=294, cooldown=0, min_rise=1)
    rises, logits = np.zeros((99 * 8 + 300, GROUPS), np.int32), np.full(100, -9, np.int16)
    rises[::LOCAL], logits[60:] = 5000, 1000
    rows = in_c(driver, rises, logits, s)
    assert rows == Detector(s).push(rises, logits).tolist()
    assert max(np.unique([row[1] for row in rows], return_counts=True)[1]) > 60


@given(seed=st.integers(0, 2**32), values=st.sampled_from([(-128, 128), (-3, 4), (-128, -126), (126, 128)]))
def test_rise_is_python_s(driver, seed, values):
    codes = np.random.default_rng(seed).integers(*values, (N_MELS, PAST + 1)).astype(np.int8)
    rises = np.frombuffer(driver.ask("r", codes.T.tobytes()), "<i2")
    assert rises.tolist() == detector.rise(codes)[0].tolist()


@pytest.mark.parametrize(("before", "after", "rise"), [(-128, 127, MOST_RISE), (127, -128, 0), (5, 5, 0)])
def test_rise_at_its_limits(driver, before, after, rise):
    codes = np.full((PAST + 1, N_MELS), before, np.int8)
    codes[PAST] = after
    assert np.frombuffer(driver.ask("r", codes.tobytes()), "<i2").tolist() == GROUPS * [rise]
