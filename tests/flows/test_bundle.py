"""The exported folder of a promoted model: the promoted bytes, what belongs to them, and hashes that hold."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from gunshot.cli import drift
from gunshot.device import slots
from gunshot.promotion import audit, bundle, registry, repository
from gunshot.promotion import image as images
from gunshot.signing import keys, manifests, record
from tests.flows.registry_project import ENVIRONMENT, MODEL, Project, dvc, get

pytest_plugins = "tests.flows.registry_project"
pytestmark = pytest.mark.slow
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
FIGURES = {
    "auc": 0.9838, "threshold": 0.17, "recall_at_threshold": 0.987,
    "recall_at_threshold_lower": 0.975, "false_rate_at_threshold": 0.15,
    "false_rate_at_threshold_upper": 0.174, "shots": 527, "environment": 675,
}  # fmt: skip
REPORT = {
    "bytes": 1, "arena_bytes": 8736, "flip_rate_at_threshold": 0.0025, "recall_delta": -0.0038,
    "float": FIGURES, "int8": FIGURES,
}  # fmt: skip
STREAMS = {
    "simulated": {"int8": {"hours": 0.5, "shots": 121, "recall": 0.57, "recall_lower": 0.49, "recall_of_firings": 0.7,
                           "recall_of_firings_lower": 0.61, "false_incidents_per_hour": 60.0,
                           "false_incidents_per_hour_upper": 91.1}},
    "real": {"int8": {"hours": 0.0, "shots": 0, "recall": None, "recall_lower": None, "recall_of_firings": None,
                      "recall_of_firings_lower": None, "false_incidents_per_hour": None,
                      "false_incidents_per_hour_upper": None}},
    "int8_against_float": {"simulated": 0.1},
}  # fmt: skip
ONSETS = {  # what a version stated that counted false onsets
    "simulated": {"int8": {"hours": 0.5, "shots": 121, "recall": 0.57, "recall_lower": 0.49, "fa_per_hour": 70.0,
                           "fa_per_hour_upper": 99.1}},
}  # fmt: skip
OUTS = {
    "simulate": "data/raw/simulated", "featurize": "data/features", "quantize": str(MODEL),
    "reference": "models/quantized/reference.csv", "export": "firmware/generated",
}  # fmt: skip


def models(n: int, seed: int) -> list[bytes]:
    """Small int8 networks with weights of their own."""
    import keras
    from keras import layers

    from gunshot.models.network import quantize

    rng, converted = np.random.default_rng(seed), []
    for _ in range(n):
        x = inputs = layers.Input(batch_shape=(1, 32, 33, 1))
        x = layers.Conv2D(4, 5, strides=4)(x)
        x = layers.Dense(2)(layers.Flatten()(layers.LeakyReLU()(x)))
        model = keras.Model(inputs, x)
        model.set_weights([rng.normal(0, 0.1, w.shape) for w in model.get_weights()])
        converted.append(quantize.convert(model, rng.normal(-60, 12, (32, 32, 33)).astype(np.float32)))
    return converted


def write(root: Path, model: bytes, *, limit: str, streams: dict) -> str:
    """Make what the pipeline would, and commit it; `limit` is the key of it in operating.json."""
    rng = np.random.default_rng(1)
    for name in ("made/simulated", "made/features", "made/generated", MODEL.parent, "reports", "data/raw"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "made/model.tflite").write_bytes(model)
    np.save(root / "made/features/val.npy", rng.normal(-60, 12, (100, 32, 33)).astype(np.float32))
    (root / "made/generated/model.h").write_text(f"/* {len(model)} */\n")
    (root / "made/reference.csv").write_text(f"recording,score\n{len(model)},0.5\n")
    row = {"path": "a.wav", "class": "gun", "label": "rifle", "recording_group": "g", "source": "simulated"}
    row |= {"upstream": "physics", "licence": "CC0-1.0", "sr_found": 16000, "duration_s": 1.0, "sha256": "0"}
    pd.DataFrame([row, row | {"path": "b.wav"}]).to_csv(root / "made/simulated/recordings.csv", index=False)
    (root / MODEL).with_name("report.json").write_text(json.dumps(REPORT | {"bytes": len(model)}))
    (root / MODEL).with_name("operating.json").write_text(json.dumps({"score": 0.86, "proof": "unproven", limit: 0.5}))
    (root / "made/streams.json").write_text(json.dumps(streams))
    stages = {
        name: {"cmd": f"mkdir -p {Path(out).parent} && cp -r made/{Path(out).name} {out}",
               "deps": [f"made/{Path(out).name}"], "outs": [out]}
        for name, out in OUTS.items()
    }  # fmt: skip
    stages["score_streams"] = {
        "cmd": "cp made/streams.json reports",
        "deps": ["made/streams.json"],
        "metrics": [{"reports/streams.json": {"cache": False}}],
    }
    document = {"stages": stages, "artifacts": {"int8": {"path": str(MODEL), "type": "model"}}}
    (root / "dvc.yaml").write_text(yaml.safe_dump(document))
    (root / ".gitignore").write_text("/made/\n/models/promoted/\n")
    dvc(root, "repro", "-q")
    project = Project(root)
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "candidate")
    return project.head()


@pytest.fixture(scope="module")
def promoted(tmp_path_factory):
    """Two versions in production one after the other, exported; the folder's project and the models' bytes."""
    folder = tmp_path_factory.mktemp("bundle")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (ENVIRONMENT | {"GUNSHOT_KEY": str(folder / "key.pem")}).items():
            patch.setenv(name, value)
        patch.setattr(repository.Repository, "data", get)
        (folder / "project").mkdir()
        project = Project(folder / "project").make()
        networks = models(2, 0)
        stated = (("fa_per_hour_limit", ONSETS), ("false_incidents_per_hour_limit", STREAMS))
        for model, champion, (limit, streams) in zip(networks, (None, "v1.0.0"), stated, strict=True):
            project.promote(write(project.root, model, limit=limit, streams=streams), champion)
            assert bundle.export(root=project.root).name == ("v1.1.0" if champion else "v1.0.0")
        yield project, networks


def test_the_folder_holds_the_promoted_bytes_and_what_belongs_to_them(promoted):
    project, networks = promoted
    folder = project.root / "models/promoted/v1.1.0"
    manifest = json.loads((folder / "manifest.json").read_text())
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == files - {"manifest.json"} == {
        "model.tflite", "report.json", "operating.json", "reference.csv", "firmware/model.h", "firmware/ota_key.h",
        "golden.npz", "card.md",
    }  # fmt: skip
    assert (folder / "model.tflite").read_bytes() == networks[1] != networks[0]
    assert all(registry.sha256((folder / name).read_bytes()) == sha256 for name, sha256 in manifest["files"].items())
    assert (folder / "reference.csv").read_text() == f"recording,score\n{len(networks[1])},0.5\n"
    assert manifest["version"] == "v1.1.0" and manifest["commit"] == record.read(project.root)[1]["commit"]
    assert audit.verify(project.root) == []


def test_the_ota_header_has_the_number_of_the_line_that_put_the_version_there(promoted):
    project, folder = promoted[0], promoted[0].root / "models/promoted"
    for version, number in (("v1.1.0", 2), ("v1.0.0", 3), ("v1.1.0", 4)):
        if number > 2:
            assert project.rollback(to=version)["number"] == number
            bundle.export(root=project.root)
        text = (folder / version / "firmware/ota_key.h").read_text()
        assert f"#define GUNSHOT_OTA_INSTALLED {number}u\n" in text and record.read(project.root)[0]["key"] in text
    assert audit.verify(project.root) == []


def test_a_commit_is_fetched_as_its_tree_has_it_promoted_or_not(promoted, tmp_path):
    project, networks = promoted
    first = record.read(project.root)[0]["commit"]
    model = bundle.fetch(first[:12], tmp_path / "first", root=project.root)
    assert model.read_bytes() == networks[0] and model.name == "model.tflite"
    assert (model.parent / "firmware/model.h").read_text() == f"/* {len(networks[0])} */\n"
    assert {path.name for path in model.parent.iterdir()} == {
        "model.tflite",
        "report.json",
        "operating.json",
        "firmware",
    }
    assert "fa_per_hour_limit" in (model.parent / "operating.json").read_text()
    with pytest.raises(ValueError, match="f00d"):
        bundle.fetch("f00d", tmp_path / "none", root=project.root)


def test_the_image_for_devices_is_of_the_model_in_production_and_signed(promoted, monkeypatch):
    project, folder = promoted[0], promoted[0].root / "models/promoted"
    show = repository.Repository.show
    stated = {Path("params.yaml"): b"audio: of the commit"}  # which this project has not
    monkeypatch.setattr(
        repository.Repository, "show", lambda at, commit, path: stated.get(path) or show(at, commit, path)
    )
    entry = record.read(project.root)[-1]
    with pytest.raises(
        ValueError, match=r"version=v1\.0\.0 must be the one in production, v1\.1\.0; `gunshot rollback`"
    ):
        images.export("v1.0.0", root=project.root)
    image, manifest = images.export(root=project.root)
    assert image == folder / "v1.1.0.image" and manifest == folder / "v1.1.0.image.manifest"
    contents = slots.unpack(image.read_bytes())
    same = ("model.tflite", "report.json", "operating.json")
    assert all(contents[name] == (folder / "v1.1.0" / name).read_bytes() for name in same)
    assert contents["params.yaml"] == b"audio: of the commit"
    said = manifests.read(manifest.read_bytes(), keys.trusted(project.root / record.KEYS).values())
    assert (said.number, said.version, said.device) == (entry["number"], "v1.1.0", slots.CLASS)
    assert said.sha256 == registry.sha256(image.read_bytes()) and audit.verify(project.root) == []


def test_drift_is_measured_with_the_champion_which_is_exported_where_it_is_not(promoted, monkeypatch):
    monkeypatch.chdir(promoted[0].root)
    folder = Path("models/promoted/v1.1.0")
    shutil.rmtree(folder)
    for _ in range(2):
        assert drift.measured_with() == ("v1.1.0", folder / "model.tflite", folder / "reference.csv")
        assert (folder / "reference.csv").exists() and audit.verify() == []


def test_the_golden_vectors_are_tflm_s(promoted):
    from tflite_micro import runtime

    project, networks = promoted
    golden = np.load(project.root / "models/promoted/v1.1.0/golden.npz")
    assert golden["input"].shape == (48, 32, 33) and golden["input"].dtype == golden["output"].dtype == np.int8
    assert len(np.unique(golden["output"], axis=0)) > 8
    interpreter = runtime.Interpreter.from_bytes(networks[1])
    for codes, output in zip(golden["input"], golden["output"], strict=True):
        interpreter.set_input(codes.reshape(1, 32, 33, 1), 0)
        interpreter.invoke()
        assert interpreter.get_output(0).reshape(2).tolist() == output.tolist()


def test_the_card_says_what_decides(promoted):
    card = (promoted[0].root / "models/promoted/v1.1.0/card.md").read_text()
    for words in ("int8 v1.1.0", "by Ada: better at night", "| recall | yes | 0.9 |", "0.987, 0.975", "60.00, 91.10",
                 "| simulated | physics | CC0-1.0 | 2 |", "unproven", "8736 bytes",
                 "0.5 false incidents per hour", "0.570, 0.490 | 0.700, 0.610 | 60.00, 91.10",
                 "| real | 0.00 | 0 | not measured | not measured | not measured |"):  # fmt: skip
        assert words in card, words


def test_the_card_of_a_version_that_counted_onsets_says_so(promoted):
    card = (promoted[0].root / "models/promoted/v1.0.0/card.md").read_text()
    assert "limit 0.5 false onsets per hour: unproven" in card
    assert "| simulated | 0.50 | 121 | 0.570, 0.490 | not measured | not measured |" in card


def test_a_rollback_s_folder_is_the_same_to_the_byte(promoted, tmp_path):
    project, _ = promoted
    folder = project.root / "models/promoted/v1.0.0"
    before = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    shutil.rmtree(folder)
    bundle.export("v1.0.0", root=project.root)
    assert {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.sweep(3)
@pytest.mark.parametrize("name", ["model.tflite", "operating.json", "card.md", "golden.npz", "manifest.json", "extra"])
def test_an_altered_folder_is_found_and_made_anew(promoted, name):
    root = promoted[0].root
    with (root / "models/promoted/v1.1.0" / name).open("ab") as f:
        f.write(b"x")
    assert any("models/promoted/v1.1.0/" + name in fault for fault in audit.verify(root))
    bundle.export(root=root)
    assert audit.verify(root) == []


@pytest.mark.parametrize("name", ["model.tflite", "firmware/ota_key.h"])
def test_a_file_that_decides_and_the_manifest_altered_together_are_found(promoted, name):
    root = promoted[0].root
    folder = root / "models/promoted/v1.1.0"
    (folder / name).write_bytes(b"other")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = registry.sha256(b"other")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert any(f"{name}: was altered" in fault for fault in audit.verify(root))
    bundle.export(root=root)


def test_what_was_never_promoted_is_neither_exported_nor_left_unseen(promoted):
    root = promoted[0].root
    with pytest.raises(ValueError, match=r"version=v9.0.0 must be a promoted one: v1.0.0, v1.1.0"):
        bundle.export("v9.0.0", root=root)
    (root / "models/promoted/v9.0.0").mkdir()
    assert any("v9.0.0: was never promoted" in fault for fault in audit.verify(root))
    (root / "models/promoted/v9.0.0").rmdir()
