"""Home Assistant finds each device at a real broker, sees what it heard, and forgets one that is revoked."""

import contextlib
import json
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sql
import yaml
from paho.mqtt import publish

from gunshot.device import topics
from gunshot.hub import folder, home_assistant, revocation
from gunshot.hub.database import CASE, DEVICE, INCIDENT
from tests.firmware.driven import shots
from tests.hub.console import Scene
from tests.hub.network import NAME, Network, Sender, until

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CONFIG, STATE = "homeassistant/binary_sensor/gunshot-roof/config", "gunshot/v1/roof/heard"
STATUS = "gunshot/v1/roof/status"


def enable(place) -> None:
    file = place / "hub.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"home_assistant": True}))


@pytest.mark.slow
def test_a_device_is_a_sensor_as_long_as_it_is_let_in(tmp_path):
    network = Network(tmp_path / "hub")
    enable(network.folder)
    kept = {}

    def says(state: str) -> bool:
        kept.update(new := network.retained("homeassistant"))
        return STATE in new and json.loads(new[STATE])["state"] == state

    with network.broker():
        with network.hub() as hub, contextlib.closing(Sender(network.device)) as sender:
            sender.pump_until(lambda: says("OFF") and STATUS in kept, "it is a sensor")
            config = json.loads(kept[CONFIG])
            assert config["state_topic"] == STATE
            assert [each["topic"] for each in config["availability"]] == [STATUS, topics.HUB_STATUS]
            assert json.loads(kept[STATUS])["online"] is True and kept[topics.HUB_STATUS] == b"online"
            sender.hear(shots([0.5], 2.5, seed=2))
            sender.pump_until(lambda: says("ON"), "it heard a shot")
            assert json.loads(kept[STATE])["shots"] == 1
            tls = {"ca_certs": network.device / "ca.pem", "certfile": network.device / "cert.pem",
                   "keyfile": network.device / "key.pem"}  # fmt: skip
            for topic in (STATE, CONFIG):  # neither may a device say of itself, nor of another
                publish.single(topic, "x", 1, True, "localhost", network.port, client_id=NAME, tls=tls)
            assert b"x" not in network.retained("homeassistant").values()
            revocation.revoke(network.folder, NAME, now=datetime.now(UTC))
            until(lambda: network.retained("homeassistant") == {topics.HUB_STATUS: b"online"}, "it is forgotten")
            hub.kill()
        until(lambda: network.retained("homeassistant") == {topics.HUB_STATUS: b"offline"}, "the hub is gone")


def states(scene: Scene, *, at: datetime = NOW, enabled: bool = True) -> dict[str, str | None]:
    """The state of each device; None: the broker is to forget it."""
    with scene.writing() as connection:
        said = home_assistant.messages(connection, enabled=enabled, now=at)
        names = connection.scalars(sql.select(DEVICE.c.name)).all()
    for name in names:
        assert bool(said[topics.discovery(name)]) == bool(said[topics.topic(name, "heard")])
    payloads = {name: said[topics.topic(name, "heard")] for name in names}
    return {name: json.loads(payload)["state"] if payload else None for name, payload in payloads.items()}


def test_a_sensor_is_on_for_a_minute_of_a_case_that_was_raised(tmp_path):
    """What is near wakes nobody; what comes late is no news."""
    scene = Scene(tmp_path / "hub")
    scene.case(1, NOW, ("gate", "yard"))
    scene.case(2, NOW, ("fountain",), raised=False)
    with scene.writing() as connection:
        connection.execute(sql.update(INCIDENT).values(latest_us=round(NOW.timestamp() * 1e6)))
    off = dict.fromkeys(("fountain", "gate", "roof-north", "yard"), "OFF")
    assert states(scene) == off | {"gate": "ON", "yard": "ON"}
    assert states(scene, at=NOW + timedelta(seconds=61)) == off
    with scene.writing() as connection:  # a clock that is years ahead turns no sensor on for years
        connection.execute(sql.update(INCIDENT).values(latest_us=round((NOW + timedelta(days=9000)).timestamp() * 1e6)))
    assert states(scene, at=NOW + timedelta(seconds=61)) == off
    with scene.writing() as connection:
        connection.execute(sql.update(DEVICE).where(DEVICE.c.name == "gate").values(revoked_at=NOW))
        connection.execute(sql.update(CASE).values(exercise=True))
        said = home_assistant.messages(connection, enabled=True, now=NOW)
    assert states(scene) == off | {"gate": None, "yard": "ON"}
    assert json.loads(said["gunshot/v1/yard/heard"])["drill"] is True
    config = json.loads(said["homeassistant/binary_sensor/gunshot-yard/config"])
    assert config["unique_id"] == "gunshot-yard" and config["device"]["suggested_area"] == "school"


def test_it_is_told_nothing_where_nobody_asked_for_it(tmp_path):
    scene = Scene(tmp_path / "hub")
    assert not folder.load(scene.folder).home_assistant
    scene.case(1, NOW, ("gate", "yard"))
    assert set(states(scene, enabled=False).values()) == {None}
    with scene.writing() as connection:
        assert home_assistant.messages(connection, enabled=False, now=NOW)[topics.HUB_STATUS] == b""
