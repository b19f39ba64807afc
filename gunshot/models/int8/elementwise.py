"""What becomes of each int8 code in operators that take one code at a time: a table of 256."""

import numpy as np

from gunshot.models.int8.kernels import divide, high, multiply, quantized

CODES = np.arange(-128, 128)
NONE, RELU, RELU6 = 0, 1, 3  # fused activations in the file


def activation(kind: int, y) -> np.ndarray:
    """Return what a fused activation makes of the codes of tensor `y`."""
    if kind not in (NONE, RELU, RELU6):
        raise ValueError(f"fused activation {kind} must be {NONE}, {RELU} or {RELU6}: none, ReLU or ReLU6")
    six = y.zero_point + int(np.floor(np.float32(6) / y.scale + 0.5))
    return np.clip(CODES, -128 if kind == NONE else y.zero_point, six if kind == RELU6 else 127)


def relu(x, y, options) -> np.ndarray:
    """Return what RELU from tensor `x` to tensor `y` makes of the codes of `x`."""
    factor = quantized(float(x.scale) / float(y.scale))
    return np.maximum(multiply(CODES - x.zero_point, *factor) + y.zero_point, y.zero_point)


def leaky_relu(x, y, options) -> np.ndarray:
    """Return what LEAKY_RELU makes of the codes of `x`; alpha is a float32 in the file."""
    scale = float(x.scale) / float(y.scale)
    above, below = quantized(scale), quantized(float(x.scale) * float(np.float32(options.alpha)) / float(y.scale))
    value = CODES - x.zero_point
    return np.where(value >= 0, multiply(value, *above), multiply(value, *below)) + y.zero_point


def logistic(x, y, options) -> np.ndarray:
    """Return what LOGISTIC makes of the codes of `x`."""
    multiplier, shift = quantized(float(x.scale) * 2**27)  # to Q4.27
    radius = np.floor(15 * 2.0 ** (27 - shift))
    value = CODES - x.zero_point
    inside = np.abs(value) < radius
    score = _sigmoid(multiply(np.where(inside, value, 0), multiplier, shift))
    return np.where(inside, divide(score, 23) - 128, np.where(value < 0, -128, 127))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)), Q0.31, of x in Q4.27, int64: gemmlowp's logistic."""
    one, quarter, a = 2**31 - 1, 1 << 25, -np.abs(x)
    # exp(a): a Taylor series about -1/8 of what is left modulo 1/4, and a factor for each higher bit.
    left = (a & (quarter - 1)) - quarter
    t = (left << 4) + (1 << 28)
    t2 = high(t, t)
    series = divide(high(divide(high(t2, t2), 2) + high(t2, t), 715827883) + t2, 1)
    exp = 1895147668 + high(1895147668, t + series)
    for bit, factor in enumerate((1672461947, 1302514674, 790015084, 290630308, 39332535, 720401), start=25):
        exp = np.where((left - a) & (1 << bit), high(exp, factor), exp)
    # 1 / (1 + exp): three steps of Newton's, Q2.29.
    half = (np.where(a == 0, one, exp) + one + 1) >> 1
    y = 1515870810 + high(half, -1010580540)
    for _ in range(3):
        y = y + (high(y, (1 << 29) - high(half, y)) << 2)
    above = np.minimum(y << 1, one)
    return np.where(x == 0, 1 << 30, np.where(x > 0, above, one - above))
