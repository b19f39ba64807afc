"""Archives in place of folders: unpacked for as long as they are read, and never beyond what is sane."""

import gzip
import lzma
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO, NamedTuple

from tqdm import tqdm

from gunshot.base import files
from gunshot.corpora import split
from gunshot.corpora.sources import CLASSES, MACOS
from gunshot.tags import catalogue

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z")
MAX_RATIO = 100  # of what is unpacked to the archive: silence in wav and zip comes to 60, a bomb has 1,000
SLACK = 1 << 20  # bytes that any archive may hold
BLOCK = 1 << 20
MSDOS = 0  # the system that a zip was packed on, by APPNOTE.TXT, 4.4.2.2
TOO_MUCH = f"unpacks to over {MAX_RATIO} times the archive"
ENCRYPTED = "encrypted; unpack it yourself and give the folder"
OUTSIDE = "the path of a member must lie inside the archive, with / between folders; unpack it and give the folder"
ODD = "a member must be a file or a folder, no link and no device"
DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError,
)  # fmt: skip
# What py7zr lets through where bytes of a header are others.
DAMAGED_7Z = (AssertionError, IndexError, KeyError, TypeError, UnicodeDecodeError, struct.error, OverflowError)


class _Member(NamedTuple):
    name: str
    fault: str | None  # what keeps it from being unpacked
    file: BinaryIO | None  # None where it is a folder


def suffix(path: Path) -> str | None:
    """Return the suffix by which a path is an archive, None where it is none."""
    return next((end for end in SUFFIXES if path.name.lower().endswith(end)), None)


def stem(path: Path) -> str:
    """Return an archive's name without the suffix."""
    return path.name[: -len(suffix(path))]


def title(path: Path) -> str:
    """Return the name of a folder, or of an archive without its suffix; ValueError where a path is neither."""
    if path.is_dir():
        return path.resolve().name
    if not path.is_file() or not suffix(path):
        raise ValueError(f"{files.shown(path)}: must be a folder or an archive, {', '.join(SUFFIXES)}")
    return stem(path)


def opened(path: Path) -> AbstractContextManager[Path]:
    """Give a folder as it is, and what an archive holds as `unpacked` does."""
    return nullcontext(path) if path.is_dir() else unpacked(path)


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Give the folder that an archive holds, in a temporary folder that is removed when the block ends.

    A single folder that holds folders, such as ESC-50-master, is entered, whatever describes it beside it, and so is
    the next one in it. What macOS adds, __MACOSX/ and ._ files, is left out. A ValueError from the block names the
    archive in place of the temporary folder.

    Raises
    ------
    ValueError
        The archive is damaged or encrypted, unpacks to far more than its size, or holds a member with ``..`` or an
        absolute path, a link or a device.
    """
    with tempfile.TemporaryDirectory(prefix="gunshot-") as folder:
        root = Path(folder).resolve() / stem(path)  # a layout may name groups after it
        root.mkdir()
        unpack(path, root, f"{tempfile.gettempdir()} (TMPDIR sets another folder)")
        try:
            yield entered(root)
        except ValueError as e:
            raise ValueError(str(e).replace(str(root), str(path))) from None


def entered(root: Path) -> Path:
    """Return the innermost folder that holds all that the archive does, but for what describes it."""
    inside = [child for child in root.iterdir() if not child.name.startswith(".")]
    folders = [child for child in inside if child.is_dir()]
    heard = any(child.suffix.lower() in catalogue.SUFFIXES for child in inside if child.is_file())
    if heard or len(folders) != 1 or folders[0].name in CLASSES:
        return root
    return entered(folders[0]) if any(child.is_dir() for child in folders[0].iterdir()) else root


def unpack(path: Path, root: Path, where: str) -> None:
    """Unpack an archive into a folder that is there; of a split zip `path` is the last part. Errors as `unpacked`.

    `where` says of a full disk what it is.
    """
    try:
        with tqdm(desc="unpack", unit="B", unit_scale=True) as bar:
            (_unpack_7z if suffix(path) == ".7z" else _unpack_members)(path, root, where, bar)
    except DAMAGED as e:
        raise ValueError(f"{path}: the archive is damaged: {e}") from None
    except FileExistsError as e:
        raise ValueError(f"{path}: {Path(e.filename).relative_to(root)}: an archive must hold a file once") from None


def _unpack_members(path: Path, root: Path, where: str, bar: tqdm) -> None:
    left = _most(path)
    for member in (_zip if suffix(path) == ".zip" else _tar)(path):
        _check(path, member)
        if _of_macos(member.name):
            continue
        target = root / member.name
        if member.file is None:
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            files.disk(f"{path}: {member.name}, unpacked to {where}"),
            member.file as source,
            open(target, "xb") as out,
        ):
            while block := source.read(BLOCK):
                left -= len(block)  # as it is, whatever the archive says of its size
                if left < 0:
                    raise ValueError(f"{path}: {member.name}: {TOO_MUCH}")
                out.write(block)
                bar.update(len(block))


def _unpack_7z(path: Path, root: Path, where: str, bar: tqdm) -> None:
    """Unpack a 7z, which is one stream; py7zr finds it damaged where a member is longer than it states."""
    import py7zr

    names, left = [], _most(path)
    try:
        with py7zr.SevenZipFile(path) as archive:
            for member in archive.list():
                odd = None if member.is_file or member.is_directory else ODD
                _check(path, _Member(member.filename, ENCRYPTED if archive.needs_password() else odd, None))
                left -= member.uncompressed
                if left < 0:
                    raise ValueError(f"{path}: {member.filename}: {TOO_MUCH}")
                if member.filename in names:
                    raise ValueError(f"{path}: {member.filename}: an archive must hold a file once")
                names.append(member.filename)
            with files.disk(f"{path}: unpacked to {where}"):
                archive.extract(root, [name for name in names if not _of_macos(name)])
            bar.update(_most(path) - left)
    except py7zr.exceptions.PasswordRequired:
        raise ValueError(f"{path}: {ENCRYPTED}") from None
    except (*DAMAGED, py7zr.exceptions.ArchiveError, *DAMAGED_7Z) as e:
        raise ValueError(f"{path}: the archive is damaged: {e}") from None


def _most(path: Path) -> int:
    """Return the bytes to which an archive may unpack."""
    packed = split.parts(path) if suffix(path) == ".zip" else [path]
    return MAX_RATIO * sum(part.stat().st_size for part in packed) + SLACK


def _of_macos(name: str) -> bool:
    return any(part == MACOS or part.startswith("._") for part in PurePosixPath(name).parts)


def _check(path: Path, member: _Member) -> None:
    name = PurePosixPath(member.name)
    fault = member.fault
    if name.is_absolute() or ".." in name.parts or "\\" in member.name:
        fault = OUTSIDE
    if fault:
        raise ValueError(f"{path}: {member.name}: {fault}")


def _zip(path: Path) -> Iterator[_Member]:
    with split.open_zip(path) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            fault = None
            if info.flag_bits & 1:
                fault = ENCRYPTED
            elif kind and kind not in (stat.S_IFREG, stat.S_IFDIR):
                fault = ODD
            # Windows's own tools have written backslashes; where another system packed it, one is a part of a name.
            name = info.filename.replace("\\", "/") if info.create_system == MSDOS else info.filename
            if PureWindowsPath(name).drive and name != info.filename:
                fault = OUTSIDE
            file = None if name.endswith("/") or fault else archive.open(info)
            yield _Member(name, fault, file)


def _tar(path: Path) -> Iterator[_Member]:
    with tarfile.open(path) as archive:
        for info in archive:
            ok = info.isfile() or info.isdir()
            fault = None if ok else ODD
            yield _Member(info.name, fault, archive.extractfile(info) if info.isfile() else None)
