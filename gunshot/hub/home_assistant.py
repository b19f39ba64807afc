"""What the hub says to Home Assistant, by MQTT: each device as a sensor of possible gunfire, which it finds by itself.

Discovery is a retained message by sensor, whose topic and keys are Home Assistant's:
https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery. An empty one removes a sensor. A device's own messages
are bytes, which Home Assistant cannot read: so the hub says as JSON whether a device heard a case that was raised.
"""

import json
from datetime import UTC, datetime, timedelta

import sqlalchemy as sql
from paho.mqtt import client as mqtt

from gunshot.device import topics
from gunshot.device.messages import State
from gunshot.hub.database import CASE, DEVICE, INCIDENT
from gunshot.hub.incidents import time

ON = timedelta(seconds=60)  # for which a sensor is on after the last shot; what comes later than that turns none on
THERE, GONE = b"online", b"offline"  # of the hub, as Home Assistant has it


class Teller:
    """What is said by a client of the broker: each message once, and all of them again after a new connection."""

    def __init__(self, client: mqtt.Client, *, enabled: bool):
        self._client, self._enabled, self._sent = client, enabled, {}
        if enabled:
            client.will_set(topics.HUB_STATUS, GONE, qos=1, retain=True)

    def again(self) -> None:
        """Forget what was sent: the broker may have lost it, or have the last will in its place."""
        self._sent.clear()

    def tell(self, engine: sql.Engine) -> None:
        """Publish what is new."""
        with engine.connect() as connection:
            wanted = messages(connection, enabled=self._enabled, now=datetime.now(UTC))
        for topic, payload in wanted.items():
            if self._sent.get(topic) != payload:
                self._client.publish(topic, payload, qos=1, retain=True)
                self._sent[topic] = payload


def messages(connection: sql.Connection, *, enabled: bool, now: datetime) -> dict[str, bytes]:
    """Return what the broker is to keep now, by topic; empty is what it is to forget.

    That is all of it where it is not `enabled`, and all of a device that is revoked.
    """
    heard = _heard(connection, now) if enabled else {}
    out = {topics.HUB_STATUS: THERE if enabled else b""}
    for device in connection.execute(sql.select(DEVICE).order_by(DEVICE.c.name)):
        is_known = enabled and device.revoked_at is None
        config, state = topics.discovery(device.name), topics.topic(device.name, topics.HEARD)
        out[config] = _encode(_config(device)) if is_known else b""
        out[state] = _encode(heard.get(device.name, {"state": "OFF"})) if is_known else b""
    return out


def _config(device: sql.Row) -> dict:
    """Return the discovery message of a device's sensor."""
    state, status = (topics.topic(device.name, leaf) for leaf in (topics.HEARD, "status"))
    id = topics.sensor(device.name)
    config = {
        "name": "Possible gunfire",
        "unique_id": id,
        "device_class": "sound",  # "clear" when it is off; a class that says "safe" would promise too much
        "state_topic": state,
        "value_template": "{{ value_json.state }}",
        "json_attributes_topic": state,
        "availability_mode": "all",
        "availability": [
            {"topic": status, "value_template": "{{ 'online' if value_json.online else 'offline' }}"},
            {"topic": topics.HUB_STATUS},
        ],
        "device": {"identifiers": [id], "name": device.name, "model": "Gunshot detector"},
        "origin": {"name": "gunshot"},
    }
    if device.site:
        config["device"]["suggested_area"] = device.site
    return config


def _heard(connection: sql.Connection, now: datetime) -> dict[str, dict]:
    """Return the state of each device that heard a case which is raised, and not over for long, by its name."""
    i, c = INCIDENT.c, CASE.c
    # Also by the hub's clock: one of a device that is ahead would have its sensor on until then.
    is_new = i.latest_us > (now - ON).timestamp() * 1e6, c.changed_at > now - ON, i.state != State.WITHDRAWN
    query = sql.select(i.device, i.shots, i.unix_us, i.case, c.exercise).join(CASE, c.number == i.case)
    rows = connection.execute(query.where(*is_new, c.raised_at.is_not(None)).order_by(c.changed_at, i.latest_us))
    return {
        row.device: {
            "state": "ON", "case": row.case, "shots": row.shots, "drill": row.exercise,
            "time": row.unix_us and time(row.unix_us).isoformat(timespec="milliseconds"),
        }
        for row in rows
    }  # fmt: skip


def _encode(content: dict) -> bytes:
    return json.dumps(content, sort_keys=True).encode()
