"""Draws the pictures of DOC/simulator.md: python DOC/pictures/simulator.py [a real recording]."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from gunshot import features
from gunshot.base import audio, params
from gunshot.simulate import corpus

OUT = Path(__file__).parent
P = params.load("audio", "features", path=OUT.parents[1] / "params.yaml")
CORPUS = corpus.Corpus(1, (1.5, 1.5), (2.0, 1500.0), P.audio.sr)
SHOWN_S = 0.9


def rendered(**how) -> tuple[np.ndarray, int]:
    """Return a single rifle shot's pressure in Pa, and where it starts."""
    for seed in range(100):
        firing = corpus.fire(np.random.default_rng(seed), "M16", corpus=CORPUS, **how)
        if firing.shots[0]["pattern"] == "single" and not firing.shots[0]["suppressed"]:
            return firing.pressure, firing.starts[0]
    raise ValueError(f"{how}: no single shot in 100 seeds")


def draw(name: str, columns: dict[str, tuple[np.ndarray, int]], unit: str = "Pa") -> None:
    """Write a picture: for each column a waveform above its log-mel, from 50 ms before the shot."""
    figure = Figure(figsize=(2.9 * len(columns), 4.6), layout="constrained")
    axes = figure.subplots(2, len(columns), sharex=True, squeeze=False)
    for (title, (y, start)), (top, bottom) in zip(columns.items(), axes.T, strict=True):
        y = y[max(0, start - P.audio.sr // 20) :][: int(SHOWN_S * P.audio.sr)]
        mel = features.log_mel((y / np.abs(y).max()).astype(np.float32), sr=P.audio.sr, **P.features.model_dump())
        top.plot(np.arange(len(y)) / P.audio.sr, y, lw=0.5)
        top.set_title(title, fontsize=10)
        span = (0, len(y) / P.audio.sr, 0, P.features.n_mels)
        bottom.imshow(
            mel, origin="lower", aspect="auto", extent=span, vmin=mel.max() - 70, vmax=mel.max(), cmap="magma"
        )
        bottom.set_xlabel("s")
    axes[0, 0].set_ylabel(unit)
    axes[1, 0].set_ylabel("mel band")
    figure.savefig(OUT / f"simulator_{name}.png", dpi=80)


def main() -> None:
    """Draw them all."""
    near = {"distance_m": 100.0, "scene": "field", "angle_deg": 15.0}
    draw("distance", {f"{r:g} m": rendered(**near | {"distance_m": r}) for r in (5.0, 50.0, 300.0, 1000.0)})
    draw("angle", {f"{a:g} degrees": rendered(**near | {"angle_deg": a}) for a in (2.0, 30.0, 90.0, 170.0)})
    scenes = ("field", "street", "forest", "garage", "arena")
    draw("scene", {scene: rendered(**near | {"scene": scene, "distance_m": 40.0}) for scene in scenes})
    if len(sys.argv) > 1:
        y = audio.read(Path(sys.argv[1]), sr=P.audio.sr)
        columns = {"real": (y, int(np.argmax(np.abs(y) > 0.3 * np.abs(y).max())))}
        corpus = replace(CORPUS, duration_s=(2.0, 2.0))
        for number, seed in enumerate((3, 5, 8), 1):
            firing = corpus.fire(np.random.default_rng(seed), "M1911", 10.0, corpus, scene="field")
            columns[f"simulated {number}, {firing.shots[0]['pattern']}"] = audio.to_float(firing.pcm), firing.starts[0]
        draw("real", columns, "of full scale")


if __name__ == "__main__":
    main()
