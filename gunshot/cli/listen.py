"""gunshot listen: the detector on a microphone of this machine."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import app
from gunshot.cli.options import ModelOption, ThresholdOption, counted


@app.command()
def listen(
    model: ModelOption = "int8",
    threshold: ThresholdOption = None,
    device: Annotated[
        str | None, typer.Option(help="An input's number or part of its name. Default: the system's.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="A recording in the microphone's place, at its own pace.")] = None,
) -> None:
    """Listen with a microphone of this machine, and tell shots as they fall; Ctrl-C ends it.

    Shows the level, the score of each window, and the shots with the time of day. Nothing that is heard is stored or
    sent. Without a terminal only the shots are printed. It says how many samples were lost, where some were.
    """
    from gunshot.base import audio, params, pipeline
    from gunshot.detect import listener, live
    from gunshot.models.model import load_model, named

    p = params.load("audio", "chunks", "context", "features", "detector")
    loaded = load_model(*named([model], pipeline.models()).values())
    logit = loaded.threshold(threshold)
    size = p.detector.hop * p.features.hop_length
    ear, notes = listener.Listener(loaded, [logit], p), audio.Notes()
    source = live.recording(file, p.audio.sr, size, notes) if file else live.microphone(device, p.audio.sr, size)
    with suppress(KeyboardInterrupt):
        live.show(source, ear, float(loaded.calibrated(logit)), p)
    for warning in notes.warnings:
        print(f"warning: {file}: {warning}", file=sys.stderr)
    if ear.dropped or ear.gaps:
        lost = f"{counted(ear.gaps, 'time')} samples were lost"
        numbers = counted(ear.dropped, "sample was no number", "samples were no numbers")
        print(f"warning: {numbers}, {lost}", file=sys.stderr)
