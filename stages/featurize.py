"""Chunks, with their recordings' sound around them, to log-mels: one memory-mappable array a side and its table."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from gunshot import features
from gunshot.base import audio, params, processes, tables


def work(part: tuple[Path, np.ndarray], p: features.ContextSections) -> tuple[np.ndarray, np.ndarray]:
    return features.windows(audio.read_pcm(part[0], sr=p.audio.sr), part[1], p)


def main(raw: Path, folder: Path, augmented: Path, sides: Path, out: Path) -> None:
    p = params.load("audio", "features", "context")
    side = tables.read(sides, tables.SPLIT).set_index("recording_group")["side"]
    own, more = (tables.read(path / "chunks.csv", tables.CHUNK) for path in (folder, augmented))
    own, more = own.assign(file=str(raw) + "/" + own["recording"]), more.assign(file=f"{augmented}/" + more["path"])
    for name in tables.SIDES:
        table = pd.concat([own[own["recording_group"].map(side) == name], more if name == "train" else more[:0]])
        table = table.reset_index(drop=True)
        shape, padded = (len(table), p.features.n_mels, p.context.frames), 0
        with tables.array(out / f"{name}.npy", shape) as array:
            rows_of = table.groupby("file", sort=False).indices
            parts = [(Path(file), table["start"].to_numpy()[rows]) for file, rows in rows_of.items()]
            bar = tqdm(processes.in_order(work, parts, p, workers=2), f"featurize {name}", len(parts), unit="recording")
            for rows, (windows, count) in zip(rows_of.values(), bar, strict=True):
                array[rows] = windows
                padded += count.sum()
        tables.write(out / f"{name}.csv", table[list(tables.CHUNK)])
        share = padded / max(1, len(table) * p.context.frames)
        print(f"featurize: {name} {shape} {table['class'].value_counts().to_dict()}, {share:.1%} of the frames padded")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
