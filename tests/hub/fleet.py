"""A hub's database and devices that really take images, without a broker between them; a test says what time it is."""

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sql

from gunshot.base import params
from gunshot.device import releases, slots
from gunshot.device.installer import Installer
from gunshot.device.orders import SIGNATURE
from gunshot.device.releases import Offer
from gunshot.device.slots import Slots
from gunshot.device.topics import Birth
from gunshot.hub import database, intake, rollouts
from gunshot.hub.database import DEVICE, INCIDENT, SESSION
from gunshot.hub.folder import Rollout
from gunshot.hub.incidents import EPOCH
from tests.device.images import HUB, OPERATOR, image, manifest, trusting
from tests.hub.console import Scene

P = params.load("audio", "features", "context", "detector")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MODEL = bytes(range(256)) * 100  # two parts
MINUTE = timedelta(minutes=1)
WHO = {"person": "anna", "reason": "it hears more"}
SETTINGS = Rollout(shares=(0.4, 1.0), watch_s=3600, silent_s=1800, patience_s=86_400)
NAMES = ("fountain", "gate", "roof-north", "yard")  # by Scene


class Device:
    """One device: its folder, what runs, and whether it is there."""

    def __init__(self, fleet: "Fleet", name: str):
        self.fleet, self.name, self.folder = fleet, name, trusting(fleet.place / name)
        self.session, self.is_there, self.crashes, self.is_quiet = 0, True, False, False
        self.slots: Slots | None = None
        self.start()

    def start(self) -> None:
        """Start, and tell who it is; of an image with which it `crashes` nobody hears anything."""
        while True:
            if self.slots:
                self.slots.close()  # that process has ended
            self.slots = one = Slots(self.folder)
            self.model = (path := one.boot()) and path.read_bytes()
            if not (self.crashes and one.is_on_trial):
                break
        self.session += 1
        self.installer = Installer(self.folder, self.name, one, P, error_us=lambda: None)
        running = one.running and one.manifest(one.running)
        self.fleet.born(self, running)
        self.installer.again()


class Fleet:
    """The devices of a scene, and the hub's work with them, each minute."""

    def __init__(self, place: Path, *, url: str | None = None):
        self.place, self.now, self.scene = place, NOW, Scene(place / "hub", url=url)
        self.listening_since = NOW  # the hub
        self.engine = database.engine(self.scene.url)  # one for all, or most of the time goes to opening it
        self.scene.writing = self.engine.begin
        self.devices = {name: Device(self, name) for name in NAMES}

    def born(self, device: Device, running) -> None:
        with self.scene.writing() as connection:
            number = connection.scalar(sql.select(DEVICE.c.number).where(DEVICE.c.name == device.name))
            birth = Birth(
                name=device.name, number=number, session=device.session, model="0" * 16, operating_point=0.5, version=2,
                capabilities=["sound", "image"], image=running and running.number, release=running and running.version,
            )  # fmt: skip
            intake.birth(connection, device.name, birth.encode(), now=self.now)
            self.online(connection, device)

    def online(self, connection, device: Device) -> None:
        key = SESSION.c.device == device.name, SESSION.c.session == device.session
        connection.execute(sql.update(SESSION).where(*key).values(online=device.is_there))

    def there(self, name: str, is_there: bool) -> None:
        device = self.devices[name]
        device.is_there = is_there
        with self.scene.writing() as connection:
            self.online(connection, device)

    def begin(self, number: int = 2, *, content: bytes | None = None, settings=SETTINGS, key=OPERATOR, **more) -> str:
        content = image(MODEL) if content is None else content
        signed = rollouts.Image(content, manifest(content, number, device=more.pop("hardware", slots.CLASS), key=key))
        with self.scene.writing() as connection:
            options = {"canary": "gate", "now": self.now} | WHO | more
            return rollouts.start(connection, HUB, signed, [OPERATOR.public_key()], settings, **options)

    def end(self, state: str) -> None:
        with self.scene.writing() as connection:
            rollouts.end(connection, state, person="ben", now=self.now)

    def run(self, minutes: int) -> None:
        """Let so many minutes pass: a device that is there sends a heartbeat each ten at most, unless it `is_quiet`.

        The hub looks each minute at first, and then each ten.
        """
        end, looks = self.now + minutes * MINUTE, itertools.count()
        while self.now < end:
            self.now = min(end, self.now + (1 if next(looks) < 3 else 10) * MINUTE)
            for one in self.devices.values():
                if one.is_there and not one.is_quiet:
                    self.scene.heartbeats(one.name, {self.now: 40.0})
                    one.installer.calm()
            with self.scene.writing() as connection:
                offers = rollouts.work(connection, now=self.now, listening_since=self.listening_since)
            for name, payload in offers:
                said = Offer.decode(releases.decode(payload)[1][SIGNATURE:])
                assert timedelta(microseconds=said.not_before_us) <= self.now - EPOCH  # or it would be passed over
                self.devices[name].installer.take(payload)
            for one in self.devices.values():
                self._talk(one)

    def _talk(self, device: Device) -> None:
        """Bring what a device says to the hub, and the parts that it wants, until it says nothing more."""
        while device.is_there:
            for said in device.installer.outgoing():
                with self.scene.writing() as connection:
                    part = rollouts.report(connection, device.name, said, now=self.now)
                if part:
                    device.installer.take(part)
                    break
            else:
                if not device.installer.is_stale:
                    return
                device.start()

    def hear(self, name: str, count: int, *, case: int | None = None) -> None:
        """Have a device tell incidents."""
        device, us = self.devices[name], round(self.now.timestamp() * 1e6)
        with self.scene.writing() as connection:
            last = connection.scalar(sql.select(sql.func.coalesce(sql.func.max(INCIDENT.c.incident), 0)))
            for i in range(last + 1, last + 1 + count):
                row = {"device": name, "session": device.session, "incident": i, "case": case, "model": "0" * 16}
                row |= {"state": 2, "shots": 1, "score": 1, "spl_db": 1, "onset": 1, "decided": 1, "latest_us": us}
                connection.execute(sql.insert(INCIDENT).values(row))

    def state(self) -> tuple[str, str | None]:
        with self.scene.writing() as connection:
            row = rollouts.newest(connection)
            return row.state, row.note

    def with_it(self) -> set[str]:
        return {name for name, one in self.devices.items() if one.model == MODEL}
