"""A hub's database with what devices sent and what is a case, written row by row; the console that runs on it; persons.

Cases are the hub's to write: here a test says which there are.
"""

import re
import signal
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import argon2
import httpx
import numpy as np
import pytest
import sqlalchemy as sql

from gunshot.device import messages, parts
from gunshot.device.messages import Heartbeat, Incident, State
from gunshot.hub import database, folder, orders, plane
from gunshot.hub.console import decisions, people
from gunshot.hub.console.decisions import Kind
from gunshot.hub.console.roles import Role
from gunshot.hub.database import CASE, CLIP, DEVICE, INCIDENT, MESSAGE, ONSET, ORDER, SESSION, SITE
from gunshot.hub.location import Ellipse
from gunshot.signing import keys, record
from tests.flows.prefect_server import started
from tests.hub.waiting import until

ROOT = Path(__file__).parents[2]
COMMAND = "import sys; sys.argv[0] = 'gunshot'; from gunshot.cli import main; main()"
MODEL, VERIFIER = 0xC0FFEE, "0000000000facade"
SR = 16000
SITES = {"school": ("roof-north", "gate", "yard"), "park": ("fountain",)}
AT = {"roof-north": (50.1010, 8.6500), "gate": (50.1000, 8.6520), "yard": (50.1022, 8.6531), "fountain": (50.12, 8.70)}
HOUR = timedelta(hours=1)


class Scene:
    """A hub's folder with two sites and four devices, to which a test adds what happens."""

    def __init__(self, place: Path, *, url: str | None = None):
        self.folder = place
        self.url = folder.init(place, host="localhost", port=8883, url=url).database
        self._sequence = 0
        with self.writing() as connection:
            for site, names in SITES.items():
                connection.execute(sql.insert(SITE).values(name=site, devices_needed=len(names) - 1, exercise=False))
                for name in names:
                    lat, lon = AT[name]
                    row = {"name": name, "number": len(name) * 100 + ord(name[0]), "site": site}
                    connection.execute(sql.insert(DEVICE).values(**row, latitude=lat, longitude=lon))

    @contextmanager
    def writing(self) -> Iterator[sql.Connection]:
        with database.opened(self.url) as engine, engine.begin() as connection:
            yield connection

    def rows(self, table: sql.Table) -> list[sql.Row]:
        with self.writing() as connection:
            return connection.execute(sql.select(table).order_by(*table.primary_key)).all()

    def person(self, name: str, role: Role) -> str:
        """Let a person in; the password, of which a cheap hash is kept."""
        with pytest.MonkeyPatch.context() as patch, self.writing() as connection:
            patch.setattr(people, "HASHER", argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
            return people.admit(connection, name, role, now=datetime.now(UTC))

    def decide(self, case: int, person: str, kind: Kind, at: datetime, *, label: str = "", seen: int = 0) -> None:
        with self.writing() as connection:
            decisions.enter(connection, case, person, kind, label=label, note="", seen=seen, now=at)

    def session(self, device: str, *, online: bool, heard_at: datetime, has: tuple[str, ...] = ("sound",)) -> None:
        row = {"session": 1, "model": f"{MODEL:016x}", "operating_point": 0.875, "version": 2, "capabilities": has}
        with self.writing() as connection:
            values = {**row, "device": device, "online": online, "heard_at": heard_at}
            connection.execute(sql.insert(SESSION).values(**values))

    def judge(self, case: int, device: str, *, score: float, upheld: bool, profile: str | None = None) -> None:
        """A device's second opinion of a case, and the profile by which it decided."""
        said = {"opinion_sequence": 1, "verifier": VERIFIER, "opinion": round(65535 * score), "upheld": upheld}
        with self.writing() as connection:
            own = INCIDENT.c.case == case, INCIDENT.c.device == device
            connection.execute(sql.update(INCIDENT).where(*own).values(**said, profile=profile))

    def order(
        self, case: int, device: str, at: datetime, *, state: str = orders.OPEN, note: str | None = None,
        pcm: np.ndarray | None = None,
    ) -> str:  # fmt: skip
        """An order of what a device heard of a case, how it ended, and the samples that it brought; its id."""
        with self.writing() as connection:
            key, span = keys.load(folder.order_key(self.folder)), orders.Span(0, 64_000, 4.0, 1, case)
            who = {"reason": "two shots, and no second device", "person": "anna"}
            id = orders.ask(connection, key, device, span, **who, now=at)
            connection.execute(sql.update(ORDER).where(ORDER.c.id == id).values(state=state, note=note, sent_at=at))
            if pcm is not None:
                record.write(self.folder / "sound" / f"{id}.flac", parts.to_flac(pcm, SR))
                row = {"file": f"{id}.flac", "session": 1, "start": 0, "samples": len(pcm), "sr": SR, "sha256": "0"}
                connection.execute(sql.insert(CLIP).values(order=id, **row, kept=False, written_at=at))
        return id

    def heartbeats(self, device: str, levels: dict[datetime, float], *, stuck: int = 0, **fields) -> None:
        """A device's heartbeats by when they came, with the noise of each, dB SPL, and optional fields."""
        with self.writing() as connection:
            for at, level in levels.items():
                self._sequence += 1
                beat = Heartbeat(
                    **self._head(), uptime_ms=1, heard=1, dropped=320, gaps=2, stuck=stuck, backward=0, failures=0,
                    alerts=1, unsent=3, noise=round(10 * level), **fields,
                )  # fmt: skip
                self._message(connection, device, at, messages.encode(beat), None)

    def case(
        self, number: int, at: datetime, devices: tuple[str, ...], *, site: str | None = "school", raised: bool = True,
        exercise: bool = False, shots: int = 3, place: bool = False,
    ) -> None:  # fmt: skip
        """A case that some devices heard at a time, each 80 ms after the one before."""
        with self.writing() as connection:
            connection.execute(
                sql.insert(CASE).values(
                    number=number, site=site, exercise=exercise, opened_at=at, raised_at=at if raised else None,
                    changed_at=at, devices=len(devices), shots=shots, unix_us=_us(at), error_us=4000,
                    **(PLACE if place else {"no_place": f"{len(devices)} devices with a disciplined clock: 3 must"}),
                )
            )  # fmt: skip
            for i, device in enumerate(devices):
                self._incident(
                    connection, number, device, at + timedelta(milliseconds=80 * i), shots, score=0.97 - i / 9
                )

    def _incident(
        self, connection: sql.Connection, case: int, device: str, at: datetime, shots: int, *, score: float
    ) -> None:
        self._sequence += 1
        onsets = [100_000 + 1600 * i for i in range(shots)]
        codes = np.clip(bang(71) * 200 - 100, -128, 127).astype(np.int8)
        message = Incident(
            **self._head(), incident=case, state=State.CLOSED, shots=shots, onset=onsets[0], decided=onsets[-1] + 4096,
            score=round(65535 * score), spl_db=1104, model=MODEL, log_mel=codes, onsets=tuple(onsets),
        )  # fmt: skip
        self._message(connection, device, at, messages.encode(message), case)
        key = {"device": device, "session": 1, "incident": case}
        connection.execute(
            sql.insert(INCIDENT).values(
                **key, case=case, state=int(message.state), shots=shots, score=message.score, spl_db=message.spl_db,
                onset=onsets[0], decided=message.decided, model=f"{MODEL:016x}", clock_sequence=self._sequence,
                unix_us=_us(at), error_us=4000, evidence_sequence=self._sequence, evidence_score=message.score,
            )
        )  # fmt: skip
        for i, onset in enumerate(onsets):
            time_us = _us(at) + 100_000 * i
            connection.execute(sql.insert(ONSET).values(**key, onset=onset, unix_us=time_us, error_us=4000))

    def _head(self) -> dict:
        return {"device": 1, "session": 1, "sequence": self._sequence}

    def _message(self, connection, device: str, at: datetime, payload: bytes, incident: int | None) -> None:
        row = {"device": device, "session": 1, "sequence": self._sequence, "incident": incident, "payload": payload}
        connection.execute(sql.insert(MESSAGE).values(**row, received_at=at))


LEFT_OUT = {"yard": "late by 42 ms: an echo, no line of sight, or a wrong clock or place"}
ROUND = Ellipse(21.0, 8.0, 40.0).outline(np.zeros(2), points=24)
RING = np.roll(plane.degrees(ROUND, origin=(50.1009, 8.6514)), 1, axis=1).tolist()
PLACE = {
    "latitude": 50.1009, "longitude": 8.6514,
    "place": {
        "type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[*RING, RING[0]]]},
        "properties": {"half_axes_m": [21.0, 8.0], "bearing_deg": 40.0, "checked": False, "left_out": LEFT_OUT},
    },
}  # fmt: skip


def _us(at: datetime) -> int:
    return round(at.timestamp() * 1e6)


def bang(frames: int) -> np.ndarray:
    """A log-mel as of a bang [shape=(frames, 32)], 0 to 1: sudden, loud in all bands, the high ones gone first."""
    time, band = np.arange(frames)[:, None] - 12, np.arange(32)
    noise = 0.08 * np.random.default_rng(0).standard_normal((frames, 32))
    return np.clip(np.where(time < 0, 0.1, 0.95 * np.exp(-time * (1 + band / 8) / 60)) + noise, 0, 1)


@contextmanager
def running(scene: Scene) -> Iterator[str]:
    """Run `gunshot hub console`; its address."""
    log = scene.folder.parent / "console.log"
    command = (sys.executable, "-c", COMMAND, "hub", "console", scene.folder, "--port", "0")
    with started(log, *command, cwd=ROOT) as console:
        until(lambda: re.search(r"https://localhost:\d+\n", log.read_text()), log.read_text)
        url = re.search(r"https://localhost:\d+", log.read_text())[0]
        yield url
        console.send_signal(signal.SIGINT)  # as Ctrl-C
        assert console.wait(30) == 0
    assert "Traceback" not in log.read_text(), log.read_text()


class Browser(httpx.Client):
    """A person's browser without a page: it trusts the hub's authority, and keeps cookies."""

    def __init__(self, scene: Scene, url: str):
        self.authority = ssl.create_default_context(cafile=scene.folder / "console" / "ca.pem")
        super().__init__(base_url=url, verify=self.authority, timeout=30)

    def csrf(self, page: str = "/login") -> str:
        return re.search(r'name="csrf" value="([^"]+)"', self.get(page).text)[1]

    def log_in(self, name: str, password: str) -> httpx.Response:
        return self.post("/login", data={"name": name, "password": password, "csrf": self.csrf()})

    def decide(self, case: int, **content) -> httpx.Response:
        form = {"csrf": self.csrf("/"), "seen": 0} | content
        return self.post(f"/cases/{case}", data=form)
