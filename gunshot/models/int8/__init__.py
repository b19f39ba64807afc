"""The int8 artifact in NumPy and Numba, equal to TFLM to the byte, over a recording of any length in one pass.

What each operator means is TFLM's: its reference kernels, and how they prepare multipliers from the scales
(tensorflow/lite/kernels/internal and tensorflow/lite/micro/kernels in the repository tflite-micro).
"""

import numpy as np

from gunshot.models.int8.graph import Graph, line
from gunshot.models.int8.layers import NO_PADS

BLOCK = 256  # positions of a sweep that are computed at once: their patches stay in a core's cache
WINDOWS = 16  # single windows that are computed at once


class Int8:
    """A .tflite model, int8 in and out, whose operators follow each other in one line.

    What spans the map of a window, such as a fully connected layer, slides along the map of a recording. Sums of
    products of two int8 are whole numbers, so products of float matrices are exact: see `layers.EXACT`.

    Attributes
    ----------
    n_mels, n_frames : int
        Shape of a window.
    stride : int
        Frames from one position of `sweep` to the next.
    input_scale, input_zero_point, output_scale, output_zero_point : np.float32, int
        ``value = (code - zero_point) * scale``

    Raises
    ------
    ValueError
        An operator, padding, type or topology is not covered; the message names it.
    """

    def __init__(self, model: bytes):
        graph = Graph(model)
        first, last, steps = graph.tensor(graph.input), graph.tensor(graph.output), line(graph)
        _, self.n_mels, self.n_frames, _ = first.shape
        self.input_scale, self.input_zero_point = first.scale, first.zero_point
        self.output_scale, self.output_zero_point = last.scale, last.zero_point
        self.layers, self.stride = [layer for _, layer, _ in steps], 1
        for name, layer, shape in steps:
            if layer.pads != NO_PADS:  # along a recording a window has no edge
                raise ValueError(f"{name}: padding=SAME pads {shape[0]} x {shape[1]}; it must be VALID")
            if layer.size(*shape[:2])[1] == 1:  # a window has no second position: a recording may have one at each step
                layer.strides = (layer.strides[0], 1)
            self.stride *= layer.strides[1]

    def codes(self, x: np.ndarray) -> np.ndarray:
        """Return log-mels in dB as input codes, int8, same shape: round half to even, then saturate."""
        return np.clip(np.rint(x / self.input_scale) + self.input_zero_point, -128, 127).astype(np.int8)

    def outputs(self, codes: np.ndarray) -> np.ndarray:
        """Return the output codes, int8 [shape=(n, outputs)], of windows of codes [shape=(n, n_mels, n_frames)]."""
        self._check(codes, 3)
        if codes.shape[2] != self.n_frames:
            raise ValueError(f"codes shape={codes.shape} must have n_frames={self.n_frames} frames")
        parts = [self._run(codes[i : i + WINDOWS])[:, 0] for i in range(0, len(codes), WINDOWS)]
        return np.concatenate(parts) if parts else self._none()

    def sweep(self, codes: np.ndarray) -> np.ndarray:
        """Return the output codes, int8 [shape=(positions, outputs)], along codes [shape=(n_mels, frames)].

        Position i is the window that begins at frame i * `stride`; fewer frames than a window's have none.
        """
        self._check(codes, 2)
        positions = max(0, 1 + (codes.shape[1] - self.n_frames) // self.stride)
        parts = []
        for i in range(0, positions, BLOCK):
            count = min(BLOCK, positions - i)
            part = codes[:, i * self.stride : (i + count - 1) * self.stride + self.n_frames]
            parts.append(self._run(part[None])[0, :count])
        return np.concatenate(parts) if parts else self._none()

    def _check(self, codes: np.ndarray, ndim: int) -> None:
        if codes.dtype != np.int8 or codes.ndim != ndim or codes.shape[-2] != self.n_mels:
            raise ValueError(f"codes {codes.dtype} shape={codes.shape} must be int8, {ndim}-D, {self.n_mels} bands")

    def _none(self) -> np.ndarray:
        return self._run(np.zeros((1, self.n_mels, self.n_frames), np.int8))[:0, 0]

    def _run(self, codes: np.ndarray) -> np.ndarray:
        """Return the output codes [shape=(n, positions, outputs)] of codes [shape=(n, n_mels, frames)]."""
        x = np.ascontiguousarray(codes)[..., None]
        for layer in self.layers:
            x = layer(x)
        return x[:, 0]
