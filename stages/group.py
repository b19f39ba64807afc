"""Recordings to recording groups: near-duplicates, of whatever corpora, are in one group."""

import os
import sys
from pathlib import Path

from gunshot.base import params, tables
from gunshot.dataset import fingerprints


def main(raw: Path, out: Path) -> None:
    sr = params.load("audio").audio.sr
    recordings = tables.recordings(raw)
    pairs = fingerprints.pairs(recordings["path"].tolist(), raw, sr=sr, workers=os.cpu_count() or 1)
    group = fingerprints.merged(recordings, pairs)
    moved = group != recordings["recording_group"]
    grouped = recordings.assign(imported_group=recordings["recording_group"], recording_group=group)
    tables.write(out / "pairs.csv", pairs)
    tables.write(out / "recordings.csv", grouped)
    print(
        f"group: {group.nunique()} groups of {len(group)} recordings; {len(pairs)} pairs of near-duplicates, "
        f"for which {moved.sum()} recordings went to another group"
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
