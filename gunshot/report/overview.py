"""The page reports/index.html: a first screen on the int8 model, then all figures, folded."""

from pathlib import Path

import numpy as np
import pandas as pd

from gunshot.models.model import Model, model_cost, read_operating_point
from gunshot.report import chunks, first_screen, streams
from gunshot.report.page import TEMPLATES, write_page

DEVICE = "int8"  # the model that the first screen speaks of


def write(
    page: Path,
    models: dict[str, Model],
    figures: dict,
    *,
    sounds: Path,
    on_streams: dict,
    stream_tables: dict[str, pd.DataFrame],
    validations: list[dict],
    tagging: dict,
) -> None:
    """Write the page of the models forest, float and int8. The same arguments give the same bytes.

    What training left beside a model is read there: operating.json, history.csv and importances.npy.

    Parameters
    ----------
    figures : what `chunk_figures` gives of the test chunks
    sounds : the folder of the test streams
    on_streams, stream_tables : the figures and the tables, by name, that the stage score_streams wrote
    validations : results of suites
    tagging : what `gunshot tag-report` wrote
    """
    predictions = figures["predictions"]
    operating = {name: read_operating_point(model.path) for name, model in models.items()}
    costs = {name: model_cost(model.report) for name, model in models.items()}
    groups, shots = predictions["recording_group"].nunique(), int(predictions["y"].sum())
    write_page(
        page,
        TEMPLATES / "report.html.j2",
        title="Gunshot detector",
        intro=[],
        first=first_screen.screen(on_streams, stream_tables, operating, costs, sounds, model=DEVICE),
        below=f"All figures follow, folded: first on streams, then on {len(predictions):,} chunks of the test split, "
        f"{shots:,} with a shot, of {groups:,} recording groups that no model was trained, tuned or thresholded on.",
        chapters=[
            *streams.chapters(on_streams, stream_tables, operating, costs),
            *chunks.chapters(figures),
            streams.reliability_chapter(predictions, list(models)),
            chunks.quantization_chapter(models[DEVICE].report),
            chunks.history_chapter(pd.read_csv(models["float"].path.with_name("history.csv"))),
            chunks.importances_chapter(np.load(models["forest"].path.with_name("importances.npy"))),
            chunks.validation_chapter(validations),
            chunks.tagging_chapter(tagging),
        ],
    )
