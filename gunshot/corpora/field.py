"""Recordings that came back from devices, as a person confirmed them: DEVICE/anything, and tags.csv.

A confirmed line with starts makes its recording gun, one without makes it env; what is untagged or automatic is left
out. The device is the recording group: whatever one device heard is of one place. A recording's name in data/raw ends
in a part of its hash, since devices use names again.
"""

import hashlib
from pathlib import Path, PurePosixPath

from gunshot import tags
from gunshot.corpora.sources import Source, rejected, walk

LABELS = {"gun": "gunshot", "env": "field"}


def scan(root: Path) -> tuple[list[Source], list[dict]]:
    """Return the confirmed recordings as sources, sorted by name, and rejected rows: bad tags, links out, no device.

    What nobody confirmed is not asked for, whatever it is.
    """
    root = Path(root).resolve()
    names, odd = walk(root, ".")
    file = root / "tags.csv"
    found, faults = tags.read(file) if file.exists() else ({}, [])
    bad = [row for row in odd if tags.state(found.get(row["file"])) == "confirmed"]
    bad += [rejected(Path(row["file"]).name, row["value"], row["rule"]) for row in faults]
    sources = []
    for name in names:
        if tags.state(found.get(name)) != "confirmed":
            continue
        if len(PurePosixPath(name).parts) < 2:
            bad.append(rejected(name, "no device", "a recording must lie in a folder named after its device"))
        else:
            sources.append(_source(root, name, found[name]))
    return sources, bad


def _source(root: Path, name: str, placed: list[tags.Tag]) -> Source:
    class_ = "gun" if placed else "env"
    path = PurePosixPath(name)
    with open(root / name, "rb") as file:
        mark = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    return Source(
        file=root / name,
        name=name,
        path=f"{class_}/{path.with_name(f'{path.stem}_{mark}.wav')}",
        class_=class_,
        label=LABELS[class_],
        recording_group=f"field:{path.parts[0]}",
        source="field",
        upstream=path.parts[0],
        licence="own",
        tags=tuple(placed) or None,
    )
