"""Training: augmented log-mels, batches, hard negatives, the best epoch; the same weights twice."""

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from gunshot import features
from gunshot.base import params
from gunshot.models.network import caches, network, training
from tests.models.test_network import unsettled
from tests.networks import log_mels

caches.kept()  # looked for once in a process: before other tests fill the memory behind the library

ROOT = Path(__file__).parents[2]
N_MELS, N_FRAMES = 32, 71


def patched(section, x, seed=0, **values):
    return training.patches(x, np.random.default_rng(seed), section(**values))


def test_patches_replace_by_the_mean_and_nothing_else(section, data):
    masked = patched(section, data.x, patch_share=1.0, time_patch=8, mel_patch=6)
    mean = np.broadcast_to(data.x.mean(axis=(1, 2), keepdims=True), data.x.shape)
    changed = masked != data.x
    assert masked.shape == data.x.shape and masked.dtype == np.float32
    np.testing.assert_allclose(masked[changed], mean[changed], rtol=1e-4)
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
    changed = patched(section, x, patch_share=0.3, time_patch=5, mel_patch=0) != x
    assert changed.any(axis=(1, 2)).mean() == pytest.approx(0.3 * 5 / 6, abs=0.03)


@pytest.mark.parametrize("values", [{"patch_share": 0.0}, {"patch_share": 1.0, "time_patch": 0, "mel_patch": 0}])
def test_no_patch_leaves_chunks_as_they_are(section, data, values):
    np.testing.assert_array_equal(patched(section, data.x, **values), data.x)


def test_patches_depend_on_the_generator_alone(section, data):
    kept = data.x.copy()
    first, again, other = (patched(section, data.x, seed, patch_share=1.0) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_array_equal(data.x, kept)


@given(st.integers(0, 100), st.floats(-10, 30))
def test_a_background_adds_its_power_at_the_drawn_distance(section, seed, snr_db):
    x, under = (np.random.default_rng((seed, i)).normal(-60, 15, (8, 4, 6)).astype(np.float32) for i in (0, 1))
    mixture = training.mixed(x, under, np.random.default_rng(0), section(mix_share=1.0, mix_snr_db=(snr_db, snr_db)))
    added = 10 ** (mixture / 10) - 10 ** (x.astype(float) / 10)
    loudest = [10 * np.log10(part.sum(axis=1).max(axis=1)) for part in (10 ** (x / 10), added)]
    np.testing.assert_allclose(loudest[0] - loudest[1], snr_db, atol=0.2)
    assert mixture.dtype == np.float32 and (mixture >= x - 1e-3).all()


def test_mixed_log_mels_are_those_of_mixed_sounds(section):
    """Noises of two levels, added as waveforms, against their log-mels added here."""
    rng = np.random.default_rng(1)
    mel = {"sr": 16000, "n_fft": 512, "hop_length": 112, "n_mels": 32, "fmin": 0.0, "fmax": 8000.0, "amin": 1e-10}
    y, under = 0.1 * rng.standard_normal((40, 4096)), 0.02 * rng.standard_normal((40, 4096))
    x, below, both = (features.log_mel(part.astype(np.float32), **mel) for part in (y, under, y + under))
    loudest = [10 * np.log10((10 ** (part / 10)).sum(axis=1).max(axis=1)) for part in (x, below)]
    for i in range(40):
        snr_db = float(loudest[0][i] - loudest[1][i])
        p = section(mix_share=1.0, mix_snr_db=(snr_db, snr_db))
        mixture = training.mixed(x[i : i + 1], below[i : i + 1], np.random.default_rng(0), p)
        assert abs(np.mean(mixture - both[i])) < 0.2


def test_mix_share_is_the_share_of_chunks_that_get_one(section, data):
    changed = training.mixed(data.x, data.x[::-1], np.random.default_rng(0), section(mix_share=0.3)) != data.x
    assert changed.any(axis=(1, 2)).mean() == pytest.approx(0.3, abs=0.07)
    np.testing.assert_array_equal(
        training.mixed(data.x, data.x, np.random.default_rng(0), section(mix_share=0)), data.x
    )


sizes = st.dictionaries(st.sampled_from(["simulated", "a", "b", "c"]), st.integers(1, 5000), min_size=1)


@given(sizes, st.floats(0.01, 0.99))
def test_real_sources_have_their_share_and_count_by_the_root_of_their_size(sizes, real_share):
    shares = training.shares(pd.Series(sizes), real_share)
    assert shares.sum() == pytest.approx(1) and list(shares.index) == list(sizes)
    real = shares.drop("simulated", errors="ignore")
    if len(real) and len(real) < len(shares):
        assert real.sum() == pytest.approx(real_share)
    for one, other in itertools.combinations(real.index, 2):
        assert shares[one] / shares[other] == pytest.approx((sizes[one] / sizes[other]) ** 0.5)


rows = st.tuples(st.sampled_from(["gun", "env"]), st.sampled_from(["simulated", "a", "b"]), st.sampled_from("xyz"))


@pytest.mark.slow
@given(st.lists(rows, min_size=1, max_size=60))
def test_a_class_is_drawn_by_source_and_a_source_by_recording_group(rows):
    table = pd.DataFrame(rows, columns=["class", "source", "recording_group"])
    chance = training.chances(table, 0.6)
    for _, chunks in table.groupby("class"):
        own = chance[chunks.index]
        assert own.sum() == pytest.approx(1)
        by_source = pd.Series(own).groupby(chunks["source"].to_numpy()).sum()
        pd.testing.assert_series_equal(
            by_source, training.shares(chunks.groupby("source").size(), 0.6), check_names=False
        )
        for _, source in chunks.groupby("source"):
            group = (
                pd.Series(chance[source.index])
                .groupby(source["recording_group"].to_numpy())
                .agg(["sum", "size", "std"])
            )
            assert np.ptp(group["sum"] / group["size"] ** 0.5) < 1e-9 and (group["std"].fillna(0) < 1e-12).all()


def test_labels_of_simulated_chunks_are_numbered_and_those_of_real_ones_unknown():
    table = pd.DataFrame(
        {"label": ["pistol", "drum", "gun_shot", "drum", "bark"],
         "source": ["simulated", "simulated", "esc50", "field", "simulated"]},
        index=[7, 3, 9, 1, 2],
    )  # fmt: skip
    np.testing.assert_array_equal(training.labels(table), [2, 1, training.UNKNOWN, training.UNKNOWN, 0])
    np.testing.assert_array_equal(training.labels(table[2:4]), [training.UNKNOWN] * 2)


@pytest.mark.parametrize("most", [0, 40])
def test_half_of_an_epoch_are_shots_and_hard_windows_come_once(section, most):
    rng = np.random.default_rng(4)
    x, hard = (rng.normal(-60, 5, (n, 4, 5)).astype(np.float32) for n in (230, most))
    y = (np.arange(230) % 5 == 0).astype(int)
    chance = np.where(np.arange(230) < 100, 1.0, 0.0)
    for value in (0, 1):
        chance[y == value] /= chance[y == value].sum()
    p = section(batch_size=64, chunks=401, patch_share=0.0, band_spread_db=0.0, mix_share=0.0)
    every, labels = np.concatenate([x, hard]), np.r_[y, np.zeros(most, int)]
    orders = []
    for _ in range(2):
        parts = list(training.batches(x, y, np.arange(230), chance, hard, rng, p))
        sizes = [len(part[0]) for part in parts]
        assert len(parts) == -(-401 // 64) and max(sizes) <= 64 and max(sizes) - min(sizes) <= 1
        chunks, targets, label = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = [np.flatnonzero((every == chunk[..., 0]).all(axis=(1, 2)))[0] for chunk in chunks]
        np.testing.assert_array_equal(targets.reshape(-1, 2), np.stack([labels[order], 1 - labels[order]], axis=-1))
        np.testing.assert_array_equal(label, np.where(np.array(order) < 230, order, training.UNKNOWN))
        count = np.bincount(order, minlength=230 + most)
        assert (count[230:] == 1).all() and labels[order].sum() == 200 and not count[100:230].any()
        assert (count[:100] > 0).mean() > 0.8  # some two times and ten, by class
        orders.append(order)
    assert orders[0] != orders[1]


def test_a_background_is_drawn_by_its_chance(section):
    x = np.full((6, 4, 5), -60, np.float32)
    x[3:] = np.float32([-20, -30, -40])[:, None, None]
    y, chance = np.array([1, 1, 1, 0, 0, 0]), np.array([1 / 3, 1 / 3, 1 / 3, 0, 1, 0])
    p = section(chunks=40, mix_share=1.0, mix_snr_db=(0.0, 0.0), patch_share=0.0, band_spread_db=0.0)
    for chunks, targets, _ in training.batches(x, y, y, chance, x[:0], np.random.default_rng(0), p):
        shots = targets[:, 0, 0, 0] == 1
        np.testing.assert_allclose(chunks[shots], 10 * np.log10(2e-6), rtol=1e-4)
        np.testing.assert_allclose(chunks[~shots], 10 * np.log10(2e-3), rtol=1e-4)


def test_batches_are_augmented(section, data):
    p = section(patch_share=1.0, band_spread_db=12.0, batch_size=500, chunks=300)
    chance = 1 / np.bincount(data.y)[data.y]
    ((chunks, _, _),) = training.batches(data.x, data.y, data.y, chance, data.x[:0], np.random.default_rng(0), p)
    assert chunks.shape == (300, *data.x.shape[1:], 1) and chunks.dtype == np.float32
    assert not {chunk.tobytes() for chunk in chunks} & {x.tobytes() for x in data.x}


def streams() -> dict[str, list[np.ndarray]]:
    """Log-mels of streams of other lengths; the last is one window."""
    rng = np.random.default_rng(6)
    return {"a": [rng.normal(-60, 15, (N_MELS, frames)).astype(np.float32) for frames in (438, 128, 1038, N_FRAMES)]}


@pytest.fixture(scope="module")
def pool() -> dict[str, list[np.ndarray]]:
    return streams()


@pytest.mark.slow
def test_the_hardest_windows_score_highest_and_lie_apart(section, pool):
    model = unsettled(section())
    windows = training.hardest(model, pool, n_frames=N_FRAMES, most=30, real_share=0.5)
    pool = pool["a"]
    assert windows.shape == (30, N_MELS, N_FRAMES) and windows.dtype == np.float32
    places = []
    for window in windows:
        same = [
            (i, t) for i, mel in enumerate(pool) for t in range(mel.shape[1] - N_FRAMES + 1)
            if np.array_equal(mel[:, t : t + N_FRAMES], window)
        ]  # fmt: skip
        assert len(same) == 1
        places += same
    for i in range(len(pool)):
        starts = sorted(t for stream, t in places if stream == i)
        assert all(b - a >= training.APART for a, b in itertools.pairwise(starts))
    score = network.logit(model, windows)[:, 0]
    assert (np.diff(score) <= 1e-4).all()
    # What is higher and was left out lies near one that was taken, or on the way to it: windows overlap by far.
    for i, mel in enumerate(pool):
        cut = np.lib.stride_tricks.sliding_window_view(mel, N_FRAMES, axis=1)[:, ::4]
        every = np.pad(network.logit(model, np.moveaxis(cut, 1, 0))[:, 0], 1, constant_values=-np.inf)
        for k in np.flatnonzero(every[1:-1] > score[-1] + 1e-4):
            near = any(stream == i and abs(t - 4 * k) < training.APART for stream, t in places)
            assert near or every[k + 1] <= max(every[k], every[k + 2]) + 1e-4


@pytest.mark.slow
def test_fewer_hard_windows_than_asked_are_all(section, pool):
    windows = training.hardest(unsettled(section()), pool, n_frames=N_FRAMES, most=10_000, real_share=0.5)
    assert 30 < len(windows) <= sum(-(-(mel.shape[1] - N_FRAMES + 4) // training.APART) for mel in pool["a"])


@pytest.mark.slow
def test_each_source_gives_its_share_of_the_hardest(section, pool):
    """One whose windows all score higher leaves the others theirs."""
    model = unsettled(section())
    both = {"simulated": pool["a"][:1], "quiet": [pool["a"][2]]}
    wanted = [training.hardest(model, {name: both[name]}, n_frames=N_FRAMES, most=n, real_share=0.25)
              for name, n in (("simulated", 6), ("quiet", 2))]  # fmt: skip
    np.testing.assert_array_equal(
        training.hardest(model, both, n_frames=N_FRAMES, most=8, real_share=0.25), np.concatenate(wanted)
    )


@pytest.mark.slow
def test_hard_windows_join_from_the_second_epoch_on(data, section, pool, capsys):
    p = section(epochs=3, width=0.5, hard_share=0.25, chunks=128)
    part = data.x[:128], data.y[:128], data.x_val[:32], data.y_val[:32]
    _, history = training.train(*part, np.random.default_rng(0), p, pool=pool)
    assert history["hard"] == [0, 16, 16]
    said = capsys.readouterr()  # one bar, which says of how many epochs, and the losses
    last = said.err.replace("\r", "\n").splitlines()[-1]
    assert not said.out and re.search(rf"^train: 100%.* 3/3 .*val_loss={history['val_loss'][-1]:.4f}", last)
    assert history["learning_rate"] == pytest.approx([0.006, 0.006 * 0.75, 0.006 * 0.25])
    _, without = training.train(*part, np.random.default_rng(0), p, pool={})
    assert without["hard"] == [0, 0, 0] and without["loss"][0] == history["loss"][0]
    assert without["loss"][1] != history["loss"][1]


@pytest.mark.slow
def test_hard_windows_are_unlearnt(data, trained, section):
    """Streams of a sound that is like a shot and that no chunk holds: with them the network calls it none."""
    mel = np.random.default_rng(2).normal(-60, 6, (N_MELS, 3000))
    decay = 30 * np.exp(-(np.arange(3000) % 60) / 8)  # the same, but for the bands that are loudest
    mel += decay * np.linspace(0.4, 1, N_MELS)[:, None]
    mel = mel.astype(np.float32)
    windows = np.stack([mel[:, t : t + N_FRAMES] for t in range(50, 2900, 60)])
    part = data.x, data.y, data.x_val, data.y_val
    model, _ = training.train(*part, np.random.default_rng(3), section(hard_share=0.5), pool={"a": [mel]})
    shots = data.x_val[data.y_val == 1]
    before, after = (np.mean(network.logit(m, shots) > network.logit(m, windows)[:, 0]) for m in (trained.model, model))
    assert before < 0.95 and 1 - after < (1 - before) / 2
    assert roc_auc_score(data.y_val, network.logit(model, data.x_val)[:, 0]) > 0.98


@pytest.mark.slow
def test_training_learns_what_is_separable(data, trained):
    logits = network.logit(trained.model, data.x_val)
    assert logits.shape == (len(data.x_val), 1)
    assert roc_auc_score(data.y_val, logits[:, 0]) > 0.99
    assert trained.history["loss"][-1] < 0.5 * trained.history["loss"][0]


@pytest.mark.slow
def test_gun_and_env_are_opposite_outputs(data, trained):
    outputs = trained.model.predict(data.x_val[..., None], verbose=0)
    assert outputs.shape == (len(data.x_val), 1, 1, 2)
    gun, env = outputs[:, 0, 0].T
    assert np.corrcoef(gun, env)[0, 1] < -0.9


def train_shortly(seed: int, p: params.Network, path: Path) -> None:
    """Train on batches whose halves are trained on at once, with hard windows, noise and dropout; write the network."""
    (x, y), (x_val, y_val) = log_mels(129, 0, N_FRAMES), log_mels(32, 1, N_FRAMES)
    network.save(training.train(x, y, x_val, y_val, np.random.default_rng(seed), p, pool=streams())[0], path)


ANEW = """
import sys
from pathlib import Path
sys.path.insert(0, ".")
from tests.models import test_training
p = test_training.params.Network.model_validate_json(sys.argv[1])
test_training.train_shortly(5, p, Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_training_gives_the_same_bytes_in_another_process_on_fewer_cores(section, tmp_path):
    p = section(epochs=2, width=0.5, hard_share=0.25, noise=0.3, dropout=0.2, chunks=129)
    here, there, other = (tmp_path / f"{name}.keras" for name in ("here", "there", "other"))
    train_shortly(5, p, here)
    core = str(min(os.sched_getaffinity(0)))
    command = ["taskset", "--cpu-list", core, sys.executable, "-c", ANEW, p.model_dump_json(), there]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "7"}, check=True)
    train_shortly(6, p, other)
    assert here.read_bytes() == there.read_bytes() != other.read_bytes()


@pytest.mark.slow
def test_a_step_is_that_of_its_halves(section):
    """The mean of their losses, and the gradient of this, by which plain descent moves the weights.

    Labels that are known have a share in it, by the cross-entropy that Keras has.
    """
    model = unsettled(section(noise=0.0, dropout=0.0))
    rng, label = np.random.default_rng(1), np.array([0, 1, 2, training.UNKNOWN, 2, 2, 0, 0, 1, 2, 1, 0], np.int32)
    x, y = rng.normal(-60, 15, (12, N_MELS, N_FRAMES, 1)).astype(np.float32), training._targets(np.arange(12) % 2)
    loss, naming = training._loss(0.0), training._naming(model, 3, 0)
    names, before = keras.losses.SparseCategoricalCrossentropy(from_logits=True), naming.get_weights()

    def half(part: slice) -> tf.Tensor:
        logits, labels = naming(x[part], training=True)
        known = np.flatnonzero(label[part] != training.UNKNOWN)
        named = names(label[part][known], tf.gather(labels[:, 0, 0], known))
        return loss(y[part], logits) + 0.3 * named

    with tf.GradientTape() as tape:
        expected = tf.add_n([half(slice(0, 6)), half(slice(6, 12))]) / 2
    weights = naming.trainable_variables
    gradients = tape.gradient(expected, weights)
    naming.set_weights(before)
    wanted = [variable - 0.01 * gradient for variable, gradient in zip(weights, gradients, strict=True)]
    model.compile(keras.optimizers.SGD(0.01), loss=loss, jit_compile=False)
    assert float(training._step(model, naming, 0.3)(x, y, label)) == pytest.approx(float(expected), rel=1e-5)
    for variable, value in zip(weights, wanted, strict=True):
        np.testing.assert_allclose(variable.numpy(), value.numpy(), rtol=1e-4, atol=1e-5)


def test_band_gains_are_one_smooth_curve_a_chunk():
    x = np.random.default_rng(1).normal(-50, 10, (200, 32, 33)).astype(np.float32)
    gains = training.band_gains(x, np.random.default_rng(2), 12.0) - x
    assert gains.dtype == np.float32 and np.abs(gains - gains[:, :, :1]).max() < 1e-4
    assert 4 < np.abs(gains).max() <= 6.001 and np.std(gains[:, 0, 0]) > 1
    assert np.array_equal(training.band_gains(x, np.random.default_rng(2), 0.0), x)


@pytest.mark.slow
def test_the_best_epoch_is_kept(data, section):
    """Targets without a pattern: validation gets no better for long."""
    rng = np.random.default_rng(8)
    y, y_val = (rng.permutation(part) for part in (data.y[:128], data.y_val))
    p = section(epochs=9, learning_rate=0.01, dropout=0.0, patch_share=0.0, band_spread_db=0.0)
    model, history = training.train(data.x[:128], y, data.x_val, y_val, rng, p)
    losses = history["val_loss"]
    assert len(losses) == 9 and np.argmin(losses) < 8
    assert cross_entropy(model, data.x_val, y_val) == pytest.approx(min(losses), rel=1e-4)


def cross_entropy(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    logit = model.predict(x[..., None], verbose=0)[:, 0, 0].astype(np.float64)
    sign = np.stack([1 - 2 * y, 2 * y - 1], axis=-1)  # log(1 + exp(-logit)) where the target is 1
    losses = np.logaddexp(0, sign * logit).mean(axis=1)
    return float(sum(losses[y == kind].mean() for kind in (0, 1)) / 2)


def test_the_loss_is_cross_entropy_of_smoothed_targets():
    logit = np.float32([[-3, 0.5], [20, -20]])
    target = np.float32([[0, 1], [1, 0]])
    for smoothing in (0.0, 0.2):
        smooth = target * (1 - smoothing) + smoothing / 2
        expected = np.mean(smooth * np.logaddexp(0, -logit) + (1 - smooth) * np.logaddexp(0, logit))
        assert float(training._loss(smoothing)(target, logit)) == pytest.approx(expected, rel=1e-5)
