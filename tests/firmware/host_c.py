"""The firmware's front end for this machine: generated headers, CMSIS-DSP, a library or a program by gcc."""

import runpy
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from gunshot.base import params
from gunshot.detect import detector
from gunshot.export import constants
from gunshot.export import log_mel as log_mel_c

ROOT = Path(__file__).parents[2]
HERE, SRC, CMSIS = ROOT / "tests" / "firmware", ROOT / "firmware" / "src", ROOT / "firmware" / "third_party" / "cmsis"
P = params.load("audio", "features", "firmware", path=ROOT / "params.yaml")
SCALE, ZERO = 0.491299748420715332, 76  # a float32
SETTINGS = detector.Settings(
    on=33, off=-6, even=-6, windows=1, hop=8, n_frames=71, first=12, stop=43, cooldown=17, min_rise=1043
)
REPORT = {
    "arena_bytes": 8736,
    "operators": ["CONV_2D"],
    "calibration": {"slope": 1.0, "intercept": 0.0},
    "quantization": {"input_scale": SCALE, "input_zero_point": ZERO, "output_scale": 0.1, "output_zero_point": -1},
}
GCC = ["gcc", "-std=c11", "-O2", "-D__GNUC_PYTHON__"]  # as CMSIS-DSP names a host
STRICT = ["-Wall", "-Wextra", "-Werror"]
SANITIZE = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
KEPT = tempfile.TemporaryDirectory(prefix="dsp")
DSP = [
    *("TransformFunctions/arm_rfft_fast_f32.c", "TransformFunctions/arm_rfft_fast_init_f32.c"),
    *("TransformFunctions/arm_cfft_f32.c", "TransformFunctions/arm_cfft_init_f32.c"),
    *("TransformFunctions/arm_cfft_radix8_f32.c", "TransformFunctions/arm_bitreversal2.c"),
    *("CommonTables/arm_common_tables.c", "CommonTables/arm_const_structs.c"),
]


def run(*command, **kept) -> subprocess.CompletedProcess:
    done = subprocess.run(list(map(str, command)), capture_output=True, **kept)
    assert done.returncode == 0, done.stderr.decode()
    return done


def with_features(**changed) -> SimpleNamespace:
    """The sections that an export reads, some keys of features changed."""
    return SimpleNamespace(audio=P.audio, firmware=P.firmware, features=P.features.model_copy(update=changed))


def generate(out: Path, p=P, settings: detector.Settings = SETTINGS) -> Path:
    """Write what the stage export writes, of no particular model."""
    operating = {"proof": "unproven", "settings": vars(settings)}
    constants.write(b"model", REPORT, out, constants=constants.constants(b"model", REPORT, operating, p), network={})
    log_mel_c.write(out, p)
    return out


@cache
def dsp() -> Path:
    """Return CMSIS-DSP's real FFT as a library, compiled once in a process."""
    folder = Path(KEPT.name)
    runpy.run_path(str(CMSIS.parent / "fetch.py"))["main"]()
    sources = [CMSIS / "dsp" / "Source" / name for name in DSP]
    includes = ["-isystem", CMSIS / "dsp" / "Include", "-isystem", CMSIS / "dsp" / "PrivateInclude"]
    run(*GCC, "-w", "-fPIC", "-shared", *includes, *sources, "-o", folder / "libdsp.so", "-lm")
    return folder / "libdsp.so"


def build(generated: Path, out: Path, fft: Path, *flags: str) -> Path:
    """Compile the front end and front_end.c to `out`."""
    sources = [HERE / "front_end.c", SRC / "log_mel.c", SRC / "frames.c", generated / "tables.c"]
    includes = ["-I", SRC, "-I", generated, "-isystem", CMSIS / "dsp" / "Include"]
    run(*GCC, *STRICT, *flags, *includes, *sources, fft, f"-Wl,-rpath,{fft.parent}", "-lm", "-o", out)
    return out
