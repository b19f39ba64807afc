"""A data set's own list of its files, against the files that are there."""

from collections.abc import Callable
from pathlib import Path

from gunshot.corpora.sources import Source, read_csv, rejected, seen, walk


def check(root: Path, *needed: str) -> None:
    """Raise ValueError where a file or folder that a layout needs is missing."""
    for name in needed:
        if not (root / name).exists():
            raise ValueError(f"{root}: must hold {' and '.join(needed)}; {name} is missing; {seen(root)}")


def sources(
    root: Path,
    folder: str,
    metadata: str,
    columns: tuple[str, ...],
    *,
    name: Callable[[dict], str],
    source: Callable[[str, dict], Source | None],
    anywhere: bool = False,
) -> tuple[list[Source], list[dict]]:
    """Return the sources that a CSV lists below ``root/folder``, sorted by name, and rejected rows.

    `name` says which file below `root` a row means, `source` makes its Source, or None where it is left out. Rejected
    are a row without its file or with an empty cell in `columns`, a second row for one file, and a file without a row.

    `anywhere` is that of `walk`.

    Raises
    ------
    ValueError
        The CSV lacks a column, or what `source` raises.
    """
    names, bad = walk(root, folder, anywhere=anywhere)
    there, faulty = set(names), {row["file"] for row in bad}
    entries: list[Source] = []
    listed: set[str] = set()
    for row in read_csv(root / metadata, columns):
        file = name(row)
        if file in listed:
            bad.append(rejected(file, "listed twice", f"{metadata} must name a file once; its first row counts"))
        elif file not in there and file not in faulty:
            bad.append(rejected(file, "no such file", f"what {metadata} lists must be there"))
        elif file in there and (empty := [column for column in columns if not row[column]]):
            bad.append(rejected(file, f"{' and '.join(empty)} empty", "each must be given"))
        elif file in there and (entry := source(file, row)):
            entries.append(entry)
        listed.add(file)
    bad += [rejected(file, "no row", f"every file must be listed in {metadata}") for file in there - listed]
    return sorted(entries, key=lambda s: s.name), sorted(bad, key=lambda row: row["file"])
