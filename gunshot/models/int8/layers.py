"""The layers on maps of codes, int8 [shape=(n, height, width, channels)]; width is time.

Calling a layer takes no account of its pads, which a map that slides has none of.
"""

from dataclasses import dataclass, field

import numpy as np

from gunshot.models.int8 import elementwise, kernels

NO_PADS = ((0, 0), (0, 0))
EXACT = 2**24  # float32 holds all whole numbers up to here, so sums of them are exact in any order


@dataclass
class Rescale:
    """Sums to codes: bias, multiplier and shift [shape=(filters,)], int64, and the output's zero point."""

    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    zero_point: int

    def __call__(self, sums: np.ndarray, table: np.ndarray, out: np.ndarray) -> None:
        """Write the codes of sums, any real type, to `out`, int8, each replaced by its entry in `table`."""
        rows = (-1, len(self.bias))
        constants = self.bias, self.multiplier, self.shift, self.zero_point
        kernels.requantize(sums.reshape(rows), *constants, table, out.reshape(rows))


@dataclass
class Layer:
    """What the kinds of layers share: a window of `kernel`, moved by `strides`, then a `table` for each code."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    table: np.ndarray = field(default_factory=lambda: elementwise.CODES.astype(np.int8), kw_only=True)
    filters = 0  # as many as come in
    pads = NO_PADS  # before and behind the height, and the width
    outside = 0  # the code of 0, for sums over pads

    def then(self, table: np.ndarray) -> None:
        """Put what a table makes of each code behind this layer."""
        self.table = np.clip(table, -128, 127).astype(np.int8)[self.table.astype(int) + 128]

    def size(self, *shape: int) -> tuple[int, ...]:
        """Return the height and width of the output."""
        each = zip(shape, self.pads, self.kernel, self.strides, strict=True)
        return tuple((n + sum(pad) - k) // s + 1 for n, pad, k, s in each)

    def empty(self, x: np.ndarray, dtype) -> np.ndarray:
        """Return room for the output."""
        return np.empty((len(x), *self.size(*x.shape[1:3]), self.filters or x.shape[3]), dtype)


@dataclass
class Conv(Layer):
    """CONV_2D, and FULLY_CONNECTED: weights [shape=(height * width * channels, filters)]."""

    weights: np.ndarray
    rescale: Rescale

    def __post_init__(self):
        self.filters = self.weights.shape[1]
        largest = 128 * int(np.abs(self.weights.astype(np.int64)).sum(axis=0).max())
        self.weights = self.weights.astype(np.float32 if largest < EXACT else np.float64)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the map that comes of a map."""
        out = self.empty(x, np.int8)
        patches = np.empty((*out.shape[:3], len(self.weights)), self.weights.dtype)
        kernels.patches(x, *self.kernel, *self.strides, patches)
        sums = patches.reshape(-1, len(self.weights)) @ self.weights
        self.rescale(sums, self.table, out)
        return out


@dataclass
class Depthwise(Layer):
    """DEPTHWISE_CONV_2D, and MEAN, whose weights are 1: weights [shape=(height, width, filters)]."""

    weights: np.ndarray
    rescale: Rescale

    def __post_init__(self):
        self.filters = self.weights.shape[2]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the map that comes of a map."""
        sums, out = self.empty(x, np.int32), self.empty(x, np.int8)
        kernels.depthwise(np.repeat(x, self.filters // x.shape[3], axis=3), self.weights, *self.strides, sums)
        self.rescale(sums, self.table, out)
        return out


@dataclass
class AveragePool(Layer):
    """AVERAGE_POOL_2D."""

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the map that comes of a map."""
        sums, out = self.empty(x, np.int32), self.empty(x, np.int8)
        kernels.depthwise(x, np.ones((*self.kernel, x.shape[3]), np.int32), *self.strides, sums)
        kernels.average(sums.reshape(-1), self.kernel[0] * self.kernel[1], self.table, out.reshape(-1))
        return out


@dataclass
class MaxPool(Layer):
    """MAX_POOL_2D and REDUCE_MAX."""

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the map that comes of a map."""
        out = self.empty(x, np.int8)
        kernels.largest(x, *self.kernel, *self.strides, self.table, out)
        return out
