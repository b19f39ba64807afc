"""Models on the same test chunks and streams: metrics, plots, and a page to read."""

from pathlib import Path

import pandas as pd

from gunshot.base import params, tables
from gunshot.features import heard
from gunshot.models.model import load_model
from gunshot.report import overview
from gunshot.report.chunks import chunk_figures, write
from stages import paths_by_name


def main(
    features: Path, validation: Path, tagging: Path, streams: Path, sounds: Path, out: Path, page: Path, **models: Path
) -> None:
    x, y, table = tables.features(features, "test")
    loaded, p = {name: load_model(path) for name, path in models.items()}, params.load("audio", "features", "context")
    scores = {name: model.score(heard(x, model.window[1], p)) for name, model in loaded.items()}
    predictions = table.assign(y=y, **scores)
    figures = chunk_figures(predictions, {name: model.chunk_threshold for name, model in loaded.items()})
    write(figures, out)
    overview.write(
        page,
        loaded,
        figures,
        sounds=sounds,
        on_streams=tables.read_json(streams.with_suffix(".json")),
        stream_tables={path.stem: pd.read_csv(path) for path in streams.glob("*.csv")},
        validations=[tables.read_json(path) for path in sorted(validation.glob("*.json"))],
        tagging=tables.read_json(tagging),
    )
    for name, values in figures["metrics"].items():
        print(f"evaluate: {name:6}", *(f"{key} {values[key]:.4f}" for key in ("accuracy", "recall", "auc")))
    print(f"evaluate: see {page}")


if __name__ == "__main__":
    main(**paths_by_name())
