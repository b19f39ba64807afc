"""Whatever bytes a device sends: a row that counts them, a line of the log, and others' messages are stored."""

import dataclasses
import struct

import pytest
import sqlalchemy as sql
from hypothesis import example, given
from hypothesis import strategies as st
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from gunshot.device import messages, topics
from gunshot.device.messages import BODY, HEAD, Incident, State
from gunshot.hub import database, intake, service
from tests.hub.test_intake import BEAT, BIRTH, ENCODED, FIRST, NUMBER, SR, a_database, resealed, rows

MOST = 65535  # bytes, of a message that the broker takes
EDGES = [0, 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]
NUMBERS = struct.unpack_from(BODY[Incident].format, ENCODED, HEAD.size)


class Hub(service.Hub):
    """The hub's intake, of which what it says to the broker is noted."""

    def __init__(self, engine: sql.Engine, sound=None):
        super().__init__(mqtt.Client(CallbackAPIVersion.VERSION2), engine, sr=SR, sound=sound)
        self.said: list[bytes] = []
        self.client.publish = lambda topic, payload, qos: self.said.append(payload)

    def hear(self, leaf: str, *payloads: bytes, device: str = "roof") -> None:
        """Take in messages together."""
        for payload in payloads:
            message = mqtt.MQTTMessage(topic=topics.topic(device, leaf).encode())
            message.payload = payload
            self.inbox.put(message)
        self.take()


@st.composite
def sealed(draw) -> bytes:
    """A message of this version whose length and checksum are right, and whose numbers are whatever they can be."""
    fields = []
    for kind, number in zip(BODY[Incident].format[1:], NUMBERS, strict=True):
        size = 8 * struct.calcsize(f"<{kind}")
        low, high = (-(2 ** (size - 1)), 2 ** (size - 1) - 1) if kind == "h" else (0, 2**size - 1)
        edges = [edge for edge in EDGES if low <= edge <= high]
        fields.append(draw(st.one_of(st.just(number), st.sampled_from(edges), st.integers(low, high))))
    body = BODY[Incident].pack(*fields)
    for type_ in draw(st.lists(st.integers(0, 8), max_size=4)):
        content = draw(
            st.one_of(st.binary(max_size=40), st.integers(0, 2**96 - 1).map(lambda n: n.to_bytes(12, "big")))
        )
        body += messages.FIELD.pack(type_, len(content)) + content
    session, sequence, kind = draw(st.sampled_from(EDGES[:4])), draw(st.integers(1, 2**32 - 1)), draw(st.integers(0, 3))
    head = HEAD.pack(b"GS", 2, kind, HEAD.size + len(body) + 4, NUMBER, session, sequence)
    return resealed(head + body + bytes(4))


@st.composite
def mangled(draw, whole: bytes) -> bytes:
    """A message that is cut off, repeated, or has some other bytes, with a checksum that fits or not."""
    out = bytearray(whole)
    for _ in range(draw(st.integers(0, 4))):
        out[draw(st.integers(0, len(out) - 1))] = draw(st.integers(0, 255))
    out = bytes(out[: draw(st.integers(0, len(out)))] * draw(st.integers(1, 3)))
    return resealed(out) if len(out) > 8 and draw(st.booleans()) else out


ALERTS = st.one_of(st.binary(max_size=200), sealed(), mangled(ENCODED), mangled(messages.encode(BEAT)))
WORDS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda one: st.one_of(st.lists(one, max_size=3), st.dictionaries(st.text(max_size=8), one, max_size=3)),
    max_leaves=8,
)


@pytest.mark.slow
@given(sent=st.lists(ALERTS, min_size=1, max_size=6))
@example(sent=[b"\0" * MOST, ENCODED * 20])
def test_whatever_is_sent_as_an_alert_is_stored_or_refused_and_harms_no_other(sent):
    engine = a_database()
    with engine.begin() as connection:
        connection.execute(sql.insert(database.DEVICE).values(name="yard", number=NUMBER + 1))
    hub, good = Hub(engine), messages.encode(dataclasses.replace(FIRST, device=NUMBER + 1))
    for payload in sent:
        hub.hear("alert", payload)
    hub.hear("alert", good, device="yard")
    assert hub.said[-1] == topics.Acknowledgement(NUMBER + 1, FIRST.session, FIRST.sequence).encode()
    stored = {row["payload"] for row in rows(engine, database.MESSAGE)}
    refused = {row["payload"] for row in rows(engine, database.REFUSED)}
    assert good in stored and {payload for payload in sent if payload} <= stored | refused
    known = {intake._head(payload) for payload in stored | refused}
    assert set(hub.said[:-1]) <= {one.encode() for one in known if one}


@pytest.mark.slow
@given(data=st.data(), leaf=st.sampled_from(["birth", "status", "reply"]))
def test_whatever_else_is_sent_is_taken_in_or_refused(data, leaf):
    engine = a_database()
    hub, start = Hub(engine), BIRTH.encode()
    as_json = WORDS.map(lambda words: topics.pydantic.TypeAdapter(object).dump_json(words))
    part = WORDS.map(lambda words: b'{"kind":"part","order":"%s","number":0}\n' % repr(words).encode())
    for payload in data.draw(st.lists(st.one_of(st.binary(max_size=99), as_json, part, mangled(start)), max_size=5)):
        before = sum(row["times"] for row in rows(engine, database.REFUSED))
        hub.hear(leaf, payload)
        sessions = rows(engine, database.SESSION)
        after = sum(row["times"] for row in rows(engine, database.REFUSED))
        assert not payload or sessions or after == before + 1


def test_a_device_cannot_fill_the_disk_with_what_is_refused(monkeypatch, caplog):
    """Past a limit it is counted alone; each reason that is new is a line of the log."""
    monkeypatch.setattr(intake, "MOST_REFUSED", 3)
    engine = a_database()
    hub = Hub(engine)
    for i in range(10):
        hub.hear("alert", b"no message %d" % i)
    refused = rows(engine, database.REFUSED)
    assert sum(row["times"] for row in refused) == 10 and len(refused) == 4
    (last,) = (row for row in refused if not row["payload"])
    assert last["times"] == 7 and last["reason"].startswith("more than 3 were refused; this is the last: length=12")
    lines = [record.getMessage() for record in caplog.records]
    assert sum("roof: of what it sent on alert something is refused: " in line for line in lines) == 4


def test_states_of_an_incident_that_no_order_explains_are_kept_as_they_are():
    """Closed before it was opened, and opened after it was withdrawn: the later state holds."""
    engine = a_database()
    hub = Hub(engine)
    for i, state in enumerate((State.CLOSED, State.OPENED, State.WITHDRAWN, State.UPDATED)):
        hub.hear("alert", messages.encode(dataclasses.replace(FIRST, sequence=i, state=state, onsets=())))
    (row,) = rows(engine, database.INCIDENT)
    assert State(row["state"]) == State.WITHDRAWN and len(hub.said) == 4
