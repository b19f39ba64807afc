"""Sets of gunshots alone, a folder a weapon: the Kaggle gunshot audio dataset and the Free Firearm Sound Library.

In the Kaggle set a file such as ``3 (20).wav`` is the 20th cut of the video 3: files with consecutive numbers come
from one video. Weapon and video are the recording group; where a name says no video, the whole weapon is one group, so
that cuts of one video are never parted. In the Free Firearm Sound Library all takes of a weapon, recorded in one
session, are one group.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

from gunshot.corpora.sources import Source, seen, walk

_CUT = re.compile(r"(\d+)\s*\(\d+\)")


def video(weapon: str, stem: str) -> str:
    """Return the recording group of a file of the Kaggle set, below its corpus: weapon and video, or weapon."""
    found = _CUT.fullmatch(stem.strip())
    return f"{weapon}/{int(found[1])}" if found else weapon


def session(weapon: str, stem: str) -> str:
    """Return the recording group of a take of the Free Firearm Sound Library: its weapon."""
    return weapon


def _scan(
    root: Path, *, group: Callable[[str, str], str], corpus: str, upstream: str, licence: str
) -> tuple[list[Source], list[dict]]:
    root = Path(root).resolve()
    names, bad = walk(root, ".")
    sources = []
    for name in names:
        *folders, file = PurePosixPath(name).parts
        if not folders or PurePosixPath(file).suffix.lower() in (".txt", ".md", ".pdf", ".csv", ".json"):
            continue  # what describes the set
        weapon = folders[-1]
        sources.append(
            Source(
                file=root / name,
                name=name,
                path=f"gun/{name}",
                class_="gun",
                label=weapon,
                recording_group=f"{corpus}:{group(weapon, PurePosixPath(file).stem)}",
                source=corpus,
                upstream=upstream,
                licence=licence,
            )
        )
    if not sources:
        raise ValueError(f"{root}: must hold a folder for each weapon, with recordings in it; {seen(root)}")
    return sources, bad


kaggle_gunshots = partial(
    _scan, group=video, corpus="kaggle-gunshots", upstream="Gunshot audio dataset (Kaggle)", licence="unknown"
)
freefirearm = partial(
    _scan, group=session, corpus="freefirearm", upstream="The Free Firearm Sound Library", licence="CC0-1.0"
)
