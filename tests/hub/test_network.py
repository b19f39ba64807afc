"""Devices, a real Mosquitto and a hub over TLS on loopback: nothing is lost and nothing comes twice, whoever is killed."""

import contextlib
import socket
import ssl
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from gunshot.device import topics
from gunshot.hub import certificates, database, folder
from tests.firmware.driven import shots
from tests.flows.prefect_server import started
from tests.hub.network import NAME, NUMBER, ROOT, Network, Sender, expected, kill, until

pytestmark = pytest.mark.slow
TWO = shots([0.7, 2.9, 3.1], 5.0, seed=1)  # two incidents
ONE = shots([0.5], 2.5, seed=2)
A_DEVICE = """
import pathlib, signal, sys, numpy
from tests.hub.network import Sender
Sender(pathlib.Path(sys.argv[1])).hear(numpy.load(sys.argv[2]))
print("all is heard", flush=True)
signal.pause()
"""
DIES_BEFORE_ACKNOWLEDGING = """
import os
from paho.mqtt.client import Client
Client.publish = lambda *_, **__: os._exit(9)
"""


@pytest.fixture
def network(tmp_path) -> Network:
    return Network(tmp_path / "hub")


def test_device_and_hub_are_killed(network, tmp_path):
    """A device with unsent messages, then the hub between commit and acknowledgement."""
    np.save(tmp_path / "two.npy", TWO)
    command = (sys.executable, "-c", A_DEVICE, network.device, tmp_path / "two.npy")
    with started(network.log, *command, cwd=ROOT) as device:
        until(lambda: "all is heard" in network.log.read_text(), "the device hears")
        kill(device)
    told = expected(TWO, 1) + expected(ONE, 2)
    with network.broker(), contextlib.closing(Sender(network.device)) as sender:
        sender.hear(ONE)
        assert len(sender.outbox) == len(told) >= 6
        with network.hub(DIES_BEFORE_ACKNOWLEDGING) as hub:
            sender.pump_until(lambda: hub.poll() is not None, "the hub dies")
        assert hub.returncode == 9
        assert len(network.payloads()) == 1 and len(sender.outbox) == len(told)
        with network.hub():
            sender.pump_until(lambda: not len(sender.outbox), "all is acknowledged")
    assert network.payloads() == told
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


def test_a_device_that_vanishes_is_offline(network):
    """By its last will, while one that ends says so itself."""
    with network.broker(), network.hub():
        with started(network.log, sys.executable, "-c", A_DEVICE, network.device, "none", cwd=ROOT):
            until(lambda: [row["online"] for row in network.rows(database.SESSION)] == [True], "it is online")
        until(lambda: [row["online"] for row in network.rows(database.SESSION)] == [False], "its will came")
        sender = Sender(network.device)
        sender.pump_until(lambda: [row["online"] for row in network.rows(database.SESSION)][1:] == [True], "the second")
        sender.close()
        until(lambda: [row["online"] for row in network.rows(database.SESSION)] == [False, False], "it has ended")


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

    def publish(self, topic: str) -> str:
        self.client.publish(topic, b"{}", qos=1)
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
        until(lambda: len(network.rows(database.REFUSED)) == 1, "its own alert, that is none, is refused")
        intruder.client.disconnect()
        intruder.client.loop_stop()
        assert intruder.answers == []
    assert {row["device"] for row in network.rows(database.MESSAGE)} == {NAME}


def greeting(context: ssl.SSLContext, port: int) -> bytes:
    """What a broker answers to CONNECT of MQTT 3.1.1, with the client id x."""
    with socket.create_connection(("localhost", port), 5) as plain, contextlib.suppress(OSError):
        with context.wrap_socket(plain, server_hostname="localhost") as secure:
            secure.sendall(bytes([16, 13, 0, 4]) + b"MQTT" + bytes([4, 2, 0, 60, 0, 1]) + b"x")
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
            plain.sendall(bytes([16, 13, 0, 4]) + b"MQTT" + bytes([4, 2, 0, 60, 0, 1]) + b"x")
            with contextlib.suppress(OSError):
                answers.append(plain.recv(4)[:1] == bytes([32]))
    assert answers[:4] == [b"", b"", b"", bytes([32, 2, 0, 0])] and not any(answers[4:])
