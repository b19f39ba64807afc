"""The network: one pass over long audio is chunk after chunk, training repeats, files are the same twice."""

import hashlib
import itertools
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from gunshot import network

ROOT = Path(__file__).parents[2]
N_MELS, N_FRAMES = 32, 33
SIZES = [(2, 0.5), (2, 1.0), (3, 0.25), (3, 1.0), (4, 2.0)]


def digest(model: keras.Model) -> str:
    return hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()


def unsettled(p, seed: int = 0) -> keras.Model:
    """A network whose every weight is drawn, also the statistics of its normalizations, with scores all over 0 to 1."""
    model = network.build(p, n_mels=N_MELS, n_frames=N_FRAMES)
    rng = np.random.default_rng(seed)

    def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
        match name:
            case "kernel":
                return rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape)
            case "gamma" | "moving_variance":
                return rng.uniform(0.3, 2, shape)
            case _:
                return rng.uniform(-0.5, 0.5, shape)

    model.set_weights([drawn(weight.name, tuple(weight.shape)) for weight in model.weights])
    last = model.get_layer("gun_env")
    kernel, _ = last.get_weights()
    x = rng.normal(-60, 15, (64, N_MELS, N_FRAMES, 1)).astype(np.float32)
    logits = keras.Model(model.input, last.input).predict(x, verbose=0)[:, 0, 0] @ kernel[0, 0]
    kernel /= logits.std(axis=0)
    last.set_weights([kernel, -(logits / logits.std(axis=0)).mean(axis=0)])
    return model


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "width"), SIZES)
@pytest.mark.parametrize("frames", [N_FRAMES, 34, 150, 401])
def test_one_pass_is_chunk_after_chunk(section, depth, width, frames):
    model = unsettled(section(depth=depth, width=width))
    log_mel = np.random.default_rng(1).normal(-60, 15, (N_MELS, frames)).astype(np.float32)
    stride = network.stride_of(model)
    found = network.score(model, log_mel[None])[0]
    cut = np.lib.stride_tricks.sliding_window_view(log_mel, N_FRAMES, axis=1)[:, ::stride]
    chunks = network.score(model, np.moveaxis(cut, 1, 0))
    assert found.dtype == np.float32
    assert chunks.shape == (1 + (frames - N_FRAMES) // stride, 1)
    # A stride that does not divide what a chunk leaves over gives positions of shifted chunks, and one more at most.
    assert 0 <= len(found) - len(chunks) <= 1
    np.testing.assert_allclose(found[: len(chunks)], chunks[:, 0], atol=1e-5)
    assert len(chunks) == 1 or np.ptp(chunks) > 0.1


@pytest.mark.parametrize(("depth", "stride"), [(2, 4), (3, 4), (4, 4)])
def test_stride_is_that_of_the_convolutions(section, depth, stride):
    assert network.stride_of(network.build(section(depth=depth), n_mels=N_MELS, n_frames=N_FRAMES)) == stride


def test_width_multiplies_filters(section):
    narrow, wide = (network.build(section(width=w), n_mels=N_MELS, n_frames=N_FRAMES) for w in (0.5, 2.0))
    filters = [[layer.filters for layer in m.layers if hasattr(layer, "filters")] for m in (narrow, wide)]
    assert [4 * n for n in filters[0][:-1]] == filters[1][:-1]
    assert filters[0][-1] == filters[1][-1] == 2


@pytest.mark.parametrize(("n_mels", "n_frames"), [(6, N_FRAMES), (N_MELS, 6), (2, 2)])
def test_chunk_too_small_for_the_depth_is_refused(section, n_mels, n_frames):
    with pytest.raises(ValueError, match=rf"depth=3 leaves .* of {n_mels} x {n_frames}; it must leave 1 x 1"):
        network.build(section(depth=3), n_mels=n_mels, n_frames=n_frames)


@pytest.mark.parametrize("shape", [(2, N_MELS - 1, N_FRAMES), (2, N_MELS + 8, N_FRAMES), (2, N_MELS, N_FRAMES - 4)])
def test_features_of_another_size_are_refused(section, shape):
    model = network.build(section(), n_mels=N_MELS, n_frames=N_FRAMES)
    with pytest.raises(ValueError):
        network.score(model, np.zeros(shape, np.float32))


def patched(section, x, seed=0, **values):
    return network.patches(x, np.random.default_rng(seed), section(**values))


def test_patches_replace_by_the_mean_and_nothing_else(section, data):
    found = patched(section, data.x, patch_share=1.0, time_patch=8, mel_patch=6)
    mean = np.broadcast_to(data.x.mean(axis=(1, 2), keepdims=True), data.x.shape)
    changed = found != data.x
    assert found.shape == data.x.shape and found.dtype == np.float32
    np.testing.assert_allclose(found[changed], mean[changed], rtol=1e-4)
    assert 0.05 < changed.mean() < 0.35
    assert changed.any(axis=(1, 2)).mean() > 0.9


def test_patch_is_one_run_of_frames_and_one_of_bands(section):
    x = np.random.default_rng(2).normal(-60, 5, (500, N_MELS, N_FRAMES)).astype(np.float32)
    for values, axis, longest in (
        ({"time_patch": 8, "mel_patch": 0}, 1, 8),
        ({"time_patch": 0, "mel_patch": 6}, 2, 6),
    ):
        changed = patched(section, x, patch_share=1.0, **values) != x
        lines = changed.all(axis=axis)
        assert (changed.any(axis=axis) == lines).all()
        assert (np.diff(lines.astype(int), axis=1, prepend=0) == 1).sum(axis=1).max() == 1
        widths = lines.sum(axis=1)
        assert set(widths) == set(range(longest + 1))
        assert lines[:, 0].any() and lines[:, -1].any()


def test_patch_share_is_the_share_of_chunks(section):
    x = np.random.default_rng(2).normal(-60, 5, (4000, 4, 20)).astype(np.float32)
    found = patched(section, x, patch_share=0.3, time_patch=5, mel_patch=0) != x
    assert found.any(axis=(1, 2)).mean() == pytest.approx(0.3 * 5 / 6, abs=0.03)


@pytest.mark.parametrize("values", [{"patch_share": 0.0}, {"patch_share": 1.0, "time_patch": 0, "mel_patch": 0}])
def test_no_patch_leaves_chunks_as_they_are(section, data, values):
    np.testing.assert_array_equal(patched(section, data.x, **values), data.x)


def test_patches_depend_on_the_generator_alone(section, data):
    kept = data.x.copy()
    first, again, other = (patched(section, data.x, seed, patch_share=1.0) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_array_equal(data.x, kept)


def test_an_epoch_has_each_chunk_once_and_classes_weigh_the_same(section):
    rng = np.random.default_rng(4)
    x = rng.normal(-60, 5, (230, 4, 5)).astype(np.float32)
    y = (np.arange(230) % 5 == 0).astype(int)
    p = section(batch_size=64, patch_share=0.0)
    made = list(itertools.islice(network.batches(x, y, rng, p), 8))
    epochs = [[np.concatenate(part) for part in zip(*made[i : i + 4], strict=True)] for i in (0, 4)]
    for features, targets, weights in epochs:
        order = [np.flatnonzero((x == feature[..., 0]).all(axis=(1, 2)))[0] for feature in features]
        assert sorted(order) == list(range(230))
        np.testing.assert_array_equal(targets.reshape(-1, 2), np.stack([y[order], 1 - y[order]], axis=-1))
        assert weights[y[order] == 1].sum() == pytest.approx(weights[y[order] == 0].sum(), rel=1e-5)
        assert weights.mean() == pytest.approx(1, rel=1e-5)
    assert not np.array_equal(epochs[0][0], epochs[1][0])


@pytest.mark.slow
def test_training_learns_what_is_separable(data, trained):
    found = network.score(trained.model, data.x_val)
    assert found.shape == (len(data.x_val), 1)
    assert roc_auc_score(data.y_val, found[:, 0]) > 0.99
    assert trained.history["loss"][-1] < 0.5 * trained.history["loss"][0]


@pytest.mark.slow
def test_gun_and_env_are_opposite_outputs(data, trained):
    found = trained.model.predict(data.x_val[..., None], verbose=0)
    assert found.shape == (len(data.x_val), 1, 1, 2)
    gun, env = found[:, 0, 0].T
    assert np.corrcoef(gun, env)[0, 1] < -0.9


@pytest.mark.slow
def test_training_has_the_same_weights_twice(data, section):
    p, rows = section(epochs=1, width=0.5), slice(0, 128)

    def weights(seed: int) -> str:
        part = data.x[rows], data.y[rows], data.x_val[:32], data.y_val[:32]
        return digest(network.train(*part, np.random.default_rng(seed), p)[0])

    first = weights(5)
    keras.utils.set_random_seed(99)
    assert weights(5) == first
    assert weights(6) != first


TRAIN_ANEW = """
import sys, numpy as np
sys.path.insert(0, "tests/model")
import conftest, test_network
from gunshot import network, params
x, y = conftest.log_mels(384, 0); x_val, y_val = conftest.log_mels(160, 1)
p = params.Network.model_validate_json(sys.argv[1])
print("weights", test_network.digest(network.train(x, y, x_val, y_val, np.random.default_rng(3), p)[0]))
"""


@pytest.mark.slow
def test_training_has_the_same_weights_in_another_process(trained, section):
    command = [sys.executable, "-c", TRAIN_ANEW, section().model_dump_json()]
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    found = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert f"weights {digest(trained.model)}" in found.stdout.splitlines()


def test_band_gains_are_one_smooth_curve_a_chunk():
    x = np.random.default_rng(1).normal(-50, 10, (200, 32, 33)).astype(np.float32)
    gains = network.band_gains(x, np.random.default_rng(2), 12.0) - x
    assert gains.dtype == np.float32 and np.abs(gains - gains[:, :, :1]).max() < 1e-4
    assert 4 < np.abs(gains).max() <= 6.001 and np.std(gains[:, 0, 0]) > 1
    assert np.array_equal(network.band_gains(x, np.random.default_rng(2), 0.0), x)


@pytest.mark.slow
def test_the_best_epoch_is_kept(data, section):
    """Targets without a pattern: validation gets no better for long."""
    rng = np.random.default_rng(8)
    y, y_val = (rng.permutation(part) for part in (data.y[:128], data.y_val))
    p = section(epochs=9, learning_rate=0.01, dropout=0.0, patch_share=0.0, band_spread_db=0.0)
    model, history = network.train(data.x[:128], y, data.x_val, y_val, rng, p)
    losses = history["val_loss"]
    assert len(losses) == 9 and np.argmin(losses) < 8
    assert cross_entropy(model, data.x_val, y_val) == pytest.approx(min(losses), rel=1e-4)


def cross_entropy(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    found = model.predict(x[..., None], verbose=0)[:, 0, 0].astype(np.float64)
    target = np.stack([y, 1 - y], axis=-1)
    losses = -(target * np.log(found) + (1 - target) * np.log1p(-found)).mean(axis=1)
    return float(sum(losses[y == kind].mean() for kind in (0, 1)) / 2)


@pytest.mark.slow
def test_file_is_the_same_twice_and_loads_with_the_same_scores(data, trained, tmp_path):
    files = [tmp_path / f"{name}.keras" for name in "abcd"]
    network.save(trained.model, files[0])
    network.save(trained.model, files[1])
    loaded = network.load(files[0])
    network.save(loaded, files[2])
    network.save(network.load(files[2]), files[3])
    a, b, c, d = (path.read_bytes() for path in files)
    assert a == b and c == d
    np.testing.assert_array_equal(network.score(loaded, data.x_val), network.score(trained.model, data.x_val))
    assert network.stride_of(loaded) == network.stride_of(trained.model)
    assert sorted(tmp_path.iterdir()) == files
