"""The signed manifest of an image, as firmware/src/ota.c checks it: 144 bytes, little-endian.

Whom it is for, which version it is, how many bytes it has and their hash; signed by an operator's key.
"""

import hashlib
import struct
from collections.abc import Iterable
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gunshot.signing import keys

LAYOUT = struct.Struct("<4sIII16s16s32s")  # magic, layout, number, image bytes, device class, model, image sha256
MAGIC, VERSION = b"GSOT", 1
SIZE = LAYOUT.size + 64  # and the signature of all before it
TEXT = 16


class Manifest(NamedTuple):
    """What a manifest says. A device never goes back to a smaller `number` than it was told to keep."""

    number: int
    size: int
    device: str  # the class of devices
    version: str  # of the model
    sha256: str  # of the image, in hexadecimal


def sign(image: bytes, *, device: str, number: int, version: str, key: Ed25519PrivateKey) -> bytes:
    """Return the manifest of an image; ValueError where it is empty, or a text is no 1 to 16 characters of ASCII."""
    if not 0 < len(image) < 2**32:
        raise ValueError(f"image={len(image)} bytes must be 1 to 2^32 - 1")
    content = LAYOUT.pack(
        MAGIC, VERSION, number, len(image), _text("device", device), _text("version", version),
        hashlib.sha256(image).digest(),
    )  # fmt: skip
    return content + key.sign(content)


def read(payload: bytes, trusted: Iterable[Ed25519PublicKey]) -> Manifest | None:
    """Return what a manifest says, None where no key that is trusted signed it; ValueError where it is no manifest."""
    if len(payload) != SIZE or payload[:4] != MAGIC:
        raise ValueError(f"a manifest must be {SIZE} bytes, and begin with {MAGIC.decode()}")
    content, signature = payload[: LAYOUT.size], payload[LAYOUT.size :]
    _, layout, number, size, device, version, sha256 = LAYOUT.unpack(content)
    if layout != VERSION:
        raise ValueError(f"layout={layout} of a manifest must be {VERSION}")
    if not any(keys.signed_by(key, signature, content) for key in trusted):
        return None
    texts = (text.rstrip(b"\0").decode("ascii", "replace") for text in (device, version))
    return Manifest(number, size, *texts, sha256.hex())


def _text(name: str, value: str) -> bytes:
    if not value.isascii() or not value.isprintable() or not 0 < len(value) <= TEXT:
        raise ValueError(f"{name}={value!r} must be 1 to {TEXT} characters of ASCII")
    return value.encode()
