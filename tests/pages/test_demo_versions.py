"""gunshot demo with two versions side by side, and with sites' profiles: each decides as detect does there."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile as sf
from playwright.sync_api import expect
from typer.testing import CliRunner

from gunshot import cli
from gunshot.base import params
from gunshot.detect import listener
from gunshot.device import emulator, parity
from gunshot.models.model import load_model
from gunshot.pages.demo import folder
from gunshot.promotion import bundle
from tests.pages.demo import ROOT, Visitor, handed_out

pytestmark = pytest.mark.firmware

P = params.load("audio", "chunks", "context", "features", "detector", "firmware", path=ROOT / "params.yaml")
OTHER, YARD = 2.5, 2.0  # logits, of the champion's operating point and of a site's profile


def profile(site: str, logit: float) -> SimpleNamespace:
    """What the page is told of a profile that was read."""
    return SimpleNamespace(site=site, threshold=SimpleNamespace(logit=logit))


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict:
    """The pipeline's model, and as champion the same one at another operating point."""
    other = tmp_path_factory.mktemp("champion") / "quantized"
    shutil.copytree(ROOT / "models/quantized", other)
    operating = json.loads((other / "operating.json").read_text())
    (other / "operating.json").write_text(json.dumps(operating | {"logit": OTHER}))
    files = {"candidate": ROOT / "models/quantized/model.tflite", "champion": other / "model.tflite"}
    return {name: load_model(path) for name, path in files.items()}


@pytest.fixture(scope="module")
def module() -> Path:
    return emulator.build("web", firmware=ROOT / "firmware") / parity.MODULE


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """The parity recording."""
    sf.write(file := tmp_path_factory.mktemp("sound") / "x.wav", parity.recording(sr=P.audio.sr), P.audio.sr)
    return file


def onsets(model, logit: float, sound: Path) -> list[int]:
    pcm, _ = sf.read(sound, dtype="int16")
    ear = listener.Listener(model, [logit], P)
    (shots,), _ = ear.push(pcm)
    return ear.samples(shots).tolist()


@pytest.fixture
def at(models, module, tmp_path, new_page):
    """A page with both, and the profiles of two sites for the candidate."""
    sites = [profile("yard", YARD), profile("gate", OTHER), profile("own", models["candidate"].threshold())]
    versions = [
        folder.Version(module, models["candidate"], P, "candidate", sites),
        folder.Version(module, models["champion"], P, "champion"),
    ]
    folder.write(tmp_path / "demo", versions, offline=False)
    with handed_out(tmp_path / "demo") as server:
        yield Visitor(new_page(), f"http://localhost:{server.server_port}/")


def seen(at, which: str) -> list[int]:
    listed = at.page.locator(f"{which} [data-onset]").evaluate_all("all => all.map((one) => Number(one.dataset.onset))")
    return sorted(listed)


def test_both_hear_the_same_each_at_its_own_threshold_or_at_that_of_a_site(at, models, sound):
    own, other, yard = (onsets(models["candidate"], logit, sound) for logit in (4.0, OTHER, YARD))
    assert 5 < len(own) < len(other) < len(yard)
    at.page.locator("#file").set_input_files(sound)
    at.says(f"x.wav: candidate {len(own)} shots, champion {len(other)} shots in 60.0 s")
    assert (seen(at, "#incidents"), seen(at, "#incidents-2")) == (own, other)
    assert at.page.locator("#name, #name-2").all_text_contents() == ["candidate", "champion"]
    expect(at.page.get_by_role("heading", name="Threshold: champion")).to_be_visible()

    at.page.get_by_label("As at the site").first.select_option("yard")
    at.page.locator("#file").set_input_files([])
    at.page.locator("#file").set_input_files(sound)
    at.says(f"x.wav: candidate {len(yard)} shots, champion {len(other)} shots")
    assert (seen(at, "#incidents"), seen(at, "#incidents-2")) == (yard, other)
    assert at.page.locator("#site option").all_text_contents() == ["none", "yard", "gate", "own"]
    expect(at.page.locator("#sites-2")).to_be_hidden()
    at.page.get_by_role("button", name="Back to the operating point").first.click()
    expect(at.page.locator("#site")).to_have_value("")
    expect(at.page.locator("#opens")).to_contain_text(", the operating point")


def test_a_site_whose_threshold_is_the_operating_point_s_can_be_left(at):
    site, opens = at.page.get_by_label("As at the site").first, at.page.locator("#opens")
    expect(site).to_have_value("")
    own = site.locator("option", has_text="own").get_attribute("value")
    for leave in (
        lambda: site.select_option("none"),
        at.page.get_by_role("button", name="Back to the operating point").first.click,
    ):
        site.select_option("own")
        expect(site).to_have_value(own)
        leave()
        expect(site).to_have_value("")
        expect(opens).to_contain_text(", the operating point")


def test_three_versions_and_two_that_hear_in_other_ways_are_refused(models, module, tmp_path):
    one = folder.Version(module, models["candidate"], P, "candidate")
    for versions in ([], [one] * 3):
        with pytest.raises(ValueError, match=f"versions={len(versions)} must be 1 or 2"):
            folder.write(tmp_path, versions, offline=False)
    louder = SimpleNamespace(**vars(P) | {"firmware": P.firmware.model_copy(update={"full_scale_pa": 200.0})})
    with pytest.raises(ValueError, match=r"full_scale_db_spl=140\.0 of champion must be 120\.0, as of the first"):
        folder.write(tmp_path / "out", [one, one._replace(p=louder, name="champion")], offline=False)
    assert not (tmp_path / "out").exists()


def fetched(commit: str, out: Path) -> Path:
    """The pipeline's model in the place of a commit's, with what the stage export made of it."""
    shutil.copytree(ROOT / "models/quantized", out)
    shutil.copytree(ROOT / "firmware/generated", out / "firmware")
    return out / "model.tflite"


def altered(file: Path, words: str, others: str) -> None:
    text, count = re.subn(words, others, file.read_text())
    assert count == 1
    file.write_text(text)


@pytest.fixture
def reviewed(tmp_path, monkeypatch):
    """Return a function that writes the page of a candidate and a champion, or None, and returns its folder."""

    def write(champion: str | None) -> Path:
        (tmp_path / "gates.json").write_text(json.dumps({"candidate": "3f9c1e0b", "champion": champion}))
        command = ["export", "demo", str(tmp_path / "out"), "--candidate", str(tmp_path)]
        assert CliRunner().invoke(cli.app, command, catch_exceptions=False).exit_code == 0
        return tmp_path / "out"

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(bundle, "fetch", fetched)
    return write


def test_a_candidate_is_built_with_its_own_tables_and_shown_alone_before_there_is_a_champion(module, reviewed):
    out = reviewed(None)
    facts = json.loads((out / "demo.json").read_text())
    assert [each["name"] for each in facts["versions"]] == ["candidate"]
    assert (out / "gunshot.wasm").read_bytes() == module.read_bytes()


def test_a_champion_is_built_with_its_own_tables_and_decides_by_its_own_sections(
    module, reviewed, tmp_path, monkeypatch
):
    """An old one: its hysteresis was another one, and its limit had another name."""
    fetched("", folder := tmp_path / "v1")
    operating = json.loads((folder / "operating.json").read_text())
    stated = operating["params"]["detector"]
    stated["max_fa_per_hour"] = stated.pop("max_false_incidents_per_hour")
    stated["hysteresis"] = 1.0
    (folder / "operating.json").write_text(json.dumps(operating))
    altered(folder / "firmware/constants.h", r"(?m)^(#define GUNSHOT_DETECTOR_OFF) .*$", r"\1 -12345")
    asked = []
    monkeypatch.setattr(bundle, "export", lambda version: asked.append(version) or folder)
    out = reviewed("v1")
    candidate, champion = json.loads((out / "demo.json").read_text())["versions"]
    assert asked == ["v1"] and (candidate["name"], champion["name"]) == ("candidate", "champion")
    first, second = (each["thresholds"][each["operating"]] for each in (candidate, champion))
    assert first["on"] == second["on"] and first["on"] - first["off"] > second["on"] - second["off"] > 0
    assert (out / candidate["module"]).read_bytes() == module.read_bytes()
    assert (out / champion["module"]).read_bytes() != module.read_bytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--site", "a.json", "--candidate", "x"], "--site and --candidate contradict each other"),
        (["--site", "a.json"], "a.json: no such file; make one with `gunshot calibrate`"),
        (["--candidate", "x"], "x/gates.json"),
    ],
)
def test_what_cannot_be_shown_is_named(options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(cli.app, ["export", "demo", str(tmp_path / "out"), *options])
    assert done.exit_code and words in str(done.exception)
    assert not (tmp_path / "out").exists()
