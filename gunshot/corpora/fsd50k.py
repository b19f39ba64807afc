"""FSD50K as published: FSD50K.ground_truth/{dev,eval}.csv, FSD50K.{dev,eval}_audio/, FSD50K.metadata/.

E. Fonseca et al., "FSD50K: an Open Dataset of Human-Labeled Sound Events", IEEE/ACM TASLP 30, 2022. A clip has several
labels, the most specific first and then those above it. It is gun where any of them is; else the first decides. Each
clip is a whole Freesound recording, whose number is its name: the group is named as ESC-50's and UrbanSound8K's are, so
that clips of one original are one group over all three sets. One of the two parts may be missing.
"""

import json
import re
from pathlib import Path

from gunshot.corpora import classmap, metadata
from gunshot.corpora.sources import Source

PARTS = ("dev", "eval")
COLUMNS = ("fname", "labels")
_LICENCE = re.compile(r"creativecommons\.org/(?:licenses|publicdomain)/([a-z+-]+)/([0-9.]+)")


def truth(part: str) -> str:
    """Return the list of a part, dev or eval."""
    return f"FSD50K.ground_truth/{part}.csv"


def licence(url: str) -> str:
    """Return the short name of a Creative Commons licence, such as "CC BY 4.0"; "unknown" for any other address."""
    if not (match := _LICENCE.search(url.lower())):
        return "unknown"
    kind, version = match.groups()
    if kind == "zero":
        return f"CC0-{version}"
    return f"CC {kind.capitalize() if '+' in kind else kind.upper()} {version}"


def scan(root: Path, classes: Path | None = None, *, anywhere: bool = False) -> tuple[list[Source], list[dict]]:
    """Return the sources of the parts that are there, and rejected rows, as `metadata.sources`.

    Raises
    ------
    ValueError
        A part's list or audio is missing, a list lacks a column, the class map a class, or FSD50K.metadata is no JSON.
    """
    root = Path(root).resolve()
    parts = [part for part in PARTS if (root / truth(part)).exists()] or [PARTS[0]]
    place = classmap.placer("fsd50k", classes)
    sources, bad = [], []
    for part in parts:
        metadata.check(root, truth(part), f"FSD50K.{part}_audio")
        more, faults = _part(root, part, place, anywhere)
        sources += more
        bad += faults
    return sources, bad


def _part(root: Path, part: str, place, anywhere: bool) -> tuple[list[Source], list[dict]]:
    folder, clips = f"FSD50K.{part}_audio", _clips(root / f"FSD50K.metadata/{part}_clips_info_FSD50K.json")

    def source(name: str, row: dict) -> Source | None:
        labels = row["labels"].split(",")
        places = [place(label) for label in labels]
        class_ = "gun" if "gun" in places else places[0]
        label = labels[places.index("gun")] if class_ == "gun" else labels[0]
        return (
            None
            if class_ == "out"
            else Source(
                file=root / name,
                name=name,
                path=f"{class_}/{label}/{row['fname']}.wav",
                class_=class_,
                label=label,
                recording_group=f"freesound:{row['fname']}",
                source="fsd50k",
                upstream="FSD50K",
                licence=licence(clips.get(row["fname"], {}).get("license", "")),
            )
        )

    def name(row: dict) -> str:
        return f"{folder}/{row['fname']}.wav"

    return metadata.sources(root, folder, truth(part), COLUMNS, name=name, source=source, anywhere=anywhere)


def _clips(path: Path) -> dict:
    """Return what is known of each clip; nothing where the file was not downloaded, so that licences are unknown."""
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:
        raise ValueError(f"{path}: must be JSON: {e}") from None
