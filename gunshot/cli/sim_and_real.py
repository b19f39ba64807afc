"""gunshot sim-and-real: what simulation adds to real recordings."""

from typing import Annotated

import typer

from gunshot.cli.app import app
from gunshot.cli.options import OutOption, report


@app.command()
def sim_and_real(
    seeds: Annotated[int, typer.Option(help="Networks of each kind a fold.", min=2)] = 3,
    folds: Annotated[int, typer.Option(help="Parts of the real recording groups; each is held out once.", min=2)] = 2,
    out: OutOption = None,
) -> None:
    """Measure what simulated chunks add to real ones: one network on real recordings alone, the same on both.

    Import real recordings and run `dvc repro` first. Real recording groups are held out in turns, then upstream sources
    as a whole, where there are enough. Both networks have the same params, steps and seeds, and see no augmented
    copies.
    """
    import pandas as pd

    from gunshot.base import params, pipeline, tables
    from gunshot.studies import sim_and_real as study

    places = pipeline.output("featurize"), pipeline.output("group")
    chunks = study.chunks(*places)
    content = study.study(*places, params.load("network").network, seeds=seeds, folds=folds)
    out = out or report("sim_and_real.json")
    tables.write_json(out, content)
    print(pd.DataFrame({arm: content[arm] for arm in study.ARMS}).T.round(4).to_string())
    if "upstream" in content:
        whole = pd.DataFrame(content["upstream"]).T.round(4)
        print("\nupstream sources held out as a whole:", whole.to_string(), sep="\n")
    else:
        print(f"no source is held out as a whole: a class has fewer upstream sources than folds={folds}")
    counts = f"{len(chunks.x)} real chunks, {len(chunks.simulated_x)} simulated; {len(content['networks'])} networks"
    print(f"\n{counts}; see {out}")
