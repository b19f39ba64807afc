"""A microcontroller on a serial line as a device of a hub: its messages go into the outbox, with what it cannot know.

A board has no count of its starts and no clock. The bridge counts its starts, by the number that it draws at each, and
knows when its bytes came. It stores no sound: a board sends none.
"""

import dataclasses
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pydantic

from gunshot.base.files import atomic
from gunshot.device import clock, messages
from gunshot.device.answers import Answers
from gunshot.device.board_clock import Given, Samples
from gunshot.device.board_image import Delivery, Report
from gunshot.device.board_slots import BoardSlots
from gunshot.device.images import takes
from gunshot.device.installer import Installer
from gunshot.device.line import Line, Reader
from gunshot.device.link import Link
from gunshot.device.messages import Clock, Heartbeat, Incident, Message
from gunshot.device.outbox import Outbox
from gunshot.device.place import Place
from gunshot.device.topics import U32, VIDEO, Birth

FILE = "board.json"
CAPABILITIES = ["log_mel", "onsets", "clock"]  # optional fields that its messages may have
GONE = 3  # heartbeats that do not come: the board is not there

log = logging.getLogger("gunshot")


class Board(pydantic.BaseModel):
    """The board that was heard last, and its start; board.json in the device's folder."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    number: U32  # its own; the hub knows it by the number that it was enrolled with
    start: U32  # the number that it drew for this start: the session of its messages
    session: U32  # the count of its starts, which its messages have in place of that number
    sequence: U32  # of its last message
    model: Annotated[str, pydantic.Field(pattern="^[0-9a-f]{16}$")] | None = None  # None: it has not said so yet
    operating_point: float | None = None
    image: U32 | None = None  # the number of the one that it runs, 0: what was flashed; None: it has not said so
    release: str | None = None  # and the version of its model, where the bridge brought it

    def save(self, folder: Path) -> None:
        """Write board.json."""
        with atomic(folder / FILE) as part:
            part.write_text(self.model_dump_json())

    @classmethod
    def load(cls, folder: Path) -> "Board | None":
        """Return what a folder's board.json says, None where none was heard yet; ValueError where it is damaged."""
        file = folder / FILE
        try:
            return cls.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            return None
        except pydantic.ValidationError as e:
            raise ValueError(f"{file}: must be what the bridge wrote; delete it, and a session begins: {e}") from None

    def is_of(self, message: Message) -> bool:
        """Return whether a message is a later one of the same start."""
        return (self.number, self.start) == (message.device, message.session) and message.sequence > self.sequence

    def after(self, message: Message) -> "Board":
        """Return what is known after a message of this start."""
        known = {"sequence": message.sequence}
        if isinstance(message, Incident):
            known["model"] = f"{message.model:016x}"
        elif message.detector:
            known["model"] = f"{message.detector.model:016x}"
            known["operating_point"] = message.detector.operating_point / 65535
        return self.model_copy(update=known)


class Bridge:
    """One board's messages on their way to the hub. It is used in one thread.

    Parameters
    ----------
    folder : the device's
    place : what it says
    outbox : where messages go
    link : to the hub, of a session that begins
    answers : to the hub's orders, of the first session; they go on when the board starts again
    sr : of the board's samples, Hz
    heartbeat_s : between the board's heartbeats; after GONE of them without a message it is not there
    images : how they come to the board: one by hand, or those of roll-outs; None: none come
    installer : of roll-outs, or None
    error_us : how far the clock of this machine may be off, or None
    """

    def __init__(
        self, folder: Path, place: Place, outbox: Outbox, link: Callable[[Birth, Answers], Link],
        answers: Callable[[Birth], Answers], *, sr: int, heartbeat_s: float,
        images: Delivery | BoardSlots | None = None, installer: Installer | None = None,
        error_us: Callable[[], int | None] = clock.error_us,
    ):  # fmt: skip
        self._folder, self._place, self._outbox, self._connect = folder, place, outbox, link
        self._sr, self._gone_s, self._error_us = sr, GONE * heartbeat_s, error_us
        self._reader, self._samples = Reader(), Samples(sr)
        self._images, self._installer = images, installer
        self._report: Report | None = None
        self._board = Board.load(folder)
        self._heard_s = -self._gone_s  # when a message came last
        self._birth: Birth | None = None
        self._link: Link | None = None
        self._new_answers = answers
        self._answers: Answers | None = None

    def hear(self, data: bytes | None, now_s: float) -> None:
        """Take in what the line gave, None where there is no line; `now_s` is the monotonic clock's."""
        passed = self._reader.passed
        for message in self._reader.push(data or b""):
            self._heard_s = now_s
            if isinstance(message, Report):
                self._hear(message)
            elif isinstance(message, Given):
                self._hear_count(message, now_s)
            else:
                self._take(message, now_s)
        if more := self._reader.passed - passed:
            log.warning("bytes on the line that are of no whole message of version %d: %d", messages.VERSION, more)
        self._be_born()
        if self._link:
            self._link.tell(online=data is not None and now_s - self._heard_s < self._gone_s)

    def outgoing(self, now_s: float) -> bytes:
        """Return what is to be sent to the board at once: of an image, or else how many samples it has heard."""
        of_image = self._images.outgoing(now_s) if self._images else b""
        return of_image or (self._samples.outgoing(now_s) if self._board else b"")

    def pump(self, wait_s: float = 0.0) -> None:
        """Delete what was acknowledged, and send what waits."""
        if self._link:
            self._link.pump(wait_s)

    def close(self) -> None:
        """Say that the device ends; what waits stays in the outbox."""
        if self._link:
            self._link.close()
            self._answers.close()

    def _hear(self, report: Report) -> None:
        """Take what the board says of an image; the hub is told what becomes of a roll-out's."""
        log.debug("the board: image number %d runs, %s, %s", report.running, report.stage or "flashed", report.rule)
        self._report = report
        if self._images and self._images.hear(report) and self._installer:
            self._installer.again()
        self._know()

    def _hear_count(self, given: Given, now_s: float) -> None:
        """Take how many samples the board has heard, where that is of the start that its messages are of."""
        board = self._board
        if board and (board.number, board.start) == (given.device, given.session):
            self._samples.hear(given, now_s)

    def _know(self) -> None:
        """Note what the board says that it runs, of this start of it."""
        board, report = self._board, self._report
        if not (board and report and (board.number, board.start) == (report.device, report.session)):
            return
        release = self._images.release(report) if isinstance(self._images, BoardSlots) else None
        known = board.model_copy(update={"image": report.running, "release": release})
        if known != board:
            self._remember(known)

    def _remember(self, board: Board) -> None:
        """Hold what is known of the board; on a full disk for this process alone, and another begins a session."""
        self._board = board
        try:
            board.save(self._folder)
        except OSError as e:
            log.warning("what the board said cannot be noted: %s", e)

    def _take(self, message: Message, now_s: float) -> None:
        """Put a message into the outbox, with this device's number, the count of its start, and the time."""
        if self._board is None or not self._board.is_of(message):
            try:
                session = self._outbox.start(after=self._place.session)
            except ValueError as e:  # the next message begins it, where there is room by then
                return log.warning("a message of the board is lost: %s", e)
            self._board = Board(
                number=message.device, start=message.session, session=session, sequence=message.sequence
            )
            self._samples = Samples(self._sr)
            log.info("session %d: board %08x, start %08x", self._board.session, message.device, message.session)
        # First: killed between the two the bridge loses a message, as one loses it that is killed a moment earlier.
        self._remember(self._board.after(message))
        self._know()
        if self._images:
            self._images.heard(message.session)
        message = dataclasses.replace(message, device=self._place.number, session=self._board.session)
        if isinstance(message, Heartbeat):
            self._samples.beat(message.heard + message.dropped, now_s)
        else:
            message = dataclasses.replace(message, clock=message.clock or self._clock(message.decided, now_s))
            log.info("incident %d %s: shots=%d", message.incident, message.state.name.lower(), message.shots)
        return self._outbox.put(message)

    def _clock(self, sample: int, now_s: float) -> Clock | None:
        """Return the time of a sample, where this machine is sure of its own."""
        error_us, heard = self._error_us(), self._samples.time(sample, now_s)
        if error_us is None or heard is None:
            return None
        then_s, way_s = heard
        unix_us, read_us = clock.unix_us(then_s)
        return Clock(unix_us, error_us + read_us + math.ceil(way_s * 1e6))

    def _be_born(self) -> None:
        """Connect to the hub once it is known what the board is, and anew where that is something else.

        A new start is told once the board said which image runs, as the hub takes a trial back that does not run. Until
        then messages go out by the link of the start before; where there is none they do not wait.
        """
        if self._board is None or self._board.model is None:
            return
        if self._link and isinstance(self._images, BoardSlots) and self._images.is_asking:
            return
        board = self._board
        birth = Birth(
            name=self._place.name, number=self._place.number, session=board.session, model=board.model,
            operating_point=board.operating_point, version=messages.VERSION,
            capabilities=CAPABILITIES + [VIDEO] * bool(self._place.camera) + self._takes(),
            image=board.image or None, release=board.release,
        )  # fmt: skip
        if birth != self._birth:
            if self._link:
                self._link.close()
            if self._answers is None:
                self._answers = self._new_answers(birth)
            self._answers.begin(birth.session)
            self._birth, self._link = birth, self._connect(birth, self._answers)

    def _takes(self) -> list[str]:
        """Return the class of images that the board takes of roll-outs, where it has ever said what it runs."""
        is_sure = isinstance(self._images, BoardSlots) and self._board.image is not None
        return [takes(self._images.hardware)] if is_sure else []


def run(line: Line, bridge: Bridge) -> None:
    """Pass on what comes on a line, and what goes to the board, for ever."""
    while True:
        data = line.read()
        bridge.hear(data, time.monotonic())
        bridge.pump()
        if data is not None and (orders := bridge.outgoing(time.monotonic())):
            line.write(orders)
