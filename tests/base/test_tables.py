"""Tables: columns checked and typed, whole or not at all, rejections past the limit."""

import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot.base import tables

CHUNK_ROW = {
    "chunk": "mine/gun/a b, (1).wav#16", "path": "mine/gun/a b, (1).wav", "index": 0, "recording": "r", "start": 16,
    "onset": -1, "class": "gun", "label": "NA", "recording_group": "007", "source": "",
}  # fmt: skip
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)


@given(st.lists(st.fixed_dictionaries({"file": TEXT, "value": TEXT, "rule": TEXT}), max_size=5))
def test_any_text_survives_the_round_trip(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("t") / "rejected.csv"
    tables.write(path, tables.frame(rows, tables.REJECTED))
    table = tables.read(path, tables.REJECTED)
    assert list(table) == list(tables.REJECTED) and table.to_dict("records") == rows


def test_numbers_come_back_as_numbers_and_text_as_text(tmp_path):
    table = tables.frame([CHUNK_ROW], tables.CHUNK)
    tables.write(tmp_path / "c.csv", table)
    reread = tables.read(tmp_path / "c.csv", tables.CHUNK)
    pd.testing.assert_frame_equal(reread, table)
    assert reread["start"].dtype == np.int64 and reread.to_dict("records") == [CHUNK_ROW]


def test_an_empty_table_keeps_columns_and_types(tmp_path):
    tables.write(tmp_path / "c.csv", tables.frame([], tables.CHUNK))
    table = tables.read(tmp_path / "c.csv", tables.CHUNK)
    assert list(table) == list(tables.CHUNK) and len(table) == 0 and table["start"].dtype == np.int64


def test_more_columns_are_kept(tmp_path):
    (tmp_path / "t.csv").write_text("note,rule,value,file\nhello,r,v,f\n")
    assert tables.read(tmp_path / "t.csv", tables.REJECTED)["note"].tolist() == ["hello"]


FAULTS = [
    ("", "t.csv: must be a CSV .*No columns"),
    ("file,rule\na,b\n", r"t.csv: columns \['value'\] are missing; it must have \['file', 'value', 'rule'\]"),
]


@pytest.mark.parametrize(("text", "rule"), FAULTS)
def test_a_faulty_table_is_named(tmp_path, text, rule):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=rule):
        tables.read(tmp_path / "t.csv", tables.REJECTED)


@pytest.mark.parametrize("value", ["", "soon", "1.5"])
def test_what_is_no_number_is_named_with_its_column(tmp_path, value):
    (tmp_path / "c.csv").write_text("start,path\n1,a\n" + f"{value},b\n")
    with pytest.raises(ValueError, match=rf"c.csv: column 'start' must hold int: .*'{value}'"):
        tables.read(tmp_path / "c.csv", {"start": int, "path": str})


def test_recordings_of_all_corpora_are_sorted_by_path(tmp_path):
    row = dict.fromkeys(tables.RECORDING, "x") | {"sr_found": 8000, "duration_s": 1.5}
    for corpus, names in {"b": ["b/gun/2.wav", "b/env/1.wav"], "a": ["a/gun/z.wav"]}.items():
        table = tables.frame([row | {"path": name} for name in names], tables.RECORDING)
        tables.write(tmp_path / corpus / "recordings.csv", table)
    assert tables.recordings(tmp_path)["path"].tolist() == ["a/gun/z.wav", "b/env/1.wav", "b/gun/2.wav"]
    with pytest.raises(ValueError, match="holds no"):
        tables.recordings(tmp_path / "a")


def test_more_rejected_than_the_limit_fails_with_the_first_ten():
    rejected = tables.frame([{"file": f"f{i}", "value": "v", "rule": "r"} for i in range(12)], tables.REJECTED)
    tables.check_rejected(rejected, 120, limit=0.1, where="rejected.csv")
    tables.check_rejected(rejected[:0], 0, limit=0.0, where="rejected.csv")
    with pytest.raises(tables.RejectedError) as e:
        tables.check_rejected(rejected, 119, limit=0.1, where="rejected.csv")
    message = str(e.value)
    assert "12 of 119 rejected, more than quality.max_rejected=0.1 allows" in message and "rejected.csv" in message
    assert "f9: v: r" in message and "f10" not in message


def test_features_agree_with_their_table(tmp_path):
    rows = [CHUNK_ROW, CHUNK_ROW | {"class": "env"}]
    tables.write(tmp_path / "val.csv", tables.frame(rows, tables.CHUNK))
    np.save(tmp_path / "val.npy", np.ones((2, 32, 33), np.float32))
    x, y, table = tables.features(tmp_path, "val")
    assert isinstance(x, np.memmap) and x.shape == (2, 32, 33) and y.tolist() == [1, 0] and len(table) == 2
    np.save(tmp_path / "val.npy", np.ones((3, 32, 33), np.float32))
    with pytest.raises(ValueError, match=r"val\.npy holds 3 features, its table 2 rows"):
        tables.features(tmp_path, "val")


def test_json_survives_the_round_trip(tmp_path):
    content = {"a": [1, 2.5, None], "é": "ü"}
    tables.write_json(tmp_path / "x.json", content)
    assert tables.read_json(tmp_path / "x.json") == content and "é" in (tmp_path / "x.json").read_text("utf-8")
    with pytest.raises(TypeError):
        tables.write_json(tmp_path / "x.json", {"a": object()})
    assert tables.read_json(tmp_path / "x.json") == content and os.listdir(tmp_path) == ["x.json"]


def test_flags_are_true_or_false_and_nothing_else(tmp_path):
    table = pd.DataFrame({"heard": [True, False]})
    tables.write(tmp_path / "x.csv", table)
    assert tables.read(tmp_path / "x.csv", {"heard": bool})["heard"].tolist() == [True, False]
    (tmp_path / "x.csv").write_text("heard\nTrue\nmaybe\n")
    with pytest.raises(ValueError, match=r"x.csv: column 'heard' must hold bool: 'maybe'"):
        tables.read(tmp_path / "x.csv", {"heard": bool})
