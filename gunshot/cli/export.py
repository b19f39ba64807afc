"""gunshot export: chunks and tags for other tools."""

from pathlib import Path
from typing import Annotated

import typer

from gunshot.base import params, pipeline, tables
from gunshot.cli.app import export


@export.command()
def chunks(
    out: Annotated[Path, typer.Argument(help="The folder to write to.")] = Path("chunks"),
) -> None:
    """Write each chunk as a wav of its own, in OUT/SIDE/CLASS/LABEL/."""
    import soundfile as sf
    from tqdm import tqdm

    from gunshot.dataset import chunks as library

    p = params.load("audio")
    folder = pipeline.output("chunk")
    table = tables.read(folder / "chunks.csv", tables.CHUNK)
    side = tables.read(pipeline.output("split"), tables.SPLIT).set_index("recording_group")["side"]
    for _, rows in tqdm(table.groupby("path", sort=False), unit="recording"):
        pcm = library.load(folder, rows, sr=p.audio.sr, chunk_length=p.audio.chunk_length)
        for row, chunk in zip(rows.to_dict("records"), pcm, strict=True):
            stem = row["chunk"].removesuffix(".wav").replace("/", "_").replace(".wav#", "_")
            target = out / side[row["recording_group"]] / row["class"] / row["label"] / f"{stem}.wav"
            target.parent.mkdir(parents=True, exist_ok=True)
            sf.write(target, chunk, p.audio.sr, subtype="PCM_16")
    print(f"{len(table)} chunks in {out}")
