"""The signed manifest of a firmware image, as firmware/src/ota.c checks it: 144 bytes, little-endian.

The image's version is the number of the record's line that put its model into production. It grows with every
promotion and every rollback, so that a device which refuses older images still takes an older model back.
"""

import hashlib
import struct
from pathlib import Path

from gunshot.promotion import record, registry, signing

LAYOUT = struct.Struct("<4sIII16s16s32s")  # magic, layout, version, image bytes, device class, model, image sha256
MAGIC, VERSION = b"GSOT", 1
SIZE = LAYOUT.size + 64  # and the signature of all before it
TEXT = 16


def manifest(image: bytes, *, device: str, root: Path = Path()) -> bytes:
    """Return the manifest of an image that holds the model in production, for a class of devices.

    ValueError where nothing is in production, the record has a fault, the class is longer than 16 bytes of ASCII, the
    image is empty, or there is no key.
    """
    if faults := list(record.faults(root)):
        raise ValueError("; ".join(faults))
    entry = registry.champion(record.read(root))
    if entry is None:
        raise ValueError("version=None: nothing is in production; promote a model first")
    if not 0 < len(image) < 2**32:
        raise ValueError(f"image={len(image)} bytes must be 1 to 2^32 - 1")
    content = LAYOUT.pack(
        MAGIC, VERSION, entry["number"], len(image), _text("device", device), _text("version", entry["version"]),
        hashlib.sha256(image).digest(),
    )  # fmt: skip
    return content + signing.private().sign(content)


def _text(name: str, value: str) -> bytes:
    if not value.isascii() or not value.isprintable() or not 0 < len(value) <= TEXT:
        raise ValueError(f"{name}={value!r} must be 1 to {TEXT} characters of ASCII")
    return value.encode()
