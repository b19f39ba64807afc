"""The firmware's port for web pages, run in Wasmtime: the same module, driven as a page drives it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gunshot.device.emulator import FirmwareError

ROOM = 4096  # samples that firmware/ports/web/page.c takes at once


@dataclass(frozen=True)
class Heard:
    """What the module gave: its messages' bytes, int8 codes frame by frame, int16 logits, scores in 1/65535."""

    messages: bytes
    codes: bytes
    logits: bytes
    scores: list[int]


def run(
    module: Path, pcm: np.ndarray, *, n_mels: int, session: int = 0, settings: tuple[int, int, int] | None = None
) -> Heard:
    """Return what a module of the preset `web` computes of int16 samples [shape=(n,)].

    `settings` are on, off and even of a `detector.Settings`, in the operating point's place.

    Raises
    ------
    FirmwareError
        It does not begin, or traps; or Wasmtime is not installed.
    FileNotFoundError
        There is no such module.
    """
    if not module.is_file():
        raise FileNotFoundError(f"{module}: no such module; make it with `make firmware`")
    try:
        import wasmtime
    except ModuleNotFoundError:
        raise FirmwareError("wasmtime must be installed to run the port web: `pip install gunshot[web]`") from None
    page = _Page(n_mels)
    try:
        page.load(module)
        page.hear(np.ascontiguousarray(pcm, "<i2"), session, settings)
    except (wasmtime.WasmtimeError, wasmtime.Trap) as e:
        raise FirmwareError(f"{module}: {str(e).splitlines()[0]}") from None
    return Heard(bytes(page.messages), bytes(page.codes), np.array(page.logits, "<i2").tobytes(), page.scores)


class _Page:
    """What stands in a web page's place."""

    def __init__(self, n_mels: int):
        import wasmtime

        self._n_mels, self._store = n_mels, wasmtime.Store()
        self.messages, self.codes, self.logits, self.scores = bytearray(), bytearray(), [], []

    def load(self, path: Path) -> None:
        """Compile a module, and give it the functions that it imports."""
        import wasmtime

        store, i32 = self._store, wasmtime.ValType.i32()
        module = wasmtime.Module.from_file(store.engine, str(path))
        given = {
            "frame": (self._frame, 1),
            "window": (self._window, 2),
            "message": (self._message, 2),
        }
        imports = [given[each.name] for each in module.imports]
        functions = [
            wasmtime.Func(store, wasmtime.FuncType([i32] * count, []), function) for function, count in imports
        ]
        self._exports = wasmtime.Instance(store, module, functions).exports(store)
        self._memory = self._exports["memory"]

    def hear(self, pcm: np.ndarray, session: int, settings: tuple[int, int, int] | None) -> None:
        """Play samples to the module, from the beginning of a session to its end."""
        store, exports = self._store, self._exports
        if status := exports["begin"](store, session):
            raise FirmwareError(f"status={status} of firmware/src/status.h must be 0")
        if settings:
            exports["settings"](store, *settings)
        place = exports["input"](store)
        for i in range(0, len(pcm), ROOM):
            part = pcm[i : i + ROOM]
            self._memory.write(store, part.tobytes(), place)
            exports["hear"](store, len(part))
        exports["end"](store)

    def _frame(self, codes: int) -> None:
        self.codes += self._memory.read(self._store, codes, codes + self._n_mels)

    def _window(self, logit: int, score: int) -> None:
        self.logits.append(logit)
        self.scores.append(score)

    def _message(self, place: int, size: int) -> None:
        self.messages += self._memory.read(self._store, place, place + size)
