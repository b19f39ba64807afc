"""gunshot export runtime: the wheel of the pipeline's model, and of a promoted version."""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gunshot import cli
from gunshot.promotion import bundle, registry

pytestmark = pytest.mark.firmware

REPO = Path(__file__).parents[2]
MODEL = REPO / "models/quantized/model.tflite"


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch):
    """Before the first promotion."""
    monkeypatch.chdir(REPO)
    monkeypatch.setattr(registry, "champion", lambda entries: None)


def exported(*arguments: str) -> zipfile.ZipFile:
    done = CliRunner().invoke(cli.app, ["export", "runtime", *arguments])
    assert done.exit_code == 0, done.output
    assert ("nothing was promoted yet" in done.stderr) == (b"not promoted" in card(done.stdout))
    return zipfile.ZipFile(done.stdout.strip().splitlines()[-1])


def card(printed: str) -> bytes:
    return zipfile.ZipFile(printed.strip().splitlines()[-1]).read("gunshot_runtime/card.md")


def test_a_promoted_version_has_its_number_and_card_and_the_same_library(tmp_path, monkeypatch):
    """A library does not depend on where it was built."""
    folder = tmp_path / "v1.4.0"
    shutil.copytree(REPO / "firmware/generated", folder / "firmware")
    for name in ("model.tflite", "report.json", "operating.json"):
        shutil.copy(MODEL.with_name(name), folder)
    (folder / "card.md").write_text("the card")
    asked = []
    monkeypatch.setattr(bundle, "export", lambda version: asked.append(version) or folder)
    promoted = exported(str(tmp_path / "dist"), "--machine", "aarch64", "--version", "v1.4.0")
    here = exported(str(tmp_path / "dist"), "--machine", "aarch64")
    monkeypatch.setattr(registry, "champion", lambda entries: {"version": "v1.4.0"})
    champion = exported(str(tmp_path / "dist"), "--machine", "aarch64")
    assert asked == ["v1.4.0", None] and champion.filename == promoted.filename
    sha256, (promoted_model, model) = hashlib.sha256(MODEL.read_bytes()).hexdigest(), (
        json.loads(wheel.read("gunshot_runtime/model.json")) for wheel in (promoted, here)
    )  # fmt: skip
    assert promoted_model["version"] == "1.4.0" and promoted.read("gunshot_runtime/card.md") == b"the card"
    assert model["version"].endswith(f"+model.{sha256[:12]}")
    assert here.read("gunshot_runtime/card.md").decode() == bundle.draft()
    assert promoted_model | {"version": None} == model | {"version": None} and model["model_sha256"] == sha256
    assert promoted.read("gunshot_runtime/aarch64.so") == here.read("gunshot_runtime/aarch64.so")


def test_firmware_of_another_model_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "v1.4.0"
    shutil.copytree(REPO / "firmware/generated", folder / "firmware")
    for name in ("model.tflite", "report.json", "operating.json"):
        shutil.copy(MODEL.with_name(name), folder)
    (folder / "card.md").write_text("the card")
    constants = folder / "firmware/constants.h"
    sha256 = hashlib.sha256(MODEL.read_bytes()).hexdigest()
    constants.write_text(constants.read_text().replace(sha256, sha256[::-1]))
    monkeypatch.setattr(bundle, "export", lambda version: tmp_path / version)
    done = CliRunner().invoke(cli.app, ["export", "runtime", str(tmp_path / "dist"), "--version", "v1.4.0"])
    assert "constants.h: must be of" in str(done.exception) and not (tmp_path / "dist").exists()


def test_another_machine_s_compiler_is_not_this_one_s(tmp_path, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    done = CliRunner().invoke(cli.app, ["export", "runtime", str(tmp_path)])
    assert str(done.exception) == "machine=x86_64 must be this one, riscv64, or aarch64"
