"""The compiled front end, model and detector, as NumPy arrays: what runtime.h declares."""

import platform
import threading
from pathlib import Path
from typing import NamedTuple

import cffi
import numpy as np

HERE = Path(__file__).parent
BLOCK = 1 << 14  # samples that go in at once
SHOT = np.dtype(
    [(name, "<i8") for name in ("onset", "decided", "incident")]
    + [(name, "<i4") for name in ("logit_sum", "peak", "score", "spl_db")]
)
V3 = {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}  # of x86-64-v3, as Linux names them


class Heard(NamedTuple):
    """What samples gave.

    `codes` of frames, int8 [shape=(frames, n_mels)]; `logits` of windows, int16 [shape=(windows,)], in steps; `shots`
    of the type SHOT [shape=(shots,)].
    """

    codes: np.ndarray
    logits: np.ndarray
    shots: np.ndarray


class Library:
    """A shared library of the port `runtime`.

    Attributes
    ----------
    facts : dict
        What `gunshot_runtime_facts` of runtime.h holds.

    Raises
    ------
    OSError
        There is no such library, or it is another machine's.
    """

    def __init__(self, path: Path, header: Path):
        self.ffi = cffi.FFI()
        lines = header.read_text(encoding="utf-8").splitlines(keepends=True)
        self.ffi.cdef("".join(line for line in lines if not line.startswith("#")))
        self.functions = self.ffi.dlopen(str(path))
        facts = self.ffi.new("gunshot_runtime_facts *")
        self.functions.gunshot_runtime_state(facts)
        self.facts = {name: getattr(facts, name) for name in dir(facts)}
        self.facts["model_sha256"] = self.ffi.string(facts.model_sha256).decode()
        self.lock = threading.Lock()  # one caller at a time, whichever the stream; cffi lets other threads go on


class Stream:
    """A detector on one stream; `open` tells whether an incident is.

    Parameters
    ----------
    settings : on, off and even of the detector, as sums of logits in steps; the operating point's where it is None

    Raises
    ------
    RuntimeError
        The library is damaged.
    """

    def __init__(self, library: Library, settings: tuple[int, int, int] | None = None):
        self._library, facts, ffi = library, library.facts, library.ffi
        self._memory = ffi.new("uint64_t[]", facts["stream_bytes"] // 8 + 1)
        self._stream = ffi.cast("gunshot_runtime_stream *", self._memory)
        frames = max(BLOCK // facts["hop_length"] + 1, facts["tail"])
        windows = frames // facts["hop"] + 1
        self._codes = np.zeros((frames, facts["n_mels"]), np.int8)
        self._logits = np.zeros(windows, np.int16)
        self._shots = np.zeros(windows * facts["most_shots"], SHOT)
        self._heard = ffi.new("gunshot_runtime_heard *")
        self._heard.codes = ffi.from_buffer("int8_t[]", self._codes)
        self._heard.logits = ffi.from_buffer("int16_t[]", self._logits)
        self._heard.shots = ffi.cast("gunshot_runtime_shot *", ffi.from_buffer(self._shots))
        chosen = settings or tuple(facts[name] for name in ("on", "off", "even"))
        with library.lock:
            status = library.functions.gunshot_runtime_begin(self._stream, *chosen)
        if status:
            raise RuntimeError(
                f"status={status} of the compiled model must be 0: the package is damaged, install it anew"
            )

    @property
    def open(self) -> bool:
        """Return whether an incident is open."""
        return bool(self._heard.open)

    def hear(self, samples: np.ndarray) -> Heard:
        """Return what further samples give, int16 [shape=(n,)], n of any size."""
        samples, parts = np.ascontiguousarray(samples, np.int16), []
        for i in range(0, len(samples), BLOCK):
            part = samples[i : i + BLOCK]
            given = self._library.ffi.from_buffer("int16_t[]", part)
            with self._library.lock:
                self._library.functions.gunshot_runtime_hear(self._stream, given, len(part), self._heard)
                parts.append(self._taken())
        return Heard(*map(np.concatenate, zip(*parts, strict=True))) if len(parts) > 1 else self._only(parts)

    def finish(self) -> Heard:
        """Return what a recording gives that has ended: its last frame goes on until all of it was heard."""
        with self._library.lock:
            self._library.functions.gunshot_runtime_finish(self._stream, self._heard)
            return self._taken()

    def _taken(self) -> Heard:
        """Return a copy of what the library wrote, under the lock: it writes there again."""
        heard = self._heard
        return Heard(
            self._codes[: heard.frames].copy(), self._logits[: heard.windows].copy(), self._shots[: heard.count].copy()
        )

    def _only(self, parts: list[Heard]) -> Heard:
        return parts[0] if parts else Heard(self._codes[:0].copy(), self._logits[:0].copy(), self._shots[:0].copy())


def installed() -> Library:
    """Return the library of this package for this machine: one for processors with AVX2 where it is one.

    Raises
    ------
    ImportError
        There is none: the wheel is another machine's.
    """
    machine = platform.machine().lower()
    names = {"x86_64": "x86-64", "amd64": "x86-64", "arm64": "aarch64"}
    path = HERE / f"{names.get(machine, machine)}.so"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in HERE.glob("*.so"))) or "none"
        raise ImportError(f"machine={machine!r} must be that of the wheel, {there}: install the wheel for {machine}")
    faster = path.with_name(f"{path.stem}-v3.so")
    return Library(faster if faster.is_file() and _flags() >= V3 else path, HERE / "runtime.h")


def _flags() -> set[str]:
    """Return what this machine's processor can do, in Linux' words; nothing where it does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())
