"""Training of the network: augmentation of log-mels, batches, hard negatives, the best epoch."""

import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from gunshot.base import params
from gunshot.models.network import caches, network  # before TensorFlow: network sets what it reads

# isort: split

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from scipy.signal import find_peaks
from tqdm import tqdm

APART = 16  # frames between two hard windows of one stream
AHEAD = 2  # batches that are made while others are trained on
UNKNOWN = -1  # the label of what has none: a real chunk, a window that is no chunk


def patches(x: np.ndarray, rng: np.random.Generator, p: params.Network) -> np.ndarray:
    """Return log-mels [shape=(n, n_mels, frames)] with a patch in time and one in frequency at the chunk's mean.

    A share `patch_share` of the chunks gets each; widths are drawn up to `time_patch` and `mel_patch`.
    """
    n, n_mels, n_frames = x.shape
    mean = x.mean(axis=(1, 2), keepdims=True)
    for size, length, shape in ((n_frames, p.time_patch, (n, 1, -1)), (n_mels, p.mel_patch, (n, -1, 1))):
        width = rng.integers(0, min(length, size) + 1, n) * (rng.random(n) < p.patch_share)
        first = (rng.random(n) * (size - width + 1)).astype(int)
        place = np.arange(size)
        inside = (place >= first[:, None]) & (place < (first + width)[:, None])
        x = np.where(inside.reshape(shape), mean, x)
    return x.astype(np.float32)


def band_gains(x: np.ndarray, rng: np.random.Generator, spread_db: float) -> np.ndarray:
    """Return log-mels [shape=(n, n_mels, frames)] as other microphones would give them: gains over the bands.

    A curve through 2 to 6 random points, up to `spread_db` / 2 either way, the same in all frames of a chunk.
    """
    curves = np.empty(x.shape[:2], np.float32)
    for curve, count in zip(curves, rng.integers(2, 7, len(x)), strict=True):
        places = np.sort(rng.uniform(0, x.shape[1], count))
        curve[:] = np.interp(np.arange(x.shape[1]), places, rng.uniform(-0.5, 0.5, count) * spread_db)
    return x + curves[..., None]


def mixed(x: np.ndarray, under: np.ndarray, rng: np.random.Generator, p: params.Network) -> np.ndarray:
    """Return log-mels [shape=(n, n_mels, frames)], of which a share `mix_share` has one of `under` as background.

    Powers add, as those of independent sounds do on average. The loudest frame of the background is `mix_snr_db`
    below the chunk's, which is drawn for each.
    """
    rows = np.flatnonzero(rng.random(len(x)) < p.mix_share)
    power, below = (10 ** (part[rows] / 10) for part in (x, under))
    loudest, other = (part.sum(axis=1).max(axis=1) for part in (power, below))
    share = loudest / other * 10 ** (-rng.uniform(*p.mix_snr_db, len(rows)) / 10)
    out = x.copy()
    out[rows] = 10 * np.log10(power + below * share[:, None, None].astype(np.float32))
    return out


def shares(sizes: pd.Series, real_share: float) -> pd.Series:
    """Return how large a part of the draws each source has, by its size, float64; they sum to 1.

    Together real sources have `real_share`, where there are simulated ones too. Among themselves they count by the root
    of their size, so that a large one does not drown the others, and its microphones do not come to stand for a class.
    """
    root = np.sqrt(sizes.astype(float))
    origin = root.groupby(root.index == "simulated")
    part = root / origin.transform("sum") * np.where(root.index == "simulated", 1 - real_share, real_share)
    return part / part.sum()


def chances(table: pd.DataFrame, real_share: float) -> np.ndarray:
    """Return for each chunk the chance that a draw of its class takes it, float64 [shape=(n,)]; a class sums to 1.

    A class's sources have their `shares` by their chunks, and within a source its recording groups likewise.

    Parameters
    ----------
    table : with the columns class, source and recording_group
    """
    chance = pd.Series(0.0, table.index)
    for _, chunks in table.groupby("class"):
        source = shares(chunks.groupby("source").size(), real_share)
        for name, own in chunks.groupby("source"):
            group = np.sqrt(own.groupby("recording_group").size())
            each = 1 / group / group.sum()  # a group's chunks, the square of `group`, share what it has
            chance[own.index] = source[name] * own["recording_group"].map(each)
    return chance.to_numpy()


def labels(table: pd.DataFrame) -> np.ndarray:
    """Return the number of each simulated chunk's label, from 0 on, int [shape=(n,)]; UNKNOWN of a real one.

    Each data set names sounds in words of its own: to learn those is to learn which data set a chunk is of.

    Parameters
    ----------
    table : with the columns label and source
    """
    known, number = (table["source"] == "simulated").to_numpy(), np.full(len(table), UNKNOWN)
    number[known] = pd.factorize(table["label"][known], sort=True)[0]
    return number


def batches(
    x: np.ndarray,
    y: np.ndarray,
    label: np.ndarray,
    chance: np.ndarray,
    hard: np.ndarray,
    rng: np.random.Generator,
    p: params.Network,
) -> Iterator[tuple]:
    """Yield one epoch's batches: features with backgrounds, band gains and patches, targets GUN and ENV, and labels.

    Of the `chunks` of an epoch half are shots, drawn from `x` by their `chance` of their class, as are all others but
    `hard` [shape=(m, n_mels, frames)], further features without a shot. Batches have `batch_size` rows at most, as many
    in each as can be. Labels are int32, as in `label` [shape=(n,)]; that of `hard` is UNKNOWN.
    """
    gun, env = (np.flatnonzero(y == value) for value in (1, 0))
    half = p.chunks // 2
    rows = np.concatenate([_draw(gun, half, chance, rng), _draw(env, p.chunks - half - len(hard), chance, rng)])
    classes = np.concatenate([y[rows], np.zeros(len(hard), y.dtype)])
    labels = np.concatenate([label[rows], np.full(len(hard), UNKNOWN)]).astype(np.int32)
    order = rng.permutation(len(classes))
    for part in np.array_split(order, -(-len(order) // p.batch_size)):
        own = part < len(rows)
        chunks = np.empty((len(part), *x.shape[1:]), np.float32)
        chunks[own], chunks[~own] = x[rows[part[own]]], hard[part[~own] - len(rows)]
        chunks = mixed(chunks, x[_draw(env, len(part), chance, rng)], rng, p)
        chunks = patches(band_gains(chunks, rng, p.band_spread_db), rng, p)
        yield chunks[..., None], _targets(classes[part]), labels[part]


def _ahead(parts: Iterator) -> Iterator:
    """Yield the parts, of which a thread makes AHEAD before they are asked for (`tf.data` costs a third more)."""
    with ThreadPoolExecutor(1) as maker:
        waiting = deque(maker.submit(next, parts, None) for _ in range(AHEAD))
        while (part := waiting.popleft().result()) is not None:
            waiting.append(maker.submit(next, parts, None))
            yield part


def _draw(rows: np.ndarray, count: int, chance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rows[np.sort(rng.choice(len(rows), count, p=chance[rows]))]


def _targets(y: np.ndarray) -> np.ndarray:
    return np.stack([y, 1 - y], axis=-1).astype(np.float32).reshape(-1, 1, 1, 2)


def hardest(
    model: keras.Model, pool: dict[str, Sequence[np.ndarray]], *, n_frames: int, most: int, real_share: float
) -> np.ndarray:
    """Return the windows without a shot that score highest, float32 [shape=(n, n_mels, n_frames)], n at most `most`.

    Each source gives its `shares` of them, the highest first.

    Parameters
    ----------
    pool : by source, log-mels of streams without a shot [shape=(n_mels, frames)] each; no two windows of one are closer
        than APART frames
    """
    stride = network.stride_of(model)

    def highest(log_mel: np.ndarray) -> np.ndarray:
        whole = 1 + (log_mel.shape[1] - n_frames) // stride  # the network may have one position more
        score = network.logit(model, log_mel[None])[0, :whole]
        at = find_peaks(np.pad(score, 1, constant_values=-np.inf), distance=APART // stride)[0] - 1
        return np.column_stack([score[at], at * stride])

    sizes = pd.Series({source: sum(part.shape[1] for part in parts) for source, parts in pool.items()})
    quotas = (most * shares(sizes, real_share)).round().astype(int)
    windows = []
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # an operation has one, see `network`
        for source, parts in pool.items():
            heard = list(threads.map(highest, parts))
            every = np.vstack([np.column_stack([rows, np.full(len(rows), i)]) for i, rows in enumerate(heard)])
            worst = every[np.argsort(-every[:, 0], kind="stable")[: quotas[source]], 1:].astype(int)
            windows += [parts[i][:, start : start + n_frames] for start, i in worst]
    return np.stack(windows[:most]).astype(np.float32)


def train(
    x: np.ndarray,
    y: np.ndarray,
    x_val: np.ndarray,
    y_val: np.ndarray,
    rng: np.random.Generator,
    p: params.Network,
    *,
    label: np.ndarray | None = None,
    chance: np.ndarray | None = None,
    pool: dict[str, Sequence[np.ndarray]] | None = None,
    build: Callable[..., keras.Model] = network.build,
):
    """Return the trained network with its best validation loss, and its history by epoch.

    Adam, its learning rate falling along half a cosine from epoch to epoch. From the second epoch on `hard_share` of
    the chunks without a shot are the hardest windows of `pool`, as the network scores them then.
    The epoch of the lowest validation loss is kept. TensorFlow runs deterministically.

    In training the network also names each chunk's label (a kind of weapon, a dog's bark), where it is known, by a
    layer that is thrown away: so that it hears what sounds are, and not only what tells these shots from these other
    sounds. This has a share `label_weight` beside the loss.

    Parameters
    ----------
    x, x_val : np.ndarray [shape=(n, n_mels, frames)], float32 dB, may be memory-mapped
    y, y_val : np.ndarray [shape=(n,)], 1 for GUN
    label : of each of `x`, as `labels` gives them; they are all one where it is None
    chance : of each of `x` to be drawn, as `chances` gives them; all of a class have the same where it is None
    pool : as for `hardest`
    build : what makes the network, as `network.build` does
    """
    keras.utils.set_random_seed(seed := int(rng.integers(2**31)))
    tf.config.experimental.enable_op_determinism()
    if not caches.pin():
        tqdm.write("train: the sizes of caches cannot be set here; another processor may train another network")
    shape = {"n_mels": x.shape[1], "n_frames": x.shape[2]}
    model = build(p, **shape, seed=seed)
    model.compile(keras.optimizers.Adam(p.learning_rate), loss=_loss(p.label_smoothing), jit_compile=False)
    label = np.zeros(len(y), int) if label is None else label
    step = _step(model, _naming(model, int(label.max(initial=0)) + 1, seed), p.label_weight)
    validation = _Validation(x_val, y_val)
    chance = 1 / np.bincount(y)[y] if chance is None else chance
    history, best = [], (np.inf, model.get_weights())
    hard, most = x[:0], int(p.hard_share * (p.chunks - p.chunks // 2))
    for epoch in (bar := tqdm(range(p.epochs), desc="train", unit="epoch")):
        model.optimizer.learning_rate = p.learning_rate / 2 * (1 + math.cos(math.pi * epoch / p.epochs))
        if epoch and most and pool:
            hard = hardest(model, pool, n_frames=x.shape[2], most=most, real_share=p.real_share)
        losses = [step(*part) for part in _ahead(batches(x, y, label, chance, hard, rng, p))]
        val_loss = model.evaluate(validation, verbose=0)
        history.append({"loss": float(np.mean(losses)), "val_loss": float(val_loss)})
        bar.set_postfix({name: f"{value:.4f}" for name, value in history[-1].items()})
        history[-1] |= {"learning_rate": float(model.optimizer.learning_rate.numpy()), "hard": len(hard)}
        if history[-1]["val_loss"] < best[0]:
            best = history[-1]["val_loss"], model.get_weights()
    trained = build(p, **shape)  # without the optimizer, three times the weights
    trained.set_weights(best[1])
    return trained, {name: [row[name] for row in history] for name in history[0]}


class _Validation(keras.utils.PyDataset):
    """Validation chunks in batches, read as they are needed: as one array Keras would copy them all into memory.

    Both classes weigh the same.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray):
        super().__init__()
        self.x, self.y = x, y
        self.balance = (len(y) / (2 * np.bincount(y, minlength=2))).astype(np.float32)

    def __len__(self) -> int:
        return -(-len(self.y) // network.BATCH)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        part = slice(index * network.BATCH, (index + 1) * network.BATCH)
        return np.asarray(self.x[part])[..., None], _targets(self.y[part]), self.balance[self.y[part]]


def _floats(ndim: int) -> tf.TensorSpec:
    return tf.TensorSpec((None,) * ndim, tf.float32)


_LABELS = tf.TensorSpec((None,), tf.int32)


def _naming(model: keras.Model, count: int, seed: int) -> keras.Model:
    """Return the network with a second output [shape=(batch, 1, positions, count)]: a logit for each label."""
    pooled = model.get_layer("dropout_features").output
    initial = keras.initializers.GlorotUniform(seed=seed)
    return keras.Model(model.input, [model.output, keras.layers.Conv2D(count, 1, kernel_initializer=initial)(pooled)])


def _unnamed(label, logits):
    """Return the mean cross-entropy of labels, of those that are known."""
    known = tf.cast(label != UNKNOWN, tf.float32)
    each = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(label, 0), logits[:, 0, 0])
    return tf.reduce_sum(known * each) / tf.maximum(tf.reduce_sum(known), 1.0)


def _step(model: keras.Model, naming: keras.Model, label_weight: float):
    """Return the function that trains on a batch, whose halves two cores take at once, and gives its loss.

    The halves' gradients are added in the same order always, so that the weights do not depend on which is done first.
    Batch normalization sees half a batch at a time.
    """
    optimizer, weights = model.optimizer, naming.trainable_variables
    optimizer.build(weights)

    @tf.function(input_signature=(_floats(4), _floats(4), _LABELS), autograph=False, jit_compile=False)
    def step(x, y, label):
        half, gradients, losses = tf.shape(x)[0] // 2, [], []
        for part in (slice(None, half), slice(half, None)):
            with tf.GradientTape() as tape:
                logits, labels = naming(x[part], training=True)
                loss = model.compute_loss(x[part], y[part], logits) + label_weight * _unnamed(label[part], labels)
                losses.append(loss / 2)
            gradients.append(tape.gradient(losses[-1], weights))
        summed = [tf.add_n(pair) for pair in zip(*gradients, strict=True)]
        optimizer.apply_gradients(zip(summed, weights, strict=True))
        return tf.add_n(losses)

    return step


def _loss(smoothing: float) -> keras.losses.Loss:
    return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing)
