"""Sets of gunshots alone, a folder a weapon: the Kaggle gunshot audio dataset and the Free Firearm Sound Library.

In the Kaggle set a file such as ``3 (20).wav`` is the 20th cut of weapon 3: the number before the parenthesis is the
same in all of a weapon's folder. The cuts come from videos that no name tells apart, so that the whole weapon is one
recording group. In the Free Firearm Sound Library all takes of a weapon, recorded in one session, are one group.
"""

import re
from functools import partial
from pathlib import Path, PurePosixPath

from gunshot.corpora.sources import Source, seen, walk

NAMES = {"kaggle-gunshots": r"\d+ \(\d+\)\.\w+", "freefirearm": r"[A-Z]_\d+P?\.\w+"}  # as the sets have them


def named(root: Path) -> str | None:
    """Return the layout as which files in the folders of `root` are named; None where they are not."""
    names = [file.name for file in root.glob("*/*")]
    known = (layout for layout, form in NAMES.items() if any(re.fullmatch(form, name) for name in names))
    return next(known, None)


def _scan(root: Path, *, corpus: str, upstream: str, licence: str) -> tuple[list[Source], list[dict]]:
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
                recording_group=f"{corpus}:{weapon}",
                source=corpus,
                upstream=upstream,
                licence=licence,
            )
        )
    if not sources:
        raise ValueError(f"{root}: must hold a folder for each weapon, with recordings in it; {seen(root)}")
    return sources, bad


kaggle_gunshots = partial(_scan, corpus="kaggle-gunshots", upstream="Gunshot audio dataset (Kaggle)", licence="unknown")
freefirearm = partial(_scan, corpus="freefirearm", upstream="The Free Firearm Sound Library", licence="CC0-1.0")
