"""The hub at work: what arrives by MQTT is committed to the database, and then acknowledged; orders go out."""

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import sqlalchemy as sql
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from gunshot.base.files import shown
from gunshot.device import topics
from gunshot.hub import database, folder, intake, orders, places
from gunshot.hub.home_assistant import Teller

TICK_S = 1.0  # from one look at the orders to the next; and between attempts to connect

log = logging.getLogger("gunshot")


def serve(place: Path, *, sr: int) -> None:
    """Take in what devices send, and locate it, until interrupted. `sr` is of the samples that messages count, Hz.

    `place` is the hub's folder. An error of the database ends it before anything is acknowledged: the broker and the
    devices keep what was not.

    Raises
    ------
    ConnectionError
        The database cannot be reached, or takes nothing.
    """
    settings = folder.load(place)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=folder.HUB, clean_session=False, protocol=mqtt.MQTTv311)
    own = place / "client"
    client.tls_set(own / "ca.pem", own / "cert.pem", own / "key.pem")
    teller = Teller(client, enabled=settings.home_assistant)
    client.on_connect = _connected
    client.on_subscribe = lambda *_: log.info("connected to the broker")  # from now on nothing is missed
    client.on_disconnect = lambda _, __, ___, reason, ____: log.info("disconnected from the broker: %s", reason)
    stop = Event()
    with database.opened(settings.database) as engine, ThreadPoolExecutor() as pool:
        # The library sends its PUBACK after this returns, and none where it raises.
        sound = place / orders.SOUND
        faults: dict[str, str | None] = {}
        client.on_message = lambda _, __, message: take(client, engine, message, faults, sr=sr, sound=sound)
        client.connect_async(settings.host, settings.port)
        beside = [pool.submit(places.keep, engine, stop)]
        if settings.cap:
            from gunshot.hub import dispatch  # who sends nothing needs no HTTP

            beside.append(pool.submit(dispatch.keep, engine, settings.cap, settings.host, stop))
        try:
            _loop(client, engine, settings, beside, teller, sound=sound)
        finally:
            stop.set()
        for one in beside:
            one.result()


def _loop(
    client: mqtt.Client, engine: sql.Engine, settings: folder.Settings, beside: list[Future], teller: Teller,
    *, sound: Path,
) -> None:  # fmt: skip
    """Talk with the broker until one of those `beside` is done: it had an error, which ends the hub."""
    _connect(client, settings)
    looked = -TICK_S
    while not any(one.done() for one in beside):  # one thread, so that nothing happens to an order twice at a time
        if client.loop(TICK_S) != MQTTErrorCode.MQTT_ERR_SUCCESS:
            teller.again()
            time.sleep(TICK_S)
            _connect(client, settings)
        elif client.is_connected() and time.monotonic() - looked >= TICK_S:
            looked = time.monotonic()
            send_orders(client, engine, sound=sound)
            teller.tell(engine)
            client.publish(topics.LIFE, b"")  # the broker takes it, and the database answered just now


def _connect(client: mqtt.Client, settings: folder.Settings) -> None:
    try:
        client.reconnect()
    except OSError as e:
        log.warning("no connection to %s:%d yet: %s", settings.host, settings.port, e)


def _connected(client: mqtt.Client, _, __, reason, ___) -> None:
    if reason.is_failure:
        return log.warning("the broker refuses the hub: %s", reason)
    return client.subscribe([(topics.topic("+", leaf), 1) for leaf in topics.WRITTEN])


def take(
    client: mqtt.Client, engine: sql.Engine, message: mqtt.MQTTMessage, faults: dict[str, str | None],
    *, sr: int, sound: Path,
) -> None:  # fmt: skip
    """Commit what a device sent, then acknowledge it. `faults` are those of sites' profiles, by device, so far."""
    device, leaf = topics.parts(message.topic)
    if not message.payload:  # the broker was told to forget what it kept
        return
    now, acknowledgement = datetime.now(UTC), None
    with engine.begin() as connection:
        if leaf == "alert":
            acknowledgement = intake.alert(connection, device, message.payload, now=now, sr=sr)
        elif leaf == "reply":
            acknowledgement = orders.reply(connection, device, message.payload, now=now, sound=sound)
        elif leaf == "birth":
            intake.birth(connection, device, message.payload, now=now)
        elif report := intake.status(connection, device, message.payload, now=now):
            _warn(device, report, faults)
    if acknowledgement:
        client.publish(topics.topic(device, "ack"), acknowledgement.encode(), qos=1)
    elif leaf == "alert":
        log.warning("%s: a message is not acknowledged; the table refused has its reason", device)


def _warn(device: str, report: topics.Status, faults: dict[str, str | None]) -> None:
    """Log why a device runs without its site's profile, once; its last will says nothing of that."""
    if not report.online:
        return
    if report.site_fault and report.site_fault != faults.get(device):
        log.warning(
            "%s: it runs at its operating point, without its site's profile: %s", device, shown(report.site_fault)
        )
    faults[device] = report.site_fault


def send_orders(client: mqtt.Client, engine: sql.Engine, *, sound: Path) -> None:
    """Send the orders that wait; again until the device answers, as whoever is killed loses what it had."""
    with engine.begin() as connection:
        waiting = orders.due(connection, now=datetime.now(UTC), sound=sound)
    for device, payload in waiting:
        log.info("%s: an order is sent", device)
        client.publish(topics.topic(device, "order"), payload, qos=1)
