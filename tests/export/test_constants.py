"""The export: C that compiles without a warning, holds the model's bytes, and decides as Python does."""

import hashlib
import json
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot.base import params
from gunshot.detect import detector
from gunshot.export import constants as export

P = params.load("audio", "features", "firmware", path=Path(__file__).parents[2] / "params.yaml")
MODEL = np.random.default_rng(0).bytes(1003)
REPORT = {
    "bytes": len(MODEL),
    "arena_bytes": 7584,
    "operators": ["AVERAGE_POOL_2D", "CONV_2D", "FULLY_CONNECTED", "LEAKY_RELU", "RESHAPE"],
    "chunk_threshold": 0.34375,
    "calibration": {"slope": 1.25, "intercept": -0.7128},
    "quantization": {
        "input_scale": 0.47942638397216797,
        "input_zero_point": 81,
        "output_scale": 0.1328125,
        "output_zero_point": -12,
    },
}
SETTINGS = detector.Settings(
    on=46, off=31, even=0, windows=2, hop=8, n_frames=33, first=2, stop=26, cooldown=17, min_rise=1602
)
OPERATING = {"logit": 3.0, "score": 0.9, "proof": "unproven", "settings": vars(SETTINGS)}
NETWORK = {name: f"/* {name}: Never edit. */\n" for name in ("network.h", "network.c")}
WARN = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
PROGRAM = r"""
#include <stdio.h>
#include "constants.h"
#include "model.h"

#define NAME(x) #x "\n"

int main(void) {
  printf("{\"SR\": %d, \"N_FFT\": %d, \"HOP_LENGTH\": %d, \"N_MELS\": %d, \"N_FRAMES\": %d,",
         GUNSHOT_SR, GUNSHOT_N_FFT, GUNSHOT_HOP_LENGTH, GUNSHOT_N_MELS, GUNSHOT_N_FRAMES);
  printf("\"FMIN\": %.9g, \"FMAX\": %.9g, \"CODE_POWERS\": [", GUNSHOT_FMIN, GUNSHOT_FMAX);
  const float powers[255] = GUNSHOT_CODE_POWERS;
  for (int i = 0; i < 255; i++) printf("%.9g%s", powers[i], i < 254 ? "," : "],");
  printf("\"SCORE_AGAINST\": %.9g, \"SCORE_FACTORS\": [", GUNSHOT_SCORE_AGAINST);
  const float factors[20] = GUNSHOT_SCORE_FACTORS;
  for (int i = 0; i < 20; i++) printf("%.9g%s", factors[i], i < 19 ? "," : "],");
  printf("\"DETECTOR_ON\": %d, \"DETECTOR_OFF\": %d, \"DETECTOR_WINDOWS\": %d, \"DETECTOR_HOP\": %d,",
         GUNSHOT_DETECTOR_ON, GUNSHOT_DETECTOR_OFF, GUNSHOT_DETECTOR_WINDOWS, GUNSHOT_DETECTOR_HOP);
  printf("\"DETECTOR_FIRST\": %d, \"DETECTOR_STOP\": %d, \"DETECTOR_MOST_RISES\": %d,", GUNSHOT_DETECTOR_FIRST,
         GUNSHOT_DETECTOR_STOP, GUNSHOT_DETECTOR_MOST_RISES);
  printf("\"DETECTOR_COOLDOWN\": %d, \"DETECTOR_MIN_RISE\": %d, \"DETECTOR_PAST\": %d, \"DETECTOR_SHARE\": %d,",
         GUNSHOT_DETECTOR_COOLDOWN, GUNSHOT_DETECTOR_MIN_RISE, GUNSHOT_DETECTOR_PAST, GUNSHOT_DETECTOR_SHARE);
  printf("\"DETECTOR_EVEN\": %d, \"DETECTOR_GROUPS\": %d, \"DETECTOR_SPAN\": %d, \"DETECTOR_NEAR\": %d,",
         GUNSHOT_DETECTOR_EVEN, GUNSHOT_DETECTOR_GROUPS, GUNSHOT_DETECTOR_SPAN, GUNSHOT_DETECTOR_NEAR);
  printf("\"DETECTOR_FASTEST\": %d, \"DETECTOR_SLOWEST\": %d,", GUNSHOT_DETECTOR_FASTEST, GUNSHOT_DETECTOR_SLOWEST);
  printf("\"DETECTOR_LEAD\": %d,", GUNSHOT_DETECTOR_LEAD);
  printf("\"DETECTOR_SIXTEENTHS\": %d, \"DETECTOR_MOST_RISE\": %d, \"ONSET_START\": %d, \"ONSET_LATER\": %d,",
         GUNSHOT_DETECTOR_SIXTEENTHS, GUNSHOT_DETECTOR_MOST_RISE, GUNSHOT_ONSET_START, GUNSHOT_ONSET_LATER);
  printf("\"DETECTOR_MOST_ONSETS\": %d,", GUNSHOT_DETECTOR_MOST_ONSETS);
  printf("\"DETECTOR_LOCAL\": %d, \"OPERATING_POINT_PROOF\": \"%s\",", GUNSHOT_DETECTOR_LOCAL,
         GUNSHOT_OPERATING_POINT_PROOF);
  printf("\"INPUT_SCALE\": %.9g, \"INPUT_ZERO_POINT\": %d, \"OUTPUT_SCALE\": %.9g, \"OUTPUT_ZERO_POINT\": %d,",
         GUNSHOT_INPUT_SCALE, GUNSHOT_INPUT_ZERO_POINT, GUNSHOT_OUTPUT_SCALE, GUNSHOT_OUTPUT_ZERO_POINT);
  printf("\"ARENA_BYTES\": %d, \"OPERATOR_COUNT\": %d, \"MODEL_BYTES\": %d,", GUNSHOT_ARENA_BYTES,
         GUNSHOT_OPERATOR_COUNT, GUNSHOT_MODEL_BYTES);
  printf("\"HEARTBEAT_MS\": %d, \"SPL_OFFSET\": %d, \"WAKE_DB\": %d,", GUNSHOT_HEARTBEAT_MS,
         GUNSHOT_SPL_OFFSET, GUNSHOT_WAKE_DB);
  printf("\"MODEL_CRC32\": %lu, \"MODEL_VERSION\": %llu, \"MODEL_SHA256\": \"%s\"}\n",
         (unsigned long)GUNSHOT_MODEL_CRC32, (unsigned long long)GUNSHOT_MODEL_VERSION, GUNSHOT_MODEL_SHA256);
  printf("%d\n", (int)((unsigned long)(const void *)gunshot_model % 16));
  for (unsigned i = 0; i < sizeof gunshot_model; i++) printf("%02x", gunshot_model[i]);
  printf("\n" GUNSHOT_OPERATORS(NAME));
  return 0;
}
"""


@pytest.mark.parametrize(("scale", "zero", "amin"), [(0.4128684, 66, 1e-8), (0.5, 72, 1e-10), (2.0, 10, 1e-3)])
def test_a_code_begins_at_its_power(scale, zero, amin):
    """Against doubles: a power is off by the rounding of a float32 logarithm, at most."""
    powers = np.array(export.code_powers(scale, zero, amin))
    begin_db = (np.arange(-127, 128) - 0.5 - zero) * scale
    floor = 10 * np.log10(amin)
    assert np.allclose(10 * np.log10(powers[begin_db > floor]), begin_db[begin_db > floor], atol=2e-5)
    assert (powers[begin_db <= floor] == 0).all() and (np.diff(powers) >= 0).all() and len(powers) == 255


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    out = tmp_path_factory.mktemp("generated")
    constants = export.constants(MODEL, REPORT, OPERATING, P)
    written = export.write(MODEL, REPORT, out, constants=constants, network=NETWORK)
    assert written == ["constants.h", "model.c", "model.h", "network.c", "network.h"]
    (out / "main.c").write_text(PROGRAM)
    return out, constants


def check(generated, compilers: list[list[str]]) -> None:
    out, constants = generated
    for command in compilers:
        done = subprocess.run(command, cwd=out, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    printed = subprocess.run([out / "main"], capture_output=True, text=True, check=True).stdout.splitlines()
    values = json.loads(printed[0])
    assert set(values) == set(constants)
    for name, value in constants.items():
        if isinstance(value, str | int):
            assert values[name] == value
        else:
            assert np.array_equal(np.float32(values[name]), np.float32(value)), name
    assert printed[1] == "0" and bytes.fromhex(printed[2]) == MODEL
    assert printed[3:] == REPORT["operators"]


C = ["gcc", "-std=c11", *WARN]
CXX = ["g++", "-std=c++17", *WARN]
BUILDS = {
    "c": [[*C, "model.c", "main.c", "-o", "main"]],
    "c++": [
        [*C, "-c", "model.c", "-o", "model.o"],
        [*CXX, "-x", "c++", "-c", "main.c", "-o", "main.o"],
        [*CXX, "main.o", "model.o", "-o", "main"],
    ],
}


@pytest.mark.parametrize("language", BUILDS)
def test_it_compiles_and_prints_what_python_wrote(generated, language):
    check(generated, BUILDS[language])


def test_constants_are_those_of_params_and_report(generated):
    _, values = generated
    assert values["N_FRAMES"] == 33 and values["SR"] == 16000 and values["MODEL_BYTES"] == 1003
    assert values["OPERATOR_COUNT"] == 5 and values["ARENA_BYTES"] == 7584
    assert (values["DETECTOR_ON"], values["DETECTOR_OFF"], values["DETECTOR_WINDOWS"]) == (46, 31, 2)
    assert (values["DETECTOR_COOLDOWN"], values["DETECTOR_MIN_RISE"], values["DETECTOR_HOP"]) == (17, 1602, 8)
    assert values["OPERATING_POINT_PROOF"] == "unproven" and values["DETECTOR_MOST_ONSETS"] == 32
    assert values["SCORE_AGAINST"] == pytest.approx(np.exp(0.7128)) and len(values["SCORE_FACTORS"]) == 20
    assert (
        values["WAKE_DB"] == 0 and values["HEARTBEAT_MS"] == 600_000 and round(values["SPL_OFFSET"] / 2**16) == 297
    )  # tenths of dB
    assert f"{values['MODEL_VERSION']:016x}" == values["MODEL_SHA256"][:16]
    assert values["MODEL_SHA256"] == hashlib.sha256(MODEL).hexdigest() and values["MODEL_CRC32"] == zlib.crc32(MODEL)


def test_constants_hold_all_that_the_detector_needs(generated):
    """All settings, and what follows from them; and negative ones in brackets, so that `x -NAME` compiles."""
    _, values = generated
    names = {f"DETECTOR_{name.upper()}" for name in vars(SETTINGS)} - {"DETECTOR_N_FRAMES"}
    assert names <= set(values) and (values["N_FRAMES"], values["DETECTOR_LEAD"]) == (33, 24)
    quiet = OPERATING | {"settings": vars(SETTINGS) | {"on": -3, "off": -70, "even": -70}}
    negative = export.constants(MODEL, REPORT, quiet, P)
    assert negative["DETECTOR_ON"] == -3 and export._literal(negative["DETECTOR_OFF"]) == "(-70)"


def test_the_same_input_gives_the_same_bytes(generated, tmp_path):
    out, constants = generated
    names = export.write(MODEL, REPORT, tmp_path, constants=constants, network=NETWORK)
    assert all((tmp_path / name).read_bytes() == (out / name).read_bytes() for name in names)
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    assert all("Never edit" in (out / name).read_text() for name in names)


@given(st.floats(-(2.0**90), 2.0**90, width=32, allow_subnormal=False))
def test_a_float_literal_is_the_same_float32(value):
    text = export._literal(value)
    assert text.endswith("f") and ("." in text or "e" in text) and np.float32(text[:-1]) == np.float32(value)


@pytest.mark.parametrize("name", ["ARENA_BYTES", "WAKE_DB"])
def test_a_build_may_want_another(generated, name):
    out, _ = generated
    asked = [*C, f"-DGUNSHOT_{name}=9", "-fsyntax-only", "-include", "constants.h", "-xc", "-"]
    text = f'_Static_assert(GUNSHOT_{name} == 9, "");'
    subprocess.run(asked, cwd=out, input=text, text=True, check=True)


def test_the_forest_has_constants_of_the_same_names(generated, tmp_path):
    _, network = generated
    report = {"calibration": {"slope": 2.0, "intercept": 0.5}}
    constants = export.forest_constants("text", report, OPERATING, P)
    assert set(network) - set(constants) == {"OPERATOR_COUNT"} and set(constants) < set(network)
    assert (constants["INPUT_SCALE"], constants["INPUT_ZERO_POINT"], constants["OUTPUT_SCALE"]) == (0.5, 72, 1 / 16)
    assert constants["SCORE_FACTORS"][0] == pytest.approx(np.exp(-2 / 16 / 2))
    assert constants["SCORE_AGAINST"] == pytest.approx(np.exp(-0.5)) and constants["MODEL_CRC32"] == zlib.crc32(b"text")
    assert export.write_forest("text", tmp_path, constants=constants) == ["forest/constants.h", "forest/forest.h"]
    assert (tmp_path / "forest" / "forest.h").read_text() == "text"
    assert "GUNSHOT_OPERATORS" not in (tmp_path / "forest" / "constants.h").read_text()
