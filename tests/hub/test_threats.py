"""DOC/threats.md: each attack has its test, and each test is there; and what a stolen database opens."""

import re
from datetime import UTC, datetime
from pathlib import Path

import argon2
import pytest

from gunshot.hub import folder
from gunshot.hub.console import app, people
from gunshot.hub.console.roles import Role
from gunshot.hub.database import PERSON
from tests.hub.console import Scene

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "DOC" / "threats.md"
LINES = PAGE.read_text().splitlines()
ROWS = [line for line in LINES if line.startswith("| ") and not line.startswith("| attack")]


def test_each_attack_has_a_test_that_is_there():
    assert len(ROWS) > 25 and [row for row in ROWS if not LINES[LINES.index(row) - 1].startswith("|")] == []  # no gap
    for row in ROWS:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row.split("|")[3])
        assert named, f"no test: {row}"
        for file, name in named:
            assert re.search(rf"^def {name}\(", (ROOT / file).read_text(), flags=re.MULTILINE), f"{file}::{name}"


@pytest.mark.slow
def test_a_stolen_database_opens_no_door(tmp_path):
    """Its bytes have no password, no private key, and nothing that signs a session; a password's hash is a slow one."""
    scene = Scene(tmp_path / "hub")
    with scene.writing() as connection:
        password = people.admit(connection, "anna", Role.reviewer, now=datetime.now(UTC))
    device = folder.enrol(scene.folder, "cellar", 99)
    scene.case(1, datetime.now(UTC), ("gate",))
    order = scene.order(1, "gate", datetime.now(UTC))
    with scene.writing() as connection:
        app.console(scene.folder, connection.engine, host="localhost", sr=16_000, heartbeat_s=600.0)
    stolen = b"".join(file.read_bytes() for file in scene.folder.glob("hub.sqlite*"))
    assert b"anna" in stolen and order.encode() in stolen
    keys = [folder.order_key(scene.folder), scene.folder / "authority" / "key.pem", device / "key.pem"]
    secrets = [line for key in keys for line in key.read_bytes().splitlines() if not line.startswith(b"---")]
    secrets += [password.encode(), (scene.folder / "console" / "session.key").read_bytes()]
    assert len(secrets) > 5 and [secret for secret in secrets if secret in stolen] == [] and b"PRIVATE" not in stolen
    (row,) = scene.rows(PERSON)
    parameters = argon2.extract_parameters(row.password)
    assert parameters.type == argon2.Type.ID and parameters.memory_cost >= 19 * 1024 and parameters.time_cost >= 2
