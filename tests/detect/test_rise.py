"""How far frames rise: the definition, by hand."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gunshot.detect import detector
from gunshot.detect.detector import GROUPS, PAST


def rise_by_hand(codes: np.ndarray) -> list[list[int]]:
    (n_mels, n), sums = codes.shape, [[0] * GROUPS for _ in range(codes.shape[1] - PAST)]
    for band, row in enumerate(codes.tolist()):
        for t in range(PAST, n):
            sums[t - PAST][band * GROUPS // n_mels] += max(0, PAST * row[t] - sum(row[t - PAST : t]))
    return sums


@given(st.integers(PAST, 40), st.integers(1, 40), st.integers(0, 2**32))
def test_rise_is_by_hand(frames, n_mels, seed):
    codes = np.random.default_rng(seed).integers(-128, 128, (n_mels, frames)).astype(np.int8)
    rises = detector.rise(codes)
    assert rises.dtype == np.int32 and rises.tolist() == rise_by_hand(codes)
    assert np.array_equal(detector.rise(np.asfortranarray(codes)), rises)


def test_the_least_rise_is_four_db_over_all_bands():
    codes = np.repeat(np.array([[0, 0, 0, 0, 8]], np.int8), 32, axis=0)  # 4 dB in steps of a half
    assert detector.rise(codes)[0].sum() == detector.min_rise(32, 0.5)
    assert detector.min_rise(32, 0.47) == int(np.ceil(4 * 32 * PAST / 0.47))
