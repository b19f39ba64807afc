"""Tagged recordings to chunks: one wav a recording with its chunks end to end, and their table."""

import sys
from pathlib import Path

from tqdm import tqdm

from gunshot import features, tags
from gunshot.base import audio, params, seeds, tables
from gunshot.dataset import chunks


def main(raw: Path, tagged: Path, out: Path) -> None:
    p = params.load("audio", "quality", "chunks", "context", "features")
    length, behind = p.audio.chunk_length, features.context_samples(p)[1]
    recordings = tables.read(tagged / "recordings.csv", tables.RECORDING).to_dict("records")
    tagged_of, bad_lines = tags.read(tagged / "tags.csv")
    rows, rejected = [], bad_lines
    for recording in tqdm(recordings, desc="chunk", unit="recording"):
        name = recording["path"]
        pcm = audio.read_pcm(raw / name, sr=p.audio.sr)
        if len(pcm) < length:
            rejected.append({"file": name, "value": f"{len(pcm)} samples", "rule": f"must hold one chunk of {length}"})
            continue
        onsets, rng = [tag.start for tag in tagged_of.get(name, [])], seeds.generator(p.chunks.seed, name)
        cut, own = chunks.of_recording(recording, pcm, onsets, rng, p.chunks, chunk_length=length, behind=behind)
        if own:
            audio.write_pcm(out / name, cut.ravel(), sr=p.audio.sr)
        rows += own
    refused = tables.frame(rejected, tables.REJECTED)
    table = tables.frame(rows, tables.CHUNK)
    tables.write(out / "rejected.csv", refused)
    tables.write(out / "chunks.csv", table)
    counts = table["class"].value_counts().to_dict()
    print(f"chunk: {counts} from {len(recordings)} recordings; {len(refused)} rejected")
    tables.check_rejected(refused, len(recordings), limit=p.quality.max_rejected, where=out / "rejected.csv")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
