"""The inbox: each message is given once, or counted; devices keep their order, and no one takes another's turn."""

from collections import Counter
from datetime import timedelta

import pytest
import sqlalchemy as sql
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import client as mqtt

from gunshot.device import link, topics
from gunshot.hub import floods, inbox
from gunshot.hub.database import FLOOD
from tests.hub.test_intake import NOW, a_database, rows

BYTES = 1000


def a_message(device: str, number: int) -> mqtt.MQTTMessage:
    message = mqtt.MQTTMessage(mid=number, topic=topics.topic(device, "alert").encode())
    message.payload = bytes(BYTES)
    return message


class Served:
    """An inbox with a clock of the test's, and what became of the messages that were put into it, by device."""

    def __init__(self):
        self.now, self.confirmed, self.given = 0.0, Counter(), {}
        self.inbox = inbox.Inbox(lambda message: self.confirmed.update([message.mid]), lambda: self.now)

    def take(self) -> None:
        due, late = self.inbox.take()
        self.confirmed.update(message.mid for message in due)
        for message in due + late:
            self.given.setdefault(topics.parts(message.topic)[0], []).append(message.mid)


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


def test_what_waits_is_bounded_over_all_devices(monkeypatch):
    monkeypatch.setattr(inbox, "MOST_LATE_BYTES", 50 * (BYTES + 1))
    served = Served()
    for device in ("a", "b"):
        for i in range(200):
            served.inbox.put(a_message(device, i))
    assert sum(served.inbox.passed_over().values()) == 2 * (200 - inbox.BURST) - 50


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
