"""Tagged recordings to chunks: one wav a recording with its chunks end to end, and their table."""

import sys
from pathlib import Path

from tqdm import tqdm

from gunshot import tags
from gunshot.base import audio, params, processes, seeds, tables
from gunshot.dataset import chunks


def work(item: tuple[dict, list[int]], raw: Path, out: Path, p: chunks.Sections) -> tuple[list[dict], list[dict]]:
    recording, onsets = item
    name, pcm = recording["path"], audio.read_pcm(raw / recording["path"], sr=p.audio.sr)
    if len(pcm) < (length := p.audio.chunk_length):
        return [], [{"file": name, "value": f"{len(pcm)} samples", "rule": f"must hold one chunk of {length}"}]
    cut, own = chunks.of_recording(recording, pcm, onsets, seeds.generator(p.chunks.seed, name), p)
    if own:
        audio.write_pcm(out / name, cut.ravel(), sr=p.audio.sr)
    return own, []


def main(raw: Path, tagged: Path, out: Path) -> None:
    p = params.load("audio", "quality", "chunks", "context", "features")
    recordings = tables.read(tagged / "recordings.csv", tables.RECORDING).to_dict("records")
    tagged_of, rejected = tags.read(tagged / "tags.csv")
    items = [(row, [tag.start for tag in tagged_of.get(row["path"], [])]) for row in recordings]
    parts = processes.in_order(work, items, raw, out, p, workers=2, batch=16)
    done = list(tqdm(parts, total=len(items), desc="chunk", unit="recording"))
    table = tables.frame((row for own, _ in done for row in own), tables.CHUNK)
    refused = tables.frame([*rejected, *(row for _, bad in done for row in bad)], tables.REJECTED)
    tables.write(out / "rejected.csv", refused)
    tables.write(out / "chunks.csv", table)
    print("chunk:", table["class"].value_counts().to_dict(), f"from {len(items)} recordings; {len(refused)} rejected")
    tables.check_rejected(refused, len(recordings), limit=p.quality.max_rejected, where=out / "rejected.csv")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
