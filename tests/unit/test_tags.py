"""Tags: the tag file, its bad lines, who may tag what, and onsets found automatically."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot import audio, tags

SR = 16000
FOUND = {"sr": SR, "min_rise_db": 9.0, "min_interval_ms": 45.0}
# A path of a recording: no white space at its ends, since hand-written cells are stripped.
PATHS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20).filter(
    lambda name: name == name.strip() and name[0] != "\ufeff"
)


def put(path, text: str, encoding: str = "utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


@given(st.dictionaries(PATHS, st.sets(st.integers(0, 10**9), max_size=5).map(sorted), max_size=6))
def test_what_is_written_is_read(tmp_path_factory, starts):
    path = tmp_path_factory.mktemp("t") / "tags.csv"
    tags.write(path, starts)
    assert tags.read(path) == (starts, [])
    assert list(tags.read(path)[0]) == sorted(starts)


def test_spaces_parentheses_and_commas(tmp_path):
    text = (
        'mine/gun/a rifle (indoors).wav,100,200\n"mine/gun/one, two.wav", 5 ,3\n'
        '"mine/gun/say ""bang"".wav",7\nmine/gun/none.wav\n\n'
    )
    assert tags.read(put(tmp_path / "t.csv", text)) == (
        {
            "mine/gun/a rifle (indoors).wav": [100, 200],
            "mine/gun/one, two.wav": [3, 5],
            'mine/gun/say "bang".wav': [7],
            "mine/gun/none.wav": [],
        },
        [],
    )


def test_a_spreadsheet_s_file_is_read(tmp_path):
    path = put(tmp_path / "t.csv", "a.wav,1,2\r\nb.wav,3\r\n", "utf-8-sig")
    assert tags.read(path) == ({"a.wav": [1, 2], "b.wav": [3]}, [])
    found, bad = tags.read(put(tmp_path / "t.csv", "a.wav,1\né.wav,2\n", "latin-1"))
    assert found == {"a.wav": [1], "\ufffd.wav": [2]} and bad == []


def test_bad_lines_are_rejected_by_their_number_and_the_others_kept(tmp_path):
    lines = ["a.wav,1", "b.wav,1.5", "c.wav,-3", "", ",7", "d.wav,x,9", "e.wav,", "a.wav,2", "f.wav,²", "g.wav,8,8"]
    found, bad = tags.read(path := put(tmp_path / "t.csv", "\n".join(lines)))
    assert found == {"a.wav": [1], "g.wav": [8]}
    assert [(row["file"], row["value"]) for row in bad] == [
        (f"{path}:2", "start '1.5'"),
        (f"{path}:3", "start '-3'"),
        (f"{path}:5", "no path"),
        (f"{path}:6", "start 'x'"),
        (f"{path}:7", "start ''"),
        (f"{path}:8", "a.wav"),
        (f"{path}:9", "start '²'"),
    ]
    assert bad[0]["rule"] == "a line is path,start,start,... with starts in whole samples, 0 or more"
    assert bad[5]["rule"] == "a recording has one line in a tag file"


def test_line_numbers_count_lines_not_rows(tmp_path):
    _, bad = tags.read(path := put(tmp_path / "t.csv", '"a\nb.wav",1\n\n\nc.wav,z\n'))
    assert [row["file"] for row in bad] == [f"{path}:5"]


RECORDINGS = pd.DataFrame({"path": ["m/g1.wav", "m/g2.wav", "m/g3.wav", "m/e.wav"], "class": ["gun"] * 3 + ["env"]})


def test_a_person_replaces_the_corpus_and_unknown_or_double_tags_are_rejected(tmp_path):
    own = put(tmp_path / "own.csv", "m/g1.wav,1\nm/g2.wav,2\nm/e.wav\n")
    first = put(tmp_path / "1.csv", "m/g1.wav,10\nm/none.wav,3\nm/e.wav,4\nm/g3.wav,x\n")
    second = put(tmp_path / "2.csv", "m/g1.wav,99\nm/g3.wav,30\n")
    given_tags, bad = tags.gather([own], [first, second], RECORDINGS)
    assert given_tags == {"m/g1.wav": [10], "m/g2.wav": [2], "m/e.wav": [], "m/g3.wav": [30]}
    assert [(row["file"], row["value"], row["rule"]) for row in bad] == [
        (f"{first}:4", "start 'x'", "a line is path,start,start,... with starts in whole samples, 0 or more"),
        (str(first), "m/none.wav", "the path must be that of a recording, below data/raw"),
        (str(first), "m/e.wav", "a recording of the class env holds no shot"),
        (str(second), "m/g1.wav", f"{first} tags it too; one file must"),
    ]


def test_no_files_no_tags():
    assert tags.gather([], [], RECORDINGS) == ({}, [])


def test_tags_past_the_end_are_rejected_one_by_one():
    good, bad = tags.check("a.wav", [0, 99, 100, 5000], 100)
    rule = "a tag must lie in the recording, 0 to 99"
    assert good == [0, 99] and bad == [
        {"file": "a.wav", "value": "tag 100", "rule": rule},
        {"file": "a.wav", "value": "tag 5000", "rule": rule},
    ]


def test_a_gun_recording_without_an_onset_is_rejected():
    good, (bad,) = tags.check("a.wav", [], 100)
    assert good == [] and bad["file"] == "a.wav" and bad["value"] == "no onset" and "tag it by hand" in bad["rule"]


def noise(n: int, rng: np.random.Generator, level_db: float = -50.0) -> np.ndarray:
    return 10 ** (level_db / 20) * rng.standard_normal(n)


def burst(rng: np.random.Generator, decay_ms: float) -> np.ndarray:
    n = int(6 * decay_ms * SR / 1000)
    return rng.standard_normal(n) * np.exp(-np.arange(n) / (decay_ms * SR / 1000))


def close(found: np.ndarray, starts: list[int], within_ms: float = 15.0) -> bool:
    return len(found) == len(starts) and bool(np.all(np.abs(found - np.array(starts)) <= within_ms * SR / 1000))


@given(st.integers(0, 2**32), st.integers(1, 6), st.floats(-20, -3), st.floats(3.0, 12.0))
def test_bursts_50_ms_apart_are_found_within_15_ms(seed, shots, level_db, decay_ms):
    rng = np.random.default_rng(seed)
    starts = (rng.integers(2000, 6000) + np.cumsum(rng.integers(int(0.05 * SR), 4000, size=shots))).tolist()
    y = noise(starts[-1] + 8000, rng, -60)
    for start in starts:
        shot = 10 ** (level_db / 20) * burst(rng, min(decay_ms, 6.0 if shots > 1 else decay_ms))
        y[start : start + len(shot)] += shot
    found = tags.onsets(audio.to_int16(y), **FOUND)
    assert found.dtype == np.int64 and np.all(np.diff(found) > 0)
    assert close(found, starts), (found, starts)


@given(st.integers(0, 2**32), st.integers(30, 20000))
def test_a_click_of_one_sample_is_found_at_its_place(seed, start):
    y = noise(24000, np.random.default_rng(seed), -60)
    y[start] = 0.7
    assert close(tags.onsets(audio.to_int16(y), **FOUND), [start], within_ms=5)


@pytest.mark.parametrize("start", [0, 16, 100, 7900])
def test_a_shot_at_the_recording_s_ends_is_found(start):
    rng = np.random.default_rng(start)
    y = noise(8000, rng)
    shot = 0.5 * burst(rng, 5)[: 8000 - start]
    y[start : start + len(shot)] += shot
    found = tags.onsets(audio.to_int16(y), **FOUND)
    assert close(found, [start], within_ms=5), found


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.floats(-80, -10), st.sampled_from(["white", "brown", "hum"]))
def test_stationary_sound_holds_no_onset(seed, level_db, kind):
    rng = np.random.default_rng(seed)
    y = noise(4 * SR, rng, 0)
    if kind == "brown":
        y = np.convolve(y, np.exp(-np.arange(40) / 8), mode="same")
    if kind == "hum":
        y = 0.01 * y + np.sin(2 * np.pi * 100 * np.arange(len(y)) / SR + rng.uniform(0, 6))
    y *= 10 ** (level_db / 20) / y.std()
    assert tags.onsets(audio.to_int16(y), **FOUND).tolist() == []


def test_an_echo_30_db_down_is_no_shot_and_one_10_db_down_is():
    rng = np.random.default_rng(5)
    y = noise(SR, rng, -80)
    for start, level in ((4000, 0.0), (8000, -10.0), (12000, -38.0)):
        shot = 0.9 * 10 ** (level / 20) * burst(rng, 4)
        y[start : start + len(shot)] += shot
    assert close(tags.onsets(audio.to_int16(y), **FOUND), [4000, 8000])


@pytest.mark.parametrize("n", [0, 1, 79, 80, 81, 500])
def test_silence_and_the_shortest_recordings_hold_none(n):
    found = tags.onsets(np.zeros(n, np.int16), **FOUND)
    assert found.dtype == np.int64 and found.tolist() == []


def test_the_level_does_not_matter():
    rng = np.random.default_rng(7)
    y = noise(SR, rng, -40)
    y[5000:5200] += 0.9 * burst(rng, 3)[:200]
    loud, soft = (tags.onsets(audio.to_int16(y * g), **FOUND) for g in (0.9, 0.09))
    assert close(loud, [5000]) and close(soft, [5000])
