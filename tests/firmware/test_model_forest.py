"""The forest backend: the logits of its C are those of gunshot/models/model.py, for any codes."""

import json
import subprocess

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier

from gunshot import features
from gunshot.export import constants
from gunshot.export import forest as forest_c
from gunshot.models import forest
from gunshot.models.model import Model, load_model
from tests.firmware.backends import CALIBRATION, N_MELS, SETTINGS, SRC, Backend, P, linked, refuses

pytestmark = pytest.mark.slow

N_FRAMES = 33
OPERATING = {"proof": "unproven", "settings": SETTINGS | {"n_frames": N_FRAMES, "first": 2, "stop": 26}}
REPORT = {"calibration": CALIBRATION}


def log_mels(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise about -60 dB; every second chunk with a step that decays, some too weak to tell."""
    rng = np.random.default_rng(seed)
    x = rng.normal(-60, 6, (n, N_MELS, N_FRAMES)) + rng.normal(0, 5, (n, 1, 1))
    y = np.arange(n) % 2
    after = np.arange(N_FRAMES) - rng.integers(2, 24, (n, 1))
    shot = np.where(after >= 0, rng.uniform(0, 20, (n, 1)) * np.exp(-after / 8), 0)
    return (x + (shot * y[:, None])[:, None]).astype(np.float32), y


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Model:
    path = tmp_path_factory.mktemp("forest") / "forest.joblib"
    x, y = log_mels(1500, 0)
    grown = RandomForestClassifier(20, max_depth=8, min_samples_leaf=2, max_features=0.1, random_state=0)
    grown.fit(forest.codes(x), y).window_ = N_MELS, N_FRAMES
    joblib.dump(grown, path)
    path.with_name("report.json").write_text(json.dumps(REPORT | {"chunk_threshold": 0.5}))
    return load_model(path)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("generated")
    source = forest_c.to_c(forest.load(model.path))
    constants.write_forest(source, out, constants=constants.forest_constants(source, REPORT, OPERATING, P))
    return out


@pytest.fixture(scope="module")
def backend(folder):
    return Backend(linked(folder, [SRC / "model_forest.c", SRC / "crc32.c"], "-I", str(folder / "forest")))


def logits(model: Model, x: np.ndarray) -> list[int]:
    return [int(model.window_logits(window, hop=8)[0]) for window in x]


def test_logits_are_those_of_python(backend, model):
    x, y = log_mels(1000, 1)
    assert backend.init(arena=0) == "OK"
    actual = backend.logits(features.codes(x))
    assert actual == logits(model, x)
    assert len(set(actual)) > 60 and min(actual) < 0 < max(actual)
    assert ((np.array(actual) > 0) == y).mean() > 0.65  # and they tell shots


@given(st.integers(0, 2**31 - 1))
def test_logits_are_those_of_python_for_any_codes(backend, model, seed):
    rng = np.random.default_rng(seed)
    codes = np.clip(rng.normal(rng.uniform(-128, 127), rng.uniform(0, 90), (4, N_MELS, N_FRAMES)).round(), -128, 127)
    backend.init()
    x = ((codes - features.CODE_ZERO) * features.CODE_DB).astype(np.float32)
    assert backend.logits(codes.astype(np.int8)) == logits(model, x)


def test_a_failed_init_leaves_nothing(backend):
    window = np.zeros((N_MELS, N_FRAMES), np.int8)
    assert backend.init() == "OK" and isinstance(backend.score(window), int)
    assert backend.init(backend.artifact[:-1]) == "TRUNCATED" and backend.score(window) == "NOT_READY"
    assert backend.init(b"") == "TRUNCATED" and backend.init(backend.artifact + b"\0") == "CRC"


@given(st.data())
def test_any_changed_byte_of_the_leaves_is_found(backend, data):
    changed = bytearray(backend.artifact)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    assert backend.init(bytes(changed)) == "CRC"


def test_the_leaves_are_the_artifact_s(backend):
    """What the trees say is read from the bytes that were checked, none other."""
    window = np.zeros((N_MELS, N_FRAMES), np.int8)
    assert backend.init() == "OK"
    before = backend.score(window)
    backend.bytes[:] = 0
    assert backend.score(window) < before


def test_a_forest_of_other_windows_does_not_compile(folder):
    text = (folder / "forest" / "constants.h").read_text().replace("N_FRAMES 33", "N_FRAMES 32")
    (folder / "other").mkdir()
    (folder / "other" / "constants.h").write_text(text)
    include = ["-I", str(folder / "other"), "-I", str(folder / "forest")]
    with pytest.raises(AssertionError, match="the trees read the codes of a window"):
        linked(folder / "other", [SRC / "model_forest.c"], *include)


def test_it_has_no_vectors_and_so_refuses_a_site_s_verifier(folder):
    sources = [SRC / f"{name}.c" for name in ("model_forest", "site", "crc32")]
    refuses(Backend(linked(folder / "with_site", sources, "-I", str(folder / "forest"))))


def test_no_floats_and_no_heap(folder, backend):
    """So that a Cortex-M without a floating-point unit may use it."""
    listed = subprocess.run(["nm", folder / "model_forest.o"], capture_output=True, text=True, check=True).stdout
    assert {line.split()[-1] for line in listed.splitlines() if " U " in line} <= {
        "gunshot_crc32",
        "_GLOBAL_OFFSET_TABLE_",
    }
    assert not any(word in (SRC / "model_forest.c").read_text() for word in ("float", "double"))
