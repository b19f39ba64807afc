"""gunshot leave-one-out: networks on real recordings of data sets that they were never trained on."""

from typing import Annotated

import typer

from gunshot.cli.app import app
from gunshot.cli.cross_validate import folders
from gunshot.cli.options import OutOption, report


@app.command()
def leave_one_out(
    seeds: Annotated[int, typer.Option(help="Networks that are trained alike but for the seed.", min=1)] = 3,
    out: OutOption = None,
) -> None:
    """Measure networks on real recordings, each by one that was never trained on its data set.

    Import real recordings and run `dvc repro` first. Each turn leaves out a data set, its shots and environment. Those
    with few groups of shots go together, and what holds no shot joins the turn with least environment. All files are
    heard as `gunshot detect` hears them, but after quiet of their own. One threshold, at 1 and at 5 false incidents an
    hour over all of them, counts for all networks; the one that validation chose stands beside it. It takes some
    minutes a network: a turn for each data set with ten recording groups of shots and one for the rest, times seeds.
    """
    import pandas as pd

    from gunshot.base import params, tables
    from gunshot.studies import leave_one_out as study

    p = params.load(
        "audio", "chunks", "context", "features", "detector", "network", "quantize", "evaluate", "streams", "simulate"
    )
    content = study.leave_one_out(folders(), p, seeds=seeds)
    out = out or report("leave_one_out.json")
    tables.write_json(out, content)
    columns = ["source", "groups", "gun_files", "auc", *(f"recall_{point}" for point in study.POINTS)]
    print(pd.DataFrame(content["sources"])[columns].round(3).to_string(index=False), end="\n\n")
    print(f"int8, {seeds} seeds, {content['hours']:.2f} h left out; mean recall of files:", in_words(content))
    print(f"see {out}")


def in_words(content: dict) -> str:
    """Return the mean recalls of what `leave_one_out` writes as text."""
    if "recall_at_validation" not in content:
        return "no data set has enough groups with shots"
    at = {"at 1 false incident/h": "at_1_per_hour", "at 5": "at_5_per_hour", "where validation chose": "at_validation"}
    recalls = "; ".join(f"{content[f'recall_{point}']:.1%} {words}" for words, point in at.items())
    return f"{recalls} ({content['false_incidents_per_hour_at_validation']:.2f} false incidents/h)"
