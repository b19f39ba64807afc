"""A profile is read as it was signed, by the model and the settings that it is for; anything else is named."""

import dataclasses
import json
import os

import pytest

from gunshot.base import params
from gunshot.models.model import load_model
from gunshot.signing import keys, record
from gunshot.site import calibration, profile
from gunshot.site.heard import hear
from tests.site.conftest import write

pytestmark = pytest.mark.slow


@pytest.fixture
def p(site):
    return params.load("audio", "chunks", "context", "features", "detector", "quality", "streams")


@pytest.fixture
def model(site):
    return load_model(site / "forest.joblib")


@pytest.fixture
def content(site, model, p) -> dict:
    write("a.wav", [], 90.0)
    heard = [hear("a.wav", site / "a.wav", model, calibration.logits_of(model), 0.0, p)]
    done = calibration.calibrate("yard", heard, model, p, limit=0.5)
    return calibration.content("yard", done, heard, model, p, decided_in=None, cost=None, rehearsed=None)


@pytest.fixture
def file(site, content):
    profile.write(site / "yard.json", content, keys.private())
    return site / "yard.json"


def test_it_is_read_as_it_was_written(file, model, p, content):
    one = profile.read(file, model, p, site="yard")
    assert profile.read(file, model, p) == one
    assert (one.site, one.threshold.logit, one.limit, one.proof) == ("yard", 0.0, 0.5, "unproven")
    assert one.held_out.hours == one.chosen_on.hours == pytest.approx(90 / 3600)
    assert {name: getattr(one, name) for name in ("model_sha256", "settings", "rehearsal")} == {
        name: content[name] for name in ("model_sha256", "settings", "rehearsal")
    }
    assert os.listdir(file.parent).count("yard.json") == 1 and not list(file.parent.glob("*.part"))


def test_every_byte_counts(file, model, p):
    """Any value that is changed, any part that is cut off."""
    text = file.read_text()
    for size in range(0, len(text) - 3, 41):
        file.write_text(text[:size])
        with pytest.raises(ValueError, match=r"yard\.json: (must be JSON, it may be cut off|is no site profile)"):
            profile.read(file, model, p)
    for name, value in json.loads(text).items():
        other = value + 1 if isinstance(value, float | int) else "0" * 128 if name == "signature" else "other"
        file.write_text(json.dumps(json.loads(text) | {name: other}))
        with pytest.raises(ValueError, match=r"yard\.json: (its signature|key='other'|is no site|version=2 must be 1)"):
            profile.read(file, model, p)


FOREIGN = {
    "{}": "is no site profile; make one with `gunshot calibrate`", "[1]": "is no site profile",
    '{"logit": 4.5, "proof": "unproven"}': "is no site profile", "\ufeff{}": "must be JSON",
    "[" * 100_000: "must be JSON", "[" + "1," * 600_000 + "1]": "bytes must be 1048576 at most",
}  # fmt: skip


@pytest.mark.parametrize("key", [[], {}, ["a"], None, 1])
def test_a_key_that_is_no_text_is_unknown(file, model, p, key):
    file.write_text(json.dumps(json.loads(file.read_text()) | {"key": key}))
    with pytest.raises(ValueError, match=r"yard\.json: key=.* is none of those in models/keys"):
        profile.read(file, model, p)


def test_a_foreign_file_is_no_profile(file, model, p):
    for text, words in FOREIGN.items():
        file.write_text(text)
        with pytest.raises(ValueError) as e:
            profile.read(file, model, p)
        assert words in str(e.value) and "yard.json" in str(e.value)
    with pytest.raises(FileNotFoundError, match=r"none\.json: no such file; make one with"):
        profile.read(file.with_name("none.json"), model, p)


def test_one_signed_by_a_stranger_is_refused(file, model, p, content, monkeypatch, tmp_path):
    monkeypatch.setenv(keys.VARIABLE, str(tmp_path / "stranger.pem"))
    keys.create("stranger", tmp_path / "elsewhere")
    profile.write(file, content, keys.private())
    with pytest.raises(ValueError, match=r"is none of those in models/keys; it was altered, or signed elsewhere"):
        profile.read(file, model, p)
    with pytest.raises(ValueError, match="is none of those in models/keys; commit its public key"):
        record.operator_key()


def test_one_of_another_site_model_or_settings_is_refused(file, model, p, site):
    with pytest.raises(ValueError, match="site='yard' must be 'gate', where this device hangs"):
        profile.read(file, model, p, site="gate")
    other = site / "other.joblib"
    other.write_bytes(b"another")
    with pytest.raises(ValueError, match=r"must be that of .*other\.joblib, .* calibrate again with this one"):
        profile.read(file, dataclasses.replace(model, path=other), p)
    p.detector = p.detector.model_copy(update={"hysteresis": 3.0})
    with pytest.raises(ValueError, match=r"off=\S+ of the detector is now \S+ by params.yaml; calibrate again"):
        profile.read(file, model, p)


def test_what_was_signed_but_is_no_profile_is_named(file, model, p, content):
    with pytest.raises(ValueError, match="proof"):
        profile.write(file, content | {"proof": "sure"}, keys.private())
    signed = record.sign({"kind": profile.KIND, "version": 1} | content, keys.private())
    file.write_text(json.dumps(signed))
    with pytest.raises(ValueError, match=r"yard\.json: at: Field required; make one with"):
        profile.read(file, model, p)
