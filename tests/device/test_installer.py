"""What a device takes of a roll-out, and what it refuses, each by its rule's name."""

import shutil
import time

import pytest

from gunshot.base import params
from gunshot.device import releases
from gunshot.device.installer import Installer
from gunshot.device.releases import PART, Offer, Report, Stage, Wanted
from gunshot.device.slots import Slots
from tests.device.images import HUB, OPERATOR, PARAMS, image, manifest, part, trusting

P = params.load("audio", "features", "context", "detector")
ID, OTHER = "1" * 32, "2" * 32
MODEL = bytes(range(256)) * 150  # three parts


class Device:
    """A device's folder and what it says; a test is the hub."""

    def __init__(self, folder):
        self.folder = trusting(folder)
        self.error_us, self.slots = 1000, None
        self.start()

    def start(self) -> bytes | None:
        """Start: the model that runs, None where it is the machine's own."""
        if self.slots:
            self.slots.close()  # that process has ended
        self.slots = Slots(self.folder)
        path = self.slots.boot()
        self.installer = Installer(self.folder, "roof", self.slots, P, error_us=lambda: self.error_us)
        return path and path.read_bytes()

    def says(self, payload: bytes | None = None) -> tuple[Stage, int | None, str] | None:
        """What it says once it has taken something; None where that is nothing."""
        if payload is not None:
            self.installer.take(payload)
        said = [Report.decode(one) for one in self.installer.outgoing()]
        assert len(said) <= 1
        return (said[0].stage, said[0].part, said[0].note) if said else None

    def offer(self, wanted=Wanted.install, content=None, number=1, *, key=HUB, signed=None, **more):
        content = image(MODEL) if content is None else content
        said = {"id": ID, "wanted": wanted, "device": "roof", "person": "anna"}
        said["expires_us"] = time.time_ns() // 1000 + 10**9
        said["manifest"] = (signed or manifest(content, number)).hex()
        return self.says(releases.sign(Offer(**said | more), key))

    def take(self, number=1, id=ID, content=None) -> None:
        """Take all of an image."""
        content = image(MODEL) if content is None else content
        said = self.offer(content=content, number=number, id=id)
        while said is not None:
            stage, wanted, _ = said
            assert stage == Stage.fetching
            said = self.says(part(id, content, wanted))
        assert self.installer.is_stale


@pytest.fixture
def device(tmp_path) -> Device:
    return Device(tmp_path / "roof")


def test_an_image_is_fetched_by_parts_runs_on_trial_and_is_kept(device):
    content = image(MODEL)
    assert device.offer() == (Stage.fetching, 0, "") and len(content) > 2 * PART
    first = part(ID, content, 0)
    assert device.says(first) == (Stage.fetching, 1, "")
    assert device.says(first) is None  # it came twice
    assert device.says(part(OTHER, content, 1)) is None
    assert device.says(part(ID, content, 1)[:-1]) is None  # cut off: its hash is another
    device.start()  # it was killed
    assert device.says(part(ID, content, 1)) is None
    assert device.offer() == (Stage.fetching, 1, "")
    assert device.says(part(ID, content, 1)) == (Stage.fetching, 2, "")
    assert device.says(part(ID, content, 2)) is None and device.installer.is_stale
    assert device.offer(Wanted.keep) == (Stage.trial, None, "")  # it does not run yet
    assert device.start() == MODEL
    device.installer.again()
    assert device.says() == (Stage.trial, None, "")
    assert device.offer() == (Stage.trial, None, "")
    for _ in range(2):
        assert device.offer(Wanted.keep) == (Stage.kept, None, "")
    assert device.start() == MODEL and device.offer(Wanted.back) == (Stage.kept, None, "")
    assert device.offer(id=OTHER) == (Stage.kept, None, "")  # another roll-out of the same image


def test_a_trial_that_is_taken_back_never_begins_again(device):
    device.take()
    device.start()
    assert device.offer(Wanted.back) == (Stage.back, None, "") and device.installer.is_stale
    assert device.start() is None
    assert device.offer() == (Stage.refused, None, "over: it was taken back before")
    assert device.offer(Wanted.back, id=OTHER) == (Stage.back, None, "")  # which it never had
    assert device.offer(id=OTHER)[0] == Stage.refused
    device.take(id="3" * 32)
    assert device.start() == MODEL


def test_a_trial_of_a_roll_out_that_was_stopped_goes_on_in_the_next_one(device):
    device.take()
    device.start()
    assert device.offer(id=OTHER) == (Stage.trial, None, "")
    assert device.offer(Wanted.keep, id=OTHER) == (Stage.kept, None, "")


def test_what_is_older_than_what_it_keeps_is_refused_for_good(device):
    device.take(number=7)
    device.start()
    assert device.offer(content=image(b"x"), number=6, id=OTHER)[0] == Stage.fetching  # 7 is on trial
    device.start()
    assert device.offer(Wanted.keep, number=7) == (Stage.kept, None, "")
    assert device.offer(content=image(b"x"), number=6, id=OTHER) == (
        Stage.refused, None, "older: number 6 must be at least 7, which it keeps",
    )  # fmt: skip
    assert device.offer(content=image(b"x"), number=7, id=OTHER)[0] == Stage.fetching


def test_a_part_of_what_is_older_by_now_is_refused_and_ends_nothing(device):
    device.take(number=7)
    device.start()
    assert device.offer(content=image(b"x"), number=6, id=OTHER)[0] == Stage.fetching
    assert device.offer(Wanted.keep, number=7) == (Stage.kept, None, "")
    stage, _, note = device.says(part(OTHER, image(b"x"), 0))
    assert stage == Stage.refused and note.startswith("older: ")


def test_who_has_lost_the_image_on_trial_says_so_where_it_is_to_keep_it(device):
    device.take()
    device.start()
    shutil.rmtree(device.folder / "images")
    assert device.start() is None
    assert device.offer(Wanted.keep) == (Stage.refused, None, "unknown: it has no such image on trial")
    assert device.offer() == (Stage.fetching, 0, "")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"key": OPERATOR}, "signature"),
        ({"device": "gate"}, "device"),
        ({"expires_us": 1}, "expired"),
        ({"signed": manifest(image(MODEL), key=HUB)}, "operator"),
        ({"signed": manifest(image(MODEL), device="mps2-an386")}, "hardware"),
        ({"signed": b"GSOT\2" + manifest(image(MODEL))[5:]}, "manifest"),
        ({"signed": bytes(144)}, "manifest"),
    ],
)
def test_what_is_refused_by_which_rule(device, change, rule):
    stage, _, note = device.offer(**change)
    assert stage == Stage.refused and note.startswith(f"{rule}: ") and not list(device.folder.glob("images/*"))
    if rule == "expired":
        device.error_us = None  # it does not know the time; that the number grows still holds
        assert device.offer(**change)[0] == Stage.fetching


def test_what_comes_before_its_time_is_passed_over_by_a_device_that_knows_the_time(device, monkeypatch):
    soon = {"not_before_us": time.time_ns() // 1000 + 3_600_000_000}
    assert device.offer(**soon) is None and not list(device.folder.glob("images/*"))
    device.error_us = None
    assert device.offer(**soon)[0] == Stage.fetching
    device.error_us = 1000
    device.take()
    device.start()
    assert device.offer(Wanted.keep, **soon) is None and device.slots.state.trial
    later = time.time_ns() + 3_600_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert device.offer(Wanted.keep, **soon)[0] == Stage.kept


def test_any_byte_of_an_offer_or_a_part_that_is_altered_is_another_one(device):
    said = {"id": ID, "wanted": Wanted.install, "device": "roof", "person": "anna", "expires_us": 2**62}
    payload = releases.sign(Offer(**said, manifest=manifest(image(MODEL)).hex()), HUB)
    for place in range(0, len(payload), 5):
        altered = payload[:place] + bytes([payload[place] ^ 1]) + payload[place + 1 :]
        assert (device.says(altered) or (Stage.refused,))[0] == Stage.refused
    first = part(ID, image(MODEL), 0)
    assert device.says(payload)[0] == Stage.fetching
    for place in range(0, len(first), 501):
        assert device.says(first[:place] + bytes([first[place] ^ 1]) + first[place + 1 :]) is None
    for junk in (b"", b"\n", b"{}\n", b"\xff" * 100, b'{"kind":"offer"}', b'{"kind":"part"}\n'):
        assert device.says(junk) is None


def test_a_hub_that_sends_another_image_than_was_signed_is_told_so(device):
    other = image(MODEL[::-1])
    said = device.offer()
    while said[0] == Stage.fetching:
        said = device.says(part(ID, other, said[1]))
    assert said[0] == Stage.refused and said[2].startswith("image: ") and device.start() is None
    device.offer()
    assert device.says(releases.part(ID, b"short", 0))[2].startswith("image: part 0 must have 16384 bytes")


@pytest.mark.parametrize(
    "stated",
    [PARAMS.replace(b"fmin: 100.0", b"fmin: 50.0"), b"", b"{", b"audio: 1", PARAMS.replace(b"hop: 8", b"hop: x")],
)
def test_an_image_that_was_measured_with_other_params_is_refused(device, stated):
    content = image(b"small", params=stated)
    device.offer(content=content)
    stage, _, note = device.says(part(ID, content, 0))
    assert stage == Stage.refused and note.startswith("params: ") and device.start() is None


def test_a_full_disk_is_told_and_ends_nothing(device, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    device.offer()
    with monkeypatch.context() as patch:
        patch.setattr("os.write", full)
        assert device.says(part(ID, image(MODEL), 0))[2] == "disk: [Errno 28] No space left on device"
    assert device.offer()[0] == Stage.fetching


def test_a_folder_of_before_takes_none(tmp_path):
    device = Device(tmp_path / "roof")
    for file in (*device.folder.glob("operators/*"), device.folder / "order.pem"):
        file.unlink()
    device.start()
    assert device.offer()[2].startswith("key: this device has no order.pem")
