"""The devices: whether each lives and hears, by its last session and its heartbeats."""

from datetime import UTC, datetime, timedelta
from statistics import median

import sqlalchemy as sql

from gunshot.device import messages
from gunshot.device.messages import Heartbeat
from gunshot.device.topics import SPEECH, VIDEO
from gunshot.hub import floods, rollouts
from gunshot.hub.console.noise import Noise
from gunshot.hub.console.times import utc
from gunshot.hub.database import DEVICE, INCIDENT, MESSAGE, SESSION

DAY, DAYS_BEFORE = 24, 14  # hours; what the noise of the last day is compared with
HOURS = DAY * (1 + DAYS_BEFORE)  # of noise
BAND_DB = 10.0  # by which the median of the day may differ from that of the days before
LEAST_HOURS = 6  # with noise, of the day and of the days before, for the comparison
LOW = 20  # percent of a battery, from which on it is told
LEAST_LOG_MEL = 500  # bytes of a heartbeat that has one
TALL = 48  # of the drawing, px, in which an hour is one wide


def devices(connection: sql.Connection, noise: Noise, *, now: datetime) -> list[dict]:
    """Return a dict for each device, by name: its session, last heartbeat, a drawing of its noise, and `warnings`."""
    rows = connection.execute(sql.select(DEVICE).order_by(DEVICE.c.name)).all()
    flooding = floods.recent(connection, now=now)
    return [_device(connection, noise, row, flooding.get(row.name), now) for row in rows]


def rollout(connection: sql.Connection) -> dict | None:
    """Return the last roll-out: a dict of its version, state, note, step, steps, when it changed, and `devices`.

    Those are its devices by stage, names with commas between; None where nothing was rolled out.
    """
    row = rollouts.newest(connection)
    if row is None:
        return None
    stages: dict[str, list[str]] = {}
    for one in rollouts.devices(connection, row.id):
        stages.setdefault(one.stage or ("offered" if one.sent_at else "not yet"), []).append(one.device)
    shown = {name: getattr(row, name) for name in ("version", "number", "state", "note", "step", "steps", "person")}
    devices = {stage: ", ".join(sorted(names)) for stage, names in sorted(stages.items())}
    return shown | {"changed_at": utc(row.changed_at), "devices": devices}


def _device(connection: sql.Connection, noise: Noise, row: sql.Row, flood: sql.Row | None, now: datetime) -> dict:
    s, m, i = SESSION.c, MESSAGE.c, INCIDENT.c
    newest = sql.select(SESSION).where(s.device == row.name).order_by(s.session.desc()).limit(1)
    session = connection.execute(newest).first()
    came = connection.scalar(sql.select(sql.func.max(m.received_at)).where(m.device == row.name))
    last = sql.select(i.error_us).where(i.device == row.name).order_by(i.session.desc(), i.incident.desc()).limit(1)
    incident = connection.execute(last).first()
    beat, levels = _last_heartbeat(connection, row.name), noise.levels(connection, row.name, now=now)
    has_near = beat and beat.near and beat.near.count  # or all heartbeats are looked through for each device
    return {
        "name": row.name, "site": row.site, "session": session, "beat": beat,
        "online": bool(session and session.online), "revoked_at": utc(row.revoked_at),
        "speech": session and SPEECH in (session.capabilities or []),
        "camera": session and VIDEO in (session.capabilities or []),
        "seen_at": max(filter(None, (utc(came), session and utc(session.heard_at))), default=None),
        "clock_error_s": incident.error_us / 1e6 if incident and incident.error_us is not None else None,
        "heard": incident is not None, "drawing": drawing(levels),
        "warnings": [] if row.revoked_at else _flooded(flood) + _empty(beat) + warnings(levels, beat),
        "near": near_miss(connection, row.name, now=now) if has_near else None,
    }  # fmt: skip


def _flooded(flood: sql.Row | None) -> list[str]:
    """Return what is wrong where a device sent more than the hub takes of one."""
    if flood is None:
        return []
    last = f"{utc(flood.last_at):%Y-%m-%d %H:%M} UTC"
    return [
        f"floods the hub: {flood.messages} messages were passed over, the last ones on {last}; revoke it to end that"
    ]


def _empty(beat: Heartbeat | None) -> list[str]:
    """Return what is wrong where a device's battery is nearly empty, by its last heartbeat."""
    if not (beat and beat.battery and beat.battery.percent <= LOW):
        return []
    return [f"its battery is nearly empty: {beat.battery.percent} %"]


def _last_heartbeat(connection: sql.Connection, device: str) -> Heartbeat | None:
    m = MESSAGE.c
    query = sql.select(m.payload).where(m.device == device, m.incident.is_(None))
    payload = connection.scalar(query.order_by(m.received_at.desc(), m.sequence.desc()).limit(1))
    return messages.decode(payload) if payload else None


def near_miss(connection: sql.Connection, device: str, *, now: datetime) -> Heartbeat | None:
    """Return the last heartbeat of a device that is as long as with the log-mel of a near miss, of the last HOURS.

    None where there is none, it was purged, or it has not both near misses and a log-mel.
    """
    m = MESSAGE.c
    longer = sql.func.length(m.payload) > LEAST_LOG_MEL  # no other heartbeat is that its own firmware sends
    came = m.received_at >= now - timedelta(hours=HOURS)
    query = sql.select(m.payload).where(m.device == device, m.incident.is_(None), came, longer)
    payload = connection.scalar(query.order_by(m.received_at.desc(), m.sequence.desc()).limit(1))
    beat = messages.decode(payload) if payload else None
    return beat if beat and beat.near and beat.log_mel is not None and beat.log_mel.size else None


def warnings(noise: dict[int, float], beat: Heartbeat | None) -> list[str]:
    """Return what is wrong with a device's hearing, by its noise by hours ago, dB SPL, and its last heartbeat."""
    out = []
    if beat and beat.stuck:
        out.append(f"perhaps deaf: the microphone stuck {beat.stuck} times since the device's start")
    if beat and beat.rung and beat.rung.number:
        out.append("hears less: many incidents raised its threshold; look at them, calibrate, or delete ladder.json")
    if beat and beat.changed:
        since = datetime.fromtimestamp(beat.changed.since, UTC)
        how = f"{beat.changed.in_words} than on any day before"
        out.append(f"its place has changed since {since:%Y-%m-%d %H:%M} UTC: {how}; where it stays so, calibrate again")
    day = [level for hour, level in noise.items() if hour < DAY]
    before = [level for hour, level in noise.items() if hour >= DAY]
    if min(len(day), len(before)) < LEAST_HOURS:
        return out
    change = median(day) - median(before)
    days = f"{abs(change):.0f} dB {'below' if change < 0 else 'above'} that of the {DAYS_BEFORE} days before"
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
        lines[-1].append(f"{HOURS - 1 - hour},{TALL * (high - noise[hour]) / (high - low):.1f}")
        before = hour
    return {"lines": [" ".join(line if len(line) > 1 else line * 2) for line in lines], "low": low, "high": high}
