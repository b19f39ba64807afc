"""What a device does with an order: what it refuses, by which rule, and that nothing of a sound is on its disk."""

import contextlib
import time

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gunshot.device import answers, orders, parts, taken
from gunshot.device.orders import Order
from gunshot.device.parts import End, Part, Refusal
from gunshot.device.ring import Ring
from gunshot.device.topics import Birth
from gunshot.signing import keys

SR, SESSION = 16_000, 3
NOW_US = 1_700_000_000_000_000
KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
BIRTH = Birth(
    name="roof", number=7, session=SESSION, model="0" * 16, operating_point=0.5, version=2, capabilities=["sound"]
)
PCM = np.random.default_rng(0).integers(-3000, 3000, 40 * SR).astype(np.int16)
ORDER = Order(
    id="a" * 32, device="roof", session=SESSION, start=20 * SR, stop=21 * SR, reason="a shot", person="ada",
    issued_us=NOW_US - 1_000_000, expires_us=NOW_US + 1_000_000,
)  # fmt: skip


class Ear:
    """A device with a ring of 30 s that heard PCM, and whose clock stands still."""

    def __init__(self, folder, *, error_us: int | None = 1000, ring: bool = True):
        if not (folder / orders.KEY).exists():
            (folder / orders.KEY).write_bytes(keys.public_pem(KEY))
        self.folder, self.ring = folder, Ring(SR)
        self.ring.push(PCM)
        self.answers = answers.Answers(folder, BIRTH, self.ring if ring else None, gate=None, error_us=lambda: error_us)

    def ask(self, key: Ed25519PrivateKey = KEY, **values) -> list[tuple]:
        """What it replies to an order at once."""
        self.answers.take(orders.sign(ORDER.model_copy(update=values), key))
        self.answers.pump()
        return [parts.decode(payload) for payload in self.answers.outgoing()]

    def rule(self, **values) -> str:
        """The rule by which it refuses an order."""
        ((said, content),) = self.ask(**values)
        assert isinstance(said, Refusal) and not content and said.order == values.get("id", ORDER.id)
        return said.reason.partition(":")[0]

    def acknowledge(self, *numbers: int) -> None:
        for number in numbers:
            self.answers.acknowledged(parts.PartAcknowledgement(order=ORDER.id, number=number).encode())


@pytest.fixture
def clock(monkeypatch):
    """The machine's clock, which stands; the test sets it."""
    clock = {"us": NOW_US, "s": 100.0}
    monkeypatch.setattr(time, "time_ns", lambda: clock["us"] * 1000)
    monkeypatch.setattr(time, "monotonic", lambda: clock["s"])
    return clock


@pytest.fixture
def ear(tmp_path, clock):
    one = Ear(tmp_path)
    with contextlib.closing(one.answers):
        yield one


def sound(replies: list[tuple]) -> np.ndarray:
    *cut, (end, _) = replies
    assert isinstance(end, End) and end.number == len(cut) and [said.number for said, _ in cut] == [*range(len(cut))]
    return np.concatenate([parts.samples(said, content) for said, content in cut])


def test_samples_of_the_ring_come_as_they_were_heard(ear):
    replies = ear.ask(start=20 * SR + 3, stop=21 * SR + 5)
    assert np.array_equal(sound(replies), PCM[20 * SR + 3 : 21 * SR + 5])
    assert [said.start for said, _ in replies[:-1]] == [20 * SR + 3, 20 * SR + 8003, 20 * SR + 16_003]


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        ("signature", {"key": OTHER}),
        ("device", {"device": "cellar"}),
        ("session", {"session": SESSION - 1}),
        ("expired", {"expires_us": NOW_US - 1}),
        ("life", {"expires_us": NOW_US + 3_600_000_001}),
        ("length", {"stop": 20 * SR + 60 * SR + 2}),
        ("length", {"stop": 20 * SR}),
        ("length", {"session": None, "start": NOW_US, "stop": NOW_US + 60_001_000}),
        ("span", {"start": 10 * SR - 1}),
        ("span", {"session": None, "start": NOW_US - 30_001_000, "stop": NOW_US}),
        ("span", {"start": 101 * SR, "stop": 102 * SR}),
    ],
)
def test_what_is_refused_by_which_rule(ear, rule, values):
    assert ear.rule(**values) == rule
    assert len(ear.answers) == 0 and sound(ear.ask()).any(), "and it is no reason to refuse another"


@pytest.mark.parametrize(("part", "name"), [(parts, "to_flac"), (Ring, "cut"), (Ring, "sample_at")])
def test_a_failure_in_an_answer_has_a_rule_of_its_own_and_ends_no_device(ear, monkeypatch, part, name):
    def fail(*_):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(part, name, fail)
        ((said, _),) = ear.ask(session=None, start=NOW_US - 2_000_000, stop=NOW_US - 1_000_000)
    assert said.reason == "failure: this device failed, and its log says where: OSError('no space left')"
    assert len(ear.answers) == 0 and sound(ear.ask(id="b" * 32)).any()


def test_after_the_end_of_the_sound_an_order_brings_what_there_is(ear):
    """As one that came a moment earlier does; only what begins after the end is gone."""
    ear.ring.end()
    replies = ear.ask(start=39 * SR, stop=42 * SR)
    assert np.array_equal(sound(replies), PCM[39 * SR :]) and replies[-1][0].note == "the device ends"
    assert ear.rule(id="b" * 32, start=40 * SR, stop=41 * SR) == "span"


def test_bytes_that_are_no_order_are_passed_over(ear):
    for payload in (b"", b"x" * 64, b"x" * 64 + b"{}", KEY.sign(b"{}") + b"{}"):
        ear.answers.take(payload)
    assert ear.answers.outgoing() == []


def test_one_byte_of_an_order_is_another_order(ear):
    payload = bytearray(orders.sign(ORDER, KEY))
    for place in range(0, len(payload), 7):
        payload[place] ^= 1
        ear.answers.take(bytes(payload))
        payload[place] ^= 1
    assert len(ear.answers) == 0


def test_an_order_is_followed_once(ear, tmp_path, clock):
    """While it is answered a second one is passed over; then it is refused, also after a start, until it expires."""
    assert len(ear.ask()) == 3
    assert ear.ask() == []
    ear.acknowledge(0, 1, 2)
    ear.answers.pump()
    assert ear.rule() == "replayed"
    ear.answers.close()
    for error_us in (1000, None):
        with contextlib.closing(Ear(tmp_path, error_us=error_us).answers) as again:
            again.take(orders.sign(ORDER, KEY))
            ((said, _),) = map(parts.decode, again.outgoing())
            assert said.reason.startswith("replayed: ")
    clock["us"] += 1_000_001
    with contextlib.closing(Ear(tmp_path).answers) as late:
        late.take(orders.sign(ORDER, KEY))
        ((said, _),) = map(parts.decode, late.outgoing())
        assert said.reason.startswith("expired: ")


def test_what_is_remembered_is_bounded(ear, monkeypatch, clock):
    monkeypatch.setattr(taken, "MOST", 3)
    monkeypatch.setattr(answers, "MOST_ANSWERS", 3)
    for id in "123":
        assert len(ear.ask(id=id * 32)) == 3
    assert ear.rule(id="4" * 32) == "busy"
    clock["us"] += 1_000_001
    clock["s"] += answers.KEPT_S
    ear.answers.pump()
    assert len(ear.answers) == 0
    assert len(ear.ask(id="5" * 32, expires_us=NOW_US + 3_000_000)) == 3


def test_what_cannot_be_remembered_is_not_followed(ear):
    ear.answers._taken._db.execute("PRAGMA query_only=ON")  # as a full disk
    assert ear.rule() == "disk" and len(ear.answers) == 0


def test_a_device_that_does_not_know_the_time_takes_samples_of_its_session_alone(tmp_path, clock):
    ear = Ear(tmp_path, error_us=None)
    with contextlib.closing(ear.answers):
        assert ear.rule(session=None, start=NOW_US - 1_000_000, stop=NOW_US) == "clock"
        assert ear.rule(session=SESSION - 1) == "session"
        assert len(ear.ask(expires_us=NOW_US - 10**12)) == 3


def test_without_a_ring_or_a_key_it_says_so(tmp_path, clock):
    with contextlib.closing(Ear(tmp_path, ring=False).answers) as mute:
        mute.take(orders.sign(ORDER, KEY))
        ((said, _),) = map(parts.decode, mute.outgoing())
        assert said.reason == "sound: this device keeps none"
    ear = Ear(tmp_path)
    ear.answers.close()
    (tmp_path / orders.KEY).unlink()
    with contextlib.closing(answers.Answers(tmp_path, BIRTH, ear.ring, gate=None)) as old:
        old.take(orders.sign(ORDER, KEY))
        ((said, _),) = map(parts.decode, old.outgoing())
        assert said.reason.startswith("key: this device has no order.pem")


def test_of_a_span_that_has_not_ended_it_sends_what_it_hears(ear):
    replies = ear.ask(session=None, start=NOW_US - 250_000, stop=NOW_US + 1_250_000)
    assert replies == []
    more = np.arange(2 * SR, dtype=np.int16)
    counts = []
    for i in range(0, len(more), SR // 4):
        ear.ring.push(more[i : i + SR // 4])
        ear.answers.pump()
        came = [parts.decode(payload) for payload in ear.answers.outgoing()]
        counts.append(len(came))
        replies += came
    assert np.array_equal(sound(replies), np.concatenate([PCM[-SR // 4 :], more[: SR * 5 // 4]]))
    assert counts == [1, 0, 1, 0, 2, 0, 0, 0]


@pytest.mark.parametrize(("event", "words"), [("gap", "samples are missing after it"), ("end", "the device ends")])
def test_sound_that_breaks_off_is_ended_with_what_there_was(ear, event, words):
    replies = ear.ask(start=39 * SR, stop=42 * SR)
    getattr(ear.ring, event)()
    ear.ring.push(PCM[: SR * (event == "gap")])
    ear.answers.pump()
    replies += [parts.decode(payload) for payload in ear.answers.outgoing()]
    assert np.array_equal(sound(replies), PCM[39 * SR :]) and replies[-1][0].note == words


def test_a_part_is_sent_again_until_it_is_acknowledged_or_too_old(ear, clock):
    assert [said.number for said, _ in ear.ask()] == [0, 1, 2]
    clock["s"] += answers.RESEND_S - 1
    assert ear.answers.outgoing() == []
    ear.acknowledge(1)
    clock["s"] += 1
    assert [parts.decode(one)[0].number for one in ear.answers.outgoing()] == [0, 2]
    ear.answers.again()
    assert [parts.decode(one)[0].number for one in ear.answers.outgoing()] == [0, 2]
    clock["s"] += answers.KEPT_S - answers.RESEND_S
    ear.answers.pump()
    assert len(ear.answers) == 0 and ear.answers.outgoing() == []


def test_the_loudest_noise_fits_into_a_message():
    noise = np.random.default_rng(1).integers(-32768, 32768, parts.PART).astype(np.int16)
    content = parts.to_flac(noise, SR)
    said = Part(order=ORDER.id, number=0, session=2**32 - 1, start=2**63 - 1, samples=len(noise), sr=SR,
                sha256="0" * 64)  # fmt: skip
    assert len(noise) * 2 < len(parts.encode(said, content)) < 20_000
    assert np.array_equal(parts.samples(said, content), noise)


def test_nothing_of_the_sound_is_on_the_disk(ear):
    """Neither samples nor FLAC, while the answer waits."""
    assert len(ear.ask(stop=23 * SR)) == 7
    files = [path for path in ear.folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {orders.KEY, taken.FILE}
    for path in files:
        content = path.read_bytes()
        assert b"fLaC" not in content and not any(
            PCM[i : i + 8].tobytes() in content for i in range(20 * SR, 23 * SR, 64)
        )
