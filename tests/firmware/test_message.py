"""Messages: C and Python write and read the same bytes; whatever else arrives both refuse, and neither crashes."""

import re
import struct
import zlib
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gunshot.base import audio
from gunshot.detect import measures
from gunshot.device import messages as wire
from gunshot.device.messages import (
    Battery,
    Changed,
    Clock,
    Detector,
    Heartbeat,
    Incident,
    Near,
    Opinion,
    Profile,
    Rung,
    State,
)
from tests.firmware import driven

OK, CRC, TRUNCATED, VERSION, SHAPE, VALUE = 0, 1, 2, 3, 4, 11
U64, U32, U16, I16 = (st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1),
                      st.integers(-(2**15), 2**15 - 1))  # fmt: skip
RUNGS = st.builds(lambda few, more, score: Rung(few, few + more, score), st.integers(0, 99), st.integers(0, 99), U16)
MANY = settings(max_examples=1000)  # the driver answers within a millisecond, under sanitizers
FEWER = settings(max_examples=300)  # where an example takes long to draw
SHORT = 60_000  # bytes of a message to which fields can be added
OPTIONAL = ("log_mel", "onsets", "clock", "opinion", "profile", "detector", "near", "rung", "battery", "changed")
NUMBERS = {"onset": U64, "decided": U64, "model": U64, "uptime_ms": U64, "heard": U64, "dropped": U64, "score": U16,
           "spl_db": I16, "noise": I16, "incident": st.integers(1, 2**32 - 1), "shots": st.integers(8, 2**16 - 1),
           "state": st.sampled_from(State)}  # fmt: skip
HEARTBEATS = 2  # their kind
HEAD, INCIDENT, HEARTBEAT = 18, 35, 50  # bytes of the head, and of the fixed fields


@st.composite
def log_mels(draw):
    shape = draw(st.sampled_from([(71, 32), (33, 32), (0, 0), (0, 7), (1, 1), (3, 5), (65370, 1), (1, 65370)]))
    return np.random.default_rng(draw(U32)).integers(-128, 128, shape).astype(np.int8)


@st.composite
def messages(draw, kinds=(Incident, Heartbeat)):
    kind = draw(st.sampled_from(kinds))
    values = {f.name: draw(NUMBERS.get(f.name, U32)) for f in fields(kind) if f.name not in OPTIONAL}
    if kind is Incident:
        values["log_mel"] = draw(st.none() | log_mels())
        values["onsets"] = tuple(draw(st.lists(U64, max_size=8)))
        values["clock"] = draw(st.none() | st.builds(Clock, U64, U32))
    else:
        values["detector"] = draw(st.none() | st.builds(Detector, U64, U16))
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


@pytest.mark.slow
@MANY
@given(message=messages())
def test_both_write_and_read_the_same_bytes(driver, message):
    data = wire.encode(message)
    assert in_c(driver, data) == (OK, data)
    assert same(wire.decode(data), message)


def an_incident(**values) -> Incident:
    return Incident(**{"device": 1, "session": 2, "sequence": 3, "incident": 4, "state": State.OPENED, "shots": 6,
                       "onset": 7, "decided": 8, "score": 9, "spl_db": -10, "model": 11} | values)  # fmt: skip


def test_bytes_by_hand():
    """Python's side against the table of message.h, so that both cannot be wrong alike."""
    incident = an_incident(device=0x01020304, model=0x4A16A5ECA7A2A64B, log_mel=np.array([[1, -2, 3]], np.int8),
                           onsets=(12, 13), clock=Clock(0x0102030405060708, 14))  # fmt: skip
    head = "04030201 02000000 03000000"
    fixed = "04000000 01 0600 0700000000000000 0800000000000000 0900 f6ff 4ba6a2a7eca5164a"
    optional = "01 0700 0100 0300 01fe03  02 1000 0c00000000000000 0d00000000000000  03 0c00 0807060504030201 0e000000"
    whole = bytes.fromhex("4753 02 01 6500" + head + fixed + optional)
    assert wire.encode(incident) == whole + zlib.crc32(whole).to_bytes(4, "little")
    judged = replace(incident, opinion=Opinion(0x0A0B0C0D0E0F1011, 0x1213, 1), profile=Profile(0x14), log_mel=None)
    optional = optional.split("  ", 1)[1] + "  08 0b00 11100f0e0d0c0b0a 1312 01  09 0800 1400000000000000"
    whole = bytes.fromhex("4753 02 01 7400" + head + fixed + optional)
    assert wire.encode(judged) == whole + zlib.crc32(whole).to_bytes(4, "little")
    beat = Heartbeat(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, -2)
    numbers = b"".join(
        n.to_bytes(size, "little") for n, size in zip(range(1, 13), [4, 4, 4, 8, 8, 8, *[4] * 6], strict=True)
    )
    whole = bytes.fromhex("4753 02 02 4800") + numbers + b"\xfe\xff"
    assert wire.encode(beat) == whole + zlib.crc32(whole).to_bytes(4, "little")
    whole = bytes.fromhex("4753 02 02 5500") + numbers + bytes.fromhex("feff  04 0a00 4ba6a2a7eca5164a 0d00")
    extended = replace(beat, detector=Detector(0x4A16A5ECA7A2A64B, 13))
    assert wire.encode(extended) == whole + zlib.crc32(whole).to_bytes(4, "little")


def check(driver, data: bytes) -> int:
    """That C and Python agree whether bytes are a message, and on all that is known of it; returns C's status.

    But for what `without` leaves out, of which C knows nothing.
    """
    status, again = in_c(driver, data)
    assert status in (OK, CRC, TRUNCATED, VERSION, SHAPE, VALUE)
    if status == OK:
        try:
            message = wire.decode(data)
        except ValueError as e:
            unknown = r"(near|log_mel|rung|battery)=" if data[3] == HEARTBEATS else r"(opinion|profile)[:=]"
            assert re.match(unknown, str(e))
            return status
        assert again == wire.encode(without(message))
    else:
        with pytest.raises(ValueError, match=r"must"):
            wire.decode(data)
    return status


def without(message: wire.Message) -> wire.Message:
    """A message without what C passes over."""
    if isinstance(message, Incident):
        return replace(message, opinion=None, profile=None)
    return replace(message, near=None, log_mel=None, rung=None, battery=None)


def sealed(data: bytes) -> bytes:
    """Bytes whose stated length and CRC are right, so that what stands between them is looked at."""
    data = data[:4] + struct.pack("<H", len(data) + 4) + data[6:]
    return data + struct.pack("<I", zlib.crc32(data))


def with_fields(message, *contents: tuple[int, bytes]) -> bytes:
    """The message's bytes with optional fields more, of types and bytes."""
    more = b"".join(struct.pack("<BH", type_, len(content)) + content for type_, content in contents)
    return sealed(wire.encode(message)[:-4] + more)


@pytest.mark.slow
@MANY
@given(data=st.binary(max_size=200))
@example(data=b"")
def test_random_bytes_are_no_message(driver, data):
    assert check(driver, data) in (TRUNCATED, VERSION)


@pytest.mark.slow
@MANY
@given(kind=st.integers(0, 255), body=st.binary(min_size=12, max_size=120), version=st.sampled_from([2, 2, 2, 0, 1, 3]))
def test_random_fields_with_a_right_crc(driver, kind, body, version):
    status = check(driver, sealed(b"GS" + bytes([version, kind, 0, 0]) + body))
    assert status == VERSION if version != 2 or kind not in (1, 2) else status in (OK, SHAPE, VALUE)


@pytest.mark.slow
@FEWER
@given(
    message=messages([Incident]).filter(lambda m: len(wire.encode(m)) < SHORT),
    state=st.integers(0, 5), shots=st.integers(0, 9), number=st.integers(0, 2),
)  # fmt: skip
def test_numbers_that_no_message_has(driver, message, state, shots, number):
    body = bytearray(wire.encode(message)[:-4])
    body[HEAD : HEAD + 7] = struct.pack("<IBH", number, state, shots)
    right = number > 0 and 1 <= state <= 4 and shots > 0 and shots >= len(message.onsets)
    assert check(driver, sealed(bytes(body))) == (OK if right else VALUE)


@MANY
@given(kind=st.sampled_from([1, 2]), size=st.integers(0, 80))
def test_fixed_fields_are_whole(driver, kind, size):
    """Of one byte less than the fixed fields there is no message; zeros after them are an empty field of type 0."""
    fixed = (INCIDENT, HEARTBEAT)[kind - 1]
    body = bytes([1, 0, 0, 0, 1, 1]) if kind == 1 else b""
    data = (body + bytes(80))[:size]
    status = check(driver, sealed(b"GS\x02" + bytes([kind]) + bytes(HEAD - 4) + data))
    assert status == (OK if size in (fixed, fixed + 3) else SHAPE)  # two of type 0 are one too many


@pytest.mark.slow
@FEWER
@given(message=messages().filter(lambda m: len(wire.encode(m)) < SHORT), data=st.data())
def test_optional_fields_of_unknown_types_and_in_any_order(driver, message, data):
    """They are passed over wherever they stand, and those that are known are read."""
    known = wire._contents(wire.encode(message)[HEAD + wire.BODY[type(message)].size : -4])
    unknown = data.draw(st.dictionaries(st.integers(12, 255) | st.just(0), st.binary(max_size=9)))
    order = data.draw(st.permutations([*known.items(), *unknown.items()]))
    absent = {"log_mel": None, "onsets": (), "clock": None} if isinstance(message, Incident) else {"detector": None}
    plain = replace(message, **absent)
    mixed = with_fields(plain, *order)
    assert check(driver, mixed) == OK and same(wire.decode(mixed), message)


@pytest.mark.slow
@MANY
@given(shape=st.tuples(U16, U16), size=st.integers(0, 40), type_=st.sampled_from([1, 2, 3, 4]))
@example(shape=(4, 4), size=20, type_=1)
@example(shape=(65535, 65535), size=20, type_=1)
@example(shape=(0, 0), size=4, type_=1)
@example(shape=(0, 0), size=16, type_=2)
@example(shape=(0, 0), size=12, type_=3)
@example(shape=(0, 0), size=10, type_=4)
def test_optional_fields_are_as_long_as_they_must_be(driver, shape, size, type_):
    """A log-mel is as long as its shape asks; nothing is read beyond it."""
    content = (struct.pack("<HH", *shape) + bytes(36))[:size]
    fits = {1: size >= 4 and size - 4 == shape[0] * shape[1], 2: size % 8 == 0, 3: size == 12, 4: size == 10}[type_]
    message = Heartbeat(*range(13)) if type_ == 4 else an_incident()
    assert check(driver, with_fields(message, (type_, content))) == (OK if fits else SHAPE)


@settings(max_examples=50)
@given(near=st.none() | st.builds(Near, U32, U16), log_mel=st.none() | log_mels(), rung=st.none() | RUNGS,
       battery=st.none() | st.builds(Battery, st.integers(0, 100)),
       changed=st.none() | st.builds(Changed, st.integers(1, 2), U32))  # fmt: skip
def test_what_no_board_says_of_itself_comes_back_and_c_passes_over_it(driver, near, log_mel, rung, battery, changed):
    beat = Heartbeat(*range(13), detector=Detector(3, 4))
    whole = replace(beat, near=near, log_mel=log_mel, rung=rung, battery=battery, changed=changed)
    data = wire.encode(whole)
    assert in_c(driver, data) == (OK, wire.encode(beat)) and same(wire.decode(data), whole)


@given(size=st.integers(0, 12), type_=st.sampled_from([5, 6, 7]))
def test_near_misses_and_a_rung_are_as_long_as_they_must_be(size, type_):
    content = struct.pack("<HH", 2, 3)[:size] + bytes(max(0, size - 4))
    content = bytes(size) if type_ == 7 else content
    data = with_fields(Heartbeat(*range(13)), (type_, content))
    if size == {5: 6, 6: 10, 7: 4}[type_]:
        assert wire.decode(data).device == 0
    else:
        with pytest.raises(ValueError, match=r"(near|log_mel|rung)=\d+ must be"):
            wire.decode(data)


@settings(max_examples=50)
@given(opinion=st.none() | st.builds(Opinion, U64, U16, st.integers(0, 1)), profile=st.none() | st.builds(Profile, U64))
def test_an_opinion_and_a_profile_come_back_and_c_passes_over_them(driver, opinion, profile):
    whole = an_incident(onsets=(7,), opinion=opinion, profile=profile)
    data = wire.encode(whole)
    assert in_c(driver, data) == (OK, wire.encode(without(whole))) and same(wire.decode(data), whole)


@given(size=st.integers(0, 13), type_=st.sampled_from([8, 9]))
def test_an_opinion_and_a_profile_are_as_long_as_they_must_be(driver, size, type_):
    data = with_fields(an_incident(), (type_, bytes(size)))
    assert check(driver, data) == OK
    if size == {8: 11, 9: 8}[type_]:
        assert wire.decode(data).device == 1
    else:
        with pytest.raises(ValueError, match=r"(opinion|profile)=\d+ must be"):
            wire.decode(data)


def test_an_opinion_upholds_or_doubts():
    with pytest.raises(ValueError, match="opinion: upheld=2 must be 0 or 1"):
        wire.decode(with_fields(an_incident(), (8, bytes(10) + b"\2")))


def test_a_rung_is_at_most_the_top():
    beat = Heartbeat(*range(13))
    assert wire.decode(with_fields(beat, (7, bytes([3, 3, 1, 2])))).rung == Rung(3, 3, 513)
    with pytest.raises(ValueError, match="rung=4 must be at most top=3"):
        wire.decode(with_fields(beat, (7, bytes([4, 3, 1, 2]))))
    with pytest.raises(ValueError, match="must fit the fields of a message"):
        wire.encode(replace(beat, rung=Rung(3, 256, 0)))


@pytest.mark.parametrize("kind", [an_incident(), Heartbeat(*range(13))])
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("09", "field of 1 bytes must have at least 3"),
        ("0900", "field of 2 bytes must have at least 3"),
        ("090200aa", "field of type=9 overruns: length=2 must be at most the 1 bytes left"),
        ("09ffff", "field of type=9 overruns: length=65535 must be at most the 0 bytes left"),
        ("090000 090100aa", "field of type=9 must come once: it comes twice"),
        ("030c00" + "00" * 12 + "ff0000" + "030c00" + "00" * 12, "field of type=3 must come once: it comes twice"),
    ],
)
def test_fields_that_overrun_or_come_twice(driver, kind, more, words):
    data = sealed(wire.encode(kind)[:-4] + bytes.fromhex(more))
    assert check(driver, data) == SHAPE
    with pytest.raises(ValueError, match=words):
        wire.decode(data)


def test_version_1_is_refused_by_name(driver):
    """As one was: an alert of one shot."""
    first = sealed(bytes.fromhex("4753 01 01 0000") + bytes(8 + 38))
    assert check(driver, first) == VERSION
    with pytest.raises(ValueError, match="version=1 must be 2"):
        wire.decode(first)


@pytest.mark.slow
@MANY
@given(message=messages(), cut=st.integers(0, 2**32), more=st.binary(min_size=1, max_size=9))
def test_a_message_that_is_cut_short_or_too_long(driver, message, cut, more):
    data = wire.encode(message)
    assert check(driver, data[: cut % len(data)]) == TRUNCATED
    assert check(driver, data + more) == SHAPE


@pytest.mark.slow
@MANY
@given(message=messages(), at=st.integers(0, 2**32), bit=st.integers(0, 7))
def test_no_flipped_bit_passes(driver, message, at, bit):
    data = bytearray(wire.encode(message))
    data[at % len(data)] ^= 1 << bit
    assert check(driver, bytes(data)) != OK


def test_what_a_file_holds_is_told_with_the_place_of_what_is_damaged():
    beats = [Heartbeat(1, 2, i, *range(9), -3) for i in range(3)]
    incident = an_incident(log_mel=np.zeros((2, 2), np.int8))
    data = b"".join(map(wire.encode, [*beats, incident]))
    assert all(map(same, wire.decode_all(data), [*beats, incident])) and wire.decode_all(b"") == []
    for broken, words in [
        (data[:-1], "message 3 at byte 216: length=67 must be 68 bytes"),
        (data[:222], "message 3 at byte 216: length=1 must be at least 22 bytes"),
        (data[:74] + b"\x07" + data[75:], "message 1 at byte 72: version=7 must be 2"),
        (data[:76] + b"\0\0" + data[78:], "message 1 at byte 72: length=1 must be at least 22 bytes"),
    ]:
        with pytest.raises(ValueError, match=words):
            wire.decode_all(broken)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"score": 65536}, "score=65536"),
        ({"device": -1}, "device=-1"),
        ({"spl_db": 40_000}, "spl_db=40000"),
        ({"state": 5}, r"state=5 must be one of 1 \(opened\), 2 \(updated\), 3 \(withdrawn\), 4 \(closed\)"),
        ({"shots": 0}, "shots=0 must be at least 1"),
        ({"incident": 0}, "incident=0 must be at least 1"),
        ({"onsets": tuple(range(7))}, "onsets=7 must be at most shots=6"),
        ({"onsets": (2**64,)}, "onsets="),
        ({"clock": Clock(0, 2**32)}, "error_us=4294967296"),
        ({"log_mel": np.zeros(3, np.int8)}, r"log_mel=int8\[3\] must be int8 \[frames, n_mels\]"),
        ({"log_mel": np.zeros((3, 3))}, r"log_mel=float64\[3, 3\] must be int8"),
        ({"log_mel": np.zeros((300, 300), np.int8)}, "length=90004 of log_mel must be at most 65535 bytes"),
        ({"log_mel": np.zeros((1, 65500), np.int8)}, "length=65564 of message must be at most 65535 bytes"),
    ],
)
def test_what_fits_no_message_is_named(values, words):
    with pytest.raises(ValueError, match=words):
        wire.encode(an_incident(**values))


def measured(driver, letter: str, rows: np.ndarray) -> np.ndarray:
    return np.frombuffer(driver.ask(letter, np.asarray(rows, "<i8").tobytes()), "<i4")


def test_scores_are_python_s(driver):
    """All sums of logits that two int8 windows can have, and the most there can be: equal, and near the exact ones."""
    sums = np.r_[-510:511, -65534, 65534]
    scores = measured(driver, "s", np.stack([sums, sums], axis=1))
    by = measures.score_factors(driven.REPORT["calibration"], driven.MODEL.step, windows=2)
    assert scores.tolist() == [measures.score(int(each), *by) for each in sums]
    assert np.abs(scores - 65535 * driven.MODEL.score_of(sums, windows=2)).max() <= 0.6
    assert (np.diff(scores[:-2]) >= 0).all() and scores[-2] == 0 and scores[-1] == 65535 and len(set(scores)) > 300


@pytest.mark.slow
def test_spl_is_python_s(driver):
    """Of every peak that a sample can have."""
    peaks, pa = np.arange(32769), driven.p.firmware.full_scale_pa
    levels = measured(driver, "l", np.stack([peaks**2, np.ones_like(peaks)], axis=1))
    offset = measures.spl_offset(pa)
    assert levels.tolist() == [measures.spl_tenths(int(each) ** 2, 1, offset) for each in peaks]
    assert np.abs(levels - 10 * audio.spl_db(peaks, full_scale_pa=pa)).max() <= 0.51
    assert levels[-1] == 1200 and levels[0] == levels[1] == 297


@pytest.mark.slow
@MANY
@given(count=st.integers(0, 2**40), mean=st.floats(0, 2**30))
def test_the_level_of_many_squares_is_python_s(driver, count, mean):
    squares = int(min(mean * count, 2**62))
    (level,) = measured(driver, "l", np.array([[squares, count]]))
    offset = measures.spl_offset(driven.p.firmware.full_scale_pa)
    assert level == measures.spl_tenths(squares, count, offset)
    exact = 100 * np.log10(max(1.0, squares / count if count else 0.0)) + offset / 2**16
    assert abs(level - exact) <= 0.51
