"""A hub's database of before: brought up to this version, or refused by a line that says which it is and what to do.

schemas/ has the tables as each earlier version made them.
"""

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sql
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from gunshot.hub import audit, database, schema
from gunshot.hub.database import AUDIT, DATA, DECISION, DELIVERY, DEVICE, FLOOD, ROLLOUT, ROLLOUT_DEVICE, SESSION, VIDEO
from tests.flows.prefect_server import postgresql

SCHEMAS = Path(__file__).with_name("schemas")
ROWS = (
    "INSERT INTO device (name, number, revoked_at) VALUES ('roof', 7, NULL), ('cellar', 8, '2026-02-01 10:00:00')",
    "INSERT INTO person VALUES ('anna', 'reviewer', 'a hash', false)",
    "INSERT INTO login (at, address, person, failed) VALUES ('2026-02-01 11:00:00', '192.0.2.1', 'anna', false)",
    """INSERT INTO "case" (exercise, opened_at, changed_at, devices, shots, place_due)
       VALUES (false, '2026-02-01 12:00:00', '2026-02-01 12:00:00', 1, 2, false)""",
    "INSERT INTO session (device, session, heard_at) VALUES ('roof', 3, '2026-02-01 09:00:00')",
    """INSERT INTO decision ("case", at, person, kind) VALUES (1, '2026-02-01 12:30:00', 'anna', 'confirm')""",
)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request, tmp_path) -> Iterator[str]:
    """The database of a hub of version 1, with rows."""
    with contextlib.ExitStack() as stack:
        url = f"sqlite:///{tmp_path}/hub.sqlite"
        if request.param == "postgresql":
            url = stack.enter_context(postgresql()).replace("+asyncpg", "")
        engine = database.engine(url)
        with engine.begin() as connection:
            for statement in [*(SCHEMAS / f"1.{request.param}.sql").read_text().splitlines(), *ROWS]:
                connection.exec_driver_sql(statement)
        engine.dispose()
        yield url


def version(connection: sql.Connection) -> str:
    return connection.scalar(sql.select(schema.MARK))


@pytest.mark.slow
def test_a_database_of_before_is_as_a_new_one_and_keeps_its_rows(url):
    with ThreadPoolExecutor(2) as pool, contextlib.ExitStack() as stack:  # hub and console start together
        engine, _ = pool.map(lambda _: stack.enter_context(database.opened(url)), range(2))
        with engine.connect() as connection:
            assert version(connection) == schema.VERSION
            mine = {"include_name": lambda name, kind, _: kind != "table" or name != schema.MARK.name}
            assert compare_metadata(MigrationContext.configure(connection, opts=mine), DATA) == []
            assert [row.name for row in connection.execute(sql.select(DEVICE).order_by(DEVICE.c.number))] == [
                "roof", "cellar"
            ]  # fmt: skip
            assert connection.execute(sql.select(DECISION.c.kind)).all() == [("confirm",)]
            stated = SESSION.c.session, SESSION.c.image, SESSION.c.release
            assert connection.execute(sql.select(*stated)).all() == [(3, None, None)]
            entries = list(audit.listing(connection))
            assert [entry["kind"] for entry in entries] == ["login", "decision", "device", "device", "person"]
            assert all(entry["adopted"] for entry in entries) and list(audit.faults(connection)) == []


@pytest.mark.slow
def test_a_step_of_before_asks_for_no_column_of_later(url, monkeypatch):
    """The chain's first entries are of a table as it was then."""
    later = DEVICE.to_metadata(sql.MetaData())
    later.append_column(sql.Column("colour", sql.String))
    monkeypatch.setitem(audit.KINDS, "device", (later, audit.KINDS["device"][1]))
    with database.opened(url) as engine, engine.connect() as connection:
        assert [entry["kind"] for entry in audit.listing(connection)].count("device") == 2


@pytest.mark.slow
def test_what_fails_on_the_way_leaves_it_as_it_was(url, monkeypatch):
    def fail(connection: sql.Connection, *, now) -> None:
        assert sql.inspect(connection).has_table(AUDIT.name)
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(audit, "adopt", fail)
        with pytest.raises(OSError, match="no space left"), database.opened(url):
            pass
    engine = database.engine(url)
    with engine.connect() as connection:
        names = set(sql.inspect(connection).get_table_names())
    engine.dispose()
    assert names == DATA.tables.keys() - {
        one.name for one in (AUDIT, DELIVERY, FLOOD, ROLLOUT, ROLLOUT_DEVICE, VIDEO)
    }  # newer
    with database.opened(url) as engine, engine.connect() as connection:
        assert version(connection) == schema.VERSION


def test_the_last_step_leads_to_this_version():
    assert ScriptDirectory(str(Path(schema.__file__).parent)).get_current_head() == schema.VERSION


@pytest.fixture
def file(tmp_path) -> Path:
    """A database of this version."""
    with database.opened(f"sqlite:///{tmp_path}/hub.sqlite"):
        pass
    return tmp_path / "hub.sqlite"


def refused(file: Path, change: str) -> str:
    """What is said of a database after a change."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute(change)
        connection.commit()
        before = list(connection.iterdump())
    words = re.escape(f"database sqlite:///{file}: its tables are")
    with pytest.raises(ValueError, match=words) as e, database.opened(f"sqlite:///{file}"):
        pass
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert list(connection.iterdump()) == before
    return str(e.value)


def test_one_of_a_later_version_is_refused(file):
    words = refused(file, "UPDATE schema_version SET version_num = '99'")
    assert f"are of version 99, and this gunshot has {schema.VERSION}; update gunshot" in words


def test_one_of_before_all_versions_is_refused(tmp_path):
    """Its tables lack a column, and no step adds it."""
    file = tmp_path / "hub.sqlite"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.executescript((SCHEMAS / "1.sqlite.sql").read_text())
    words = refused(file, "ALTER TABLE site DROP COLUMN temperature_c")
    assert "are of version 1" in words and "but table site has no column temperature_c" in words
    assert "`gunshot hub init` another folder" in words


def test_a_table_that_is_new_is_made(file):
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("DROP TABLE refused")
    with database.opened(f"sqlite:///{file}") as engine, engine.connect() as connection:
        assert sql.inspect(connection).has_table("refused")
