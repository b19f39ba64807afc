"""The devices: whether each lives and hears, by its last session and its heartbeats."""

from collections import defaultdict
from datetime import datetime, timedelta
from statistics import median

import sqlalchemy as sql

from gunshot.device import messages
from gunshot.device.messages import Heartbeat
from gunshot.hub.console.times import utc
from gunshot.hub.database import DEVICE, INCIDENT, MESSAGE, SESSION

DAY = timedelta(days=1)
BEFORE = timedelta(days=14)  # what the last day's noise is compared with
BAND_DB = 10.0  # by which the median of the day may differ from that of the days before
LEAST_HOURS = 6  # with noise, of the day and of the days before, for the comparison
TALL, WIDE = 48, 360  # of the drawing, px; an hour is one wide


def devices(connection: sql.Connection, *, now: datetime) -> list[dict]:
    """Return a dict for each device, by name: its session, last heartbeat, noise by hour, and `warnings`."""
    return [_device(connection, row, now) for row in connection.execute(sql.select(DEVICE).order_by(DEVICE.c.name))]


def _device(connection: sql.Connection, row: sql.Row, now: datetime) -> dict:
    s, m, i = SESSION.c, MESSAGE.c, INCIDENT.c
    newest = sql.select(SESSION).where(s.device == row.name).order_by(s.session.desc()).limit(1)
    session = connection.execute(newest).first()
    came = connection.scalar(sql.select(sql.func.max(m.received_at)).where(m.device == row.name))
    last = sql.select(i.error_us).where(i.device == row.name).order_by(i.session.desc(), i.incident.desc()).limit(1)
    incident = connection.execute(last).first()
    beats = _heartbeats(connection, row.name, now)
    noise = _by_hour(beats, now)
    beat = beats[-1][1] if beats else None
    return {
        "name": row.name, "site": row.site, "session": session, "beat": beat,
        "online": bool(session and session.online),
        "seen_at": max(filter(None, (utc(came), session and utc(session.heard_at))), default=None),
        "clock_error_s": incident.error_us / 1e6 if incident and incident.error_us is not None else None,
        "heard": incident is not None, "noise": noise, "drawing": drawing(noise),
        "warnings": warnings(noise, beat),
    }  # fmt: skip


def _heartbeats(connection: sql.Connection, device: str, now: datetime) -> list[tuple[datetime, Heartbeat]]:
    """Return the heartbeats that came in the last day and the days before, oldest first."""
    m = MESSAGE.c
    query = sql.select(m.received_at, m.payload).where(
        m.device == device, m.received_at > now - DAY - BEFORE, m.incident.is_(None)
    )
    rows = connection.execute(query.order_by(m.received_at, m.session, m.sequence))
    return [(utc(at), messages.decode(payload)) for at, payload in rows]


def _by_hour(beats: list[tuple[datetime, Heartbeat]], now: datetime) -> dict[int, float]:
    """Return the median noise, dB SPL, by how many whole hours ago its heartbeats came."""
    levels = defaultdict(list)
    for at, beat in beats:
        levels[max(0, (now - at) // timedelta(hours=1))].append(beat.noise / 10)
    return {hour: median(values) for hour, values in levels.items()}


def warnings(noise: dict[int, float], beat: Heartbeat | None) -> list[str]:
    """Return what is wrong with a device's hearing, by its noise by hours ago, dB SPL, and its last heartbeat."""
    out = []
    if beat and beat.stuck:
        out.append(f"perhaps deaf: the microphone stuck {beat.stuck} times since the device's start")
    day = [level for hour, level in noise.items() if hour < DAY // timedelta(hours=1)]
    before = [level for hour, level in noise.items() if hour >= DAY // timedelta(hours=1)]
    if min(len(day), len(before)) < LEAST_HOURS:
        return out
    change = median(day) - median(before)
    days = f"{abs(change):.0f} dB {'below' if change < 0 else 'above'} that of the {BEFORE.days} days before"
    if change < -BAND_DB:
        out.append(f"perhaps deaf: the noise of the last day is {days}")
    elif change > BAND_DB:
        out.append(f"hears little beside noise: that of the last day is {days}")
    return out


def drawing(noise: dict[int, float]) -> dict | None:
    """Return noise as lines of a drawing: a list of points each, `lines`, and the levels at its edges, `low`, `high`.

    Hours without noise part the lines. None where there is no noise.
    """
    if not noise:
        return None
    low, high = min(noise.values()) // 5 * 5, max(noise.values()) // 5 * 5 + 5
    lines, before = [], None
    for hour in sorted(noise, reverse=True):
        if before != hour + 1:
            lines.append([])
        lines[-1].append(f"{WIDE - 1 - hour},{TALL * (high - noise[hour]) / (high - low):.1f}")
        before = hour
    return {"lines": [" ".join(line if len(line) > 1 else line * 2) for line in lines], "low": low, "high": high}
