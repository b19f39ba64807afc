"""Sound of a case on a database alone: what is said of an order, which clips stay, which parts are heard live."""

import hashlib
import itertools
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sql
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gunshot.device import answer, answers, orders, parts, speech, video
from gunshot.device.parts import End, Part
from gunshot.hub import database
from gunshot.hub import orders as asked
from gunshot.hub.console import live, sound
from gunshot.hub.console.decisions import Kind
from gunshot.hub.console.roles import Role
from gunshot.hub.database import CASE, INCIDENT, ORDER, PART
from tests.hub.console import SR, Scene

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PCM = np.arange(SR, dtype=np.int16)


@pytest.fixture
def scene(tmp_path) -> Scene:
    scene = Scene(tmp_path / "hub")
    scene.person("anna", Role.reviewer)
    for number in (1, 2, 3):
        scene.case(number, NOW, ("gate", "yard"))
    return scene


def purged(scene: Scene, now: datetime) -> set[str]:
    """The orders whose clips are deleted, as `gunshot hub purge` does."""
    with scene.writing() as connection:
        sound.keep(connection)
        files = asked.purge(connection, scene.folder / "sound", keep_days=30, now=now)
    assert not any((scene.folder / "sound" / file).exists() for file in files)
    return {file.removesuffix(".flac") for file in files}


def test_what_a_confirmed_case_has_stays_whenever_it_came_and_whatever_case_it_is_part_of(scene):
    brought = {number: scene.order(number, "gate", NOW, state="complete", pcm=PCM) for number in (1, 2, 3)}
    scene.decide(1, "anna", Kind.confirm, NOW)
    scene.decide(2, "anna", Kind.confirm, NOW)
    seen = max(row.number for row in scene.rows(database.DECISION))
    scene.decide(2, "anna", Kind.dismiss, NOW + DAY, label="door", seen=seen)
    scene.order(1, "yard", NOW + DAY, state="complete", pcm=PCM)
    with scene.writing() as connection:  # what the gate heard of case 3 is part of case 1 by now
        connection.execute(sql.update(INCIDENT).where(INCIDENT.c.incident == 3).values(case=1))
        connection.execute(sql.update(CASE).where(CASE.c.number == 3).values(merged_into=1))
    assert purged(scene, NOW + 29 * DAY) == set()
    assert purged(scene, NOW + 40 * DAY) == {brought[2]}
    with scene.writing() as connection:
        (row,) = sound.ordered(connection, "gate", 1, 2)
        no_opinion = {"verifier": None, "opinion": None, "upheld": None}
        assert row["clip"] == {"length_s": 1.0, "kept": False, "deleted_at": NOW + 40 * DAY} | no_opinion
        (row,) = sound.ordered(connection, "gate", 1, 1)
        assert row["clip"]["kept"] and row["clip"]["deleted_at"] is None


def test_a_page_is_renewed_when_an_order_changes(scene):
    def token() -> str:
        with scene.writing() as connection:
            return live.token(connection)

    seen = [token()]
    scene.judge(1, "gate", score=0.9, upheld=True)
    seen.append(token())
    id = scene.order(1, "gate", NOW)
    seen.append(token())
    for values in ({"answered_at": NOW}, {"state": "expired"}, {"state": "open"}, {"state": "complete"}):
        with scene.writing() as connection:
            connection.execute(sql.update(ORDER).where(ORDER.c.id == id).values(**values))
        seen.append(token())
    assert all(one != next_ for one, next_ in itertools.pairwise(seen))


def test_a_page_is_renewed_by_a_raise_while_the_clock_is_set_back(scene):
    """As a hub does that was ahead: no change is later than the last one, and no case is new."""
    with scene.writing() as connection:
        connection.execute(sql.update(CASE).values(changed_at=NOW))
        connection.execute(sql.update(CASE).where(CASE.c.number == 1).values(raised_at=None))
        before = live.token(connection)
        past = NOW - timedelta(hours=2)
        connection.execute(sql.update(CASE).where(CASE.c.number == 1).values(raised_at=past, changed_at=past))
        assert live.token(connection) != before


def test_an_order_is_told_in_words(scene):
    for state, note, words in (
        ("open", None, "sent; no answer yet"),
        ("refused", "session: it asks for samples of session 2, this is 3", "refused: it has started since"),
        ("refused", "moon: a rule of another day", "refused: moon: a rule of another day"),
        ("expired", "no answer came in time", "expired: no answer came in time"),
        ("complete", None, "complete"),
    ):
        id = scene.order(1, "gate", NOW, state=state, note=note)
        with scene.writing() as connection:
            (said,) = (row["words"] for row in sound.ordered(connection, "gate", 1, 1) if row["id"] == id)
        assert said.startswith(words)


def test_each_rule_of_a_device_has_words():
    source = "".join(Path(module.__file__).read_text() for module in (answers, orders, speech, video, answer))
    assert set(re.findall(r'RefusedError\(\s*"(\w+)"', source)) == set(sound.RULES)


def test_live_sound_begins_with_the_newest_part_and_leaves_none_out_after_it(scene):
    id = scene.order(1, "gate", NOW)

    def arrives(said: Part | End, content: bytes = b"") -> None:
        row = {"order": id, "number": said.number, "payload": parts.encode(said, content), "received_at": NOW}
        with scene.writing() as connection:
            connection.execute(sql.insert(PART).values(**row))

    def heard(last: int) -> list[int] | None:
        with scene.writing() as connection:
            new = sound.since(connection, id, last)
        return new and [number for number, _ in new]

    assert heard(-1) == []
    for number in (0, 1, 2, 4):
        arrives(*part(id, number))
    assert heard(-1) == [4] and heard(1) == [2, 4]
    arrives(End(order=id, number=5, sha256="0" * 64))
    assert heard(4) == []
    with scene.writing() as connection:
        connection.execute(sql.update(ORDER).values(state="complete"))
    assert heard(4) is None


def test_live_sound_is_what_a_part_says_whatever_else_is_in_its_file(scene):
    """A browser would decode all that is there, minutes in each half second."""
    content = bytearray(parts.to_flac(np.zeros(600 * SR, np.int16), SR))
    lengths = slice(18, 26)  # of which the last 36 bits are the number of samples
    number = int.from_bytes(content[lengths], "big") >> 36 << 36 | parts.PART
    content[lengths] = number.to_bytes(8, "big")
    content[26:42] = bytes(16)  # no hash of them
    id = scene.order(1, "gate", NOW)
    said, _ = part(id, 0)
    said = said.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
    assert len(parts.samples(said, bytes(content))) == parts.PART
    row = {"order": id, "number": 0, "payload": parts.encode(said, bytes(content)), "received_at": NOW}
    with scene.writing() as connection:
        connection.execute(sql.insert(PART).values(**row))
        ((_, sent),) = sound.since(connection, id, -1)
    assert sent == parts.to_flac(np.zeros(parts.PART, np.int16), SR)


def part(order: str, number: int) -> tuple[Part, bytes]:
    content = parts.to_flac(PCM[: parts.PART], SR)
    said = {"order": order, "number": number, "session": 1, "start": number * parts.PART, "samples": parts.PART}
    return Part(**said, sr=SR, sha256=hashlib.sha256(content).hexdigest()), content


def test_an_order_of_live_sound_names_its_incident_and_asks_for_a_time(scene):
    with scene.writing() as connection:
        span = asked.of_time(NOW, sound.LIVE_S, session=1, incident=1)
        key = Ed25519PrivateKey.generate()
        asked.ask(connection, key, "gate", span, reason="help", person="anna", now=NOW)
        (row,) = sound.ordered(connection, "gate", 1, 1)
    assert row["live"] and row["seconds"] == 30
    (stored,) = scene.rows(ORDER)
    order = json.loads(stored.payload[orders.SIGNATURE :])
    assert order["session"] is None and order["start"] == NOW.timestamp() * 1e6
