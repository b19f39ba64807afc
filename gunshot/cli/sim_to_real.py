"""gunshot sim-to-real: a model of simulation alone on real recordings."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import app
from gunshot.cli.options import OutOption, counted, report


class Half(StrEnum):
    """Which recording groups are scored."""

    open = "open"
    sealed = "sealed"


@app.command()
def sim_to_real(
    path: Annotated[
        list[Path], typer.Argument(exists=True, file_okay=False, help="Labelled recordings; folders of any layout.")
    ],
    half: Annotated[Half, typer.Option(help="sealed: once, at the end; whoever looks at failures tunes.")] = Half.open,
    out: OutOption = None,
    model: Annotated[str, typer.Option(help="int8 or float, as dvc.yaml names them.")] = "int8",
) -> None:
    """Measure a model that was trained on simulation alone on real recordings.

    Train it first: `dvc exp run -S simulate.preset=full quantize`, with no imported corpus in data/raw. Per file (its
    highest window's score, heard after quiet of its own), averaged over labels and upstream sources: AUC, and recall
    where 5 % of the environment files alarm, with 95 % intervals by recording group. Half of the groups, by hash, is
    sealed.
    """
    import pandas as pd

    from gunshot.base import params, pipeline, tables
    from gunshot.studies import sim_to_real as study

    p = params.load("audio", "context", "features", "detector", "chunks", "tags", "evaluate", "quality")
    content = study.study(path, pipeline.models()[model], pipeline.output("featurize"), p, half=half.value)
    out = out or report("sim_to_real.json")
    tables.write_json(out, content)
    for name in ("by_source", "by_label"):
        print(pd.DataFrame(content[name]).T.sort_values("auc").round(3).to_string(), end="\n\n")
    print(pd.DataFrame(content["worst"]).round(3).to_string(index=False), end="\n\n")
    for name, label in (("auc", "AUC"), ("recall_at_5pct", "recall at 5 % of environment files")):
        print(
            f"{half} half: {label} {content[name]:.3f} ({content[name + '_low']:.3f} to {content[name + '_high']:.3f})"
        )
    print(f"{counted(content['gun_files'], 'file')} with shots, {content['env_files']} without; see {out}")
