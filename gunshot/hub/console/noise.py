"""How loud it is around devices, by hour, as their heartbeats say."""

from collections import defaultdict
from datetime import UTC, datetime
from statistics import median

import sqlalchemy as sql

from gunshot.device import messages
from gunshot.device.messages import Heartbeat
from gunshot.hub.console.times import utc
from gunshot.hub.database import MESSAGE

HOUR_S = 3600


class Noise:
    """The noise of devices in the last hours, `hours` of them, each the median of the heartbeats that came in it.

    What came in an hour that is over does not change, and is read once: a hundred devices have 216,000 heartbeats.
    """

    def __init__(self, hours: int):
        self._hours = hours
        self._over: dict[str, tuple[int, dict[int, float]]] = {}  # by device: all hours before one, since 1970

    def levels(self, connection: sql.Connection, device: str, *, now: datetime) -> dict[int, float]:
        """Return a device's noise, dB SPL, by how many hours ago it was; 0 is the hour that is not over."""
        hour = int(now.timestamp()) // HOUR_S
        first = hour - self._hours + 1
        start, levels = self._over.get(device, (first, {}))
        levels = levels | _read(connection, device, max(start, first))
        over = {at: level for at, level in levels.items() if first <= at < hour - 1}
        self._over[device] = hour - 1, over  # not the one before: its last message may not be committed yet
        return {hour - at: level for at, level in levels.items() if first <= at <= hour}


def _read(connection: sql.Connection, device: str, start: int) -> dict[int, float]:
    """Return the noise of the hours from `start` on; of a heartbeat, which the intake has checked, this field alone."""
    m, form, out = MESSAGE.c, messages.BODY[Heartbeat], defaultdict(list)
    came = m.received_at >= datetime.fromtimestamp(start * HOUR_S, UTC)
    query = sql.select(m.received_at, m.payload).where(m.device == device, came, m.incident.is_(None), m.payload != b"")
    for at, payload in connection.execute(query):
        *_, noise = form.unpack_from(payload, messages.HEAD.size)
        out[int(utc(at).timestamp()) // HOUR_S].append(noise / 10)
    return {hour: median(levels) for hour, levels in out.items()}
