"""Gradients and logits do not depend on the processor's caches."""

import numpy as np
import pytest
import tensorflow as tf

from gunshot.base import params
from gunshot.models.network import caches, network
from tests.networks import CONTEXT, N_MELS, log_mels

SHAPES = ((64, 15, 34, 16), (3, 3, 16, 24))  # of a layer's input and filters, as the network's


def gradient() -> bytes:
    rng = np.random.default_rng(0)
    x, filters = (tf.constant(rng.normal(size=shape), tf.float32) for shape in SHAPES)
    with tf.GradientTape() as tape:
        tape.watch(filters)
        loss = tf.reduce_sum(tf.nn.conv2d(x, filters, 2, "VALID") ** 2)
    return tape.gradient(loss, filters).numpy().tobytes()


@pytest.fixture
def others():
    """Let the processor have caches of other sizes, kB each."""

    def have(*kilobytes: int) -> None:
        for sizes in caches.kept():
            sizes[:] = [1024 * size for size in kilobytes]

    yield have
    caches.pin()


@pytest.mark.parametrize("kilobytes", [(48, 2048, 393216), (16, 256, 4096), (8, 256, 2048)])
def test_a_gradient_does_not_depend_on_the_sizes_of_caches(others, kilobytes):
    assert caches.pin()
    pinned = gradient()
    others(*kilobytes)
    assert gradient() != pinned, "these sizes matter: Eigen reads them where they were overwritten"
    assert caches.pin() and gradient() == pinned


@pytest.mark.slow
def test_a_logit_does_not_depend_on_the_sizes_of_caches(others):
    x, p = log_mels(network.BATCH, 1, CONTEXT)[0], params.load("network").network
    one, same = (network.build(p, n_mels=N_MELS, n_frames=CONTEXT, seed=1) for _ in range(2))
    pinned = network.logit(one, x).tobytes()
    others(48, 1024, 32768)
    assert network.logit(one, x).tobytes() != pinned, "these sizes matter"
    assert network.logit(same, x).tobytes() == pinned, "a network's first logit sets them"


def test_another_library_has_no_place_for_them(monkeypatch):
    monkeypatch.setattr(caches, "QUERY", "of another library")
    assert caches.kept.__wrapped__() == []


@pytest.mark.parametrize("sizes", [(0, 0, 0), (-1, -1, -1), (32768, 0, 0)])
def test_a_processor_that_does_not_tell_its_caches_changes_nothing(monkeypatch, sizes):
    monkeypatch.setattr(caches, "queried", lambda: sizes)
    assert caches.kept.__wrapped__() == []
