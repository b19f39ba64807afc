"""The inbox: each message is given once, or counted; devices keep their order, and no one takes another's turn."""

from collections import Counter
from datetime import timedelta

import pytest
import sqlalchemy as sql
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import client as mqtt

from gunshot.device import link, parts, topics
from gunshot.device.parts import Refusal
from gunshot.hub import floods, inbox, service
from gunshot.hub.database import FLOOD
from tests.hub.test_intake import NOW, a_database, rows

BYTES = 1000


def a_message(device: str, number: int, *, leaf: str = "alert", payload: bytes = bytes(BYTES)) -> mqtt.MQTTMessage:
    message = mqtt.MQTTMessage(mid=number, topic=topics.topic(device, leaf).encode())
    message.payload = payload
    return message


class Served:
    """An inbox with a clock of the test's, and what became of the messages that were put into it, by device."""

    def __init__(self):
        self.now, self.confirmed, self.given, self.of_topic = 0.0, Counter(), {}, {}
        self.inbox = inbox.Inbox(lambda message: self.confirmed.update([message.mid]), lambda: self.now)

    def take(self) -> None:
        due, late = self.inbox.take()
        self.confirmed.update(message.mid for message in due)
        for message in due + late:
            self.given.setdefault(topics.parts(message.topic)[0], []).append(message.mid)
            self.of_topic.setdefault(message.topic, []).append(message.mid)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["roof", "yard"]), st.integers(1, 150)), st.floats(0.0, 3.0), st.just("take")
        ),
        max_size=30,
    )
)
def test_each_message_is_given_once_in_its_devices_order_or_counted(steps):
    served, put = Served(), {"roof": [], "yard": []}
    for step in [*steps, *[10.0, "take"] * 3]:
        if step == "take":
            served.take()
        elif isinstance(step, float):
            served.now += step
        else:
            for _ in range(step[1]):
                put[step[0]].append(sum(map(len, put.values())))
                served.inbox.put(a_message(step[0], put[step[0]][-1]))
    passed_over = served.inbox.passed_over()
    for device, sent in put.items():
        got = served.given.get(device, [])
        assert got == sorted(got) and set(got) <= set(sent) and len(got) + passed_over[device] == len(sent)
    assert served.confirmed == Counter(range(sum(map(len, put.values()))))  # each, and none twice
    assert served.inbox.wait_s is None and not served.inbox.passed_over()


def test_a_device_that_waits_for_acknowledgements_loses_nothing_however_much_it_has():
    """As `Link` does: so many on their way at once, and one more for each that is acknowledged."""
    served, sent = Served(), 0
    while len(served.given.get("roof", [])) < 2000:
        while sent < 2000 and sent - len(served.given.get("roof", [])) < link.WINDOW:
            served.inbox.put(a_message("roof", sent))
            sent += 1
        served.now += 0.01
        served.take()
    assert not served.inbox.passed_over()
    assert served.now == pytest.approx((2000 - inbox.BURST) / inbox.RATE, rel=0.02)


def test_a_flood_takes_no_turn_of_another_device():
    served = Served()
    for i in range(5000):
        served.inbox.put(a_message("flood", i))
    served.inbox.put(a_message("roof", 5000))
    served.take()
    assert served.given["roof"] == [5000] and len(served.given["flood"]) == inbox.BURST
    assert served.inbox.passed_over() == {"flood": 5000 - inbox.BURST - inbox.MOST_LATE}


def test_what_waits_is_bounded_for_each_device_alone(monkeypatch):
    """Also in bytes; whoever floods takes the room of no other, who would be called a flooder for it."""
    monkeypatch.setattr(inbox, "MOST_LATE_BYTES", 50 * BYTES)
    served = Served()
    for device, count in (("a", 200), ("b", 200), ("roof", int(inbox.BURST) + 50)):
        for i in range(count):
            served.inbox.put(a_message(device, i))
    assert served.inbox.passed_over() == {device: 200 - inbox.BURST - 50 for device in ("a", "b")}


@given(
    st.lists(
        st.one_of(st.sampled_from([("roof", leaf) for leaf in ("birth", "status", "alert")] * 2 + [("yard", "status")]),
                  st.sampled_from([1, 150]), st.floats(0.0, 3.0), st.just("take")), max_size=40,
    )
)  # fmt: skip
def test_the_last_birth_and_status_are_taken_in_whatever_else_a_device_sends(steps):
    """At the next look, in their order, and each message is confirmed once."""
    served, last, number = Served(), {}, 0
    for step in [*steps, "take"]:
        if step == "take":
            served.take()
            assert all(served.of_topic[topic][-1] == mid for topic, mid in last.items())
        elif isinstance(step, float):
            served.now += step
        else:
            (device, leaf), count = (("roof", "alert"), step) if isinstance(step, int) else (step, 1)
            for _ in range(count):
                message, number = a_message(device, number, leaf=leaf), number + 1
                served.inbox.put(message)
                if leaf != "alert":
                    last[message.topic] = message.mid
    assert all(mids == sorted(mids) for mids in served.of_topic.values())
    assert served.confirmed == Counter(range(number))
    assert len(served.inbox) == 0


def test_a_flood_costs_no_refusal():
    """A person waits for it, and the device says it once."""
    served = Served()
    refusal = parts.encode(Refusal(order="a" * 32, reason="speech: people speak"))
    for i in range(1000):
        served.inbox.put(a_message("roof", i))
    served.inbox.put(a_message("roof", 1000, leaf="reply", payload=refusal))
    served.inbox.put(a_message("roof", 1001))
    assert served.inbox.passed_over() == {"roof": 901 - inbox.MOST_LATE}
    for _ in range(10):
        served.now += 1.0
        served.take()
    assert served.given["roof"][-1] == 1000 and served.inbox.wait_s is None


def test_after_a_flood_the_broker_is_asked_for_what_it_keeps(tmp_path):
    asked = []

    class Client:
        def subscribe(self, filters: list) -> None:
            asked.extend(filters)

        def ack(self, *_) -> None:
            pass

    hub = service.Hub(Client(), a_database(), sr=16_000, sound=tmp_path)
    hub.count_floods()
    for i in range(1000):
        hub.inbox.put(a_message("roof", i))
    hub.count_floods()
    assert not asked
    for _ in range(2):
        hub.count_floods()
    assert asked == [("gunshot/v1/+/birth", 1), ("gunshot/v1/+/status", 1)]


def test_the_hub_listens_from_the_broker_s_answer_on_until_it_is_gone(tmp_path):
    hub = service.Hub(None, a_database(), sr=16_000, sound=tmp_path)
    hub.subscribed(None, None, 1, [1] * len(topics.RETAINED), None)  # again, after a flood
    assert hub.listening_since is None
    hub.subscribed(None, None, 1, [1] * len(topics.WRITTEN), None)
    first = hub.listening_since
    hub.subscribed(None, None, 1, [1] * len(topics.RETAINED), None)
    assert first is not None and hub.listening_since == first
    hub.disconnected(None, None, None, "lost", None)
    assert hub.listening_since is None


def test_what_was_due_when_the_broker_went_comes_again_and_what_is_late_is_kept():
    """A late one is confirmed: the broker would not send it again, nor the device before some time."""
    served = Served()
    for i in range(int(inbox.BURST) + 1):
        served.inbox.put(a_message("roof", i))
    served.inbox.forget()
    served.now = 1.0
    served.take()
    assert served.given == {"roof": [inbox.BURST]}


def test_a_flood_is_counted_and_said_once_a_minute(caplog):
    engine = a_database()
    for seconds in (0, 30, 61):
        floods.write(engine, Counter(roof=7, nobody=3), now=NOW + timedelta(seconds=seconds))
    floods.write(engine, Counter(), now=NOW)
    (row,) = rows(engine, FLOOD)
    assert (row["device"], row["messages"]) == ("roof", 21)
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == ["roof: it floods the hub"] * 2
    with engine.connect() as connection:
        assert connection.scalar(sql.select(FLOOD.c.last_at)).second == 1
        assert list(floods.recent(connection, now=NOW)) == ["roof"]
        assert not floods.recent(connection, now=NOW + floods.LASTS + timedelta(minutes=2))
