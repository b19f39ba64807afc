"""A device's answer to an order, in parts that go their own way, numbered and hashed; and the hub's word for each.

A reply is a JSON object on a line, then a part's content: a FLAC file, or bytes of an MP4 file. Part 0 and on are
followed by an `End`, with the hash of all.
"""

import hashlib
import io
from typing import Annotated, Literal

import numpy as np
import pydantic
import soundfile as sf

from gunshot.device.orders import MOST_S, Count, Id
from gunshot.device.topics import U32, Said

PART = 8000  # samples, half a second: 16 kB where nothing can be saved, of the 65,535 bytes that a message has
LEAST_SR, MOST_SR = 8_000, 48_000  # of fewer a part would be long: a browser makes hours of it
MOST_REASON = 2000  # characters
MOST_PARTS = MOST_S * MOST_SR // PART
MOST_BYTES = 60_000  # of video in a part: a message has 65,535
MOST_VIDEO_PARTS = 8192
MOST_VIDEO = 64 * 2**20  # bytes of one answer: 60 s of 8.9 Mbit/s
Sha256 = Annotated[str, pydantic.Field(pattern="^[0-9a-f]{64}$")]


class Part(Said):
    """Samples of an answer, which follow it as a FLAC file of their own."""

    kind: Literal["part"] = "part"
    order: Id
    number: Annotated[int, pydantic.Field(ge=0, lt=MOST_PARTS)]
    session: U32
    start: Count  # the first of them, in the session
    samples: Annotated[int, pydantic.Field(ge=1, le=PART)]
    sr: Annotated[int, pydantic.Field(ge=LEAST_SR, le=MOST_SR)]
    sha256: Sha256  # of the FLAC file
    withheld: bool = False  # people spoke: the samples are silence


class VideoPart(Said):
    """Bytes of an answer's MP4 file, which follow it."""

    kind: Literal["video"] = "video"
    order: Id
    number: Annotated[int, pydantic.Field(ge=0, lt=MOST_VIDEO_PARTS)]
    sha256: Sha256


class End(Said):
    """There are no more parts."""

    kind: Literal["end"] = "end"
    order: Id
    number: Annotated[int, pydantic.Field(ge=0, le=MOST_VIDEO_PARTS)]  # how many parts there were
    sha256: Sha256  # of all samples, as `audio.sha256`; of all bytes of a video
    note: Annotated[str, pydantic.Field(max_length=200)] = ""  # why it ends before the order's span does


class Refusal(Said):
    """The device does not follow an order."""

    kind: Literal["refused"] = "refused"
    order: Id
    reason: Annotated[str, pydantic.Field(min_length=1, max_length=MOST_REASON)]  # begins with the rule's name


class PartAcknowledgement(Said):
    """The hub has a part, or the end, for good: the device may forget it."""

    order: Id
    number: U32


class _Reply(pydantic.RootModel):
    root: Annotated[Part | VideoPart | End | Refusal, pydantic.Field(discriminator="kind")]


def encode(said: Part | VideoPart | End | Refusal, content: bytes = b"") -> bytes:
    """Return a reply's bytes."""
    return said.encode() + b"\n" + content


def decode(payload: bytes) -> tuple[Part | VideoPart | End | Refusal, bytes]:
    """Return what a reply says, and the content after it; ValueError, of one line, where it is none, or damaged."""
    head, _, content = payload.partition(b"\n")
    try:
        said = _Reply.model_validate_json(head).root
    except pydantic.ValidationError as e:
        raise ValueError(f"reply {e.errors()[0]['loc']}: {e.errors()[0]['msg']}") from None
    if isinstance(said, Part | VideoPart) and hashlib.sha256(content).hexdigest() != said.sha256:
        raise ValueError(f"part {said.number}: its sha256 must be {said.sha256}, as it says")
    return said, content


def to_flac(pcm: np.ndarray, sr: int) -> bytes:
    """Return int16 samples [shape=(n,)] as a FLAC file."""
    file = io.BytesIO()
    sf.write(file, pcm, sr, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def samples(part: Part, content: bytes) -> np.ndarray:
    """Return the samples of a part [shape=(part.samples,)], int16; ValueError where the file holds others."""
    try:
        with sf.SoundFile(io.BytesIO(content)) as file:
            stated = file.format, file.subtype, file.channels, file.samplerate, file.frames
            if stated == ("FLAC", "PCM_16", 1, part.sr, part.samples):
                pcm = file.read(dtype="int16")
                if len(pcm) == part.samples:
                    return pcm
    except sf.LibsndfileError as e:
        raise ValueError(f"part {part.number} must be FLAC: {e}") from None
    raise ValueError(f"part {part.number} must be FLAC of {part.samples} int16 samples at {part.sr} Hz")
