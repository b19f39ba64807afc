"""ESC-50 as published, and its subset ESC-10: meta/esc50.csv and audio/.

K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015. All clips cut from one
Freesound recording (`src_file`) are one recording group, named as UrbanSound8K's are: both sets hold clips of the same
originals. A fold that is missing on the disk is listed clip by clip.
"""

from pathlib import Path

from gunshot.corpora import classmap, metadata
from gunshot.corpora.sources import Source

METADATA = "meta/esc50.csv"
COLUMNS = ("filename", "category", "src_file")


def scan(root: Path, classes: Path | None = None, *, anywhere: bool = False) -> tuple[list[Source], list[dict]]:
    """Return the sources that the metadata lists, and rejected rows, as `metadata.sources`; `classes` is a class map.

    Raises
    ------
    ValueError
        The metadata or audio/ is missing, the metadata lacks a column, or the class map a class.
    """
    root = Path(root).resolve()
    metadata.check(root, METADATA, "audio")
    place = classmap.placer("esc50", classes)

    def source(name: str, row: dict) -> Source | None:
        class_ = place(row["category"])
        return (
            None
            if class_ == "out"
            else Source(
                file=root / name,
                name=name,
                path=f"{class_}/{row['category']}/{row['filename']}",
                class_=class_,
                label=row["category"],
                recording_group=f"freesound:{row['src_file']}",
                source="esc50",
                upstream="ESC-50",
                licence="CC BY-NC 3.0",
            )
        )

    def name(row: dict) -> str:
        return f"audio/{row['filename']}"

    return metadata.sources(root, "audio", METADATA, COLUMNS, name=name, source=source, anywhere=anywhere)
