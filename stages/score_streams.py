"""What detectors do on the test streams: shots found, false alarms an hour with their bounds; every read is noted."""

import sys
from pathlib import Path

from tqdm import tqdm

from gunshot import alarms, models, params, streams, tables, tally


def main(folder: Path, forest: Path, network: Path, quantized: Path, out: Path, tables_out: Path, reads: Path) -> None:
    p = params.load("audio", "chunks", "features", "detector")
    table = tables.read(folder / "streams.csv", streams.STREAM)
    paths = {"forest": forest, "float": network, "int8": quantized}
    alarms.note_read(reads, quantized, folder / "streams.csv")  # before the first look
    points = {name: models.operating(path)["logit"] for name, path in paths.items()}
    scored = alarms.score_streams(table, folder, paths, points, p)
    found = alarms.gathered(tqdm(scored, total=len(table), desc="score_streams", unit="stream"))
    events = tables.read(folder / "events.csv", streams.EVENT)
    limit, sr = p.detector.max_fa_per_hour, p.audio.sr
    made = tally.figures(**found, streams=table, events=events, names=list(paths), limit=limit, sr=sr)
    for name, content in made["tables"].items():
        tables.write(tables_out / f"{name}.csv", content)
    tables.write_json(out, made["figures"] | {"limit": limit, "collar_s": p.detector.collar_s})
    for origin in ("simulated", "real"):
        for name, row in made["figures"][origin].items():
            if row["hours"]:
                print(f"score_streams: {origin:9} {name:6}", tally.told(row))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
