"""Split zips, NAME.z01, NAME.z02 ... and NAME.zip, read where they lie: nothing is joined on the disk.

The zip format numbers the parts ("disks") and counts a member's offset from the beginning of the part in which it
begins (PKWARE, APPNOTE.TXT, sections 4.3.16, 4.4.13 and 4.4.16); Python's zipfile counts on from the first.
"""

import io
import os
import struct
import zipfile
from bisect import bisect_right
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path

from gunshot.base.decoding import closing_on_error

BUFFER = 1 << 20
END, LOCATOR = b"PK\x05\x06", b"PK\x06\x07"
END_BYTES, LOCATOR_BYTES, MOST_COMMENT = 22, 20, 65535


def parts(path: Path) -> list[Path]:
    """Return the files of a zip in their order: `path` alone, or the numbered parts beside it and then `path`.

    Raises
    ------
    ValueError
        A part between others is missing.
    """
    numbered = sorted(
        (file for file in path.parent.glob("*.z*") if file.stem == path.stem and file.suffix[2:].isdigit()),
        key=lambda file: int(file.suffix[2:]),
    )
    for number, file in enumerate(numbered, 1):
        if int(file.suffix[2:]) != number:
            raise ValueError(f"{path}: part .z{number:02d} is missing beside {file.name}")
    return [*numbered, path]


class _Joined(io.RawIOBase):
    """Files read as one after the other; `patch` is (position, bytes) that are read in place of what is there."""

    def __init__(self, paths: list[Path]):
        with ExitStack() as stack:
            self.files = [stack.enter_context(open(path, "rb", buffering=0)) for path in paths]
            self.opened = stack.pop_all()
        sizes = [os.fstat(file.fileno()).st_size for file in self.files]
        self.starts = [0, *accumulate(sizes[:-1])]
        self.size, self.position = sum(sizes), 0
        self.patch = (self.size, b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        return self.position

    def readinto(self, buffer) -> int:
        if self.position >= self.size:
            return 0
        index = bisect_right(self.starts, self.position) - 1
        file = self.files[index]
        file.seek(self.position - self.starts[index])
        count = file.readinto(buffer)
        at, new = self.patch
        for place in range(max(at, self.position), min(at + len(new), self.position + count)):
            buffer[place - self.position] = new[place - at]
        self.position += count
        return count

    def close(self) -> None:
        self.opened.close()
        super().close()


def open_zip(path: Path) -> zipfile.ZipFile:
    """Return a zip to read, of one part or of several.

    Raises
    ------
    zipfile.BadZipFile
        It is no zip, or parts of it are missing.
    """
    joined = _Joined(parts(path))
    with closing_on_error(joined):
        return _opened(joined)


def _opened(joined: _Joined) -> zipfile.ZipFile:
    joined.seek(max(0, joined.size - END_BYTES - MOST_COMMENT - LOCATOR_BYTES))
    tail = joined.readall()
    at = tail.rfind(END)
    if at < 0 or len(tail) < at + END_BYTES:
        raise zipfile.BadZipFile("it does not end as a zip does; parts of it are missing, or it is none")
    last, offset = struct.unpack_from("<H", tail, at + 4)[0], struct.unpack_from("<L", tail, at + 16)[0]
    if last != len(joined.files) - 1:
        raise zipfile.BadZipFile(f"it has {last + 1} parts (.z01, .z02 ... .zip), and {len(joined.files)} are there")
    begin = joined.size - len(tail)
    if tail[max(0, at - LOCATOR_BYTES) :].startswith(LOCATOR):  # zip64: its end record says the offset
        offset = _zip64_offset(joined, struct.unpack_from("<LQ", tail, at - LOCATOR_BYTES + 4))
        joined.patch = (begin + at - LOCATOR_BYTES + 4, struct.pack("<LQL", 0, 0, 1))  # or zipfile would refuse it
    archive = zipfile.ZipFile(io.BufferedReader(joined, BUFFER))
    if last:
        added = archive.start_dir - offset  # what zipfile added to all offsets
        for info in archive.infolist():
            info.header_offset += joined.starts[info.volume] - added
            if hasattr(info, "_end_offset"):  # newer ones compute it from the old offsets, against overlaps
                info._end_offset = None
    return archive


def _zip64_offset(joined: _Joined, place: tuple[int, int]) -> int:
    disk, offset = place
    if disk >= len(joined.starts):
        raise zipfile.BadZipFile("its end lies in a part that is not there")
    joined.seek(joined.starts[disk] + offset + 48)
    return struct.unpack_from("<Q", joined.readall())[0]
