"""An image on its way to a board: each part that is asked for, again where nothing answers, until the board has it."""

import hashlib
import logging
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot.device import board_image
from gunshot.device.board_image import WAIT_S, Delivery, Report, decode, order, part
from gunshot.device.releases import Wanted
from tests.device.images import manifest

IMAGE = bytes(range(256)) * 2 + b"end"
SIGNED = manifest(IMAGE, 4)
INSTALL, KEEP = order(Wanted.install, SIGNED), order(Wanted.keep, SIGNED)
FLASHED, FETCHING, REFUSED, TRIAL, KEPT, BACK = range(6)


def report(
    stage: int, *, rule: int = 0, next: int = 0, running: int = 0, image: bytes = IMAGE, device: int = 7,
    session: int = 9,
) -> bytes:  # fmt: skip
    """What a board says, as firmware/src/update.h has it; `image` runs, or none where its number is 0."""
    hash = hashlib.sha256(image).digest()[:4] if running else bytes(4)
    whole = struct.pack("<2sBBHIIIBBII4s", b"GS", 2, 5, 36, device, session, 0, stage, rule, next, running, hash)
    return whole + struct.pack("<I", zlib.crc32(whole))


def hear(delivery: Delivery, *stages: int, **said) -> bytes:
    """What is sent after reports."""
    for stage in stages:
        delivery.hear(decode(report(stage, **said)))
    return delivery.outgoing(0.0)


@pytest.fixture
def delivery():
    one = Delivery(IMAGE, SIGNED)
    assert one.outgoing(0.0) == INSTALL
    return one


def test_bytes_are_as_the_firmware_has_them():
    assert order(Wanted.back, SIGNED)[:18] == struct.pack("<2sBBHIII", b"GS", 2, 3, 167, 0, 0, 0)
    assert order(Wanted.back, SIGNED)[18:-4] == b"\3" + SIGNED
    assert part(IMAGE, 256)[18:-4] == struct.pack("<I", 256) + IMAGE[256:512] and part(IMAGE, 512)[22:-4] == b"end"
    for sent in (INSTALL, part(IMAGE, 0)):
        assert sent[-4:] == struct.pack("<I", zlib.crc32(sent[:-4]))
    assert decode(report(REFUSED, rule=4, next=1, running=2)) == Report(
        7, 9, "refused", "older", 1, 2, hashlib.sha256(IMAGE).digest()[:4]
    )


@given(st.integers(0, 35), st.integers(1, 255))
def test_a_damaged_report_is_none(at, flip):
    data = bytearray(report(TRIAL))
    data[at] ^= flip
    with pytest.raises(ValueError):
        decode(bytes(data))
    with pytest.raises(ValueError, match="length=35"):
        decode(report(TRIAL)[:-1])


def test_what_nothing_answers_is_sent_again(delivery):
    assert delivery.outgoing(WAIT_S - 0.1) == b"" and delivery.outgoing(WAIT_S) == INSTALL
    assert hear(delivery, FETCHING, next=256) == part(IMAGE, 256)
    assert hear(delivery, FETCHING, next=256) == b"" and delivery.outgoing(WAIT_S) == part(IMAGE, 256)


def test_a_board_that_started_again_is_told_anew(delivery):
    hear(delivery, FETCHING, next=256)
    assert hear(delivery, FLASHED) == b""  # its first word; the part comes again, which it does not know
    assert hear(delivery, REFUSED, rule=board_image.RULES.index("unknown")) == INSTALL
    assert delivery.ended is None


def test_it_is_kept_once_the_board_that_runs_it_sends_a_message(delivery):
    delivery.heard(9)  # it runs another one still
    assert hear(delivery, TRIAL, running=3) == b""
    delivery.heard(9)
    assert delivery.outgoing(0.0) == b"" and hear(delivery, TRIAL, running=4) == b""
    delivery.heard(9)
    assert delivery.outgoing(0.0) == KEEP
    hear(delivery, KEPT, running=4)
    assert delivery.ended == "kept" and delivery.outgoing(99.0) == b""


OLD = {"running": 4, "image": b"an earlier build of the same model"}


def test_an_earlier_build_with_its_number_is_not_it(delivery):
    assert hear(delivery, FETCHING, KEPT, **OLD) == part(IMAGE, 0) and delivery.ended is None  # it started again
    hear(delivery, TRIAL, **OLD)  # the last part came
    delivery.heard(9)
    assert delivery.outgoing(WAIT_S) == part(IMAGE, 0)
    hear(delivery, TRIAL, running=4)
    assert hear(delivery, KEPT, **OLD) == order(Wanted.back, SIGNED)  # after three starts
    hear(delivery, REFUSED, rule=UNKNOWN, **OLD)
    assert delivery.ended == "back"


def test_a_board_that_does_not_answer_is_told_of_once(delivery, caplog):
    caplog.set_level(logging.WARNING)
    for i in range(1, 30):
        assert delivery.outgoing(i * WAIT_S) == INSTALL
        assert len(caplog.records) == (i >= board_image.SILENT)
    assert "GUNSHOT_OTA_KEY" in caplog.text


@pytest.mark.parametrize(
    ("stages", "said", "how"),
    [
        ([REFUSED], {"rule": 4}, "refused: older"),
        ([FETCHING, TRIAL, KEPT, BACK], {"running": 3}, "back"),
        ([FETCHING, TRIAL, FLASHED, BACK], {}, "back"),
        ([KEPT], {"running": 4}, "kept"),
    ],
)
def test_how_it_ends(delivery, stages, said, how):
    hear(delivery, *stages, **said)
    assert delivery.ended == how
    delivery.heard(9)
    assert hear(delivery, FETCHING) == b"" and delivery.ended == how


def test_a_trial_of_another_image_that_ends_says_nothing_of_this_one(delivery):
    hear(delivery, TRIAL, running=3)  # the board starts, before it has heard of this one
    assert hear(delivery, KEPT, running=2, session=10) == b"" and delivery.ended is None
    assert hear(delivery, FETCHING, running=2, session=10) == part(IMAGE, 0)
    hear(delivery, TRIAL, running=2, session=10)  # the last part came
    hear(delivery, KEPT, running=2, session=11)  # and is damaged
    hear(delivery, REFUSED, rule=UNKNOWN, running=2, session=11)
    assert delivery.ended == "back"


UNKNOWN, OVER, DISK, OLDER = map(board_image.RULES.index, ("unknown", "over", "disk", "older"))


def ordered(wanted: Wanted, *, has_run: bool = True) -> Delivery:
    """One whose bridge was killed since it told the board so."""
    one = Delivery(IMAGE, SIGNED, wanted=wanted, has_run=has_run, keeps=False)
    assert one.outgoing(0.0) == order(wanted, SIGNED)
    return one


def test_what_nobody_wants_yet_goes_on_quietly_on_trial():
    one = ordered(Wanted.install, has_run=False)
    assert hear(one, TRIAL, running=4) == b"" and one.is_calm
    one.heard(9)
    assert one.outgoing(99.0) == b"" and one.ended is None
    one.want(Wanted.keep)
    assert one.outgoing(99.0) == KEEP


def test_one_that_is_to_be_kept_is_told_so_again_until_it_is():
    one = ordered(Wanted.keep)
    assert hear(one, REFUSED, rule=UNKNOWN) == INSTALL  # its start could not be counted: it is to start again
    assert hear(one, TRIAL, running=4) == KEEP
    assert hear(one, REFUSED, rule=DISK, running=4) == b"" and one.outgoing(WAIT_S) == KEEP and one.ended is None
    hear(one, KEPT, running=4)
    assert one.ended == "kept"


@pytest.mark.parametrize(("rule", "how"), [(OVER, "back"), (OLDER, "refused: older")])
def test_one_that_is_to_be_kept_and_is_gone_ends(rule, how):
    one = ordered(Wanted.keep)
    hear(one, REFUSED, rule=UNKNOWN)
    hear(one, REFUSED, rule=rule)
    assert one.ended == how


def test_one_that_is_to_go_back_is_told_so_until_the_board_has_it_on_trial_no_more():
    for last in ({"stage": 5, "running": 4}, {"stage": REFUSED, "rule": UNKNOWN}):
        one = ordered(Wanted.back)
        hear(one, FETCHING, TRIAL, running=4)
        hear(one, REFUSED, rule=UNKNOWN, running=4)  # an answer to what was sent before
        hear(one, FLASHED, KEPT, running=3)  # it started, and may run it in the next start
        assert one.ended is None and one.outgoing(WAIT_S) == order(Wanted.back, SIGNED)
        one.hear(decode(report(**last)))
        assert one.ended == "back"
    one = ordered(Wanted.back)
    hear(one, KEPT, running=4)  # somebody with a cable was faster
    assert one.ended == "kept"


def test_one_that_has_run_and_does_so_no_more_is_back_also_where_the_bridge_was_killed():
    one = ordered(Wanted.install)
    assert hear(one, KEPT, running=3) == order(Wanted.back, SIGNED)
    assert one.ended is None
    hear(one, REFUSED, rule=UNKNOWN, running=3)
    assert one.ended == "back"


def test_a_manifest_of_another_image_is_refused():
    with pytest.raises(ValueError, match="image=514 bytes must be the 515 of its manifest"):
        Delivery(IMAGE[:-1], SIGNED)
    with pytest.raises(ValueError, match="manifest=143 bytes must be 144"):
        Delivery(IMAGE, SIGNED[:-1])


def test_an_image_is_loaded_with_its_manifest_beside_it(tmp_path):
    file = tmp_path / "gunshot.bin"
    file.write_bytes(IMAGE)
    with pytest.raises(FileNotFoundError, match=r"gunshot\.bin\.manifest"):
        Delivery.load(file)
    file.with_name("gunshot.bin.manifest").write_bytes(SIGNED)
    assert Delivery.load(file).outgoing(0.0) == INSTALL
    file.write_bytes(IMAGE[:-1])
    with pytest.raises(ValueError, match=r"gunshot\.bin\.manifest: image=514 .*make it with `gunshot export ota"):
        Delivery.load(file)
