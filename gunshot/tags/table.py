"""Tags: where shots start in recordings; the tag file, and who may tag what."""

import csv
import fcntl
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from gunshot.base.files import atomic, shown


class Tag(NamedTuple):
    """Where a shot starts, in samples; `confidence` is that of an automatic tag, None where a person placed it."""

    start: int
    confidence: float | None = None


_CELL = re.compile(r"([0-9]+)(?:@(0(?:\.[0-9]+)?|1(?:\.0+)?))?")
_SEMICOLONS = re.compile(r"(.+?)(?:;[0-9]+(?:@[0-9.]+)?)*;*", re.DOTALL)
COMMAS = "a line's parts must stand between commas, not semicolons; save it with commas, or mend the file"


def parse(cell: str) -> Tag | None:
    """Return the tag that a cell, ``8120`` or ``8120@0.93``, stands for; None where it is neither."""
    match = _CELL.fullmatch(cell)
    return match and Tag(int(match[1]), None if match[2] is None else float(match[2]))


def read(path: Path | str) -> tuple[dict[str, list[Tag]], list[dict]]:
    """Return a tag file's tags by recording, ascending, and its bad lines as rows of tables.REJECTED.

    A line is ``path,START,START,...``: CSV without a header, starts in samples at 16 kHz; an automatic one is
    ``START@CONFIDENCE``. A line without starts says that its recording holds no shot.
    """
    tags: dict[str, list[Tag]] = {}
    rejected = []
    # Spreadsheets write a byte order mark, and sometimes no UTF-8: such a line is bad, or a rewrite would garble it.
    with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        lines = csv.reader(file)
        for row in lines:
            where = f"{path}:{lines.line_num}"
            if not row:
                continue
            name, *cells = (cell.strip() for cell in row)
            if not _is_text(name):
                rejected.append({"file": where, "value": shown(name), "rule": "a tag file must be text in UTF-8"})
                continue
            placed = [parse(cell) for cell in cells]
            if None in placed or not name:
                value = f"start {cells[placed.index(None)]!r}" if None in placed else "no path"
                rule = "a line is path,start,start,... with starts in whole samples, 0 or more, or start@confidence"
                rejected.append({"file": where, "value": value, "rule": rule})
            elif name in tags:
                rejected.append({"file": where, "value": name, "rule": "a recording has one line in a tag file"})
            else:
                tags[name] = unique(placed)
    return tags, rejected


def is_nameable(name: str) -> bool:
    """Return whether a tag file can name a recording: by text in UTF-8 without white space at its ends."""
    return name == name.strip("\ufeff").strip() and _is_text(name)


def _is_text(name: str) -> bool:
    """Return whether a name holds no byte that is no UTF-8."""
    return not any("\ud800" <= c <= "\udfff" for c in name)


def before_semicolons(name: str) -> str:
    """Return the path in a line that a spreadsheet wrote with semicolons for commas; any other name as it is."""
    return _SEMICOLONS.fullmatch(name)[1]


def unique(tags: list[Tag]) -> list[Tag]:
    """Return tags ascending, one for each start: of two at one start a person's, or else the surer one."""
    sure = sorted(tags, key=lambda tag: (tag.start, -2 if tag.confidence is None else -tag.confidence))
    return [tag for i, tag in enumerate(sure) if not i or tag.start != sure[i - 1].start]


def write(path: Path | str, tags: dict[str, list[Tag]]) -> None:
    """Write tags by recording as a tag file, sorted by path, whole or not at all."""
    lines = ([name, *map(_text, placed)] for name, placed in sorted(tags.items()))
    with atomic(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)


def _text(tag: Tag) -> str:
    return str(tag.start) if tag.confidence is None else f"{tag.start}@{tag.confidence:.2f}"


def state(placed: list[Tag] | None) -> str:
    """Return what a recording's line says: untagged (None, no line), automatic (any tag is) or confirmed."""
    if placed is None:
        return "untagged"
    return "automatic" if any(tag.confidence is not None for tag in placed) else "confirmed"


@dataclass(frozen=True)
class Home:
    """Where the tags of recordings lie: below data/raw a file for each corpus, elsewhere one in the folder itself."""

    root: Path  # what the names in its tag files are relative to
    by_hand: Path | None  # where the corpora's files are; None for a folder that is not below data/raw

    def key(self, recording: Path) -> str:
        """Return a recording's name in its tag file."""
        # Not resolved: DVC may link a recording to its cache.
        return (recording.parent.resolve() / recording.name).relative_to(self.root).as_posix()

    def file(self, key: str) -> Path:
        """Return the tag file of a name."""
        return self.root / "tags.csv" if self.by_hand is None else self.by_hand / f"{key.split('/')[0]}.csv"


def home(path: Path, raw: Path, by_hand: Path) -> Home:
    """Return where the tags of a file or folder lie; `raw` is data/raw, `by_hand` data/tags or a folder in it."""
    path, raw = path.resolve(), raw.resolve()
    if path.is_relative_to(raw):
        return Home(raw, by_hand)
    return Home(path if path.is_dir() else path.parent, None)


class ChangedError(ValueError):
    """A tag file's line is no longer what the caller had read."""


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes that amend tag files in this folder out until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def amend(
    path: Path, changes: dict[str, list[Tag] | None], expected: dict[str, list[Tag] | None] | None = None
) -> None:
    """Replace these recordings' lines in a tag file, None deletes one; the others stay, and the write is atomic.

    `expected` are lines as the caller had read them, None for no line: nothing is written where one differs.

    Raises
    ------
    ChangedError
        A line is not as `expected`.
    ValueError
        The file holds bad lines, which a rewrite would lose.
    """
    with _alone(path.parent):
        tags, bad = read(path) if path.exists() else ({}, [])
        if bad:
            first = bad[0]
            raise ValueError(f"{first['file']}: {first['value']}: {first['rule']}; mend it, so that no line is lost")
        for name, line in (expected or {}).items():
            if tags.get(name) != line:
                raise ChangedError(f"{path}: {name}: its line was changed meanwhile")
        tags |= changes
        write(path, {name: placed for name, placed in tags.items() if placed is not None})


def gather(
    own: list[Path], by_hand: list[Path], recordings: pd.DataFrame
) -> tuple[dict[str, list[Tag]], list[dict], Counter]:
    """Return the tags of the corpora's own files and of people's files, rows of tables.REJECTED, and what waits.

    What a person tagged replaces what came with the corpus. A tag of an unknown or an environmental recording is
    rejected, and so is a second file of the same kind for one recording, but that a line which a person confirmed
    replaces an automatic one, and that a line in a folder of data/tags (blind/) gives way to one in data/tags itself.
    Lines of a person's file whose corpus is not there wait for it, counted by corpus.

    Raises
    ------
    ValueError
        A line has semicolons for commas, as some countries' spreadsheets write it: so have then all of that file.
    """
    kinds = dict(zip(recordings["path"], recordings["class"], strict=True))
    corpora = {path.split("/")[0] for path in kinds}
    given: dict[str, list[Tag]] = {}
    rejected, waiting = [], Counter()
    for files in (own, by_hand):
        seen: dict[str, Path] = {}
        for path in sorted(files, key=lambda file: (len(file.parts), file)):
            tags, bad = read(path)
            rejected += bad
            for name, placed in tags.items():
                corpus, rule = name.split("/")[0], None
                if name not in kinds and before_semicolons(name) != name:
                    raise ValueError(f"{path}: {shown(name)}: {COMMAS}")
                if files is by_hand and corpus not in corpora:
                    waiting[corpus] += 1
                    continue
                if name not in kinds:
                    rule = "the path must be that of a recording, below data/raw"
                elif kinds[name] == "env" and placed:
                    rule = "a recording of the class env holds no shot"
                elif name in seen and (state(placed) == "automatic") != (state(given[name]) == "automatic"):
                    if state(placed) == "automatic":
                        continue
                elif name in seen and files is by_hand and len(path.parts) > len(seen[name].parts):
                    continue
                elif name in seen:
                    rule = f"{seen[name]} tags it too; one file must"
                if rule:
                    rejected.append({"file": str(path), "value": name, "rule": rule})
                else:
                    seen[name] = path
                    given[name] = placed
    return given, rejected, waiting


def check(name: str, tags: list[Tag], n: int) -> tuple[list[Tag], list[dict]]:
    """Return the tags inside a recording of `n` samples, and rows of tables.REJECTED for the others."""
    bad = [
        {"file": name, "value": f"tag {tag.start}", "rule": f"a tag must lie in the recording, 0 to {n - 1}"}
        for tag in tags
        if tag.start >= n
    ]
    if not tags:
        bad = [{"file": name, "value": "no onset", "rule": "a gun recording must hold a shot; tag it by hand"}]
    return [tag for tag in tags if tag.start < n], bad
