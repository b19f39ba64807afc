"""gunshot drift: whether devices' recordings still sound like what the model was trained on."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import app
from gunshot.cli.options import Format, counted, report


@app.command()
def drift(
    folder: Annotated[
        Path | None, typer.Argument(exists=True, file_okay=False, help="Recordings. Default: data/field.")
    ] = None,
    format: Annotated[Format, typer.Option(help="json: the verdict as one object.")] = Format.text,
) -> None:
    """Compare recordings with those that the champion was trained on, without listening to one.

    The champion is the record's, as `gunshot export promoted` writes it; without a record, the working tree's int8.
    Writes reports/drift: report.html and report.json (Evidently), verdict.json, validation.json and rejected.csv,
    which lists every file that could not be measured. Nothing is labelled, moved or trained on.
    """
    from gunshot.base import params, pipeline
    from gunshot.studies import drift as study

    root, out = folder or pipeline.field(), report("drift")
    p = params.load("audio", "chunks", "context", "features", "quality", "validation", "monitor")
    version, model, reference = measured_with()
    verdict, remarks = study.judge(root, out, p, version=version, model=model, reference=reference)
    print(*remarks, sep="\n", file=sys.stderr)
    if folder and not verdict["recordings"]:  # data/field may be empty, a folder that was asked for may not
        raise ValueError(f"{folder}: no recordings in it; name a folder of audio files")
    print(json.dumps(verdict, ensure_ascii=False) if format == Format.json else _text(verdict))
    if format == Format.text and "columns" in verdict:
        print(f"see {out / 'report.html'}")


def measured_with() -> tuple[str, Path, Path]:
    """Return the champion's version, its model and its reference, which are exported where they are not there.

    Nothing is in production: the working tree's model, by its path.
    """
    from gunshot.base import pipeline
    from gunshot.promotion import registry
    from gunshot.signing import record

    model, champion = pipeline.models()[registry.ARTIFACT], registry.champion(record.read())
    if champion is None:
        return model.as_posix(), model, pipeline.output("reference")
    from gunshot.promotion import bundle

    folder = bundle.FOLDER / champion["version"]
    if not (folder / bundle.REFERENCE).exists():
        bundle.export(champion["version"])
    return champion["version"], folder / model.name, folder / bundle.REFERENCE


def _text(verdict: dict) -> str:
    lines = [
        f"{'* ' if r['drifts'] else '  '}{r['column']:18} distance {r['distance']:6.3f}  limit {r['threshold']:6.3f}  "
        f"reference {r['reference']:9.4g}  here {r['batch']:9.4g}"
        for r in verdict.get("columns", [])
    ]
    outcome = f"{'drift' if verdict['drift'] else 'no drift'}: {verdict['reason']}"
    counts = f"{counted(verdict['recordings'], 'recording')}, {verdict['rejected']} rejected"
    return "\n".join([*lines, f"{outcome} ({counts}; measured with {verdict['model']})"])
