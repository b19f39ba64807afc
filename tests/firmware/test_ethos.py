"""What Vela, the real one, says of a network."""

import os

import numpy as np
import pytest

pytestmark = pytest.mark.slow

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from gunshot.base import params
from gunshot.device import ethos
from gunshot.models.network import network, quantize
from tests.firmware.backends import N_FRAMES, N_MELS, ROOT


@pytest.fixture(scope="module")
def model() -> bytes:
    section = params.load("network", path=ROOT / "params.yaml").network
    net = network.build(section.model_copy(update={"width": 0.5}), n_mels=N_MELS, n_frames=N_FRAMES)
    x = np.random.default_rng(1).normal(-60, 15, (32, N_MELS, N_FRAMES)).astype(np.float32)
    return quantize.convert(quantize.fixed(net, n_frames=N_FRAMES), x)


def test_estimate_is_consistent_and_all_runs_on_the_npu(model):
    figures = ethos.estimate(model)
    assert figures["accelerator"] == "ethos-u55-128" and figures["clock_hz"] == 500e6
    assert figures["inferences_per_s"] == pytest.approx(figures["clock_hz"] / figures["cycles"], rel=1e-4)
    assert figures["sram_bytes"] > N_MELS * N_FRAMES and 0.3 < figures["flash_bytes"] / len(model) < 1.5
    assert figures["cpu_operators"] == []
    assert ethos.estimate(model) == figures


def test_operators_left_to_the_cpu_are_named(model, monkeypatch):
    monkeypatch.setattr(ethos, "OPTIONS", (*ethos.OPTIONS, "--ignore-ops", "LEAKY_RELU"))
    assert ethos.estimate(model)["cpu_operators"] == ["LEAKY_RELU"]


def test_what_vela_does_not_compile_is_an_error(model):
    with pytest.raises(ValueError, match=r"vela, status -?\d+, must compile the model: .*; where it is missing, `pip"):
        ethos.estimate(model[: len(model) // 2])
