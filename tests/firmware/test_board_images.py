"""Images for an emulated board by its serial line: the firmware's application checks, writes and starts them.

What runs is a slot's bytes, which the board has looked at; an emulated board has no bootloader that would jump there.
"""

import os
import random
import select

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gunshot.device import board_clock, board_image, emulator
from gunshot.device.board_clock import Given
from gunshot.device.board_image import Delivery, Report
from gunshot.device.line import Reader
from gunshot.device.messages import Heartbeat
from gunshot.device.releases import Stage
from tests.firmware.board import CHOICE, FLASH, NAME, SLOT, Board, header, manifest
from tests.firmware.test_ports import FIRMWARE

pytestmark = pytest.mark.firmware
OLD, NEW = (random.Random(seed).randbytes(3000) for seed in (1, 2))


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The application of an emulated board that trusts OPERATOR."""
    key = header(tmp_path_factory.mktemp("key"))
    return emulator.build(NAME, firmware=FIRMWARE, ota_key=key) / "gunshot"


@pytest.fixture
def board(program, tmp_path):
    return Board(tmp_path, program)


def deliver(board: Board, image: bytes, number: int) -> str:
    """How an image ends that is brought to a board, which starts again where it wants to."""
    delivery = Delivery(image, manifest(image, number))
    while not delivery.ended:
        board.start(delivery)
    return delivery.ended


def runs(board: Board) -> Report:
    """What a start says that runs."""
    return board.start(until=lambda _: True)[0]


def test_an_image_comes_by_the_line_is_tried_and_kept(board):
    assert runs(board) == Report(0, 1, None, None, 0, 0, bytes(4))  # what was flashed
    delivery = Delivery(OLD, manifest(OLD, 4))
    taken = board.start(delivery)
    wanted = dict.fromkeys(r.next for r in taken if r.stage == Stage.fetching)  # a slow board is told twice
    assert list(wanted) == [*range(0, 3000, board_image.PART_BYTES)]
    assert taken[-1].stage == Stage.trial and taken[-1].running == 0  # until the next start, which is now
    tried = board.start(delivery)
    assert (tried[0].stage, tried[0].running) == (Stage.trial, 4) and delivery.ended == "kept"
    assert board.slot(0) == (manifest(OLD, 4) + OLD).ljust(SLOT, b"\xff") and board.slot(1) == b"\xff" * SLOT
    assert deliver(board, NEW, 5) == "kept"
    assert board.slot(1) == (manifest(NEW, 5) + NEW).ljust(SLOT, b"\xff")
    assert board.slot(0) == (manifest(OLD, 4) + OLD).ljust(SLOT, b"\xff")
    assert (runs(board).stage, runs(board).running) == (Stage.kept, 5)
    assert (board.folder / "said").read_text() == ""


def test_a_board_says_how_many_samples_it_has_heard_when_it_is_asked(program, tmp_path):
    """Whatever else comes on the line; its heartbeats are the truth, as they come in their order."""
    reader, said, asked = Reader(), [], 0
    with Board(tmp_path, program, heard_s=30).powered() as (emulated, line):
        while emulated.poll() is None or select.select([line], [], [], 0)[0]:
            if said and asked < 4 and asked == sum(isinstance(one, Given) for one in said):
                asked += 1
                damaged = board_clock.ask(99)[:-1] + b"x"
                os.write(line, b"GS" + damaged + board_clock.ask(asked) + b"GS\2")
            if select.select([line], [], [], 0.1)[0]:
                said += reader.push(os.read(line, 4096))
    answers = [one for one in said if isinstance(one, Given)]
    beats = [one.heard for one in said if isinstance(one, Heartbeat)]
    counts = [one.samples for one in answers]
    assert [(one.session, one.number, one.block) for one in answers] == [(1, i + 1, 256) for i in range(4)]
    assert counts == sorted(counts) and beats == [0, 30 * 16_000] and 0 < counts[-1] < beats[-1]
    assert all(count % 256 == 0 for count in counts)


class Altered(Delivery):
    """An image that is altered or cut off on its way, or whose manifest is."""

    def __init__(self, image: bytes, manifest: bytes, *, sent: bytes | None = None, signed: bytes | None = None):
        super().__init__(image, manifest)
        self._image = self._image if sent is None else sent
        if signed:
            self._manifest, self._last = signed, board_image.order(board_image.Wanted.install, signed)


STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))
FLIPPED = NEW[:2999] + bytes([NEW[2999] ^ 1])
REFUSED = {
    "operator": Altered(NEW, manifest(NEW, 5), signed=manifest(NEW, 5, key=STRANGER)),
    "manifest": Altered(NEW, manifest(NEW, 5), signed=b"X" + manifest(NEW, 5)[1:]),
    "hardware": Altered(NEW, manifest(NEW, 5, device="nano33ble")),
    "older": Altered(NEW, manifest(NEW, 3)),
    "length": Altered(bytes(SLOT), manifest(bytes(SLOT), 5)),
    "image": Altered(NEW, manifest(NEW, 5), sent=FLIPPED),
}


@pytest.fixture(scope="module")
def kept(program, tmp_path_factory):
    """The flash of a board that keeps OLD."""
    board = Board(tmp_path_factory.mktemp("kept"), program)
    assert deliver(board, OLD, 4) == "kept"
    return board.flash


def test_what_is_refused_is_refused_by_name_and_the_old_image_runs(board, kept):
    (board.folder / "flash").write_bytes(kept)
    for rule, delivery in REFUSED.items():
        board.start(delivery)
        assert delivery.ended == f"refused: {rule}" and board.slot(0) == kept[:SLOT]
        assert rule == "image" or board.flash == kept, rule  # that one is written before it is looked at
    short = Altered(NEW, manifest(NEW, 5), sent=NEW[:2900])  # the board waits for the rest
    board.start(short, until=lambda report: report.next == 2900)
    assert short.ended is None and (runs(board).stage, runs(board).running) == (Stage.kept, 4)


def test_a_trial_that_sends_no_message_ends_by_itself(board, kept):
    (board.folder / "flash").write_bytes(kept)
    board.start(Delivery(NEW, manifest(NEW, 5)))
    assert [runs(board).running for _ in range(4)] == [5, 5, 5, 4] and board.slot(0) == kept[:SLOT]
    assert deliver(board, NEW, 5) == "refused: over"


def test_a_file_that_is_no_flash_takes_no_image(board):
    (board.folder / "flash").write_bytes(b"")
    assert deliver(board, NEW, 5) == "refused: disk" and board.flash == b""
    assert "warning: flash: no file of its size" in (board.folder / "said").read_text()


@pytest.mark.parametrize("count", [3, pytest.param(60, marks=[pytest.mark.exhaustive, pytest.mark.timeout(1800)])])
def test_power_that_is_lost_at_some_byte_of_flash_leaves_an_image_that_runs(board, kept, drawn, count):
    """A write is cut there, and the emulator killed: in an image, its manifest, or what says which of both runs."""
    slot = range(SLOT, SLOT + 144 + len(NEW))
    first, second = range(2 * SLOT, 2 * SLOT + 20), range(FLASH - CHOICE, FLASH)
    for i in range(count):
        where = (slot, first, second)[i % 3]
        byte, junk = drawn.choice(where), drawn.choice([b"", drawn.randbytes(SLOT)])  # of an image before, or blank
        (board.folder / "flash").write_bytes(kept[:SLOT] + (junk or kept[SLOT : 2 * SLOT]) + kept[2 * SLOT :])
        delivery = Delivery(NEW, manifest(NEW, 5))
        cut = board.start(delivery, power_until=byte)
        if where is second:  # written when the trial starts
            assert cut[-1].stage == Stage.trial
            cut = board.start(power_until=byte, until=lambda _: True)
        else:
            assert delivery.ended in (None, "refused: disk")
        assert all(report.running in (0, 4) for report in cut) and board.slot(0) == kept[:SLOT], byte
        assert runs(board).running == (5 if where is second else 4), byte
        assert deliver(board, NEW, 5) == "kept" and board.slot(1)[: 144 + len(NEW)] == manifest(NEW, 5) + NEW, byte
