"""gunshot leave-one-out: networks on the shots of upstream sources that they were never trained on."""

from gunshot.cli.app import app
from gunshot.cli.cross_validate import folders
from gunshot.cli.options import OutOption, report


@app.command()
def leave_one_out(out: OutOption = None) -> None:
    """Measure networks on the shots of upstream sources that they were never trained on, file by file.

    Import real recordings and run `dvc repro` first. Each turn leaves one source out, those with few groups of shots
    together, and a quarter of the environment groups of all others; the files of the source's shots are compared with
    these environment files, in which no network was trained.
    """
    import pandas as pd

    from gunshot.base import params, tables
    from gunshot.studies import cross_validation

    p = params.load(
        "audio",
        "context",
        "features",
        "detector",
        "network",
        "quantize",
        "evaluate",
        "streams",
        "quality",
        "chunks",
        "tags",
    )
    rows, out = [], out or report("leave_one_out.json")
    for turn in cross_validation.leave_one_out(folders(), p):
        rows += turn
        tables.write_json(out, rows)
    print(pd.DataFrame(rows).round(3).to_string(index=False), f"\n\nsee {out}")
