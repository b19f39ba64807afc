"""A microcontroller's serial line: its bytes, and the messages that came whole."""

import logging
import time
from contextlib import suppress

import serial

from gunshot.device import board_clock, board_image, messages
from gunshot.device.board_clock import Given
from gunshot.device.board_image import Report
from gunshot.device.messages import Message

PATIENCE_S = 0.5  # between two looks at a line that is quiet, or away

log = logging.getLogger("gunshot")

Said = Message | Report | Given  # by a board
OF_BOARDS = {board_image.REPORT: board_image.decode, board_clock.TIME: board_clock.decode}  # for the bridge alone


class Line:
    """A serial line that may go away and come again, as one by USB does; it is opened at the first `read`.

    Parameters
    ----------
    port : of the operating system, or of a pseudoterminal: /dev/serial/by-id/...
    baud : that the board sends with
    """

    def __init__(self, port: str, baud: int):
        self._port, self._baud = port, baud
        self._serial: serial.Serial | None = None
        self._why = ""  # it is away, as was said last

    def read(self) -> bytes | None:
        """Return what came: nothing where the line was quiet for PATIENCE_S, None where there is no line."""
        try:
            if self._serial is None:  # what came before is thrown away: nobody knows when
                self._serial = serial.Serial(
                    self._port, self._baud, timeout=PATIENCE_S, write_timeout=PATIENCE_S, exclusive=True
                )
                self._why = ""
                log.info("%s is open", self._port)
            first = self._serial.read(1)
            return first + self._serial.read(self._serial.in_waiting)
        except OSError as e:
            self.close()
            if str(e) != self._why:
                log.warning("%s is away: %s", self._port, e)
            self._why = str(e)
            time.sleep(PATIENCE_S)
            return None

    def write(self, data: bytes) -> None:
        """Send bytes to the board; they are lost where there is no line, or the board takes none."""
        with suppress(OSError):  # a line that went away is the next `read`'s to say
            if self._serial:
                self._serial.write(data)

    def close(self) -> None:
        """Let another process have it."""
        if self._serial:
            self._serial.close()
            self._serial = None


class Reader:
    """Messages, reports and answers out of a line's bytes, in whatever pieces they come.

    A message is taken when its last byte came, if none of its bytes was lost or damaged. Bytes that are of none are
    passed over, and `passed` counts them. None of them delays a message behind them: of a beginning that states a
    length nobody knows whether it is true, so what lies within is looked at as well.
    """

    def __init__(self):
        self._bytes = bytearray()  # from the first beginning of what may become a message
        self.passed = 0

    def push(self, data: bytes) -> list[Said]:
        """Return the messages, reports and answers that are whole with further bytes."""
        self._bytes += data
        out, end, waits, at = [], 0, None, -1  # `end` of the last message; where the first that may come begins
        while (at := self._bytes.find(messages.MAGIC, at + 1)) >= 0:
            size = self._stated(at)
            if size is None or at + size > len(self._bytes):
                waits = at if waits is None else waits
                continue
            try:
                out.append(_decoded(bytes(self._bytes[at : at + size])))
            except ValueError:
                continue
            self.passed += at - end
            end, waits, at = at + size, None, at + size - 1
        if waits is None:
            waits = len(self._bytes) - self._bytes.endswith(messages.MAGIC[:1])
        waits = max(waits, end)
        self.passed += waits - end
        del self._bytes[:waits]
        return out

    def _stated(self, at: int) -> int | None:
        """Return how long a message that begins there would be: None where that has not come yet."""
        if len(self._bytes) - at < messages.HEAD.size:
            return None
        _, version, kind, size, *_ = messages.HEAD.unpack_from(self._bytes, at)
        return size if version == messages.VERSION and kind in (*messages.KINDS, *OF_BOARDS) else 0


def _decoded(data: bytes) -> Said:
    kind = messages.HEAD.unpack_from(data)[2] if len(data) >= messages.HEAD.size else None
    return OF_BOARDS.get(kind, messages.decode)(data)
