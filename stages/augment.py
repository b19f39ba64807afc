"""Training chunks to augmented copies, cut anew from their recordings."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from gunshot.base import audio, params, processes, seeds, tables
from gunshot.dataset import augment, chunks


def work(rows: pd.DataFrame, raw: Path, noise: np.ndarray, out: Path, p: params.Augment, sr: int) -> list[dict]:
    name = rows["recording"].iloc[0]
    pcm = audio.read_pcm(raw / name, sr=sr)
    rng = seeds.generator(p.seed, name)
    copied, copies = augment.copies(rows, pcm, noise, rng, p, sr=sr)
    if copied:
        audio.write_pcm(out / name, copies.ravel(), sr=sr)
    return copied


def main(raw: Path, folder: Path, sides: Path, out: Path) -> None:
    p = params.load("audio", "augment")
    table = tables.read(folder / "chunks.csv", tables.CHUNK)
    side = tables.read(sides, tables.SPLIT).set_index("recording_group")["side"]
    train = table[table["recording_group"].map(side) == "train"]
    noise = chunks.load(folder, train[train["class"] == "env"], sr=p.audio.sr, chunk_length=p.audio.chunk_length)
    parts = [part for _, part in train.groupby("recording", sort=True)]
    done = processes.in_order(work, parts, raw, noise, out, p.augment, p.audio.sr, workers=2)
    rows = [row for part in tqdm(done, total=len(parts), desc="augment", unit="recording") for row in part]
    tables.write(out / "chunks.csv", tables.frame(rows, tables.CHUNK))
    print(f"augment: {len(rows)} copies of {len(train)} training chunks")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
