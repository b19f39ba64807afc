"""Score and sound level as a device states them: whole numbers, the same ones on every machine.

firmware/src/measures.c computes them alike. Libraries of C and NumPy round exponentials and logarithms each in its own
way. So a score is a product of float32 factors, which are computed here once and generated into the firmware, and a
level comes from a logarithm by squaring, in integers.
"""

import numpy as np

from gunshot.base import audio

FACTORS = 20  # bits of a sum of logits: 32 windows of int16 each
MOST_SCORE = 65535
BITS = 16  # of a logarithm, after its point
TENTHS = round(100 * np.log10(2) * 2**BITS)  # of dB in a factor of 2, with so many bits after the point


def score_factors(calibration: dict[str, float], step: float, *, windows: int) -> tuple[float, tuple[float, ...]]:
    """Return by what a sum of logits becomes a score: exp(-intercept), and exp(-slope logit) for 2**i steps of a sum.

    Both are float32: nothing is below its least normal number or above its largest.

    Parameters
    ----------
    calibration : slope and intercept, of scores.calibration.calibrate
    step : of a logit
    windows : whose logits are summed
    """
    steps = np.exp2(np.arange(FACTORS)) * float(np.float32(step)) / windows
    limits = np.finfo(np.float32)
    with np.errstate(over="ignore"):
        exact = np.exp(-np.r_[calibration["intercept"], calibration["slope"] * steps])
    against, *factors = np.clip(exact, limits.tiny, limits.max).astype(np.float32).tolist()
    return against, tuple(factors)


def score(logit_sum: int, against: float, factors: tuple[float, ...]) -> int:
    """Return the calibrated score, in 1/65535, of a sum of logits in steps, by what `score_factors` returns."""
    product = np.float32(1)
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        for i, factor in enumerate(factors):
            if abs(logit_sum) >> i & 1:
                product *= np.float32(factor)
        odds = np.float32(against) / product if logit_sum < 0 else np.float32(against) * product
        return int(np.float32(MOST_SCORE) / (np.float32(1) + odds) + np.float32(0.5))


def spl_offset(full_scale_pa: float) -> int:
    """Return the level of a sample of 1, in tenths of dB SPL with BITS bits after the point.

    `full_scale_pa` is pascal at digital full scale, the microphone's sensitivity.
    """
    return round(10 * float(audio.spl_db(np.int64(1), full_scale_pa=full_scale_pa)) * 2**BITS)


def spl_tenths(squares: int, count: int, offset: int) -> int:
    """Return tenths of dB SPL of the mean of squares of samples, given their sum; a mean below 1 counts as 1.

    `offset` is what `spl_offset` returns.
    """
    octaves = _log2(squares) - _log2(count) if squares > count else 0
    return (octaves * TENTHS + (offset << BITS) + (1 << 2 * BITS - 1)) >> 2 * BITS


def _log2(x: int) -> int:
    """Return the binary logarithm of x > 0, with BITS bits after its point: a square has twice the logarithm."""
    out = x.bit_length() - 1
    y = x >> (out - 31) if out > 31 else x << (31 - out)  # 1 to 2, with 31 bits after its point
    for _ in range(BITS):
        y = y * y >> 31
        out = 2 * out + (y >> 32)
        y >>= y >> 32
    return out
