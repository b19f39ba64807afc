"""A stuck microphone is counted as the firmware counts it, in whatever blocks its samples come."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gunshot.device.stuck import Stuck

SR = 5


def watched(pcm: list[int]) -> int:
    """The count, sample by sample, as `watch` of firmware/src/gunshot.c has it."""
    still = before = count = 0
    for sample in pcm:
        full = sample >= 32767 or sample <= -32767
        still = still + (still <= SR) if full or sample == before else 1
        count += still == SR
        before = sample
    return count


@given(st.lists(st.lists(st.sampled_from([0, 0, 1, 32767, -32768, -32767, 32766]), max_size=14), max_size=8))
def test_it_counts_as_the_firmware_does(blocks):
    stuck = Stuck(SR)
    for block in blocks:
        stuck.hear(np.array(block, np.int16))
    assert stuck.count == watched(list(itertools.chain(*blocks)))


def test_a_second_of_one_value_is_told_once_and_noise_never():
    stuck = Stuck(16_000)
    stuck.hear(np.random.default_rng(0).normal(0, 30, 100_000).astype(np.int16))
    assert stuck.count == 0
    for _ in range(10):
        stuck.hear(np.full(8_000, 7, np.int16))
    assert stuck.count == 1
