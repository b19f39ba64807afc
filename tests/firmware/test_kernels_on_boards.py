"""The kernels as Cortex-M4, M7 and M55 run them in QEMU, with SMLAD and Helium: the same bytes as TFLM."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gunshot.device import emulator
from gunshot.export import network as network_c
from gunshot.models.network import quantize
from tests import networks
from tests.firmware.test_compiled import (
    ALL_KERNELS,
    ENOUGH,
    FIRMWARE,
    KINDS,
    inputs,
    of_context,
    of_kind,
    of_params,
    shape,
    stride,
)

pytestmark = [pytest.mark.firmware, pytest.mark.timeout(1800)]

PORTS = FIRMWARE.parent / "ports"
BOARDS = emulator.BOARDS
CASE = """
#define gunshot_network_weights weights_{i}
#define gunshot_network_trunk trunk_{i}
#define gunshot_network_head head_{i}
#include "{i}/network.c"

#include <stdalign.h>

#include "files.h"

/* A count of windows and their codes, from a file, to their outputs in another. */
bool case_{i}(int in, int out);
bool case_{i}(int in, int out) {{
  static alignas(16) int8_t arena[GUNSHOT_NETWORK_ARENA_BYTES];
  static int8_t codes[{frames}][{bands}], outputs[GUNSHOT_NETWORK_OUTPUTS];
  static int8_t vectors[GUNSHOT_NETWORK_POSITIONS][GUNSHOT_NETWORK_VECTOR];
  uint32_t n = 0;
  bool whole = files_read(in, &n, sizeof n) == sizeof n;
  for (; whole && n > 0; n--) {{
    whole = files_read(in, codes, sizeof codes) == sizeof codes;
    for (int last = GUNSHOT_NETWORK_POSITIONS - GUNSHOT_NETWORK_NEW, p = 0; p < last + GUNSHOT_NETWORK_NEW;
         p += GUNSHOT_NETWORK_NEW) {{
      const int at = p < last ? p : last;
      gunshot_network_trunk(&gunshot_network_weights, codes[at * GUNSHOT_NETWORK_STRIDE], arena, vectors[at]);
    }}
    gunshot_network_head(&gunshot_network_weights, vectors[0], arena, outputs);
    whole &= files_write(out, outputs, sizeof outputs);
  }}
  return whole;
}}
"""
MAIN = """
#include "files.h"

{declared}

int main(int argc, char **argv) {{
  const int in = files_open(argv[argc - 2], FILES_READ), out = files_open(argv[argc - 1], FILES_WRITE);
  const bool whole = {called};
  return !(files_close(out) && whole);
}}
"""


@dataclass(frozen=True)
class Cases:
    """Networks in one program of a board, so that QEMU starts once for all of them."""

    board: str
    models: list[bytes]
    folder: Path

    def gcc(self, *arguments: str | Path) -> None:
        core = re.search(r"set\(CORE (.*)\)", (PORTS / self.board / "port.cmake").read_text())[1].split()
        done = subprocess.run(
            ["arm-none-eabi-gcc", *core, "-std=c11", "-O3", "-Wall", "-Wextra", "-Werror", "-I", PORTS,
             "-I", PORTS / "cortex-m", *arguments],
            cwd=self.folder, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def compile(self) -> "Cases":
        """Compile all but the kernels."""
        names = [f"case_{i}" for i in range(len(self.models))]
        for i, model in enumerate(self.models):
            (self.folder / str(i)).mkdir()
            for name, text in network_c.sources(model, hop=stride(model)).items():
                (self.folder / str(i) / name).write_text(text)
            bands, frames = shape(model)
            (self.folder / f"case_{i}.c").write_text(CASE.format(i=i, bands=bands, frames=frames))
        declared = "\n".join(f"bool {name}(int in, int out);" for name in names)
        called = " && ".join(f"{name}(in, out)" for name in names)
        (self.folder / "main.c").write_text(MAIN.format(declared=declared, called=called))
        ports = [PORTS / "cortex-m/startup.c", PORTS / "semihosting/semihosting.c"]
        self.gcc("-I", FIRMWARE, "-DGUNSHOT_UART=0x40004000", "-c", "main.c", *(f"{name}.c" for name in names), *ports)
        return self

    def outputs(self, codes: list[np.ndarray], firmware: Path = FIRMWARE) -> list[np.ndarray]:
        """What the generated C, on these kernels, makes of each network's codes [shape=(n, n_mels, n_frames)]."""
        linked = ["-T", PORTS / "semihosting/memory.ld", "-T", PORTS / "cortex-m/sections.ld", "-o", "program"]
        objects = sorted(path.name for path in self.folder.glob("*.o") if path.name != "kernels.o")
        self.gcc("-nostartfiles", "--specs=nano.specs", "-I", firmware, firmware / "kernels.c", *objects, *linked)
        parts = [len(each).to_bytes(4, "little") + each.transpose(0, 2, 1).tobytes() for each in codes]
        (self.folder / "codes").write_bytes(b"".join(parts))
        program, files = self.folder / "program", ["codes", "outputs"]
        run = emulator.run(program, self.board, files, folder=self.folder, timeout_s=1200)
        assert run.code == 0, run.lines
        rows = np.fromfile(self.folder / "outputs", np.int8).reshape(-1, 2)
        return np.split(rows, np.cumsum([len(each) for each in codes])[:-1])


def same(actual: list[np.ndarray], expected: list[np.ndarray]) -> list[bool]:
    return [np.array_equal(*pair) for pair in zip(actual, expected, strict=True)]


def several(models: list[bytes], folders: pytest.TempPathFactory) -> SimpleNamespace:
    """A function that compiles networks for a board, codes for each, and what TFLM makes of them."""
    codes = [inputs(model, 200) for model in models]
    expected = [quantize.Tflm(model).outputs(each) for model, each in zip(models, codes, strict=True)]
    compiled = cache(lambda board: Cases(board, models, folders.mktemp(board)).compile())
    return SimpleNamespace(compiled=compiled, codes=codes, expected=expected)


@pytest.fixture(
    scope="module", params=[ALL_KERNELS, pytest.param(KINDS, marks=pytest.mark.exhaustive)], ids=["some", "all"]
)
def family(request, tmp_path_factory):
    """Networks that between them use all of the kernels, or those of all kinds."""
    return several([of_params(3, 0.25, True), of_context(71), *map(of_kind, request.param)], tmp_path_factory)


@pytest.mark.parametrize("board", BOARDS)
def test_family(family, board):
    assert min(len(np.unique(each)) for each in family.expected) >= ENOUGH
    matches = same(family.compiled(board).outputs(family.codes), family.expected)
    assert matches == [True] * len(matches)


@pytest.mark.sweep(1)
@pytest.mark.parametrize("board", BOARDS)
def test_networks_that_are_drawn(drawn, board, tmp_path_factory):
    """Maps and filters of any size, so that what is left over after whole vectors has any length."""
    kinds = {networks.recipes: 6, networks.contexts: 2}
    recipes = [r for kind, n in kinds.items() for r in networks.drawn(n, seed=drawn.getrandbits(32), kind=kind)]
    any_size = several(list(map(networks.recipe, recipes)), tmp_path_factory)
    matches = same(any_size.compiled(board).outputs(any_size.codes), any_size.expected)
    assert matches == [True] * len(matches), recipes


@pytest.mark.parametrize("n", [500, pytest.param(10_000, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("board", [pytest.param(board, marks=pytest.mark.sweep(1)) for board in BOARDS])
def test_the_promoted_network_on_ten_thousand_inputs(board, n, drawn, tmp_path):
    """Or on some of them."""
    model = (FIRMWARE.parents[1] / "models/quantized/model.tflite").read_bytes()
    codes = np.random.default_rng(drawn.getrandbits(32)).permutation(inputs(model, 10_000))
    expected = quantize.Tflm(model).outputs(codes[:n])
    assert len(expected) >= n and len(np.unique(expected)) >= ENOUGH
    assert same(Cases(board, [model], tmp_path).compile().outputs([codes[:n]]), [expected]) == [True]


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
    few = [codes[::4] for codes in family.codes]
    assert not all(same(family.compiled(board).outputs(few, tmp_path / "src"), [out[::4] for out in family.expected]))
