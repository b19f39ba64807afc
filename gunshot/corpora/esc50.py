"""ESC-50 as published, and its subset ESC-10: meta/esc50.csv and audio/.

K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015. All clips cut from one
Freesound recording (`src_file`) are one recording group, named as UrbanSound8K's are: both sets hold clips of the same
originals. A fold that is missing on the disk is listed clip by clip.
"""

from pathlib import Path

from gunshot.corpora import classmap
from gunshot.corpora.sources import Source, read_csv, rejected, walk

METADATA = "meta/esc50.csv"
COLUMNS = ("filename", "category", "src_file")
LICENCE = "CC BY-NC 3.0"


def scan(root: Path, classes: Path | None = None) -> tuple[list[Source], list[dict]]:
    """Return the sources that the metadata lists, sorted by name, and rejected rows; `classes` is a class map.

    Rejected: a row without its file, category or src_file, a second row for one file, a file without a row.

    Raises
    ------
    ValueError
        The metadata or audio/ is missing, the metadata lacks a column, or the class map a class.
    """
    root, path = Path(root).resolve(), classes or classmap.default("esc50")
    for needed in (METADATA, "audio"):
        if not (root / needed).exists():
            raise ValueError(f"{root}: must hold {METADATA} and audio/; {needed} is missing")
    mapped = classmap.load(path)
    names, bad = walk(root, "audio")
    there, known, sources = set(names), {row["file"] for row in bad}, []
    for row in read_csv(root / METADATA, COLUMNS):
        name = f"audio/{row['filename']}"
        if name in known:
            bad.append(rejected(name, "listed twice or unusable", f"{METADATA} must name a usable file once"))
        elif name not in there:
            bad.append(rejected(name, "no such file", f"what {METADATA} lists must be there"))
        elif not (row["category"] and row["src_file"]):
            value = f"category={row['category']!r} src_file={row['src_file']!r}"
            bad.append(rejected(name, value, "neither may be empty"))
        elif (class_ := classmap.place(mapped, row["category"], path)) != "out":
            sources.append(_source(root, name, row, class_))
        known.add(name)
    bad += [rejected(name, "no row", f"every file must be listed in {METADATA}") for name in there - known]
    return sorted(sources, key=lambda s: s.name), sorted(bad, key=lambda row: row["file"])


def _source(root: Path, name: str, row: dict, class_: str) -> Source:
    return Source(
        file=root / name,
        name=name,
        path=f"{class_}/{row['category']}/{row['filename']}",
        class_=class_,
        label=row["category"],
        recording_group=f"freesound:{row['src_file']}",
        source="esc50",
        upstream="ESC-50",
        licence=LICENCE,
    )
