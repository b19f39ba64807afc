"""The intake alone: any order and repetition of a session's messages gives the same rows; what is refused and why."""

import dataclasses
import functools
import struct
import zlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sql
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from gunshot.device import messages, topics
from gunshot.device.messages import Clock, Heartbeat, Incident, Opinion, Profile, State
from gunshot.device.topics import Acknowledgement, Birth, Status
from gunshot.hub import database, incidents, intake, service
from tests.flows.prefect_server import postgresql

SR, NUMBER = 16000, 7
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOON_US = round(NOW.timestamp() * 1e6)
FIRST = Incident(
    device=NUMBER, session=3, sequence=0, incident=1, state=State.OPENED, shots=1, onset=16_000, decided=24_000,
    score=50_000, spl_db=1011, model=0xFEDCBA9876543210, onsets=(16_000,), clock=Clock(NOON_US, 2_000),
    log_mel=np.arange(6, dtype=np.int8).reshape(3, 2),
)  # fmt: skip
BEAT = Heartbeat(NUMBER, 3, 1, *[0] * 10)
BIRTH = Birth(
    name="roof", number=NUMBER, session=3, model="fedcba9876543210", operating_point=0.9, version=2, capabilities=[]
)


@functools.cache
def connect(url: str) -> sql.Engine:
    """A database whose tables are made once."""
    engine = database.engine(url)
    database.DATA.create_all(engine)
    return engine


def a_database(url: str = "sqlite://") -> sql.Engine:
    """A database with one device and nothing that came."""
    engine = connect(url)
    with engine.begin() as connection:
        for table in reversed(database.DATA.sorted_tables):
            connection.execute(sql.delete(table))
        connection.execute(sql.insert(database.DEVICE), [{"name": "roof", "number": NUMBER}])
    return engine


def take(engine: sql.Engine, payload: bytes, device: str = "roof") -> Acknowledgement | None:
    with engine.begin() as connection:
        return intake.alert(connection, device, payload, now=NOW, sr=SR)


def rows(engine: sql.Engine, table: sql.Table) -> list[dict]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(sql.select(table).order_by(*table.primary_key)).mappings()]


def refusals(engine: sql.Engine) -> list[str]:
    return [row["reason"] for row in rows(engine, database.REFUSED)]


@st.composite
def sessions(draw) -> list[messages.Message]:
    """The messages of a session in their order: incidents of some messages each, and heartbeats between them."""
    out, at = [], 0
    for number in range(1, draw(st.integers(1, 3)) + 1):
        onset, shots, score, level, codes = at + 1_000, 0, 0, -2000, None
        states = [State.OPENED, *[State.UPDATED] * draw(st.integers(0, 3))]
        for state in states + draw(st.sampled_from([[], [State.CLOSED], [State.WITHDRAWN]])):
            if draw(st.booleans()):
                out.append(dataclasses.replace(BEAT, sequence=len(out)))
            new = draw(st.integers(1, 3))
            onsets = tuple(at + 1_000 * (i + 1) for i in range(new))
            shots, at, before = shots + new, onsets[-1] + draw(st.integers(1, 20_000)), score
            score, level = max(score, draw(st.integers(1, 65535))), max(level, draw(st.integers(-300, 1500)))
            codes = np.full((2, 3), draw(st.integers(-128, 127)), np.int8) if score > before else None
            clock = (
                Clock(NOON_US + at * 1_000_000 // SR, draw(st.integers(0, 2**32 - 1))) if draw(st.booleans()) else None
            )
            out.append(
                Incident(
                    device=NUMBER,
                    session=3,
                    sequence=len(out),
                    incident=number,
                    state=state,
                    shots=shots,
                    onset=onset,
                    decided=at,
                    score=score,
                    spl_db=level,
                    model=2**64 - 1,
                    onsets=onsets,
                    clock=clock,
                    log_mel=codes,
                    opinion=draw(st.none() | st.builds(Opinion, st.just(255), st.integers(0, 9), st.integers(0, 1))),
                    profile=draw(st.sampled_from([None, Profile(254)])),
                )
            )
    return out


def check(engine: sql.Engine, sent: list[messages.Message]) -> None:
    """The rows are those that follow from the messages in their order."""
    of_incidents = [m for m in sent if isinstance(m, Incident)]
    written = rows(engine, database.INCIDENT)
    assert [row["incident"] for row in written] == sorted({m.incident for m in of_incidents})
    for row in written:
        own = [m for m in of_incidents if m.incident == row["incident"]]
        last, clocks, evidence = own[-1], [m for m in own if m.clock], [m for m in own if m.log_mel is not None]
        assert State(row["state"]) == last.state and row["model"] == "f" * 16
        assert all(row[name] == getattr(last, name) for name in ("shots", "score", "spl_db", "onset", "decided"))
        assert row["evidence_sequence"] == evidence[-1].sequence
        said, by = [m for m in own if m.opinion], [m for m in own if m.profile]
        assert row["profile"] == (f"{254:016x}" if by else None)
        assert row["opinion_sequence"] == (said[-1].sequence if said else None)
        if said:
            opinion = said[-1].opinion
            assert (row["verifier"], row["opinion"], row["upheld"]) == (
                "00000000000000ff",
                opinion.score,
                opinion.upheld == 1,
            )
        if clocks:
            early = clocks[0].clock.unix_us - (clocks[0].decided - last.onset) / SR * 1e6
            assert row["error_us"] == clocks[0].clock.error_us and abs(row["unix_us"] - early) <= 1
        else:
            assert row["unix_us"] is None and row["error_us"] is None
    onsets = [(m, onset) for m in of_incidents for onset in m.onsets]
    onset_rows = rows(engine, database.ONSET)
    assert [(row["incident"], row["onset"]) for row in onset_rows] == sorted((m.incident, onset) for m, onset in onsets)
    for row in onset_rows:
        (m,) = (m for m, onset in onsets if onset == row["onset"])
        assert row["error_us"] == (m.clock and m.clock.error_us)
        assert m.clock is None or abs(row["unix_us"] - NOON_US - row["onset"] / SR * 1e6) <= 2
    assert [row["payload"] for row in rows(engine, database.MESSAGE)] == [messages.encode(m) for m in sent]
    assert refusals(engine) == []


@pytest.mark.slow
@given(sent=sessions(), data=st.data())
def test_any_order_repetition_and_grouping_gives_the_same_rows(sent, data):
    again = data.draw(st.lists(st.sampled_from(sent), max_size=5))
    engine = a_database()
    left = data.draw(st.permutations(sent + again))
    while left:
        together = data.draw(st.integers(1, len(left)))
        some, left = left[:together], left[together:]
        with engine.begin() as connection:
            done = intake.alerts(connection, [("roof", messages.encode(m)) for m in some], now=NOW, sr=SR)
        assert done == [Acknowledgement(NUMBER, m.session, m.sequence) for m in some]
    check(engine, sent)


@pytest.mark.slow
@given(sent=sessions(), data=st.data())
def test_messages_that_never_came_are_seen(sent, data):
    came = data.draw(st.lists(st.sampled_from(sent), min_size=1, unique_by=lambda m: m.sequence))
    engine = a_database()
    for message in came:
        take(engine, messages.encode(message))
    with engine.connect() as connection:
        gaps = list(incidents.gaps(connection))
    missing = {sequence for _, _, first, last in gaps for sequence in range(first, last + 1)}
    newest = max(m.sequence for m in came)
    assert missing == set(range(newest)) - {m.sequence for m in came}
    assert all((device, session) == ("roof", 3) and first <= last for device, session, first, last in gaps)


def resealed(payload: bytes) -> bytes:
    """The bytes with the checksum that they should have."""
    return payload[:-4] + struct.pack("<I", zlib.crc32(payload[:-4]))


@pytest.mark.parametrize("shape", [(0, 0), (0, 64), (64, 0)])
def test_a_log_mel_of_nothing_is_no_evidence(shape):
    """Or the console would make a picture of it, which there is none of."""
    engine = a_database()
    assert take(engine, messages.encode(dataclasses.replace(FIRST, log_mel=np.zeros(shape, np.int8)))) is not None
    (row,) = rows(engine, database.INCIDENT)
    assert row["evidence_sequence"] is None and refusals(engine) == []


ENCODED = messages.encode(FIRST)
EARLY = {"onset": 2**62 - 8000, "decided": 2**62, "onsets": (0,), "clock": Clock(2**50, 0)}
OTHER_VERSION = resealed(ENCODED[:2] + bytes([3]) + ENCODED[3:])


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (messages.encode(dataclasses.replace(FIRST, device=8)), "device=8 of the message must be 7"),
        (OTHER_VERSION, "version=3 must be 2"),
        (messages.encode(dataclasses.replace(FIRST, onsets=(24_001,))), "onset=24001 must be at most decided=24000"),
        (messages.encode(dataclasses.replace(FIRST, onset=2**63, decided=2**63)), f"that at most {2**63 - 1}"),
        (messages.encode(dataclasses.replace(FIRST, clock=Clock(2**63, 0))), "to the year 9999"),
        (messages.encode(dataclasses.replace(FIRST, clock=Clock(499_999, 0))), "unix_us=499999 must be from 1970"),
        (messages.encode(dataclasses.replace(FIRST, **EARLY)), "must be from 1970, as must the onset's"),
    ],
)  # fmt: skip
def test_what_no_repetition_makes_right_is_kept_and_acknowledged(payload, reason):
    engine = a_database()
    for _ in range(2):
        acknowledgement = take(engine, payload)
        assert (acknowledgement.session, acknowledgement.sequence) == (FIRST.session, FIRST.sequence)
    (row,) = rows(engine, database.REFUSED)
    assert reason in row["reason"] and row["payload"] == payload and row["times"] == 2
    assert rows(engine, database.MESSAGE) == rows(engine, database.INCIDENT) == []


@pytest.mark.slow
@given(place=st.integers(0, len(ENCODED) - 1), bit=st.integers(0, 7), length=st.integers(0, len(ENCODED)))
def test_a_damaged_message_deletes_none_at_the_device(place, bit, length):
    """Its numbers may be another message's: it is kept, and not acknowledged."""
    damaged = bytearray(ENCODED)
    damaged[place] ^= 1 << bit
    engine = a_database()
    for payload in (bytes(damaged), ENCODED[:length]):
        if payload != ENCODED:
            assert take(engine, payload) is None and refusals(engine)


def test_a_device_that_is_not_enrolled_keeps_its_messages():
    engine = a_database()
    assert take(engine, ENCODED, "cellar") is None
    assert "device=cellar must be enrolled" in refusals(engine)[0] and rows(engine, database.MESSAGE) == []


def test_another_message_of_the_same_numbers_is_refused():
    """A device whose folder was restored from a copy counts its sessions once more."""
    engine = a_database()
    changed = messages.encode(dataclasses.replace(FIRST, shots=9))
    assert take(engine, ENCODED) == take(engine, changed) is not None
    assert "session=3 sequence=0 must be new" in refusals(engine)[0]
    assert rows(engine, database.INCIDENT)[0]["shots"] == 1


def test_a_device_cannot_fill_the_disk_with_births(monkeypatch):
    monkeypatch.setattr(intake, "MOST_SESSIONS", 3)
    engine = a_database()
    for session in (5, 1, 4, 3, 2, 6, 5):
        say(engine, intake.birth, BIRTH.model_copy(update={"session": session}))
    say(engine, intake.status, Status(session=7, online=True))
    assert [row["session"] for row in rows(engine, database.SESSION)] == [5, 6, 7]
    for many in (["x" * 65], ["x"] * 65):
        say(engine, intake.birth, BIRTH.model_copy(update={"session": 8, "capabilities": many}))
    assert len(refusals(engine)) == 2 and len(rows(engine, database.SESSION)) == 3


def test_the_log_says_once_what_is_wrong_with_a_device(caplog):
    engine = a_database()
    hub = service.Hub(mqtt.Client(CallbackAPIVersion.VERSION2), engine, sr=SR, sound=Path())
    for online, fault in (
        (True, "disk I/O error"),
        (True, "disk I/O error"),
        (False, None),
        (True, "full\n"),
        (True, None),
    ):
        hub._warn("roof", Status(session=3, online=online, site_fault="stale", disk_fault=fault))
    lines = [record.getMessage() for record in caplog.records]
    no_disk = f"roof: {service.NO_DISK}: "
    assert lines == [f"roof: {service.NO_PROFILE}: stale", f"{no_disk}disk I/O error", f"{no_disk}full\\n"]


def say(engine: sql.Engine, function, report) -> None:
    with engine.begin() as connection:
        function(connection, "roof", report if isinstance(report, bytes) else report.encode(), now=NOW)


def sessions_of(engine: sql.Engine) -> dict[int, bool | None]:
    return {row["session"]: row["online"] for row in rows(engine, database.SESSION)}


def test_a_will_of_an_earlier_session_changes_nothing():
    engine = a_database()
    for session in (3, 4):
        say(engine, intake.birth, BIRTH.model_copy(update={"session": session}))
        say(engine, intake.status, Status(session=session, online=True, dropped=2))
    say(engine, intake.status, Status(session=3, online=False))
    assert sessions_of(engine) == {3: True, 4: True}
    say(engine, intake.status, Status(session=4, online=False))
    assert sessions_of(engine) == {3: True, 4: False}
    assert rows(engine, database.SESSION)[1] | {"heard_at": 0, "session": 3} == {
        "device": "roof", "heard_at": 0, "online": False, "dropped": 2, **BIRTH.model_dump(exclude={"name", "number"})
    }  # fmt: skip


def test_a_new_fault_of_a_site_s_profile_is_a_warning(caplog):
    hub = service.Hub(mqtt.Client(CallbackAPIVersion.VERSION2), a_database(), sr=SR, sound=None)

    def warned(**said) -> list[str]:
        caplog.clear()
        message = mqtt.MQTTMessage(topic=topics.topic("roof", "status").encode())
        message.payload = Status(session=3, **said).encode()
        hub.inbox.put(message)
        hub.take()
        return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]

    assert not warned(online=True)
    (words,) = warned(online=True, site_fault="yard.json:\nno such file")
    assert words == r"roof: it runs without its site's profile: yard.json:\nno such file"
    assert not warned(online=True, site_fault="yard.json:\nno such file")  # it says so again and again
    assert not warned(online=False)  # a will says nothing of it
    assert not warned(online=True, site_fault="yard.json:\nno such file")
    assert len(warned(online=True, site_fault="another")) == 1
    assert not warned(online=True) and len(warned(online=True, site_fault="another")) == 1


@pytest.mark.parametrize("late", ["birth", "status"])
def test_birth_and_status_come_in_any_order(late):
    engine = a_database()
    both = [(intake.birth, BIRTH), (intake.status, Status(session=3, online=True))]
    for function, report in both if late == "status" else both[::-1]:
        say(engine, function, report)
    (row,) = rows(engine, database.SESSION)
    assert row["online"] and row["model"] == BIRTH.model


@pytest.mark.parametrize(
    ("function", "report", "reason"),
    [
        (intake.birth, BIRTH.model_copy(update={"number": 8}), "number=8 must be roof, 7, as enrolled"),
        (intake.birth, BIRTH.model_copy(update={"name": "cellar"}), "name=cellar"),
        (intake.birth, b'{"name": "\\u0000"}', "birth number: Field required"),
        (intake.birth, b"\xff", "birth JSON: Invalid JSON"),
        (intake.birth, BIRTH.model_copy(update={"release": "v1\0"}), "birth release: String should match pattern"),
        (intake.status, b'{"session": -1, "online": true}', "status session: Input should be greater"),
        (intake.status, b'{"session": 1, "online": 1}', "status online: Input should be a valid boolean"),
    ],
)  # fmt: skip
def test_what_is_no_birth_or_status_is_kept_with_its_reason(function, report, reason):
    engine = a_database()
    say(engine, function, report)
    assert reason in refusals(engine)[0] and rows(engine, database.SESSION) == []


def test_incidents_are_listed_by_the_time_of_their_first_shot():
    engine = a_database()
    timeless = dataclasses.replace(FIRST, sequence=1, incident=2, clock=None, state=State.CLOSED, onsets=())
    earlier = dataclasses.replace(FIRST, sequence=2, incident=3, clock=Clock(NOON_US - 5_000_000, 2_000), onsets=())
    for message in (timeless, FIRST, earlier):
        take(engine, messages.encode(message))
    with engine.connect() as connection:
        listed = incidents.listing(connection)
    assert [row["incident"] for row in listed] == [3, 1, 2]
    assert listed[0]["time"] == "2026-03-01T11:59:54.500+00:00" and listed[0]["clock_error_s"] == 0.002
    assert listed[2]["time"] is None and listed[2]["received"] == "2026-03-01T12:00:00.000+00:00"
    assert listed[2] | {"score": 0.763, "level_db": 101.1, "state": "closed", "shots": 1} == listed[2]


@pytest.mark.slow
def test_postgresql_holds_what_sqlite_holds():
    sent = [dataclasses.replace(BEAT, sequence=2), FIRST, BEAT, dataclasses.replace(FIRST, sequence=5, device=8)]
    sent += [
        dataclasses.replace(FIRST, sequence=3, state=State.CLOSED, shots=65535, log_mel=None, clock=None, onsets=())
    ]
    with postgresql() as url:
        engines = a_database(), a_database(url.replace("+asyncpg", ""))
        for engine in engines:
            for payload in [*map(messages.encode, sent * 2), b"no message", b""]:
                take(engine, payload)
            say(engine, intake.birth, BIRTH)
            say(engine, intake.birth, b'{"name": "\\u0000"}')
            say(engine, intake.birth, BIRTH.model_copy(update={"session": 4, "release": "v1\0"}))
            say(engine, intake.status, Status(session=3, online=False))
        for table in database.DATA.sorted_tables:
            a, b = (
                [{k: v for k, v in row.items() if not k.endswith("_at")} for row in rows(e, table)] for e in engines
            )
            assert a == b
        results = []
        for engine in engines:
            with engine.connect() as connection:
                results.append((incidents.listing(connection), list(incidents.gaps(connection))))
        assert results[0] == results[1] and results[0][1] == [] and len(results[0][0]) == 1
        engines[1].dispose()
