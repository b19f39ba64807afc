"""The chain of what persons did: rows that are edited, deleted, moved or made up are named, in either database."""

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sql

from gunshot.device import topics
from gunshot.hub import audit, database, folder, revocation
from gunshot.hub.console import people
from gunshot.hub.console.decisions import Kind
from gunshot.hub.console.roles import Role
from gunshot.hub.database import AUDIT, DECISION, DEVICE, LOGIN, ORDER, PERSON
from tests.flows.prefect_server import postgresql
from tests.hub.console import Scene

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module", params=["SQLite", pytest.param("PostgreSQL", marks=pytest.mark.slow)])
def scene(request, tmp_path_factory) -> Iterator[Scene]:
    """A hub with an order, a person, logins, decisions, a device that was enrolled and one that was revoked."""
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        url = None
        if request.param == "PostgreSQL":
            url = stack.enter_context(postgresql()).replace("+asyncpg", "")
        scene = Scene(tmp_path_factory.mktemp("audit") / "hub", url=url)
        with scene.writing() as connection:
            audit.adopt(connection, now=NOW)  # the scene's devices, which nobody enrolled
        scene.case(1, NOW, ("gate", "yard"))
        password = scene.person("anna", Role.reviewer)
        scene.order(1, "gate", NOW)
        with database.opened(scene.url) as engine:
            for given in (password, "wrong"):
                with engine.connect() as connection:
                    people.log_in(connection, "anna", given, address="192.0.2.1", now=NOW)
        scene.decide(1, "anna", Kind.acknowledge, NOW)
        scene.decide(1, "anna", Kind.dismiss, NOW + timedelta(seconds=5), label="door", seen=1)
        patch.setattr(revocation, "enforce", lambda *_, **__: None)  # there is no broker
        revocation.revoke(scene.folder, topics.WATCH, now=NOW)
        for name, number in (("roof-south", 2001), ("cellar", 2002)):
            folder.enrol(scene.folder, name, number)
        revocation.revoke(scene.folder, "cellar", now=NOW)
        yield scene


@pytest.fixture
def altered(scene) -> Iterator[SimpleNamespace]:
    """A transaction that ends in nothing: the faults in what a test does there."""
    with database.opened(scene.url) as engine, engine.connect() as connection:
        rows = {row.number: row for row in connection.execute(sql.select(AUDIT))}
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        yield SimpleNamespace(
            do=connection.execute, rows=rows, faults=lambda **more: list(audit.faults(connection, **more))
        )
        connection.rollback()


def first(altered, kind: str) -> int:
    """The number of the first row of a kind that is no adopted one."""
    said = {number: json.loads(row.entry) for number, row in altered.rows.items()}
    return min(number for number, entry in said.items() if entry["kind"] == kind and "adopted" not in entry)


@pytest.mark.slow
def test_what_was_done_is_in_it_and_nothing_is_wrong(altered):
    assert altered.faults() == []
    kinds = [json.loads(row.entry)["kind"] for row in altered.rows.values()]
    assert (
        kinds
        == ["device"] * 4 + ["person", "order", "login", "login", "decision", "decision"] + ["client"] + ["device"] * 3
    )
    text = "".join(row.entry for row in altered.rows.values())
    assert '"event":"revoked","kind":"client"' in text and '"event":"revoked","kind":"device"' in text
    assert "argon2" not in text and '"label":"door"' in text
    number = max(altered.rows)
    assert altered.faults(known=(number, altered.rows[number].sha256)) == []


@pytest.mark.slow
def test_a_row_whose_entry_is_edited_is_named(altered):
    number = first(altered, "login")
    text = altered.rows[number].entry.replace("192.0.2.1", "192.0.2.9")
    altered.do(sql.update(AUDIT).where(AUDIT.c.number == number).values(entry=text))
    one, *_, last = altered.faults()
    assert one == f"audit row {number}: its hash is not that of what it says; it was altered"
    assert re.match(r"table login, number \d+: address must be as in audit row", last)


def test_an_edited_row_with_a_hash_of_its_own_breaks_the_next_one(altered):
    number = first(altered, "order")
    entry = json.loads(altered.rows[number].entry) | {"at": "2026-01-01T00:00:00+00:00"}
    values = {"entry": audit.record.canonical(entry).decode(), "sha256": audit.record.digest(entry)}
    altered.do(sql.update(AUDIT).where(AUDIT.c.number == number).values(values))
    (fault,) = altered.faults()
    assert fault.startswith(f"audit row {number + 1}: does not follow the row before it; that one was altered")


@pytest.mark.parametrize("text", ["", "[]", "no JSON"])
def test_a_row_that_is_no_entry_is_named(altered, text):
    altered.do(sql.update(AUDIT).where(AUDIT.c.number == 3).values(entry=text))
    assert altered.faults()[0] == "audit row 3: its entry must be a JSON object"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"kind": ["login"]}, "its kind must be a text, and its row an object; it was altered"),
        ({"row": None}, "its kind must be a text, and its row an object; it was altered"),
        ({"row": {"number": [1]}}, "its number must be a text or a number; it was altered"),
        ({"at": float("nan")}, "its hash is not that of what it says; it was altered"),
    ],
)
def test_an_entry_that_names_no_row_or_that_none_could_have_written_is_named(altered, change, fault):
    number = first(altered, "login")
    text = json.dumps(json.loads(altered.rows[number].entry) | change)
    altered.do(sql.update(AUDIT).where(AUDIT.c.number == number).values(entry=text))
    assert f"audit row {number}: {fault}" in altered.faults()


def test_a_deleted_row_is_missed(altered):
    number = first(altered, "decision")
    altered.do(sql.delete(AUDIT).where(AUDIT.c.number == number))
    one, other, *_ = altered.faults()
    assert one == f"audit row {number + 1}: row {number} must come before it; rows are missing"
    assert other.startswith(f"audit row {number + 1}: does not follow the row before it")


def test_rows_that_change_places_are_named(altered):
    one, other = altered.rows[2], altered.rows[3]
    for number, row in ((2, other), (3, one)):
        altered.do(sql.update(AUDIT).where(AUDIT.c.number == number).values(entry=row.entry, sha256=row.sha256))
    assert altered.faults()[0] == "audit row 2: says number=3; rows are out of order"


def test_the_end_that_is_cut_off_is_missed_where_its_hash_was_written_down_or_a_table_has_it(altered):
    number = max(altered.rows)
    known = number, altered.rows[number].sha256
    altered.do(sql.delete(AUDIT).where(AUDIT.c.number == number))
    assert altered.faults() == ["table device, name cellar: revoked_at must be as in audit row 13"]
    altered.do(sql.update(DEVICE).where(DEVICE.c.name == "cellar").values(revoked_at=None))
    assert altered.faults() == []
    assert altered.faults(known=known) == [
        f"audit row {number}: it must have the hash {known[1]}, as it was written down"
    ]


def changes() -> dict[str, tuple[Callable[[], sql.sql.Executable], str]]:
    """What somebody does to a table, by name, and what is said of it."""
    person = PERSON.c.name == "anna"
    return {
        "decision": (lambda: sql.update(DECISION).where(DECISION.c.number == 2).values(label="fireworks"),
                     r"table decision, number 2: label must be as in audit row \d+"),
        "no decision": (lambda: sql.delete(DECISION).where(DECISION.c.number == 2),
                        r"table decision, number 2: its row is missing; audit row \d+ has it"),
        "one more": (lambda: sql.insert(DECISION).values(number=9, case=1, at=NOW, person="anna", kind="confirm"),
                     r"table decision, number 9: no audit row has it"),
        "login": (lambda: sql.update(LOGIN).where(LOGIN.c.failed).values(failed=False),
                  r"table login, number \d: failed must be as in audit row \d+"),
        "order": (lambda: sql.update(ORDER).values(reason="none", payload=b"x"),
                  r"table order, id \w+: payload, reason must be as in audit row \d+"),
        "role": (lambda: sql.update(PERSON).where(person).values(role="admin"),
                 r"table person, name anna: role must be as in audit row \d+"),
        "password": (lambda: sql.update(PERSON).where(person).values(password="$argon2"),
                     r"table person, name anna: password must be as in audit row \d+"),
        "revoked": (lambda: sql.update(DEVICE).where(DEVICE.c.name == "cellar").values(revoked_at=None),
                    r"table device, name cellar: revoked_at must be as in audit row \d+"),
    }  # fmt: skip


@pytest.mark.parametrize("what", changes())
def test_what_is_done_to_a_table_alone_is_named(altered, what):
    change, words = changes()[what]
    altered.do(change())
    (fault,) = altered.faults()
    assert re.fullmatch(words, fault)


def test_what_changes_by_itself_is_no_fault(altered):
    """An order's state, the end of a login, where a device stands."""
    altered.do(sql.update(ORDER).values(state="expired", sent_at=NOW))
    altered.do(sql.update(LOGIN).values(ended_at=NOW))
    altered.do(sql.update(DEVICE).values(latitude=1.0))
    assert altered.faults() == []


def test_who_does_something_during_a_check_is_no_forger(scene):
    """A person changes, and is entered, after each query of the check but the first; it sees none of that."""
    with database.opened(scene.url) as engine, database.opened(scene.url) as other:
        before = scene.rows(AUDIT)[-1]

        def write(*_) -> None:
            with other.begin() as connection:
                connection.execute(sql.update(PERSON).values(disabled=~PERSON.c.disabled))
                audit.enter(connection, "person", "anna", now=NOW)

        sql.event.listen(engine, "after_cursor_execute", lambda *event: "FROM audit" in event[2] and write())
        assert audit.check(engine, known=(before.number, before.sha256)) == ([], before)
    assert len(scene.rows(AUDIT)) == before.number + 2
    with database.opened(scene.url) as engine:
        assert audit.check(engine)[0] == []


def test_entries_of_many_at_once_are_one_chain(scene):
    """Two programs write at the same time, as hub and console do."""
    with database.opened(scene.url) as engine, ThreadPoolExecutor(4) as pool:
        begin = threading.Barrier(4)

        def enter(_: int) -> None:
            begin.wait()
            for _ in range(5):
                with engine.begin() as connection:
                    connection.execute(sql.update(PERSON).values(disabled=False))
                    audit.enter(connection, "person", "anna", now=NOW)

        before = len(scene.rows(AUDIT))
        list(pool.map(enter, range(4)))
        with engine.connect() as connection:
            assert list(audit.faults(connection)) == []
    assert len(scene.rows(AUDIT)) == before + 20
