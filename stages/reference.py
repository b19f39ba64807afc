"""What the model was trained on, for drift: descriptors and int8 scores of training chunks without a shot."""

import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gunshot.base import audio, params, tables
from gunshot.field import drift
from gunshot.models.model import load_model


def main(raw: Path, folder: Path, sides: Path, model: Path, out: Path) -> None:
    p = params.load("audio", "features", "context", "monitor")
    side = tables.read(sides, tables.SPLIT).set_index("recording_group")["side"]
    table = tables.chunks(folder / "chunks.csv", ("recording", "start", "class", "recording_group"))
    # Devices hear no shot nearly always: beside training's half of shots they would always drift.
    table = table[(table["recording_group"].map(side) == "train") & (table["class"] == "env")]
    table = drift.sample(table, rows=p.monitor.rows, rng=np.random.default_rng(p.monitor.seed)).reset_index(drop=True)
    loaded, values = load_model(model), np.empty((len(table), len(drift.COLUMNS)), np.float32)
    recordings = table.groupby("recording", sort=False).indices
    for name, rows in tqdm(recordings.items(), desc="reference", unit="recording"):
        pcm = audio.read_pcm(raw / name, sr=p.audio.sr)
        values[rows] = drift.describe(pcm, table["start"].to_numpy()[rows], loaded, p)
    tables.write(out, drift.frame(table["recording"], values))
    print(f"reference: {len(table)} chunks of {len(recordings)} recordings, {len(drift.COLUMNS)} columns")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
