"""gunshot firmware: recordings through the firmware, on this machine, an emulated microcontroller or WebAssembly."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gunshot.base.files import shown
from gunshot.cli.app import firmware
from gunshot.cli.options import Format, print_row, report
from gunshot.device import emulator

NOTE = "instructions of a window at the detector's hop, not cycles; estimate_ms: at 80 MHz, one cycle each"
Port = StrEnum("Port", {name: name for name in emulator.PORTS})


@firmware.command()
def run(
    file: Annotated[Path, typer.Argument(help="A recording of any length, rate and channels.")],
    port: Annotated[
        Port, typer.Option(help="host: this machine; web: Wasmtime; the others in QEMU. nano33ble has no emulator.")
    ] = Port["mps2-an386"],
    format: Annotated[
        Format, typer.Option(help="json: an object a line with file, onset_s, score, level_db (SPL).")
    ] = Format.text,
) -> None:
    """Print when shots begin, as the firmware tells them: those of `gunshot detect`.

    Score and level are the highest of the shot's incident: a message tells an incident, not a shot. The firmware is
    built first, where anything changed. Onsets are in seconds from the recording's start.
    """
    import numpy as np

    from gunshot.base import audio, params
    from gunshot.device import parity

    p = params.load("audio", "context", "features", "firmware")
    if not file.is_file():
        raise audio.AudioError(file, "is a folder" if file.is_dir() else "no such file", "a recording must be a file")
    pcm = np.concatenate([audio.to_int16(block) for block in audio.blocks(file, sr=p.audio.sr, repair=True)])
    incidents = parity.incidents(emulator.build(port, wake_db=p.firmware.wake_db), port, pcm, p)
    last = {message.incident: message for message in incidents}
    for message in incidents:
        score, level_db = last[message.incident].score / 65535, last[message.incident].spl_db / 10
        for onset in message.onsets:
            onset_s = np.round(onset / p.audio.sr, 4).item()  # half a last digit as `gunshot detect` rounds it
            row = {"file": shown(file), "onset_s": onset_s, "score": score}
            print_row(row | ({"level_db": level_db} if format == Format.json else {}), format)
    if not incidents and format == Format.text:
        print(f"{shown(file)}  no shot")


@firmware.command()
def parity(
    out: Annotated[Path | None, typer.Option(help="Default: firmware.json beside the reports.")] = None,
) -> None:
    """Compare host, boards in QEMU, WebAssembly and the wheel with Python on simulated shots, and count what it costs.

    Network and forest: prints tables, and writes reports/firmware.json. Instructions are of a window, counted by QEMU;
    they are not cycles, and the estimate at 80 MHz takes each for one. Energy is reckoned from them, with what is
    assumed. Fails where a level from the same codes or an onset differs.
    """
    import hashlib

    import pandas as pd

    from gunshot.base import params, pipeline, tables
    from gunshot.device import energy, ethos
    from gunshot.device import parity as library
    from gunshot.models.model import load_model

    p = params.load("audio", "chunks", "context", "features", "detector")
    known, pcm = pipeline.models(), library.recording(sr=p.audio.sr)
    measured = {}
    for key, name, backend in (("ports", "int8", "compiled"), ("forest", "forest", "forest")):
        model = load_model(known[name])
        built = {port: emulator.build(port, backend=backend) for port in emulator.TRACED}
        measured[key] = {port: library.measure(port, built[port], pcm, model, p) for port in built}
        print(backend, pd.json_normalize(list(measured[key].values())).set_axis(list(built)).T.to_string(), sep="\n")
    artifact = known["int8"].read_bytes()
    content = {"note": NOTE, "model_sha256": hashlib.sha256(artifact).hexdigest(), **measured}
    total = measured["ports"][energy.BOARD]["instructions"]["total"]
    window_s = p.detector.hop * p.features.hop_length / p.audio.sr
    content |= {"ethos_u55": ethos.estimate(artifact), "energy": energy.reckon(total, window_s=window_s)}
    tables.write_json(out or report("firmware.json"), content)
    different = ("mismatched_bytes", "differing_onsets")
    if bad := [
        f"{key} on {port}"
        for key, ports in measured.items()
        for port, figures in ports.items()
        if any(figures["parity"][name] for name in different)
    ]:
        raise ValueError(f"ports={bad} must equal Python in {' and '.join(different)}")
