"""Params, and imported recordings of one side, to long streams."""

import sys
from pathlib import Path

from gunshot import streams, tags
from gunshot.base import params, tables


def main(side: Path, raw: Path, sides: Path, tagged: Path, out: Path) -> None:
    p = params.load("audio", "simulate", "streams")
    s, sr = p.streams, p.audio.sr
    side_of = tables.read(sides, tables.SPLIT).set_index("recording_group")["side"].to_dict()
    onsets = {name: [tag.start for tag in placed] for name, placed in tags.read(tagged / "tags.csv")[0].items()}
    recordings = tables.read(tagged / "recordings.csv", tables.RECORDING)
    planned = [
        *streams.plan_simulated(**s.model_dump(), distance_m=p.simulate.distance_m),
        *streams.plan_real(recordings, onsets, side_of, seed=s.seed, stream_s=s.stream_s, sr=sr),
    ]
    planned = [plan for plan in planned if plan.side == side.name]
    written = streams.write(out, raw, planned, sr=sr, workers=p.simulate.workers)
    hours = written.groupby(["origin", "kind"])["duration_s"].sum() / 3600
    print(f"{out}: {len(written)} streams, h:", ", ".join(f"{' '.join(kinds)} {h:.2f}" for kinds, h in hours.items()))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
