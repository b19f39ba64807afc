"""An emulated board that takes images: its flash is a file, its serial line a pty, and power can be lost."""

import contextlib
import os
import resource
import select
import signal
import struct
import subprocess
import time
import tty
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gunshot.device import emulator
from gunshot.device.board_image import Delivery, Report
from gunshot.device.line import Reader
from gunshot.signing import keys, manifests

NAME = "mps2-an386"
SLOT, CHOICE = 128 * 1024, 256
FLASH = 2 * (SLOT + CHOICE)
OPERATOR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
FLASHED = 3  # the number of what was flashed
HEADER = """#include <stdint.h>

#define GUNSHOT_OTA_INSTALLED {number}u
static const uint8_t gunshot_ota_key[32] = {{{key}}};
"""


def header(folder: Path) -> Path:
    """Whom the board trusts, as `gunshot export promoted` has it."""
    path = folder / "ota_key.h"
    key = ", ".join(map(str, keys.raw(OPERATOR.public_key())))
    path.write_text(HEADER.format(number=FLASHED, key=key))
    return path


def manifest(image: bytes, number: int, *, device: str = NAME, key: Ed25519PrivateKey = OPERATOR) -> bytes:
    """The manifest of an image, of the model v1.NUMBER.0."""
    return manifests.sign(image, device=device, number=number, version=f"v1.{number}.0", key=key)


def lose_power_at(byte: int | None) -> None:
    """Let this process write no byte of a file from that one on: a write that comes to it is cut there."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if byte is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (byte, byte))


class Board:
    """One whose flash is blank, in a folder that is there; it hears silence for so long at each start."""

    def __init__(self, folder: Path, program: Path, *, heard_s: int = 600):
        self.folder, self._program = folder, program
        (folder / "flash").write_bytes(b"\xff" * FLASH)
        size = 32_000 * heard_s
        head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16)
        (folder / "in.wav").write_bytes(head + b"data" + struct.pack("<I", size))
        os.truncate(folder / "in.wav", 44 + size)  # zeros that take no room
        self.starts = 0

    @property
    def flash(self) -> bytes:
        return (self.folder / "flash").read_bytes()

    def slot(self, number: int) -> bytes:
        return self.flash[number * SLOT : (number + 1) * SLOT]

    @contextlib.contextmanager
    def powered(self, until: int | None = None) -> Iterator[tuple[subprocess.Popen, int]]:
        """Start it, and give its process and its line, until power is lost: here, or at a byte of its flash."""
        self.starts += 1
        line, end = os.openpty()
        tty.setraw(end)
        os.set_blocking(line, False)  # or what is sent to one that has just ended would wait for ever
        command = emulator.qemu(self._program, NAME, ["in.wav", "uart", str(self.starts)], os.ttyname(end))
        out = (self.folder / "said").open("wb")
        board = subprocess.Popen(
            command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            preexec_fn=lambda: lose_power_at(until),
        )  # fmt: skip
        try:
            yield board, line
        finally:
            board.kill()
            board.wait()
            os.close(line)
            os.close(end)
            out.close()

    def start(self, delivery: Delivery | None = None, *, power_until: int | None = None, until=None) -> list[Report]:
        """Start it, and return what it reports until it ends, or loses power, or `until` is true of a report."""
        reader, reports = Reader(), []
        with self.powered(power_until) as (board, line):
            while True:
                has_ended = board.poll() is not None  # asked before the line is: it may end after its last report
                ready, _, _ = select.select([line], [], [], 0 if has_ended else 0.1)
                if has_ended and not ready:
                    break
                for one in reader.push(os.read(line, 4096)) if ready else []:
                    if isinstance(one, Report):
                        reports.append(one)
                        if delivery:
                            delivery.hear(one)
                    elif delivery:
                        delivery.heard(one.session)
                if until and reports and until(reports[-1]):
                    break
                if delivery and (data := delivery.outgoing(time.monotonic())):
                    with contextlib.suppress(BlockingIOError):  # lost, as by the bridge's line
                        os.write(line, data)
                if delivery and delivery.ended:
                    break
        return reports
