"""A backend of firmware/src/model.h as a library of this machine, called through ctypes."""

import ctypes
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from gunshot.base import params
from gunshot.site import verifier

ROOT = Path(__file__).parents[2]
SRC = ROOT / "firmware" / "src"
P = params.load("audio", "features", "firmware", path=ROOT / "params.yaml")
N_MELS, N_FRAMES = 32, 71
WARN = ("-Wall", "-Wextra", "-Werror", "-O2", "-fPIC")
NAMES = re.findall(r"^  GUNSHOT_(\w+)", (SRC / "status.h").read_text(), flags=re.MULTILINE)
SETTINGS = {
    "on": 33, "off": -6, "even": -6, "windows": 1, "hop": 8, "n_frames": N_FRAMES, "first": 12, "stop": 36,
    "cooldown": 17, "min_rise": 1043,
}  # fmt: skip
OPERATING = {"proof": "unproven", "settings": SETTINGS}
CALIBRATION = {"slope": 1.25, "intercept": -0.5}


class Artifact(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_void_p), ("size", ctypes.c_size_t)]


def linked(folder: Path, sources: list[Path], *flags: str) -> Path:
    """Compile C11 and C++17 as the firmware is compiled, and return a library."""
    folder.mkdir(parents=True, exist_ok=True)
    objects = []
    for source in sources:
        language = ["g++", "-std=c++17", "-fno-exceptions", "-fno-rtti"]
        command = language if source.suffix == ".cc" else ["gcc", "-std=c11"]
        objects.append(str(folder / f"{source.stem}.o"))
        done = subprocess.run(
            [*command, *WARN, *flags, "-I", str(SRC), "-c", str(source), "-o", objects[-1]],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    library = folder / "model.so"
    subprocess.run(["gcc", "-shared", "-Wl,-Bsymbolic", "-o", library, *objects], check=True)
    return library


class Backend:
    """What model.h declares; codes are band by band, as Python has them."""

    def __init__(self, library: Path):
        self.c = ctypes.CDLL(str(library))
        self.c.gunshot_model_init.argtypes = [Artifact, ctypes.c_void_p, ctypes.c_size_t]
        self.c.gunshot_model_score.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_int16)]
        self.arena_bytes = ctypes.c_size_t.in_dll(self.c, "gunshot_model_arena_bytes").value
        own = Artifact.in_dll(self.c, "gunshot_model_artifact")
        self.artifact = ctypes.string_at(own.bytes, own.size)

    def init(
        self, artifact: bytes | None = None, *, arena: int | None = None, skew: int = 0, arena_skew: int = 0
    ) -> str:
        """Init with these bytes, by default its own, `skew` bytes off 16, and an arena of `arena` bytes."""
        artifact = self.artifact if artifact is None else artifact
        self.bytes, at = aligned(np.frombuffer(artifact, np.uint8), skew)
        size = self.arena_bytes if arena is None else arena
        self.arena, memory = aligned(np.zeros(size, np.uint8), arena_skew)
        return NAMES[self.c.gunshot_model_init(Artifact(at, len(artifact)), memory, size)]

    def score(self, codes: np.ndarray) -> str | int:
        """The logit of codes [shape=(n_mels, n_frames)], or a status that is not OK."""
        logit, rows = ctypes.c_int16(), np.ascontiguousarray(codes.T)
        assert rows.dtype == np.int8
        status = NAMES[self.c.gunshot_model_score(rows.ctypes.data, ctypes.byref(logit))]
        return logit.value if status == "OK" else status

    def logits(self, codes: np.ndarray) -> list[str | int]:
        return [self.score(window) for window in codes]


def refuses(backend: Backend) -> None:
    """Assert that a backend without vectors, built with site.c, takes no site's bytes, whatever shape they state."""
    c = backend.c
    positions, width = ctypes.c_size_t(9), ctypes.c_size_t(9)
    c.gunshot_model_vectors(ctypes.byref(positions), ctypes.byref(width))
    assert (positions.value, width.value) == (0, 0)
    settings = SimpleNamespace(on=9, off=5, even=0)
    for shape in ((13, 31), (1, 1), (13, 0)):
        one = verifier.Verifier(np.zeros((3, shape[1]), np.int8), 0, shape[0])
        content = verifier.packed(one, settings, model=7)
        assert NAMES[c.gunshot_site_use(content, ctypes.c_size_t(len(content)), ctypes.c_uint64(7))] == "TYPE"
        assert not c.gunshot_site_thresholds(*[ctypes.byref(ctypes.c_int32())] * 3)


def aligned(data: np.ndarray, skew: int) -> tuple[np.ndarray, int]:
    """A copy that begins `skew` bytes after a multiple of 16, and its address; what is around it is not 0."""
    around = np.full(len(data) + 64, 0xA5, np.uint8)
    start = -around.ctypes.data % 16 + 16 + skew
    around[start : start + len(data)] = data
    return around, around.ctypes.data + start
