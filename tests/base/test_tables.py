"""Tables: columns checked and typed, whole or not at all, rejections past the limit."""

import gc
import os
import tracemalloc
from collections.abc import Iterable
from functools import partial
from pathlib import Path

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


@pytest.mark.slow
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


def numbered(count: int) -> pd.DataFrame:
    """Return rows of CHUNK, fifty of a recording, as chunks of many recordings have them."""
    names = (f"simulated/env/any_short_sound/{i // 50:08d}.wav" for i in range(count))
    rows = (CHUNK_ROW | {"chunk": f"{name}#{i}", "path": name, "recording": name, "start": i, "class": "env",
                         "recording_group": f"simulated:env:{i // 50}"} for i, name in enumerate(names))  # fmt: skip
    return tables.frame(rows, tables.CHUNK)


@pytest.mark.parametrize("count", [0, 1, 7, 8])
def test_parts_are_the_table_s_rows_of_these_columns(tmp_path, monkeypatch, count):
    monkeypatch.setattr(tables, "PART", 4)
    table, columns = numbered(count), {"start": int, "chunk": str}
    tables.write(tmp_path / "c.csv", table)
    parts = list(tables.parts(tmp_path / "c.csv", columns))
    assert [len(part) for part in parts] == {0: [0], 1: [1], 7: [4, 3], 8: [4, 4]}[count]
    pd.testing.assert_frame_equal(pd.concat(parts), table[["start", "chunk"]], check_index_type=False)
    pd.testing.assert_frame_equal(tables.chunks(tmp_path / "c.csv", {"start", "chunk"}), table[["chunk", "start"]])
    assert tables.write_parts(tmp_path / "d.csv", tables.parts(tmp_path / "c.csv", tables.CHUNK)) == count
    assert (tmp_path / "d.csv").read_bytes() == (tmp_path / "c.csv").read_bytes()


@pytest.mark.parametrize(
    ("text", "rule"),
    [("path\na\n", r"columns \['start'\] are missing"), ("a,start\n1,2,3\n", "more cells"), ("a,b\n1,2\n", "missing"),
     ("start\n1\n2\n3\nsoon\n", "column 'start' must hold int: .*'soon'"), ("", "must be a CSV"),
     ("start,a\n" + 5 * "1,2\n" + "1,2,3\n", "must be a CSV in UTF-8 with columns .*saw 3")],
)  # fmt: skip
def test_faults_are_named_wherever_in_a_long_table_they_are(tmp_path, monkeypatch, text, rule):
    monkeypatch.setattr(tables, "PART", 3)
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"t\.csv: .*{rule}"):
        list(tables.parts(tmp_path / "t.csv", {"start": int}))


def test_files_come_with_the_places_of_their_chunks(tmp_path, monkeypatch):
    """A file that spans two parts comes twice; a name may look like a copy's, its id does not."""
    monkeypatch.setattr(tables, "PART", 3)
    rows = [("a.wav#5", "a.wav", 5), ("b~0.wav#1", "b~0.wav", 1), ("a.wav#9", "a.wav", 9), ("a.wav#7", "a.wav", 7),
            ("a.wav#5~0", "0/a.wav", 6)]  # fmt: skip
    written = [
        CHUNK_ROW | {"chunk": c, "path": path, "recording": path.removeprefix("0/"), "start": start}
        for c, path, start in rows
    ]
    tables.write(tmp_path / "c.csv", tables.frame(written, tables.CHUNK))
    given = [(str(file), starts.tolist(), places.tolist())
             for file, starts, places in tables.by_file(tmp_path / "c.csv", Path("raw"), Path("copies"))]  # fmt: skip
    assert given == [("raw/a.wav", [5, 9], [0, 2]), ("raw/b~0.wav", [1], [1]), ("raw/a.wav", [7], [3]),
                     ("copies/0/a.wav", [6], [4])]  # fmt: skip


def held(parts: Iterable) -> int:
    """Return the most memory that Python and NumPy hold, without garbage, while parts are gone through, bytes."""
    gc.freeze()  # so that only what is new is searched for garbage
    tracemalloc.start()
    try:
        return max(tracemalloc.get_traced_memory()[0] for _ in parts if gc.collect() >= 0)
    finally:
        tracemalloc.stop()
        gc.unfreeze()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows_of_a_table_that_is_worked_on_in_parts(tmp_path, monkeypatch):
    """Both tables are longer than the buffer that a CSV is read through, 256 kB."""
    monkeypatch.setattr(tables, "PART", 1_000)
    few, many = tmp_path / "few.csv", tmp_path / "many.csv"
    block = numbered(4_000)
    assert tables.write_parts(few, [block]) == 4_000 and tables.write_parts(many, [block] * 4) == 16_000
    for work in (partial(tables.parts, columns=tables.CHUNK), partial(tables.by_file, raw=few, augmented=few)):
        held(work(few))  # what is imported and kept once
        assert held(work(many)) < 1.2 * held(work(few))
    needed, every = (held(read(path) for path in [many]) for read in (
        partial(tables.chunks, columns=("class", "label", "source", "recording_group")),
        partial(tables.read, columns=tables.CHUNK)))  # fmt: skip
    assert needed < 0.5 * every  # what training needs


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
