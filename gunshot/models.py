"""A model of any kind behind one interface: scores of windows, and of a recording at a hop."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

BLOCK = 4096  # windows that are scored at once: memory stays bounded


@dataclass(frozen=True)
class Model:
    """A trained model.

    ``score`` takes log-mels [shape=(n, n_mels, n_frames)] in dB and returns scores for GUN [shape=(n,)].
    ``stride`` is the hop, in frames, at which one pass over a longer log-mel gives scores; 0 where
    the model takes single windows only.
    """

    path: Path
    operating_point: float
    score: Callable[[np.ndarray], np.ndarray]
    one_pass: Callable[[np.ndarray], np.ndarray] | None = None
    stride: int = 0

    def sweep(self, log_mel: np.ndarray, *, hop: int, n_frames: int) -> np.ndarray:
        """Return the scores of all windows of a log-mel [shape=(n_mels, frames)] at a hop of `hop` frames.

        Raises
        ------
        ValueError
            The hop is no multiple of the network's stride in time.
        """
        if self.one_pass and hop % self.stride:
            raise ValueError(f"detector.hop={hop} must be a multiple of the network's stride in time, {self.stride}")
        windows = max(0, 1 + (log_mel.shape[1] - n_frames) // hop)
        out = np.empty(windows, np.float32)
        for i in range(0, windows, BLOCK):
            count = min(BLOCK, windows - i)
            part = log_mel[:, i * hop : (i + count - 1) * hop + n_frames]
            if self.one_pass:
                out[i : i + count] = self.one_pass(part)[:: hop // self.stride]
            else:
                cut = np.lib.stride_tricks.sliding_window_view(part, n_frames, axis=1)[:, ::hop]
                out[i : i + count] = self.score(np.moveaxis(cut, 1, 0))
        return out


def report_of(path: Path) -> Path:
    """Return where the report of a model lies: report.json beside it, with its operating_point."""
    return path.with_name("report.json")


def point(path: Path) -> float:
    """Return the operating point of a model, which was chosen on the validation split.

    Raises
    ------
    FileNotFoundError
        The model or its report is missing.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such model; make it with `dvc repro` or get it with `dvc pull`")
    if not report_of(path).exists():
        raise FileNotFoundError(f"{report_of(path)}: no such file; it states the model's operating_point")
    return json.loads(report_of(path).read_text())["operating_point"]


def load(path: Path) -> Model:
    """Return the model in a .tflite, .keras or .joblib file.

    Raises
    ------
    FileNotFoundError
        As for `point`.
    ValueError
        The file is of no known kind.
    """
    threshold = point(path)
    match path.suffix:
        case ".tflite":
            from gunshot import quantize

            return Model(path, threshold, quantize.load(path).score)
        case ".keras":
            from gunshot import network

            net = network.load(path)
            return Model(
                path,
                threshold,
                score=lambda x: network.score(net, x)[:, 0],
                one_pass=lambda x: network.score(net, x[None])[0],
                stride=network.stride_of(net),
            )
        case ".joblib":
            from gunshot import forest

            return Model(path, threshold, partial(forest.score, forest.load(path)))
        case suffix:
            raise ValueError(f"{path}: suffix={suffix!r} must be .tflite, .keras or .joblib")
