"""Archives in place of folders: unpacked for as long as they are read, and never beyond what is sane."""

import gzip
import lzma
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from tqdm import tqdm

from gunshot.base import files
from gunshot.corpora.sources import CLASSES, MACOS
from gunshot.tags import catalogue

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MAX_RATIO = 100  # of what is unpacked to the archive: silence in wav and zip comes to 60, a bomb has 1,000
SLACK = 1 << 20  # bytes that any archive may hold
BLOCK = 1 << 20
DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError,
)  # fmt: skip


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
        _unpack(path, root)
        try:
            yield _entered(root)
        except ValueError as e:
            raise ValueError(str(e).replace(str(root), str(path))) from None


def _entered(root: Path) -> Path:
    """Return the innermost folder that holds all that the archive does, but for what describes it."""
    inside = [child for child in root.iterdir() if not child.name.startswith(".")]
    folders = [child for child in inside if child.is_dir()]
    heard = any(child.suffix.lower() in catalogue.SUFFIXES for child in inside if child.is_file())
    if heard or len(folders) != 1 or folders[0].name in CLASSES:
        return root
    return _entered(folders[0]) if any(child.is_dir() for child in folders[0].iterdir()) else root


def _unpack(path: Path, root: Path) -> None:
    left = MAX_RATIO * path.stat().st_size + SLACK
    opened = _zip if suffix(path) == ".zip" else _tar
    try:
        with tqdm(desc="unpack", unit="B", unit_scale=True) as bar:
            for member in opened(path):
                _check(path, member)
                if any(part == MACOS or part.startswith("._") for part in PurePosixPath(member.name).parts):
                    continue
                target = root / member.name
                if member.file is None:
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                where = f"{path}: {member.name}, unpacked to {tempfile.gettempdir()} (TMPDIR sets another folder)"
                with files.disk(where), member.file as source, open(target, "xb") as out:
                    while block := source.read(BLOCK):
                        left -= len(block)  # as it is, whatever the archive says of its size
                        if left < 0:
                            raise ValueError(f"{path}: {member.name}: unpacks to over {MAX_RATIO} times the archive")
                        out.write(block)
                        bar.update(len(block))
    except DAMAGED as e:
        raise ValueError(f"{path}: the archive is damaged: {e}") from None
    except FileExistsError as e:
        raise ValueError(f"{path}: {Path(e.filename).relative_to(root)}: an archive must hold a file once") from None


def _check(path: Path, member: _Member) -> None:
    name = PurePosixPath(member.name)
    fault = member.fault
    if name.is_absolute() or ".." in name.parts or "\\" in member.name:
        fault = "the path of a member must lie inside the archive"
    if fault:
        raise ValueError(f"{path}: {member.name}: {fault}")


def _zip(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            fault = None
            if info.flag_bits & 1:
                fault = "encrypted; unpack it yourself and import the folder"
            elif kind and kind not in (stat.S_IFREG, stat.S_IFDIR):
                fault = "a member must be a file or a folder, no link and no device"
            file = None if info.is_dir() or fault else archive.open(info)
            yield _Member(info.filename, fault, file)


def _tar(path: Path) -> Iterator[_Member]:
    with tarfile.open(path) as archive:
        for info in archive:
            ok = info.isfile() or info.isdir()
            fault = None if ok else "a member must be a file or a folder, no link and no device"
            yield _Member(info.name, fault, archive.extractfile(info) if info.isfile() else None)
