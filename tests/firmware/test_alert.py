"""Messages: C and Python write and read the same bytes; whatever else arrives both refuse, and neither crashes."""

import struct
import zlib
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gunshot.base import audio
from gunshot.device import messages as alerts
from gunshot.device.messages import Alert, Heartbeat
from tests.firmware import driven

OK, CRC, TRUNCATED, VERSION, SHAPE = 0, 1, 2, 3, 4
U64, U32, U16, I16 = (st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1),
                      st.integers(-(2**15), 2**15 - 1))  # fmt: skip
MANY = settings(max_examples=1000)  # the driver answers within a millisecond, under sanitizers
FORMATS = {"onset": U64, "decided": U64, "model": U64, "uptime_ms": U64, "heard": U64, "dropped": U64, "shot": U16,
           "score": U16, "spl_db": I16, "noise": I16}  # fmt: skip


@st.composite
def messages(draw):
    kind = draw(st.sampled_from([Alert, Heartbeat]))
    values = {f.name: draw(FORMATS.get(f.name, U32)) for f in fields(kind) if f.name != "log_mel"}
    if kind is Alert:
        shape = draw(st.sampled_from([(33, 32), (0, 0), (0, 7), (1, 1), (3, 5), (65479, 1), (1, 65479)]))
        values["log_mel"] = np.random.default_rng(draw(U32)).integers(-128, 128, shape).astype(np.int8)
    return kind(**values)


def same(a, b) -> bool:
    return type(a) is type(b) and all(
        np.array_equal(x, y) and np.shape(x) == np.shape(y)
        for x, y in zip(vars(a).values(), vars(b).values(), strict=True)
    )


def in_c(driver, data: bytes) -> tuple[int, bytes]:
    """The status with which C reads bytes, and what it writes of what it read."""
    answer = driver.ask("m", data)
    return struct.unpack("<i", answer[:4])[0], answer[4:]


@MANY
@given(message=messages())
def test_both_write_and_read_the_same_bytes(driver, message):
    data = alerts.encode(message)
    assert in_c(driver, data) == (OK, data)
    assert same(alerts.decode(data), message)


def test_bytes_by_hand():
    """Python's side against the table of alert.h, so that both cannot be wrong alike."""
    alert = Alert(device=0x01020304, sequence=5, onset=6, decided=7, incident=8, shot=9, score=10, spl_db=-11,
                  model=0x4A16A5ECA7A2A64B, log_mel=np.array([[1, -2, 3]], np.int8))  # fmt: skip
    body = (
        "04030201 05000000 0600000000000000 0700000000000000 08000000 0900 0a00 f5ff 4ba6a2a7eca5164a 0100 0300 01fe03"
    )
    whole = bytes.fromhex("4753 01 01 3b00" + body)
    assert alerts.encode(alert) == whole + zlib.crc32(whole).to_bytes(4, "little")
    beat = Heartbeat(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, -2)
    numbers = b"".join(
        n.to_bytes(size, "little") for n, size in zip(range(1, 12), [4, 4, 8, 8, 8, *[4] * 6], strict=True)
    )
    whole = bytes.fromhex("4753 01 02 4400") + numbers + b"\xfe\xff"
    assert alerts.encode(beat) == whole + zlib.crc32(whole).to_bytes(4, "little")


def check(driver, data: bytes) -> int:
    """That C and Python agree whether bytes are a message, and which; returns C's status."""
    status, again = in_c(driver, data)
    assert status in (OK, CRC, TRUNCATED, VERSION, SHAPE)
    if status == OK:
        assert again == data and alerts.encode(alerts.decode(data)) == data
    else:
        with pytest.raises(ValueError, match=r"must be"):
            alerts.decode(data)
    return status


def sealed(data: bytes) -> bytes:
    """Bytes whose stated length and CRC are right, so that what stands between them is looked at."""
    data = data[:4] + struct.pack("<H", len(data) + 4) + data[6:]
    return data + struct.pack("<I", zlib.crc32(data))


@MANY
@given(data=st.binary(max_size=200))
@example(data=b"")
def test_random_bytes_are_no_message(driver, data):
    assert check(driver, data) in (TRUNCATED, VERSION)


@MANY
@given(kind=st.integers(0, 255), body=st.binary(min_size=8, max_size=120), version=st.sampled_from([1, 1, 1, 0, 2]))
def test_random_fields_with_a_right_crc(driver, kind, body, version):
    status = check(driver, sealed(b"GS" + bytes([version, kind, 0, 0]) + body))
    assert status == VERSION if version != 1 or kind not in (1, 2) else status in (OK, SHAPE)


@MANY
@given(kind=st.sampled_from([1, 2]), size=st.integers(8, 120), shape=st.tuples(U16, U16))
@example(kind=1, size=46, shape=(0, 0))
@example(kind=1, size=62, shape=(4, 4))
@example(kind=1, size=62, shape=(65535, 65535))
@example(kind=2, size=58, shape=(1, 1))
def test_lengths_with_a_right_crc(driver, kind, size, shape):
    """An alert is as long as its log-mel's shape asks; nothing is read beyond it."""
    body = bytearray(size)
    if kind == 1 and size >= 46:
        body[42:46] = struct.pack("<HH", *shape)
    fits = size == 58 if kind == 2 else size >= 46 and size == 46 + shape[0] * shape[1]
    assert check(driver, sealed(b"GS\x01" + bytes([kind, 0, 0]) + bytes(body))) == (OK if fits else SHAPE)


@MANY
@given(message=messages(), cut=st.integers(0, 2**32), more=st.binary(min_size=1, max_size=9))
def test_a_message_that_is_cut_short_or_too_long(driver, message, cut, more):
    data = alerts.encode(message)
    assert check(driver, data[: cut % len(data)]) == TRUNCATED
    assert check(driver, data + more) == SHAPE


@MANY
@given(message=messages(), at=st.integers(0, 2**32), bit=st.integers(0, 7))
def test_no_flipped_bit_passes(driver, message, at, bit):
    data = bytearray(alerts.encode(message))
    data[at % len(data)] ^= 1 << bit
    assert check(driver, bytes(data)) != OK


def test_what_a_file_holds_is_told_with_the_place_of_what_is_damaged():
    beats = [Heartbeat(1, i, *range(9), -3) for i in range(3)]
    alert = Alert(1, 3, 4, 5, 6, 7, 8, 9, 10, np.zeros((2, 2), np.int8))
    data = b"".join(map(alerts.encode, [*beats, alert]))
    assert all(map(same, alerts.decode_all(data), [*beats, alert])) and alerts.decode_all(b"") == []
    for broken, words in [
        (data[:-1], "message 3 at byte 204: length=59 must be 60 bytes"),
        (data[:210], "message 3 at byte 204: length=1 must be at least 18 bytes"),
        (data[:70] + b"\x07" + data[71:], "message 1 at byte 68: version=7 must be 1"),
        (data[:72] + b"\0\0" + data[74:], "message 1 at byte 68: length=1 must be at least 18 bytes"),
    ]:
        with pytest.raises(ValueError, match=words):
            alerts.decode_all(broken)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"score": 65536}, "score=65536"),
        ({"device": -1}, "device=-1"),
        ({"spl_db": 40_000}, "spl_db=40000"),
        ({"log_mel": np.zeros(3, np.int8)}, r"log_mel=int8\[3\] must be int8 \[frames, n_mels\]"),
        ({"log_mel": np.zeros((3, 3))}, r"log_mel=float64\[3, 3\] must be int8"),
        ({"log_mel": np.zeros((300, 300), np.int8)}, "length=90056 must be at most 65535 bytes"),
    ],
)
def test_what_fits_no_message_is_named(values, words):
    alert = Alert(1, 3, 4, 5, 6, 7, 8, 9, 10, np.zeros((2, 2), np.int8))
    with pytest.raises(ValueError, match=words):
        alerts.encode(replace(alert, **values))


def measured(driver, letter: str, values: np.ndarray) -> np.ndarray:
    return np.frombuffer(driver.ask(letter, values.tobytes()), "<i4")


def test_scores_are_python_s(driver):
    """All sums of logits that two int8 windows can have, and the most there can be."""
    sums = np.r_[-510:511, -65534, 65534].astype("<i4")
    expected = driven.MODEL.score_of(sums, windows=2) * 65535
    scores = measured(driver, "s", sums)
    assert np.abs(scores - expected).max() <= 1 and (np.diff(scores[:-2]) >= 0).all()
    assert scores[-2] == 0 and scores[-1] == 65535 and len(set(scores)) > 300


def test_spl_is_python_s(driver):
    """Of every peak that a sample can have."""
    peaks = np.arange(32769)
    expected = 10 * audio.spl_db(peaks, full_scale_pa=driven.p.firmware.full_scale_pa)
    levels = measured(driver, "l", (peaks.astype("<f4") ** 2))
    assert np.abs(levels - expected).max() <= 0.51 and levels[-1] == 1200 and levels[0] == levels[1] == 297
