"""ESC-50 as published, and its subset ESC-10: meta/esc50.csv and audio/.

K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015. All clips cut from one
Freesound recording (`src_file`) are one recording group, named as UrbanSound8K's are: both sets hold clips of the same
originals. Its LICENSE puts the whole under CC BY-NC 3.0, and ESC-10 under CC BY 3.0. A fold that is missing on the disk
is listed clip by clip.
"""

import hashlib
import wave
from pathlib import Path

from gunshot.corpora import classmap, metadata
from gunshot.corpora.sources import Source

METADATA = "meta/esc50.csv"
COLUMNS = ("filename", "category", "src_file")
# Of commit 33c8ce9: its list as several projects noted it, its clips as one did.
CONTENTS = (
    "ca660da60191a97de289983a05821c9382d852a38a2ba8428980816b68cf6246-"
    "f6ec8a2916b6eaf6c3a24cc7427eee203bc7d4972d6217c95f44c7d8810ecb34"
)


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
                licence="CC BY 3.0" if row.get("esc10") == "True" else "CC BY-NC 3.0",
            )
        )

    def name(row: dict) -> str:
        return f"audio/{row['filename']}"

    return metadata.sources(root, "audio", METADATA, COLUMNS, name=name, source=source, anywhere=anywhere)


def contents(root: Path) -> str:
    """Return SHA-256 of the set's list, and of its clips: names and samples, in the order of the names.

    A name is ``audio/FILE``, and a zero byte follows it.

    Raises
    ------
    ValueError
        A file is missing, or a clip is no wav.
    """
    digest = hashlib.sha256()
    try:
        listed = hashlib.sha256((root / METADATA).read_bytes()).hexdigest()
        for path in sorted((root / "audio").glob("*.wav")):
            with wave.open(str(path)) as clip:
                digest.update(f"audio/{path.name}\0".encode() + clip.readframes(clip.getnframes()))
    except (OSError, EOFError, wave.Error) as e:
        raise ValueError(f"{root}: no ESC-50 as published: {e}") from None
    return f"{listed}-{digest.hexdigest()}"
