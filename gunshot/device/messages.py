"""A device's messages as bytes: incident messages and heartbeats. firmware/src/message.h has their table.

A message is ``"GS"``, version, kind, length, device, session, sequence, the fixed fields of its kind, optional fields,
and a CRC32, little-endian. An optional field is a type, a length and bytes; types that are not known are passed over.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np

MAGIC, VERSION = b"GS", 2
HEAD = struct.Struct("<2sBBHIII")
CRC = struct.Struct("<I")
FIELD = struct.Struct("<BH")  # type and length of an optional field
MOST_BYTES = 65535  # of a message
CHANGES = "its noise is louder", "more sounds like a shot there"  # of a place


class State(IntEnum):
    """What a message says of its incident. Withdrawn: it was none after all; no device sends that yet."""

    OPENED = 1
    UPDATED = 2
    WITHDRAWN = 3
    CLOSED = 4


@dataclass(frozen=True)
class Clock:
    """The time of an incident message's sample `decided`, in microseconds."""

    unix_us: int  # since 1970
    error_us: int


@dataclass(frozen=True)
class Opinion:
    """What a verifier on the device says of an incident: the second opinion."""

    verifier: int  # the first 8 bytes of its SHA-256, as of a model
    score: int  # that it is a shot: calibrated, in 1/65535
    upheld: int  # 1: the score reaches the verifier's threshold; 0: it does not

    def __post_init__(self):
        if self.upheld not in (0, 1):
            raise ValueError(f"opinion: upheld={self.upheld} must be 0 or 1")


@dataclass(frozen=True)
class Profile:
    """By which site's profile an incident was decided."""

    number: int  # the first 8 bytes of its file's SHA-256, as of a model


@dataclass(frozen=True)
class Incident:
    """An incident message. Samples are counted from the microphone's start, lost ones too."""

    device: int
    session: int  # of this start of the device
    sequence: int  # of all messages of the session, from 0 on
    incident: int  # since start, from 1 on
    state: State
    shots: int  # so far, from 1 on; 65,535 stand for more too
    onset: int  # sample, of the first shot
    decided: int  # sample at which the window ended that decided the last of these shots
    score: int  # the highest so far: calibrated, in 1/65535
    spl_db: int  # the highest so far: peak around an onset, dB SPL in tenths
    model: int  # the first 8 bytes of its SHA-256: ``f"{model:016x}"``
    log_mel: np.ndarray | None = None  # int8 codes of the window that decided that score [shape=(frames, n_mels)]
    onsets: tuple[int, ...] = ()  # samples, of shots that are in no earlier message, as far as the device had room
    clock: Clock | None = None  # absent: the device does not know the time
    opinion: Opinion | None = None  # absent: no verifier has heard the highest shot so far
    profile: Profile | None = None  # absent: no site's profile decided

    def __post_init__(self):
        for name in ("incident", "shots"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.state not in list(State):
            known = ", ".join(f"{state:d} ({state.name.lower()})" for state in State)
            raise ValueError(f"state={self.state} must be one of {known}")
        if len(self.onsets) > self.shots:
            raise ValueError(f"onsets={len(self.onsets)} must be at most shots={self.shots}")
        object.__setattr__(self, "state", State(self.state))


@dataclass(frozen=True)
class Detector:
    """What decides on a device that no birth tells of."""

    model: int  # as of an incident message
    operating_point: int  # the score that opens an incident, in 1/65535


@dataclass(frozen=True)
class Near:
    """Near misses, as `gunshot.device.near` counts them; the heartbeat's log-mel is of that score's window."""

    count: int  # since the device's start
    score: int  # the highest since the heartbeat before, as of an incident message; 0: there was none


@dataclass(frozen=True)
class Rung:
    """Where a device is on the ladder of its thresholds, as `gunshot.device.ladder` has it."""

    number: int  # how often it went up
    top: int  # how often it may, in all
    score: int  # that opens an incident now, in 1/65535

    def __post_init__(self):
        if self.number > self.top:
            raise ValueError(f"rung={self.number} must be at most top={self.top}")


@dataclass(frozen=True)
class Battery:
    """How full a device's battery is."""

    percent: int

    def __post_init__(self):
        if self.percent > 100:
            raise ValueError(f"battery={self.percent} must be at most 100 percent")


@dataclass(frozen=True)
class Changed:
    """That the place has changed, as `gunshot.device.change` has it."""

    what: int  # of CHANGES, from 1 on: by what a half hour stands out
    since: int  # s since 1970: when that half hour began

    def __post_init__(self):
        if not 1 <= self.what <= len(CHANGES):
            raise ValueError(f"changed: what={self.what} must be 1 to {len(CHANGES)}")

    @property
    def in_words(self) -> str:
        """Return by what the half hour stands out."""
        return CHANGES[self.what - 1]


@dataclass(frozen=True)
class Heartbeat:
    """A heartbeat: a device lives; with what it counted since its start."""

    device: int
    session: int  # of this start of the device
    sequence: int  # of all messages of the session, from 0 on
    uptime_ms: int
    heard: int  # samples
    dropped: int  # samples that found no room
    gaps: int  # where they are missing
    stuck: int  # times that the microphone gave one value, or full scale alone, for a second
    backward: int  # times that the clock ran backward
    failures: int  # windows that the model did not score
    alerts: int  # incident messages that the port took
    unsent: int  # messages that the port did not take
    noise: int  # root of the mean square since the heartbeat before, dB SPL in tenths
    detector: Detector | None = None  # of a microcontroller; another device says it by its birth
    near: Near | None = None  # absent: the device does not count them
    log_mel: np.ndarray | None = None  # as of an incident message, of the highest near miss since the heartbeat before
    rung: Rung | None = None  # absent: its threshold does not adapt
    battery: Battery | None = None  # absent: it has none, or does not know
    changed: Changed | None = None  # absent: the place is as it was, or the device does not know


Message = Incident | Heartbeat
KINDS = {1: Incident, 2: Heartbeat}
BODY = {Incident: struct.Struct("<IBHQQHhQ"), Heartbeat: struct.Struct("<QQQIIIIIIh")}
SHAPE = struct.Struct("<HH")  # of a log-mel, which follows
TIME = struct.Struct("<QI")
DECIDES = struct.Struct("<QH")
NEARLY = struct.Struct("<IH")
STANDS = struct.Struct("<BBH")
JUDGED = struct.Struct("<QHB")
NUMBER = struct.Struct("<Q")
LEVEL = struct.Struct("<B")
SINCE = struct.Struct("<BI")


def _pack(form: struct.Struct, values, message: Message) -> bytes:
    try:
        return form.pack(*values)
    except struct.error as e:
        raise ValueError(f"{message} must fit the fields of a message: {e}") from None


def _log_mel_bytes(message: Message) -> bytes:
    log_mel = message.log_mel
    if log_mel is None:
        return b""
    if log_mel.dtype != np.int8 or log_mel.ndim != 2:
        raise ValueError(f"log_mel={log_mel.dtype}{list(log_mel.shape)} must be int8 [frames, n_mels]")
    return _pack(SHAPE, log_mel.shape, message) + log_mel.tobytes()


def _log_mel(data: bytes) -> np.ndarray:
    if len(data) < SHAPE.size:
        raise ValueError(f"log_mel={len(data)} must be at least {SHAPE.size} bytes: its shape")
    shape = SHAPE.unpack_from(data)
    if len(data) != SHAPE.size + shape[0] * shape[1]:
        raise ValueError(f"log_mel={len(data) - SHAPE.size} must be {shape[0]} x {shape[1]} bytes")
    return np.frombuffer(data, np.int8, offset=SHAPE.size).reshape(shape)


def _onsets_bytes(message: Incident) -> bytes:
    return _pack(struct.Struct(f"<{len(message.onsets)}Q"), message.onsets, message)


def _onsets(data: bytes) -> tuple[int, ...]:
    if len(data) % 8:
        raise ValueError(f"onsets={len(data)} must be a multiple of 8 bytes")
    return struct.unpack(f"<{len(data) // 8}Q", data)


def _field(name: str, kind: type, layout: struct.Struct) -> tuple[str, Callable, Callable]:
    """Return an optional field of one layout, as FIELDS has it: its name, and how it is written and read."""

    def written(message: Incident | Heartbeat) -> bytes:
        value = getattr(message, name)
        return _pack(layout, vars(value).values(), message) if value else b""

    def read(data: bytes):
        if len(data) != layout.size:
            raise ValueError(f"{name}={len(data)} must be {layout.size} bytes")
        return kind(*layout.unpack(data))

    return name, written, read


# The optional fields of a kind: by type its name, and how it is written, of no bytes where it is absent, and read.
FIELDS = {
    Incident: {
        1: ("log_mel", _log_mel_bytes, _log_mel),
        2: ("onsets", _onsets_bytes, _onsets),
        3: _field("clock", Clock, TIME),
        8: _field("opinion", Opinion, JUDGED),
        9: _field("profile", Profile, NUMBER),
    },
    Heartbeat: {
        4: _field("detector", Detector, DECIDES),
        5: _field("near", Near, NEARLY),
        6: ("log_mel", _log_mel_bytes, _log_mel),
        7: _field("rung", Rung, STANDS),
        10: _field("battery", Battery, LEVEL),
        11: _field("changed", Changed, SINCE),
    },
}


def encode(message: Message) -> bytes:
    """Return a message's bytes.

    Raises
    ------
    ValueError
        A number does not fit its field, or the log-mel is not int8 of two dimensions that fits a message.
    """
    class_ = type(message)
    kind = next(number for number, known in KINDS.items() if known is class_)
    optional = {name for name, *_ in FIELDS[class_].values()}
    device, session, sequence, *numbers = (
        getattr(message, field.name) for field in fields(message) if field.name not in optional
    )
    body = _pack(BODY[class_], numbers, message)
    for type_, (name, written, _) in FIELDS[class_].items():
        if content := written(message):
            _check_length(len(content), name)
            body += FIELD.pack(type_, len(content)) + content
    length = HEAD.size + len(body) + CRC.size
    _check_length(length, "message")
    whole = _pack(HEAD, [MAGIC, VERSION, kind, length, device, session, sequence], message) + body
    return whole + CRC.pack(zlib.crc32(whole))


def _check_length(length: int, name: str) -> None:
    if length > MOST_BYTES:
        raise ValueError(f"length={length} of {name} must be at most {MOST_BYTES} bytes")


def decode(data: bytes) -> Message:
    """Return the message that `data` is.

    Raises
    ------
    ValueError
        It is no message, of another version or kind, cut short, too long, or damaged; a field overruns it, comes twice
        or is not as long as it must be; or a number is none that a message has.
    """
    if len(data) < HEAD.size + CRC.size:
        raise ValueError(f"length={len(data)} must be at least {HEAD.size + CRC.size} bytes")
    magic, version, kind, length, *head = HEAD.unpack_from(data)
    if magic != MAGIC:
        raise ValueError(f"magic={magic!r} must be {MAGIC!r}")
    if version != VERSION:
        raise ValueError(f"version={version} must be {VERSION}")
    if length != len(data):
        raise ValueError(f"length={len(data)} must be {length} bytes, as the message states")
    (stated,), body = CRC.unpack(data[-CRC.size :]), data[HEAD.size : -CRC.size]
    if stated != (crc := zlib.crc32(data[: -CRC.size])):
        raise ValueError(f"crc32={crc:08x} must be {stated:08x}, as the message states: it is damaged")
    if kind not in KINDS:
        raise ValueError(f"kind={kind} must be one of {', '.join(map(str, KINDS))}")
    class_ = KINDS[kind]
    form, known = BODY[class_], FIELDS[class_]
    if len(body) < form.size:
        raise ValueError(f"fields={len(body)} must be at least {form.size} bytes of a message of kind={kind}")
    contents = _contents(body[form.size :])
    optional = {name: read(contents[type_]) for type_, (name, _, read) in known.items() if type_ in contents}
    return class_(*head, *form.unpack_from(body), **optional)


def _contents(data: bytes) -> dict[int, bytes]:
    """Return the optional fields' bytes by type, whether it is known or not."""
    out, at = {}, 0
    while at < len(data):
        if len(data) - at < FIELD.size:
            raise ValueError(f"field of {len(data) - at} bytes must have at least {FIELD.size}: its type and length")
        type_, length = FIELD.unpack_from(data, at)
        at += FIELD.size
        if length > len(data) - at:
            left = len(data) - at
            raise ValueError(f"field of type={type_} overruns: length={length} must be at most the {left} bytes left")
        if type_ in out:
            raise ValueError(f"field of type={type_} must come once: it comes twice")
        out[type_] = data[at : at + length]
        at += length
    return out


def decode_all(data: bytes) -> list[Message]:
    """Return the messages that `data` holds, one after the other.

    Raises
    ------
    ValueError
        As for `decode`, with the place of the message.
    """
    out, at = [], 0
    while at < len(data):
        length = HEAD.unpack_from(data, at)[3] if len(data) - at >= HEAD.size else 0
        try:
            out.append(decode(data[at : at + max(length, 1)]))
        except ValueError as e:
            raise ValueError(f"message {len(out)} at byte {at}: {e}") from None
        at += length
    return out
