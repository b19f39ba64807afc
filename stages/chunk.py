"""Tagged recordings to chunks: one wav a recording with its chunks end to end, and their table."""

import sys
from pathlib import Path

from tqdm import tqdm

from gunshot import features, tags
from gunshot.base import audio, params, processes, seeds, tables
from gunshot.dataset import chunks


def work(item: tuple[dict, list[int]], raw: Path, out: Path, p: params.Chunks, size: dict) -> tuple[list, list]:
    recording, onsets = item
    name, sr, length = recording["path"], size["sr"], size["chunk_length"]
    pcm = audio.read_pcm(raw / name, sr=sr)
    if len(pcm) < length:
        return [], [{"file": name, "value": f"{len(pcm)} samples", "rule": f"must hold one chunk of {length}"}]
    rng, shape = seeds.generator(p.seed, name), {"chunk_length": length, "behind": size["behind"]}
    cut, own = chunks.of_recording(recording, pcm, onsets, rng, p, **shape)
    if own:
        audio.write_pcm(out / name, cut.ravel(), sr=sr)
    return own, []


def main(raw: Path, tagged: Path, out: Path) -> None:
    p = params.load("audio", "quality", "chunks", "context", "features")
    size = p.audio.model_dump() | {"behind": features.context_samples(p)[1]}
    recordings = tables.read(tagged / "recordings.csv", tables.RECORDING).to_dict("records")
    tagged_of, rejected = tags.read(tagged / "tags.csv")
    items = [(row, [tag.start for tag in tagged_of.get(row["path"], [])]) for row in recordings]
    done, rows = processes.in_order(work, items, raw, out, p.chunks, size, workers=2, batch=16), []
    for own, bad in tqdm(done, total=len(items), desc="chunk", unit="recording"):
        rows += own
        rejected += bad
    refused = tables.frame(rejected, tables.REJECTED)
    table = tables.frame(rows, tables.CHUNK)
    tables.write(out / "rejected.csv", refused)
    tables.write(out / "chunks.csv", table)
    counts = table["class"].value_counts().to_dict()
    print(f"chunk: {counts} from {len(recordings)} recordings; {len(refused)} rejected")
    tables.check_rejected(refused, len(recordings), limit=p.quality.max_rejected, where=out / "rejected.csv")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
