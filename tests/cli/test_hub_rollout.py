"""gunshot hub rollout, and what a device's folder gets for it, as a person types it."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from gunshot.base import pipeline
from gunshot.cli import device
from gunshot.device.slots import Slots
from gunshot.device.topics import Birth, Status
from gunshot.hub import database, folder, intake
from gunshot.models import model
from gunshot.signing import keys, record
from tests.cli.test_commands import main, run
from tests.device.images import OPERATOR, image, manifest, trusting
from tests.firmware.driven import ROOT


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A project's folder with an operator's key and a signed image, and a hub with a device that said who it is."""
    monkeypatch.chdir(tmp_path)
    record.write(tmp_path / record.KEYS / "ada.pem", keys.public_pem(OPERATOR))
    record.write(tmp_path / "models/promoted/v1.2.0.image", image(b"x"))
    record.write(tmp_path / "models/promoted/v1.2.0.image.manifest", manifest(image(b"x"), 2))
    folder.init(tmp_path / "hub", host="localhost", port=8883, url=None)
    return tmp_path / "hub"


def born(place) -> None:
    birth = Birth(
        name="roof", number=7, session=1, model="0" * 16, operating_point=0.5, version=2, capabilities=["image"]
    )
    with database.opened(folder.load(place).database) as engine, engine.begin() as connection:
        intake.birth(connection, "roof", birth.encode(), now=datetime.now(UTC))
        intake.status(connection, "roof", Status(session=1, online=True, dropped=0).encode(), now=datetime.now(UTC))


WHO = ("--person", "anna")
WHY = (*WHO, "--reason", "it hears more")


def said(*arguments) -> str:
    """What a command prints that does what it should."""
    done = run(*map(str, arguments))
    assert done.exit_code == 0, done.output
    return done.output


def test_a_roll_out_from_start_to_back(place):
    assert "nothing was rolled out yet" in said("hub", "rollout", "status", place)
    assert "models by ada may be rolled out to it" in said("hub", "enrol", place, "roof", "--number", 7)
    assert list(Slots(place / "devices" / "roof").trusted) == [keys.fingerprint(OPERATOR.public_key())]
    born(place)
    begun = said("hub", "rollout", "start", place, "v1.2.0", "--canary", "roof", *WHY)
    assert "v1.2.0, number 2, running at step 1 of 4" in begun and "roof          step 1  not yet" in begun
    assert "stopped at step 1 of 4: anna wanted it" in said("hub", "rollout", "stop", place, *WHO)
    said("hub", "rollout", "back", place, *WHO)
    status = json.loads(said("hub", "rollout", "status", place, "--format", "json"))
    assert (status["state"], status["note"], status["reason"]) == ("back", "anna wanted it", "it hears more")
    assert status["devices"] == [{"device": "roof", "step": 0, "stage": None, "note": None}]


def test_what_is_missing_or_signed_by_a_stranger_is_told(place, monkeypatch, capsys):
    def refused(version: str) -> str:
        return main(monkeypatch, capsys, "hub", "rollout", "start", str(place), version, *WHY)

    assert "v9.image: no such file; `gunshot export image` makes it" in refused("v9")
    (place.parent / record.KEYS / "ada.pem").unlink()
    assert "manifest must be signed by an operator whose key is in models/keys" in refused("v1.2.0")
    (place / "authority" / "order.pem").unlink()
    assert "order.pem: no such file; who has it starts roll-outs" in refused("v1.2.0")


def test_a_trial_whose_model_cannot_be_loaded_is_over_and_the_machine_s_own_runs(tmp_path, monkeypatch):
    own, load = tmp_path / "own.tflite", model.load_model
    monkeypatch.setattr(model, "load_model", lambda path: path if path == own else load(path))
    slots = Slots(trusting(tmp_path / "roof"))
    assert device._booted(slots, own) == own
    signed = manifest(image(b"no model"), 2)
    slots.begin(signed)
    slots.add(signed, image(b"no model"), at=0)
    slots.finish(signed, "a" * 32, lambda _: None)
    assert slots.is_stale and device._booted(slots, own) == own and not slots.is_stale
    assert slots.state.trial is None and "its model cannot be loaded" in slots.state.last[2]


def test_a_roll_out_that_is_taken_back_ends_no_device_that_has_no_verifier(place, monkeypatch, caplog):
    """Nor does one of a model that none was made behind."""
    own, image_ = place.parent / "own.tflite", place.parent / "image.tflite"
    said("hub", "enrol", place, "roof", "--number", 7)
    (place.parent / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.setattr(pipeline, "models", lambda root=None: {"int8": own})
    monkeypatch.setattr(device, "_booted", lambda *_: SimpleNamespace(path=booted[len(heard)]))
    monkeypatch.setattr(device, "_listen", lambda *_, more, **__: heard.append(more["verifier"]) or (0, False))
    monkeypatch.setattr(Slots, "is_stale", property(lambda _: len(heard) < len(booted)))
    command = ("device", "run", str(place / "devices" / "roof"), "--file", "x.wav", "--verify")
    heard, booted = [], [image_, own, image_]
    assert said(*command) == "" and heard == [None] * 3
    assert caplog.text.count("it gives no second opinion: ") == 3
