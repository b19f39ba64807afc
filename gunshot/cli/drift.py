"""gunshot drift: whether devices' recordings still sound like what the model was trained on."""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from gunshot.base import params, pipeline, tables
from gunshot.cli.app import app
from gunshot.cli.detect import Format

TAGS = "tags.csv"
OWN = (TAGS, "scores.csv")  # in data/field, of `gunshot annotate`
SHOWN = 10  # rejected recordings that are printed; all are in rejected.csv


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
    root = folder or pipeline.field()
    out = pipeline.output("evaluate").parent / "drift"
    verdict, told = _judged(root, out)
    print(*told, sep="\n", file=sys.stderr)
    if folder and not verdict["recordings"]:  # data/field may be empty, a folder that was asked for may not
        raise ValueError(f"{folder}: no recordings in it; name a folder of audio files")
    print(json.dumps(verdict, ensure_ascii=False) if format == Format.json else _text(verdict))
    if format == Format.text and "columns" in verdict:
        print(f"see {out / 'report.html'}")


def _judged(root: Path, out: Path) -> tuple[dict, list[str]]:
    """Return the verdict on the recordings below `root`, and lines on what is amiss with them; write both to `out`."""
    from gunshot import validation
    from gunshot.corpora import sources
    from gunshot.field import drift

    p = params.load("audio", "chunks", "features", "quality", "validation", "monitor")
    version, model, path = measured_with()
    reference = _reference(path)
    names, bad = sources.walk(root, ".") if root.is_dir() else ([], [])
    names = [name for name in names if name not in OWN]
    what = {"model": version, "batch": _digest(root, names)}
    facts, batch = _measured({name: root / name for name in names}, model, p)
    bad += [sources.rejected(row["file"], *row["problem"].split(": ", 1)) for row in facts if row["problem"]]
    rejected = tables.frame(bad, tables.REJECTED)
    tables.write(out / "rejected.csv", rejected)
    told = [f"rejected: {row.file}: {row.value}: {row.rule}" for row in rejected.head(SHOWN).itertuples()]
    told += [f"{len(rejected)} rejected, see {out / 'rejected.csv'}"] if len(rejected) else []
    if not names:
        verdict = {"drift": False, "reason": f"no recordings in {root}", "recordings": 0, "rejected": len(bad)} | what
        tables.write_json(out / "verdict.json", verdict)
        return verdict, told
    valid = validation.field(tables.frame(facts, drift.FACTS), p=p)
    tables.write_json(out / "validation.json", valid)
    told.append(validation.report(valid))
    if not valid["success"]:
        raise ValueError(f"{root}: no recording can be measured; {len(bad)} are listed in {out / 'rejected.csv'}")
    m, n = p.monitor, drift.effective(batch["recording"])
    rng = np.random.default_rng(m.seed)
    limits = drift.thresholds(reference, n=n, least=m.min_distance, share=m.min_share, rng=rng)
    compared = drift.compare(reference, batch, limits)
    verdict = drift.judge(compared, reference, batch, share=m.min_share) | {"rejected": len(bad)} | what
    drift.save(compared, out)
    tables.write_json(out / "verdict.json", verdict)
    return verdict, told


def measured_with() -> tuple[str, Path, Path]:
    """Return the champion's version, its model and its reference, which are exported where they are not there.

    Nothing is in production: the working tree's model, by its path.
    """
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


def _digest(root: Path, names: list[str]) -> str:
    """Return the SHA-256 of a batch: its recordings' names, sizes and bytes, and what a person confirmed of them."""
    found = hashlib.sha256()
    for name in [*names, *([TAGS] if (root / TAGS).exists() else [])]:
        try:
            with (root / name).open("rb") as f:
                content = f"{os.fstat(f.fileno()).st_size} {hashlib.file_digest(f, 'sha256').hexdigest()}"
        except OSError as error:  # it is listed as rejected
            content = error.strerror
        found.update(f"{name}\0{content}\n".encode())
    return found.hexdigest()


def _reference(path: Path):
    from gunshot.field import drift

    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; make it with `dvc repro reference` or get it with `dvc pull`")
    return tables.read(path, drift.REFERENCE)


def _measured(listed: dict[str, Path], model: Path, p):
    """Return the facts of all recordings and the table of their chunks."""
    from tqdm import tqdm

    from gunshot.field import drift

    found = drift.of_recordings(listed, model, p, workers=os.cpu_count() or 1)
    facts, names, values = [], [], [np.empty((0, len(drift.COLUMNS)), np.float32)]
    for row, measured in tqdm(found, total=len(listed), desc="drift", unit="recording", disable=None):
        facts.append(row)
        names += [row["file"]] * len(measured)
        values.append(measured)
    return facts, drift.frame(names, np.concatenate(values))


def _text(verdict: dict) -> str:
    lines = [
        f"{'* ' if r['drifts'] else '  '}{r['column']:18} distance {r['distance']:6.3f}  limit {r['threshold']:6.3f}  "
        f"reference {r['reference']:9.4g}  here {r['batch']:9.4g}"
        for r in verdict.get("columns", [])
    ]
    told = f"{'drift' if verdict['drift'] else 'no drift'}: {verdict['reason']}"
    counts = f"{verdict['recordings']} recordings, {verdict['rejected']} rejected"
    return "\n".join([*lines, f"{told} ({counts}; measured with {verdict['model']})"])
