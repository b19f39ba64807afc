"""gunshot evaluate: models on a user's own labelled recordings."""

from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import app
from gunshot.cli.options import report


@app.command()
def evaluate(
    path: Annotated[
        Path,
        typer.Argument(
            exists=True, file_okay=False, help="Labelled recordings: folder, urbansound8k, esc50 or fsd50k."
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Where to write. Default: evaluate/NAME beside the reports.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="int8, float, forest or a file; several if repeated. Default: all three.")
    ] = None,
) -> None:
    """Measure models on your own labelled recordings, which they should never have been trained on.

    Writes metrics.json, windows.csv, files.csv, rejected.csv and index.html: metrics of each window and of each
    file (its highest window's score), by label and by upstream source. A file is heard after quiet of its own, so that
    a shot that opens it counts; its first windows start before it. Nothing is imported or trained. Where more files are
    rejected than quality.max_rejected allows, the figures are written all the same and the command fails.
    """
    import numpy as np
    import pandas as pd

    from gunshot.base import params, pipeline, tables
    from gunshot.models.model import named, read_report
    from gunshot.report import recordings as page
    from gunshot.studies import recordings

    p = params.load("audio", "features", "detector", "chunks", "tags", "evaluate", "quality")
    known, title = pipeline.models(), path.resolve().name
    chosen, out = named(model or list(known), known), out or report("evaluate") / title
    scores = recordings.evaluate(path, chosen, p)
    # Not before: a folder of no use is named first.
    points = {name: read_report(file)["operating_point"] for name, file in chosen.items()}
    by_file = recordings.file_metrics(scores.files, points, np.random.default_rng(0))
    page.write(out, scores, by_file, points, title=title, hop=p.detector.hop)
    print(pd.DataFrame(by_file).T.round(4).to_string())
    heard, refused = len(scores.files), scores.rejected
    print(f"{heard} files, {len(scores.windows)} windows, {len(refused)} rejected; see {out / 'index.html'}")
    limit = p.quality.max_rejected
    tables.check_rejected(refused, heard + len(refused), limit=limit, where=out / "rejected.csv")
