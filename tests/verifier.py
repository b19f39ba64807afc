"""A verifier of which nobody can say from outside what it answers: its logit weighs all that it hears."""

import json
from pathlib import Path

import numpy as np

from gunshot.detect import opinion
from gunshot.models.model import Model

REPORT = {"chunk_threshold": 0.5, "calibration": {"slope": 0.05, "intercept": 2.0}}
POINT = -45.0  # its threshold, as a logit


def a_verifier(folder: Path, p: opinion.Sections) -> Model:
    """A verifier whose logit is the mean of its log-mel, each frame and band weighed by another number."""
    path, weight = folder / "verifier.tflite", np.random.default_rng(3).uniform(0, 1, (32, p.verifier.frames))
    folder.mkdir(exist_ok=True)
    path.write_bytes(b"a verifier")
    path.with_name("operating.json").write_text(json.dumps({"logit": POINT, "score": 0.5}))

    def logit(x: np.ndarray) -> np.ndarray:
        return ((x * weight).sum(axis=(1, 2)) / weight.sum()).astype(np.float32)

    return Model(path, REPORT, logit, window=weight.shape)
