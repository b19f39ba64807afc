"""Tags in other tools' formats: what is written is read, real exports are understood, bad ones are named."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot.tags import Tag, labeltracks

SR = 16000
CONFIDENCE = st.one_of(st.none(), st.integers(0, 100).map(lambda c: c / 100))
TAGS = st.dictionaries(st.integers(0, 10 * 3600 * SR), CONFIDENCE, max_size=30).map(
    lambda content: [Tag(*item) for item in sorted(content.items())]
)
NAMES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="/\\", exclude_categories=("Cs", "Cc")), min_size=1)
    .map(lambda part: part.strip(". ") or "x"),
    min_size=1, max_size=3,
).map(lambda parts: "/".join(parts) + ".wav")  # fmt: skip


@given(TAGS)
def test_a_label_track_s_tags_come_back(tags):
    assert labeltracks.from_audacity(labeltracks.audacity(tags, sr=SR), sr=SR) == (tags, [])


@pytest.mark.slow
@given(st.dictionaries(NAMES, TAGS, max_size=5))
def test_label_studio_s_tags_come_back(tags):
    tasks = labeltracks.label_studio(tags, sr=SR)
    assert labeltracks.from_label_studio(json.dumps(tasks), sr=SR) == (tags, [], [])


@given(st.sets(NAMES, min_size=1, max_size=8))
def test_a_recording_is_found_by_its_whole_path(names):
    recordings = labeltracks.Recordings(names)
    assert {name: recordings.find(name) for name in names} == {name: name for name in names}


def test_an_audacity_track_as_the_program_writes_it():
    """Point and region labels, Windows' line ends, a selection's frequencies on a second line, a label without text."""
    text = (
        "0.781250\t0.781250\tshot\r\n\\\t120.000000\t4000.000000\r\n0.100000\t0.400000\tGunshot 9mm\r\n"
        "1.5\t1.5\t\r\n2.0\t3.0\tdog\r\n1.7\t1.7\tshot@0.35\r\n"
    )
    tags = [Tag(1600), Tag(12500), Tag(24000), Tag(27200, 0.35)]
    assert labeltracks.from_audacity(text, sr=SR) == (tags, ["dog"])


OTHER = [
    "no shot",
    "No_Shot",
    "not_gunshot",
    "nail gun",
    "Schuß",
    "gun cocking",
    "shot?",
    "gunshots?",
    "dog",
    "9mm",
    "3",
]
SHOT = [
    "Shot",
    "GUN_SHOT",
    "gun-shot 12",
    "shot3",
    "Gunshot 9mm",
    "Gunshot, gunfire",
    "Gunshot_and_gunfire",
    "gun",
    " ",
]


@pytest.mark.parametrize("label", SHOT)
def test_a_listed_label_means_a_shot_whatever_its_case_and_number(label):
    assert labeltracks.means_shot(label)


@pytest.mark.parametrize("label", OTHER)
def test_any_other_label_means_none_unless_it_is_given(label):
    assert not labeltracks.means_shot(label)
    assert labeltracks.means_shot(label.upper(), [label]) and not labeltracks.means_shot("shot", [label])


@given(st.text(st.characters(codec="utf-8"), max_size=12), st.sampled_from(["shot", "gun shot", "Schuß"]))
def test_a_word_more_makes_another_label(word, label):
    """Before or behind it, but for a number behind: what is not listed word for word is no shot."""
    words = labeltracks._words(word)
    assert labeltracks.means_shot(f"{word} {label}", [label]) == (words == [])
    numbers = all(part[0].isdigit() for part in words)
    assert labeltracks.means_shot(f"{label} {word}", [label]) == numbers


@given(st.lists(st.sampled_from(OTHER), max_size=4), st.lists(st.sampled_from(SHOT), max_size=4))
def test_other_labels_change_nothing(other, shots):
    """Beside shots they are listed; alone they do not say that there is none, as a track without labels does."""
    text = "".join(f"{i}\t{i}\t{label}\n" for i, label in enumerate([*shots, *other]))
    tasks = [{"data": {"audio": "a"}, "annotations": [{"result": [
        region(i, [label]) for i, label in enumerate([*shots, *other])]}]}]  # fmt: skip
    tags = [Tag(i * SR) for i in range(len(shots))]
    says_nothing = bool(other) and not shots
    assert labeltracks.from_audacity(text, sr=SR) == (None if says_nothing else tags, other)
    assert studio(*tasks) == ({} if says_nothing else {"a": tags}, other, ["a"] if says_nothing else [])


def test_what_audacity_is_given():
    assert labeltracks.audacity([Tag(12500), Tag(16000, 0.9)], sr=SR) == (
        "0.781250\t0.781250\tshot\n1.000000\t1.000000\tshot@0.90\n"
    )


@pytest.mark.parametrize(
    "line",
    ["shot", "1.0", "1 5\t1 5\tshot", "0:01\t1\tshot", "-1\t2\tshot", "2\t1\tshot", "nan\tnan\tx", "0\tinf\tx"],
)
def test_a_bad_line_of_a_track_is_named(line):
    with pytest.raises(ValueError, match=r"^3\.txt:2: .*0 <= start <= end"):
        labeltracks.from_audacity(f"0.5\t0.5\tshot\n{line}\n", sr=SR, name="3.txt")


def region(start, labels=("Gunshot",), **more):
    return {
        "value": {"start": start, "end": start + 0.3, "channel": 0, "labels": list(labels)},
        "type": "labels",
        **more,
    }


def studio(*tasks, **options):
    return labeltracks.from_label_studio(json.dumps(tasks), sr=SR, **options)


def test_a_label_studio_export_as_the_program_writes_it():
    """An annotation replaces its predictions; skipped ones do not count; a choice on the task is no region."""
    tasks = [
        {
            "id": 7,
            "data": {"audio": "/data/upload/1/0a1b2c3d-rifle_3.wav"},
            "annotations": [
                {"was_cancelled": True, "result": [region(9)]},
                {"result": [region(1), {"type": "choices", "value": {"choices": ["noisy"]}}, region(0.5, ["Speech"])]},
            ],
            "predictions": [{"score": 0.5, "result": [region(2, score=0.5)]}],
        },
        {"id": 8, "data": {"audio": "s3://bucket/set/gun/b%20c.wav"}, "annotations": [], "predictions": [
            {"result": [region(2, score=0.5), region(1.25, score=0.75)]}]},
        {"id": 9, "data": {"audio": "/data/local-files/?d=gun/d%23.wav"}, "annotations": [{"result": []}]},
        {"id": 10, "data": {"audio": "https://example.org/e.wav?token=1"}, "annotations": []},
    ]  # fmt: skip
    tagged, other, silent = studio(*tasks)
    assert tagged == {
        "/data/upload/1/rifle_3.wav": [Tag(16000)],
        "/set/gun/b c.wav": [Tag(20000, 0.75), Tag(32000, 0.5)],
        "gun/d#.wav": [],
    }
    assert other == ["choices ['noisy'], which names no place", "Speech"] and silent == ["/e.wav"]


CHOICE = {"type": "choices", "value": {"choices": ["gunshot"]}}
ABOUT = {"type": "choices", "value": {"start": 1, "end": 2, "choices": ["loud"]}}


@pytest.mark.parametrize(
    ("task", "placed", "other"),
    [
        ({"annotations": [{"result": [CHOICE]}]}, None, ["choices ['gunshot'], which names no place"]),
        ({"annotations": [{"result": [CHOICE, region(1)]}]}, [Tag(16000)],
         ["choices ['gunshot'], which names no place"]),
        ({"annotations": [{"result": [region(1, ["Speech"]), ABOUT]}]}, None,
         ["Speech", "choices ['loud'], which names no place"]),
        ({"annotations": [{"result": [{"type": "labels", "value": {"end": 2, "labels": ["shot"]}}]}]}, None,
         ["end 2, which names no place", "labels ['shot'], which names no place"]),
        ({"annotations": [{"result": []}]}, [], []),
        ({"annotations": [{"result": [CHOICE]}], "predictions": [{"result": [region(1, score=0.5)]}]}, None,
         ["choices ['gunshot'], which names no place"]),
        ({"predictions": [{"result": []}]}, None, []),
        ({"predictions": [{"result": [region(1)], "score": 0.5}]}, [Tag(16000, 0.5)], []),
        ({"predictions": [{"result": [region(1)]}]}, [Tag(16000, 0.0)], []),
    ],
)  # fmt: skip
def test_only_regions_and_empty_annotations_say_where_shots_are(task, placed, other):
    """A prediction confirms nothing: neither that there is no shot, nor a shot without a score."""
    tagged, said, silent = studio({"data": {"audio": "a"}, **task})
    assert (tagged, said, silent) == (({}, other, ["a"]) if placed is None else ({"a": placed}, other, []))


def test_annotations_that_differ_need_a_ground_truth():
    entries = [{"result": [region(1)]}, {"result": [region(2)], "ground_truth": True}]
    task = {"id": 3, "data": {"audio": "a.wav"}, "annotations": entries}
    assert studio(task)[0] == {"a.wav": [Tag(32000)]}
    del entries[1]["ground_truth"]
    with pytest.raises(ValueError, match=r"task 3: 2 annotations differ; mark one as ground truth"):
        studio(task)
    entries[1] = {"result": [region(1)]}
    assert studio(task)[0] == {"a.wav": [Tag(16000)]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "must be JSON"),
        ("[" * 100_000, "must be JSON"),
        ('[{"data": {"audio": "a"}, "annotations": [{}]}]', "result=None must be a list, empty where there is no shot"),
        ('[{"data": {"audio": "a"}, "annotations": [{"result": {}}]}]', "must be a list"),
        ("{}", "must be a list of tasks"),
        ("[1]", "must be a list of tasks"),
        ('[{"data": {}}]', "task 0: data.audio must name the recording"),
        ('[{"data": {"audio": "a"}, "annotations": 3}]', "annotations must be a list"),
        ('[{"data": {"audio": "a"}, "annotations": [{"result": [{"value": {"start": 1}}]}]}]', "must have a start"),
        ('[{"data": {"audio": "a"}, "annotations": [{"result": ["x"]}]}]', "objects with a value"),
        ('[{"data": {"audio": "a"}, "annotations": [{"result": []}]}, {"data": {"audio": "a"}, "annotations": '
         '[{"result": []}]}]', "must have one task"),
        ('[{"data": {"audio": "a"}, "predictions": [{"result": [{"score": 7, "value": {"start": 1, "end": 2}}]}]}]',
         "score=7 must be 0 to 1"),
    ],
)  # fmt: skip
def test_a_bad_export_is_named(text, message):
    with pytest.raises(ValueError, match=r"^x\.json: ") as e:
        labeltracks.from_label_studio(text, sr=SR, name="x.json")
    assert message in str(e.value)


def test_a_recording_is_found_by_the_end_of_a_path():
    recordings = labeltracks.Recordings(
        ["m/gun/rifle/3.wav", "m/gun/pistol/3.wav", "m/gun/b.v2.wav", "x.wav", "y/x.wav"]
    )
    assert recordings.find("/tmp/out/m/gun/rifle/3.wav") == "m/gun/rifle/3.wav"
    assert recordings.find("C:\\labels\\pistol\\3") == "m/gun/pistol/3.wav"
    assert recordings.find("b.v2") == "m/gun/b.v2.wav"
    assert recordings.find("tracks/x.wav") == "x.wav"
    assert recordings.find("tracks/y/x") == "y/x.wav"
    with pytest.raises(ValueError, match=r"^t/3: may be 2 recordings \(m/gun/pistol/3.wav, m/gun/rifle/3.wav"):
        recordings.find("t/3")
    with pytest.raises(ValueError, match="no recording's path ends like this"):
        recordings.find("rifle/4.wav")
