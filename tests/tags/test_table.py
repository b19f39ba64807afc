"""Tags: the tag file, its bad lines, who may tag what, and where tag files lie."""

import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot import tags
from gunshot.tags import Tag, catalogue

# A path of a recording: no white space at its ends, since hand-written cells are stripped.
PATHS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20).filter(
    lambda name: name == name.strip() and name[0] != "\ufeff"
)


def put(path, text: str, encoding: str = "utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


RULE = "a line is path,start,start,... with starts in whole samples, 0 or more, or start@confidence"
CONFIDENCES = st.none() | st.integers(0, 100).map(lambda percent: percent / 100)
TAGS = st.dictionaries(st.integers(0, 10**9), CONFIDENCES, max_size=5).map(
    lambda d: [Tag(*i) for i in sorted(d.items())]
)


def placed(*starts: int) -> list[Tag]:
    return [Tag(start) for start in starts]


@given(st.dictionaries(PATHS, TAGS, max_size=6))
def test_what_is_written_is_read(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("t") / "tags.csv"
    tags.write(path, content)
    assert tags.read(path) == (content, [])
    assert list(tags.read(path)[0]) == sorted(content)


def test_confidences_and_states(tmp_path):
    content, bad = tags.read(put(tmp_path / "t.csv", "a.wav,5@0.5,9@1,7\nb.wav,3\nc.wav\nd.wav,3@1.2\ne.wav,@0.5\n"))
    assert content["a.wav"] == [Tag(5, 0.5), Tag(7), Tag(9, 1.0)]
    assert [tags.state(content.get(f"{name}.wav")) for name in "abcz"] == [
        "automatic",
        "confirmed",
        "confirmed",
        "untagged",
    ]
    assert [row["value"] for row in bad] == ["start '3@1.2'", "start '@0.5'"]


def test_of_two_tags_at_one_start_a_person_s_stays(tmp_path):
    assert tags.read(put(tmp_path / "t.csv", "a.wav,5@0.9,5,7@0.2,7@0.8\n"))[0]["a.wav"] == [Tag(5), Tag(7, 0.8)]


def test_homes(tmp_path):
    raw, by_hand, other = tmp_path / "raw", tmp_path / "tags", tmp_path / "other"
    for folder in (raw / "m/gun", other):
        folder.mkdir(parents=True)
    file = other / "x.wav"
    file.touch()
    for path in (raw, raw / "m", raw / "m/gun"):
        home = tags.home(path, raw, by_hand)
        assert home.key(raw / "m/gun/a.wav") == "m/gun/a.wav" and home.file("m/gun/a.wav") == by_hand / "m.csv"
    for path in (other, file):
        home = tags.home(path, raw, by_hand)
        assert home.key(file) == "x.wav" and home.file("x.wav") == other / "tags.csv"


def test_amending_keeps_the_other_lines_and_refuses_a_file_with_bad_ones(tmp_path):
    path = put(tmp_path / "t.csv", "a.wav,1\nb.wav,2\nc.wav,3\n")
    tags.amend(path, {"a.wav": None, "b.wav": placed(7), "d.wav": []})
    assert tags.read(path)[0] == {"b.wav": placed(7), "c.wav": placed(3), "d.wav": []}
    put(path, text := "a.wav,1\nb.wav,x\n")
    with pytest.raises(ValueError, match=r"t\.csv:2: start 'x'.*mend it"):
        tags.amend(path, {"a.wav": placed(2)})
    assert path.read_text() == text


def test_spaces_parentheses_and_commas(tmp_path):
    text = (
        'mine/gun/a rifle (indoors).wav,100,200\n"mine/gun/one, two.wav", 5 ,3\n'
        '"mine/gun/say ""bang"".wav",7\nmine/gun/none.wav\n\n'
    )
    assert tags.read(put(tmp_path / "t.csv", text)) == (
        {
            "mine/gun/a rifle (indoors).wav": placed(100, 200),
            "mine/gun/one, two.wav": placed(3, 5),
            'mine/gun/say "bang".wav': placed(7),
            "mine/gun/none.wav": [],
        },
        [],
    )


def test_a_spreadsheet_s_file_is_read(tmp_path):
    path = put(tmp_path / "t.csv", "a.wav,1,2\r\nb.wav,3\r\n", "utf-8-sig")
    assert tags.read(path) == ({"a.wav": placed(1, 2), "b.wav": placed(3)}, [])
    content, bad = tags.read(put(path, text := "a.wav,1\né.wav,2\n", "latin-1"))
    assert content == {"a.wav": placed(1)} and bad == [
        {"file": f"{path}:2", "value": "\\udce9.wav", "rule": "a tag file must be text in UTF-8"}
    ]
    with pytest.raises(ValueError, match=r"t\.csv:2: .*mend it"):
        tags.amend(path, {"a.wav": placed(7)})
    assert path.read_text("latin-1") == text


@pytest.mark.parametrize("line", ["a b.wav;1;2", "a b.wav;3@0.9;;", "a b.wav;"])
def test_a_spreadsheet_s_semicolons_hide_no_recording(tmp_path, line):
    """Unless a recording has that very name: names are data."""
    path = put(tmp_path / "tags.csv", f"c.wav,1\n{line}\n")
    assert catalogue.read_file(path)[line] == []
    (tmp_path / "a b.wav").touch()
    with pytest.raises(ValueError, match=rf"tags\.csv: {re.escape(line)}: .* between commas, not"):
        catalogue.read_file(path)
    (tmp_path / line).touch()
    assert catalogue.read_file(path)[line] == []


def test_bad_lines_are_rejected_by_their_number_and_the_others_kept(tmp_path):
    lines = ["a.wav,1", "b.wav,1.5", "c.wav,-3", "", ",7", "d.wav,x,9", "e.wav,", "a.wav,2", "f.wav,²", "g.wav,8,8"]
    content, bad = tags.read(path := put(tmp_path / "t.csv", "\n".join(lines)))
    assert content == {"a.wav": placed(1), "g.wav": placed(8)}
    assert [(row["file"], row["value"]) for row in bad] == [
        (f"{path}:2", "start '1.5'"),
        (f"{path}:3", "start '-3'"),
        (f"{path}:5", "no path"),
        (f"{path}:6", "start 'x'"),
        (f"{path}:7", "start ''"),
        (f"{path}:8", "a.wav"),
        (f"{path}:9", "start '²'"),
    ]
    assert bad[0]["rule"] == RULE
    assert bad[5]["rule"] == "a recording has one line in a tag file"


def test_line_numbers_count_lines_not_rows(tmp_path):
    _, bad = tags.read(path := put(tmp_path / "t.csv", '"a\nb.wav",1\n\n\nc.wav,z\n'))
    assert [row["file"] for row in bad] == [f"{path}:5"]


RECORDINGS = pd.DataFrame({"path": ["m/g1.wav", "m/g2.wav", "m/g3.wav", "m/e.wav"], "class": ["gun"] * 3 + ["env"]})


def test_a_person_replaces_the_corpus_and_unknown_or_double_tags_are_rejected(tmp_path):
    own = put(tmp_path / "own.csv", "m/g1.wav,1\nm/g2.wav,2\nm/e.wav\n")
    first = put(tmp_path / "1.csv", "m/g1.wav,10\nm/none.wav,3\nm/e.wav,4\nm/g3.wav,x\n")
    second = put(tmp_path / "2.csv", "m/g1.wav,99\nm/g3.wav,30\nother/a.wav,1\n")
    given_tags, bad, waiting = tags.gather([own], [first, second], RECORDINGS)
    assert given_tags == {"m/g1.wav": placed(10), "m/g2.wav": placed(2), "m/e.wav": [], "m/g3.wav": placed(30)}
    assert waiting == {"other": 1}
    assert [(row["file"], row["value"], row["rule"]) for row in bad] == [
        (f"{first}:4", "start 'x'", RULE),
        (str(first), "m/none.wav", "the path must be that of a recording, below data/raw"),
        (str(first), "m/e.wav", "a recording of the class env holds no shot"),
        (str(second), "m/g1.wav", f"{first} tags it too; one file must"),
    ]


@pytest.mark.parametrize("line", ["m/g1.wav;10;200", "m/g1.wav;10@0.9,7", "waits/g.wav;10", "m/g2.wav;"])
def test_semicolons_in_a_tag_file_of_data_tags_are_an_error(tmp_path, line):
    """Unless a recording has that very name; the path without them may be that of a corpus that is not there yet."""
    file = put(tmp_path / "m.csv", f"{line}\n")
    name = line.split(",")[0]
    for files in (([], [file]), ([file], [])):
        with pytest.raises(
            ValueError, match=rf"m\.csv: {re.escape(name)}: .* commas, not semicolons; save it with commas"
        ):
            tags.gather(*files, RECORDINGS)
    named = pd.DataFrame({"path": [name], "class": ["gun"]})
    assert list(tags.gather([], [file], named)[0]) == [name]


def test_no_files_no_tags():
    assert tags.gather([], [], RECORDINGS) == ({}, [], {})


def test_a_confirmed_line_replaces_an_automatic_one_wherever_it_lies(tmp_path):
    one, two = (
        put(tmp_path / "1.csv", "m/g1.wav,1\nm/g2.wav,2@0.5\n"),
        put(tmp_path / "2.csv", "m/g1.wav,9@0.9\nm/g2.wav,8\n"),
    )
    assert tags.gather([], [one, two], RECORDINGS)[:2] == ({"m/g1.wav": placed(1), "m/g2.wav": placed(8)}, [])


def test_tags_past_the_end_are_rejected_one_by_one():
    good, bad = tags.check("a.wav", placed(0, 99, 100, 5000), 100)
    rule = "a tag must lie in the recording, 0 to 99"
    assert good == placed(0, 99) and bad == [
        {"file": "a.wav", "value": "tag 100", "rule": rule},
        {"file": "a.wav", "value": "tag 5000", "rule": rule},
    ]


def test_a_gun_recording_without_an_onset_is_rejected():
    good, (bad,) = tags.check("a.wav", [], 100)
    assert good == [] and bad["file"] == "a.wav" and bad["value"] == "no onset" and "tag it by hand" in bad["rule"]
