"""A device's messages as bytes: alerts with a log-mel as evidence, and heartbeats. firmware/src/alert.c writes them.

A message is ``"GS"``, version, kind, length, device, sequence, the fields of its kind, and a CRC32, little-endian.
"""

import struct
import zlib
from dataclasses import dataclass, fields

import numpy as np

MAGIC, VERSION = b"GS", 1
HEAD = struct.Struct("<2sBBHII")
CRC = struct.Struct("<I")
MOST_BYTES = 65535  # of a message


@dataclass(frozen=True)
class Alert:
    """An alert message: one shot. Samples are counted from the microphone's start, lost ones too."""

    device: int
    sequence: int  # of all messages since start, from 0 on
    onset: int  # sample
    decided: int  # sample at which the deciding window ended
    incident: int  # since start, from 1 on
    shot: int  # within the incident, from 1 on
    score: int  # calibrated, in 1/65535
    spl_db: int  # peak around the onset, dB SPL in tenths
    model: int  # the first 8 bytes of its SHA-256: ``f"{model:016x}"``
    log_mel: np.ndarray  # int8 codes of the deciding window [shape=(frames, n_mels)]


@dataclass(frozen=True)
class Heartbeat:
    """A heartbeat: a device lives; with what it counted since its start."""

    device: int
    sequence: int  # of all messages since start, from 0 on
    uptime_ms: int
    heard: int  # samples
    dropped: int  # samples that found no room
    gaps: int  # where they are missing
    stuck: int  # times that the microphone gave one value, or full scale alone, for a second
    backward: int  # times that the clock ran backward
    failures: int  # windows that the model did not score
    alerts: int  # sent
    unsent: int  # messages that the port did not take
    noise: int  # root of the mean square since the heartbeat before, dB SPL in tenths


KINDS = {1: Alert, 2: Heartbeat}
BODY = {Alert: struct.Struct("<QQIHHhQ"), Heartbeat: struct.Struct("<QQQIIIIIIh")}
SHAPE = struct.Struct("<HH")  # of an alert's log-mel, which follows


def _numbers(message: Alert | Heartbeat) -> list[int]:
    return [getattr(message, field.name) for field in fields(message) if field.name != "log_mel"]


def encode(message: Alert | Heartbeat) -> bytes:
    """Return a message's bytes.

    Raises
    ------
    ValueError
        A number does not fit its field, or the log-mel is not int8 of two dimensions that fits a message.
    """
    kind = next(number for number, class_ in KINDS.items() if isinstance(message, class_))
    device, sequence, *numbers = _numbers(message)
    body = _pack(BODY[KINDS[kind]], numbers, message)
    if isinstance(message, Alert):
        log_mel = message.log_mel
        if log_mel.dtype != np.int8 or log_mel.ndim != 2:
            raise ValueError(f"log_mel={log_mel.dtype}{list(log_mel.shape)} must be int8 [frames, n_mels]")
        body += _pack(SHAPE, log_mel.shape, message) + log_mel.tobytes()
    length = HEAD.size + len(body) + CRC.size
    if length > MOST_BYTES:
        raise ValueError(f"length={length} must be at most {MOST_BYTES} bytes: send a smaller log_mel")
    whole = _pack(HEAD, [MAGIC, VERSION, kind, length, device, sequence], message) + body
    return whole + CRC.pack(zlib.crc32(whole))


def _pack(form: struct.Struct, values, message) -> bytes:
    try:
        return form.pack(*values)
    except struct.error as e:
        raise ValueError(f"{message} must fit the fields of a message: {e}") from None


def decode(data: bytes) -> Alert | Heartbeat:
    """Return the message that `data` is.

    Raises
    ------
    ValueError
        It is no message, of another version or kind, cut short, too long, or damaged.
    """
    if len(data) < HEAD.size + CRC.size:
        raise ValueError(f"length={len(data)} must be at least {HEAD.size + CRC.size} bytes")
    magic, version, kind, length, device, sequence = HEAD.unpack_from(data)
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
    form, tail = BODY[KINDS[kind]], []
    if KINDS[kind] is Alert:
        tail, body = [_log_mel(body[form.size :])], body[: form.size]
    if len(body) != form.size:
        raise ValueError(f"fields={len(body)} must be {form.size} bytes of a message of kind={kind}")
    return KINDS[kind](device, sequence, *form.unpack(body), *tail)


def _log_mel(data: bytes) -> np.ndarray:
    if len(data) < SHAPE.size:
        raise ValueError(f"log_mel={len(data)} must be at least {SHAPE.size} bytes: its shape")
    shape = SHAPE.unpack_from(data)
    if len(data) != SHAPE.size + shape[0] * shape[1]:
        raise ValueError(f"log_mel={len(data) - SHAPE.size} must be {shape[0]} x {shape[1]} bytes")
    return np.frombuffer(data, np.int8, offset=SHAPE.size).reshape(shape)


def decode_all(data: bytes) -> list[Alert | Heartbeat]:
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
