"""The export: C that compiles without a warning, holds the model's bytes, and decides as Python does."""

import copy
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot import export, params

P = params.load("audio", "features", "detector", path=Path(__file__).parents[2] / "params.yaml")
MODEL = np.random.default_rng(0).bytes(1003)
REPORT = {
    "bytes": len(MODEL),
    "arena_bytes": 7584,
    "operators": ["AVERAGE_POOL_2D", "CONV_2D", "FULLY_CONNECTED", "LEAKY_RELU", "LOGISTIC"],
    "operating_point": 0.34375,
    "quantization": {
        "input_scale": 0.47942638397216797,
        "input_zero_point": 81,
        "output_scale": 0.00390625,
        "output_zero_point": -128,
    },
}
WARN = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
PROGRAM = r"""
#include <stdio.h>
#include "constants.h"
#include "model.h"

#define NAME(x) #x "\n"

int main(void) {
  printf("{\"SR\": %d, \"CHUNK_LENGTH\": %d, \"N_FFT\": %d, \"HOP_LENGTH\": %d, \"N_MELS\": %d, \"N_FRAMES\": %d,",
         GUNSHOT_SR, GUNSHOT_CHUNK_LENGTH, GUNSHOT_N_FFT, GUNSHOT_HOP_LENGTH, GUNSHOT_N_MELS, GUNSHOT_N_FRAMES);
  printf("\"FMIN\": %.9g, \"FMAX\": %.9g, \"AMIN\": %.9g, \"COOLDOWN_S\": %.9g, \"DETECTOR_HOP\": %d,",
         GUNSHOT_FMIN, GUNSHOT_FMAX, GUNSHOT_AMIN, GUNSHOT_COOLDOWN_S, GUNSHOT_DETECTOR_HOP);
  printf("\"INPUT_SCALE\": %.9g, \"INPUT_ZERO_POINT\": %d, \"OUTPUT_SCALE\": %.9g, \"OUTPUT_ZERO_POINT\": %d,",
         GUNSHOT_INPUT_SCALE, GUNSHOT_INPUT_ZERO_POINT, GUNSHOT_OUTPUT_SCALE, GUNSHOT_OUTPUT_ZERO_POINT);
  printf("\"OPERATING_POINT_CODE\": %d, \"ARENA_BYTES\": %d, \"OPERATOR_COUNT\": %d, \"MODEL_BYTES\": %d,",
         GUNSHOT_OPERATING_POINT_CODE, GUNSHOT_ARENA_BYTES, GUNSHOT_OPERATOR_COUNT, GUNSHOT_MODEL_BYTES);
  printf("\"MODEL_SHA256\": \"%s\"}\n", GUNSHOT_MODEL_SHA256);
  printf("%d\n", (int)((unsigned long)(const void *)gunshot_model % 16));
  for (unsigned i = 0; i < sizeof gunshot_model; i++) printf("%02x", gunshot_model[i]);
  printf("\n" GUNSHOT_OPERATORS(NAME));
  return 0;
}
"""


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    out = tmp_path_factory.mktemp("generated")
    constants = export.constants(MODEL, REPORT, P)
    assert export.write(MODEL, REPORT, out, constants=constants) == ["constants.h", "model.c", "model.h"]
    (out / "main.c").write_text(PROGRAM)
    return out, constants


def check(generated, compilers: list[list[str]]) -> None:
    out, constants = generated
    for command in compilers:
        done = subprocess.run(command, cwd=out, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    printed = subprocess.run([out / "main"], capture_output=True, text=True, check=True).stdout.splitlines()
    found = json.loads(printed[0])
    assert set(found) == set(constants)
    for name, value in constants.items():
        expected = float(np.float32(value)) if isinstance(value, float) else value
        assert found[name] == pytest.approx(expected, rel=1e-8) if isinstance(value, float) else found[name] == value
    assert printed[1] == "0" and bytes.fromhex(printed[2]) == MODEL
    assert printed[3:] == REPORT["operators"]


C = ["gcc", "-std=c11", *WARN]
BUILDS = {"c": [[*C, "model.c", "main.c", "-o", "main"]]}
if shutil.which("g++"):
    CXX = ["g++", "-std=c++17", *WARN]
    BUILDS["c++"] = [
        [*C, "-c", "model.c", "-o", "model.o"],
        [*CXX, "-x", "c++", "-c", "main.c", "-o", "main.o"],
        [*CXX, "main.o", "model.o", "-o", "main"],
    ]


@pytest.mark.parametrize("language", BUILDS)
def test_it_compiles_and_prints_what_python_wrote(generated, language):
    check(generated, BUILDS[language])


def test_constants_are_those_of_params_and_report(generated):
    _, found = generated
    assert found["N_FRAMES"] == 33 and found["SR"] == 16000 and found["MODEL_BYTES"] == 1003
    assert found["OPERATOR_COUNT"] == 5 and found["ARENA_BYTES"] == 7584
    assert found["OPERATING_POINT_CODE"] == 88 - 128
    assert found["MODEL_SHA256"] == hashlib.sha256(MODEL).hexdigest()


def test_the_same_input_gives_the_same_bytes(generated, tmp_path):
    out, constants = generated
    names = export.write(MODEL, REPORT, tmp_path, constants=constants)
    assert all((tmp_path / name).read_bytes() == (out / name).read_bytes() for name in names)
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    assert all("Never edit" in (out / name).read_text() for name in names)


def code(point: float, scale: float = 1 / 256, zero: int = -128) -> int:
    report = copy.deepcopy(REPORT)
    report["operating_point"] = point
    report["quantization"] |= {"output_scale": scale, "output_zero_point": zero}
    return export.constants(MODEL, report, P)["OPERATING_POINT_CODE"]


def score(code: int, scale: float = 1 / 256, zero: int = -128) -> np.float32:
    return np.float32(code - zero) * np.float32(scale)


@given(st.one_of(st.floats(0, 0.996), st.integers(0, 255).map(lambda k: k / 256)), st.sampled_from([1 / 256, 0.0039]))
def test_the_code_is_the_smallest_whose_score_reaches_the_point(point, scale):
    found = code(point, scale)
    if score(127, scale) < np.float32(point):
        assert found == 127
        return
    assert -128 <= found <= 127 and score(found, scale) >= np.float32(point)
    assert found == -128 or score(found - 1, scale) < np.float32(point)


@given(st.integers(-128, 127), st.floats(0.001, 0.02), st.integers(-128, 100))
def test_the_point_of_a_score_is_its_code(value, scale, zero):
    assert code(float(score(value, scale, zero)), scale, zero) == value


@pytest.mark.parametrize(("point", "expected"), [(0.0, -128), (1e-9, -127), (0.5, 0), (255 / 256, 127), (0.999, 127)])
def test_known_codes(point, expected):
    assert code(point) == expected


def test_a_point_just_above_a_score_takes_the_next_code():
    assert code(float(np.nextafter(np.float32(0.5), np.float32(1)))) == 1


@given(st.floats(-(2.0**90), 2.0**90, width=32, allow_subnormal=False))
def test_a_float_literal_is_the_same_float32(value):
    text = export._literal(value)
    assert text.endswith("f") and ("." in text or "e" in text) and np.float32(text[:-1]) == np.float32(value)
