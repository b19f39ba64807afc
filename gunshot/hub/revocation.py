"""Devices that are let in no longer: their certificates are revoked, and their connections end.

Mosquitto reads its list of revoked certificates again on SIGHUP, and asks it of each new connection alone, also of one
that would resume a TLS session of before. A connection that is there stays: so the authority connects once as the
device, which takes its place at the broker.
"""

import os
import signal
import tempfile
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import sqlalchemy as sql
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from gunshot.device import topics
from gunshot.hub import audit, certificates, database, folder
from gunshot.hub.database import DEVICE, SESSION

PATIENCE_S = 5.0  # until the broker has read its list, or has answered
PAUSE_S = 0.05
DAYS = 1  # of the certificates by which the authority asks; their keys are deleted at once


def revoke(place: Path, name: str, *, now: datetime) -> None:
    """Let a device in no longer, end its connection, and clear what the broker keeps of it; its alerts stay.

    `place` is the hub's folder. `name` may be one of topics.CLIENTS too; `folder.init` gives that a new certificate.
    Where this fails or is killed, nothing more is taken from the device all the same; do it again, so that the rest is
    done.

    Raises
    ------
    ValueError
        There is no such device; or no certificate of that client is left here to withdraw.
    ConnectionError
        The broker does not answer, or does not read its list.
    """
    if name in topics.CLIENTS:
        with database.opened(folder.load(place).database) as engine, engine.begin() as connection:
            audit.enter_client(connection, name, now=now, event="revoked")
            folder.withdraw(place, name)  # inside: where there is nothing to withdraw, nothing is entered
        return enforce(place, name)
    topics.check_name(name)
    with database.opened(folder.load(place).database) as engine, engine.begin() as connection:
        is_name = DEVICE.c.name == name
        if connection.scalar(sql.select(DEVICE.c.name).where(is_name)) is None:
            raise ValueError(f"device={name} must be enrolled; `gunshot hub enrol` does that")
        first = sql.update(DEVICE).where(is_name, DEVICE.c.revoked_at.is_(None))
        connection.execute(first.values(revoked_at=now))
        connection.execute(sql.update(SESSION).where(SESSION.c.device == name).values(online=False))
        audit.enter(connection, "device", name, now=now, event="revoked")
    folder.withdraw(place, name)
    return enforce(place, name, cleared=topics.WRITTEN)  # a thief may have had it keep more than it should


def enforce(place: Path, name: str, *, cleared: tuple[str, ...] = ()) -> None:
    """Have the broker read its list of revoked certificates, end the connection of a device, and clear topics of it.

    That the list is read is tried with a certificate that was revoked for that.

    Raises
    ------
    ConnectionError
        The broker does not answer, or does not read its list.
    """
    settings, authority, end = folder.load(place), place / "authority", time.monotonic() + PATIENCE_S
    where = f"the broker at {settings.host}:{settings.port}"
    with tempfile.TemporaryDirectory(prefix="gunshot-") as temporary:
        refused, admitted = Path(temporary, "refused"), Path(temporary, "admitted")
        certificates.issue(authority, admitted, name, days=DAYS)
        certificates.issue(authority, refused, name, days=DAYS, copies=Path(temporary, "issued"))
        certificates.revoke(authority, folder.revoked(place), certificates.issued(Path(temporary, "issued"), name))
        reload(place)
        while (client := _connected(settings, refused, name)) is not None:
            client.disconnect()
            if time.monotonic() + PAUSE_S > end:
                raise ConnectionError(
                    f"{where} lets in who is revoked: it must read {folder.revoked(place)} again, by "
                    f"`systemctl reload gunshot-broker` or `kill -HUP`; its mosquitto.conf must have crlfile"
                )
            time.sleep(PAUSE_S)
        if (client := _connected(settings, admitted, name)) is None:  # not even who may
            raise ConnectionError(f"{where} does not answer; the certificate is revoked, and once it runs it knows")
        for leaf in cleared:
            _clear(client, topics.topic(name, leaf))
        client.disconnect()


def reload(place: Path) -> None:
    """Ask the broker of a hub's folder to read its files again, where it runs on this machine."""
    with suppress(OSError, ValueError):  # it is elsewhere, another user's, or none; the file is empty
        pid = int((place / "broker" / folder.PID).read_text())
        if Path(f"/proc/{pid}/comm").read_text().strip() == "mosquitto":  # and no process that came after it
            os.kill(pid, signal.SIGHUP)


def _connected(settings: folder.Settings, own: Path, name: str) -> mqtt.Client | None:
    """Return a connection with a certificate, in a session that has nothing; None where the broker takes it not."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv311)
    client.tls_set(own / "ca.pem", own / "cert.pem", own / "key.pem")
    try:
        client.connect(settings.host, settings.port)
    except OSError:
        return None
    end = time.monotonic() + PATIENCE_S
    while client.loop(PAUSE_S) == MQTTErrorCode.MQTT_ERR_SUCCESS and time.monotonic() < end:
        if client.is_connected():
            return client
    return None


def _clear(client: mqtt.Client, topic: str) -> None:
    """Have the broker forget the message that it keeps of a topic; ConnectionError where it does not confirm."""
    message, end = client.publish(topic, b"", qos=1, retain=True), time.monotonic() + PATIENCE_S
    while not message.is_published():
        if client.loop(PAUSE_S) != MQTTErrorCode.MQTT_ERR_SUCCESS or time.monotonic() > end:
            raise ConnectionError(f"{topic} must be cleared, and the broker did not confirm it; try again")
