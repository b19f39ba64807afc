"""What a layout finds: one Source a file, and rejected rows for what is no file of the corpus."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gunshot.base import audio, tables
from gunshot.base.files import is_escaped, shown
from gunshot.tags import Tag

CLASSES = ("gun", "env")
MACOS = "__MACOSX"  # a folder that macOS adds to archives
SHOWN = 8  # names that an error gives of many
NO_TEXT = "a table must be able to name it: rename it, or all by `convmv -r -f latin1 -t utf8 --notest FOLDER`"
LEADS_OUT = "a corpus must not take files from elsewhere; copy it into the corpus's folder"
T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """A file to import, and what is known of it without decoding it."""

    file: Path  # where it lies
    name: str  # the same below the corpus's root, as rejected rows name it
    path: str  # where its recording goes below data/raw/NAME, before the suffix becomes .wav
    class_: str  # gun or env
    label: str
    recording_group: str
    source: str
    upstream: str
    licence: str
    tags: tuple[Tag, ...] | None = None  # where its shots start, where the corpus knows; () that it holds none


def rejected(file: str, value: str, rule: str) -> dict:
    """Return a row of tables.REJECTED; what cannot be written as text in `file` is escaped."""
    return {"file": shown(file), "value": value, "rule": rule}


def without_sidecars(listed: Iterable[T], name: Callable[[T], str], file: Callable[[T], Path]) -> tuple[list[T], list]:
    """Return what of a list are files of sound, and rejected rows for the texts, tables and pictures beside them."""
    kept, bad = [], []
    for item in listed:
        if audio.is_sound(file(item)):
            kept.append(item)
        else:
            bad.append(rejected(name(item), tables.NO_AUDIO, "only recordings are taken"))
    return kept, bad


def _fault(file: Path, root: Path, anywhere: bool) -> tuple[str, str] | None:
    """Return value and rule of what keeps a path from being a source, None where nothing does."""
    if not anywhere and any(map(is_escaped, str(file.relative_to(root)))):
        return "control characters or no UTF-8", NO_TEXT
    if file.is_symlink() and not file.exists():
        return "broken link", "must be a file"
    if not anywhere and not file.resolve().is_relative_to(root.resolve()):
        return f"link to {os.readlink(file)}" if file.is_symlink() else "outside", LEADS_OUT
    if file.is_dir():
        return f"link to the folder {os.readlink(file)}", "links to folders are not followed; move the folder here"
    if not file.is_file():
        return "no regular file", "must be a file"
    return None


def walk(root: Path, folder: str, *, anywhere: bool = False) -> tuple[list[str], list[dict]]:
    """Return the files below ``root/folder``, as sorted names below `root`, and rejected rows.

    Names that start with "." are skipped, files and folders. Every other name is in one of the two
    lists: links that leave `root`, links to folders, and what is no regular file are rejected. `anywhere` is for who
    only hears: links may lead to files anywhere, and names need not be text.

    Raises
    ------
    OSError
        A folder cannot be read.
    """

    def stop(error: OSError):
        raise error

    names, bad = [], []
    for where, folders, files in os.walk(root / folder, onerror=stop):
        links = [f for f in folders if (Path(where) / f).is_symlink()]
        folders[:] = [f for f in folders if not f.startswith(".")]
        for file in (Path(where) / f for f in files + links if not f.startswith(".")):
            name = file.relative_to(root).as_posix()
            if fault := _fault(file, root, anywhere):
                bad.append(rejected(name, *fault))
            else:
                names.append(name)
    return sorted(names), sorted(bad, key=lambda row: row["file"])


def seen(root: Path) -> str:
    """Return in words what lies in a folder, for an error that misses something there."""
    names = sorted(f"{child.name}/" if child.is_dir() else child.name for child in root.iterdir())
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"what is there is {', '.join(names[:SHOWN])}{more}" if names else "it is empty"


def read_csv(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Return a CSV's rows, every cell as text; ValueError as of `tables.read`."""
    return tables.read(path, dict.fromkeys(columns, str)).to_dict("records")
