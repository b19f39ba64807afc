"""An image for a microcontroller, by its serial line: firmware/src/update.h is the other end, and has the layouts.

The board asks for each part; it looks at the image as a device on Linux does, and refuses by the same rules' names.
"""

import logging
import struct
from dataclasses import dataclass
from pathlib import Path

from gunshot.device import sealed
from gunshot.device.releases import Stage, Wanted
from gunshot.signing import manifests

ORDER, PART, REPORT = 3, 4, 5  # kinds, after those of messages
PART_BYTES = 256  # of an image in a part, but the last
WANTED = {Wanted.install: 1, Wanted.keep: 2, Wanted.back: 3}
STAGES = (None, Stage.fetching, Stage.refused, Stage.trial, Stage.kept, Stage.back)  # None: what was flashed runs
# By firmware/src/ota.h, as a device on Linux names them; `trial`: the one that runs is to be kept or taken back first.
RULES = (
    None, "manifest", "operator", "hardware", "older", "image", "length", "disk", "over", "trial", "unknown",
)  # fmt: skip
AT = struct.Struct("<I")
BODY = struct.Struct("<BBII4s")
WAIT_S = 2.0  # for a report, before what it answers is sent again
LOST = "lost"  # how it ends where the board wants a part of an image that is not here
SILENT = 10  # sends without a report, after which the log says so

log = logging.getLogger("gunshot")


@dataclass(frozen=True)
class Report:
    """How far a board is with an image, and what runs on it."""

    device: int
    session: int
    stage: Stage | None
    rule: str | None  # by which it refuses
    next: int  # the byte of the image that it wants
    running: int  # the number of the image that runs; 0: what was flashed
    hash: bytes  # the first 4 bytes of that image's SHA-256: two builds of one model share a number; zeros: as above


def order(wanted: Wanted, manifest: bytes) -> bytes:
    """Return what a board is to do with the image of a manifest, as it is sent."""
    return sealed.write(ORDER, bytes([WANTED[wanted]]) + manifest)


def part(image: bytes, at: int) -> bytes:
    """Return the part of an image that begins at a byte, as it is sent."""
    return sealed.write(PART, AT.pack(at) + image[at : at + PART_BYTES])


def decode(data: bytes) -> Report:
    """Return the report that `data` is; ValueError where it is none, or damaged."""
    device, session, stage, rule, next, running, hash = sealed.read(data, REPORT, BODY)
    if stage >= len(STAGES) or rule >= len(RULES):
        raise ValueError(f"stage={stage}, rule={rule} must be below {len(STAGES)}, {len(RULES)}")
    return Report(device, session, STAGES[stage], RULES[rule], next, running, hash)


def mark(manifest: bytes) -> tuple[int, bytes]:
    """Return by what a report knows a manifest's image: its `running` and its `hash`."""
    _, _, number, *_, sha256 = manifests.LAYOUT.unpack_from(manifest)
    return number, sha256[:4]


def version(manifest: bytes) -> str:
    """Return the version of the model that a manifest states, whoever signed it."""
    return manifests.LAYOUT.unpack_from(manifest)[5].rstrip(b"\0").decode("ascii", "replace")


class Delivery:
    """One image on its way to a board, until the board keeps it, refuses it or goes back. It is used in one thread.

    Parameters
    ----------
    image, manifest : of one another; None for an image that is lost: the board may have it, and can be told of it
    wanted : what the board is to be told; `want` says another thing later
    has_run : the board has run it on trial
    keeps : it is kept once the board, started again with it, has sent a message; else where `want` says so

    Raises
    ------
    ValueError
        The manifest is of another image.
    """

    def __init__(
        self, image: bytes | None, manifest: bytes,
        *, wanted: Wanted = Wanted.install, has_run: bool = False, keeps: bool = True,
    ):  # fmt: skip
        if len(manifest) != manifests.SIZE:
            raise ValueError(f"manifest={len(manifest)} bytes must be {manifests.SIZE}")
        size = manifests.LAYOUT.unpack_from(manifest)[3]
        if image is not None and len(image) != size:
            raise ValueError(f"image={len(image)} bytes must be the {size} of its manifest")
        self._image, self._manifest, self._mark = image, manifest, mark(manifest)
        self._wanted, self._keeps = wanted, keeps
        self._last = order(wanted, manifest)  # what was sent last
        self._sent_s: float | None = None
        self._unanswered = 0  # sends since the last report
        self._session: int | None = None  # of the last report
        self.was_whole = has_run  # the board had all of it
        self.next = 0  # the byte of it that the board wants
        self.runs = False  # by the last report
        self.ended: str | None = None  # kept, back, lost, or by which rule it was refused

    @classmethod
    def load(cls, file: Path) -> "Delivery":
        """Return that of an image's file, with FILE.manifest beside it; ValueError where that is of another image."""
        try:
            return cls(file.read_bytes(), file.with_name(f"{file.name}.manifest").read_bytes())
        except ValueError as e:
            raise ValueError(f"{file}.manifest: {e}; make it with `gunshot export ota {file}`") from None

    @property
    def is_calm(self) -> bool:
        """Return whether nothing is to be told: the board runs it, and nobody has said yet what is to become of it."""
        return self.runs and self._wanted == Wanted.install

    def want(self, wanted: Wanted) -> None:
        """Tell the board another thing of the image from now on."""
        self._wanted = wanted
        self._send(order(wanted, self._manifest))

    def outgoing(self, now_s: float) -> bytes:
        """Return what is to be sent now, again where nothing answered it; `now_s` is the monotonic clock's."""
        if self.ended or self.is_calm or (self._sent_s is not None and now_s - self._sent_s < WAIT_S):
            return b""
        self._sent_s = now_s
        if self._unanswered == SILENT:
            log.warning("the board says nothing of its image: was it built with a key (GUNSHOT_OTA_KEY)? It is sent on")
        self._unanswered += 1
        return self._last

    def hear(self, report: Report) -> None:
        """Take a report of the board."""
        if self.ended:
            return
        self._unanswered = 0
        is_start, self._session = report.session != self._session, report.session
        is_it = (report.running, report.hash) == self._mark
        self.was_whole |= is_it
        self.runs = is_it and report.stage in (Stage.trial, Stage.kept)
        if report.stage == Stage.kept and is_it:
            self._end("kept")
        elif self._wanted == Wanted.back:
            self._hear_back(report, is_it=is_it)
        elif report.stage == Stage.fetching and self._image is None:
            self._end(LOST)
        elif report.stage == Stage.fetching:
            self.next = report.next
            self._send(part(self._image, report.next))
        elif report.rule == "unknown":  # it started again, and knows nothing of it
            self._send(order(Wanted.install, self._manifest))
        elif report.stage == Stage.refused:
            self._hear_refused(report.rule)
        elif report.stage == Stage.trial:
            # Of another image it is the board's first word of a start, which has that one on trial, or the answer to
            # the last part or the order of this one, which runs from the next start on.
            self.was_whole |= not is_start
            if self.runs and self._wanted == Wanted.keep:
                self._send(order(Wanted.keep, self._manifest))
        elif self.was_whole:  # or this start could not be counted: the next one could run it
            self.want(Wanted.back)

    def heard(self, start: int) -> None:
        """Note that the board sent another message than a report, in whichever start: what runs can hear."""
        if self.runs and self._keeps and not self.ended:
            self.want(Wanted.keep)

    def _hear_back(self, report: Report, *, is_it: bool) -> None:
        """End where the board has it on trial no longer; else it is told again, as it may be about to start."""
        if report.stage == Stage.back or (report.rule == "unknown" and not is_it):
            self._end("back")

    def _hear_refused(self, rule: str) -> None:
        """End, but where a board that runs it could not note that it is kept: it is told so again."""
        if rule == "over" and self.was_whole:
            self._end("back")
        elif rule != "disk" or self._wanted == Wanted.install:
            self._end(f"refused: {rule}")

    def _send(self, data: bytes) -> None:
        if data != self._last:
            self._last, self._sent_s = data, None

    def _end(self, how: str) -> None:
        self.ended = how
        log.info("image number %d for the board: %s", self._mark[0], how)
