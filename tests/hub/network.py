"""A real broker, a hub and devices on loopback, over TLS, that end with their test."""

import contextlib
import dataclasses
import itertools
import multiprocessing
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import sqlalchemy as sql
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from gunshot.base import audio
from gunshot.detect import listener
from gunshot.device import answers, incidents, link, messages, outbox, run, topics
from gunshot.device.place import Place
from gunshot.hub import database, folder, inbox, orders, service
from gunshot.signing import keys
from tests.firmware.driven import MODEL, p
from tests.flows.prefect_server import free_port, started
from tests.hub.waiting import PATIENCE_S, until  # noqa: F401 - for the tests

ROOT = Path(__file__).parents[2]
FORKS = multiprocessing.get_context("forkserver")  # no fork of this process, which has threads
FORKS.set_forkserver_preload([__name__])
NAME, NUMBER, MODEL_NUMBER = "roof", 7, 2**64 - 2


class Network:
    """A hub's folder with one device, and what runs of it."""

    def __init__(self, place: Path, *, url: str | None = None):
        self.folder, self.log, self.port = place, place.parent / "log", int(free_port())
        self.url = folder.init(place, host="localhost", port=self.port, url=url).database
        self.device = folder.enrol(place, NAME, NUMBER)

    @contextlib.contextmanager
    def broker(self) -> Iterator[subprocess.Popen]:
        """Run Mosquitto; it answers."""
        with started(self.log, "/usr/sbin/mosquitto", "-v", "-c", self.folder / "mosquitto.conf") as one:
            until(self._answers, self.log.read_text)
            yield one

    def hub(self, serve: Callable[[Path], None] | None = None) -> contextlib.AbstractContextManager[BaseProcess]:
        """Run the hub, or a hub of the test's."""
        return forked(serve or serve_hub, self.folder)

    def rows(self, table: sql.Table) -> list[dict]:
        """The rows of a table of the hub's."""
        with database.opened(self.url) as engine, engine.connect() as connection:
            return [dict(row) for row in connection.execute(sql.select(table).order_by(*table.primary_key)).mappings()]

    def payloads(self) -> list[bytes]:
        """The stored messages, by session and sequence."""
        return [row["payload"] for row in self.rows(database.MESSAGE)]

    def retained(self, reader: str = "client") -> dict[str, bytes]:
        """What the broker keeps of what a certificate of the folder may read; nobody else may use it meanwhile."""
        kept, own, done = {}, self.folder / reader, []
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
        client.tls_set(own / "ca.pem", own / "cert.pem", own / "key.pem")
        client.on_connect = lambda *_: client.subscribe("#", 1)
        client.on_message = lambda _, __, message: kept.update({message.topic: message.payload})
        client.on_subscribe = lambda *_: client.publish("end", b"", qos=1)  # confirmed after what is kept was sent
        client.on_publish = lambda *_: done.append(True)
        client.connect("localhost", self.port)
        until(lambda: client.loop(0.05) or done, "the broker has sent what it keeps")
        client.disconnect()
        kept.pop(topics.LIFE, None)
        return kept

    def give_camera(self, address: str) -> None:
        """Write an address into the device's configuration."""
        Place.load(self.device).model_copy(update={"camera": address}).save(self.device)

    def ask(self, start: int, stop: int, session: int | None = 1, *, incident: int | None = None, **who) -> None:
        """Ask the device for samples of a session, or for a span of time in microseconds."""
        span = orders.Span(start, stop, (stop - start) / (p.audio.sr if session else 1e6), session, incident)
        who |= {"reason": "a test", "person": "tester", "now": datetime.now(UTC)}
        with database.opened(self.url) as engine, engine.begin() as connection:
            orders.ask(connection, keys.load(folder.order_key(self.folder)), NAME, span, **who)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("localhost", self.port), 1):
            return True
        return False


@contextlib.contextmanager
def forked(target: Callable, *arguments) -> Iterator[BaseProcess]:
    """Run a function in a process of its own, killed at the end, which starts with all that this module imports."""
    one = FORKS.Process(target=target, args=arguments, daemon=True)
    with contextlib.chdir(ROOT):  # the first start begins the server, which imports this module from there
        one.start()
    try:
        yield one
    finally:
        one.kill()
        one.join()


def serve_hub(place: Path) -> None:
    """Be a hub."""
    service.serve(place, sr=p.audio.sr)


def serve_until(place: Path, *, statement: int) -> None:
    """Be a hub that is killed before so many statements, or commits, of its intake from the first message on."""
    taking, left = [], itertools.count(statement - 1, -1)
    take = service.Hub.take

    def counted(*_) -> None:
        if taking and not next(left):
            os.kill(os.getpid(), signal.SIGKILL)

    def counting(hub: service.Hub) -> None:
        taking.extend([True] if len(hub.inbox) else [])
        take(hub)
        taking.clear()

    service.Hub.take = counting
    for event in ("before_cursor_execute", "commit"):
        sql.event.listen(sql.Engine, event, counted)
    serve_hub(place)


def serve_full(place: Path, *, pages: int) -> None:
    """Be a hub whose SQLite has so many pages at most."""
    sql.event.listen(sql.Engine, "connect", lambda one, _: one.execute(f"PRAGMA max_page_count={pages}"))
    serve_hub(place)


def serve_once(place: Path) -> None:
    """Be a hub that dies between its first commit and the acknowledgement."""
    publish = mqtt.Client.publish
    mqtt.Client.publish = lambda client, topic, payload, **options: (
        os._exit(9) if topic.endswith("/ack") else publish(client, topic, payload, **options)
    )
    serve_hub(place)


def serve_three_parts(place: Path) -> None:
    """Be a hub that dies between the commit of a third part and its acknowledgement, and takes in few at a time."""
    inbox.MOST, service.READ_S = 1, 0.0
    publish, left = mqtt.Client.publish, itertools.count(2, -1)

    def dying(client: mqtt.Client, topic: str, payload: bytes, **options):
        if topic.endswith("/ack") and payload.startswith(b"{") and not next(left):
            os._exit(9)
        return publish(client, topic, payload, **options)

    mqtt.Client.publish = dying
    serve_hub(place)


def be_a_device(place: Path, pcm: np.ndarray, heard: Event) -> None:
    """Be a device that hears some sound, and tells it."""
    sender = Sender(place)
    sender.hear(pcm)
    heard.set()
    while True:
        sender.link.pump(0.05)


def be_a_microphone(place: Path, pcm: np.ndarray, times: Path) -> None:
    """Be a device that knows the time: it hears some sound at once, then noise for as long as it runs, as it sounds.

    `times` gets a line for each 50 ms of that noise: its first sample, and when that sounded, s since 1970.
    """
    sender = Sender(place, error_us=lambda: 1000)
    sender.device.hear(audio.to_float(pcm), lost=False)
    begun, size = time.time(), p.audio.sr // 20
    with times.open("w", buffering=1) as file:
        for i in itertools.count():
            while (late := time.time() - begun - (i + 1) * size / p.audio.sr) < 0:
                sender.link.pump(min(0.02, -late))
            sender.device.hear(audio.to_float(noise(i, size)), lost=False)
            print(len(pcm) + i * size, begun + i * size / p.audio.sr, file=file)


def run_a_device(place: Path, pcm: np.ndarray) -> None:
    """Be `gunshot device run` where the time is known: it hears some sound at once, then silence as that sounds."""
    model = dataclasses.replace(MODEL, path=place / "cert.pem")  # whose hash is the model's number

    def source() -> Iterator[tuple[np.ndarray, bool]]:
        yield audio.to_float(pcm), False
        while True:
            time.sleep(0.05)
            yield np.zeros(p.audio.sr // 20), False

    run.listen(place, source(), model, 0.0, p, error_us=lambda: 1000)


def noise(i: int, size: int) -> np.ndarray:
    """Block i of noise [shape=(size,)], int16, the same each time."""
    return np.random.default_rng(i).integers(-60, 60, size).astype(np.int16)


def kill(broker: subprocess.Popen) -> None:
    """End a broker at once: it writes nothing more to its disk."""
    broker.kill()
    broker.wait()


def expected(pcm: np.ndarray, session: int) -> list[bytes]:
    """The messages of samples, as the library tells them."""
    teller = incidents.Incidents(
        listener.Listener(MODEL, [0.0], p), device=NUMBER, session=session, sequence=itertools.count(),
        model=MODEL_NUMBER, p=p.firmware,
    )  # fmt: skip
    return [messages.encode(m) for m in teller.push(pcm) + teller.end()]


class Sender:
    """A device of this process; the test hears and pumps for it.

    `place` is its folder, `error_us` gives how far its clock may be off; None: it is not known. `gate`: of speech.
    """

    def __init__(self, place: Path, error_us: Callable[[], int | None] = lambda: None, gate=None):
        who = Place.load(place)
        self.outbox = outbox.Outbox(place)
        self.birth = topics.Birth(
            name=who.name, number=who.number, session=self.outbox.start(after=who.session),
            model=f"{MODEL_NUMBER:016x}", operating_point=0.5, version=messages.VERSION,
            capabilities=run.capabilities(who, verifier=False),
        )  # fmt: skip
        quiet = p.firmware.model_copy(update={"heartbeat_s": 3600.0})
        self.device = run.Device(listener.Listener(MODEL, [0.0], p), self.birth, self.outbox, quiet, error_us=error_us)
        keeps = {"gate": gate, "incidents": self.device.incidents, "camera": who.camera, "error_us": error_us}
        self.answers = answers.Answers(place, self.birth, self.device.ring, **keeps, resend_s=1.0)
        self.link = link.Link(place, who.host, who.port, self.outbox, self.birth, self.answers, resend_s=1.0)

    def hear(self, pcm: np.ndarray) -> None:
        """Hear all of some sound, and its end."""
        self.device.hear(audio.to_float(pcm), lost=False)
        self.device.end()

    def pump_until(self, true: Callable[[], bool], what: str) -> None:
        """Send and read until a condition holds."""
        until(lambda: self.link.pump(0.05) or true(), what)

    def close(self) -> None:
        """End it as `gunshot device run` does."""
        self.link.close()
        self.answers.close()
        self.outbox.close()
