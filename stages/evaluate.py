"""Forest, float network and int8 network on the same test chunks and streams: metrics, plots, and a page to read."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from gunshot.base import tables
from gunshot.models.model import load_model, model_cost, read_operating_point, report_path
from gunshot.report import streams as stream_report
from gunshot.report.chunks import (
    chunk_figures,
    history_section,
    importances_section,
    quantization_section,
    tagging_section,
    validation_section,
    write_plots,
    write_report,
)

NAMES = ("forest", "float", "int8")


def main(
    folder: Path, forest: Path, network: Path, quantized: Path, checks: Path, tagging: Path, streams: Path,
    stream_tables: Path, out: Path, page: Path,
) -> None:  # fmt: skip
    x, y, table = tables.features(folder, "test")
    paths = dict(zip(NAMES, (forest, network, quantized), strict=True))
    loaded = {name: load_model(path) for name, path in paths.items()}
    predictions = table.assign(y=y, **{name: model.score(x) for name, model in loaded.items()})
    figures = chunk_figures(predictions, {name: model.operating_point for name, model in loaded.items()})
    write_plots(figures, out / "plots")
    tables.write(out / "predictions.csv", predictions)
    tables.write_json(out / "metrics.json", figures["metrics"])
    on_streams = stream_report.sections(
        tables.read_json(streams),
        {path.stem: pd.read_csv(path) for path in stream_tables.glob("*.csv")},
        {name: read_operating_point(path) for name, path in paths.items()},
        {name: model_cost(model.report) for name, model in loaded.items()},
    )
    write_report(
        page,
        title="Gunshot detector",
        intro=f"What detectors do on streams comes first. Then {len(y)} chunks of the test split, {int(y.sum())} with "
        f"a shot, of {table['recording_group'].nunique()} recording groups that no model was trained, tuned or "
        "thresholded on.",
        figures=figures,
        first=on_streams,
        extra=[
            stream_report.reliability_section(predictions, list(NAMES)),
            quantization_section(tables.read_json(report_path(quantized))),
            history_section(pd.read_csv(network.with_name("history.csv"))),
            importances_section(np.load(forest.with_name("importances.npy"))),
            validation_section([tables.read_json(path) for path in sorted(checks.glob("*.json"))]),
            tagging_section(tables.read_json(tagging)),
        ],
    )
    for name, values in figures["metrics"].items():
        shown = (f"{key} {values[key]:.4f}" for key in ("accuracy", "recall", "auc"))
        print(f"evaluate: {name:6}", *shown)
    print(f"evaluate: see {page}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
