"""What a roll-out's hub and device say to each other: an offer, an image's parts, and how far the device is.

A message is a JSON object on a line, then its content: of an offer the signed bytes, as an order's are; of a part bytes
of the image. The device asks for each part by its number, so that a hub which was killed loses nothing.
"""

import hashlib
from enum import StrEnum
from typing import Annotated, Literal

import pydantic
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gunshot.device.orders import SIGNATURE, Count, Id, RefusedError, Text
from gunshot.device.topics import U32, Said
from gunshot.signing import keys, manifests

PART = 16_384  # bytes of an image in a part, but the last
MOST_BYTES = 16 * 2**20  # of an image, and of what is in it
MOST_PARTS = MOST_BYTES // PART
MOST_NOTE = 300  # characters
Sha256 = Annotated[str, pydantic.Field(pattern="^[0-9a-f]{64}$")]


class Wanted(StrEnum):
    """What an offer wants of a device."""

    install = "install"  # take the image, and run it on trial
    keep = "keep"  # for good
    back = "back"  # end the trial


class Stage(StrEnum):
    """How far a device is with a roll-out."""

    fetching = "fetching"  # it wants `part`
    refused = "refused"
    trial = "trial"  # it runs the image, and can go back
    kept = "kept"
    back = "back"  # it runs the image of before


class Offer(Said):
    """What a person wants of one device in a roll-out, whose `id` all its offers have."""

    id: Id
    wanted: Wanted
    device: str
    manifest: Annotated[str, pydantic.Field(pattern=f"^[0-9a-f]{{{2 * manifests.SIZE}}}$")]
    person: Text
    expires_us: Count  # since 1970
    not_before_us: Count = 0  # the hub's steps come no earlier


class _OfferHead(Said):
    kind: Literal["offer"] = "offer"


class ImagePart(Said):
    """Bytes of the image, which follow it."""

    kind: Literal["part"] = "part"
    id: Id
    number: U32
    sha256: Sha256


class Report(Said):
    """How far a device is."""

    kind: Literal["image"] = "image"
    id: Id
    stage: Stage
    part: Annotated[int, pydantic.Field(ge=0, lt=MOST_PARTS)] | None = None
    note: Annotated[str, pydantic.Field(max_length=MOST_NOTE)] = ""


class _Head(pydantic.RootModel):
    root: Annotated[_OfferHead | ImagePart, pydantic.Field(discriminator="kind")]


def sign(offer: Offer, key: Ed25519PrivateKey) -> bytes:
    """Return an offer as it is sent."""
    content = offer.encode()
    return _OfferHead().encode() + b"\n" + key.sign(content) + content


def verify(content: bytes, key: Ed25519PublicKey) -> Offer:
    """Return the offer that a key signed, of what `decode` gave; RefusedError where it did not, or it is none."""
    signature, said = content[:SIGNATURE], content[SIGNATURE:]
    if not keys.signed_by(key, signature, said):
        raise RefusedError("signature", "it must be of the key that this device was enrolled with")
    try:
        return Offer.decode(said)
    except ValueError as e:
        raise RefusedError("offer", str(e)) from None


def claimed(content: bytes) -> str | None:
    """Return the id that an offer claims to have, whoever wrote it; None where it claims none."""
    try:
        return Offer.decode(content[SIGNATURE:]).id
    except ValueError:
        return None


def part(id: str, content: bytes, number: int) -> bytes:
    """Return a part of an image, its bytes, as it is sent."""
    return ImagePart(id=id, number=number, sha256=hashlib.sha256(content).hexdigest()).encode() + b"\n" + content


def decode(payload: bytes) -> tuple[ImagePart | None, bytes]:
    """Return a part, or None for an offer, and the content; ValueError, of one line, for what is neither, or cut."""
    head, _, content = payload.partition(b"\n")
    try:
        said = _Head.model_validate_json(head).root
    except pydantic.ValidationError as e:
        raise ValueError(f"image {e.errors()[0]['loc']}: {e.errors()[0]['msg']}") from None
    if isinstance(said, _OfferHead):
        return None, content
    if hashlib.sha256(content).hexdigest() != said.sha256:
        raise ValueError(f"part {said.number}: its sha256 must be {said.sha256}, as it says")
    return said, content
