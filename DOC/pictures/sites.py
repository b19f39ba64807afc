"""Measures what calibration for a site does: python DOC/pictures/sites.py PATH, in the project's folder.

It runs after `dvc repro`. PATH is a folder of real recordings with a manifest.csv of path, class, source and
duration_s. Three of its sources stand for sites: their recordings, in an order that is drawn, end to end in two halves.
Writes reports/site.json, which DOC/site.md quotes, and that page's picture.
"""

import sys
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from gunshot.base import audio, params, pipeline, tables
from gunshot.models.model import Model, load_model
from gunshot.site import calibration, plot, rehearsal, threshold

OUT = Path(__file__).with_name("site.png")
SEED = 0
SITES = {
    "drums": "debian:hydrogen-drumkits",
    "mixed": "github:karoldvl/ESC-10 (git history)",
    "speech": "github:Picovoice/speech-to-intent-benchmark",
}


def halves(rows: pd.DataFrame, folder: Path, out: Path, *, sr: int) -> list[Path]:
    """Write a site's recordings end to end to two files, of half its sound each, and return their paths."""
    rows = rows.iloc[np.random.default_rng(SEED).permutation(len(rows))]
    first = rows["duration_s"].cumsum() <= rows["duration_s"].sum() / 2
    paths = [out / "first.wav", out / "second.wav"]
    for path, part in zip(paths, (rows[first], rows[~first]), strict=True):
        pcm = [audio.to_int16(audio.read(folder / name, sr=sr)) for name in part["path"]]
        audio.write_pcm(path, np.concatenate(pcm), sr=sr)
    return paths


def measured(name: str, files: list[Path], model: Model, p) -> tuple[dict, calibration.Calibration]:
    """Return what the second half gives at the operating point and at the threshold that the first half chose."""
    heard, rejected = calibration.hear_all([(path.name, path) for path in files], model, p, progress=lambda _: None)
    assert not rejected, rejected
    options = {"limit": p.detector.max_false_incidents_per_hour, "no_shots": True}
    done, second = (calibration.calibrate(name, [half], model, p, **options) for half in heard)
    points = {rehearsal.BEFORE: done.point, rehearsal.AFTER: done.logit}
    recall = rehearsal.rehearse(second.hours, heard[1:], pipeline.output("streams_val"), model.path, points, p)
    held = {"false_incidents": done.held_out.false_incidents, threshold.RATE: done.held_out.rate,
            threshold.UPPER: done.held_out.upper}  # fmt: skip
    return {
        "first_half_h": done.hours.duration_s / 3600, "second_half_h": second.hours.duration_s / 3600,
        "threshold": {key: float(model.calibrated(logit)) for key, logit in points.items()},
        "first_half": {key: figures(done, logit) for key, logit in points.items()}, "held_out": held,
        "second_half": {key: figures(second, logit) for key, logit in points.items()}, "recall": recall,
    }, done  # fmt: skip


def figures(done: calibration.Calibration, logit: float) -> dict:
    """Return a half's incidents at a mean logit."""
    row = done.at(logit)
    return {"false_incidents": int(row["false_incidents"]), threshold.RATE: float(row[threshold.RATE]),
            threshold.UPPER: float(row[threshold.UPPER])}  # fmt: skip


def main(folder: Path) -> None:
    """Measure, write the report and draw the picture."""
    matplotlib.use("Agg")
    p = params.load("audio", "chunks", "context", "features", "detector", "quality", "streams")
    model, table = load_model(pipeline.models()["int8"]), pd.read_csv(folder / "manifest.csv")
    table = table[table["class"] == "env"].sort_values("path", kind="stable")
    report, drawn = {}, {}
    for name, source in tqdm(SITES.items(), desc="sites"):
        rows = table[table["source"] == source]
        with tempfile.TemporaryDirectory() as out:
            row, drawn[name] = measured(name, halves(rows, folder, Path(out), sr=p.audio.sr), model, p)
        report[name] = {"source": source, "recordings": len(rows)} | row
    tables.write_json("reports/site.json", {"seed": SEED, "sites": report})
    figure = Figure(figsize=(9.6, 3.3 * len(drawn)), layout="constrained")
    for ax, (name, done) in zip(figure.subplots(len(drawn), 1), drawn.items(), strict=True):
        plot.draw(ax, f"{name}, first half", done, model)
    figure.savefig(OUT, dpi=80)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
