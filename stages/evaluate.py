"""Forest, float network and int8 network on the same test chunks and streams: metrics, plots, and a page to read."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from gunshot import models, report, streamreport, tables

NAMES = ("forest", "float", "int8")


def main(
    folder: Path, forest: Path, network: Path, quantized: Path, checks: Path, tagging: Path, streams: Path,
    stream_tables: Path, out: Path, page: Path,
) -> None:  # fmt: skip
    x, y, table = tables.features(folder, "test")
    paths = dict(zip(NAMES, (forest, network, quantized), strict=True))
    loaded = {name: models.load(path) for name, path in paths.items()}
    predictions = table.assign(y=y, **{name: model.score(x) for name, model in loaded.items()})
    figures = report.figures(predictions, {name: model.operating_point for name, model in loaded.items()})
    report.write_plots(figures, out / "plots")
    tables.write(out / "predictions.csv", predictions)
    tables.write_json(out / "metrics.json", figures["metrics"])
    on_streams = streamreport.sections(
        tables.read_json(streams),
        {path.stem: pd.read_csv(path) for path in stream_tables.glob("*.csv")},
        {name: models.operating(path) for name, path in paths.items()},
        {name: models.cost(model.report) for name, model in loaded.items()},
    )
    report.html(
        page,
        title="Gunshot detector",
        intro=f"What detectors do on streams comes first. Then {len(y)} chunks of the test split, {int(y.sum())} with "
        f"a shot, of {table['recording_group'].nunique()} recording groups that no model was trained, tuned or "
        "thresholded on.",
        figures=figures,
        first=on_streams,
        extra=[
            streamreport.reliability_section(predictions, list(NAMES)),
            report.quantization_section(tables.read_json(models.report_of(quantized))),
            report.history_section(pd.read_csv(network.with_name("history.csv"))),
            report.importances_section(np.load(forest.with_name("importances.npy"))),
            report.validation_section([tables.read_json(path) for path in sorted(checks.glob("*.json"))]),
            report.tagging_section(tables.read_json(tagging)),
        ],
    )
    for name, values in figures["metrics"].items():
        shown = (f"{key} {values[key]:.4f}" for key in ("accuracy", "recall", "auc"))
        print(f"evaluate: {name:6}", *shown)
    print(f"evaluate: see {page}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
