"""gunshot cross-validate: networks on real recordings that they were not trained on."""

from typing import Annotated

import typer

from gunshot.cli.app import app
from gunshot.cli.options import OutOption, report


@app.command()
def cross_validate(
    folds: Annotated[int, typer.Option(help="Parts of the real recording groups; each is tested once.", min=3)] = 4,
    out: OutOption = None,
) -> None:
    """Measure false incidents an hour and recall on all real recordings, each by a network that never heard its group.

    Import real recordings and run `dvc repro` first. Each turn trains on simulated chunks and on the real ones of the
    other folds (network.real_share of what it draws), quantizes to int8, chooses its threshold on simulated validation
    streams and on the next fold's real ones, and is tested on its own fold's. Hours count each recording once.
    """
    import pandas as pd

    from gunshot.alarms import summary
    from gunshot.base import params, tables
    from gunshot.studies import cross_validation

    p = params.load(
        "audio", "chunks", "context", "features", "detector", "network", "quantize", "evaluate", "streams", "simulate"
    )
    content = cross_validation.cross_validate(folders(), p, count=folds)
    out = out or report("cross_validation.json")
    tables.write_json(out, content)
    print(pd.DataFrame(content["causes"]).head(20).to_string(index=False), end="\n\n")
    print(f"int8, {folds} folds: {summary.in_words(content)}; see {out}")


def folders():
    """Return where dvc.yaml has what networks are trained and measured on."""
    from gunshot.base import pipeline
    from gunshot.studies.cross_validation import Folders

    names = ("tag", "featurize", "streams_train", "streams_val")
    return Folders(pipeline.raw(), *map(pipeline.output, names))
