"""driver.c built and spoken to: the firmware's C on this machine, under AddressSanitizer and UBSan."""

import struct
import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np

from gunshot import detector, export, features_c, models, params

ROOT = Path(__file__).parents[2]
FIRMWARE = ROOT / "firmware"
WARN = ["-std=c11", "-Wall", "-Wextra", "-Werror"]
SANITIZE = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
DSP = FIRMWARE / "third_party/cmsis/dsp"
FFT = [
    *(
        f"TransformFunctions/arm_{name}"
        for name in ("rfft_fast_f32", "rfft_fast_init_f32", "cfft_f32", "cfft_init_f32")
    ),
    *("TransformFunctions/arm_cfft_radix8_f32", "TransformFunctions/arm_bitreversal2"),
    *(f"CommonTables/arm_{name}" for name in ("common_tables", "const_structs", "mve_tables")),
]
PARTS = ["alert", "crc32", "detector", "frames", "gunshot", "log_mel", "measures", "ring"]

p = params.load("audio", "chunks", "features", "detector", "firmware", path=ROOT / "params.yaml")
p.detector = p.detector.model_copy(update={"windows": 2})
p.firmware = p.firmware.model_copy(update={"heartbeat_s": 2.0})
ARTIFACT = b"no model"
N_MELS, N_FRAMES = p.features.n_mels, 33
REPORT = {
    "arena_bytes": 16, "operators": [], "operating_point": 0.5, "calibration": {"slope": 0.05, "intercept": -0.7},
    "quantization": {"input_scale": 0.49, "input_zero_point": 76, "output_scale": 1.0, "output_zero_point": 0},
}  # fmt: skip


def jump(codes: np.ndarray) -> np.ndarray:
    """The driver's model of codes [shape=(n, n_mels, n_frames)]: how far the loudest frame is above the mean."""
    loud = codes.astype(np.int64).sum(axis=1)
    place, above = loud.argmax(axis=1), (loud.max(axis=1) * N_FRAMES - loud.sum(axis=1)) // (N_FRAMES * N_MELS)
    return np.where((place >= SETTINGS.first) & (place < SETTINGS.stop), above - 30, -60)


MODEL = models.Model(
    Path("m.tflite"), REPORT, lambda x: jump(MODEL.codes(x)), step=1.0, code_db=float(np.float32(0.49)), code_zero=76
)
SETTINGS: detector.Settings = MODEL.settings(p, n_mels=N_MELS, n_frames=N_FRAMES, logit=0.0)


def gcc(*arguments: str | Path) -> None:
    """Run gcc; what it says is the failure."""
    done = subprocess.run(["gcc", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def includes(generated: Path) -> list[str]:
    """Where headers are; those of CMSIS may warn."""
    system = [DSP / "Include", FIRMWARE / "third_party/cmsis/core/Include"]
    own = [FIRMWARE / "src", FIRMWARE / "ports", generated]
    return [*(f"-I{folder}" for folder in own), *(f"-isystem{folder}" for folder in system), "-D__GNUC_PYTHON__"]


def fft(out: Path) -> Path:
    """CMSIS-DSP's float FFT as one object."""
    sources = [DSP / "Source" / f"{source}.c" for source in FFT]
    whole = out / "fft.c"
    whole.write_text("".join(f'#include "{source}"\n' for source in sources))
    gcc("-O3", "-w", "-c", whole, f"-I{DSP / 'PrivateInclude'}", *includes(out), "-o", out / "fft.o")
    return out / "fft.o"


def generate(out: Path) -> None:
    """Write constants.h and tables.c of the driver's model and settings."""
    operating = {"proof": "unproven", "settings": vars(SETTINGS)}
    export.write(ARTIFACT, REPORT, out, constants=export.constants(ARTIFACT, REPORT, operating, p))
    features_c.write(out, p)


def build_host(out: Path) -> Path:
    """Build the host port, with the driver's model."""
    generate(out)
    here, parts = Path(__file__), [*PARTS, "main"]
    sources = [
        here.with_name("jump.c"),
        FIRMWARE / "ports/host/port.c",
        *(FIRMWARE / f"src/{part}.c" for part in parts),
    ]
    gcc(*WARN, *SANITIZE, *includes(out), *sources, out / "tables.c", fft(out), "-lm", "-o", out / "gunshot")
    return out / "gunshot"


class Driver:
    """The running driver; an error of a sanitizer ends it, and is shown by the request that follows."""

    def __init__(self, out: Path):
        generate(out)
        own = [Path(__file__).with_name(name) for name in ("driver.c", "jump.c")]
        sources = [*own, *(FIRMWARE / f"src/{part}.c" for part in PARTS)]
        gcc(*WARN, *SANITIZE, *includes(out), *sources, out / "tables.c", fft(out), "-lm", "-o", out / "driver")
        self._errors = (out / "errors").open("w+")
        self._run = subprocess.Popen(
            [out / "driver"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )

    def ask(self, letter: str, payload: bytes = b"") -> bytes:
        """Return the driver's answer."""
        with suppress(BrokenPipeError):
            self._run.stdin.write(letter.encode() + struct.pack("<I", len(payload)) + payload)
            self._run.stdin.flush()
        size = self._run.stdout.read(4)
        if len(size) < 4:
            self._errors.seek(0)
            raise AssertionError(f"the driver ended: {self._errors.read()[:2000]}")
        return self._run.stdout.read(*struct.unpack("<I", size))

    def close(self) -> None:
        """End it; what was leaked fails."""
        with suppress(BrokenPipeError):
            self._run.stdin.close()
        code = self._run.wait()
        self._errors.seek(0)
        assert code == 0, self._errors.read()[:2000]
