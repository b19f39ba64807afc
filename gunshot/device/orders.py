"""An order: the hub asks a device for sound or video, signed with a key that it knows; and what makes one refused.

On the wire it is a signature (Ed25519, 64 bytes), then the bytes that it is of: a JSON object. What is read was signed.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pydantic
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gunshot.device.topics import U32, Said
from gunshot.signing import keys

KEY = "order.pem"  # in a device's folder: the public one. In the hub's authority: the private one
SIGNATURE = 64  # bytes
MOST_S = 60  # that an order asks for
LIFE_S = 3600  # for which an order is good, at most: so long a device has to remember it
ID = "^[0-9a-f]{32}$"
MOST = 2**63 - 1  # of a sample or a time
OVERRULE = "overrule"  # in a device's folder: the public keys of those who may have speech sent, NAME.pem each
PERSONS = 2  # of them, at least

Id = Annotated[str, pydantic.Field(pattern=ID)]
Text = Annotated[str, pydantic.Field(min_length=1, max_length=200)]
Count = Annotated[int, pydantic.Field(ge=0, le=MOST)]


class Kind(StrEnum):
    """What an order asks for."""

    sound = "sound"
    video = "video"


class Overrule(Said):
    """That a person wants the order's sound although people speak in it."""

    person: Text  # whose key is NAME.pem in the device's folder
    signature: Annotated[str, pydantic.Field(pattern="^[0-9a-f]{128}$")]  # of `wanted`


class Order(Said):
    """What one device is to send, why, and who wants it.

    Of a span that has not ended the device sends what it hears, until it has: live sound. Of video there is no other:
    what a camera shows from now on, until the span has ended.
    """

    id: Id
    kind: Kind = Kind.sound
    device: str
    session: U32 | None = None  # whose samples `start` and `stop` count; None: both are microseconds since 1970
    start: Count
    stop: Count
    reason: Text
    person: Text
    issued_us: Count
    expires_us: Count
    incident: U32 | None = None  # of the session: because of which
    overruled: tuple[Overrule, ...] = ()


class RefusedError(ValueError):
    """An order that a device does not follow; the message begins with the rule's name."""

    def __init__(self, rule: str, why: str):
        super().__init__(f"{rule}: {why}")


def wanted(order: Order) -> bytes:
    """Return what a person signs who overrules the gate for an order: all of it but such signatures."""
    return b"gunshot overrule\n" + order.model_copy(update={"overruled": ()}).encode()


def overruled(order: Order, persons: Mapping[str, Ed25519PrivateKey]) -> Order:
    """Return an order that persons want although people speak in its sound."""
    said = (Overrule(person=name, signature=key.sign(wanted(order)).hex()) for name, key in persons.items())
    return order.model_copy(update={"overruled": tuple(said)})


def overruled_by(order: Order, known: Mapping[str, Ed25519PublicKey]) -> list[str]:
    """Return the persons who want an order's sound although people speak in it; each key counts once."""
    out = {}
    for one in order.overruled:
        key = known.get(one.person)
        if key and keys.signed_by(key, bytes.fromhex(one.signature), wanted(order)):
            out[keys.raw(key)] = one.person
    return sorted(out.values())


def overrulers(folder: Path) -> dict[str, Ed25519PublicKey]:
    """Return by name the keys of those who may have speech sent, of a device's folder or a hub's authority."""
    return {file.stem: keys.public(file) for file in sorted((folder / OVERRULE).glob("*.pem"))}


def sign(order: Order, key: Ed25519PrivateKey) -> bytes:
    """Return an order as it is sent."""
    content = order.encode()
    return key.sign(content) + content


def verify(payload: bytes, key: Ed25519PublicKey) -> Order:
    """Return the order that a key signed; RefusedError where it did not, or it is no order."""
    signature, content = payload[:SIGNATURE], payload[SIGNATURE:]
    if not keys.signed_by(key, signature, content):
        raise RefusedError("signature", "it must be of the key that this device was enrolled with")
    try:
        return Order.decode(content)
    except ValueError as e:
        raise RefusedError("order", str(e)) from None


def claimed(payload: bytes) -> str | None:
    """Return the id that an order claims to have, whoever wrote it; None where it claims none."""
    try:
        return Order.decode(payload[SIGNATURE:]).id
    except ValueError:
        return None
