"""Recordings to tags: a person's, else the corpus's own, else onsets found automatically."""

import sys
from pathlib import Path

from tqdm import tqdm

from gunshot import tags
from gunshot.base import audio, params, tables
from gunshot.dataset import onsets


def main(raw: Path, grouped: Path, by_hand: Path, out: Path) -> None:
    p = params.load("audio", "quality", "tags")
    recordings = tables.read(grouped / "recordings.csv", tables.RECORDING)
    files = sorted(raw.glob("*/tags.csv")), sorted(by_hand.rglob("*.csv"))
    given, rejected, waiting = tags.gather(*files, recordings)
    found: dict[str, list[tags.Tag]] = {}
    origin = []
    for row in tqdm(recordings.to_dict("records"), desc="tag", unit="recording"):
        name = row["path"]
        if row["class"] == "env":
            origin.append("none")
            continue
        pcm = audio.read_pcm(raw / name, sr=p.audio.sr)
        placed = given.get(name)
        if placed is None:
            placed = onsets.find(pcm, sr=p.audio.sr, **p.tags.model_dump())
        origin.append("given" if tags.state(placed) == "confirmed" and name in given else "automatic")
        found[name], bad = tags.check(name, placed, len(pcm))
        rejected += bad
    refused = tables.frame(rejected, tables.REJECTED)
    tables.write(out / "recordings.csv", recordings.assign(tagged=origin))
    tables.write(out / "rejected.csv", refused)
    tags.write(out / "tags.csv", found)
    total = sum(map(len, found.values()))
    print(
        f"tag: {total} shots in {len(found)} gun recordings, {origin.count('automatic')} of them tagged automatically; "
        f"{len(refused)} rejected"
        + (f"; {waiting.total()} lines of {by_hand} wait for {', '.join(sorted(waiting))}" if waiting else "")
    )
    tables.check_rejected(refused, max(total, len(found)), limit=p.quality.max_rejected, where=out / "rejected.csv")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
