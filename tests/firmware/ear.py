"""A package as a library of this process."""

import ctypes
from pathlib import Path
from typing import ClassVar

import numpy as np

OPENED, CLOSED = 1, 4  # gunshot_heard_state


class Heard(ctypes.Structure):
    """gunshot_heard."""

    _fields_: ClassVar = [
        ("incident", ctypes.c_uint32), ("state", ctypes.c_int), ("shots", ctypes.c_uint32),
        ("onset", ctypes.c_uint64), ("decided", ctypes.c_uint64), ("score", ctypes.c_float),
        ("level_db", ctypes.c_float), ("onsets", ctypes.POINTER(ctypes.c_uint64)), ("onset_count", ctypes.c_size_t),
    ]  # fmt: skip


class Ear:
    """The package's functions by ctypes. `calls` are what it told: state, incident, shots, onset, decided, onsets."""

    CALLBACK = ctypes.CFUNCTYPE(None, ctypes.POINTER(Heard), ctypes.c_void_p)

    def __init__(self, library: Path):
        self.c, self.calls = ctypes.CDLL(str(library)), []
        self.c.gunshot_listener_lost.restype, self.c.gunshot_listener_begin.restype = ctypes.c_uint64, ctypes.c_bool
        self.callback = self.CALLBACK(self.take)

    def take(self, heard, context) -> None:
        h = heard.contents
        self.calls.append((h.state, h.incident, h.shots, h.onset, h.decided, tuple(h.onsets[: h.onset_count])))

    def begin(self) -> bool:
        self.calls = []
        return self.c.gunshot_listener_begin(self.callback, None)

    def give(self, function: str, pcm: np.ndarray) -> None:
        getattr(self.c, f"gunshot_listener_{function}")(pcm.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(len(pcm)))

    def hear(self, pcm: np.ndarray) -> list[tuple]:
        """Begin, hear all, end; return what was told."""
        assert self.begin()
        self.give("hear", pcm)
        self.c.gunshot_listener_end()
        return self.calls
