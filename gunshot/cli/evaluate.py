"""gunshot evaluate: models on a user's own labelled recordings."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import app
from gunshot.cli.options import counted, given, report


@app.command()
def evaluate(
    path: Annotated[
        Path,
        typer.Argument(
            exists=True, help="Labelled recordings, or an archive of them: folder, urbansound8k, esc50 or fsd50k."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(parser=given, help="Where to write. Default: evaluate/NAME beside the reports.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="int8, float, forest or a file; several if repeated. Default: all three.")
    ] = None,
) -> None:
    """Measure models on your own labelled recordings, which they should never have been trained on.

    Prints what `gunshot detect` does on them at the operating point: the files with shots in which it tells one, the
    shots that it finds (confirmed tags, else automatic onsets), and its incidents in an hour of the files without.

    Writes metrics.json, windows.csv, files.csv, rejected.csv and index.html: the same, and metrics of each window and
    of each file (its highest window's score), by label and by upstream source. For scores a file comes after quiet of
    its own, so that a shot that opens it counts. Nothing is imported or trained. Where more files are rejected than
    quality.max_rejected allows, the figures are written all the same and the command fails.
    """
    import numpy as np
    from rich.console import Console

    from gunshot.base import params, pipeline, tables
    from gunshot.base.files import shown
    from gunshot.corpora import archives
    from gunshot.models.model import named, opening_score, read_operating_point, read_report
    from gunshot.report import recordings as page
    from gunshot.studies import recordings

    p = params.load("audio", "context", "features", "detector", "chunks", "tags", "evaluate", "quality")
    known, title = pipeline.models(), archives.title(path)
    chosen, out = named(model or list(known), known), out or report("evaluate") / title
    with archives.opened(path) as folder:
        scores = recordings.evaluate(folder, chosen, p)
        scores.rejected["file"] = scores.rejected["file"].str.replace(str(folder), shown(path), regex=False)
    points = {
        name: opening_score(read_report(file), read_operating_point(file)["logit"]) for name, file in chosen.items()
    }
    by_file = recordings.file_metrics(scores.files, points, np.random.default_rng(0))
    page.write(out, scores, by_file, points, title=title, hop=p.detector.hop)
    width = None if sys.stdout.isatty() else 100
    Console(highlight=False, width=width).print(_table(by_file, points))
    refused, limit, where = scores.rejected, p.quality.max_rejected, out / "rejected.csv"
    print(scores.said + (f" (listed in {where})" if len(refused) else ""))
    print(f"{counted(len(scores.windows), 'window')}; see {out / 'index.html'}")
    tables.check_rejected(refused, len(scores.files) + len(refused), limit=limit, where=where)


def _table(by_file: dict[str, dict], points: dict[str, float]):
    """Return what detect does, a row a model, as a table that fits 100 columns."""
    from rich.table import Table

    table = Table("model", "threshold", "files found", "shots found", "false incidents/h", "AUC", box=None)
    for name, v in by_file.items():
        table.add_row(
            name,
            f"{points[name]:.3f}",
            f"{v['gun_files_found']} of {v['gun_files']}, at least {v['recall_lower']:.0%}",
            f"{v['shots_found']} of {v['shots']}, at least {v['shot_recall_lower']:.0%}",
            f"{v['false_incidents_per_hour']:.1f}, at most {v['false_incidents_per_hour_upper']:.1f}",
            f"{v['auc']:.3f}",
        )
    return table
