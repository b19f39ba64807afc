"""Small fully convolutional network: log-mel of any length in, GUN and ENV scores along time out."""

import json
import os
import tempfile
import zipfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its kernels choose the order of sums by machine
os.environ["TF_NUM_INTRAOP_THREADS"] = "1"  # more would share sums out, so that weights would depend on the cores

import keras
import numpy as np
from keras import layers

from gunshot.base import params
from gunshot.base.files import atomic

FILTERS = (8, 16, 24, 32)  # of the convolutions, at width 1
FEATURES = 32  # of the feature layer, at width 1
HIDDEN = 16  # of the first classification layer, at width 1
STRIDES = (2, 2, 1, 1)
VOLATILE = ("date_saved", "shared_object_id")  # what Keras writes of the date, and of addresses in memory


def stride_of(model: keras.Model) -> int:
    """Return the network's stride in time, frames."""
    return int(np.prod([layer.strides[1] for layer in model.layers if hasattr(layer, "kernel_size")]))


def _length(n: int, depth: int) -> int:
    for s in STRIDES[:depth]:
        n = (n - 3) // s + 1
    return n


def build(p: params.Network, *, n_mels: int, n_frames: int) -> keras.Model:
    """Return the network, input [shape=(batch, n_mels, frames, 1)] in dB, frames free but at least `n_frames`.

    Valid convolutions with leaky ReLU, then a feature layer that spans all bands, a mean over as many
    positions as a chunk of `n_frames` has, and two 1x1 convolutions that classify. Output
    [shape=(batch, 1, positions, 2)]: logits GUN and ENV, one position each stride in time; no sigmoid, since int8
    could not tell high scores apart behind one. In training
    noise on the activations stands for the rounding that int8 brings, so that few decisions hang on it.

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
        if p.separable and i:
            x = layers.DepthwiseConv2D(3, strides=STRIDES[i], use_bias=False, name=f"depthwise{i}")(x)
            x = layers.Conv2D(filters(FILTERS[i]), 1, use_bias=False, name=f"conv{i}")(x)
        else:
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
    outputs = layers.Conv2D(2, 1, name="gun_env")(x)
    return keras.Model(inputs, outputs, name="gunshot")


def logit(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Return logits for GUN of log-mels [shape=(n, n_mels, frames)], float32 [shape=(n, positions)].

    A chunk has one position; a longer recording one each stride in time, from one pass.
    """
    logits = model.predict(np.asarray(x, np.float32)[..., None], batch_size=512, verbose=0)
    return logits[:, 0, :, 0]


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
    """Return the network that `save` wrote."""
    return keras.models.load_model(path, compile=False)
