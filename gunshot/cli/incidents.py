"""gunshot incidents: how often models wake a person for nothing, in places and by sounds cut close."""

from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import app
from gunshot.cli.options import OutOption, counted, report

SHOWN = 12  # kinds of sounds that are printed
COLUMNS = {"with_incident": "raise one", "share_lower": "at least", "share_upper": "at most"}


@app.command()
def incidents(
    path: Annotated[
        list[Path], typer.Argument(exists=True, file_okay=False, help="Labelled recordings; folders of any layout.")
    ],
    out: OutOption = None,
) -> None:
    """Measure false incidents an hour on recordings that the models should never have been trained on.

    Three kinds of hour, never mixed: simulated test streams (from reports/streams.json), places (recordings without a
    shot of 20 s and more), and hard negatives, which are sounds cut close: for these it also says of how many
    recordings of each kind one or more raise an incident, so that whoever knows a place can work out its rate. Each
    model is at its operating point, and hears the files as `gunshot detect` does, but after quiet of their own.
    """
    import pandas as pd

    from gunshot.base import params, pipeline, tables
    from gunshot.studies import incidents as study

    p = params.load("audio", "chunks", "context", "features", "detector", "quality")
    on_streams = tables.read_json(pipeline.metrics("score_streams"))
    content = study.incidents(path, pipeline.models(), on_streams, p)
    out = out or report("incidents.json")
    tables.write_json(out, content["int8"] | {"models": content, "place_s": study.PLACE_S})
    kinds = pd.DataFrame(content["int8"]["hard"]["kinds"]).rename(columns=COLUMNS)
    print("int8: how many recordings of sounds cut close raise an incident, the worst kinds first")
    print(kinds.head(SHOWN).round(3).to_string(index=False), end="\n\n")
    for name, hours in content.items():
        for kind, row in hours.items():
            print(f"{name:6} {kind:9}", in_words(row))
        files = content[name]["places"]
        if files["files_with_shots"]:
            print(
                f"{name:6} finds {files['recall']:.1%} of {counted(files['files_with_shots'], 'file')} with shots",
                end=" ",
            )
            print(f"(at least {files['recall_lower']:.1%})")
    print(f"see {out}")


def in_words(row: dict) -> str:
    """Return the false incidents in one kind of hour as text."""
    if not row["hours"]:
        return "no hour"
    rate, upper = row["false_incidents_per_hour"], row["false_incidents_per_hour_upper"]
    return f"{rate:.2f} false incidents/h (at most {upper:.2f}) in {row['hours']:.2f} h"
