"""params.yaml: what is accepted, and that every mistake is named by key, value and rule."""

import copy
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from gunshot.base import params

REPO = Path(__file__).parents[2] / "params.yaml"
DOCUMENT = yaml.safe_load(REPO.read_text())


def put(folder: Path, document) -> Path:
    path = folder / "params.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return path


def error(path: Path) -> str:
    with pytest.raises(params.ParamsError) as caught:
        params.load("audio", path=path)
    return str(caught.value)


def test_the_repository_s_file_loads_every_section():
    p = params.load(*params.SECTIONS, path=REPO)
    assert set(vars(p)) == set(DOCUMENT)
    for name, keys in DOCUMENT.items():
        section = getattr(p, name).model_dump()
        assert {k: list(v) if isinstance(v, tuple) else v for k, v in section.items()} == keys


def test_only_the_named_sections_are_given():
    assert list(vars(params.load("features", path=REPO))) == ["features"]


def test_the_sections_are_frozen():
    p = params.load("audio", "chunks", path=REPO)
    with pytest.raises(ValidationError, match="frozen"):
        p.audio.sr = 8000
    with pytest.raises(TypeError):
        p.chunks.jitter[0] = 0.5


@pytest.mark.parametrize("section", sorted(DOCUMENT))
def test_each_missing_key_is_named(tmp_path, section):
    document = copy.deepcopy(DOCUMENT)
    document[section] = {}
    path = put(tmp_path, document)
    assert error(path).splitlines() == [f"{path}: {section}.{key} is missing" for key in DOCUMENT[section]]


def test_a_misspelt_key_is_named_with_the_known_ones(tmp_path):
    document = copy.deepcopy(DOCUMENT)
    document["features"]["n_ftt"] = document["features"].pop("n_fft")
    message = error(path := put(tmp_path, document))
    assert f"{path}: features.n_ftt=512 is not a known key; features has: n_fft, hop_length" in message
    assert f"{path}: features.n_fft is missing" in message


def test_unknown_and_missing_sections_are_named_together(tmp_path):
    document = copy.deepcopy(DOCUMENT)
    document["feature"] = document.pop("features")
    document["forest"] = None
    lines = error(put(tmp_path, document)).splitlines()
    assert len(lines) == 3
    assert "section 'feature' is not known; the sections are: audio, quality" in lines[0]
    assert "section 'features' is missing" in lines[1]
    assert "section 'forest' is missing or holds no keys" in lines[2]


def test_a_mistake_in_a_section_that_is_not_asked_for_is_found(tmp_path):
    document = copy.deepcopy(DOCUMENT)
    document["network"]["epochs"] = 0
    assert "network.epochs=0: Input should be greater than or equal to 1" in error(put(tmp_path, document))


BAD = [
    ("audio", "sr", 44100, "16000"),
    ("audio", "sr", "16000", "16000"),
    ("audio", "chunk_length", 0, "greater than or equal to 1"),
    ("audio", "chunk_length", 4096.0, "integer"),
    ("audio", "chunk_length", True, "integer"),
    ("audio", "chunk_length", None, "integer"),
    ("quality", "max_clipped", 1.5, "less than or equal to 1"),
    ("quality", "max_rejected", -0.1, "greater than or equal to 0"),
    ("quality", "silence_db", float("nan"), "finite"),
    ("quality", "silence_db", "loud", "number"),
    ("simulate", "gun_recordings", -1, "greater than or equal to 0"),
    ("simulate", "duration_s", [3.0], ".1 is missing"),
    ("simulate", "duration_s", [3.0, 4.0, 5.0], "at most 2"),
    ("simulate", "duration_s", 3.0, "tuple"),
    ("simulate", "duration_s", ["3", 6.0], "number"),
    ("simulate", "duration_s", [-3.0, 6.0], "greater than 0"),
    ("simulate", "distance_m", [2.0, float("inf")], "finite"),
    ("tags", "min_rise_db", 0.0, "greater than 0"),
    ("chunks", "seed", -1, "greater than or equal to 0"),
    ("chunks", "jitter", [0.5, 1.5], "less than or equal to 1"),
    ("chunks", "jitter", [-0.5, 0.5], "greater than or equal to 0"),
    ("augment", "pitch_semitones", 13.0, "less than or equal to 12"),
    ("augment", "rt60_s", [0.0, 1.0], "greater than 0"),
    ("augment", "lowpass_hz", [-5.0, 100.0], "greater than 0"),
    ("features", "amin", "1e-10", "number"),  # YAML 1.1 reads 1e-10 as text; 1.0e-10 is a number
    ("features", "fmin", -1.0, "greater than or equal to 0"),
    ("forest", "n_estimators", 100, "list"),
    ("forest", "n_estimators", [], "at least 1 item"),
    ("forest", "max_depth", [8, 0], "greater than or equal to 1"),
    ("forest", "folds", 1, "greater than or equal to 2"),
    ("network", "depth", 5, "less than or equal to 4"),
    ("network", "learning_rate", 0.0, "greater than 0"),
    ("evaluate", "min_recall", 95, "less than or equal to 1"),
    ("detector", "hop", 0, "greater than or equal to 4"),
    ("detector", "hop", 6, "multiple of 4"),
    ("firmware", "heartbeat_s", 0.5, "greater than or equal to 1"),
    ("firmware", "heartbeat_s", 1e6, "less than or equal to 604800"),
    ("firmware", "full_scale_pa", 0.0, "greater than or equal to 0.01"),
    ("detector", "cooldown_s", -1.0, "greater than or equal to 0"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("section", "key", "value", "rule"), BAD)
def test_a_bad_value_is_named_with_its_rule(tmp_path, section, key, value, rule):
    document = copy.deepcopy(DOCUMENT)
    document[section][key] = value
    message = error(path := put(tmp_path, document))
    assert message.startswith(f"{path}: {section}.{key}") and rule in message, message


RANGES = [
    (s, k)
    for s, keys in DOCUMENT.items()
    for k, v in keys.items()
    if isinstance(v, list) and v and s != "forest" and not isinstance(v[0], str)
]


@pytest.mark.parametrize(("section", "key"), RANGES)
def test_every_range_must_ascend(tmp_path, section, key):
    document = copy.deepcopy(DOCUMENT)
    document[section][key] = DOCUMENT[section][key][::-1]
    message = error(path := put(tmp_path, document))
    high, low = (float(v) for v in document[section][key])
    assert message == f"{path}: {section}: {key}={[high, low]} must be [low, high] with low <= high"


def test_equal_ends_are_a_range(tmp_path):
    document = copy.deepcopy(DOCUMENT)
    document["augment"]["gain_db"] = [-3, -3]
    assert params.load("augment", path=put(tmp_path, document)).augment.gain_db == (-3.0, -3.0)


def test_the_sides_must_sum_to_one(tmp_path):
    document = copy.deepcopy(DOCUMENT)
    document["splits"]["test"] = 0.2
    path = put(tmp_path, document)
    assert error(path) == f"{path}: splits: train + val + test = 1.1 must be 1"


@pytest.mark.parametrize(
    ("text", "rule"),
    [("", "must hold sections, not NoneType"), ("- a\n- b\n", "must hold sections, not list"), ("a: [", "not YAML")],
)
def test_what_holds_no_sections_is_named(tmp_path, text, rule):
    assert rule in error(path := put(tmp_path, text)) and str(path) in error(path)


def test_a_missing_file_says_what_to_do(tmp_path):
    path = tmp_path / "params.yaml"
    assert error(path) == f"{path}: no such file; run this from the project's folder"
