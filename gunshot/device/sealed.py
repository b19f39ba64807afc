"""What a bridge and its board say to each other alone: the head and the CRC32 of a message, kinds after its own."""

import struct
import zlib

from gunshot.device import messages


def write(kind: int, body: bytes) -> bytes:
    """Return what is sent to a board: of no device, session or sequence."""
    size = messages.HEAD.size + len(body) + messages.CRC.size
    whole = messages.HEAD.pack(messages.MAGIC, messages.VERSION, kind, size, 0, 0, 0) + body
    return whole + messages.CRC.pack(zlib.crc32(whole))


def read(data: bytes, kind: int, form: struct.Struct) -> tuple:
    """Return device, session and the fields of what a board sent; ValueError where it is not that, or damaged."""
    if len(data) != messages.HEAD.size + form.size + messages.CRC.size:
        raise ValueError(f"length={len(data)} is not that of kind={kind}")
    magic, version, stated, length, device, session, _ = messages.HEAD.unpack_from(data)
    if (magic, version, stated, length) != (messages.MAGIC, messages.VERSION, kind, len(data)):
        raise ValueError(f"kind={stated} of version={version} must be {kind} of {messages.VERSION}")
    if messages.CRC.unpack(data[-messages.CRC.size :]) != (zlib.crc32(data[: -messages.CRC.size]),):
        raise ValueError("crc32 must be as it states: it is damaged")
    return device, session, *form.unpack_from(data, messages.HEAD.size)
