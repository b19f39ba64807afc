"""gunshot firmware: recordings through the firmware, on this machine or on an emulated microcontroller."""

import hashlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from gunshot import audio, emulator, params, pipeline, tables
from gunshot.cli.app import firmware
from gunshot.cli.models import Format, _print

Port = StrEnum("Port", {name: name for name in emulator.PORTS})


@firmware.command()
def run(
    file: Annotated[Path, typer.Argument(help="A recording of any length, rate and channels.")],
    port: Annotated[Port, typer.Option(help="host: this machine; the others in QEMU.")] = Port["mps2-an386"],
    format: Annotated[
        Format, typer.Option(help="json: an object a line with file, onset_s, score, level_db.")
    ] = Format.text,
) -> None:
    """Print when shots begin, as the firmware tells them; `gunshot detect` in its place.

    The firmware is built first, where anything changed. Onsets are in seconds from the recording's start.
    """
    from gunshot import parity

    p = params.load("audio", "features")
    if not file.is_file():
        raise audio.AudioError(file, "no such file", "a recording must be a file")
    pcm = np.concatenate([audio.to_int16(block) for block in audio.blocks(file, sr=p.audio.sr, repair=True)])
    alerts = parity.shots(emulator.build(port), port, pcm, p)
    for alert in alerts:
        row = {"file": str(file), "onset_s": round(alert.onset / p.audio.sr, 4), "score": alert.score / 65535}
        _print(row | ({"level_db": alert.level / 10} if format == Format.json else {}), format)
    if not alerts and format == Format.text:
        print(f"{file}  no shot")


@firmware.command()
def parity(
    out: Annotated[Path | None, typer.Option(help="Default: firmware.json beside the reports.")] = None,
) -> None:
    """Compare each port with Python on simulated shots, and count what it costs.

    Prints a table, and writes reports/firmware.json. Instructions are of a window, counted by QEMU; they are not
    cycles, and the estimate at 80 MHz takes each for one. Fails where a level from the same codes or an onset differs.
    """
    import pandas as pd

    from gunshot import models
    from gunshot import parity as library

    p = params.load("audio", "chunks", "features", "detector")
    model, pcm = models.load(pipeline.models()["int8"]), library.recording(sr=p.audio.sr)
    ports = {port: library.measure(port, emulator.build(port), pcm, model, p) for port in emulator.PORTS}
    note = "instructions of a window at the detector's hop, not cycles; estimate_ms: at 80 MHz, one cycle each"
    content = {"note": note, "model_sha256": hashlib.sha256(model.path.read_bytes()).hexdigest(), "ports": ports}
    tables.write_json(out or pipeline.output("evaluate").parent / "firmware.json", content)
    print(pd.json_normalize(list(ports.values())).set_axis(list(ports)).T.to_string(float_format="{:g}".format))
    different = ("mismatched_bytes", "differing_onsets")
    if bad := [port for port, found in ports.items() if any(found["parity"][name] for name in different)]:
        raise ValueError(f"ports={bad} must equal Python in {' and '.join(different)}")
