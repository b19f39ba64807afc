"""WAV, RF64 and BW64 whose header states another size than the file holds: one with the right size, to be read as such.

A recorder writes the size of the sound when it is done. Where it went to a pipe, or the power failed, there is a
placeholder; 32 bits wrap at 4 GiB; and some programs write what they meant to write.
"""

import io
import os
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

KINDS = (b"RIFF", b"RF64", b"BW64")
WRAP = 2**32  # of a size in 32 bits
PAGE = 4096  # bytes: SoX states so many less than the most, and whole frames of that
KEPT = 2**16  # bytes: what a fmt chunk has at most, and zeros that only fill a sector
TAGS = (b"TAG", b"ID3", b"APETAGEX")  # what players append without a chunk


class Data(NamedTuple):
    """Where a file's sound lies: its fmt chunk, the first byte, and the sizes that are stated and held, in bytes."""

    fmt: bytes
    start: int
    stated: int
    held: int
    padded: bool = True  # whether each chunk of odd length before it has its pad byte, as libsndfile needs it

    @property
    def never_written(self) -> bool:
        """Whether the stated size is what programs write that do not know it yet: 0, or the most there is room for."""
        limits = (WRAP // 2 - PAGE, WRAP // 2, WRAP - 1, 2**63, 2**64 - 1)
        return not self.stated or any(0 <= limit - self.stated < PAGE for limit in limits)


def data(stream: BinaryIO) -> Data | None:
    """Return where the sound of a file lies; None where it is no WAV, or lacks a fmt or a data chunk."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    kind, _, wave = struct.unpack("<4sI4s", stream.read(12).ljust(12))
    if kind not in KINDS or wave != b"WAVE":
        return None
    fmt, wide, place, odd, padded = None, None, 12, 0, True
    while place + 8 <= size:
        name, length = _head(stream, place)
        if odd and not _is_text(name) and _is_text(_head(stream, place - 1)[0]):
            place, padded = place - 1, False
            name, length = _head(stream, place)
        if name == b"data":
            stated = wide if wide is not None and length == WRAP - 1 else length
            return fmt and Data(fmt, place + 8, stated, _held(stream, place + 8, stated, size), padded)
        if name == b"fmt ":
            fmt = stream.read(min(length, KEPT))
        if name == b"ds64" and length >= 16:
            wide = struct.unpack("<QQ", stream.read(16).ljust(16, b"\0"))[1]
        odd = length % 2
        place += 8 + length + odd
    return None


def another(stream: BinaryIO, sound: Data) -> bool:
    """Return whether a second chunk of sound, or a second file, follows `sound`."""
    size, place = stream.seek(0, os.SEEK_END), sound.start + sound.held + sound.held % 2
    while place + 8 <= size:
        name, length = _head(stream, place)
        if name in (b"data", *KINDS):
            return True
        place += 8 + length + length % 2
    return False


def _head(stream: BinaryIO, place: int) -> tuple[bytes, int]:
    """Return the name and the length of the chunk at a byte, and leave the stream where its content begins."""
    stream.seek(place)
    return struct.unpack("<4sI", stream.read(8))


def _is_text(name: bytes) -> bool:
    return all(0x20 <= c <= 0x7E for c in name)


def joined(stream: BinaryIO) -> int | None:
    """Return the byte behind a file's sound at which another file begins, None where none does."""
    sound = data(stream)
    for byte in (sound.start + sound.held, sound.start + sound.held + 1) if sound else ():
        stream.seek(byte)
        if stream.read(4) in KINDS:
            return byte
    return None


def _held(stream: BinaryIO, start: int, stated: int, size: int) -> int:
    """Return how many bytes of sound there are: to where a chunk or the file ends, `stated` or wrapped; else all."""
    stop = start + stated
    while stop <= size:
        if ends(stream, stop, size):
            return stop - start
        stop += WRAP
    return size - start


def ends(stream: BinaryIO, place: int, size: int, form: str = "<4sI", multiple: int = 2) -> bool:
    """Return whether what begins at a byte is no sound: a chunk, a player's tag, zeros that fill up, or nothing.

    Parameters
    ----------
    form : of a chunk's name and length, as `struct` has it
    multiple : of bytes, at which chunks begin, or should
    """
    for begin in {place, place + -place % multiple}:
        stream.seek(begin)
        rest, head = size - begin, stream.read(struct.calcsize(form)).ljust(struct.calcsize(form), b"\xff")
        if rest < 8 or head.startswith(TAGS + KINDS):  # another file is told by its reader
            return True
        name, length = struct.unpack(form, head)
        if _is_text(name) and length <= rest - 7:
            return True
        if rest <= KEPT and not any(head) and not any(stream.read()):
            return True
    return False


class Mended(io.RawIOBase):
    """A WAV, or RF64 where it is too long for one, of the sound that a file holds: a new header, and its bytes."""

    def __init__(self, path: Path | str, sound: Data):
        self._file, self._start, self._place = open(path, "rb"), sound.start, 0  # noqa: SIM115
        fmt = b"fmt " + struct.pack("<I", len(sound.fmt)) + sound.fmt + b"\0" * (len(sound.fmt) % 2)
        total = 4 + len(fmt) + 8 + sound.held
        if total < WRAP - 1:
            head = struct.pack("<4sI4s", b"RIFF", total, b"WAVE")
            size = sound.held
        else:
            head = struct.pack("<4sI4s", b"RF64", WRAP - 1, b"WAVE")
            head += struct.pack("<4sIQQQI", b"ds64", 28, total + 36, sound.held, 0, 0)
            size = WRAP - 1
        self._head = head + fmt + struct.pack("<4sI", b"data", size)
        self._size = len(self._head) + sound.held

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte, and return which."""
        self._place = max(0, offset + (0, self._place, self._size)[whence])
        return self._place

    def tell(self) -> int:
        """Return at which byte it is."""
        return self._place

    def readinto(self, buffer) -> int:
        """Read bytes, and return how many."""
        n = min(len(buffer), max(0, self._size - self._place))
        part = self._head[self._place : self._place + n]
        if len(part) < n:
            self._file.seek(self._start + self._place + len(part) - len(self._head))
            part += self._file.read(n - len(part))
        buffer[: len(part)] = part
        self._place += len(part)
        return len(part)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
