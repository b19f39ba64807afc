"""A board with two slots and its bridge, in a few lines: what is told by the line, and what a test loses or kills."""

import hashlib
import struct
import time
import zlib

from gunshot.device import board_image, releases
from gunshot.device.board_image import WAIT_S, decode
from gunshot.device.board_slots import BoardSlots
from gunshot.device.installer import Installer
from gunshot.device.releases import Offer, Report, Stage, Wanted
from tests.device.images import HUB, manifest, part, trusting

CLASS = "mps2-an386"
IMAGE = bytes(range(256)) * 3
IDS = [f"{i:032x}" for i in range(9)]
RULES = board_image.RULES.index


class Board:
    """A board as firmware/src/slots.c and update.c have it, in a few lines, but for signatures."""

    def __init__(self, number: int = 1, device: int = 7):
        self.device = device
        self.slots: dict[str, bytes] = {}  # a manifest's hash: its image
        self.kept = self.trial = self.running = self.writing = None
        self.over, self.least, self.starts, self.start_number = None, number, 0, 0
        self.begins()

    def begins(self) -> bytes:
        """Start again, and say what runs."""
        self.start_number += 1
        self.writing, self.running = None, self.kept
        if self.trial:
            if self.starts == 3:
                self.over, self.trial = self.trial, None
            else:
                self.starts, self.running = self.starts + 1, self.trial
        stage = 4 if self.running == self.kept else 3
        return self.says(stage if self.running else 0)

    def says(self, stage: int, rule: str | None = None) -> bytes:
        running = board_image.mark(self.running) if self.running else (0, bytes(4))
        wants = len(self.slots.get(self.writing, b"")) if self.writing else 0
        whole = struct.pack("<2sBBHIII", b"GS", 2, 5, 36, self.device, self.start_number, 0)
        whole += struct.pack("<BBII4s", stage, RULES(rule), wants, *running)
        return whole + struct.pack("<I", zlib.crc32(whole))

    def takes(self, sent: bytes) -> list[bytes]:
        """Follow what came by the line, and start again where another image is to run."""
        if sent[3] == board_image.PART:
            return self.add(*struct.unpack_from("<I", sent, 18), sent[22:-4])
        wanted, signed = sent[18], sent[19:-4]
        if wanted == board_image.WANTED[Wanted.back]:
            if signed != self.trial:
                return [self.says(2, "unknown")]
            self.over, self.trial = self.trial, None
            return [self.says(5), self.begins()]
        if self.running and self.running == self.kept == signed:
            return [self.says(4)]
        if wanted == board_image.WANTED[Wanted.keep]:
            if self.running is None or not self.running == self.trial == signed:
                return [self.says(2, "unknown")]
            self.kept, self.trial, self.least = self.trial, None, board_image.mark(signed)[0]
            return [self.says(4)]
        if signed == self.trial:
            return [self.says(3)]
        return [self.install(signed)]

    def install(self, signed: bytes) -> bytes:
        if signed == self.writing:
            return self.says(1)
        if board_image.mark(signed)[0] < self.least:
            return self.says(2, "older")
        if self.over == signed:
            return self.says(2, "over")
        if self.trial:
            return self.says(2, "trial")
        self.writing, self.slots[signed] = signed, b""
        return self.says(1)

    def add(self, at: int, content: bytes) -> list[bytes]:
        if self.writing is None:
            return [self.says(2, "unknown")]
        if at == len(self.slots[self.writing]):
            self.slots[self.writing] += content
        if len(self.slots[self.writing]) < int.from_bytes(self.writing[12:16], "little"):
            return [self.says(1)]
        assert hashlib.sha256(self.slots[self.writing]).digest() == self.writing[48:80]
        self.trial, self.starts, self.writing = self.writing, 0, None
        return [self.says(3), self.begins()]


class Bridge:
    """A bridge's images and installer, killed whenever a test likes; `board` is at its line."""

    def __init__(self, folder, board: Board):
        self.folder, self.board, self.now_s, self.slots, self.said = trusting(folder), board, 0.0, None, []
        self.start()

    def start(self) -> None:
        """Start; another process had them."""
        if self.slots:
            self.slots.close()
        self.slots = BoardSlots(self.folder, CLASS, clock=lambda: self.now_s)
        self.installer = Installer(self.folder, "roof", self.slots, None, error_us=lambda: 1000)

    def hear(self, *reports: bytes) -> None:
        for one in map(decode, reports):
            if self.slots.hear(one):
                self.installer.again()

    def line(self, rounds: int, lost: frozenset = frozenset()) -> None:
        """Let so many words pass on the line, where none of them is among the lost ones."""
        for i in range(rounds):
            self.now_s += WAIT_S
            self.slots.heard(self.board.start_number)
            if sent := self.slots.outgoing(self.now_s):
                answers = self.board.takes(sent) if 2 * i not in lost else []
                self.hear(*(answers if 2 * i + 1 not in lost else answers[1:]))

    def offer(self, wanted=Wanted.install, content=IMAGE, number=2, *, id=IDS[0], device=CLASS, **more):
        """What it says to an offer; the parts that it wants come at once."""
        signed = manifest(content, number, device=device).hex()
        said = {"id": id, "wanted": wanted, "device": "roof", "person": "anna", "manifest": signed}
        said["expires_us"] = time.time_ns() // 1000 + 10**9
        self.installer.take(releases.sign(Offer(**said | more), HUB))
        while (last := self.says()) and last.part is not None:
            self.installer.take(part(id, content, last.part))
        return last and (last.stage, last.note)

    def says(self) -> Report | None:
        """The last that it said since it was asked last."""
        said = [Report.decode(one) for one in self.installer.outgoing()]
        return said[-1] if said else None

    def tells(self) -> tuple[Stage, str] | None:
        """Likewise, without more."""
        last = self.says()
        return last and (last.stage, last.note)
