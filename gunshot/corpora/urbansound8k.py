"""UrbanSound8K as published: metadata/UrbanSound8K.csv and audio/foldN/.

J. Salamon, C. Jacoby, J. P. Bello, "A Dataset and Taxonomy for Urban Sound Research", ACM Multimedia 2014.
All slices of one Freesound recording (`fsID`) are one recording group.
"""

from pathlib import Path

from gunshot.corpora import classmap
from gunshot.corpora.sources import Source, read_csv, rejected, walk

METADATA = "metadata/UrbanSound8K.csv"
COLUMNS = ("slice_file_name", "fsID", "fold", "class")


def _source(root: Path, name: str, row: dict, class_: str) -> Source:
    return Source(
        file=root / name,
        name=name,
        path=class_ + name.removeprefix("audio"),
        class_=class_,
        label=row["class"],
        recording_group=f"freesound:{row['fsID']}",
        source="urbansound8k",
        upstream="UrbanSound8K",
        licence="CC BY-NC 3.0",
    )


def scan(root: Path, classes: Path | None = None) -> tuple[list[Source], list[dict]]:
    """Return the sources that the metadata lists, sorted by name, and rejected rows; `classes` is a class map.

    Rejected: a row without its file, class or fsID, a second row for one file, a file without a row.

    Raises
    ------
    ValueError
        The metadata or audio/ is missing, the metadata lacks a column, or the class map a class.
    """
    root, path = Path(root).resolve(), classes or classmap.default("urbansound8k")
    mapped = classmap.load(path)
    for needed in (METADATA, "audio"):
        if not (root / needed).exists():
            raise ValueError(f"{root}: must hold {METADATA} and audio/foldN/; {needed} is missing")
    rows = read_csv(root / METADATA, COLUMNS)
    names, bad = walk(root, "audio")
    there, faulty, sources = set(names), {row["file"] for row in bad}, {}
    for row in rows:
        name = f"audio/fold{row['fold']}/{row['slice_file_name']}"
        if name in sources:
            bad.append(rejected(name, "listed twice", f"{METADATA} must name a file once; its first row counts"))
        elif name in there and not (row["class"] and row["fsID"]):
            bad.append(rejected(name, f"class={row['class']!r} fsID={row['fsID']!r}", "neither may be empty"))
            faulty.add(name)
        elif name in there:
            class_ = classmap.place(mapped, row["class"], path)
            if class_ == "out":
                faulty.add(name)
            else:
                sources[name] = _source(root, name, row, class_)
        elif name not in faulty:
            bad.append(rejected(name, "no such file", f"what {METADATA} lists must be there"))
    unlisted = there - sources.keys() - faulty
    bad += [rejected(name, "no row", f"every file must be listed in {METADATA}") for name in unlisted]
    return [sources[name] for name in sorted(sources)], sorted(bad, key=lambda row: row["file"])
