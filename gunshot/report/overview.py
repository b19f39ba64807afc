"""The page reports/index.html: what models do on streams and on test chunks, and what they were made from."""

from pathlib import Path

import numpy as np
import pandas as pd

from gunshot.models.model import Model, model_cost, read_operating_point
from gunshot.report import streams
from gunshot.report.chunks import (
    history_section,
    importances_section,
    quantization_section,
    tagging_section,
    validation_section,
    write_report,
)


def write(
    page: Path,
    models: dict[str, Model],
    figures: dict,
    *,
    on_streams: dict,
    stream_tables: dict[str, pd.DataFrame],
    history: pd.DataFrame,
    importances: np.ndarray,
    validations: list[dict],
    tagging: dict,
) -> None:
    """Write the page of several models, one of them named int8.

    Parameters
    ----------
    figures : what `chunk_figures` gives of the test chunks
    on_streams, stream_tables : the figures and the tables, by name, that the stage score_streams wrote
    history : the losses of the network by epoch
    importances : of the forest [shape=(n_mels, frames)]
    validations : results of suites
    tagging : what `gunshot tag-report` wrote
    """
    predictions = figures["predictions"]
    first = streams.sections(
        on_streams,
        stream_tables,
        {name: read_operating_point(model.path) for name, model in models.items()},
        {name: model_cost(model.report) for name, model in models.items()},
    )
    write_report(
        page,
        title="Gunshot detector",
        intro=f"What detectors do on streams comes first. Then {len(predictions)} chunks of the test split, "
        f"{int(predictions['y'].sum())} with a shot, of {predictions['recording_group'].nunique()} recording groups "
        "that no model was trained, tuned or thresholded on.",
        figures=figures,
        first=first,
        extra=[
            streams.reliability_section(predictions, list(models)),
            quantization_section(models["int8"].report),
            history_section(history),
            importances_section(importances),
            validation_section(validations),
            tagging_section(tagging),
        ],
    )
