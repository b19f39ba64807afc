"""A board's messages as those of a device of the hub: whose they are, of which session, and when they were heard."""

import dataclasses
import struct
import time
import zlib
from contextlib import closing

import numpy as np
import pytest

from gunshot.device import board_clock, board_image, bridge, messages
from gunshot.device.answers import Answers
from gunshot.device.board_image import WAIT_S, Delivery
from gunshot.device.board_slots import PROBE, BoardSlots
from gunshot.device.bridge import Bridge
from gunshot.device.messages import Clock, Detector, Heartbeat, Incident, State
from gunshot.device.outbox import Outbox
from gunshot.device.place import Place
from gunshot.device.releases import Wanted
from tests.device.images import manifest, trusting
from tests.device.test_board_image import FETCHING, FLASHED, IMAGE, KEPT, REFUSED, TRIAL, report
from tests.device.test_outbox import a_full_disk
from tests.device.test_slots import full

SR, BEAT_S = 16_000, 600.0
PLACE = Place(host="localhost", port=1, name="roof", number=7)
MODEL = 0xFEDCBA9876543210
BEAT = Heartbeat(0xB0A2D, 0xC0FFEE, 0, *range(1, 11), detector=Detector(MODEL, 45_000))
ALERT = Incident(
    0xB0A2D, 0xC0FFEE, 1, incident=1, state=State.OPENED, shots=1, onset=16_000, decided=24_000, score=50_000,
    spl_db=1011, model=MODEL, onsets=(16_000,), log_mel=np.zeros((2, 2), np.int8),
)  # fmt: skip


class Links:
    """What a bridge says to the hub but for messages: a birth for each link, and whether the board is there."""

    def __init__(self):
        self.births, self.online, self.closed = [], None, 0

    def __call__(self, birth, _):
        self.births.append(birth)
        self.online = True
        return self

    def tell(self, *, online):
        self.online = online

    def close(self):
        self.closed += 1


@pytest.fixture
def outbox(tmp_path):
    with closing(Outbox(tmp_path)) as one:
        yield one


def a_bridge(folder, outbox, links=None, error_us=lambda: None, delivery=None, installer=None) -> Bridge:
    return Bridge(
        folder, PLACE, outbox, links or Links(), lambda birth: Answers(folder, birth, ring=None, gate=None), sr=SR,
        heartbeat_s=BEAT_S, images=delivery, installer=installer, error_us=error_us,
    )  # fmt: skip


def hear(one: Bridge, *said, now_s: float = 0.0) -> None:
    one.hear(b"".join(map(messages.encode, said)), now_s)


def of_image(one: Bridge, now_s: float) -> bytes:
    """What is sent to the board of images; it is asked how many samples it heard where that is nothing."""
    sent = one.outgoing(now_s)
    return b"" if sent[3:4] == bytes([board_clock.ASK]) else sent


def waiting(outbox: Outbox) -> list[messages.Message]:
    return [messages.decode(each.payload) for each in outbox.first(100)]


def after(message, **values):
    return dataclasses.replace(message, **values)


def test_a_message_is_the_same_but_for_whose_it_is(tmp_path, outbox):
    hear(a_bridge(tmp_path, outbox), BEAT, ALERT)
    sent = [after(one, device=7, session=1) for one in (BEAT, ALERT)]
    assert [each.payload for each in outbox.first(9)] == [messages.encode(one) for one in sent]


def test_starts_of_the_board_are_counted_and_those_of_the_bridge_are_not(tmp_path, outbox):
    first = [BEAT, ALERT]
    again = [after(BEAT, session=5), after(ALERT, session=5)]  # another number, as a reset board draws
    same = [after(BEAT, session=5), after(ALERT, session=5)]  # the same again: its numbers fall
    other = [after(BEAT, device=1, session=5, sequence=8)]
    for said in (first, [after(BEAT, sequence=2)], again, same, other):
        hear(a_bridge(tmp_path, outbox), *said)
    numbers = [(one.session, one.sequence) for one in waiting(outbox)]
    assert numbers == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (3, 0), (3, 1), (4, 8)]


def test_a_full_disk_ends_no_bridge(tmp_path):
    """What the board says in its session waits in memory; a new start of it has no number before there is room."""
    with closing(Outbox(tmp_path, retry_s=0.0)) as outbox:
        one = a_bridge(tmp_path, outbox)
        hear(one, BEAT)
        with a_full_disk():
            hear(one, ALERT)
            again = after(BEAT, session=5), after(ALERT, session=5)
            hear(one, again[0])
            assert [(said.session, said.sequence) for said in waiting(outbox)] == [(1, 0), (1, 1)]
        hear(one, again[1])
        numbers = [(said.session, said.sequence) for said in waiting(outbox)]
        assert numbers == [(1, 0), (1, 1), (2, 1)] and outbox.fault is None


def test_the_hub_is_told_what_the_board_is_once_it_has_said_so(tmp_path, outbox):
    links = Links()
    one = a_bridge(tmp_path, outbox, links)
    hear(one, after(BEAT, detector=None))
    assert links.births == []
    hear(one, ALERT)
    hear(one, after(BEAT, sequence=2))
    hear(one, after(BEAT, session=5, sequence=3))
    point = 45_000 / 65535
    assert [(birth.session, birth.operating_point) for birth in links.births] == [(1, None), (1, point), (2, point)]
    assert {(birth.name, birth.number, birth.model) for birth in links.births} == {("roof", 7, "fedcba9876543210")}
    assert links.closed == 2
    restarted = Links()  # before the board says a word: what waits goes out
    a_bridge(tmp_path, outbox, restarted).hear(b"", 0.0)
    assert restarted.births == links.births[-1:] and restarted.online is False


def test_a_board_that_is_not_heard_is_offline(tmp_path, outbox):
    links = Links()
    one = a_bridge(tmp_path, outbox, links)
    for data, now_s, online in (
        (messages.encode(BEAT), 0.0, True), (b"", 3 * BEAT_S - 1, True), (b"noise", 3 * BEAT_S, False),
        (messages.encode(after(BEAT, sequence=1)), 2000.0, True), (None, 2001.0, False), (b"", 2002.0, True),
    ):  # fmt: skip
        one.hear(data, now_s)
        assert links.online is online


def test_an_image_goes_to_the_board_and_what_it_says_of_it_stays_here(tmp_path, outbox):
    delivery = Delivery(IMAGE, manifest(IMAGE, 4))
    one = a_bridge(tmp_path, outbox, delivery=delivery)
    one.hear(report(FLASHED), 0.0)
    assert of_image(one, 0.0) == board_image.order(Wanted.install, manifest(IMAGE, 4)) and of_image(one, 1.0) == b""
    one.hear(report(FETCHING, next=256) + messages.encode(BEAT), 1.0)
    assert of_image(one, 1.0) == board_image.part(IMAGE, 256)
    one.hear(report(TRIAL, running=4) + messages.encode(after(BEAT, session=5)), 2.0)
    assert of_image(one, 2.0) == board_image.order(Wanted.keep, manifest(IMAGE, 4))
    one.hear(report(KEPT, running=4), 3.0)
    assert delivery.ended == "kept" and of_image(one, 9.0) == b""
    assert [(m.session, m.sequence) for m in waiting(outbox)] == [(1, 0), (2, 0)]  # the board's messages alone
    assert of_image(a_bridge(tmp_path, outbox), 0.0) == b""


def test_the_hub_is_told_which_image_runs_as_soon_as_the_board_says_so(tmp_path, outbox):
    with closing(BoardSlots(trusting(tmp_path), "mps2-an386")) as slots:
        links = Links()
        one = a_bridge(tmp_path, outbox, links, delivery=slots)
        hear(one, BEAT)
        assert of_image(one, 0.0) == PROBE and of_image(one, 1.0) == b""
        unknown = board_image.RULES.index("unknown")
        for more in ({"rule": unknown}, {"rule": unknown, "running": 4}):
            one.hear(report(REFUSED, device=BEAT.device, session=BEAT.session, **more), 2.0)
        assert of_image(one, 99.0) == b""
        one.hear(report(KEPT, running=5, device=BEAT.device, session=6), 99.0)  # it starts again, and is heard
        hear(one, after(BEAT, session=6))
        hear(one, after(BEAT, session=7))  # and is not
        assert of_image(one, 199.0) == PROBE
        said = [(birth.session, birth.image, "image:mps2-an386" in birth.capabilities) for birth in links.births]
        assert said == [(1, None, False), (1, None, True), (1, 4, True), (2, 5, True)]  # that of 7 waits
        assert [message.session for message in waiting(outbox)] == [1, 2, 3]
        one.hear(report(KEPT, running=5, device=BEAT.device, session=7), 200.0)
        assert [birth.image for birth in links.births if birth.session == 3] == [5]
        again = Links()
        a_bridge(tmp_path, outbox, again, delivery=slots).hear(b"", 0.0)  # before the board says a word
        assert again.births == links.births[-1:] and again.births[0].image == 5
        assert again.births[0].release is None  # nobody here brought it


@pytest.mark.parametrize("is_on_trial", [True, False])
def test_a_board_that_says_nothing_of_images_is_told_of_all_the_same(tmp_path, outbox, is_on_trial):
    with closing(BoardSlots(trusting(tmp_path), "mps2-an386", clock=lambda: 0.0)) as slots:
        if is_on_trial:
            slots.begin(manifest(IMAGE, 4, device="mps2-an386"))
            slots.add(manifest(IMAGE, 4, device="mps2-an386"), IMAGE, at=0)
            slots.finish(manifest(IMAGE, 4, device="mps2-an386"), "0" * 32, lambda _: None)
        links = Links()
        one = a_bridge(tmp_path, outbox, links, delivery=slots)
        for start in (1, 2):  # each is asked anew
            hear(one, after(BEAT, session=start))
            for i in range(board_image.SILENT):
                assert len(links.births) == 1  # with a link its messages go out without
                assert of_image(one, 50.0 * start + WAIT_S * i)
                one.hear(b"", 0.0)
            assert len(links.births) == start and links.births[-1].image is None


def test_what_the_board_said_and_cannot_be_written_ends_no_bridge(tmp_path, outbox, monkeypatch):
    with closing(BoardSlots(trusting(tmp_path), "mps2-an386")) as slots:
        links = Links()
        one = a_bridge(tmp_path, outbox, links, delivery=slots)
        with monkeypatch.context() as patch:
            patch.setattr(bridge, "atomic", full)
            one.hear(report(KEPT, running=5, device=BEAT.device, session=BEAT.session), 0.0)
            hear(one, BEAT, ALERT)
        hear(one, after(BEAT, sequence=2))
        assert [(m.session, m.sequence) for m in waiting(outbox)] == [(1, 0), (1, 1), (1, 2)]
        assert [birth.image for birth in links.births] == [5]
        assert bridge.Board.load(tmp_path).sequence == 2


def test_a_damaged_memory_of_the_board_is_named(tmp_path, outbox):
    hear(a_bridge(tmp_path, outbox), BEAT)
    (tmp_path / bridge.FILE).write_text("{")
    with pytest.raises(ValueError, match=r"board\.json: must be what the bridge wrote; delete it"):
        a_bridge(tmp_path, outbox)


def a_count(number: int, samples: int, *, block: int = 112, **board) -> bytes:
    """A board's answer, as firmware/src/update.h has it."""
    board = {"device": BEAT.device, "session": BEAT.session} | board
    whole = struct.pack("<2sBBHIIIIQH", b"GS", 2, 7, 36, board["device"], board["session"], 0, number, samples, block)
    return whole + struct.pack("<I", zlib.crc32(whole))


def at(monkeypatch, now_s: float, now_us: int = 1_700_000_010_000_000) -> None:
    """Set both clocks of this machine."""
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    monkeypatch.setattr(time, "time_ns", lambda: 1000 * now_us)


def test_a_message_has_the_time_where_this_machine_is_sure_of_it(tmp_path, outbox, monkeypatch):
    one = a_bridge(tmp_path, outbox, error_us=lambda: 1500)
    at(monkeypatch, 110.0)
    hear(one, after(ALERT, sequence=0))  # it is not known when samples were heard
    hear(one, after(BEAT, sequence=1, heard=3 * SR - 100, dropped=100), now_s=103.0)
    hear(one, after(ALERT, sequence=2, decided=5 * SR), now_s=110.0)  # it was heard at 105
    own = Clock(5, 6)
    hear(one, after(ALERT, sequence=3, clock=own), now_s=111.0)
    drift_us = round(7 * board_clock.DRIFT * 1e6)
    wanted = Clock(1_700_000_005_000_000, 1500 + board_clock.DELAY_US + drift_us + 2)
    assert [message.clock for message in waiting(outbox) if isinstance(message, Incident)] == [None, wanted, own]


def test_a_board_that_answers_is_timed_by_its_round_trip(tmp_path, outbox, monkeypatch):
    one = a_bridge(tmp_path, outbox, error_us=lambda: 1500)
    at(monkeypatch, 110.0)
    hear(one, BEAT, now_s=100.0)
    sent = one.outgoing(103.0)
    (number,) = struct.unpack("<I", sent[18:-4])
    assert sent == board_clock.ask(number) and one.outgoing(104.0) == b""
    for other in ({"device": 1}, {"session": 1}, {"number": number + 1}):  # nothing is learned of them
        one.hear(a_count(**{"number": number, "samples": 9} | other), 103.01)
    one.hear(a_count(number, 3 * SR), 103.021)  # so sample 3 SR was heard from 102.993 to 103.021
    one.hear(a_count(number, 9 * SR), 103.03)  # an answer counts once
    hear(one, after(ALERT, decided=5 * SR), now_s=110.0)
    (clock,) = [message.clock for message in waiting(outbox) if isinstance(message, Incident)]
    assert clock.unix_us == 1_700_000_010_000_000 - 4_993_000
    assert clock.error_us == pytest.approx(1500 + 14_000 + 201, abs=8)
    assert [(m.session, m.sequence) for m in waiting(outbox)] == [(1, 0), (1, 1)]  # the hub gets no answer
