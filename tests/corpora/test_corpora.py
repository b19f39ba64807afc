"""Layouts of corpora: what is found, how it is labelled and grouped, what is rejected."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from gunshot import corpora
from gunshot.corpora import folder, urbansound8k


def noise(seed: int, n: int = 4000, channels: int = 1) -> np.ndarray:
    return 0.2 * np.random.default_rng(seed).standard_normal((n, channels))


def put(file: Path, y: np.ndarray, sr: int = 16000, **options) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    sf.write(file, y, sr, **options)
    return file


@pytest.fixture
def root(tmp_path):
    """A folder with one good recording."""
    put(tmp_path / "corpus/gun/rifle/good.wav", noise(0))
    return tmp_path / "corpus"


# -- recording groups --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gun/a/shot_01.wav", "c/gun/a/shot"),
        ("gun/a/shot (20).wav", "c/gun/a/shot"),
        ("gun/a/shot-3.wav", "c/gun/a/shot"),
        ("gun/a/shot_v2.wav", "c/gun/a/shot"),
        ("gun/a/shot take 4.wav", "c/gun/a/shot"),
        ("gun/a/shot_01_v2 (3).wav", "c/gun/a/shot"),
        ("gun/a/shot7.wav", "c/gun/a/shot"),
        ("gun/a/env2.wav", "c/gun/a/env"),
        ("gun/a/take 4.wav", "c/gun/a"),
        ("gun/a/00012.wav", "c/gun/a"),
        ("gun/12.wav", "c/gun"),
        ("gun/a/b/1-100032-A-0.flac", "c/gun/a/b/1-100032-A"),
    ],
)
def test_group_drops_take_numbers(name, expected):
    assert folder.group(name, "c") == expected


@given(
    stem=st.text("abcdfgéшž 銃", min_size=1).filter(lambda s: s.strip() == s),
    takes=st.lists(st.sampled_from(["_01", " (20)", "-3", "_v2", " take 4", "7", ".5"]), max_size=4),
)
def test_takes_share_a_group_and_stems_do_not(stem, takes):
    assert folder.group(f"gun/a/{stem}{''.join(takes)}.wav", "c") == f"c/gun/a/{stem}"


# -- layouts -----------------------------------------------------------------------------------------------------


def test_folder_labels_sources_and_groups(tmp_path):
    root = tmp_path / "field"
    for name in ("gun/a.wav", "gun/rifle/b_1.wav", "env/city/rain/c.wav", "env/.hidden.wav", "env/.trash/x.wav"):
        put(root / name, noise(1))
    sources, rejected = folder.scan(root)
    assert not rejected
    assert [(s.name, s.class_, s.label, s.source, s.upstream, s.licence, s.recording_group) for s in sources] == [
        ("env/city/rain/c.wav", "env", "rain", "city", "city", "unknown", "field/env/city/rain/c"),
        ("gun/a.wav", "gun", "gun", "field", "field", "unknown", "field/gun/a"),
        ("gun/rifle/b_1.wav", "gun", "rifle", "field", "field", "unknown", "field/gun/rifle/b"),
    ]


@pytest.mark.parametrize("beside", [False, True])
def test_manifest_overrides_file_by_file(root, beside):
    put(root / "gun/rifle/named.wav", noise(1))
    put(root / "gun/rifle/door.wav", noise(2))
    prefix = f"{root.name}/" if beside else ""
    (root.parent if beside else root).joinpath("manifest.csv").write_text(
        "path,recording_group,label,source,upstream,licence,class\n"
        f"{prefix}gun/rifle/named.wav,session:1,AK,web,Someone,CC0,\n"
        f"{prefix}gun/rifle/door.wav,session:2,slam,,,,env\n"
        f"{prefix}gun/rifle/gone.wav,session:3\n"
        "elsewhere/gun/x.wav,session:4,,,,,\n"
    )
    sources, rejected = folder.scan(root)
    door, good, named = sources
    assert (named.recording_group, named.label, named.source, named.upstream, named.licence, named.class_) == (
        "session:1", "AK", "web", "Someone", "CC0", "gun",
    )  # fmt: skip
    assert (door.class_, door.path, door.label, door.source) == ("env", "env/rifle/door.wav", "slam", root.name)
    assert good.recording_group == f"{root.name}/gun/rifle/good"
    assert [(r["file"], r["value"]) for r in rejected] == [("gun/rifle/gone.wav", "no such file")]


@pytest.mark.parametrize("beside", [True, False])
def test_a_manifest_of_windows_names_the_same_files(root, beside):
    path = f"{root.name}\\gun\\rifle\\good.wav" if beside else "gun\\rifle\\good.wav"
    (root.parent if beside else root).joinpath("manifest.csv").write_text(f"path,recording_group\n{path},mine\n")
    sources, bad = folder.scan(root)
    assert {s.name: s.recording_group for s in sources}["gun/rifle/good.wav"] == "mine" and bad == []


def test_a_manifest_that_names_no_file_here_is_told(root):
    (root.parent / "manifest.csv").write_text("path,recording_group\nother/gun/a.wav,1\n")
    assert folder.scan(root)[1] == []  # another corpus's
    (root / "manifest.csv").write_text("path,recording_group\nrecs/gun/rifle/good.wav,1\n")
    (row,) = folder.scan(root)[1]
    assert row["file"] == "manifest.csv" and "recs/gun/rifle/good.wav" in row["value"]
    (root / "manifest.csv").write_text("path,recording_group\ngun/rifle/good.wav,1,\n")
    with pytest.raises(ValueError, match=r"manifest\.csv: its lines have more cells than its first names"):
        folder.scan(root)


def test_manifest_faults_are_named(root):
    manifest = root / "manifest.csv"
    manifest.write_text("path,group\ngun/rifle/good.wav,1\n")
    with pytest.raises(ValueError, match=r"manifest\.csv: columns \['recording_group'\] are missing"):
        folder.scan(root)
    manifest.write_bytes(b"path,recording_group\n\xff\xfe,1\n")
    with pytest.raises(ValueError, match=r"manifest\.csv: must be a CSV in UTF-8"):
        folder.scan(root)
    manifest.write_text("path,recording_group,class\ngun/rifle/good.wav,1,dog\ngun/rifle/good.wav,2,gun\n")
    sources, rejected = folder.scan(root)
    assert not sources and [r["value"] for r in rejected] == ["listed twice", "class='dog'"]


@pytest.fixture
def city(tmp_path):
    """A small UrbanSound8K, with a file that has no row and rows that have no file or no class."""
    root = tmp_path / "UrbanSound8K"
    for i, name in enumerate(("fold1/7-6-0-0.wav", "fold2/7-6-0-1.wav", "fold2/9-3-0-0.wav", "fold2/extra.wav")):
        put(root / "audio" / name, noise(i))
    put(root / "audio/fold2/8-1-0-0.wav", noise(8))
    (root / "metadata").mkdir()
    (root / urbansound8k.METADATA).write_text(
        "slice_file_name,fsID,start,end,salience,fold,classID,class\n"
        "7-6-0-0.wav,7,0,4,1,1,6,gun_shot\n7-6-0-1.wav,7,0,4,1,2,6,gun_shot\n9-3-0-0.wav,9,0,4,1,2,3,dog_bark\n"
        "1-1-0-0.wav,1,0,4,1,3,1,car_horn\n8-1-0-0.wav,8,0,4,1,2,1,\n9-3-0-0.wav,9,0,4,1,2,3,dog_bark\n"
    )
    return root


def test_urbansound8k(city):
    assert corpora.detect(city) == "urbansound8k"
    sources, rejected = urbansound8k.scan(city)
    assert {s.path: (s.class_, s.label, s.recording_group) for s in sources} == {
        "gun/fold1/7-6-0-0.wav": ("gun", "gun_shot", "freesound:7"),
        "gun/fold2/7-6-0-1.wav": ("gun", "gun_shot", "freesound:7"),
        "env/fold2/9-3-0-0.wav": ("env", "dog_bark", "freesound:9"),
    }
    assert {(s.source, s.upstream, s.licence) for s in sources} == {("urbansound8k", "UrbanSound8K", "CC BY-NC 3.0")}
    assert {r["file"]: r["value"] for r in rejected} == {
        "audio/fold2/extra.wav": "no row",
        "audio/fold3/1-1-0-0.wav": "no such file",
        "audio/fold2/8-1-0-0.wav": "class empty",
        "audio/fold2/9-3-0-0.wav": "listed twice",
    }


def test_urbansound8k_renamed_column(city):
    file = city / urbansound8k.METADATA
    file.write_text(file.read_text().replace("fsID", "freesound_id"))
    with pytest.raises(ValueError, match=r"UrbanSound8K\.csv: columns \['fsID'\] are missing"):
        urbansound8k.scan(city)


def test_no_layout_is_named(tmp_path):
    for call in (corpora.detect, folder.scan):
        with pytest.raises(ValueError, match=rf"{tmp_path}.*gun/ or env/"):
            call(tmp_path)
    with pytest.raises(ValueError, match=r"metadata/UrbanSound8K\.csv is missing"):
        urbansound8k.scan(tmp_path)
    (tmp_path / "gun").mkdir()
    with pytest.raises(ValueError, match="must hold a recording"):
        folder.scan(tmp_path)


def test_of_a_class_s_own_folder_the_one_above_is_meant(tmp_path):
    for name in ("gun", "env"):
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=f"{re.escape(str(tmp_path))} does: give that one"):
        corpora.detect(tmp_path / "env")
    with pytest.raises(ValueError, match=r"layout urbansound8k\)$"):
        corpora.detect(tmp_path.parent)


@pytest.mark.parametrize(("layout", "name"), [("kaggle-gunshots", "3 (20).wav"), ("freefirearm", "C_30P.wav")])
def test_a_set_that_no_folder_of_classes_has_is_named_with_its_command(tmp_path, layout, name):
    root = tmp_path / "all my guns"
    (root / "AK 12").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"layout urbansound8k\)$"):
        corpora.detect(root)
    (root / "AK 12" / name).touch()
    with pytest.raises(
        ValueError, match=f"shots alone: `gunshot import {layout} '{root}'` imports it, or move it into"
    ):
        corpora.detect(root)
