"""What detectors do on the test streams: shots found, false incidents an hour, their bounds; every read is noted."""

from pathlib import Path

from tqdm import tqdm

from gunshot.alarms import summary
from gunshot.alarms.operate import note_read
from gunshot.alarms.score import gathered, score_streams
from gunshot.base import params, tables
from gunshot.models.model import read_operating_point
from stages import paths_by_name


def main(streams: Path, reads: Path, out: Path, **models: Path) -> None:
    p = params.load("audio", "chunks", "context", "features", "detector")
    table = tables.read(streams / "streams.csv", tables.STREAM)
    note_read(reads, models["int8"], streams / "streams.csv")  # before the first look
    points = {name: read_operating_point(path)["logit"] for name, path in models.items()}
    scored = score_streams(table, streams, models, points, p)
    rows = gathered(tqdm(scored, total=len(table), desc="score_streams", unit="stream"))
    events = tables.read(streams / "events.csv", tables.STREAM_EVENT)
    limit, sr = p.detector.max_false_incidents_per_hour, p.audio.sr
    summed = summary.figures(**rows, streams=table, events=events, names=list(models), limit=limit, sr=sr)
    for name, content in summed["tables"].items():
        tables.write(out / f"{name}.csv", content)
    tables.write_json(out.with_suffix(".json"), summed["figures"] | {"limit": limit, "collar_s": p.detector.collar_s})
    for origin in ("simulated", "real"):
        for name, row in summed["figures"][origin].items():
            if row["hours"]:
                print(f"score_streams: {origin:9} {name:6}", summary.in_words(row))


if __name__ == "__main__":
    main(**paths_by_name())
