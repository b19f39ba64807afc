"""Two slots of images in the firmware's C, on flash that loses power at any byte, against cryptography's signatures."""

import ctypes
import hashlib
import random
import runpy
import subprocess
import zlib
from ctypes import c_int64, c_size_t

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot.device import board_clock, board_image
from gunshot.device.board_clock import Given
from gunshot.device.board_image import RULES, Report
from gunshot.device.line import Reader
from gunshot.device.releases import Stage, Wanted
from gunshot.signing import keys
from tests.firmware.board import FLASHED, NAME, OPERATOR, manifest
from tests.firmware.host_c import HERE, SRC
from tests.promotion.test_ota import FLAGS, INCLUDE, SOURCES, Device

SLOT, CHOICE = 512, 256
LOST, NONE = -1, 0xFE
OLD, NEW, NEXT = (random.Random(seed).randbytes(size) for seed, size in ((1, 100), (2, 230), (3, SLOT - 144)))
pytestmark = pytest.mark.slow


class Slots:
    """A board with slots of SLOT bytes."""

    def __init__(self, folder):
        runpy.run_path(str(SRC.parent / "third_party" / "fetch.py"))["main"]()
        own = [HERE / "slots_power.c", *(SRC / name for name in ("slots.c", "update.c", "crc32.c"))]
        built = ["gcc", *FLAGS, f"-DGUNSHOT_SLOT_BYTES={SLOT}", "-shared", "-fPIC", *INCLUDE, *own, *SOURCES]
        subprocess.run([*built, "-o", folder / "slots.so"], check=True)
        self.c = ctypes.CDLL(str(folder / "slots.so"))
        self.c.slots_flash.restype = ctypes.POINTER(ctypes.c_uint8)
        self.c.line_reports.restype = ctypes.POINTER(ctypes.c_uint8)
        self.c.line_hear.restype = c_size_t
        self.c.slots_spoiled.restype = c_int64
        self.device = Device(keys.raw(OPERATOR.public_key()), NAME.encode(), FLASHED)

    @property
    def flash(self) -> bytes:
        return bytes(self.c.slots_flash()[: 2 * (SLOT + CHOICE)])

    @flash.setter
    def flash(self, content: bytes) -> None:
        ctypes.memmove(self.c.slots_flash(), content, len(content))

    def blank(self) -> None:
        self.power()
        self.flash = b"\xff" * 2 * (SLOT + CHOICE)
        self.boot()

    def power(self, byte: int = 2**62, *, fails: bool = False) -> None:
        self.c.slots_power(c_int64(byte), fails)

    def boot(self) -> int:
        return self.c.slots_boot(ctypes.byref(self.device))

    def install(self, image: bytes, number: int, *, sent: bytes | None = None, signed: bytes | None = None) -> int:
        """The verdict on an image; `sent` and `signed` are what comes in its place, and in its manifest's."""
        sent = image if sent is None else sent
        return self.c.slots_install(signed or manifest(image, number), sent, c_size_t(len(sent)))

    def keep(self, image: bytes, number: int) -> int:
        return self.c.slots_keep(manifest(image, number))

    def back(self, image: bytes, number: int) -> int:
        return self.c.slots_back(manifest(image, number))

    def take(self, image: bytes, number: int) -> int:
        """Install an image, start again, and keep it; the last verdict, or LOST."""
        verdict = self.install(image, number)
        return verdict or (self.keep(image, number) if self.boot() != LOST else LOST)

    def hear(self, line: bytes, piece: int) -> list[Report]:
        """Start, and return what is reported of bytes on the line that come in pieces."""
        self.c.line_start(ctypes.byref(self.device))
        size = self.c.line_hear(line, c_size_t(len(line)), c_size_t(piece))
        return Reader().push(bytes(self.c.line_reports()[:size]))

    def running(self) -> bytes | None:
        """The bytes of the slot that runs, as far as its manifest says."""
        slot = self.c.slots_running()
        if slot == NONE:
            return None
        whole = self.flash[slot * SLOT : (slot + 1) * SLOT]
        return whole[144 : 144 + int.from_bytes(whole[12:16], "little")]


@pytest.fixture(scope="module")
def slots(tmp_path_factory):
    return Slots(tmp_path_factory.mktemp("slots"))


@pytest.fixture
def board(slots):
    slots.blank()
    return slots


def test_an_image_runs_on_trial_until_it_is_kept(board):
    assert board.running() is None  # what was flashed
    assert board.install(NEW, 4) == 0 and board.running() is None
    assert board.boot() == 0 and board.running() == NEW and board.c.slots_least() == 0
    assert board.keep(NEW, 4) == 0 and board.c.slots_least() == 4
    for _ in range(9):
        assert board.boot() == 0 and board.running() == NEW
    assert board.take(NEXT, 5) == 0 and board.c.slots_running() == 1 and board.running() == NEXT
    assert board.take(OLD, 6) == 0 and board.c.slots_running() == 0 and board.running() == OLD


def test_a_trial_that_nobody_keeps_ends_after_three_starts(board):
    board.take(OLD, 4)
    board.install(NEW, 5)
    for _ in range(3):
        assert board.boot() == 1 and board.running() == NEW
    for _ in range(3):
        assert board.boot() == 0 and board.running() == OLD
    assert RULES[board.install(NEW, 5)] == "over"
    assert board.take(NEXT, 6) == 0 and board.running() == NEXT


def test_a_trial_that_is_taken_back_never_begins_again(board):
    board.take(OLD, 4)
    assert RULES[board.back(OLD, 4)] == "unknown"  # it is kept
    board.install(NEW, 5)
    assert RULES[board.keep(NEW, 5)] == "unknown"  # it does not run yet
    board.boot()
    assert RULES[board.install(NEXT, 6)] == "trial"
    assert RULES[board.keep(NEXT, 5)] == "unknown" and board.back(NEW, 5) == 0
    assert board.boot() == 0 and board.running() == OLD
    assert RULES[board.install(NEW, 5)] == "over" and RULES[board.keep(NEW, 5)] == "unknown"
    assert board.take(NEXT, 5) == 0 and board.running() == NEXT  # the same model, built anew


REFUSED = {
    "operator": {"signed": manifest(NEW, 5, key=Ed25519PrivateKey.from_private_bytes(bytes(32)))},
    "manifest": {"signed": b"X" + manifest(NEW, 5)[1:]},
    "hardware": {"signed": manifest(NEW, 5, device="nano33ble")},
    "older": {"number": 3},
    "length": {"image": bytes(SLOT - 143)},
    "image": {"sent": NEW[:-1] + b"\0"},
}


@pytest.mark.parametrize("rule", REFUSED)
def test_what_is_refused_leaves_the_image_that_runs(board, rule):
    board.take(OLD, 4)
    before = board.flash[:SLOT]
    assert RULES[board.install(**{"image": NEW, "number": 5} | REFUSED[rule])] == rule
    assert board.flash[:SLOT] == before and board.boot() == 0 and board.running() == OLD
    assert board.take(NEW, 5) == 0 and board.running() == NEW


def test_an_image_that_is_cut_off_never_runs(board):
    board.take(OLD, 4)
    assert board.install(NEW, 5, sent=NEW[:-1]) == 0  # it waits for the rest
    assert board.boot() == 0 and board.running() == OLD
    assert RULES[board.install(NEW, 5, sent=NEW + b"\0")] == "image" and board.boot() == 0


@settings(max_examples=200)
@given(at=st.integers(0, 144 + len(NEW) - 1), bit=st.integers(0, 7))
def test_a_bit_that_flips_in_a_slot_is_seen_at_the_next_start(slots, at, bit):
    slots.blank()
    slots.take(OLD, 4)
    slots.install(NEW, 5)
    flash = bytearray(slots.flash)
    flash[SLOT + at] ^= 1 << bit
    slots.flash = bytes(flash)
    assert slots.boot() == 0 and slots.running() == OLD
    assert slots.take(NEW, 5) == 0 and slots.running() == NEW  # it may come again, whole


INSTALL = board_image.order(Wanted.install, manifest(NEXT, 5))
PARTS = [board_image.part(NEXT, at) for at in range(0, len(NEXT), board_image.PART_BYTES)]
NOTHING = (0, bytes(4))  # runs but what was flashed
FLASHED_RUNS = Report(7, 9, None, None, 0, *NOTHING)
JUNK = st.binary(max_size=40) | st.sampled_from([b"G", b"GS\2\3", b"GS\2\4\x1a\1", INSTALL[:-1], PARTS[0][:99]])


@given(junk=st.lists(JUNK, min_size=3, max_size=3), piece=st.integers(1, 700))
def test_an_image_is_taken_out_of_whatever_comes_on_the_line(slots, junk, piece):
    slots.blank()
    line = b"".join(before + sent for before, sent in zip(junk, [INSTALL, *PARTS], strict=True))
    said = [FLASHED_RUNS, *(Report(7, 9, Stage.fetching, None, at, *NOTHING) for at in (0, 256))]
    line += bytes(
        300
    )  # what looks like a beginning waits for its end; the other end sends the part again, which is one
    assert slots.hear(line, piece) == [*said, Report(7, 9, Stage.trial, None, 0, *NOTHING)]
    assert slots.boot() == 0 and slots.running() == NEXT


@given(at=st.integers(0, len(INSTALL) - 1), flip=st.integers(1, 255))
def test_a_damaged_order_is_none(slots, at, flip):
    slots.blank()
    damaged = INSTALL[:at] + bytes([INSTALL[at] ^ flip]) + INSTALL[at + 1 :]
    assert slots.hear(damaged + bytes(300), 64) == [FLASHED_RUNS]  # and nothing waits for the rest of it


def test_another_part_is_answered_by_the_one_that_is_missing(board):
    wanted = [report.next for report in board.hear(INSTALL + PARTS[1] + PARTS[0] + PARTS[0], 999)[1:]]
    assert wanted == [0, 0, 256, 256]
    assert board.hear(PARTS[1], 999)[1] == Report(7, 9, Stage.refused, "unknown", 0, *NOTHING)  # it has started again


def test_an_order_that_comes_again_erases_nothing(board):
    said = board.hear(INSTALL + PARTS[0] + INSTALL + PARTS[1], 999)
    assert [(report.stage, report.next) for report in said[2:]] == [
        (Stage.fetching, 256), (Stage.fetching, 256), (Stage.trial, 0)
    ]  # fmt: skip
    assert board.boot() == 0 and board.running() == NEXT


def test_a_question_is_answered_by_how_many_samples_were_given(board):
    said = board.hear(INSTALL + board_clock.ask(5) + PARTS[0], 999)
    assert said[2] == Given(7, 9, 5, 0x123456789A, 112) and said[3].next == 256


def test_an_order_that_nobody_knows_is_refused(board):
    body = INSTALL[:18] + b"\4" + INSTALL[19:-4]
    said = board.hear(body + zlib.crc32(body).to_bytes(4, "little"), 999)
    assert said[1:] == [Report(7, 9, Stage.refused, "unknown", 0, *NOTHING)]


def test_a_kept_image_that_is_damaged_comes_again(board):
    board.take(NEXT, 5)
    flash = bytearray(board.flash)
    flash[SLOT - 1] ^= 1
    board.flash = bytes(flash)
    assert [report.stage for report in board.hear(INSTALL + b"".join(PARTS), 999)] == [
        None, *[Stage.fetching] * 2, Stage.trial
    ]  # fmt: skip
    assert board.boot() == 1 and board.running() == NEXT and board.keep(NEXT, 5) == 0
    runs = Report(7, 9, Stage.kept, None, 0, 5, hashlib.sha256(NEXT).digest()[:4])
    assert board.hear(INSTALL, 999) == [runs, runs]


def test_a_trial_whose_start_could_not_be_counted_is_tried_at_the_next_one(board):
    board.install(NEXT, 5)
    board.power(0, fails=True)
    said = board.hear(INSTALL + INSTALL, 999)
    assert [report.stage for report in said] == [None, Stage.trial]  # and after that it is to start again
    board.power()
    assert board.boot() == 0 and board.running() == NEXT


@pytest.mark.parametrize(("fails", "step"), [(False, 1), (True, 7)], ids=["power lost", "flash fails"])
def test_power_lost_at_any_byte_leaves_an_image_that_runs(board, fails, step):
    """While an image comes, starts and is kept, over one that was there before."""
    board.take(OLD, 4)
    board.take(NEXT, 5)  # and so the slot that is idle is not blank
    begun, cuts = board.flash, 0
    new = []
    for byte in range(0, 10_000, step):
        board.flash = begun
        board.power()
        board.boot()
        board.power(byte, fails=fails)
        done = board.take(NEW, 6)
        board.power()
        if done == 0:
            break
        cuts += 1
        assert done == LOST or (fails and RULES[done] in ("disk", "unknown")), (byte, done)
        board.boot()
        running = board.running()
        assert running in (NEXT, NEW), byte
        if running == NEW:
            new.append(byte)
        assert board.take(NEW, 6) == 0 or board.running() == NEW, byte
        board.boot()
        assert board.running() == NEW and board.c.slots_spoiled() == 0, byte
    erased_and_written = SLOT + 144 + len(NEW)
    assert cuts == -(-(erased_and_written + 3 * (CHOICE + 20)) // step)  # on trial, its start, kept
    assert min(new) >= erased_and_written + CHOICE  # before that byte the old one runs
