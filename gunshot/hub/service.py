"""The hub at work: what arrives by MQTT is committed to the database, and then acknowledged."""

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import sqlalchemy as sql
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from gunshot.device import topics
from gunshot.hub import database, folder, intake, places

TAKEN = ("birth", "status", "alert")
LONGEST_S = 10  # between attempts to connect

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
    client.reconnect_delay_set(1, LONGEST_S)
    client.on_connect = _connected
    client.on_subscribe = lambda *_: log.info("connected to the broker")  # from now on nothing is missed
    client.on_connect_fail = lambda *_: log.warning("no connection to %s:%d yet", settings.host, settings.port)
    client.on_disconnect = lambda _, __, ___, reason, ____: log.info("disconnected from the broker: %s", reason)
    stop = Event()
    with database.opened(settings.database) as engine, ThreadPoolExecutor(1) as pool:
        # The library sends its PUBACK after this returns, and none where it raises.
        client.on_message = lambda _, __, message: take(client, engine, message, sr=sr)
        client.connect_async(settings.host, settings.port)
        located = pool.submit(places.keep, engine, stop)
        located.add_done_callback(lambda _: client.disconnect())  # it had an error, which ends the hub
        try:
            client.loop_forever(retry_first_connection=True)
        finally:
            stop.set()
        located.result()


def _connected(client: mqtt.Client, _, __, reason, ___) -> None:
    if reason.is_failure:
        return log.warning("the broker refuses the hub: %s", reason)
    return client.subscribe([(topics.topic("+", leaf), 1) for leaf in TAKEN])


def take(client: mqtt.Client, engine: sql.Engine, message: mqtt.MQTTMessage, *, sr: int) -> None:
    """Commit what a device sent, then acknowledge it."""
    device, leaf = topics.parts(message.topic)
    now, acknowledgement = datetime.now(UTC), None
    with engine.begin() as connection:
        if leaf == "alert":
            acknowledgement = intake.alert(connection, device, message.payload, now=now, sr=sr)
        else:
            {"birth": intake.birth, "status": intake.status}[leaf](connection, device, message.payload, now=now)
    if acknowledgement:
        client.publish(topics.topic(device, "ack"), acknowledgement.encode(), qos=1)
    elif leaf == "alert":
        log.warning("%s: a message is not acknowledged; the table refused has its reason", device)
