"""Small fully convolutional network: log-mel of any length in, GUN and ENV scores along time out."""

import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its kernels choose the order of sums by machine
os.environ["TF_NUM_INTRAOP_THREADS"] = "1"  # more would share sums out, so that weights would depend on the cores
os.environ["TF_NUM_INTEROP_THREADS"] = "2"  # operations that do not wait for each other

import numpy as np

from gunshot.base import imports, params
from gunshot.base.files import atomic
from gunshot.models.network import caches

with imports.without("matplotlib", "sklearn"):  # of what Keras shows, and of what it wraps: 4 s of CPU for 6
    import keras
    import tensorflow as tf
    from keras import layers

FILTERS = (8, 16, 24, 32)  # of the convolutions, at width 1
FEATURES = 32  # of the feature layer and of the layers over time, at width 1
HIDDEN = 16  # of the first classification layer, at width 1
STRIDES = (2, 2, 1, 1)
REACH, TEMPORAL = 5, 2  # positions that a layer over time spans, and how many such layers there are
BATCH = 512  # log-mels that are scored at once
VOLATILE = ("date_saved", "shared_object_id")  # what Keras writes of the date, and of addresses in memory


def stride_of(model: keras.Model) -> int:
    """Return the network's stride in time, frames."""
    return int(np.prod([layer.strides[1] for layer in _over_time(model)]))


def frames_of(model: keras.Model) -> int:
    """Return how many frames the network hears at once: what one position of its output depends on."""
    frames = 1
    for layer in reversed(_over_time(model)):
        kernel = layer.kernel_size if hasattr(layer, "kernel_size") else layer.pool_size
        frames = (frames - 1) * layer.strides[1] + kernel[1]
    return frames


def _over_time(model: keras.Model) -> list[keras.Layer]:
    return [layer for layer in model.layers if hasattr(layer, "kernel_size") or hasattr(layer, "pool_size")]


def _length(n: int, depth: int) -> int:
    for s in STRIDES[:depth]:
        n = (n - 3) // s + 1
    return n


def build(p: params.Network, *, n_mels: int, n_frames: int, seed: int = 0) -> keras.Model:
    """Return the network, input [shape=(batch, n_mels, frames, 1)] in dB, frames free but at least `n_frames`.

    The trunk: valid convolutions with leaky ReLU, then a feature layer that spans all bands and gives a vector each
    stride in time. The head: TEMPORAL depthwise-separable convolutions over REACH vectors each, the maximum over the
    positions that are left of `n_frames`, and two 1x1 convolutions that classify. Output
    [shape=(batch, 1, positions, 2)]: logits GUN and ENV, one position each stride in time; no sigmoid, since int8
    could not tell high scores apart behind one. In training
    noise on the activations stands for the rounding that int8 brings, so that few decisions hang on it. Each layer that
    draws has a seed of its own, drawn from `seed`: none draws from what other threads draw from.

    Raises
    ------
    ValueError
        The window is too small for the depth and the layers over time, or no window of this network has just so many
        frames.
    """
    bands, positions = _length(n_mels, p.depth), _length(n_frames, p.depth) - TEMPORAL * (REACH - 1)
    if min(bands, positions) < 1:
        raise ValueError(
            f"depth={p.depth} leaves {bands} bands and {positions} positions of {n_mels} x {n_frames}; it must leave 1"
        )

    def filters(n: int) -> int:
        return max(2, round(n * p.width))

    rng = np.random.default_rng(seed)

    def own() -> int:
        return int(rng.integers(2**31))

    def conv(n: int, kernel: int | tuple[int, int], **options) -> keras.Layer:
        return layers.Conv2D(n, kernel, kernel_initializer=keras.initializers.GlorotUniform(seed=own()), **options)

    def depthwise(kernel: int | tuple[int, int], **options) -> keras.Layer:
        initial = keras.initializers.GlorotUniform(seed=own())
        return layers.DepthwiseConv2D(kernel, depthwise_initializer=initial, use_bias=False, **options)

    def settled(x, name: str):
        x = layers.BatchNormalization(momentum=0.9, name=f"norm_{name}")(x)
        x = layers.LeakyReLU(negative_slope=p.leak, name=f"leaky_{name}")(x)
        return layers.GaussianNoise(p.noise, seed=own(), name=f"noise_{name}")(x)

    inputs = x = layers.Input((n_mels, None, 1), name="log_mel")
    x = layers.Rescaling(1 / 25, offset=2, name="rescale")(x)  # dB, about -100 to 0, to about -2 to 2
    for i in range(p.depth):
        if p.separable and i:
            x = depthwise(3, strides=STRIDES[i], name=f"depthwise{i}")(x)
            x = conv(filters(FILTERS[i]), 1, use_bias=False, name=f"conv{i}")(x)
        else:
            x = conv(filters(FILTERS[i]), 3, strides=STRIDES[i], use_bias=False, name=f"conv{i}")(x)
        x = settled(x, f"conv{i}")
    x = layers.Dropout(p.dropout, seed=own(), name="dropout_conv")(x)
    x = settled(conv(filters(FEATURES), (bands, 1), use_bias=False, name="features")(x), "features")
    for i in range(TEMPORAL):
        x = depthwise((1, REACH), name=f"over_time{i}")(x)
        x = settled(conv(filters(FEATURES), 1, use_bias=False, name=f"temporal{i}")(x), f"temporal{i}")
    x = layers.MaxPooling2D((1, positions), strides=1, name="pool")(x)
    x = layers.Dropout(p.dropout, seed=own(), name="dropout_features")(x)
    x = conv(filters(HIDDEN), 1, name="hidden")(x)
    x = layers.LeakyReLU(negative_slope=p.leak, name="leaky_hidden")(x)
    x = layers.GaussianNoise(p.noise, seed=own(), name="noise_hidden")(x)
    outputs = conv(2, 1, name="gun_env")(x)
    model = keras.Model(inputs, outputs, name="gunshot")
    if frames_of(model) != n_frames:
        more = f"{frames_of(model)}, or {stride_of(model)} more each time"
        raise ValueError(f"frames={n_frames}: the last are not heard; take {more}")
    return model


def logit(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Return logits for GUN of log-mels [shape=(n, n_mels, frames)], float32 [shape=(n, positions)].

    A chunk has one position; a longer recording one each stride in time, from one pass.

    Raises
    ------
    ValueError
        The log-mels have other bands than the network, or fewer frames than it hears.
    """
    bands, frames = model.input_shape[1], frames_of(model)
    if x.shape[1] != bands or x.shape[2] < frames:
        raise ValueError(f"log_mel.shape={x.shape[1:]} must have {bands} bands and {frames} frames or more")
    x = np.asarray(x, np.float32)[..., None]
    return np.concatenate([_gun(model)(x[i : i + BATCH]).numpy() for i in range(0, max(len(x), 1), BATCH)])


@lru_cache(8)
def _gun(model: keras.Model) -> Callable:
    """Return the network as a graph of its own: `predict` would trace it anew for each length of a recording."""
    caches.pin()  # or logits' last bits would be the processor's
    signature = [tf.TensorSpec(model.input_shape, tf.float32)]
    return tf.function(lambda x: model(x, training=False)[:, 0, :, 0], signature, autograph=False, jit_compile=False)


def _settled(values: dict) -> dict:
    return {key: value for key, value in values.items() if key not in VOLATILE}


def save(model: keras.Model, path: Path) -> None:
    """Write a .keras file, whole or not at all, the same bytes for the same model: without what is VOLATILE."""
    with atomic(path) as part, tempfile.TemporaryDirectory() as folder:
        named = Path(folder, path.name)
        model.save(named)
        with zipfile.ZipFile(named) as archive, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as out:
            for name in sorted(archive.namelist()):
                content = archive.read(name)
                if name.endswith(".json"):
                    content = json.dumps(json.loads(content, object_hook=_settled)).encode()
                out.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)


def load(path: Path) -> keras.Model:
    """Return the network that `save` wrote; ValueError where a file is no zip file."""
    if not zipfile.is_zipfile(path):  # Keras would say that it is not there
        raise ValueError(f"{path.stat().st_size} bytes that are no zip file, or a part of one")
    return keras.models.load_model(path, compile=False)
