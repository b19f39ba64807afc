"""What a device sent, into the database: whatever order it comes in, and however often.

Each function works in the transaction of the connection that it is given. The caller commits, and only then sends the
acknowledgements that `alerts` returned.

Refused is what no repetition makes right: it is kept with its reason, and acknowledged, or it would come for ever. Not
acknowledged is what the device may yet be right about: it is not enrolled in this database, or its message is damaged,
so that its numbers may be those of another message, which the device would then delete unstored.
"""

import hashlib
import logging
import zlib
from collections.abc import Callable, Sequence
from datetime import datetime

import sqlalchemy as sql

from gunshot.base.files import shown
from gunshot.device import messages
from gunshot.device.messages import Incident, State
from gunshot.device.topics import Acknowledgement, Birth, Status
from gunshot.hub import fusion
from gunshot.hub.database import DEVICE, INCIDENT, MESSAGE, ONSET, REFUSED, SESSION
from gunshot.hub.rows import Rows

RANK = {State.OPENED: 0, State.UPDATED: 1, State.CLOSED: 2, State.WITHDRAWN: 3}  # of two states the later is true
MOST = 2**63 - 1  # of a count in a database
MOST_REFUSED = 1000  # messages of a device that are kept with their reason: or it could fill the disk with them
MOST_SESSIONS = 1000  # of a device, likewise: each birth may name another one
MOST_REASON = 500  # characters: a message may quote what it refuses
LATE_US = 10_000_000  # after its sound, at most, the first message of a device comes that does not know the time
SAID = {"profile", "opinion_sequence", "verifier", "opinion", "upheld"}  # of an incident's row: nothing that was heard
LATEST_US = 253_402_300_799_999_999  # the end of the year 9999, the last that a datetime has

log = logging.getLogger("gunshot")


class UnknownError(ValueError):
    """A device that is not enrolled, or no longer."""


def alerts(
    connection: sql.Connection, sent: Sequence[tuple[str, bytes]], *, now: datetime, sr: int
) -> list[Acknowledgement | None]:
    """Take in messages, each a device and its bytes; return what to acknowledge, None where a device is to keep one.

    Many at once cost less than one at a time, and come to the same. `sr` is the rate of the samples that messages
    count, Hz.
    """
    names = {device for device, _ in sent}
    devices = {row.name: row for row in connection.execute(sql.select(DEVICE).where(DEVICE.c.name.in_(names)))}
    taken, out = _Taken(connection, now=now, sr=sr), []
    for device, payload in sent:
        acknowledgement = _head(payload)
        try:
            number = _writer(devices.get(device), device)
            message = messages.decode(payload)
            _check(message, number, sr)
            taken.store(devices[device], message, payload)
        except ValueError as e:
            refuse(connection, device, "alert", payload, str(e), now)
            acknowledgement = None if isinstance(e, UnknownError) else acknowledgement
        out.append(acknowledgement)
    fusion.join(connection, taken.write(), now=now)
    return out


def alert(connection: sql.Connection, device: str, payload: bytes, *, now: datetime, sr: int) -> Acknowledgement | None:
    """Take in one message: see `alerts`."""
    return alerts(connection, [(device, payload)], now=now, sr=sr)[0]


def birth(connection: sql.Connection, device: str, payload: bytes, *, now: datetime) -> None:
    """Take in what a device is, of one of its sessions."""
    try:
        number, report = writer(connection, device), Birth.decode(payload)
        if (report.name, report.number) != (device, number):
            raise ValueError(f"name={report.name}, number={report.number} must be {device}, {number}, as enrolled")
    except ValueError as e:
        refuse(connection, device, "birth", payload, str(e), now)
        return
    values = report.model_dump(exclude={"name", "number", "session"})
    _note(connection, device, report.session, values | {"heard_at": now})


def status(connection: sql.Connection, device: str, payload: bytes, *, now: datetime) -> Status | None:
    """Take in whether a device is there, and return what it said; None where that is refused or ignored.

    One of an earlier session than the last known is ignored: a late last will.
    """
    try:
        _number(_row(connection, device), device)
        report = Status.decode(payload)
    except ValueError as e:
        refuse(connection, device, "status", payload, str(e), now)
        return None
    newest = connection.scalar(sql.select(sql.func.max(SESSION.c.session)).where(SESSION.c.device == device))
    if newest is not None and report.session < newest:
        return None
    said = report.model_dump(include={"online", "dropped"}, exclude_none=True)  # a will counts nothing
    _note(connection, device, report.session, said | {"heard_at": now})
    return report


def _note(connection: sql.Connection, device: str, session: int, values: dict) -> None:
    """Write what a device says of a session; of a device the last MOST_SESSIONS are kept, which is years of starts."""
    if _merge(connection, SESSION, {"device": device, "session": session}, lambda _: values) is None:
        s = SESSION.c
        last = sql.select(s.session).where(s.device == device).order_by(s.session.desc())
        least = last.offset(MOST_SESSIONS - 1).limit(1).scalar_subquery()
        connection.execute(sql.delete(SESSION).where(s.device == device, s.session < least))


def _head(payload: bytes) -> Acknowledgement | None:
    """Return by what to acknowledge a message, also one of another version or kind; None: its numbers are not sure."""
    size, crc = messages.HEAD.size, messages.CRC
    if len(payload) < size + crc.size or payload[:2] != messages.MAGIC:
        return None
    if crc.unpack(payload[-crc.size :])[0] != zlib.crc32(payload[: -crc.size]):
        return None
    return Acknowledgement(*messages.HEAD.unpack_from(payload)[-3:])


def writer(connection: sql.Connection, device: str) -> int:
    """Return the number of a device that may say what it heard: of one that is revoked only its end is of interest.

    UnknownError where it may not.
    """
    return _writer(_row(connection, device), device)


def _row(connection: sql.Connection, device: str) -> sql.Row | None:
    return connection.execute(sql.select(DEVICE).where(DEVICE.c.name == device)).first()


def _number(row: sql.Row | None, device: str) -> int:
    if row is None:
        raise UnknownError(f"device={device} must be enrolled: `gunshot hub enrol`")
    return row.number


def _writer(row: sql.Row | None, device: str) -> int:
    number = _number(row, device)
    if row.revoked_at is not None:
        since = f"{row.revoked_at:%Y-%m-%d %H:%M:%S} UTC"
        raise UnknownError(f"device={device} must be enrolled; it is revoked since {since}")
    return number


def _check(message: messages.Message, number: int, sr: int) -> None:
    """Raise ValueError where a message is another device's, or says what cannot be."""
    if message.device != number:
        raise ValueError(f"device={message.device} of the message must be {number}, the number of the topic's device")
    if not isinstance(message, Incident):
        return
    for onset in (message.onset, *message.onsets):
        if not onset <= message.decided <= MOST:
            raise ValueError(f"onset={onset} must be at most decided={message.decided}, and that at most {MOST}")
    first = min((message.onset, *message.onsets))
    if message.clock and not 0 <= _unix_us(message, first, sr) <= message.clock.unix_us <= LATEST_US:
        raise ValueError(f"unix_us={message.clock.unix_us} must be from 1970, as must the onset's, to the year 9999")


def _unix_us(message: Incident, onset: int, sr: int) -> int:
    return message.clock.unix_us - (message.decided - onset) * 1_000_000 // sr


class _Taken:
    """What messages come to; `write` writes it."""

    def __init__(self, connection: sql.Connection, *, now: datetime, sr: int):
        self._now, self._sr = now, sr
        self._messages, self._incidents, self._onsets = (Rows(connection, t) for t in (MESSAGE, INCIDENT, ONSET))
        self._changed: dict[tuple, None] = {}  # the keys of incidents of which more was heard, in order

    def store(self, device: sql.Row, message: messages.Message, payload: bytes) -> None:
        """Add a message of a device; ValueError where another one has its numbers."""
        key, number = (device.name, message.session, message.sequence), getattr(message, "incident", None)
        before = self._messages.get(key)
        if before and before["payload"] in (payload, b""):  # it is here, or was until it was purged
            return
        if before:
            numbers = f"session={message.session} sequence={message.sequence}"
            raise ValueError(f"{numbers} must be new; another message has them")
        self._messages.put(key, {"incident": number, "received_at": self._now, "payload": payload})
        if number is None:
            return
        key = device.name, message.session, number
        row = self._incidents.get(key)
        values = _incident(row, message, self._sr) | _span(row, message, self._now, self._sr)
        self._incidents.put(key, values if row else values | {"site": device.site})
        for onset in message.onsets:
            before = self._onsets.get((*key, onset))
            self._onsets.put((*key, onset), _onset(before, message, onset, self._sr))
        news = {name for name, value in values.items() if not row or row[name] != value} - SAID
        if news or message.onsets:
            self._changed[key] = None

    def write(self) -> list[tuple[dict, dict | None]]:
        """Write all of it; return the incidents of which more was heard: the key of each, and its row before."""
        for rows in (self._messages, self._incidents, self._onsets):
            rows.write()
        names = [column.name for column in INCIDENT.primary_key]
        return [(dict(zip(names, key, strict=True)), self._incidents.before(key)) for key in self._changed]


def _incident(row: dict | None, message: Incident, sr: int) -> dict:
    """Return the values of an incident's row after one more of its messages: the same ones in whatever order."""
    values = {
        "state": int(message.state), "shots": message.shots, "score": message.score, "spl_db": message.spl_db,
        "onset": message.onset, "decided": message.decided, "model": f"{message.model:016x}",
    }  # fmt: skip
    if row:
        values["state"] = int(max(State(row["state"]), message.state, key=RANK.get))
        values |= {name: max(row[name], values[name]) for name in ("shots", "score", "spl_db", "decided")}
        values |= {name: min(row[name], values[name]) for name in ("onset", "model")}  # all say the same
    if message.clock and (not row or row["clock_sequence"] is None or message.sequence < row["clock_sequence"]):
        values |= {"clock_sequence": message.sequence, "error_us": message.clock.error_us}
        values["unix_us"] = _unix_us(message, message.onset, sr)
    if message.log_mel is not None and message.log_mel.size:  # of none there is no picture
        rank = message.score, -message.sequence
        if not row or row["evidence_sequence"] is None or rank > (row["evidence_score"], -row["evidence_sequence"]):
            values |= {"evidence_sequence": message.sequence, "evidence_score": message.score}
    return values | _said(row, message)


def _said(row: dict | None, message: Incident) -> dict:
    """Return which profile decided, and the device's second opinion, after one more message of an incident."""
    values = {}
    if message.profile:
        number = f"{message.profile.number:016x}"
        values["profile"] = min(number, row["profile"] or number) if row else number  # all say the same
    if message.opinion and (not row or row["verifier"] is None or row["opinion_sequence"] < message.sequence):
        said = message.opinion
        values |= {"opinion_sequence": message.sequence, "verifier": f"{said.verifier:016x}"}
        values |= {"opinion": said.score, "upheld": bool(said.upheld)}
    return values


def _span(row: dict | None, message: Incident, now: datetime, sr: int) -> dict:
    """Return between which times an incident's onsets were heard, after one more of its messages."""
    if message.clock:
        heard = [_unix_us(message, onset, sr) for onset in (message.onset, *message.onsets)]
        earliest, latest = min(heard) - message.clock.error_us, max(heard) + message.clock.error_us
        if row and row["unix_us"] is not None:
            earliest, latest = min(earliest, row["earliest_us"]), max(latest, row["latest_us"])
    elif row:
        return {}
    else:
        latest = round(now.timestamp() * 1e6)
        earliest = latest - LATE_US
    return {"earliest_us": earliest, "latest_us": min(latest, earliest + fusion.LONGEST_US)}


def _onset(row: dict | None, message: Incident, onset: int, sr: int) -> dict:
    """Return the values of an onset's row; of two times, which no device tells, the one of least error."""
    if not message.clock:
        return {}
    time = message.clock.error_us, _unix_us(message, onset, sr)
    if row and row["unix_us"] is not None:
        time = min(time, (row["error_us"], row["unix_us"]))
    return {"error_us": time[0], "unix_us": time[1]}


def _is(table: sql.Table, key: dict) -> list:
    return [table.c[name] == value for name, value in key.items()]


def _merge(
    connection: sql.Connection, table: sql.Table, key: dict, values: Callable[[sql.Row | None], dict]
) -> sql.Row | None:
    """Insert the row of a key, or update it with what `values` makes of it; return it as it was."""
    row = connection.execute(sql.select(table).where(*_is(table, key))).first()
    new = values(row)
    if row is None:
        connection.execute(sql.insert(table).values(**key, **new))
    elif new:
        connection.execute(sql.update(table).where(*_is(table, key)).values(**new))
    return row


def refuse(connection: sql.Connection, device: str, leaf: str, payload: bytes, reason: str, now: datetime) -> None:
    """Keep what a device sent and is not taken in, with the reason; past MOST_REFUSED of a device, count it alone."""
    reason = shown(reason)[:MOST_REASON]
    key = {"device": device, "leaf": leaf, "sha256": hashlib.sha256(payload).hexdigest()}
    is_there = connection.scalar(sql.select(REFUSED.c.times).where(*_is(REFUSED, key))) is not None
    kept = sql.select(sql.func.count()).select_from(REFUSED).where(REFUSED.c.device == device)
    if not is_there and connection.scalar(kept) >= MOST_REFUSED:
        key["sha256"], payload, reason = "", b"", f"more than {MOST_REFUSED} were refused; this is the last: {reason}"
    values = {"reason": reason[:MOST_REASON], "payload": payload, "refused_at": now}
    before = _merge(connection, REFUSED, key, lambda row: values | {"times": row.times + 1 if row else 1})
    if before is None:  # or a flood of it would be one of the log
        log.warning("%s: of what it sent on %s something is refused: %s", device, leaf, reason)
