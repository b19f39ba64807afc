"""Where files of sound end by their headers, and what follows: chunks, tags, more sound, or another file."""

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import soundfile as sf

from gunshot.base import riff

# How a file begins, by format. Of files joined end to end libsndfile reads the first, or takes headers for sound.
BEGINNING = {
    "AU": rb"\.snd\0{3}|dns\..\0{3}",
    "CAF": rb"caff\0\x01\0\0desc",
    "FLAC": rb"fLaC[\0\x80]\0\0\x22",
    "MP3": rb"\0{9}(?:Xing|Info)",  # in the first frame, where it tells how many there are
    "OGG": rb"OggS\0\x02",
    "W64": rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb",
}
PIECE, LONGEST = 2**20, 16  # bytes that are searched at once, and that a beginning has at most
CHUNKS = {"AIFF": (">4sI", 2), "CAF": (">4sQ", 1)}  # a chunk's name and length; it begins at multiples of


def joined(stream: BinaryIO, kind: str) -> int | None:
    """Return the byte at which a second file of libsndfile's format `kind` begins; None where none is seen to."""
    if kind not in BEGINNING:
        return None
    places = _places(stream, re.compile(BEGINNING[kind], re.DOTALL))
    next(places, None)
    return next(places, None)


def _places(stream: BinaryIO, beginning: re.Pattern) -> Iterator[int]:
    """Yield the bytes at which a pattern matches; the file is read piece by piece, however long it is."""
    content, first, past = b"", 0, 0
    while piece := stream.read(PIECE):
        content += piece
        for match in beginning.finditer(content):
            if first + match.start() >= past:
                past = first + match.end()
                yield first + match.start()
        first += max(0, len(content) - LONGEST)
        content = content[-LONGEST:]


def mp3(path: Path | str) -> tuple[int, bool]:
    """Return how many frames an MP3 states in its first one, 0 where it does not, and whether sound follows those."""
    with open(path, "rb") as stream:
        head = stream.read(10)
        start = 0
        if head[:3] == b"ID3":
            size = sum((b & 127) << shift for b, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
            start = 10 + size + 10 * bool(head[5] & 16)  # a footer, if there is one
        stream.seek(start)
        first = stream.read(PIECE // 16)
        match = re.search(BEGINNING["MP3"] + rb"\0\0\0([\x01-\x0f])(.{8})", first, re.DOTALL)
        if not match or not match[1][0] & 1:
            return 0, False
        frames, size = struct.unpack(">II", match[2])
        stream.seek(start + size)
        return frames, bool(match[1][0] & 2) and stream.read(2) == first[:2] != b""


def stated(path: Path | str, frames: int) -> tuple[int, int]:
    """Return the byte up to which libsndfile has read when it gave as many frames as it knows of, and a file's size.

    Of compressed formats it has read ahead: up to some kB behind the last frame are passed over.
    """
    with open(path, "rb") as stream, sf.SoundFile(stream.fileno(), closefd=False) as file:
        file.seek(max(0, frames - 1))
        file.read(1)
        return os.lseek(stream.fileno(), 0, os.SEEK_CUR), os.fstat(stream.fileno()).st_size


def ends(stream: BinaryIO, place: int, size: int, kind: str) -> bool:
    """Return whether what begins at a byte is no sound: a chunk of format `kind`, a player's tag or filling zeros."""
    return riff.ends(stream, place, size, *CHUNKS.get(kind, ()))
