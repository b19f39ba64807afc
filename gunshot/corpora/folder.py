"""A plain folder: gun/ and env/ with anything below them, and perhaps a manifest.csv.

- label: the name of the file's own folder; the class where it lies directly in gun/ or env/
- source: the first folder below the class where the file lies at least two folders deep, else the root's name
- upstream: the source; licence: "unknown"
- recording_group: the root's name and the file's path without take numbers (see `group`)

A manifest.csv in the root or beside it overrides these, file by file: columns `path` (relative to the manifest's
own folder) and `recording_group`, and where it likes `class`, `label`, `source`, `upstream`, `licence`. An empty
cell overrides nothing. Rows of files that are not below gun/ or env/ are other corpora's; a manifest in the root names
some that are.

A tags.csv in the root, as `gunshot annotate` writes it there, says where shots start.
"""

import os
import re
from pathlib import Path, PurePosixPath

from gunshot import tags
from gunshot.corpora.sources import CLASSES, Source, read_csv, rejected, seen, walk

# A word for a take counts as one only where no letter stands before it: "x_v2" is "x", "env2" is "env".
_TAKE = re.compile(r"[\s_.\-]*(?:\(\s*\d+\s*\)|(?<![^\W\d_])(?:take|v)[\s_.\-]*\d+|\d+)$", re.IGNORECASE)


def group(name: str, corpus: str) -> str:
    """Return the recording group of ``name`` (class/.../stem.suffix): ``corpus/class/.../stem`` without take numbers.

    "_01", " (20)", "-3", "_v2", " take 4" and bare digits are taken off the end of the stem as long as there are
    any. Where nothing remains, the whole folder is one group. Two recordings that have nothing to do with each other
    may share a group ("glock17", "glock19"), which costs little; takes of one session in two groups would put the
    same session in training and test.
    """
    path = PurePosixPath(name)
    stem, before = path.stem, None
    while stem != before:
        before, stem = stem, _TAKE.sub("", stem)
    return "/".join([corpus, *path.parts[:-1], *([stem.strip(" _.-")] if stem.strip(" _.-") else [])])


def _manifest(root: Path) -> tuple[dict[str, dict], list[dict]]:
    """Return the manifest's rows below gun/ and env/ by name below `root`, and rejected rows."""
    file = next((f for f in (root / "manifest.csv", root.parent / "manifest.csv") if f.is_file()), None)
    rows, bad = {}, []
    given = read_csv(file, ("path", "recording_group")) if file else []
    for row in given:
        path = row["path"] if (file.parent / row["path"]).exists() else row["path"].replace("\\", "/")  # Windows's
        name = Path(os.path.relpath(os.path.normpath(file.parent / path), root)).as_posix()
        if name.split("/")[0] not in CLASSES:
            continue
        if name in rows:
            bad.append(rejected(name, "listed twice", f"{file.name} must name a file once; its first row counts"))
        elif not (root / name).exists():
            bad.append(rejected(name, "no such file", f"what {file.name} lists must be there"))
        rows.setdefault(name, row)
    if given and not rows and file.parent == root:
        value = f"{len(given)} rows, the first of {given[0]['path']!r}"
        bad.append(rejected(file.name, value, "it must name files in gun/ or env/, relative to its own folder"))
    return rows, bad


def _tags(root: Path, names: set[str]) -> tuple[dict[str, tuple[tags.Tag, ...]], list[dict]]:
    """Return the tags of the files named, and rejected rows; nothing where there is no tags.csv."""
    file = root / "tags.csv"
    tagged, bad = tags.read(file) if file.is_file() else ({}, [])
    bad = [rejected(Path(row["file"]).name, row["value"], row["rule"]) for row in bad]
    bad += [rejected(name, "no such file", "what tags.csv tags must be there") for name in tagged if name not in names]
    return {name: tuple(placed) for name, placed in tagged.items()}, bad


def _source(root: Path, name: str, row: dict, placed: tuple[tags.Tag, ...] | None) -> Source:
    class_, *folders, file = name.split("/")
    where = folders[0] if len(folders) > 1 else root.name
    cells = {k: row[k] for k in ("class", "label", "recording_group", "source", "upstream", "licence") if row.get(k)}
    source = cells.get("source", where)
    return Source(
        file=root / name,
        name=name,
        path="/".join([cells.get("class", class_), *folders, file]),
        class_=cells.get("class", class_),
        label=cells.get("label", folders[-1] if folders else class_),
        recording_group=cells.get("recording_group", group(name, root.name)),
        source=source,
        upstream=cells.get("upstream", source),
        licence=cells.get("licence", "unknown"),
        tags=placed,
    )


def scan(root: Path, *, anywhere: bool = False) -> tuple[list[Source], list[dict]]:
    """Return the sources below ``root/gun`` and ``root/env``, sorted by name, and rejected rows.

    `anywhere` is that of `walk`.

    Raises
    ------
    ValueError
        There is neither gun/ nor env/, one of them links out of `root`, both hold no file, or the
        manifest lacks a column.
    """
    root = Path(root).resolve()
    present = [c for c in CLASSES if (root / c).is_dir()]
    if not present:
        raise ValueError(f"{root}: must hold a folder gun/ or env/ with recordings below it; {seen(root)}")
    for c in present:
        if not anywhere and not (root / c).resolve().is_relative_to(root):
            raise ValueError(f"{root / c}: leads to {(root / c).resolve()}; it must lie inside {root}")
    rows, bad = _manifest(root)
    names = []
    for c in present:
        inside, faults = walk(root, c, anywhere=anywhere)
        names += inside
        bad += faults
    placed, faults = _tags(root, set(names))
    bad += faults
    sources = []
    for name in names:
        source = _source(root, name, rows.get(name, {}), placed.get(name))
        if source.class_ in CLASSES:
            sources.append(source)
        else:
            bad.append(rejected(name, f"class={source.class_!r}", f"must be one of {list(CLASSES)}"))
    if not sources and not bad:
        raise ValueError(f"{root}: gun/ and env/ must hold a recording")
    return sorted(sources, key=lambda s: s.name), sorted(bad, key=lambda row: row["file"])
