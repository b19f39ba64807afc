"""The hub at work: what arrives by MQTT is committed to the database, and then acknowledged; orders go out."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event

import sqlalchemy as sql
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from gunshot.base.files import shown
from gunshot.device import topics
from gunshot.hub import database, floods, folder, inbox, intake, orders, places, rollouts
from gunshot.hub.home_assistant import Teller

READ_S = 0.1  # at most, until what was read is committed
OFFER_S = 2.0  # from one look at a roll-out to the next
TICK_S = 1.0  # from one look at the orders to the next; and between attempts to connect
NO_PROFILE = "it runs without its site's profile"  # what may be wrong with a device, in the log
NO_DISK = "its disk takes nothing, and what it has to send is in its memory alone"

log = logging.getLogger("gunshot")


def serve(place: Path, *, sr: int, second: Callable[[sql.Engine, Path, Event], None] | None = None) -> None:
    """Take in what devices send, and locate it, until interrupted. `sr` is of the samples that messages count, Hz.

    `place` is the hub's folder. `second` gives opinions of the clips in a folder, until the event is set. An error of
    the database ends it before anything is acknowledged: the broker and the devices keep what was not.

    Raises
    ------
    ConnectionError
        The database cannot be reached, or takes nothing.
    """
    settings = folder.load(place)
    client, stop = _client(place / "client"), Event()
    teller = Teller(client, enabled=settings.home_assistant)
    with database.opened(settings.database) as engine:
        sound = place / orders.SOUND
        hub = Hub(client, engine, sr=sr, sound=sound)
        client.on_message = lambda _, __, message: hub.inbox.put(message)
        client.on_subscribe, client.on_disconnect = hub.subscribed, hub.disconnected
        client.connect_async(settings.host, settings.port)
        keeping = [partial(places.keep, engine, sound), *_sending(engine, settings)]
        if second:
            keeping.append(partial(second, engine, sound))
        with ThreadPoolExecutor(len(keeping)) as pool:  # a thread for each: none of them ends before the hub does
            beside = [pool.submit(one, stop) for one in keeping]
            try:
                _loop(hub, settings, beside, teller)
            finally:
                stop.set()
        for one in beside:
            one.result()


def _sending(engine: sql.Engine, settings: folder.Settings) -> list[Callable[[Event], None]]:
    """Return what sends alerts, each to one address until an event is set."""
    out = []
    if settings.cap:
        from gunshot.hub import dispatch  # who sends nothing needs no HTTP

        out.append(partial(dispatch.keep, engine, settings.cap, settings.host))
    if settings.webhooks:
        from gunshot.hub import webhooks

        out += [partial(webhooks.keep, engine, one) for one in settings.webhooks]
    return out


def _client(own: Path) -> mqtt.Client:
    """Return a client of the broker, yet to connect, with the certificate in a folder."""
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id=folder.HUB, clean_session=False, protocol=mqtt.MQTTv311, manual_ack=True
    )
    client.max_inflight_messages_set(inbox.MOST)  # acknowledgements, of what was committed together
    client.tls_set(own / "ca.pem", own / "cert.pem", own / "key.pem")
    client.on_connect = _connected
    return client


def _loop(hub: "Hub", settings: folder.Settings, beside: list[Future], teller: Teller) -> None:
    """Talk with the broker until one of those `beside` is done: it had an error, which ends the hub."""
    client, looked, offered = hub.client, -TICK_S, -OFFER_S
    _connect(client, settings)
    while not any(one.done() for one in beside):  # one thread, so that nothing happens to an order twice at a time
        if not hub.read():
            hub.inbox.forget()
            teller.again()
            time.sleep(TICK_S)
            _connect(client, settings)
            continue
        hub.take()
        if client.is_connected() and time.monotonic() - looked >= TICK_S:
            looked = time.monotonic()
            send_orders(client, hub.engine, sound=hub.sound)
            if hub.listening_since and looked - offered >= OFFER_S:
                offered = looked
                send_offers(client, hub.engine, listening_since=hub.listening_since)
            teller.tell(hub.engine)
            hub.count_floods()
            client.publish(topics.LIFE, b"")  # the broker takes it, and the database answered just now


def _connect(client: mqtt.Client, settings: folder.Settings) -> None:
    try:
        client.reconnect()
    except OSError as e:
        log.warning("no connection to %s:%d yet: %s", settings.host, settings.port, e)


def _connected(client: mqtt.Client, _, __, reason, ___) -> None:
    if reason.is_failure:
        return log.warning("the broker refuses the hub: %s", reason)
    return _subscribe(client, topics.WRITTEN)


def _subscribe(client: mqtt.Client, leaves: tuple[str, ...]) -> None:
    client.subscribe([(topics.topic("+", leaf), 1) for leaf in leaves])


class Hub:
    """What came, and where it goes: committed many at a time, then confirmed to the broker and acknowledged to devices.

    `sound` is the folder of clips.
    """

    def __init__(self, client: mqtt.Client, engine: sql.Engine, *, sr: int, sound: Path):
        self.client, self.engine, self.sr, self.sound = client, engine, sr, sound
        self.inbox = inbox.Inbox(self._confirm)
        self.faults: dict[tuple[str, str], str | None] = {}  # by device and what is wrong, so far
        self.is_flooded = False
        self.listening_since: datetime | None = None  # when it began to hear devices; None: it does not

    def subscribed(self, _, __, ___, granted: list, ____) -> None:
        """Note that the broker sends what devices say."""
        if len(granted) == len(topics.WRITTEN):  # else it is again, after a flood
            self.listening_since = datetime.now(UTC)
            log.info("connected to the broker")  # from now on nothing is missed

    def disconnected(self, _, __, ___, reason, ____) -> None:
        """Note that it does not."""
        self.listening_since = None
        log.info("disconnected from the broker: %s", reason)

    def read(self) -> bool:
        """Read what the broker sends: wait for it, then all that is there; return whether the broker is."""
        code, seen, end = self.client.loop(self.inbox.wait_s or TICK_S), -1, time.monotonic() + READ_S
        while (
            code == MQTTErrorCode.MQTT_ERR_SUCCESS and seen < self.inbox.seen and len(self.inbox) < inbox.MOST
            and time.monotonic() < end
        ):  # fmt: skip
            seen = self.inbox.seen
            code = self.client.loop(0)
        return code == MQTTErrorCode.MQTT_ERR_SUCCESS

    def take(self) -> None:
        """Commit what is due in one transaction, then confirm and acknowledge it."""
        due, late = self.inbox.take()
        if not due and not late:
            return
        with self.engine.begin() as connection:
            answers = self._take(connection, [message for message in due + late if message.payload])
        for message in due:
            self._confirm(message)
        for topic, answer in answers:
            self.client.publish(topic, answer, qos=1)

    def _take(self, connection: sql.Connection, due: list[mqtt.MQTTMessage]) -> list[tuple[str, bytes]]:
        """Take in messages, and return what to answer, of each its topic and its bytes.

        Those without content, by which the broker was told to forget what it kept, are not among them.
        """
        now, alerts, out = datetime.now(UTC), [], []
        for message in due:
            device, leaf = topics.parts(message.topic)
            if leaf == "alert":
                alerts.append((device, message.payload))
            elif leaf == "reply" and message.payload.startswith(rollouts.REPORT):
                part = rollouts.report(connection, device, message.payload, now=now)
                out += [(topics.topic(device, "image"), part)] if part else []
            elif leaf == "reply":
                done = orders.reply(connection, device, message.payload, now=now, sound=self.sound)
                out += [(topics.topic(device, "ack"), done.encode())] if done else []
            elif leaf == "birth":
                intake.birth(connection, device, message.payload, now=now)
            elif report := intake.status(connection, device, message.payload, now=now):
                self._warn(device, report)
        for (device, _), done in zip(alerts, intake.alerts(connection, alerts, now=now, sr=self.sr), strict=True):
            if done is not None:  # else the table refused has the reason
                out.append((topics.topic(device, "ack"), done.encode()))
        return out

    def count_floods(self) -> None:
        """Write what was passed over; once a flood has ended, ask the broker for what it keeps of each device.

        In a flood its queue for the hub may have been full, and a birth or a status among what it dropped.
        """
        over, before = self.inbox.passed_over(), self.is_flooded
        floods.write(self.engine, over, now=datetime.now(UTC))
        self.is_flooded = bool(over)
        if before and not over:
            _subscribe(self.client, topics.RETAINED)

    def _confirm(self, message: mqtt.MQTTMessage) -> None:
        self.client.ack(message.mid, message.qos)

    def _warn(self, device: str, report: topics.Status) -> None:
        """Log once why a device runs without its site's profile, or its disk takes nothing; a last will says neither.

        One without the profile is at its operating point, or above it: the reason says which, where it left that.
        """
        if not report.online:
            return
        for what, fault in ((NO_PROFILE, report.site_fault), (NO_DISK, report.disk_fault)):
            if fault and fault != self.faults.get((device, what)):
                log.warning("%s: %s: %s", device, what, shown(fault))
            self.faults[device, what] = fault


def send_orders(client: mqtt.Client, engine: sql.Engine, *, sound: Path) -> None:
    """Send the orders that wait; again until the device answers, as whoever is killed loses what it had."""
    with engine.begin() as connection:
        waiting = orders.due(connection, now=datetime.now(UTC), sound=sound)
    for device, payload in waiting:
        log.info("%s: an order is sent", device)
        client.publish(topics.topic(device, "order"), payload, qos=1)


def send_offers(client: mqtt.Client, engine: sql.Engine, *, listening_since: datetime) -> None:
    """Look how a roll-out goes, and send what devices are to do now; since when the hub listens to them."""
    with engine.begin() as connection:
        waiting = rollouts.work(connection, now=datetime.now(UTC), listening_since=listening_since)
    for device, payload in waiting:
        client.publish(topics.topic(device, "image"), payload, qos=1)
