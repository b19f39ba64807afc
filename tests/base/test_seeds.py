"""Generators: a recording's draws depend on the seed and its name alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot.base import seeds


def draw(seed: int, name: str) -> list[int]:
    return seeds.generator(seed, name).integers(2**62, size=4).tolist()


@pytest.mark.slow
@given(st.integers(0, 2**40), st.text())
def test_same_seed_and_name_same_draws(seed, name):
    assert draw(seed, name) == draw(seed, name)


def test_every_name_and_seed_draws_differently():
    drawn = {tuple(draw(seed, f"gun/{i:05d}.wav")) for seed in range(5) for i in range(200)}
    assert len(drawn) == 1000


def test_neighbouring_names_are_not_correlated():
    x = np.array([seeds.generator(1, f"{i}.wav").standard_normal(2) for i in range(2000)])
    assert abs(np.corrcoef(x.T)[0, 1]) < 0.1 and abs(np.corrcoef(x[:-1, 0], x[1:, 0])[0, 1]) < 0.1
    assert abs(x.mean()) < 0.1 and abs(x.std() - 1) < 0.1


def test_numpy_s_global_state_is_left_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    draw(1, "a")
    assert np.array_equal(np.random.get_state()[1], before)


def test_the_draws_are_the_same_on_every_machine():
    assert seeds.generator(2, "simulated/gun/pistol/00012.wav").integers(1000, size=5).tolist() == [
        380,
        105,
        75,
        839,
        770,
    ]
