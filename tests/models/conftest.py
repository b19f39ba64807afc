"""Log-mels that are easy to tell apart, and a small network trained on them."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from gunshot.base import params
from gunshot.models.network import quantize, training
from tests.networks import CONTEXT, log_mels

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def section():
    """The section network of params.yaml with other values: section(depth=2)."""
    whole = params.load("network", path=ROOT / "params.yaml").network
    small = {"width": 1.0, "depth": 3, "epochs": 7, "batch_size": 64, "learning_rate": 0.006, "band_spread_db": 0.0,
             "chunks": 768}  # fmt: skip
    return lambda **values: whole.model_copy(update={**small, **values})


@pytest.fixture(scope="session")
def data():
    (x, y), (x_val, y_val) = log_mels(384, 0, CONTEXT), log_mels(160, 1, CONTEXT)
    return SimpleNamespace(x=x, y=y, x_val=x_val, y_val=y_val)


@pytest.fixture(scope="session")
def trained(data, section):
    model, history = training.train(data.x, data.y, data.x_val, data.y_val, np.random.default_rng(3), section())
    return SimpleNamespace(model=model, history=history)


@pytest.fixture(scope="session")
def artifact(data, trained) -> bytes:
    return quantize.convert(quantize.fixed(trained.model, n_frames=CONTEXT), data.x[:128])
