"""gunshot cascade: what the verifier spares behind the detector, and what it costs."""

from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import app
from gunshot.cli.options import OutOption, report

ENDS = "detector", "cascade"


@app.command()
def cascade(
    path: Annotated[
        list[Path], typer.Argument(exists=True, file_okay=False, help="Labelled recordings; folders of any layout.")
    ],
    out: OutOption = None,
) -> None:
    """Measure the detector alone and with the verifier: false incidents and recall.

    On simulated test streams, and on recordings that neither should ever have been trained on, so none that was
    imported, at two thresholds of the detector: its operating point, and the one at which it finds 90 % of the files
    with shots. The verifier's threshold was chosen on validation streams. Files are heard as by `gunshot incidents`; an
    incident counts as upheld where the verifier's opinion of its highest shot reaches its threshold. Bounds are exact,
    95 %, two-sided, and count incidents as independent.
    """
    from gunshot.base import params, pipeline, tables
    from gunshot.studies import cascade as study

    p = params.load("audio", "chunks", "context", "features", "detector", "verifier", "quality")
    models = pipeline.models()["int8"], pipeline.verifier()
    content = study.measure(path, pipeline.raw(), pipeline.output("streams_test"), *models, p)
    out = out or report("cascade.json")
    tables.write_json(out, content)
    for name in ("operating_point", "recall_90"):
        if name in content:
            print(in_words(name.replace("_", " "), content[name]))
    print(f"see {out}")


def in_words(name: str, row: dict) -> str:
    """Return what the cascade does at one threshold of the detector, as lines of text."""
    real, streams = row["recordings"], row["simulated"]
    alone, both = ("none" if streams[key]["recall"] is None else f"{streams[key]['recall']:.1%}" for key in ENDS)
    lines = [
        f"{name}, score {row['detector_score']:.3f}: files with shots {real['recall']:.1%} -> "
        f"{real['cascade_recall']:.1%} of {real['files_with_shots']}; clear shots of streams "
        f"{alone} -> {both} of {streams['shots']}"
    ]
    for kind, part in (("streams", streams["false"]), ("places", real["places"]), ("hard", real["hard"])):
        hours = streams["hours"] if kind == "streams" else part["hours"]
        few = "enough to say so" if part["enough"] else "too few to say anything"
        by = f"divided by {part['divided_by']:.1f}, {few}" if part["divided_by"] else few
        lines.append(f"  false incidents, {kind}: {part['detector']} -> {part['cascade']} in {hours:.2f} h ({by})")
    return "\n".join(lines)
