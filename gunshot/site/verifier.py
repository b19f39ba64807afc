"""The site verifier: of a window that may hold a shot, whether it is one of the place's own sounds.

It is linear in three numbers for each code of the trunk's vectors: the highest, the lowest and the sum over a window's
positions. firmware/src/site.c computes the same, integer for integer, on the same bytes. It is no second network.
"""

import struct
import zlib
from dataclasses import dataclass, replace

import numpy as np

from gunshot.detect.detector import Settings
from gunshot.models.model import Model
from gunshot.site.trunk import Trunk

VERSION = 1
MOST_BYTES = 200  # on a device
POOLS = 3  # highest, lowest, sum
HEADER = struct.Struct("<IBBBBQiiii")  # CRC-32 of what follows; version, positions, width, pools; model; settings, bias
ASKED = 0  # logit, in steps, from which on a window is asked about: below it no incident opens or goes on
MOST_BIAS = 2**30 - 1  # no sum of weights and codes is as high, whatever its width
OWN = -1  # logit, in steps, that a window counts as at most where it is the place's own


@dataclass(frozen=True)
class Verifier:
    """The weights of a site verifier.

    Attributes
    ----------
    weights : np.ndarray [shape=(POOLS, width)], int8, of the highest, the lowest and the sum
    bias : what is added, int32
    positions : of a window's vectors
    """

    weights: np.ndarray
    bias: int
    positions: int

    def margins(self, vectors: np.ndarray) -> np.ndarray:
        """Return how far windows are on the side of shots, int64 [shape=(n,)]; below 0 they are the place's own.

        Parameters
        ----------
        vectors : np.ndarray [shape=(n, positions, width)], int8
        """
        return self.margins_of(pooled(vectors))

    def margins_of(self, pools: np.ndarray) -> np.ndarray:
        """Return what `margins` does, of what `pooled` gives, int64 [shape=(n, POOLS, width)]."""
        return np.einsum("npw,pw->n", pools, self.weights.astype(np.int64)) + self.bias

    def decide(self, logits: np.ndarray, at: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Return logits in steps, int16 [shape=(windows,)]: OWN at most where a window is the place's own.

        Parameters
        ----------
        logits : np.ndarray [shape=(windows,)], int16, in steps
        at : np.ndarray [shape=(n,)], the windows whose logit is ASKED or more
        vectors : np.ndarray [shape=(n, positions, width)], int8, of those
        """
        out = logits.copy()
        own = at[self.margins(vectors) < 0] if len(at) else at
        out[own] = np.minimum(out[own], OWN)
        return out


def pooled(vectors: np.ndarray) -> np.ndarray:
    """Return the highest, lowest and sum of each code over positions, int64 [shape=(n, POOLS, width)].

    The first two count as many times as there are positions, so that all three are of one size.

    Parameters
    ----------
    vectors : np.ndarray [shape=(n, positions, width)], int8
    """
    v = vectors.astype(np.int64)
    return np.stack([v.shape[1] * v.max(axis=1), v.shape[1] * v.min(axis=1), v.sum(axis=1)], axis=1)


def packed(verifier: Verifier, settings: Settings, *, model: int) -> bytes:
    """Return what a device keeps of a site: when its detector decides there, and the verifier.

    Parameters
    ----------
    model : the number of the model whose trunk it is for, as messages have it

    Raises
    ------
    ValueError
        It takes more than MOST_BYTES.
    """
    pools, width = verifier.weights.shape
    numbers = model, settings.on, settings.off, settings.even, verifier.bias
    rest = HEADER.pack(0, VERSION, verifier.positions, width, pools, *numbers)[4:] + verifier.weights.tobytes()
    out = struct.pack("<I", zlib.crc32(rest)) + rest
    if len(out) > MOST_BYTES:
        raise ValueError(f"a site verifier of width={width}, {len(out)} bytes, must take {MOST_BYTES} at most")
    return out


def unpacked(content: bytes, *, model: int) -> Verifier:
    """Return the verifier in what `packed` gave.

    Raises
    ------
    ValueError
        It is cut off or altered, too long for a device, of another version, or for another model; or it has numbers
        that no packing writes: thresholds out of order, or a bias beyond MOST_BIAS.
    """
    if len(content) < HEADER.size or zlib.crc32(content[4:]) != struct.unpack_from("<I", content)[0]:
        raise ValueError(f"a site verifier of {len(content)} bytes is cut off or altered; calibrate again")
    _, version, positions, width, pools, own, on, off, even, bias = HEADER.unpack_from(content)
    expected = (VERSION, POOLS, HEADER.size + POOLS * width)
    if (version, pools, len(content)) != expected or len(content) > MOST_BYTES:
        raise ValueError(f"a site verifier of version={version}, {len(content)} bytes is unknown; calibrate again")
    if own != model:
        raise ValueError(f"a site verifier for the trunk of model {own:016x} must be for {model:016x}; calibrate again")
    if not even <= off <= on or abs(bias) > MOST_BIAS:
        raise ValueError(
            f"a site verifier of on={on}, off={off}, even={even}, bias={bias} must have even <= off <= on, and "
            f"{MOST_BIAS} at most as the size of its bias; calibrate again"
        )
    weights = np.frombuffer(content, np.int8, offset=HEADER.size).reshape(pools, width)
    return Verifier(weights, bias, positions)


def verified(model: Model, verifier: Verifier, trunk: Trunk) -> Model:
    """Return a model whose windows count as no shot where a site's verifier says that they are the place's own.

    ValueError where the verifier is for other vectors than the trunk's.
    """
    if (verifier.positions, verifier.weights.shape[1]) != (trunk.positions, trunk.width):
        shape = f"{verifier.positions} x {verifier.weights.shape[1]}"
        raise ValueError(
            f"{model.path}: vectors of {trunk.positions} x {trunk.width} must be {shape}, as the site verifier's; "
            "calibrate again with this model"
        )

    def decided(logits: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return logits of windows of codes [shape=(n, n_mels, n_frames)], in steps of the model's, as float32."""
        steps = np.rint(logits / model.step).astype(np.int64)
        at = np.flatnonzero(steps >= ASKED)
        steps = verifier.decide(steps, at, trunk.vectors(codes[at]))
        return (steps * model.step).astype(np.float32)

    def one_pass(log_mel: np.ndarray) -> np.ndarray:
        logits, codes = model.one_pass(log_mel), model.codes(log_mel)
        cut = np.lib.stride_tricks.sliding_window_view(codes, model.window[1], axis=1)[:, :: model.stride]
        return decided(logits, np.moveaxis(cut, 1, 0)[: len(logits)])

    return replace(model, logit=lambda x: decided(model.logit(x), model.codes(x)), one_pass=one_pass)
