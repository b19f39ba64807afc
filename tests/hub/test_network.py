"""Devices, a real Mosquitto and a hub over TLS on loopback: whoever is killed, nothing is lost or comes twice."""

import contextlib
import socket
import ssl
import threading
from pathlib import Path

import pytest
import sqlalchemy as sql
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from gunshot.device import topics
from gunshot.hub import certificates, database, folder, sites
from tests.device.test_outbox import a_full_disk
from tests.firmware.driven import shots
from tests.hub.network import (
    FORKS,
    NAME,
    NUMBER,
    PATIENCE_S,
    Network,
    Sender,
    be_a_device,
    expected,
    forked,
    kill,
    serve_once,
    until,
)

pytestmark = pytest.mark.slow
TWO = shots([0.7, 2.9, 3.1], 5.0, seed=1)  # two incidents
ONE = shots([0.5], 2.5, seed=2)


@pytest.fixture
def network(tmp_path) -> Network:
    return Network(tmp_path / "hub")


def test_device_and_hub_are_killed(network):
    """A device with unsent messages, then the hub between commit and acknowledgement."""
    heard = FORKS.Event()
    with forked(be_a_device, network.device, TWO, heard):
        assert heard.wait(PATIENCE_S)
    sent = expected(TWO, 1) + expected(ONE, 2)
    with network.broker(), contextlib.closing(Sender(network.device)) as sender:
        sender.hear(ONE)
        assert len(sender.outbox) == len(sent) >= 6
        with network.hub(serve_once) as hub:
            sender.pump_until(lambda: not hub.is_alive(), "the hub dies")
            assert hub.exitcode == 9
        assert network.payloads() == sent[: len(network.payloads())] != []  # what it committed together
        assert len(sender.outbox) == len(sent)
        with network.hub():
            sender.pump_until(lambda: not len(sender.outbox), "all is acknowledged")
    assert network.payloads() == sent
    assert [(row["session"], row["incident"]) for row in network.rows(database.INCIDENT)] == [(1, 1), (1, 2), (2, 1)]
    assert [row["shots"] for row in network.rows(database.INCIDENT)] == [1, 2, 1]
    assert network.rows(database.REFUSED) == []


def test_broker_is_killed(network):
    """With messages that it has confirmed and no hub has seen; then once more while the hub and the device run."""
    with contextlib.closing(Sender(network.device)) as sender:
        with network.broker() as broker:
            with network.hub():  # it has a session at the broker from now on
                sender.pump_until(lambda: len(network.rows(database.SESSION)) == 1, "the birth is stored")
            sender.hear(TWO)
            published = f"Received PUBLISH from {NAME} (d0, q1, r0"
            count = len(expected(TWO, 1))
            sender.pump_until(lambda: network.log.read_text().count(published) >= count, "the broker has all")
            kill(broker)
        assert network.payloads() == [] and len(sender.outbox) == count
        with network.hub():
            with network.broker() as broker:
                sender.pump_until(lambda: not len(sender.outbox), "all is acknowledged")
                kill(broker)
            sender.hear(ONE)
            sender.link.pump()
            assert len(sender.outbox)
            with network.broker():
                sender.pump_until(lambda: not len(sender.outbox), "the rest is acknowledged")
    assert len(network.payloads()) == len(network.rows(database.MESSAGE)) == count + len(expected(ONE, 1))
    assert [row["shots"] for row in network.rows(database.INCIDENT)] == [1, 2, 1]
    assert network.rows(database.REFUSED) == []


def test_a_hub_whose_database_fails_acknowledges_nothing(network):
    """It ends; when it is started again, all comes."""
    with network.broker(), contextlib.closing(Sender(network.device)) as sender:
        with network.hub() as hub:
            sender.pump_until(lambda: len(network.rows(database.SESSION)) == 1, "the birth is stored")
            with database.opened(network.url) as engine:
                database.MESSAGE.drop(engine)
            sender.hear(ONE)
            sender.pump_until(lambda: not hub.is_alive(), "the hub ends")
            assert hub.exitcode == 1
        assert len(sender.outbox) == len(expected(ONE, 1))
        with network.hub():
            sender.pump_until(lambda: not len(sender.outbox), "all is acknowledged")
    assert network.payloads() == expected(ONE, 1)


def test_a_hub_that_can_locate_no_case_ends_without_a_message_too(network):
    """Nobody would see that places are missing; who starts it again does."""
    with network.broker(), network.hub() as hub, contextlib.closing(Sender(network.device)) as sender:
        sender.pump_until(lambda: len(network.rows(database.SESSION)) == 1, "the birth is stored")
        with database.opened(network.url) as engine, engine.begin() as connection:
            connection.execute(sql.text('ALTER TABLE "case" RENAME TO gone'))
        until(lambda: not hub.is_alive(), "the hub ends")
        assert hub.exitcode == 1


def test_a_device_that_vanishes_is_offline(network):
    """By its last will, while one that ends says so itself."""
    with network.broker(), network.hub():
        with forked(be_a_device, network.device, ONE, FORKS.Event()):
            until(lambda: [row["online"] for row in network.rows(database.SESSION)] == [True], "it is online")
        until(lambda: [row["online"] for row in network.rows(database.SESSION)] == [False], "its will came")
        sender = Sender(network.device)
        sender.pump_until(lambda: [row["online"] for row in network.rows(database.SESSION)][1:] == [True], "the second")
        sender.close()
        until(lambda: [row["online"] for row in network.rows(database.SESSION)] == [False, False], "it has ended")


def test_two_devices_of_three_raise_one_case_and_one_alone_none(network):
    """The clocks state seconds, so that it does not matter how long this machine takes; nothing is located then."""
    with database.opened(network.url) as engine, engine.begin() as connection:
        sites.put(connection, "yard", devices_needed=2, exercise=False)
    names = ("north", "east", "west")
    at = [folder.enrol(network.folder, name, 20 + i, site="yard", latitude=47.0, longitude=8 + i / 300)
          for i, name in enumerate(names)]  # fmt: skip
    with network.broker(), network.hub(), contextlib.ExitStack() as stack:
        north, east, _ = (
            stack.enter_context(contextlib.closing(Sender(place, error_us=lambda: 5_000_000))) for place in at
        )
        north.hear(ONE)
        east.hear(ONE)
        north.pump_until(lambda: not len(north.outbox), "the first one's is acknowledged")
        (case,) = network.rows(database.CASE)
        assert (case["devices"], case["site"], case["raised_at"]) == (1, "yard", None)
        east.pump_until(lambda: not len(east.outbox), "the second one's is acknowledged")
        (case,) = network.rows(database.CASE)
        assert (case["devices"], case["shots"]) == (2, 1) and case["raised_at"] is not None
        assert {row["case"] for row in network.rows(database.INCIDENT)} == {case["number"]}
        until(lambda: not network.rows(database.CASE)[0]["place_due"], "it is located, or said why not")
    assert network.rows(database.CASE)[0]["no_place"].startswith("2 devices with a disciplined clock: 3 or more")


class Intruder:
    """A client with a certificate that does as it likes; `wait` gives what the broker answered."""

    def __init__(self, place: Path, port: int, client_id: str):
        self.answers: list[str] = []
        self._answered = threading.Semaphore(0)
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5)
        self.client.tls_set(place / "ca.pem", place / "cert.pem", place / "key.pem")
        self.client.on_connect = lambda _, __, ___, reason, ____: self._take(reason)
        self.client.on_publish = lambda _, __, ___, reason, ____: self._take(reason)
        self.client.on_subscribe = lambda _, __, ___, reasons, ____: self._take(reasons[0])
        self.client.on_message = lambda _, __, message: self._take(message.topic)
        self.client.connect("localhost", port)
        self.client.loop_start()
        assert self.answer() == "Success"

    def answer(self) -> str:
        assert self._answered.acquire(timeout=10)
        return self.answers.pop(0)

    def publish(self, topic: str, payload: bytes = b"{}") -> str:
        self.client.publish(topic, payload, qos=1)
        return self.answer()

    def _take(self, answer) -> None:
        self.answers.append(str(answer))
        self._answered.release()


def test_a_device_writes_and_reads_its_own_topics_alone(network):
    other = folder.enrol(network.folder, "cellar", NUMBER + 1)
    with network.broker(), network.hub(), contextlib.closing(Sender(network.device)) as sender:
        sender.pump_until(lambda: len(network.rows(database.SESSION)) == 1, "the birth is stored")
        intruder = Intruder(other, network.port, client_id="hub")  # which does not give it the hub's session
        for device, leaf in ((NAME, "alert"), (NAME, "ack"), ("cellar", "ack"), ("cellar", "order"), ("cellar", "x")):
            assert intruder.publish(topics.topic(device, leaf)) == "Not authorized"
        assert intruder.publish(topics.topic("cellar", "reply")) != "Not authorized"
        intruder.client.subscribe([(topics.topic("+", leaf), 1) for leaf in (*topics.WRITTEN, *topics.READ)])
        assert intruder.answer().startswith("Granted")  # Mosquitto lets anybody ask, and sends what he may read
        sender.hear(ONE)
        sender.pump_until(lambda: not len(sender.outbox), "the device is heard all the same")
        assert intruder.publish(topics.topic("cellar", "alert")) == "Success"
        until(lambda: len(network.rows(database.REFUSED)) == 2, "its own alert and reply, that are none, are refused")
        intruder.client.disconnect()
        intruder.client.loop_stop()
        assert intruder.answers == []
    assert {row["device"] for row in network.rows(database.MESSAGE)} == {NAME}


def test_a_device_with_a_full_disk_is_heard_and_says_so(network):
    with network.broker(), network.hub(), contextlib.closing(Sender(network.device)) as sender:
        sender.outbox._retry_s = 0.0

        def fault() -> str | None:
            kept = network.retained("homeassistant").get(topics.topic(NAME, "status"))
            return topics.Status.decode(kept).disk_fault if kept else None

        sender.pump_until(lambda: len(network.rows(database.SESSION)) == 1, "the birth is stored")
        with a_full_disk():
            sender.hear(ONE)
            sender.pump_until(lambda: not len(sender.outbox), "the hub has all of it")
            sender.pump_until(fault, "the device says what is wrong")
        assert [row["incident"] for row in network.rows(database.INCIDENT)] == [1]
        sender.device.beat()
        sender.pump_until(lambda: not fault(), "the device says that it is well")


# Of MQTT 3.1.1: with the client id x; and that the broker takes it.
CONNECT, CONNACK = bytes([16, 13, 0, 4]) + b"MQTT" + bytes([4, 2, 0, 60, 0, 1]) + b"x", bytes([32, 2, 0, 0])


def greeting(context: ssl.SSLContext, port: int) -> bytes:
    """What a broker answers to CONNECT: nothing where it refuses the certificate."""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("localhost", port), 5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.sendall(CONNECT)
        return secure.recv(4)
    return b""


def test_without_a_certificate_of_this_hub_nobody_connects(network, tmp_path):
    stranger = tmp_path / "stranger"
    certificates.authority(stranger)
    certificates.issue(stranger, stranger / "hub", "hub")
    with network.broker():
        answers = []
        for place in (None, stranger / "hub", network.folder / "broker", network.device):
            context = ssl.create_default_context(cafile=network.device / "ca.pem")
            if place:
                context.load_cert_chain(place / "cert.pem", place / "key.pem")
            answers.append(greeting(context, network.port))
        with socket.create_connection(("localhost", network.port), 5) as plain:
            plain.sendall(CONNECT)
            with contextlib.suppress(OSError):
                assert plain.recv(1) != CONNACK[:1]
    assert answers == [b"", b"", b"", CONNACK]


def test_the_broker_waits_for_no_packet_of_a_size_that_no_device_sends(network):
    """The largest message passes, with the longest topic; a list of subscriptions of 256 MiB would be kept whole."""
    with network.broker():
        intruder = Intruder(network.device, network.port, client_id=NAME)
        assert intruder.publish(topics.topic(NAME, "alert"), bytes(folder.MOST_BYTES)) == "No matching subscribers"
        intruder.client.disconnect()
        intruder.client.loop_stop()
        context = ssl.create_default_context(cafile=network.device / "ca.pem")
        context.load_cert_chain(network.device / "cert.pem", network.device / "key.pem")
        with (
            socket.create_connection(("localhost", network.port), PATIENCE_S) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as one,
        ):
            one.sendall(CONNECT)
            assert one.recv(4) == CONNACK
            one.sendall(b"\x82\xff\xff\xff\x7f")  # SUBSCRIBE, and so many bytes to follow
            with contextlib.suppress(ConnectionError):
                assert one.recv(1) == b""


def test_the_broker_keeps_so_many_bytes_of_a_client_and_no_more(tmp_path, monkeypatch):
    """Of one that is away, as a hub may be for days: 20 of 60 kB would fit by their number."""
    monkeypatch.setattr(folder, "QUEUED_BYTES", 500_000)
    network, size, came = Network(tmp_path / "hub"), 60_000, []

    def client(own: Path, name: str) -> mqtt.Client:
        out = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False, protocol=mqtt.MQTTv311)
        out.tls_set(own / "ca.pem", own / "cert.pem", own / "key.pem")
        return out

    with network.broker():
        for is_back in (False, True):
            hub, done = client(network.folder / "client", folder.HUB), []
            hub.on_connect = lambda hub, *_: hub.subscribe(topics.topic(NAME, "alert"), 1)
            hub.on_message = lambda _, __, message: came.append(len(message.payload))
            hub.on_subscribe = lambda hub, *_, done=done: hub.publish("end", b"", qos=1) and done.append("asked")
            hub.on_publish = lambda *_, done=done: done.append("end")  # after what was kept
            hub.connect("localhost", network.port)
            until(lambda hub=hub, done=done: hub.loop(0.05) or "end" in done, "the broker has sent what it keeps")
            hub.disconnect()
            if not is_back:
                device, confirmed = client(network.device, NAME), []
                device.on_connect = lambda device, *_: [
                    device.publish(topics.topic(NAME, "alert"), bytes(size), qos=1) for _ in range(20)
                ]
                device.on_publish = lambda *_, confirmed=confirmed: confirmed.append(1)
                device.connect("localhost", network.port)
                until(lambda d=device, c=confirmed: d.loop(0.05) or len(c) == 20, "the broker has taken all")
                device.disconnect()
    assert set(came) == {size} and 500_000 // size <= len(came) <= 500_000 // size + 1
