"""A serial line: every message whose bytes came whole is taken once, at its last byte, and nothing else is."""

import dataclasses
import os
import tty
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot.device import messages
from gunshot.device.line import Line, Reader
from gunshot.device.messages import Detector, Heartbeat, Incident, State

BEAT = Heartbeat(7, 1, 0, *[0] * 10, detector=Detector(2**64 - 1, 5))
ALERT = Incident(7, 1, 0, incident=1, state=State.OPENED, shots=3, onset=0, decided=9, score=0, spl_db=-1, model=0x5347,
                 log_mel=np.frombuffer(b"GS\2\1" * 3, np.int8).reshape(3, 4), onsets=(0, 2**64 - 1))  # fmt: skip
JUNK = st.binary(max_size=30) | st.sampled_from(
    [b"G", b"GS", b"GS\2\1\xff\xff" + bytes(12), b"GS\2\2\0\0" + bytes(12), messages.encode(ALERT)[:-1]]
)


@st.composite
def lines(draw) -> list[tuple[bytes, bool]]:
    """What a line gives, in runs of bytes; a run that is a whole message is marked."""
    out = []
    for i in range(draw(st.integers(0, 6))):
        out.append((draw(JUNK), False))
        data = messages.encode(dataclasses.replace(draw(st.sampled_from([BEAT, ALERT])), sequence=i))
        at, n = draw(st.integers(0, len(data) - 1)), draw(st.integers(1, 40))
        flipped = data[:at] + bytes([data[at] ^ draw(st.integers(1, 255))]) + data[at + 1 :]
        torn = data[: at + 1] + draw(st.binary(min_size=1, max_size=9)) + data[at + 1 :]
        damaged = draw(st.sampled_from([data, data, flipped, data[:at] + data[at + n :], torn]))
        out.append((damaged, damaged[: len(data)] == data))
    return [*out, (draw(JUNK), False)]


@pytest.mark.slow
@settings(max_examples=300)
@given(runs=lines(), sizes=st.lists(st.integers(1, 200), min_size=1, max_size=9))
def test_what_came_whole_is_taken_once_and_at_once(runs, sizes):
    stream, whole = b"", []  # where each whole message ends, and its bytes
    for data, is_whole in runs:
        size = int.from_bytes(data[4:6], "little") if is_whole else 0
        whole += [(len(stream) + size, data[:size])] if is_whole else []
        stream += data
    reader, at, taken = Reader(), 0, []
    while at < len(stream):
        size = sizes[at % len(sizes)]
        taken += [messages.encode(message) for message in reader.push(stream[at : at + size])]
        at += size
        assert taken == [data for end, data in whole if end <= at]
    assert reader.passed <= len(stream) - sum(map(len, taken))
    reader.push(bytes(messages.MOST_BYTES))  # none of what waits is one
    assert reader.passed == len(stream) - sum(map(len, taken)) + messages.MOST_BYTES


def test_what_is_sent_is_lost_where_there_is_no_line():
    board, end = os.openpty()
    tty.setraw(end)
    with closing(Line(os.ttyname(end), 9600)) as line:
        line.write(b"lost")
        assert line.read() == b""
        line.write(b"\x00\xffcome")
        assert os.read(board, 99) == b"\x00\xffcome"
        os.close(end)
        os.close(board)
        line.write(b"lost")
        assert line.read() is None


@pytest.mark.slow
def test_a_line_that_goes_away_is_opened_when_it_is_back(tmp_path):
    name, line, given = tmp_path / "board", Line(str(tmp_path / "board"), 1_000_000), []
    for said in (b"GS\r\n\x03\x04\x11", b"again"):
        assert line.read() is None
        ours, board = os.openpty()
        tty.setraw(ours)
        name.symlink_to(os.ttyname(board))
        os.close(board)
        assert line.read() == b""  # it is open from now on
        os.write(ours, said)
        while len(b"".join(given)) < len(said):
            given.append(line.read())
        assert b"".join(given) == said
        given.clear()
        os.close(ours)
        name.unlink()
    assert line.read() is None
