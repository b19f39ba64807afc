"""driver.c built and spoken to: the firmware's C on this machine, under AddressSanitizer and UBSan."""

import struct
import subprocess
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from gunshot.base import params
from gunshot.detect import detector, listener
from gunshot.export import constants
from gunshot.export import log_mel as log_mel_c
from gunshot.models.model import Model
from tests.firmware.host_c import CMSIS, GCC, HERE, ROOT, SANITIZE, SRC, STRICT, dsp, run

PARTS = ["crc32", "detector", "frames", "gunshot", "log_mel", "measures", "message", "ring", "site", "wake"]
HOST = ["wav_port.c", "wav.c", "number.c", "host/stdio.c"]

p = params.load("audio", "chunks", "context", "features", "detector", "firmware", path=ROOT / "params.yaml")
p.detector = p.detector.model_copy(update={"windows": 2})
p.firmware = p.firmware.model_copy(update={"heartbeat_s": 2.0})
ARTIFACT = b"no model"
N_MELS, N_FRAMES = p.features.n_mels, p.context.frames
REPORT = {
    "arena_bytes": 16, "operators": [], "chunk_threshold": 0.5, "calibration": {"slope": 0.05, "intercept": -0.7},
    "quantization": {"input_scale": 0.49, "input_zero_point": 76, "output_scale": 1.0, "output_zero_point": 0},
}  # fmt: skip


def jump(codes: np.ndarray) -> np.ndarray:
    """The driver's model of codes [shape=(n, n_mels, n_frames)].

    It is how far the loudest frame where training has shots is above the mean of all.
    """
    loud = codes.astype(np.int64).sum(axis=1)
    above = loud[:, SETTINGS.first : SETTINGS.stop].max(axis=1) * N_FRAMES - loud.sum(axis=1)
    return np.maximum(above, 0) // (N_FRAMES * N_MELS) - 30


MODEL = Model(
    Path("m.tflite"), REPORT, lambda x: jump(MODEL.codes(x)), (N_MELS, N_FRAMES), step=1.0,
    code_db=float(np.float32(0.49)), code_zero=76,
)  # fmt: skip
SETTINGS: detector.Settings = listener.settings(MODEL, p, logit=0.0)
WAKE_DB = 10
SLEEPER = SimpleNamespace(  # the sections of one that sleeps
    **vars(p)
    | {"detector": p.detector.model_copy(update={"windows": 1})}
    | {"firmware": p.firmware.model_copy(update={"wake_db": WAKE_DB})}
)


def shots(starts_s: list[float], duration_s: float, seed: int = 0, peak: int = 20_000) -> np.ndarray:
    """Decaying bursts at known times in noise, int16."""
    rng = np.random.default_rng(seed)
    y = 60 * rng.standard_normal(int(duration_s * p.audio.sr))
    for start_s in starts_s:
        part = y[round(start_s * p.audio.sr) :][:800]
        part += peak * rng.standard_normal(len(part)) * np.exp(-np.arange(len(part)) / 200)
    return np.clip(y, -32768, 32767).astype(np.int16)


def generate(out: Path, p: SimpleNamespace = p) -> None:
    """Write constants.h and tables.c of the driver's model and settings."""
    operating = {"proof": "unproven", "settings": vars(listener.settings(MODEL, p, logit=0.0))}
    constants.write(ARTIFACT, REPORT, out, constants=constants.constants(ARTIFACT, REPORT, operating, p), network={})
    log_mel_c.write(out, p)


def build(out: Path, name: str, *sources: Path, p: SimpleNamespace = p) -> Path:
    """Compile the firmware's parts, the driver's model and more sources to a program, under sanitizers."""
    generate(out, p)
    parts = [HERE / "jump.c", *(SRC / f"{part}.c" for part in PARTS), out / "tables.c"]
    includes = ["-I", SRC, "-I", SRC.parent / "ports", "-I", out, "-isystem", CMSIS / "dsp" / "Include"]
    fft = dsp()
    linked = [fft, f"-Wl,-rpath,{fft.parent}", "-lm", "-o", out / name]
    run(*GCC, *STRICT, *SANITIZE, *includes, *sources, *parts, *linked)
    return out / name


def build_host(out: Path) -> Path:
    """Build the host's program."""
    ports = SRC.parent / "ports"
    return build(out, "gunshot", SRC / "main.c", *(ports / name for name in HOST))


class Driver:
    """The running driver; an error of a sanitizer ends it, and is shown by the request that follows."""

    def __init__(self, out: Path, p: SimpleNamespace = p):
        program = build(out, "driver", HERE / "driver.c", p=p)
        self._errors = (out / "errors").open("w+")
        self._run = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors)

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
