"""Chunks to log-mel features, one memory-mappable array a side and its table."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from gunshot import features
from gunshot.base import params, tables
from gunshot.base.files import atomic
from gunshot.dataset import chunks


def main(folder: Path, augmented: Path, sides: Path, out: Path) -> None:
    p = params.load("audio", "features")
    side = tables.read(sides, tables.SPLIT).set_index("recording_group")["side"]
    own, more = (tables.read(path / "chunks.csv", tables.CHUNK).assign(folder=path) for path in (folder, augmented))
    p_audio = {"sr": p.audio.sr, "chunk_length": p.audio.chunk_length}
    for name in tables.SIDES:
        table = pd.concat([own[own["recording_group"].map(side) == name], more if name == "train" else more[:0]])
        table = table.reset_index(drop=True)
        n_frames = features.frames(p.audio.chunk_length, n_fft=p.features.n_fft, hop_length=p.features.hop_length)
        shape = (len(table), p.features.n_mels, n_frames)
        with atomic(out / f"{name}.npy") as part:
            array = np.lib.format.open_memmap(part, "w+", np.float32, shape)
            recordings = table.groupby(["folder", "path"], sort=False).indices.items()
            for (where, _), rows in tqdm(recordings, desc=f"featurize {name}", unit="recording"):
                pcm = chunks.load(where, table.iloc[rows], **p_audio)
                array[rows] = features.log_mel(pcm, sr=p.audio.sr, **p.features.model_dump())
            array.flush()
        tables.write(out / f"{name}.csv", table[list(tables.CHUNK)])
        print(f"featurize: {name} {shape} {table['class'].value_counts().to_dict()}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
