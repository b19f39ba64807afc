"""gunshot device run: this machine and its microphone as a device of a hub."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import device
from gunshot.cli.options import ModelOption, ThresholdOption, show_log


@device.command()
def run(
    folder: Annotated[Path, typer.Argument(help="The device's folder, of `gunshot hub enrol`.")],
    file: Annotated[Path | None, typer.Option(help="A recording in the microphone's place, at its own pace.")] = None,
    microphone: Annotated[
        str | None, typer.Option(help="An input's number or part of its name. Default: the system's.")
    ] = None,
    model: ModelOption = "int8",
    threshold: ThresholdOption = None,
) -> None:
    """Listen, and send what is heard to the hub as messages; Ctrl-C ends it.

    No audio is stored; the last 30 s are in RAM, and sent where the hub orders it. A `camera: rtsp://...` in its
    device.yaml is opened where the hub orders its video, and never otherwise. Messages wait in the folder until the hub
    has acknowledged them, also over a restart; with a recording it ends when none waits.
    """
    from gunshot.base import audio, params, pipeline
    from gunshot.detect import live
    from gunshot.device import run as running
    from gunshot.device.place import Place
    from gunshot.models.model import load_model, named

    show_log()
    p, notes = params.load("audio", "chunks", "context", "features", "detector", "firmware"), audio.Notes()
    Place.load(folder)  # before what takes long
    loaded = load_model(*named([model], pipeline.models()).values())
    size = p.detector.hop * p.features.hop_length
    heard, form = live.Heard(), (p.audio.sr, size)
    source = live.recording(file, *form, notes, heard) if file else live.microphone(microphone, *form, heard)
    left = running.listen(folder, source, loaded, loaded.threshold(threshold), p, heard=heard)
    for warning in notes.warnings:
        print(f"warning: {file}: {warning}", file=sys.stderr)
    if left:
        print(f"warning: {left} messages wait in {folder}, for the next start", file=sys.stderr)
