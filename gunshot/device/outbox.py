"""What a device has to send and the hub has not acknowledged, on its disk: bounded, in order, over restarts.

Where the disk takes nothing, all of it is in memory until it does again. What comes meanwhile is sent all the same, and
lost where the device ends before; what the hub has by then may be sent to it once more.
"""

import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from gunshot.device import messages
from gunshot.device.messages import Heartbeat, Message

FILE = "outbox.sqlite"
MOST_COUNT, MOST_BYTES = 20_000, 32 * 2**20
RETRY_S = 10.0  # from one look at whether a disk that took nothing does again to the next
TABLES = """
CREATE TABLE IF NOT EXISTS message (
  place INTEGER PRIMARY KEY AUTOINCREMENT, session INTEGER, sequence INTEGER, heartbeat INTEGER, payload BLOB,
  UNIQUE (session, sequence));
CREATE INDEX IF NOT EXISTS turn ON message (heartbeat, place);
CREATE TABLE IF NOT EXISTS total (session INTEGER, dropped INTEGER);
INSERT INTO total SELECT 0, 0 WHERE NOT EXISTS (SELECT * FROM total);
"""
T = TypeVar("T")

log = logging.getLogger("gunshot")


class Waiting(NamedTuple):
    """A message that waits."""

    session: int
    sequence: int
    payload: bytes


class Outbox:
    """The messages of a device that wait, in a file of its folder; one process at a time has it.

    Where there are too many the oldest heartbeats go first, then the oldest others; `dropped` counts them.

    Parameters
    ----------
    folder : the device's
    most_count, most_bytes : of messages that wait
    retry_s : from one look at whether a disk that took nothing does again to the next

    Attributes
    ----------
    fault : str | None
        Why the disk takes nothing; None: it does.

    Raises
    ------
    ValueError
        Another process has it, or the disk takes nothing: a session must have a number that no other had.
    """

    def __init__(
        self, folder: Path, *, most_count: int = MOST_COUNT, most_bytes: int = MOST_BYTES, retry_s: float = RETRY_S
    ):
        self._most, self._retry_s = (most_count, most_bytes), retry_s
        self.fault: str | None = None
        self._due = 0.0  # when it is tried again whether the disk takes what is in memory
        self._disk = self._db = sqlite3.connect(folder / FILE, timeout=0)
        try:
            # Exclusive: a second process would send the same again, and take the first one's place at the broker.
            self._db.executescript(f"PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; {TABLES}; COMMIT")
        except sqlite3.OperationalError as e:
            raise ValueError(
                f"{folder / FILE}: {e}; is `gunshot device run` or `bridge` running there already?"
            ) from None

    def start(self, *, after: int = 0) -> int:
        """Return the number of a new session, larger than all before and than `after`; it is on the disk.

        ValueError where the disk takes nothing: after a restart another session would have the same number.
        """
        try:
            with self._disk:
                self._disk.execute("UPDATE total SET session = max(session, ?) + 1", (after,))
        except sqlite3.OperationalError as e:
            raise ValueError(f"{FILE}: {e}; a session begins once there is room for its number on the disk") from None
        return self._one("SELECT session FROM total")

    @property
    def dropped(self) -> int:
        """Return how many messages found no room, or were damaged, in all sessions."""
        return self._one("SELECT dropped FROM total")

    def __len__(self) -> int:
        return self._one("SELECT count(*) FROM message")

    def put(self, message: Message) -> None:
        """Add a message; it is on the disk, and what it has no room for is not."""
        beat, payload = isinstance(message, Heartbeat), messages.encode(message)
        with self._db:
            self._db.execute(
                "INSERT INTO message (session, sequence, heartbeat, payload) VALUES (?, ?, ?, ?)",
                (message.session, message.sequence, beat, payload),
            )
            while self._is_over():
                worst = "SELECT place FROM message ORDER BY heartbeat DESC, place LIMIT 1"
                self._db.execute(f"DELETE FROM message WHERE place = ({worst})")
                self._db.execute("UPDATE total SET dropped = dropped + 1")

    def first(self, count: int) -> list[Waiting]:
        """Return the messages that wait longest, oldest first. A damaged one is dropped: the hub could not read it."""
        return self._whole("place", count)

    def next(self, count: int) -> list[Waiting]:
        """Return what is to be sent: as `first`, but alerts before heartbeats, of which an outage leaves days."""
        return self._whole("heartbeat, place", count)

    def remove(self, session: int, sequence: int) -> None:
        """Delete a message that the hub has."""
        with self._db:
            self._db.execute("DELETE FROM message WHERE session = ? AND sequence = ?", (session, sequence))

    def close(self) -> None:
        """Let another process have it."""
        self._db.close()

    def _is_over(self) -> bool:
        count, size = self._db.execute("SELECT count(*), total(length(payload)) FROM message").fetchone()
        return count > self._most[0] or size > self._most[1]

    def _whole(self, order: str, count: int) -> list[Waiting]:
        rows = self._db.execute(f"SELECT session, sequence, payload FROM message ORDER BY {order} LIMIT ?", (count,))
        return [one for row in rows.fetchall() if self._is_whole(one := Waiting(*row))]

    def _is_whole(self, one: Waiting) -> bool:
        try:
            messages.decode(one.payload)
        except ValueError:
            self.remove(one.session, one.sequence)
            with self._db:
                self._db.execute("UPDATE total SET dropped = dropped + 1")
            return False
        return True

    def _one(self, query: str) -> int:
        return self._db.execute(query).fetchone()[0]
