"""What a device has to send and the hub has not acknowledged, on its disk: bounded, in order, over restarts.

Where the disk takes nothing, all of it is in memory until it does again. What comes meanwhile is sent all the same, and
lost where the device ends before; what the hub has by then may be sent to it once more.
"""

import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

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
        Another process has it.
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
            self._db.executescript(
                f"PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=PERSIST; BEGIN EXCLUSIVE; {TABLES}; COMMIT"
            )
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
            raise ValueError(f"{FILE}: {e}; make room: a session begins once its number is on the disk") from None
        (session,) = self._disk.execute("SELECT session FROM total").fetchone()
        if self.fault:
            with self._db:
                self._db.execute("UPDATE total SET session = ?", (session,))
        return session

    @property
    def dropped(self) -> int:
        """Return how many messages found no room, or were damaged, in all sessions."""
        return self._one("SELECT dropped FROM total")

    def __len__(self) -> int:
        return self._one("SELECT count(*) FROM message")

    def put(self, message: Message) -> None:
        """Add a message; it is on the disk where that takes it, and what there are too many of is not."""
        beat, payload = isinstance(message, Heartbeat), messages.encode(message)

        def add(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO message (session, sequence, heartbeat, payload) VALUES (?, ?, ?, ?)",
                (message.session, message.sequence, beat, payload),
            )
            while self._is_over(db):
                worst = "SELECT place FROM message ORDER BY heartbeat DESC, place LIMIT 1"
                db.execute(f"DELETE FROM message WHERE place = ({worst})")
                db.execute("UPDATE total SET dropped = dropped + 1")

        self._write(add)

    def first(self, count: int) -> list[Waiting]:
        """Return the messages that wait longest, oldest first. A damaged one is dropped: the hub could not read it."""
        return self._whole("place", count)

    def next(self, count: int) -> list[Waiting]:
        """Return what is to be sent: as `first`, but alerts before heartbeats, of which an outage leaves days."""
        return self._whole("heartbeat, place", count)

    def remove(self, session: int, sequence: int) -> None:
        """Delete a message that the hub has."""
        one = session, sequence
        self._write(lambda db: db.execute("DELETE FROM message WHERE session = ? AND sequence = ?", one))

    def close(self) -> None:
        """Let another process have it."""
        if self.fault:
            self._go_back()
        self._disk.close()

    def _write(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Do work in a transaction: on the disk, or in memory while that takes nothing."""
        if self.fault and time.monotonic() >= self._due:
            self._go_back()
        try:
            with self._db:
                work(self._db)
        except sqlite3.OperationalError as e:
            if self._db is not self._disk:
                raise
            self._leave(str(e))
            with self._db:
                work(self._db)

    def _leave(self, fault: str) -> None:
        """Go on in memory."""
        self.fault, self._due = fault, time.monotonic() + self._retry_s
        self._db = sqlite3.connect(":memory:")
        self._disk.backup(self._db)
        log.warning("%s: %s; what waits is in memory, and lost if the device ends before there is room", FILE, fault)

    def _go_back(self) -> None:
        """Write what is in memory to the disk, and go on there, where that takes all of it."""
        here, there = ({place for (place,) in db.execute("SELECT place FROM message")} for db in (self._db, self._disk))
        gone, new = ([(place,) for place in sorted(places)] for places in (there - here, here - there))
        try:
            with self._disk:  # what goes first: a disk may be as full as that
                self._disk.executemany("DELETE FROM message WHERE place = ?", gone)
                for key in new:
                    row = self._db.execute("SELECT * FROM message WHERE place = ?", key).fetchone()
                    self._disk.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?)", row)
                self._disk.execute("UPDATE total SET dropped = ?", (self.dropped,))
        except sqlite3.OperationalError:
            self._due = time.monotonic() + self._retry_s
            return
        self._db.close()
        self._db, self.fault = self._disk, None
        log.info("%s: what waits is on the disk again", FILE)

    def _is_over(self, db: sqlite3.Connection) -> bool:
        count, size = db.execute("SELECT count(*), total(length(payload)) FROM message").fetchone()
        return count > self._most[0] or size > self._most[1]

    def _whole(self, order: str, count: int) -> list[Waiting]:
        rows = self._db.execute(f"SELECT session, sequence, payload FROM message ORDER BY {order} LIMIT ?", (count,))
        return [one for row in rows.fetchall() if self._is_whole(one := Waiting(*row))]

    def _is_whole(self, one: Waiting) -> bool:
        try:
            messages.decode(one.payload)
        except ValueError:
            self.remove(one.session, one.sequence)
            self._write(lambda db: db.execute("UPDATE total SET dropped = dropped + 1"))
            return False
        return True

    def _one(self, query: str) -> int:
        return self._db.execute(query).fetchone()[0]
