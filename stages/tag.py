"""Recordings to tags: a person's, else the corpus's own, else onsets found automatically."""

import sys
from pathlib import Path

from tqdm import tqdm

from gunshot import tags
from gunshot.base import audio, params, processes, tables
from gunshot.dataset import impulse, onsets


def work(item: tuple[str, list[tags.Tag] | None], raw: Path, sr: int, p: params.Tags, rise_db: float) -> tuple:
    name, own = item
    pcm = audio.read_pcm(raw / name, sr=sr)
    origin = "given" if own is not None and tags.state(own) == "confirmed" else "automatic"
    own = onsets.find(pcm, sr=sr, **p.model_dump()) if own is None else own
    own, faint = impulse.clear(name, own, pcm, sr=sr, min_rise_db=rise_db)
    placed, bad = tags.check(name, own, len(pcm))
    return placed, origin, [] if faint and not own else bad, faint


def main(raw: Path, grouped: Path, by_hand: Path, out: Path) -> None:
    p = params.load("audio", "quality", "tags", "validation")
    recordings = tables.read(grouped / "recordings.csv", tables.RECORDING)
    files = sorted(raw.glob("*/tags.csv")), sorted(by_hand.rglob("*.csv"))
    given, rejected, waiting = tags.gather(*files, recordings)
    placed, origin, unclear, rise_db = {}, {}, [], p.validation.min_gun_rise_db
    names = recordings.loc[recordings["class"] == "gun", "path"]
    items = [(name, given.get(name)) for name in names]
    done = processes.in_order(work, items, raw, p.audio.sr, p.tags, rise_db, workers=2)
    for name, result in zip(names, tqdm(done, total=len(items), desc="tag", unit="recording"), strict=True):
        placed[name], origin[name], bad, faint = result
        rejected += bad
        unclear += faint
    refused = tables.frame(rejected, tables.REJECTED)
    tables.write(out / "recordings.csv", recordings.assign(tagged=recordings["path"].map(origin).fillna("none")))
    tables.write(out / "rejected.csv", tables.frame(rejected + unclear, tables.REJECTED))
    tags.write(out / "tags.csv", placed)
    total = sum(map(len, placed.values()))
    automatic = list(origin.values()).count("automatic")
    print(f"tag: {total} shots in {len(placed)} gun recordings, {automatic} of them tagged automatically;", end=" ")
    print(f"{len(refused)} rejected; {len(unclear)} automatic ones rise by less than {rise_db:g} dB and are left out")
    if waiting:
        print(f"tag: {waiting.total()} lines of {by_hand} wait for {', '.join(sorted(waiting))}")
    tables.check_rejected(refused, max(total, len(placed)), limit=p.quality.max_rejected, where=out / "rejected.csv")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
