"""UrbanSound8K as published: metadata/UrbanSound8K.csv and audio/foldN/.

J. Salamon, C. Jacoby, J. P. Bello, "A Dataset and Taxonomy for Urban Sound Research", ACM Multimedia 2014.
All slices of one Freesound recording (`fsID`) are one recording group.
"""

from pathlib import Path

from gunshot.corpora import classmap, metadata
from gunshot.corpora.sources import Source

METADATA = "metadata/UrbanSound8K.csv"
COLUMNS = ("slice_file_name", "fsID", "fold", "class")


def scan(root: Path, classes: Path | None = None, *, anywhere: bool = False) -> tuple[list[Source], list[dict]]:
    """Return the sources that the metadata lists, and rejected rows, as `metadata.sources`; `classes` is a class map.

    Raises
    ------
    ValueError
        The metadata or audio/ is missing, the metadata lacks a column, or the class map a class.
    """
    root = Path(root).resolve()
    metadata.check(root, METADATA, "audio")
    place = classmap.placer("urbansound8k", classes)

    def source(name: str, row: dict) -> Source | None:
        class_ = place(row["class"])
        return (
            None
            if class_ == "out"
            else Source(
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
        )

    def name(row: dict) -> str:
        return f"audio/fold{row['fold']}/{row['slice_file_name']}"

    return metadata.sources(root, "audio", METADATA, COLUMNS, name=name, source=source, anywhere=anywhere)
