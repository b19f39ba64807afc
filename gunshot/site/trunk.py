"""The int8 network's feature layer: the vectors that a device has of each window before it decides."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from gunshot.export.network.layout import plan
from gunshot.models.int8 import Int8
from gunshot.models.model import Model

AT_ONCE = 16  # windows that are computed together: their patches stay in a core's cache


class Trunk:
    """The layers of a network up to its feature layer, to the byte as the firmware computes them.

    Attributes
    ----------
    positions, width : of a window's vectors: how many, and of how many codes each
    """

    def __init__(self, model: bytes, *, hop: int):
        layout = plan(model, hop=hop)
        self._layers = Int8(model).layers[: len(layout.trunk.steps)]
        self.positions, self.width = layout.positions, layout.vector

    def vectors(self, codes: np.ndarray) -> np.ndarray:
        """Return the vectors of windows, int8 [shape=(n, positions, width)].

        Parameters
        ----------
        codes : np.ndarray [shape=(n, n_mels, n_frames)], int8, of log-mels
        """
        parts = [np.zeros((0, self.positions, self.width), np.int8)]
        for i in range(0, len(codes), AT_ONCE):
            x = np.ascontiguousarray(codes[i : i + AT_ONCE])[..., None]
            for layer in self._layers:
                x = layer(x)
            parts.append(x[:, 0])
        return np.concatenate(parts)


def of_model(model: Model, *, hop: int) -> Trunk | None:
    """Return the trunk of an int8 network whose windows are `hop` frames apart; None of a model of another kind."""
    return _read(model.path, model.path.stat().st_mtime_ns, hop) if model.path.suffix == ".tflite" else None


@lru_cache(4)
def _read(path: Path, _changed: int, hop: int) -> Trunk:
    return Trunk(path.read_bytes(), hop=hop)
