"""Params to a corpus of simulated recordings with exact tags."""

import sys
from pathlib import Path

from gunshot.base import params
from gunshot.simulate import corpus


def main(out: Path) -> None:
    p = params.load("audio", "simulate")
    s, times = p.simulate, p.simulate.full if p.simulate.preset == "full" else 1
    source = corpus.Corpus(s.seed, s.duration_s, s.distance_m, p.audio.sr, tuple(s.without))
    recordings, shots, duration_s = corpus.write(
        out, source, gun_recordings=times * s.gun_recordings, env_recordings=times * s.env_recordings, workers=s.workers
    )
    print(f"{out}: {recordings} recordings, {duration_s / 60:.1f} min, {shots} shots")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
