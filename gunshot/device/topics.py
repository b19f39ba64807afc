"""What a device and the hub say to each other by MQTT: topics, birth, status, acknowledgement.

Below ``gunshot/v1/<device>/`` a device writes ``birth``, ``status``, ``alert`` and ``reply``, and reads ``ack``,
``order`` and ``image`` (device/releases.py; it answers on ``reply``).
An alert is a message, as bytes (device/messages.py). Birth and status are JSON objects and are retained; a
reader passes over keys that it does not know. An acknowledgement is three numbers. An order is signed JSON
(device/orders.py), a reply is JSON and sound or video (device/parts.py), and its acknowledgement is JSON, on ``ack``
too. LIFE is the hub's sign of life. Where Home Assistant listens, the hub tells it of a device on ``heard`` and
`discovery`.
"""

import re
import struct
from dataclasses import astuple, dataclass
from typing import Annotated

import pydantic

ROOT = "gunshot/v1"
WRITTEN, READ = ("birth", "status", "alert", "reply"), ("ack", "order", "image")  # by a device
RETAINED = ("birth", "status")  # the broker keeps the last of each
WATCH = "watch"  # who looks from outside whether the hub lives
LIFE = f"{ROOT}/hub/life"  # the hub's sign of life, each second, which the watch reads: no content
HOME_ASSISTANT = "homeassistant"  # its name, and the first level of the topics where it looks for sensors
HEARD = "heard"  # what the hub says of a device to Home Assistant: whether it heard a case that is raised
HUB_STATUS = f"{ROOT}/hub/online"  # the hub's, to Home Assistant: online, or by its last will offline
CLIENTS = (WATCH, HOME_ASSISTANT)  # of the hub's own, those whose certificates leave its machine
RESERVED = ("broker", "hub", *CLIENTS)  # names that are no device's
NAME = r"[a-z0-9][a-z0-9-]{0,62}"
SPEECH = "speech"  # what a device says that it has where sound in which people speak may leave it
VIDEO = "video"  # and where it has a camera
OPINION = "opinion"  # and where a verifier gives a second opinion of its incidents
IMAGE = "image"  # and where it takes images of a roll-out; of a board with its class, as `images.takes` has it
MOST_NUMBER = 2**32 - 1
U32 = Annotated[int, pydantic.Field(ge=0, le=MOST_NUMBER)]
NUMBERS = struct.Struct("<III")


def check_name(name: str) -> str:
    """Return a device's name; ValueError where it is none."""
    if not re.fullmatch(NAME, name) or name in RESERVED:
        raise ValueError(
            f"name={name!r} must be lower case letters, digits and dashes, 63 at most, begin with no dash, "
            f"and be none of {', '.join(RESERVED)}"
        )
    return name


def topic(device: str, leaf: str) -> str:
    """Return a device's topic; `device` is + for all of them."""
    return f"{ROOT}/{device}/{leaf}"


def sensor(device: str) -> str:
    """Return what a device's sensor is called in Home Assistant; `device` is + for all of them."""
    return device if device == "+" else f"gunshot-{device}"


def discovery(device: str) -> str:
    """Return the topic on which Home Assistant is told of a device; `device` is + for all of them."""
    return f"{HOME_ASSISTANT}/binary_sensor/{sensor(device)}/config"


def parts(topic: str) -> tuple[str, str]:
    """Return the device's name and the leaf of a topic that `topic` made."""
    device, leaf = topic.removeprefix(f"{ROOT}/").split("/")
    return device, leaf


class Said(pydantic.BaseModel):
    """What is said as a JSON object; keys that are not known are passed over."""

    model_config = pydantic.ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)

    def encode(self) -> bytes:
        """Return its bytes."""
        return self.model_dump_json().encode()

    @classmethod
    def decode(cls, payload: bytes):
        """Return what the bytes say; ValueError, of one line, where they are none of this kind."""
        try:
            return cls.model_validate_json(payload)
        except pydantic.ValidationError as e:
            faults = (f"{'.'.join(map(str, fault['loc'])) or 'JSON'}: {fault['msg']}" for fault in e.errors())
            raise ValueError(f"{cls.__name__.lower()} {'; '.join(faults)}") from None


class Birth(Said):
    """What a device is, said at its start."""

    name: str
    number: U32  # which its messages carry
    session: U32
    model: Annotated[str, pydantic.Field(pattern="^[0-9a-f]{16}$")]  # the first 8 bytes of its SHA-256
    operating_point: Annotated[float, pydantic.Field(ge=0, le=1)] | None  # None: a board that has not said so yet
    version: U32  # of its messages
    # The optional fields that its messages may have; `sound`: it has a ring; SPEECH, VIDEO, OPINION, IMAGE.
    capabilities: Annotated[list[Annotated[str, pydantic.Field(max_length=64)]], pydantic.Field(max_length=64)]
    image: U32 | None = None  # the number of the image that it runs; None: the model of its own pipeline
    release: Annotated[str, pydantic.Field(pattern="^[ -~]{1,16}$")] | None = None  # and the version of its model


class Status(Said):
    """Whether a device is there. Its last will says that it is not, with the session of its birth."""

    session: U32
    online: bool
    dropped: Annotated[int, pydantic.Field(ge=0, lt=2**63)] | None = None  # messages, since the device was enrolled
    site: str | None = None  # whose profile sets its threshold; None: the operating point, or what a person gave
    disk_fault: str | None = None  # why its disk takes nothing: what it has to send is in memory alone
    site_fault: str | None = None  # why it runs without the profile that it was given, or has left it, upward


@dataclass(frozen=True)
class SiteProfile:
    """What a device has of a site's profile: the site whose threshold it uses, or why it uses none, or no more.

    `number` is that of the file, by which messages name it.
    """

    site: str | None = None
    fault: str | None = None
    number: int | None = None


NO_PROFILE = SiteProfile()  # nobody gave it one


@dataclass(frozen=True)
class Acknowledgement:
    """The hub has a message for good: the device may delete it."""

    device: int
    session: int
    sequence: int

    def encode(self) -> bytes:
        """Return its 12 bytes: three u32, little-endian."""
        return NUMBERS.pack(*astuple(self))

    @classmethod
    def decode(cls, payload: bytes) -> "Acknowledgement":
        """Return what the bytes say; ValueError where they are not 12."""
        if len(payload) != NUMBERS.size:
            raise ValueError(f"length={len(payload)} of an acknowledgement must be {NUMBERS.size} bytes")
        return cls(*NUMBERS.unpack(payload))
