"""Recordings that came back from devices, as a person confirmed them: DEVICE/anything, and tags.csv.

A confirmed line with starts makes its recording gun, one without makes it env; what is untagged or automatic is left
out. The device is the recording group: whatever one device heard is of one place. A recording's name in data/raw ends
in a part of its hash, since devices use names again.

DEVICE/decision/LABEL/ORDER.wav is what `gunshot hub collect` filed: without shots it keeps the label that a person gave
it. An order's name is never used again, so that its recording has it as it is.
"""

import hashlib
from pathlib import Path, PurePosixPath

from gunshot import tags
from gunshot.base import tables
from gunshot.corpora.sources import Source, rejected, walk

LABELS = {"gun": "gunshot", "env": "field"}
DECISION = "decision"  # the folder of what was decided at a hub


def scan(root: Path) -> tuple[list[Source], list[dict]]:
    """Return the confirmed recordings as sources, sorted by name, and rejected rows: bad tags, links out, no device.

    What nobody confirmed is not asked for, whatever it is.
    """
    root = Path(root).resolve()
    names, odd = walk(root, ".")
    file = root / "tags.csv"
    tagged, faults = tags.read(file) if file.exists() else ({}, [])
    bad = [row for row in odd if tags.state(tagged.get(row["file"])) == "confirmed"]
    bad += [rejected(Path(row["file"]).name, row["value"], row["rule"]) for row in faults]
    sources = []
    for name in names:
        if tags.state(tagged.get(name)) != "confirmed":
            continue
        if len(PurePosixPath(name).parts) < 2:
            bad.append(rejected(name, "no device", "a recording must lie in a folder named after its device"))
        else:
            sources.append(_source(root, name, tagged[name]))
    return sources, bad


def _source(root: Path, name: str, placed: list[tags.Tag]) -> Source:
    class_ = "gun" if placed else "env"
    path = PurePosixPath(name)
    device, label = path.parts[0], LABELS[class_]
    if path.parts[1] == DECISION and len(path.parts) == 4:
        target = PurePosixPath(device, path.name)
        if class_ == "env" and path.parts[2] != LABELS["gun"]:
            label = path.parts[2]
    else:
        with open(root / name, "rb") as file:
            mark = hashlib.file_digest(file, "sha256").hexdigest()[:12]
        target = path.with_name(f"{path.stem}_{mark}.wav")
    return Source(
        file=root / name,
        name=name,
        path=f"{class_}/{target}",
        class_=class_,
        label=label,
        recording_group=f"field:{device}",
        source="field",
        upstream=device,
        licence="own",
        tags=tuple(placed) or None,
    )


def withdraw(sources: list[Source], out: Path, by_hand: Path) -> list[str]:
    """Take recordings out of the corpus `out` that a person has since decided to be of the other class; return them.

    `sources` are what is imported next. `by_hand` is data/tags. Killed at any time, the next call goes on.
    """
    file = out / "recordings.csv"
    if not file.exists():
        return []
    table = tables.read(file, tables.RECORDING)
    other = {"gun": "env", "env": "gun"}
    decided = (source for source in sources if f"/{DECISION}/" in source.name)
    paths = {f"{out.name}/{source.path.replace(source.class_, other[source.class_], 1)}" for source in decided}
    gone = sorted(paths.intersection(table["path"]))
    if gone:
        for path in gone:
            (out.parent / path).unlink(missing_ok=True)
        for tagged in (out / "tags.csv", by_hand / f"{out.name}.csv"):
            if tagged.exists():
                tags.amend(tagged, dict.fromkeys(gone))
        tables.write(file, table[~table["path"].isin(gone)])
    return gone
