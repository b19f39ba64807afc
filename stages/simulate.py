"""Params to a corpus of simulated recordings with exact tags."""

import sys
from pathlib import Path

from gunshot import params, simulate


def main(out: Path) -> None:
    p = params.load("audio", "simulate")
    corpus = simulate.Corpus(p.simulate.seed, p.simulate.duration_s, p.simulate.distance_m, p.audio.sr)
    recordings, shots, duration_s = simulate.write(
        out, corpus, gun_recordings=p.simulate.gun_recordings, env_recordings=p.simulate.env_recordings,
        workers=p.simulate.workers,
    )  # fmt: skip
    print(f"{out}: {recordings} recordings, {duration_s / 60:.1f} min, {shots} shots tagged")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
