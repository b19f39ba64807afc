"""Recordings to tags: a person's, else the corpus's own, else onsets found automatically."""

import sys
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from gunshot import tags
from gunshot.base import audio, params, processes, tables
from gunshot.dataset import onsets


def work(item: tuple[str, list[tags.Tag] | None], raw: Path, p: onsets.Sections) -> onsets.Placed:
    return onsets.placed(*item, audio.read_pcm(raw / item[0], sr=p.audio.sr), p)


def main(raw: Path, grouped: Path, by_hand: Path, out: Path) -> None:
    p = params.load("audio", "quality", "tags", "validation")
    recordings = tables.read(grouped / "recordings.csv", tables.RECORDING)
    given, rejected, waiting = tags.gather(sorted(raw.glob("*/tags.csv")), sorted(by_hand.rglob("*.csv")), recordings)
    items = [(name, given.get(name)) for name in recordings.loc[recordings["class"] == "gun", "path"]]
    parts = tqdm(processes.in_order(work, items, raw, p, workers=2), "tag", len(items), unit="recording")
    done = dict(zip((name for name, _ in items), parts, strict=True))
    refused = tables.frame([*rejected, *(row for own in done.values() for row in own.rejected)], tables.REJECTED)
    faint = tables.frame((row for own in done.values() for row in own.faint), tables.REJECTED)
    origin = recordings["path"].map({name: own.origin for name, own in done.items()}).fillna("none")
    tables.write(out / "recordings.csv", recordings.assign(tagged=origin))
    tables.write(out / "rejected.csv", pd.concat([refused, faint]))
    tags.write(out / "tags.csv", {name: own.tags for name, own in done.items()})
    total, automatic = sum(len(own.tags) for own in done.values()), (origin == "automatic").sum()
    rule = f"{len(refused)} rejected; {len(faint)} automatic ones rise by less than {p.validation.min_gun_rise_db:g} dB"
    print(f"tag: {total} shots in {len(done)} gun recordings, {automatic} tagged automatically; {rule}, left out")
    if waiting:
        print(f"tag: {waiting.total()} lines of {by_hand} wait for {', '.join(sorted(waiting))}")
    tables.check_rejected(refused, max(total, len(done)), limit=p.quality.max_rejected, where=out / "rejected.csv")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
