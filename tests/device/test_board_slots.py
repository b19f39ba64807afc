"""A roll-out's image on its way to a board: offers of the hub, a bridge that is killed, a board that starts again."""

import hashlib
import struct
import time
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gunshot.device import board_image, releases
from gunshot.device.board_image import PART_BYTES, WAIT_S, decode
from gunshot.device.board_slots import BoardSlots
from gunshot.device.installer import Installer
from gunshot.device.releases import Offer, Report, Stage, Wanted
from gunshot.signing import record
from tests.device.images import HUB, OPERATOR, manifest, part, trusting
from tests.device.test_slots import full

CLASS = "mps2-an386"
IMAGE, NEWER = bytes(range(256)) * 3, b"newer" * 100
IDS = [f"{i:032x}" for i in range(9)]
RULES = board_image.RULES.index


class Board:
    """A board as firmware/src/slots.c and update.c have it, in a few lines, but for signatures."""

    def __init__(self, number: int = 1):
        self.slots: dict[str, bytes] = {}  # a manifest's hash: its image
        self.kept = self.trial = self.running = self.writing = None
        self.over, self.least, self.starts, self.start_number = None, number, 0, 0
        self.begins()

    def begins(self) -> bytes:
        """Start again, and say what runs."""
        self.start_number += 1
        self.writing, self.running = None, self.kept
        if self.trial:
            if self.starts == 3:
                self.over, self.trial = self.trial, None
            else:
                self.starts, self.running = self.starts + 1, self.trial
        stage = 4 if self.running == self.kept else 3
        return self.says(stage if self.running else 0)

    def says(self, stage: int, rule: str | None = None) -> bytes:
        running = board_image.mark(self.running) if self.running else (0, bytes(4))
        wants = len(self.slots.get(self.writing, b"")) if self.writing else 0
        whole = struct.pack("<2sBBHIII", b"GS", 2, 5, 36, 7, self.start_number, 0)
        whole += struct.pack("<BBII4s", stage, RULES(rule), wants, *running)
        return whole + struct.pack("<I", zlib.crc32(whole))

    def takes(self, sent: bytes) -> list[bytes]:
        """Follow what came by the line, and start again where another image is to run."""
        if sent[3] == board_image.PART:
            return self.add(*struct.unpack_from("<I", sent, 18), sent[22:-4])
        wanted, signed = sent[18], sent[19:-4]
        if wanted == board_image.WANTED[Wanted.back]:
            if signed != self.trial:
                return [self.says(2, "unknown")]
            self.over, self.trial = self.trial, None
            return [self.says(5), self.begins()]
        if self.running and self.running == self.kept == signed:
            return [self.says(4)]
        if wanted == board_image.WANTED[Wanted.keep]:
            if self.running is None or not self.running == self.trial == signed:
                return [self.says(2, "unknown")]
            self.kept, self.trial, self.least = self.trial, None, board_image.mark(signed)[0]
            return [self.says(4)]
        if signed == self.trial:
            return [self.says(3)]
        return [self.install(signed)]

    def install(self, signed: bytes) -> bytes:
        if signed == self.writing:
            return self.says(1)
        if board_image.mark(signed)[0] < self.least:
            return self.says(2, "older")
        if self.over == signed:
            return self.says(2, "over")
        if self.trial:
            return self.says(2, "trial")
        self.writing, self.slots[signed] = signed, b""
        return self.says(1)

    def add(self, at: int, content: bytes) -> list[bytes]:
        if self.writing is None:
            return [self.says(2, "unknown")]
        if at == len(self.slots[self.writing]):
            self.slots[self.writing] += content
        if len(self.slots[self.writing]) < int.from_bytes(self.writing[12:16], "little"):
            return [self.says(1)]
        assert hashlib.sha256(self.slots[self.writing]).digest() == self.writing[48:80]
        self.trial, self.starts, self.writing = self.writing, 0, None
        return [self.says(3), self.begins()]


class Bridge:
    """A bridge's images and installer, killed whenever a test likes; `board` is at its line."""

    def __init__(self, folder, board: Board):
        self.folder, self.board, self.now_s, self.slots, self.said = trusting(folder), board, 0.0, None, []
        self.start()

    def start(self) -> None:
        """Start; another process had them."""
        if self.slots:
            self.slots.close()
        self.slots = BoardSlots(self.folder, CLASS)
        self.installer = Installer(self.folder, "roof", self.slots, None, error_us=lambda: 1000)

    def hear(self, *reports: bytes) -> None:
        for one in map(decode, reports):
            if self.slots.hear(one):
                self.installer.again()

    def line(self, rounds: int, lost: frozenset = frozenset()) -> None:
        """Let so many words pass on the line, where none of them is among the lost ones."""
        for i in range(rounds):
            self.now_s += WAIT_S
            self.slots.heard(self.board.start_number)
            if sent := self.slots.outgoing(self.now_s):
                answers = self.board.takes(sent) if 2 * i not in lost else []
                self.hear(*(answers if 2 * i + 1 not in lost else answers[1:]))

    def offer(self, wanted=Wanted.install, content=IMAGE, number=2, *, id=IDS[0], device=CLASS, **more):
        """What it says to an offer; the parts that it wants come at once."""
        signed = manifest(content, number, device=device).hex()
        said = {"id": id, "wanted": wanted, "device": "roof", "person": "anna", "manifest": signed}
        said["expires_us"] = time.time_ns() // 1000 + 10**9
        self.installer.take(releases.sign(Offer(**said | more), HUB))
        while (last := self.says()) and last.part is not None:
            self.installer.take(part(id, content, last.part))
        return last and (last.stage, last.note)

    def says(self) -> Report | None:
        """The last that it said since it was asked last."""
        said = [Report.decode(one) for one in self.installer.outgoing()]
        return said[-1] if said else None

    def tells(self) -> tuple[Stage, str] | None:
        """Likewise, without more."""
        last = self.says()
        return last and (last.stage, last.note)


@pytest.fixture
def bridge(tmp_path) -> Bridge:
    return Bridge(tmp_path / "roof", Board())


def test_an_image_comes_to_the_board_runs_on_trial_and_is_kept_when_the_hub_says_so(bridge):
    board = bridge.board
    assert bridge.offer() is None  # it is here whole, and not yet on the board
    assert bridge.offer() == (Stage.fetching, "0 of 768 bytes are on the board")
    bridge.line(2)
    assert bridge.offer() == (Stage.fetching, f"{PART_BYTES} of 768 bytes are on the board")
    assert bridge.offer(Wanted.keep) == (Stage.fetching, f"{PART_BYTES} of 768 bytes are on the board")  # not yet
    bridge.line(4)
    assert bridge.tells() == (Stage.trial, "") and board.running == manifest(IMAGE, 2, device=CLASS)
    bridge.line(20)
    assert bridge.tells() is None and board.kept is None  # that it sends messages keeps nothing
    assert bridge.offer(Wanted.keep) == (Stage.trial, "the board has yet to say that it does so: keep")
    bridge.line(1)
    assert bridge.tells() == (Stage.kept, "") and board.kept == board.running and board.least == 2
    assert bridge.offer(Wanted.back) == (Stage.kept, "") and bridge.offer(id=IDS[1]) == (Stage.kept, "")
    assert [file.name for file in (bridge.folder / "images").iterdir()] == ["slots.json"]
    assert bridge.offer(content=NEWER, number=1, id=IDS[2])[1].startswith("older: number 1 must be at least 2")


def test_a_trial_that_the_hub_takes_back_is_over_when_the_board_says_so(bridge):
    bridge.offer()
    bridge.line(6)
    assert bridge.tells() == (Stage.trial, "")
    assert bridge.offer(Wanted.back) == (Stage.trial, "the board has yet to say that it does so: back")
    bridge.start()  # it was killed
    bridge.line(1)
    assert bridge.tells() == (Stage.back, "") and bridge.board.running is None
    assert bridge.offer(Wanted.back) == (Stage.back, "")
    assert bridge.offer() == (Stage.refused, "over: it was taken back before")
    bridge.offer(id=IDS[1])
    bridge.line(3)
    assert bridge.tells() == (Stage.refused, "over: the board refuses it")  # which knows no roll-outs, but an image


def test_a_full_disk_holds_no_board_on_a_trial(bridge, monkeypatch):
    bridge.offer()
    bridge.line(6)
    assert bridge.tells() == (Stage.trial, "")
    with monkeypatch.context() as patch:
        patch.setattr(record, "write", full)
        assert bridge.offer(Wanted.back)[0] == Stage.trial
        bridge.line(1)
        assert bridge.tells() == (Stage.back, "") and bridge.board.trial is None
    bridge.start()  # what could not be noted is told anew, and the board knows that it is over
    bridge.line(2)
    assert bridge.tells()[0] == Stage.back and bridge.slots.state.trial is None


def test_one_that_is_taken_back_on_its_way_never_runs(bridge):
    bridge.offer()
    bridge.line(2)
    bridge.offer(Wanted.back)
    bridge.line(9)
    assert bridge.tells() == (Stage.back, "") and bridge.board.running is None and bridge.board.trial is None


def test_a_board_that_goes_back_by_itself_says_so(bridge):
    bridge.offer()
    bridge.line(6)
    bridge.start()
    for _ in range(3):
        bridge.hear(bridge.board.begins())
    assert bridge.tells()[0] == Stage.back and "fourth start" in bridge.slots.state.last[2]


@pytest.mark.parametrize("is_heard", [True, False])
def test_it_asks_what_runs_where_it_did_not_hear_the_start(bridge, is_heard):
    start = bridge.board.begins()
    if is_heard:
        bridge.hear(start)
    bridge.slots.heard(bridge.board.start_number)
    sent = bridge.slots.outgoing(99.0)
    assert (sent == b"") == is_heard
    bridge.hear(*(bridge.board.takes(sent) if sent else ()))
    assert bridge.slots.outgoing(199.0) == b"" and bridge.tells() is None


def test_a_board_that_says_nothing_of_images_is_asked_some_times_and_told_of(bridge, caplog):
    bridge.slots.heard(5)
    asked = [bridge.slots.outgoing(i * WAIT_S) for i in range(30)]
    assert len(list(filter(None, asked))) == board_image.SILENT and "GUNSHOT_OTA_KEY" in caplog.text


def test_the_board_has_the_last_word(bridge):
    bridge.board.least = 3
    bridge.offer()
    bridge.line(2)
    assert bridge.tells() == (Stage.refused, "older: the board refuses it") and bridge.slots.state.trial is None
    bridge.start()
    bridge.installer.again()
    assert bridge.tells() == (Stage.refused, "older: the board refuses it")


def test_what_is_not_for_it_is_never_fetched(bridge):
    for change, rule in (
        ({"device": "linux"}, "hardware"), ({"expires_us": 1}, "expired"), ({"manifest": "0" * 288}, "manifest"),
    ):  # fmt: skip
        stage, note = bridge.offer(**change)
        assert stage == Stage.refused and note.startswith(rule)
    assert bridge.offer(not_before_us=time.time_ns() // 1000 + 10**9) is None
    for file in bridge.folder.glob("operators/*"):
        file.unlink()
    bridge.start()
    assert bridge.offer()[1].startswith("operator: ") and not list(bridge.folder.glob("images/*"))
    assert OPERATOR.public_key() not in bridge.slots.trusted.values()


def test_another_one_takes_the_place_of_a_trial_once_the_board_went_back(bridge):
    bridge.offer()
    bridge.line(6)
    assert bridge.tells() == (Stage.trial, "")
    assert bridge.offer(content=NEWER, number=3, id=IDS[1])[0] == Stage.fetching
    bridge.line(1)
    assert bridge.tells() == (Stage.back, "")
    bridge.offer(content=NEWER, number=3, id=IDS[1])
    bridge.line(6)
    assert bridge.tells() == (Stage.trial, "") and bridge.board.running == manifest(NEWER, 3, device=CLASS)


def test_a_trial_of_a_roll_out_that_was_stopped_goes_on_in_the_next_one(bridge):
    bridge.offer()
    bridge.line(6)
    assert bridge.offer(id=IDS[1]) == (Stage.trial, "")
    bridge.offer(Wanted.keep, id=IDS[1])
    bridge.line(1)
    assert bridge.tells() == (Stage.kept, "")


def test_another_board_at_the_line_is_brought_what_the_hub_wants(bridge):
    bridge.offer()
    bridge.line(6)
    bridge.offer(Wanted.keep)
    bridge.line(1)
    bridge.board = Board()
    bridge.hear(bridge.board.begins())
    assert bridge.slots.state.kept is None and bridge.slots.state.least == 0
    bridge.offer(id=IDS[1])
    bridge.line(6)
    assert bridge.tells() == (Stage.trial, "")


def test_what_the_board_runs_is_known_also_where_its_operator_is_trusted_no_longer(bridge):
    bridge.offer()
    bridge.line(6)
    bridge.offer(Wanted.keep)
    bridge.line(1)
    for file in bridge.folder.glob("operators/*"):
        file.unlink()
    bridge.start()
    said = decode(bridge.board.begins())
    assert not bridge.slots.hear(said) and bridge.slots.release(said) == "v1.2.0"


def test_an_image_that_was_altered_on_the_disk_is_fetched_again(bridge):
    bridge.offer()
    (file,) = (bridge.folder / "images").glob("*.image")
    file.write_bytes(IMAGE[::-1])
    bridge.start()
    assert bridge.slots.state.trial is None and bridge.offer() is None
    bridge.line(6)
    assert bridge.tells() == (Stage.trial, "")


@pytest.mark.parametrize("lost", ["images/*.image", "operators/*"])
@pytest.mark.parametrize(("wanted", "stage"), [(Wanted.keep, Stage.kept), (Wanted.back, Stage.back)])
def test_a_board_that_runs_what_the_bridge_has_lost_is_told_what_becomes_of_it(bridge, lost, wanted, stage):
    bridge.offer()
    bridge.line(6)
    for file in bridge.folder.glob(lost):
        file.unlink()
    bridge.start()
    assert bridge.slots.is_on_trial
    assert bridge.offer(wanted)[0] == Stage.trial
    bridge.start()
    bridge.line(1)
    assert bridge.tells()[0] == stage and bridge.board.trial is None


def test_what_board_and_bridge_have_lost_is_fetched_anew(bridge):
    bridge.offer()
    bridge.line(6)
    (file,) = (bridge.folder / "images").glob("*.image")
    file.write_bytes(IMAGE[::-1])
    bridge.start()
    bridge.offer(Wanted.keep)
    bridge.board = Board()
    bridge.line(2)  # it knows no such image, and wants its first part
    assert bridge.tells() == (Stage.refused, "unknown: board and bridge have lost it")
    bridge.offer()
    bridge.line(6)
    assert bridge.tells() == (Stage.trial, "")


STEPS = st.one_of(
    st.sampled_from(["install", "keep", "back", "kill", "power"]),
    st.tuples(st.integers(1, 8), st.frozensets(st.integers(0, 15))),  # words on the line, and which are lost
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=14), last=st.sampled_from(["keep", "back"]))
def test_whatever_is_lost_and_killed_hub_and_board_agree_in_the_end(tmp_path_factory, steps, last):
    """The hub offers as gunshot/hub/rollouts.py does: again and again, until it is told how it ended."""
    bridge = Bridge(tmp_path_factory.mktemp("roof"), Board())
    stage = None

    def tell(said) -> None:
        nonlocal stage
        stage = said[0] if said else stage

    def do(step) -> None:
        if step == "kill":
            bridge.start()
            bridge.installer.again()
        elif step == "power":
            bridge.hear(bridge.board.begins())
        elif isinstance(step, tuple):
            bridge.line(*step)
        elif stage in (None, Stage.fetching, Stage.trial):
            tell(bridge.offer(Wanted(step)))
        tell(bridge.tells())

    for step in steps:
        do(step)
        runs = bridge.board.running == manifest(IMAGE, 2, device=CLASS)
        assert runs or bridge.board.running is None
        assert stage != Stage.kept or bridge.board.kept
    for _ in range(4):
        for step in ("kill", "install", (12, frozenset()), last, (12, frozenset())):
            do(step)
    assert stage in (Stage.kept, Stage.back, Stage.refused), stage
    assert (stage == Stage.kept) == (bridge.board.kept is not None)
    assert bridge.board.trial is None and bridge.slots.state.trial is None
