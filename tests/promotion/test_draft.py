"""The card of a model that nobody promoted."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from gunshot.base import pipeline, tables
from gunshot.promotion import bundle

REPO = Path(__file__).parents[2]


@pytest.fixture
def tree(tmp_path) -> Path:
    """What a card is made from: small tables, and the figures that are in Git."""
    shutil.copy(REPO / "dvc.yaml", tmp_path)
    model = Path("models/quantized/model.tflite")
    figures = pipeline.metrics("score_streams", root=REPO)
    for path in (figures, model.with_name("report.json"), model.with_name("operating.json")):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPO / path, tmp_path / path)
    (tmp_path / model).write_bytes(b"a model")
    rows = [("a", "range", "CC-BY-4.0", "train"), ("b", "range", "CC-BY-4.0", "val"), ("c", "street", "", "test"),
            ("d", "woods", "", "train")]  # fmt: skip
    empty = {name: kind() for name, kind in tables.RECORDING.items()}
    columns = ("recording_group", "source", "licence")
    group = pipeline.output("group", root=tmp_path)
    group.mkdir(parents=True)
    pd.DataFrame([empty | dict(zip(columns, row, strict=False)) for row in rows]).to_csv(
        group / "recordings.csv", index=False
    )
    sides = pd.DataFrame(
        [{"recording_group": row[0], "side": row[3], "class": "gun", "source": row[1]} for row in rows]
    )
    sides.to_csv(pipeline.output("split", root=tmp_path), index=False)
    return tmp_path


def test_it_lists_what_the_model_learned_from_with_licences(tree):
    card = bundle.draft(tree)
    assert "| range |  | CC-BY-4.0 | 2 |" in card and "| woods |  | not stated | 1 |" in card
    assert "street" not in card and "not promoted" in card and "{" not in card


def test_without_the_tables_it_is_refused(tree):
    pipeline.output("split", root=tree).unlink()
    with pytest.raises(ValueError, match=r"splits\.csv: no such file.*`dvc pull group split`"):
        bundle.draft(tree)
