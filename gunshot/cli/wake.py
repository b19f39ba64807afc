"""gunshot firmware wake: what an acoustic wake-up saves, and what it costs."""

from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import firmware
from gunshot.cli.options import OutOption, report

DB = 10  # that DOC/energy.md has the figures of


@firmware.command()
def wake(
    path: Annotated[
        list[Path] | None,
        typer.Argument(exists=True, file_okay=False, help="Labelled recordings; folders of any layout."),
    ] = None,
    db: Annotated[int, typer.Option(min=1, max=60, help="The rise that wakes, as firmware.wake_db.")] = DB,
    out: OutOption = None,
) -> None:
    """Measure which windows a device skips that sleeps until sound rises, what it draws then, and what it loses.

    The int8 network at its operating point, on the simulated streams of validation and test, and on recordings that it
    should never have been trained on: places (without a shot, of 20 s and more), sounds cut close, files with shots.
    Instructions are counted in QEMU, on builds that sleep and that do not; currents are reckoned from them. Writes
    reports/wake.json; `make figures` writes its table.
    """
    import hashlib

    import pandas as pd

    from gunshot.base import params, pipeline, tables
    from gunshot.device import emulator, energy
    from gunshot.models.model import load_model
    from gunshot.studies import wake as study

    p = params.load("audio", "chunks", "context", "features", "detector", "quality")
    model = pipeline.models()["int8"]
    builds = [emulator.build(energy.BOARD, wake_db=rise) for rise in (0, db)]
    spent = study.counted(*builds, load_model(model), p, db=db)
    on_streams = study.streams([pipeline.output(f"streams_{side}") for side in ("val", "test")], model, p, db=db)
    on_files = study.files(path, model, p, db=db) if path else pd.DataFrame()
    content = study.summed(on_streams, on_files, spent)
    about = {"wake_db": db, "model_sha256": hashlib.sha256(model.read_bytes()).hexdigest(), "board": energy.BOARD}
    out = out or report("wake.json")
    tables.write_json(out, about | {"instructions": spent} | content)
    for name in ("simulated", "places", "hard"):
        for row in content[name][:1]:
            print(f"{name:9} {row['minutes']:6.1f} min: {row['skipped']:.1%} of the windows skipped")
    for name, row in content["lost"].items():
        print(f"{name:9} found awake {row['awake']}, of these asleep {row['asleep']}")
    print(f"see {out}")
