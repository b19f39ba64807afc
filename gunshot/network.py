"""Small fully convolutional network: log-mel of any length in, GUN and ENV scores along time out."""

import json
import math
import os
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its kernels choose the order of sums by machine

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from gunshot import audio

FILTERS = (8, 16, 24, 32)  # of the convolutions, at width 1
FEATURES = 32  # of the feature layer, at width 1
HIDDEN = 16  # of the first classification layer, at width 1
STRIDES = (2, 2, 1, 1)
VOLATILE = ("date_saved", "shared_object_id")  # what Keras writes of the date, and of addresses in memory


def stride_of(model: keras.Model) -> int:
    """Return the network's stride in time, frames."""
    return int(np.prod([layer.strides[1] for layer in model.layers if isinstance(layer, layers.Conv2D)]))


def _length(n: int, depth: int) -> int:
    for s in STRIDES[:depth]:
        n = (n - 3) // s + 1
    return n


def build(p, *, n_mels: int, n_frames: int) -> keras.Model:
    """Return the network, input [shape=(batch, n_mels, frames, 1)] in dB, frames free but at least `n_frames`.

    Valid convolutions with leaky ReLU, then a feature layer that spans all bands, a mean over as many
    positions as a chunk of `n_frames` has, and two 1x1 convolutions that classify. Output
    [shape=(batch, 1, positions, 2)]: sigmoids GUN and ENV, one position each stride in time. In training
    noise on the activations stands for the rounding that int8 brings, so that few decisions hang on it.

    Parameters
    ----------
    p : the section network of params.yaml.

    Raises
    ------
    ValueError
        The chunk is too small for the depth.
    """
    bands, positions = _length(n_mels, p.depth), _length(n_frames, p.depth)
    if min(bands, positions) < 1:
        raise ValueError(f"depth={p.depth} leaves {bands} x {positions} of {n_mels} x {n_frames}; it must leave 1 x 1")

    def filters(n: int) -> int:
        return max(2, round(n * p.width))

    inputs = x = layers.Input((n_mels, None, 1), name="log_mel")
    x = layers.Rescaling(1 / 25, offset=2, name="rescale")(x)  # dB, about -100 to 0, to about -2 to 2
    for i in range(p.depth):
        x = layers.Conv2D(filters(FILTERS[i]), 3, strides=STRIDES[i], use_bias=False, name=f"conv{i}")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"norm{i}")(x)
        x = layers.LeakyReLU(negative_slope=p.leak, name=f"leaky{i}")(x)
        x = layers.GaussianNoise(p.noise, name=f"noise{i}")(x)
    x = layers.Dropout(p.dropout, name="dropout_conv")(x)
    x = layers.Conv2D(filters(FEATURES), (bands, 1), use_bias=False, name="features")(x)
    x = layers.BatchNormalization(momentum=0.9, name="norm_features")(x)
    x = layers.LeakyReLU(negative_slope=p.leak, name="leaky_features")(x)
    x = layers.GaussianNoise(p.noise, name="noise_features")(x)
    x = layers.AveragePooling2D((1, positions), strides=1, name="pool")(x)
    x = layers.Dropout(p.dropout, name="dropout_features")(x)
    x = layers.Conv2D(filters(HIDDEN), 1, name="hidden")(x)
    x = layers.LeakyReLU(negative_slope=p.leak, name="leaky_hidden")(x)
    x = layers.GaussianNoise(p.noise, name="noise_hidden")(x)
    outputs = layers.Conv2D(2, 1, activation="sigmoid", name="gun_env")(x)
    return keras.Model(inputs, outputs, name="gunshot")


def patches(x: np.ndarray, rng: np.random.Generator, p) -> np.ndarray:
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


def batches(x: np.ndarray, y: np.ndarray, rng: np.random.Generator, p) -> Iterator[tuple]:
    """Yield batches without end: features with band gains and patches, targets GUN and ENV, class-balancing weights."""
    weight = len(y) / (2 * np.bincount(y, minlength=2))
    while True:
        order = rng.permutation(len(y))
        for i in range(0, len(y), p.batch_size):
            rows = np.sort(order[i : i + p.batch_size])
            changed = patches(band_gains(x[rows], rng, p.band_spread_db), rng, p)
            yield changed[..., None], _targets(y[rows]), weight[y[rows]].astype(np.float32)


def _targets(y: np.ndarray) -> np.ndarray:
    return np.stack([y, 1 - y], axis=-1).astype(np.float32).reshape(-1, 1, 1, 2)


def train(x: np.ndarray, y: np.ndarray, x_val: np.ndarray, y_val: np.ndarray, rng: np.random.Generator, p):
    """Return the trained network with its best validation loss, and its history by epoch.

    Adam, its learning rate falling along half a cosine from epoch to epoch. The epoch of the lowest validation loss is
    kept. TensorFlow runs deterministically.

    Parameters
    ----------
    x, x_val : np.ndarray [shape=(n, n_mels, frames)], float32 dB, may be memory-mapped
    y, y_val : np.ndarray [shape=(n,)], 1 for GUN
    p : the section network of params.yaml.
    """
    keras.utils.set_random_seed(int(rng.integers(2**31)))
    tf.config.experimental.enable_op_determinism()
    model = build(p, n_mels=x.shape[1], n_frames=x.shape[2])
    model.compile(keras.optimizers.Adam(p.learning_rate), loss="binary_crossentropy", jit_compile=False)
    callbacks = [
        keras.callbacks.LearningRateScheduler(lambda e: p.learning_rate / 2 * (1 + math.cos(math.pi * e / p.epochs))),
        keras.callbacks.EarlyStopping(patience=p.epochs, restore_best_weights=True),
    ]
    weight = len(y_val) / (2 * np.bincount(y_val, minlength=2))
    history = model.fit(
        batches(x, y, rng, p),
        steps_per_epoch=-(-len(y) // p.batch_size),
        epochs=p.epochs,
        validation_data=(x_val[..., None], _targets(y_val), weight[y_val].astype(np.float32)),
        validation_batch_size=512,
        shuffle=False,  # `batches` draws the order
        callbacks=callbacks,
        verbose=2,
    )
    trained = build(p, n_mels=x.shape[1], n_frames=x.shape[2])  # without the optimizer, three times the weights
    trained.set_weights(model.get_weights())
    return trained, {name: [float(v) for v in values] for name, values in history.history.items()}


def score(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Return scores for GUN of log-mels [shape=(n, n_mels, frames)], float32 [shape=(n, positions)].

    A chunk has one position; a longer recording one each stride in time, from one pass.
    """
    found = model.predict(np.asarray(x, np.float32)[..., None], batch_size=512, verbose=0)
    return found[:, 0, :, 0]


def _settled(values: dict) -> dict:
    return {key: value for key, value in values.items() if key not in VOLATILE}


def save(model: keras.Model, path: Path) -> None:
    """Write a .keras file, whole or not at all, the same bytes for the same model: without what is VOLATILE."""
    with audio.atomic(path) as part, tempfile.TemporaryDirectory() as folder:
        named = Path(folder, path.name)
        model.save(named)
        with zipfile.ZipFile(named) as found, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as out:
            for name in sorted(found.namelist()):
                content = found.read(name)
                if name.endswith(".json"):
                    content = json.dumps(json.loads(content, object_hook=_settled)).encode()
                out.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)


def load(path: Path) -> keras.Model:
    """Return the network that `save` wrote."""
    return keras.models.load_model(path, compile=False)
