"""TFLM's arithmetic in whole numbers, and the loops over maps [shape=(n, height, width, channels)]; width is time.

All in one file: Numba's cache of a loop does not see a change in another.
"""

import numpy as np
from numba.extending import register_jitable

from gunshot.base.compiled import compiled


@register_jitable
def high(a, b):
    """Return a b / 2^31, halves up: SaturatingRoundingDoublingHighMul."""
    return (a * b + (1 << 30)) >> 31


@register_jitable
def divide(x, exponent):
    """Return x / 2^exponent, halves away from zero: RoundingDivideByPOT."""
    half = (1 << exponent) >> 1
    return (x + half - ((x < 0) & (half > 0))) >> exponent


@register_jitable
def multiply(x, multiplier, shift):
    """Return x multiplier / 2^31 2^shift, rounded twice: MultiplyByQuantizedMultiplier."""
    return divide(high(x << max(shift, 0), multiplier), max(-shift, 0))


def quantized(real: float) -> tuple[int, int]:
    """Return multiplier and shift of a factor: QuantizeMultiplier."""
    fraction, shift = np.frexp(np.float64(real))
    multiplier, shift = int(np.floor(fraction * 2**31 + 0.5)), int(shift)
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    return (multiplier, shift) if shift >= -31 else (0, 0)


@compiled()
def patches(x, kh, kw, sh, sw, out):
    """Write what lies under the kernel at each place to `out` [shape=(n, height, width, kh * kw * channels)]."""
    channels = x.shape[3]
    for n in range(out.shape[0]):
        for h in range(out.shape[1]):
            for w in range(out.shape[2]):
                to = out[n, h, w]
                for i in range(kh):
                    row = x[n, h * sh + i, w * sw : w * sw + kw].reshape(kw * channels)
                    for k in range(kw * channels):
                        to[i * kw * channels + k] = row[k]


@compiled()
def depthwise(x, weights, sh, sw, out):
    """Write sums over weights [shape=(kh, kw, channels)], int32, channel by channel, to `out`, int32."""
    kh, kw, channels = weights.shape
    for n in range(out.shape[0]):
        for h in range(out.shape[1]):
            for w in range(out.shape[2]):
                to = out[n, h, w]
                to[:] = 0
                for i in range(kh):
                    for j in range(kw):
                        row, weight = x[n, h * sh + i, w * sw + j], weights[i, j]
                        for c in range(channels):
                            to[c] += weight[c] * row[c]


@compiled()
def largest(x, kh, kw, sh, sw, table, out):
    """Write the table's entry for the largest code under the kernel, channel by channel, to `out`, int8."""
    for n in range(out.shape[0]):
        for h in range(out.shape[1]):
            for w in range(out.shape[2]):
                for c in range(out.shape[3]):
                    top = np.int8(-128)
                    for i in range(kh):
                        for j in range(kw):
                            top = max(top, x[n, h * sh + i, w * sw + j, c])
                    out[n, h, w, c] = table[top + 128]


@compiled()
def average(sums, count, table, out):
    """Write the table's entry for sums [shape=(n,)] over `count`, halves away from zero, to `out`, int8."""
    for i in range(len(sums)):
        half = count // 2
        mean = (sums[i] + half) // count if sums[i] > 0 else -((half - sums[i]) // count)
        out[i] = table[min(max(mean, -128), 127) + 128]


@compiled()
def requantize(sums, bias, multiplier, shift, zero_point, table, out):
    """Write the table's entry for each sum's code [shape=(n, filters)] to `out`, int8."""
    for i in range(sums.shape[0]):
        for j in range(sums.shape[1]):
            code = zero_point + multiply(np.int32(sums[i, j]) + bias[j], multiplier[j], shift[j])
            out[i, j] = table[min(max(code, -128), 127) + 128]
