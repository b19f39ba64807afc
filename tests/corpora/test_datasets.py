"""Published data sets: their own layouts, class maps, groups and licences, and what is wrong with a tree."""

import csv
import json
import shutil

import numpy as np
import pytest
import soundfile as sf

from gunshot import corpora
from gunshot.corpora import classmap

WEAPONS = ["AK-12", "AK-47", "IMI Desert Eagle", "M16", "M249", "M4", "MG-42", "MP5", "Zastava M92"]


def wav(path, seed: int = 0):
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, 0.1 * np.random.default_rng(seed).standard_normal(4410), 44100)


@pytest.fixture
def esc50(tmp_path):
    rows = [
        ("1-100032-A-0.wav", "dog", "100032"),
        ("1-100032-B-0.wav", "dog", "100032"),
        ("2-7-A-48.wav", "fireworks", "7"),
        ("3-8-A-19.wav", "thunderstorm", "8"),
    ]
    for i, (name, _, _) in enumerate(rows):
        wav(tmp_path / "audio" / name, i)
    lines = [f"{name},1,0,{category},{i == 0},{source},A" for i, (name, category, source) in enumerate(rows)]
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/esc50.csv").write_text("\n".join(["filename,fold,target,category,esc10,src_file,take", *lines]))
    return tmp_path


def scan(layout: str, root, **options):
    return corpora.layouts[layout](root, **options)


def test_esc50(esc50):
    sources, bad = scan("esc50", esc50)
    assert bad == [] and corpora.detect(esc50) == "esc50"
    assert {s.class_ for s in sources} == {"env"} and [s.licence for s in sources] == [
        "CC BY 3.0",
        *3 * ["CC BY-NC 3.0"],
    ]
    assert [s.recording_group for s in sources] == [
        "freesound:100032",
        "freesound:100032",
        "freesound:7",
        "freesound:8",
    ]
    assert sources[2].path == "env/fireworks/2-7-A-48.wav"


def test_a_user_s_class_map_decides(esc50, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("dog: env\nfireworks: out\nthunderstorm: gun\n")
    sources, bad = scan("esc50", esc50, classes=mine)
    assert bad == [] and [(s.label, s.class_) for s in sources] == [("dog", "env")] * 2 + [("thunderstorm", "gun")]
    mine.write_text("dog: env\nfireworks: out\n")
    with pytest.raises(ValueError, match=r"mine\.yaml: class 'thunderstorm' is missing; add a line"):
        scan("esc50", esc50, classes=mine)
    for text, message in (
        ("dog: cat", "dog: 'cat' must be one of gun, env, out"),
        ("- dog", "map each class"),
        ("a: [", "YAML"),
    ):
        mine.write_text(text)
        with pytest.raises(ValueError, match=message):
            classmap.load(mine)


def test_what_esc50_s_metadata_and_disk_disagree_on_is_listed(esc50):
    (esc50 / "audio/1-100032-B-0.wav").unlink()
    wav(esc50 / 'audio/a, "b" (é).wav')
    with open(esc50 / "meta/esc50.csv", "a") as file:
        file.write("\n2-7-A-48.wav,1,0,fireworks,False,7,A\n../../etc/x.wav,1,0,dog,False,1,A\n")
    sources, bad = scan("esc50", esc50)
    assert [s.label for s in sources] == ["dog", "fireworks", "thunderstorm"]
    assert {(row["file"], row["value"]) for row in bad} == {
        ("audio/1-100032-B-0.wav", "no such file"),
        ("audio/2-7-A-48.wav", "listed twice"),
        ("audio/../../etc/x.wav", "no such file"),
        ('audio/a, "b" (é).wav', "no row"),
    }
    (esc50 / "meta/esc50.csv").unlink()
    with pytest.raises(ValueError, match=r"must hold meta/esc50\.csv and audio; meta/esc50\.csv is missing"):
        scan("esc50", esc50)


@pytest.fixture
def fsd50k(tmp_path):
    clips = {
        "dev": [
            ("101", "Gunshot_and_gunfire,Explosion", "http://creativecommons.org/publicdomain/zero/1.0/"),
            ("102", "Fireworks,Explosion", "http://creativecommons.org/licenses/by/3.0/"),
            ("103", "Explosion", "http://creativecommons.org/licenses/by-nc/3.0/"),
            (
                "104",
                "Speech,Human_voice,Gunshot_and_gunfire,Explosion",
                "http://creativecommons.org/licenses/sampling+/1.0/",
            ),
        ],
        "eval": [("201", "Slam,Door,Domestic_sounds_and_home_sounds", "somewhere else")],
    }
    for part, rows in clips.items():
        for name, _, _ in rows:
            wav(tmp_path / f"FSD50K.{part}_audio/{name}.wav", int(name))
        lines = [f'{name},"{labels}",/m/0{",train" if part == "dev" else ""}' for name, labels, _ in rows]
        truth = tmp_path / f"FSD50K.ground_truth/{part}.csv"
        truth.parent.mkdir(exist_ok=True)
        truth.write_text("\n".join([f"fname,labels,mids{',split' if part == 'dev' else ''}", *lines]))
        info = tmp_path / f"FSD50K.metadata/{part}_clips_info_FSD50K.json"
        info.parent.mkdir(exist_ok=True)
        info.write_text(json.dumps({name: {"license": url, "uploader": "u"} for name, _, url in rows}))
    return tmp_path


def test_fsd50k(fsd50k):
    assert corpora.detect(fsd50k) == "fsd50k"
    sources, bad = scan("fsd50k", fsd50k)
    assert bad == []
    assert [(s.path, s.class_, s.licence, s.recording_group) for s in sources] == [
        ("gun/Gunshot_and_gunfire/101.wav", "gun", "CC0-1.0", "freesound:101"),
        ("env/Fireworks/102.wav", "env", "CC BY 3.0", "freesound:102"),
        ("gun/Gunshot_and_gunfire/104.wav", "gun", "CC Sampling+ 1.0", "freesound:104"),
        ("env/Slam/201.wav", "env", "unknown", "freesound:201"),
    ]


def test_fsd50k_in_part_and_with_faults(fsd50k):
    shutil.rmtree(fsd50k / "FSD50K.metadata")
    (fsd50k / "FSD50K.ground_truth/eval.csv").unlink()
    (fsd50k / "FSD50K.dev_audio/102.wav").unlink()
    wav(fsd50k / "FSD50K.dev_audio/105.wav")
    sources, bad = scan("fsd50k", fsd50k)
    assert [(s.name, s.licence) for s in sources] == [
        ("FSD50K.dev_audio/101.wav", "unknown"), ("FSD50K.dev_audio/104.wav", "unknown"),
    ]  # fmt: skip
    assert [(row["file"], row["value"]) for row in bad] == [
        ("FSD50K.dev_audio/102.wav", "no such file"), ("FSD50K.dev_audio/105.wav", "no row"),
    ]  # fmt: skip
    (fsd50k / "FSD50K.metadata").mkdir()
    (fsd50k / "FSD50K.metadata/dev_clips_info_FSD50K.json").write_text("{")
    with pytest.raises(ValueError, match=r"dev_clips_info_FSD50K\.json: must be JSON"):
        scan("fsd50k", fsd50k)
    (fsd50k / "FSD50K.ground_truth/dev.csv").unlink()
    with pytest.raises(ValueError, match=r"FSD50K\.ground_truth/dev\.csv is missing"):
        scan("fsd50k", fsd50k)


NAMES = ["a, b.wav", "\"q\" 'q'.wav", "3 (20).wav", "Schüsse – дым.wav"]


@pytest.mark.parametrize("layout", ["esc50", "urbansound8k", "folder", "kaggle-gunshots", "freefirearm"])
def test_any_name_is_a_name_and_a_link_out_is_rejected(layout, tmp_path):
    where = {"esc50": "audio", "urbansound8k": "audio/fold1", "folder": "gun/x"}.get(layout, "AK-47")
    for i, name in enumerate(NAMES):
        wav(tmp_path / where / name, i)
    (tmp_path / where / "out.wav").symlink_to("/etc/hostname")
    columns = {
        "esc50": ("meta/esc50.csv", ["filename", "category", "src_file"], "dog"),
        "urbansound8k": ("metadata/UrbanSound8K.csv", ["slice_file_name", "class", "fsID", "fold"], "dog_bark"),
    }
    if layout in columns:
        file, header, label = columns[layout]
        (tmp_path / file).parent.mkdir()
        with open(tmp_path / file, "w", newline="") as out:
            csv.writer(out).writerows([header, *([name, label, i, 1][: len(header)] for i, name in enumerate(NAMES))])
    sources, bad = scan(layout, tmp_path)
    assert sorted(s.file.name for s in sources) == sorted(NAMES)
    assert [(row["file"], row["value"]) for row in bad] == [(f"{where}/out.wav", "link to /etc/hostname")]
    if layout in corpora.SIGNS:  # by who only hears they are followed
        _, heard = corpora.layouts[layout](tmp_path, anywhere=True)
        assert [row["value"] for row in heard] == ["no row"] * (layout != "folder")


def test_class_maps_name_every_class_of_their_sets():
    esc, urban, fsd = (classmap.load(classmap.default(name)) for name in ("esc50", "urbansound8k", "fsd50k"))
    assert len(fsd) == 200 and {n for n, place in fsd.items() if place != "env"} == {
        "Gunshot_and_gunfire", "Explosion", "Boom"
    }  # fmt: skip
    assert fsd["Gunshot_and_gunfire"] == "gun" and fsd["Fireworks"] == "env"
    assert len(esc) == 50 and set(esc.values()) == {"env"}
    assert len(urban) == 10 and [name for name, place in urban.items() if place == "gun"] == ["gun_shot"]


def test_kaggle_gunshots(tmp_path):
    for number, weapon in enumerate(WEAPONS, 1):  # as published: the number is the weapon's, not a video's
        for name in (f"{number} (1).wav", f"{number} (2).wav", f"{number} (20).wav", "odd name.wav"):
            wav(tmp_path / weapon / name)
    (tmp_path / "readme.txt").write_text("about")
    sources, bad = scan("kaggle-gunshots", tmp_path)
    assert bad == [] and len(sources) == 4 * len(WEAPONS)
    assert {s.class_ for s in sources} == {"gun"} and sorted({s.label for s in sources}) == sorted(WEAPONS)
    groups = {s.name: s.recording_group for s in sources}
    assert groups == {name: f"kaggle-gunshots:{name.split('/')[0]}" for name in groups}
    with pytest.raises(ValueError, match="a folder for each weapon"):
        (tmp_path / "empty").mkdir()
        scan("kaggle-gunshots", tmp_path / "empty")


def test_freefirearm(tmp_path):
    for name in ("AK 47/C_24.wav", "AK 47/C_30P.wav", "PPSh/P_22P.wav"):
        wav(tmp_path / name)
    (tmp_path / "PPSh/out.wav").symlink_to("/etc/hostname")
    sources, bad = scan("freefirearm", tmp_path)
    assert [s.recording_group for s in sources] == ["freefirearm:AK 47"] * 2 + ["freefirearm:PPSh"]
    assert {s.licence for s in sources} == {"CC0-1.0"}
    assert [row["file"] for row in bad] == ["PPSh/out.wav"]
