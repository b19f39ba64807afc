"""Tagged recordings to chunks: one wav a recording with its chunks end to end, and their table."""

import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gunshot import tags
from gunshot.base import audio, params, seeds, tables
from gunshot.dataset import chunks


def main(raw: Path, tagged: Path, out: Path) -> None:
    p = params.load("audio", "quality", "chunks")
    length = p.audio.chunk_length
    recordings = tables.read(tagged / "recordings.csv", tables.RECORDING).to_dict("records")
    tagged_of, bad_lines = tags.read(tagged / "tags.csv")
    rows, rejected = [], bad_lines
    for recording in tqdm(recordings, desc="chunk", unit="recording"):
        name = recording["path"]
        pcm = audio.read_pcm(raw / name, sr=p.audio.sr)
        if len(pcm) < length:
            rule = f"must hold one chunk of {length}"
            rejected.append({"file": name, "value": f"{len(pcm)} samples", "rule": rule})
            continue
        if recording["class"] == "gun":
            rng = seeds.generator(p.chunks.seed, name)
            cut = {"draws": p.chunks.draws, "most": p.chunks.most, "jitter": p.chunks.jitter, "chunk_length": length}
            starts, onsets = chunks.around_tags([tag.start for tag in tagged_of.get(name, [])], len(pcm), rng, **cut)
        else:
            starts = chunks.at_hop(len(pcm), hop=p.chunks.env_hop, chunk_length=length)
            onsets = np.full(len(starts), -1)
        if len(starts):
            audio.write_pcm(out / name, chunks.cut(pcm, starts, chunk_length=length).ravel(), sr=p.audio.sr)
            rows += chunks.rows(recording, starts, onsets)
    refused = tables.frame(rejected, tables.REJECTED)
    table = tables.frame(rows, tables.CHUNK)
    tables.write(out / "rejected.csv", refused)
    tables.write(out / "chunks.csv", table)
    print(
        f"chunk: {table['class'].value_counts().to_dict()} from {len(recordings)} recordings; {len(refused)} rejected"
    )
    tables.check_rejected(refused, len(recordings), limit=p.quality.max_rejected, where=out / "rejected.csv")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
