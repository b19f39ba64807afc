"""What detectors do on the test streams: shots found, false alarms an hour with their bounds; every read is noted."""

import sys
from pathlib import Path

from tqdm import tqdm

from gunshot.alarms import summary
from gunshot.alarms.operate import note_read
from gunshot.alarms.score import gathered, score_streams
from gunshot.base import params, tables
from gunshot.models.model import read_operating_point


def main(folder: Path, forest: Path, network: Path, quantized: Path, out: Path, tables_out: Path, reads: Path) -> None:
    p = params.load("audio", "chunks", "features", "detector")
    table = tables.read(folder / "streams.csv", tables.STREAM)
    paths = {"forest": forest, "float": network, "int8": quantized}
    note_read(reads, quantized, folder / "streams.csv")  # before the first look
    points = {name: read_operating_point(path)["logit"] for name, path in paths.items()}
    scored = score_streams(table, folder, paths, points, p)
    found = gathered(tqdm(scored, total=len(table), desc="score_streams", unit="stream"))
    events = tables.read(folder / "events.csv", tables.STREAM_EVENT)
    limit, sr = p.detector.max_fa_per_hour, p.audio.sr
    made = summary.figures(**found, streams=table, events=events, names=list(paths), limit=limit, sr=sr)
    for name, content in made["tables"].items():
        tables.write(tables_out / f"{name}.csv", content)
    tables.write_json(out, made["figures"] | {"limit": limit, "collar_s": p.detector.collar_s})
    for origin in ("simulated", "real"):
        for name, row in made["figures"][origin].items():
            if row["hours"]:
                print(f"score_streams: {origin:9} {name:6}", summary.told(row))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
