"""When a board heard its samples: within the error that is stated, whatever the line and the crystals do."""

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot.device import board_clock
from gunshot.device.board_clock import ASK_S, DELAY_US, DRIFT, SILENT, Given, Samples

SR, BLOCK = 16_000, 256
DRIFTS = st.floats(-DRIFT, DRIFT)


def answer(sent: bytes, samples: int, block: int = BLOCK) -> Given:
    """What a board says to a question."""
    return Given(7, 9, struct.unpack_from("<I", sent, 18)[0], samples, block)


def test_bytes_are_as_the_firmware_has_them():
    sent = board_clock.ask(0x01020304)
    assert sent[:-4] == struct.pack("<2sBBHIIII", b"GS", 2, 6, 26, 0, 0, 0, 0x01020304)
    assert sent[-4:] == struct.pack("<I", zlib.crc32(sent[:-4]))
    body = struct.pack("<2sBBHIIIIQH", b"GS", 2, 7, 36, 7, 9, 0, 5, 2**40, 112)
    data = body + struct.pack("<I", zlib.crc32(body))
    assert board_clock.decode(data) == Given(7, 9, 5, 2**40, 112)
    for damaged in (data[:-1], data[:20] + b"x" + data[21:], data[:3] + b"\5" + data[4:]):
        with pytest.raises(ValueError):
            board_clock.decode(damaged)


@settings(max_examples=100)
@given(data=st.data(), drift=DRIFTS, begun_s=st.floats(0, 1e6))
def test_a_board_that_answers_nothing_is_timed_by_its_heartbeats(data, drift, begun_s):
    """The board's crystal is off, and heartbeats come late by anything up to the delay, less what 2 s may drift."""
    samples, t = Samples(SR), 0.0

    def heard(at_s: float) -> int:
        return int(at_s * SR * (1 + drift))

    assert samples.time(0, begun_s) is None
    for pause_s in data.draw(st.lists(st.floats(0.1, 4000), min_size=1, max_size=12)):
        t += pause_s
        late_s = data.draw(st.floats(0, DELAY_US / 1e6 - 1e-3))
        samples.beat(heard(t), begun_s + t + late_s)
        sound_s = t + data.draw(st.floats(-min(2.0, t), 1000))
        time_s, error_s = samples.time(heard(sound_s), begun_s + max(sound_s, t) + 2)
        assert abs(time_s - begun_s - sound_s) <= error_s
        assert error_s <= DELAY_US / 1e6 + DRIFT * 1002


@settings(max_examples=100)
@given(data=st.data(), drift=DRIFTS, begun_s=st.floats(0, 1e6), block=st.integers(1, 2000))
def test_a_sample_s_time_is_within_the_error_that_round_trips_give(data, drift, begun_s, block):
    """The truth is a microphone whose crystal is off, and gives blocks; questions and answers are late by anything."""
    samples, t, rate, widest_s = Samples(SR), 0.0, SR * (1 + drift), float("inf")
    ways = st.floats(0, 0.5) | st.floats(0, 0.005)
    for pause_s in data.draw(st.lists(st.floats(ASK_S, 4000), min_size=1, max_size=9)):
        t += pause_s
        there_s = t + data.draw(ways)
        back_s = there_s + data.draw(ways)
        given_then = int(there_s * rate) // block * block
        samples.hear(answer(samples.outgoing(begun_s + t), given_then, block), begun_s + back_s)
        widest_s = (back_s - t + 1.001 * block / SR) / 2  # of this trip alone
        sample = max(0, int((back_s + data.draw(st.floats(-100, 4000))) * rate))
        true_s = sample / rate
        time_s, error_s = samples.time(sample, begun_s + back_s)
        assert abs(time_s - begun_s - true_s) <= error_s + 1e-9 * (1 + begun_s)
        assert error_s <= widest_s + DRIFT * (abs(true_s - t) + 3) + 1e-9 * (1 + begun_s)
        t = back_s


def test_many_answers_tell_more_than_the_shortest_trip():
    """Each trip takes 20 ms, and sometimes the way there is the short one, sometimes the way back."""
    samples = Samples(SR)
    for i, there_s in enumerate((0.001, 0.019, 0.001)):
        now_s = 10.0 * (i + 1)
        samples.hear(answer(samples.outgoing(now_s), int((now_s + there_s) * SR), 16), now_s + 0.02)
    _, error_s = samples.time(30 * SR, 30.1)
    assert 0.0015 <= error_s < 0.003  # of one trip alone 0.0105


def test_what_contradicts_is_timed_anew(caplog):
    """A board that lost samples and did not count them, or a machine that slept."""
    samples = Samples(SR)
    for now_s, count in ((10.0, 10 * SR), (20.0, 15 * SR)):
        samples.hear(answer(samples.outgoing(now_s), count), now_s + 0.01)
    assert samples.time(15 * SR, 20.0)[0] == pytest.approx(20.0, abs=0.02) and "timed anew" in caplog.text


def test_a_board_that_answers_nothing_is_left_alone_until_its_next_heartbeat():
    samples, now_s = Samples(SR), 0.0
    for _ in range(2):
        samples.beat(0, now_s)
        asked = 0
        for _ in range(3 * SILENT):
            now_s += ASK_S
            asked += bool(samples.outgoing(now_s))
        assert asked == SILENT
