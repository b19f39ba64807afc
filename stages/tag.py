"""Recordings to tags: a person's, else the corpus's own, else onsets found automatically."""

import sys
from pathlib import Path

from tqdm import tqdm

from gunshot import audio, params, tables, tags


def main(raw: Path, by_hand: Path, out: Path) -> None:
    p = params.load("audio", "quality", "tags")
    recordings = tables.recordings(raw)
    given, rejected = tags.gather(sorted(raw.glob("*/tags.csv")), sorted(by_hand.glob("*.csv")), recordings)
    found: dict[str, list[int]] = {}
    origin = []
    for row in tqdm(recordings.to_dict("records"), desc="tag", unit="recording"):
        name = row["path"]
        if row["class"] == "env":
            origin.append("none")
            continue
        origin.append("given" if name in given else "automatic")
        pcm = audio.read_pcm(raw / name, sr=p.audio.sr)
        starts = given.get(name)
        if starts is None:
            starts = tags.onsets(pcm, sr=p.audio.sr, **p.tags.model_dump()).tolist()
        found[name], bad = tags.check(name, starts, len(pcm))
        rejected += bad
    refused = tables.frame(rejected, tables.REJECTED)
    tables.write(out / "recordings.csv", recordings.assign(tagged=origin))
    tables.write(out / "rejected.csv", refused)
    tags.write(out / "tags.csv", found)
    total = sum(map(len, found.values()))
    print(
        f"tag: {total} shots in {len(found)} gun recordings, {origin.count('automatic')} of them tagged automatically; "
        f"{len(refused)} rejected"
    )
    tables.check_rejected(refused, max(total, len(found)), limit=p.quality.max_rejected, where=out / "rejected.csv")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
