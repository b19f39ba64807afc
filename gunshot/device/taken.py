"""The orders that a device has taken, by their ids, on its disk, so that none is followed twice. No sound is there."""

import sqlite3
from pathlib import Path

FILE = "orders.sqlite"
MOST = 1000
TABLE = "CREATE TABLE IF NOT EXISTS taken (id TEXT PRIMARY KEY, session INTEGER, expires_us INTEGER)"


class Taken:
    """The ids of the orders that were taken and could come again, MOST at most; in a device's folder."""

    def __init__(self, folder: Path):
        self._db = sqlite3.connect(folder / FILE)
        self._db.execute(TABLE)

    def __contains__(self, id: str) -> bool:
        return self._db.execute("SELECT 1 FROM taken WHERE id = ?", (id,)).fetchone() is not None

    def forget(self, *, session: int, now_us: int | None) -> None:
        """Forget what is refused without it: what has expired, where the time is known, or names a session before."""
        with self._db:
            self._db.execute("DELETE FROM taken WHERE session < ? OR expires_us < ?", (session, now_us or 0))

    def is_full(self) -> bool:
        """Return whether it has no room."""
        return self._db.execute("SELECT count(*) FROM taken").fetchone()[0] >= MOST

    def add(self, id: str, *, session: int | None, expires_us: int) -> None:
        """Add an order, and the session that it names; it is on the disk."""
        with self._db:
            self._db.execute("INSERT INTO taken VALUES (?, ?, ?)", (id, session, expires_us))

    def close(self) -> None:
        """Close its file."""
        self._db.close()
