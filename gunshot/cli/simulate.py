"""gunshot simulate: one recording of a weapon, from physics."""

from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import app


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="The wav to write; a .csv of its shots is written beside it.")],
    weapon: Annotated[str, typer.Option(help="Such as AK-47; a wrong name lists them all.")] = "AK-47",
    scene: Annotated[
        str | None, typer.Option(help="Such as street; a wrong name lists them all. Default: drawn.")
    ] = None,
    distance: Annotated[float, typer.Option(help="From the gun to the microphone, m, 2 to 1500.")] = 50.0,
    angle: Annotated[
        float | None,
        typer.Option(help="From the line of fire to the microphone, degrees, 0 to 180. Default: drawn."),
    ] = None,
    duration: Annotated[float, typer.Option(help="Of the recording, s, 1 to 600.")] = 3.0,
    seed: Annotated[int, typer.Option(help="Another seed is another recording; 0 or more.")] = 1,
) -> None:
    """Render a recording of one weapon: muzzle blast, shock wave, ground, scene, background and microphone.

    The .csv says where each shot's shock wave and blast arrive, the level at the microphone and what was drawn.
    The same options give the same bytes.
    """
    import numpy as np

    from gunshot.base import audio, params, tables
    from gunshot.simulate.corpus import Corpus, fire
    from gunshot.simulate.scenes import SCENES
    from gunshot.simulate.weapons import WEAPONS

    kinds = list(SCENES)
    if weapon not in WEAPONS:
        raise ValueError(f"weapon={weapon!r} must be one of {', '.join(WEAPONS)}")
    if scene is not None and scene not in kinds:
        raise ValueError(f"scene={scene!r} must be one of {', '.join(kinds)}")
    ranges = {"distance": (distance, 2, 1500), "angle": (angle, 0, 180), "duration": (duration, 1, 600)}
    for name, (value, low, high) in ranges.items():
        if value is not None and not low <= value <= high:
            raise ValueError(f"{name}={value:.10g} must be from {low} to {high}")
    if seed < 0:
        raise ValueError(f"seed={seed} must be at least 0")
    if out.suffix != ".wav":
        raise ValueError(f"out={out} must end in .wav")
    sr = params.load("audio").audio.sr
    corpus = Corpus(seed, (duration, duration), (distance, distance), sr)
    recording = fire(np.random.default_rng(seed), weapon, distance, corpus, scene=scene, angle_deg=angle)
    audio.write_pcm(out, recording.pcm, sr=sr)
    rows = [{"path": out.name, **shot} for shot in recording.shots]
    tables.write(out.with_suffix(".csv"), tables.frame(rows, tables.CORPUS_SHOT).round(3))
    first = rows[0]
    shock = (
        "no shock wave"
        if first["shock"] < 0
        else f"shock wave {1e3 * (first['blast'] - first['shock']) / sr:.0f} ms ahead"
    )
    peak_db = max(row["peak_db_spl"] for row in rows)
    late = sum(row["blast"] >= len(recording.pcm) for row in rows)
    print(
        f"{out}: {weapon}, {first['pattern']}, {len(rows)} shot{'s'[: len(rows) > 1]}, {first['scene']}, "
        f"{distance:g} m, {first['angle_deg']:.0f} degrees, {shock}, {peak_db:.0f} dB SPL"
        + (f"; {late} of the blasts arrive after its end, a longer --duration holds them" if late else "")
    )
