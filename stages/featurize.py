"""Chunks, with their recordings' sound around them, to log-mels: one memory-mappable array a side and its table."""

import sys
from itertools import chain
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gunshot import features
from gunshot.base import audio, params, processes, tables


def work(part: tuple[Path, np.ndarray, np.ndarray], p: features.ContextSections) -> tuple[np.ndarray, ...]:
    return part[2], *features.windows(audio.read_pcm(part[0], sr=p.audio.sr), part[1], p)


def main(raw: Path, folder: Path, augmented: Path, sides: Path, out: Path) -> None:
    p = params.load("audio", "features", "context")
    side = tables.read(sides, tables.SPLIT).set_index("recording_group")["side"]
    for name in tables.SIDES:
        every, more = (tables.parts(path / "chunks.csv", tables.CHUNK) for path in (folder, augmented))
        own = (rows[rows["recording_group"].map(side) == name] for rows in every)
        table, padded, bar = out / f"{name}.csv", 0, tqdm(desc=f"featurize {name}", unit="chunk")
        bar.total = tables.write_parts(table, chain(own, more if name == "train" else ()))
        shape = (bar.total, p.features.n_mels, p.context.frames)
        with bar, tables.array(table.with_suffix(".npy"), shape) as array:
            parts = tables.by_file(table, raw, augmented)
            for rows, windows, count in processes.in_order(work, parts, p, workers=2):
                array[rows] = windows
                padded += count.sum()
                bar.update(len(rows))
        counts = tables.chunks(table, ["class"])["class"].value_counts().to_dict()
        print(f"featurize: {name} {shape} {counts}, {padded / max(1, shape[0] * shape[2]):.1%} of the frames padded")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
