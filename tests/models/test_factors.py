"""Factors of the int8 network are made of scales in float64, as TFLM's are: seen where a code hangs on their last bits.

Such codes are rare, one in thousands of windows. Each test finds an output scale, near the converter's own, at which
factors made in float32 would give others.
"""

from collections.abc import Callable

import numpy as np
import pytest

from gunshot.models import int8
from gunshot.models.int8.kernels import multiply, quantized
from gunshot.models.network import quantize
from tests.networks import conv, converted, extremes, layers

pytestmark = pytest.mark.slow
CODES = np.arange(-128, 128, dtype=np.int8).reshape(-1, 1, 1)


def operator(model: bytes, name: str):
    """Return the last operator of a name, its options and the tensors that go in and come out."""
    graph = int8.graph.Graph(model)
    op = [op for op in graph.operators if op.name == name][-1]
    return op.options, [graph.tensor(i) for i in op.inputs[:2]], graph.tensor(op.outputs[0])


def rescaled(model: bytes, scale: np.float32, codes: Callable) -> bytes:
    """Return the model with such a scale in place of `scale`; `codes` are those of a type and a scale."""
    bits = np.asarray(scale).view(np.int32)
    for other in (bits + 7 * np.arange(1, 100_000, dtype=np.int32)).view(np.float32):
        if (codes(np.float32, other) != codes(np.float64, other)).any():
            return model.replace(np.asarray(scale).tobytes(), other.tobytes())
    raise AssertionError(f"no such scale near {scale}")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("last", "name"), [
    ([layers.Flatten(), layers.Dense(3)], "FULLY_CONNECTED"),
    ([conv(3, 1), layers.Flatten()], "CONV_2D"),
])  # fmt: skip
def test_factors_of_sums(last, name, seed):
    model = converted(conv(9, 3, 2), conv(5, (15, 16)), *last, seed=seed)
    windows = extremes(seed=seed)
    _, (x, weights), y = operator(model, name)
    *first, layer = int8.Int8(model).layers
    before = windows[..., None]
    for each in first:
        before = each(before)
    sums = before.reshape(len(windows), -1).astype(np.int64) @ layer.weights.astype(np.int64) + layer.rescale.bias

    def codes(kind, scale):
        factors = [quantized(float(kind(x.scale) * kind(w)) / float(scale)) for w in np.broadcast_to(weights.scales, 3)]
        values = [multiply(sums[:, i], *factor) + y.zero_point for i, factor in enumerate(factors)]
        return np.clip(values, -128, 127)

    model = rescaled(model, y.scale, codes)
    np.testing.assert_array_equal(int8.Int8(model).outputs(windows), outputs(model, windows))


@pytest.mark.parametrize("seed", range(3))
def test_factors_of_a_leaky_relu(seed):
    parts = [conv(2, 1), layers.LeakyReLU(negative_slope=0.3), layers.Flatten()]
    ends = np.linspace(-4, 1.3, 50, dtype=np.float32).reshape(-1, 1, 1)
    model = converted(*parts, shape=(1, 1), seed=seed, spread=2, representative=ends)
    options, (x,), y = operator(model, "LEAKY_RELU")
    value = np.arange(-128, 128) - x.zero_point

    def codes(kind, scale):
        above, below = kind(x.scale) / kind(scale), kind(x.scale) * kind(np.float32(options.alpha)) / kind(scale)
        values = np.where(value >= 0, multiply(value, *quantized(above)), multiply(value, *quantized(below)))
        return np.clip(values + y.zero_point, -128, 127)

    model = rescaled(model, y.scale, codes)
    np.testing.assert_array_equal(int8.Int8(model).outputs(CODES), outputs(model, CODES))


def outputs(model: bytes, codes: np.ndarray) -> np.ndarray:
    """Return what TFLM gives, of any number of outputs."""
    tflm, rows = quantize.Tflm(model).interpreter, []
    for code in codes:
        tflm.set_input(code[None, ..., None], 0)
        tflm.invoke()
        rows.append(tflm.get_output(0).reshape(-1).copy())
    return np.array(rows)
