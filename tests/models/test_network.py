"""The network: one pass over long audio is chunk after chunk, files are the same twice."""

import numpy as np
import pytest

from gunshot.models.network import network
from tests.networks import CONTEXT as N_FRAMES
from tests.networks import N_MELS, unsettled

SIZES = [(2, 0.5, False), (2, 1.0, True), (3, 0.25, True), (3, 1.0, False), (4, 2.0, False), (4, 1.0, True)]


@pytest.mark.slow
@pytest.mark.sweep(8)
@pytest.mark.parametrize(("depth", "width", "separable"), SIZES)
@pytest.mark.parametrize("frames", [N_FRAMES, 72, 150, 401])
def test_one_pass_is_chunk_after_chunk(section, depth, width, separable, frames):
    model = unsettled(section(depth=depth, width=width, separable=separable))
    log_mel = np.random.default_rng(1).normal(-60, 15, (N_MELS, frames)).astype(np.float32)
    stride = network.stride_of(model)
    logits = network.logit(model, log_mel[None])[0]
    cut = np.lib.stride_tricks.sliding_window_view(log_mel, N_FRAMES, axis=1)[:, ::stride]
    chunks = network.logit(model, np.moveaxis(cut, 1, 0))
    assert logits.dtype == np.float32
    assert chunks.shape == (1 + (frames - N_FRAMES) // stride, 1)
    # A stride that does not divide what a chunk leaves over gives positions of shifted chunks, and one more at most.
    assert 0 <= len(logits) - len(chunks) <= 1
    # Float32 sums in another order, by the length of the input and by the processor, differ by some 1e-5.
    np.testing.assert_allclose(logits[: len(chunks)], chunks[:, 0], rtol=1e-5, atol=5e-5)
    assert len(chunks) == 1 or np.abs(np.diff(chunks[:, 0])).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_stride_is_that_of_the_convolutions(section, depth, separable):
    p = section(depth=depth, separable=separable)
    assert network.stride_of(network.build(p, n_mels=N_MELS, n_frames=N_FRAMES)) == 4


@pytest.mark.slow
@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize(("depth", "n_frames"), [(1, 53), (2, 71), (3, 47), (4, 71), (4, 143)])
def test_the_frames_that_a_network_hears_are_those_that_its_output_depends_on(section, depth, n_frames, separable):
    """One pass over as many gives one position, to which the first frame and the last matter."""
    model = unsettled(section(depth=depth, width=0.5, separable=separable), n_frames=n_frames)
    assert network.frames_of(model) == n_frames
    x = np.random.default_rng(1).normal(-60, 15, (5, N_MELS, n_frames)).astype(np.float32)
    x[1:3, :, 0] += [[500], [-500]]
    x[3:, :, -1] += [[500], [-500]]
    x[1:, :, 1:-1] = x[0, :, 1:-1]
    logits = network.logit(model, x)
    assert logits.shape == (5, 1) and min(np.ptp(logits[:3]), np.ptp(logits[[0, 3, 4]])) > 1e-4


@pytest.mark.slow
def test_a_window_whose_last_frames_no_position_hears_is_refused(section):
    for n_frames, depth, kept in ((70, 3, "67, or 4"), (72, 3, "71, or 4"), (74, 4, "71, or 4"), (72, 1, "71, or 2")):
        with pytest.raises(ValueError, match=rf"frames={n_frames}: the last are not heard; take {kept} more each time"):
            network.build(section(depth=depth), n_mels=N_MELS, n_frames=n_frames)


def test_separable_layers_have_fewer_weights(section):
    """All but the first: 9 weights a filter before it, then one for each pair of filters."""
    whole, parted = (
        network.build(section(depth=4, width=1.0, separable=s), n_mels=N_MELS, n_frames=N_FRAMES) for s in (False, True)
    )
    pairs = [(8, 16), (16, 24), (24, 32)]
    saved = sum(9 * a * b - (9 * a + a * b) for a, b in pairs)
    assert whole.count_params() - parted.count_params() == saved


@pytest.mark.slow
def test_the_outputs_are_logits(section):
    """Nothing bounds them: int8 could not tell high scores apart behind a sigmoid."""
    model = unsettled(section())
    last = model.get_layer("gun_env")
    last.set_weights([100 * w for w in last.get_weights()])
    x = np.random.default_rng(1).normal(-60, 15, (64, N_MELS, N_FRAMES)).astype(np.float32)
    logits = network.logit(model, x)
    assert logits.min() < -20 and logits.max() > 20
    np.testing.assert_allclose(logits[:, 0], model.predict(x[..., None], batch_size=512, verbose=0)[:, 0, 0, 0])


def test_width_multiplies_filters(section):
    narrow, wide = (network.build(section(width=w), n_mels=N_MELS, n_frames=N_FRAMES) for w in (0.5, 2.0))
    filters = [[layer.filters for layer in m.layers if hasattr(layer, "filters")] for m in (narrow, wide)]
    assert [4 * n for n in filters[0][:-1]] == filters[1][:-1]
    assert filters[0][-1] == filters[1][-1] == 2


@pytest.mark.parametrize(("n_mels", "n_frames"), [(6, N_FRAMES), (N_MELS, 6), (2, 2)])
def test_chunk_too_small_for_the_depth_is_refused(section, n_mels, n_frames):
    with pytest.raises(ValueError, match=rf"depth=3 leaves .* of {n_mels} x {n_frames}; it must leave 1"):
        network.build(section(depth=3), n_mels=n_mels, n_frames=n_frames)


@pytest.mark.parametrize("shape", [(2, N_MELS - 1, N_FRAMES), (2, N_MELS + 8, N_FRAMES), (2, N_MELS, N_FRAMES - 4)])
def test_features_of_another_size_are_refused(section, shape):
    model = network.build(section(), n_mels=N_MELS, n_frames=N_FRAMES)
    with pytest.raises(ValueError, match=rf"\({shape[1]}, {shape[2]}\) must have {N_MELS} bands and {N_FRAMES} frames"):
        network.logit(model, np.zeros(shape, np.float32))


@pytest.mark.slow
def test_file_is_the_same_twice_and_loads_with_the_same_logits(data, trained, tmp_path):
    files = [tmp_path / f"{name}.keras" for name in "abcd"]
    network.save(trained.model, files[0])
    network.save(trained.model, files[1])
    loaded = network.load(files[0])
    network.save(loaded, files[2])
    network.save(network.load(files[2]), files[3])
    a, b, c, d = (path.read_bytes() for path in files)
    assert a == b and c == d
    np.testing.assert_array_equal(network.logit(loaded, data.x_val), network.logit(trained.model, data.x_val))
    assert network.stride_of(loaded) == network.stride_of(trained.model)
    assert sorted(tmp_path.iterdir()) == files
