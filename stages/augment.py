"""Training recordings to augmented copies, and where their chunks lie in them."""

import sys
from functools import partial
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from gunshot.base import audio, params, processes, seeds, tables
from gunshot.dataset import augment


def work(rows: pd.DataFrame, raw: Path, names: list[str], out: Path, p: params.Augment, size: dict) -> list[dict]:
    name, read = rows["recording"].iloc[0], partial(audio.read_pcm, sr=size["sr"])
    rng, pcm = seeds.generator(p.seed, name), read(raw / name)
    copied, waves = augment.copies(rows, pcm, lambda rng: read(raw / names[rng.integers(len(names))]), rng, p, **size)
    for i, wave in enumerate(waves):
        audio.write_pcm(out / str(i) / name, wave, sr=size["sr"])
    return copied


def main(raw: Path, folder: Path, sides: Path, out: Path) -> None:
    p = params.load("audio", "augment")
    table = tables.read(folder / "chunks.csv", tables.CHUNK)
    side = tables.read(sides, tables.SPLIT).set_index("recording_group")["side"]
    train = table[table["recording_group"].map(side) == "train"]
    names = sorted(train.loc[train["class"] == "env", "recording"].unique())
    parts = [part for _, part in train.groupby("recording", sort=True)]
    done = processes.in_order(work, parts, raw, names, out, p.augment, p.audio.model_dump(), workers=2)
    rows = [row for part in tqdm(done, total=len(parts), desc="augment", unit="recording") for row in part]
    tables.write(out / "chunks.csv", tables.frame(rows, tables.CHUNK))
    print(f"augment: {len(rows)} copies of {len(train)} training chunks")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
