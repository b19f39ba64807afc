"""The kernels as Cortex-M4, M7 and M55 run them in QEMU, with SMLAD and Helium: the same bytes as TFLM."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from gunshot.device import emulator
from gunshot.export import network as network_c
from gunshot.models.network import quantize
from tests import networks
from tests.firmware.test_compiled import ENOUGH, FIRMWARE, KINDS, inputs, of_kind, of_params

pytestmark = [pytest.mark.firmware, pytest.mark.timeout(1800)]

PORTS = FIRMWARE.parent / "ports"
BOARDS = [port for port in emulator.PORTS if port != "host"]
MAIN = """
#include <stdalign.h>

#include "files.h"
#include "network.h"

/* A file of codes, window after window, to a file of outputs. */
int main(int argc, char **argv) {
  static alignas(16) int8_t arena[GUNSHOT_NETWORK_ARENA_BYTES];
  static int8_t codes[CELLS], outputs[GUNSHOT_NETWORK_OUTPUTS];
  const int in = files_open(argv[argc - 2], FILES_READ), out = files_open(argv[argc - 1], FILES_WRITE);
  bool written = true;
  while (files_read(in, codes, sizeof codes) == sizeof codes) {
    gunshot_network_run(&gunshot_network_weights, codes, arena, outputs);
    written &= files_write(out, outputs, sizeof outputs);
  }
  return !(files_close(out) && written);
}
"""


def on_board(board: str, model: bytes, codes: np.ndarray, folder: Path, firmware: Path = FIRMWARE) -> np.ndarray:
    """What the generated C, compiled as for a board, makes of codes [shape=(n, n_mels, n_frames)]."""
    core = re.search(r"set\(CORE (.*)\)", (PORTS / board / "port.cmake").read_text())[1].split()
    for name, text in (network_c.sources(model) | {"main.c": MAIN}).items():
        (folder / name).write_text(text)
    ports = [PORTS / "cortex-m/startup.c", PORTS / "semihosting/semihosting.c"]
    sources = ["main.c", "network.c", firmware / "kernels.c", *ports]
    command = [
        "arm-none-eabi-gcc", *core, "-std=c11", "-O3", "-Wall", "-Wextra", "-Werror", f"-DCELLS={codes[0].size}",
        "-nostartfiles", "--specs=nano.specs", "-I.", "-I", firmware, "-I", PORTS, "-I", PORTS / "cortex-m", *sources,
        "-T", PORTS / "semihosting/memory.ld", "-T", PORTS / "cortex-m/sections.ld", "-o", "program",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder / "codes").write_bytes(np.ascontiguousarray(codes.transpose(0, 2, 1)).tobytes())
    run = emulator.run(folder / "program", board, ["codes", "outputs"], folder=folder, timeout_s=1200)
    assert run.code == 0, run.lines
    return np.frombuffer((folder / "outputs").read_bytes(), np.int8).reshape(len(codes), -1)


@pytest.fixture(scope="module")
def family():
    """Networks of all kinds: model, codes, what TFLM makes of them."""
    models = [of_params(3, 0.25, True), *map(of_kind, KINDS)]
    found = [(model, inputs(model, 200)) for model in models]
    return [(model, codes, quantize.Tflm(model).outputs(codes)) for model, codes in found]


@pytest.mark.parametrize("board", BOARDS)
def test_family(family, board, tmp_path):
    for model, codes, expected in family:
        assert len(np.unique(expected)) >= ENOUGH
        np.testing.assert_array_equal(on_board(board, model, codes, tmp_path), expected)


@pytest.mark.parametrize("board", BOARDS)
def test_networks_that_are_drawn(board, tmp_path):
    """Maps and filters of any size, so that what is left over after whole vectors has any length."""

    @given(drawn=networks.recipes())
    @settings(
        max_examples=10, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate],
    )  # fmt: skip
    def check(drawn):
        model = networks.recipe(drawn)
        codes = inputs(model, 200)
        np.testing.assert_array_equal(on_board(board, model, codes, tmp_path), quantize.Tflm(model).outputs(codes))

    check()


@pytest.mark.parametrize("board", BOARDS)
def test_the_promoted_network_on_ten_thousand_inputs(board, tmp_path):
    model = (FIRMWARE.parents[1] / "models/quantized/model.tflite").read_bytes()
    codes = inputs(model, 10_000)
    expected = quantize.Tflm(model).outputs(codes)
    assert len(codes) >= 10_000 and len(np.unique(expected)) >= ENOUGH
    np.testing.assert_array_equal(on_board(board, model, codes, tmp_path), expected)


MUTATIONS = {
    "takes the even twice": ("mps2-an386", "sxtb16 %0, %1, ror #8", "sxtb16 %0, %1"),
    "leaves what is left over": ("mps2-an386", "for (; x < end; x++, weights++) sum", "for (; x > end; x++) sum"),
    "adds beyond the last": ("mps3-an547", "vctp8q((uint32_t)n)", "vctp8q(16)"),
    "takes a filter twice": ("mps3-an547", "vldrbq_z_s8(weights + 3 * n, there)", "vldrbq_z_s8(weights, there)"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_wrong_kernel_is_seen(family, tmp_path, name):
    board, right, wrong = MUTATIONS[name]
    shutil.copytree(FIRMWARE, tmp_path / "src")
    text = (tmp_path / "src" / "dot.h").read_text()
    assert text.count(right) == 1
    (tmp_path / "src" / "dot.h").write_text(text.replace(right, wrong))
    assert any(
        (on_board(board, model, codes, tmp_path, tmp_path / "src") != expected).any()
        for model, codes, expected in family
    )
