"""Many devices in one process: real MQTT clients over TLS, with when each message was sent, and acknowledged."""

import selectors
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from gunshot.device import messages, topics
from gunshot.device.messages import Clock, Heartbeat, Incident, State
from gunshot.device.topics import Acknowledgement, Birth, Status

MODEL = 0xC0FFEE
SR = 16_000
ERROR_US = 1_000  # of a clock
SHAPE = (71, 32)  # of a log-mel: a context's
PATIENCE_S = 60.0
SESSION = 1


@dataclass
class Device:
    """A device: its connection, and its messages by sequence, with when each was sent and acknowledged, s."""

    name: str
    number: int
    client: mqtt.Client
    payloads: list[bytes] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    acknowledged: dict[int, float] = field(default_factory=dict)
    incidents: int = 0
    opened_us: int = 0

    def __post_init__(self):
        self.codes = np.random.default_rng(self.number).integers(-128, 128, SHAPE).astype(np.int8)

    def send(self, message: messages.Message) -> None:
        """Publish a message; nothing is waited for."""
        self.payloads.append(messages.encode(message))
        self.sent.append(time.monotonic())
        self.client.publish(topics.topic(self.name, "alert"), self.payloads[-1], qos=1)

    def open(self, at_us: int) -> None:
        """Say that an incident opened, whose window ended at a time, with its evidence."""
        self.incidents += 1
        self.opened_us = at_us
        self.send(self._incident(State.OPENED, onsets=(SR,), log_mel=self.codes))

    def close(self, _: int) -> None:
        """Say that the incident that was opened last is closed."""
        self.send(self._incident(State.CLOSED))

    def beat(self, _: int) -> None:
        """Say that the device lives."""
        self.send(Heartbeat(self.number, SESSION, len(self.sent), *[0] * 9, noise=450))

    def _incident(self, state: State, **more) -> Incident:
        return Incident(
            device=self.number, session=SESSION, sequence=len(self.sent), incident=self.incidents, state=state, shots=1,
            onset=SR, decided=SR + 2000, score=60_000, spl_db=1011, model=MODEL, clock=Clock(self.opened_us, ERROR_US),
            **more,
        )  # fmt: skip

    def take(self, message: mqtt.MQTTMessage) -> None:
        """Note an acknowledgement."""
        done = Acknowledgement.decode(message.payload)
        self.acknowledged.setdefault(done.sequence, time.monotonic())


class Crowd:
    """Devices that are connected; `run` lets their time pass."""

    def __init__(self, folder: Path, numbers: range, port: int):
        self._selector = selectors.DefaultSelector()
        self.devices = [self._connect(folder / "devices" / name(number), number, port) for number in numbers]

    def _connect(self, place: Path, number: int, port: int) -> Device:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=place.name, clean_session=False, protocol=mqtt.MQTTv311
        )
        client.tls_set(place / "ca.pem", place / "cert.pem", place / "key.pem")
        client.max_inflight_messages_set(1000)  # it waits for nobody
        client.will_set(topics.topic(place.name, "status"), Status(session=SESSION, online=False).encode(), qos=1)
        device = Device(place.name, number, client)
        client.on_message = lambda _, __, message: device.take(message)
        client.on_connect = lambda *_: self._greet(device)
        client.connect("localhost", port, keepalive=600)
        self._selector.register(client.socket(), selectors.EVENT_READ, device)
        self.run(0.0)
        return device

    def _greet(self, device: Device) -> None:
        birth = Birth(
            name=device.name, number=device.number, session=SESSION, model=f"{MODEL:016x}", operating_point=0.9,
            version=messages.VERSION, capabilities=["log_mel", "onsets", "clock"],
        )  # fmt: skip
        device.client.subscribe([(topics.topic(device.name, leaf), 1) for leaf in topics.READ])
        device.client.publish(topics.topic(device.name, "birth"), birth.encode(), qos=1, retain=True)
        status = Status(session=SESSION, online=True)
        device.client.publish(topics.topic(device.name, "status"), status.encode(), qos=1, retain=True)

    def run(self, seconds: float) -> None:
        """Read and write until so many seconds have passed."""
        end = time.monotonic() + seconds
        while True:
            for key, _ in self._selector.select(max(0.0, min(0.1, end - time.monotonic()))):
                _pump(key.data.client)
            if time.monotonic() >= end:
                return

    def act(self, events: Iterator[tuple[float, int, str]], begin: float, begin_us: int) -> None:
        """Do what `Load.events` says, from a time on: monotonic, and in microseconds since 1970."""
        by_number = {device.number: device for device in self.devices}
        for at, number, what in events:
            if (left := begin + at - time.monotonic()) > 0:
                self.run(left)
            getattr(by_number[number], what)(begin_us + round(1e6 * at))

    def run_until_acknowledged(self) -> None:
        """Read and write until all is acknowledged, or patience ends."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end and any(len(d.acknowledged) < len(d.sent) for d in self.devices):
            self.run(0.2)


def _pump(client: mqtt.Client) -> None:
    """Read all that came; what was answered is written at once."""
    while True:
        code = client.loop_read()
        assert code == MQTTErrorCode.MQTT_ERR_SUCCESS, f"the connection ended: {code!r}"
        if not client.socket().pending():
            return


def name(number: int) -> str:
    """Return a device's name."""
    return f"d{number}"


@dataclass(frozen=True)
class Load:
    """What devices say: `bangs` a second, each heard by all devices of a site, and heartbeats."""

    sites: int
    site_size: int
    bangs: float  # a second
    seconds: float
    heartbeat_s: float = 60.0
    open_s: float = 1.0  # from opened to closed

    @property
    def devices(self) -> int:
        return self.sites * self.site_size

    def events(self, share: range) -> Iterator[tuple[float, int, str]]:
        """Yield what the devices of some sites do, in order: when, which device, and which of its methods.

        Site after site hears a bang, its devices 20 ms after each other.
        """
        out = []
        for i in range(round(self.bangs * self.seconds)):
            if (site := i % self.sites) in share:
                for j in range(self.site_size):
                    at, number = i / self.bangs + 0.02 * j, site * self.site_size + j
                    # Rounded: where a device opens as it closes the one before, it closes first.
                    out += [(round(at, 6), number, "open"), (round(at + self.open_s, 6), number, "close")]
        numbers = range(share.start * self.site_size, share.stop * self.site_size)
        for number in numbers:
            first = self.heartbeat_s * number / self.devices
            beats = np.arange(first, self.seconds, self.heartbeat_s)
            out += [(float(at), number, "beat") for at in beats]
        yield from sorted(out)
