"""A larger head on the network's trunk, which hears longer: what the verifier is."""

import numpy as np

from gunshot.base import params
from gunshot.models.network.network import keras, layers  # with its settings, which must stand before TensorFlow's

FILTERS = (128, 192, 256, 256)  # of the first layer, which takes vectors one by one, and of those over time
SPANS = (5, 2), (4, 2), (5, 1)  # vectors that a layer over time spans, and its stride
HIDDEN = 128
LAST = "leaky_features"  # layer of the network that ends its trunk


def trunk(net: keras.Model) -> keras.Model:
    """Return the network up to its feature layer: log-mels in, vectors out [shape=(batch, 1, positions, features)]."""
    return keras.Model(net.input, net.get_layer(LAST).output)


def vectors(net: keras.Model, x: np.ndarray, *, batch: int = 64) -> np.ndarray:
    """Return the trunk's vectors of log-mels [shape=(n, n_mels, frames)], float32 [shape=(n, features, positions)]."""
    run = trunk(net)
    parts = [run(x[i : i + batch, ..., None], training=False).numpy()[:, 0] for i in range(0, len(x), batch)]
    return np.ascontiguousarray(np.concatenate(parts).swapaxes(1, 2))


def build(p: params.Network, *, n_mels: int, n_frames: int, seed: int = 0) -> keras.Model:
    """Return the head, input [shape=(batch, features, positions, 1)], as `gunshot.models.network.network.build` does.

    A layer takes each vector by itself, separable convolutions go over time, then comes the maximum over the positions
    that are left, and two layers classify.

    Parameters
    ----------
    n_mels, n_frames : features of a vector, and how many vectors the head hears

    Raises
    ------
    ValueError
        The last vectors would not be heard, or there are too few.
    """
    rng, positions = np.random.default_rng(seed), n_frames
    for span, stride in SPANS:
        if positions < span or (positions - span) % stride:
            raise ValueError(
                f"verifier.frames leaves {n_frames} vectors, of which layers over time must hear the last: {positions} "
                f"are no {span} and a multiple of {stride}; take some frames more or less"
            )
        positions = (positions - span) // stride + 1

    def own() -> int:
        return int(rng.integers(2**31))

    def settled(x, name: str):
        x = layers.BatchNormalization(momentum=0.9, name=f"norm_{name}")(x)
        x = layers.LeakyReLU(negative_slope=p.leak, name=f"leaky_{name}")(x)
        return layers.GaussianNoise(p.noise, seed=own(), name=f"noise_{name}")(x)

    def conv(n: int, **options) -> keras.Layer:
        return layers.Conv2D(n, 1, kernel_initializer=keras.initializers.GlorotUniform(seed=own()), **options)

    inputs = layers.Input((n_mels, None, 1), name="vectors")
    x = layers.Permute((3, 2, 1), name="in_time")(inputs)
    x = settled(conv(FILTERS[0], use_bias=False, name="wide")(x), "wide")
    for i, (span, stride) in enumerate(SPANS):
        initial = keras.initializers.GlorotUniform(seed=own())
        name, options = f"later{i}", {"depthwise_initializer": initial, "use_bias": False}
        x = layers.DepthwiseConv2D((1, span), strides=(stride, stride), name=f"over_{name}", **options)(x)
        x = settled(conv(FILTERS[i + 1], use_bias=False, name=name)(x), name)
    x = layers.MaxPooling2D((1, positions), strides=1, name="pool_later")(x)
    x = layers.Dropout(p.dropout, seed=own(), name="dropout_features")(x)
    x = layers.LeakyReLU(negative_slope=p.leak, name="leaky_judge")(conv(HIDDEN, name="judge")(x))
    return keras.Model(inputs, conv(2, name="opinion")(x), name="verifier")


def joined(net: keras.Model, head: keras.Model) -> keras.Model:
    """Return the trunk and a head on it as one network: log-mels in, logits out."""
    start = trunk(net)
    x = start.output
    for layer in head.layers[2:]:  # behind its input, and what turns that round
        x = layer(x)
    return keras.Model(start.input, x, name="verifier")
