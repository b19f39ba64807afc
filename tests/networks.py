"""Networks of many kinds as int8, with weights that are drawn, and codes that reach their extremes."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from gunshot.models.network import network, quantize
from gunshot.models.network.network import (
    keras,
    layers,  # with its settings, which must stand before TensorFlow is imported
)

N_MELS, N_FRAMES = 32, 33
CONTEXT = 71  # frames that the project's network hears
ACTIVATIONS = (None, "relu", "relu6", "leaky_relu", "sigmoid")


def log_mels(n: int, seed: int, n_frames: int = N_FRAMES) -> tuple[np.ndarray, np.ndarray]:
    """Noise about -60 dB; every second chunk with a step that decays, as a shot has."""
    rng = np.random.default_rng(seed)
    x = rng.normal(-60, 6, (n, N_MELS, n_frames)) + rng.normal(0, 5, (n, 1, 1))
    y = np.arange(n) % 2
    after = np.arange(n_frames) - rng.integers(2, 24, (n, 1))
    shot = np.where(after >= 0, 30 * np.exp(-after / 8), 0)[:, None] * np.linspace(1, 0.4, N_MELS)[:, None]
    return (x + shot * y[:, None, None]).astype(np.float32), y


def converted(*parts, shape=(N_MELS, N_FRAMES), seed=0, spread=1.0, weights=None, representative=None) -> bytes:
    """A network of Keras layers with random weights and biases, or all of one value, as int8."""
    model = keras.Sequential([layers.Input(batch_shape=(1, *shape, 1)), *parts])
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        drawn = [rng.normal(0, spread * w[..., 0].size ** -0.5, w.shape) for w in layer.get_weights()]
        layer.set_weights(drawn if weights is None else [np.full(w.shape, weights) for w in layer.get_weights()])
    return quantize.convert(model, log_mels(64, 5)[0] / 30 if representative is None else representative)


def extremes(shape=(N_MELS, N_FRAMES), n: int = 40, seed: int = 1) -> np.ndarray:
    """Codes: noise of all means and widths, steps along time and frequency, all alike, the two ends alone."""
    rng = np.random.default_rng(seed)
    each = (n, 1, 1)
    noise = rng.normal(rng.uniform(-128, 127, each), rng.uniform(1, 90, each), (n, *shape))
    low, high = rng.integers(-128, 128, (2, *each))
    times = np.where(np.arange(shape[1]) < rng.integers(0, shape[1] + 1, each), low, high) + np.zeros((n, *shape))
    bands = np.where(np.arange(shape[0])[:, None] < rng.integers(0, shape[0] + 1, each), low, high)
    alike = np.linspace(-128, 127, n).round().reshape(each) + np.zeros((n, *shape))
    ends = np.where(rng.random((n, *shape)) < rng.random(each), -128, 127)
    parts = [noise, times, bands + np.zeros((n, *shape)), alike, ends, rng.integers(-128, 128, (n, *shape))]
    return np.clip(np.rint(np.concatenate(parts)), -128, 127).astype(np.int8)


def unsettled(p, seed: int = 0, n_frames: int = CONTEXT) -> keras.Model:
    """A network whose every weight is drawn, also the statistics of its normalizations, with logits of deviation 1."""
    model = network.build(p, n_mels=N_MELS, n_frames=n_frames)
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
    x = rng.normal(-60, 15, (64, N_MELS, n_frames, 1)).astype(np.float32)
    logits = keras.Model(model.input, last.input).predict(x, verbose=0)[:, 0, 0] @ kernel[0, 0]
    kernel /= logits.std(axis=0)
    last.set_weights([kernel, -(logits / logits.std(axis=0)).mean(axis=0)])
    return model


def with_context(n_frames: int = CONTEXT, *, seed: int = 0) -> bytes:
    """A small network of the project's form, as int8: of 71 frames, a trunk of stride 4 makes 13 positions."""

    def leaky(*parts) -> list:
        return [*parts, layers.LeakyReLU(negative_slope=0.1)]

    layered = [conv(4, 3, 2), conv(5, 3, 2), conv(6, 3), conv(6, 3), conv(7, (3, 1))]
    trunk = [part for layer in layered for part in leaky(layer)]
    head = [part for _ in range(2) for part in leaky(layers.DepthwiseConv2D((1, 5)), conv(7, 1))]
    last = [layers.GlobalMaxPooling2D(), layers.Dense(4), layers.Dense(2)]
    return cooked(*trunk, *head, *last, shape=(N_MELS, n_frames), seed=seed)


conv, pool = layers.Conv2D, layers.MaxPooling2D
FAMILY = {
    "relu": lambda: [conv(8, 3, 2, activation="relu"), conv(12, 3, activation="relu"), layers.Flatten()],
    "relu6": lambda: [
        conv(8, 3, 2, activation="relu6"),
        conv(12, (5, 3), (3, 1), activation="relu6"),
        layers.Flatten(),
    ],
    "separable": lambda: [
        conv(6, 3, 2),
        layers.DepthwiseConv2D(3, activation="relu"),
        conv(10, 1, activation="relu"),
        layers.DepthwiseConv2D((4, 3), strides=2, depth_multiplier=3),
        layers.LeakyReLU(negative_slope=0.2),
        layers.Flatten(),
    ],
    "first depthwise": lambda: [layers.DepthwiseConv2D(5, strides=2, depth_multiplier=7), layers.Flatten()],
    "max pool": lambda: [conv(8, 3, activation="relu"), pool(2), conv(9, 3), pool((3, 2), (2, 1)), layers.Flatten()],
    "relu of max pool": lambda: [conv(8, 3), pool(2), layers.ReLU(), conv(4, 3), pool(3), layers.Flatten()],
    "average pool": lambda: [conv(7, 3, 2), layers.AveragePooling2D((2, 3)), conv(5, 3), layers.Flatten()],
    "average pool of all": lambda: [conv(7, 3, 2), layers.AveragePooling2D((15, 16)), layers.Flatten()],
    "mean": lambda: [conv(7, 3, 2), layers.LeakyReLU(negative_slope=0.1), layers.GlobalAveragePooling2D()],
    "mean with shape kept": lambda: [conv(7, 3, 2), layers.GlobalAveragePooling2D(keepdims=True), layers.Flatten()],
    "largest": lambda: [conv(7, 3, 2, activation="relu"), layers.GlobalMaxPooling2D()],
    "same without padding": lambda: [
        conv(7, 1, padding="same"),
        conv(7, (8, 11), (8, 11), padding="same"),
        layers.Flatten(),
    ],
    "dense on a map": lambda: [layers.Flatten(), layers.Dense(9, activation="relu")],
    "no bias": lambda: [conv(7, 3, 2, use_bias=False), layers.Flatten(), layers.Dense(5, use_bias=False)],
}


@st.composite
def recipes(draw) -> dict:
    """The shape of a map up to N_MELS x N_FRAMES, up to four layers on it and one or two that are dense, and a seed."""
    shape = size = draw(st.integers(1, N_MELS)), draw(st.integers(1, N_FRAMES))
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["Conv2D", "Conv2D", "DepthwiseConv2D", "MaxPooling2D", "AveragePooling2D"]))
        padding = draw(st.sampled_from(["valid", "same"]))
        kernel = tuple(draw(st.integers(1, 5 if padding == "same" else min(5, n))) for n in size)
        strides = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        options = {"strides": strides, "padding": padding}
        if kind == "Conv2D":
            options |= {"filters": draw(st.integers(2, 11)), "kernel_size": kernel, "use_bias": draw(st.booleans())}
        elif kind == "DepthwiseConv2D":  # Keras takes no other strides for it
            strides = options["strides"] = strides[:1] * 2
            options |= {"depth_multiplier": draw(st.integers(1, 3)), "kernel_size": kernel}
        else:
            options["pool_size"] = kernel
        parts.append((kind, options))
        if "pool_size" not in options and (activation := draw(st.sampled_from(ACTIVATIONS))):
            parts.append(("Activation", {"activation": activation}))
        ahead = [n if padding == "same" else n - k + 1 for n, k in zip(size, kernel, strict=True)]
        size = tuple(-(-n // s) for n, s in zip(ahead, strides, strict=True))
    parts.append((draw(st.sampled_from(["Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D"])), {}))
    if draw(st.booleans()):
        parts.append(("Dense", {"units": draw(st.integers(2, 12)), "activation": draw(st.sampled_from(ACTIVATIONS))}))
    parts.append(("Dense", {"units": 2, "activation": draw(st.sampled_from([None, "sigmoid"]))}))
    return {"shape": shape, "parts": parts, "seed": draw(st.integers(0, 2**16))}


@st.composite
def contexts(draw) -> dict:
    """A recipe of a trunk that gives 2 to 9 positions and a head over them, and a hop that suits it.

    Some windows have frames behind the last position, and some hops are so long that windows share nothing.
    """
    bands, parts, stride, span = draw(st.integers(5, N_MELS)), [], 1, 1
    left, positions = bands, draw(st.integers(2, 9))
    for _ in range(draw(st.integers(0, 2))):
        step, kernel = draw(st.integers(1, 2)), (draw(st.integers(1, min(3, left))), draw(st.integers(1, 4)))
        options = {"filters": draw(st.integers(2, 7)), "kernel_size": kernel, "strides": step}
        parts += [("Conv2D", options), ("LeakyReLU", {"negative_slope": 0.1})]
        span, stride, left = span + (kernel[1] - 1) * stride, stride * step, (left - kernel[0]) // step + 1
    kernel = left, draw(st.integers(1, 3))
    parts.append(("Conv2D", {"filters": draw(st.integers(2, 9)), "kernel_size": kernel, "activation": "relu"}))
    n_frames = span + (kernel[1] + positions - 2) * stride + draw(st.integers(0, stride - 1))
    later = positions
    for _ in range(draw(st.integers(0, 2))):
        reach = draw(st.integers(1, min(5, later)))
        over = draw(st.sampled_from([("DepthwiseConv2D", {}), ("Conv2D", {"filters": 5}), ("MaxPooling2D", None)]))
        key = "pool_size" if over[1] is None else "kernel_size"
        parts.append((over[0], {**(over[1] or {}), key: (1, reach), "strides": 1}))
        later -= reach - 1
    parts.append((draw(st.sampled_from(["Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D"])), {}))
    parts.append(("Dense", {"units": 2}))
    times = draw(st.integers(1, positions))
    return {"shape": (bands, n_frames), "parts": parts, "seed": draw(st.integers(0, 2**16)), "hop": times * stride}


def drawn(n: int, *, seed: int, kind=recipes) -> list[dict]:
    """Return `n` recipes."""
    collected = []

    @hypothesis.seed(seed)
    @settings(
        max_examples=n, deadline=None, derandomize=False, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @hypothesis.given(kind())
    def collect(drawn):
        collected.append(drawn)

    collect()
    return collected


def cooked(*parts, shape=(N_MELS, N_FRAMES), seed=0) -> bytes:
    """A network of Keras layers as int8, whose weighted sums have deviation 1, so that all of int8's range is used."""
    rng = np.random.default_rng(seed)
    model = keras.Sequential([layers.Input(batch_shape=(1, *shape, 1)), *parts])
    first = x = extremes(shape, n=6, seed=seed)[..., None].astype(np.float32) / 40
    for layer in model.layers:
        if layer.get_weights():
            layer.set_weights([rng.normal(0, 1, w.shape) for w in layer.get_weights()])
            activation, layer.activation = layer.activation, keras.activations.linear
            deviation = np.std(layer(x)) + 1e-3
            layer.activation = activation
            layer.set_weights([w / deviation for w in layer.get_weights()])
        x = np.asarray(layer(x))
    return quantize.convert(model, first[..., 0])


def recipe(drawn: dict) -> bytes:
    """Return the network of what `recipes` drew."""
    parts = [getattr(layers, kind)(**options) for kind, options in drawn["parts"]]
    return cooked(*parts, shape=drawn["shape"], seed=drawn["seed"])
