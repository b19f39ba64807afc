"""Recording groups to train, val and test; a group that has a side keeps it."""

import sys
from pathlib import Path

from gunshot.base import params, tables
from gunshot.dataset import splits


def main(chunks: Path, grouped: Path, out: Path) -> None:
    p = params.load("splits")
    table = tables.read(chunks / "chunks.csv", tables.CHUNK)
    kept = tables.read(out, tables.SPLIT) if out.exists() else tables.frame([], tables.SPLIT)
    groups = tables.read(grouped / "recordings.csv", tables.RECORDING | {"imported_group": str})
    before, kept = kept, splits.merge(kept, dict(zip(groups["imported_group"], groups["recording_group"], strict=True)))
    shares = {side: getattr(p.splits, side) for side in tables.SIDES}
    sides = splits.assign(splits.groups(table), kept, shares=shares, seed=p.splits.seed)
    tables.write(out, sides)
    counts = table.merge(sides[["recording_group", "side"]]).groupby(["side", "class"]).size()
    print(f"split: {len(sides)} groups, {len(sides) - len(kept)} of them new; chunks {counts.to_dict()}")
    if moved := int((before["side"] != kept["side"][: len(before)]).sum()):
        print(f"split: {moved} groups joined near-duplicates on a more held-out side")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
