"""The versions of a hub's database: one of before is brought up to this one, step by step, with Alembic.

Who changes a table that databases have adds a file to ``versions/`` and counts VERSION up; a table that is new and
empty is made by itself. A database of before there were versions is of version 1.
"""

import logging
from pathlib import Path

import sqlalchemy as sql

VERSION = "5"  # of the last file of versions/
FIRST = "1"
MARK = sql.Table("schema_version", sql.MetaData(), sql.Column("version_num", sql.String(32), primary_key=True))
ONE_AT_A_TIME = 7_453_118  # of this lock in a PostgreSQL: any number that nobody else has

log = logging.getLogger("gunshot")


def prepare(engine: sql.Engine, tables: sql.MetaData) -> None:
    """Make those tables that are not there, and bring those that are up to VERSION: wholly or not at all.

    Raises
    ------
    ValueError
        The tables are of a later version, or of one from which no way leads here.
    """
    with engine.connect() as connection:
        names = sql.inspect(connection).get_table_names()
        if _version(connection, names) == VERSION and tables.tables.keys() <= set(names):
            return
    with engine.connect() as connection:
        _lock(connection)  # others may open it at the same time
        names = sql.inspect(connection).get_table_names()
        if tables.tables.keys() & set(names):
            _migrate(connection, _version(connection, names) or FIRST, tables)
        tables.create_all(connection)
        MARK.create(connection, checkfirst=True)
        connection.execute(sql.delete(MARK))
        connection.execute(sql.insert(MARK).values(version_num=VERSION))
        connection.commit()


def _version(connection: sql.Connection, names: list[str]) -> str | None:
    return connection.scalar(sql.select(MARK)) if MARK.name in names else None


def _lock(connection: sql.Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # or a change of tables is no part of a transaction
    else:
        connection.execute(sql.select(sql.func.pg_advisory_xact_lock(ONE_AT_A_TIME)))


def _migrate(connection: sql.Connection, version: str, tables: sql.MetaData) -> None:
    """Bring tables of a version up to VERSION; ValueError where that cannot be."""
    where = f"database {connection.engine.url}: its tables are of version {version}, and this gunshot has {VERSION}"
    if int(version) > int(VERSION):
        raise ValueError(f"{where}; update gunshot to the one that wrote it, or restore a copy of before")
    if version != VERSION:
        _upgrade(connection, version)
        log.info("database %s: brought from version %s to %s", connection.engine.url, version, VERSION)
    there = sql.inspect(connection)
    for table in filter(lambda one: there.has_table(one.name), tables.sorted_tables):
        if missing := set(table.columns.keys()) - {column["name"] for column in there.get_columns(table.name)}:
            raise ValueError(
                f"{where}, but table {table.name} has no column {', '.join(sorted(missing))}: it is of before version "
                f"{FIRST}, from which no way leads here; keep it, and `gunshot hub init` another folder"
            )


def _upgrade(connection: sql.Connection, version: str) -> None:
    from alembic import command  # takes time, and is needed once
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    if not sql.inspect(connection).has_table(MARK.name):
        MARK.create(connection)
        connection.execute(sql.insert(MARK).values(version_num=version))
    command.upgrade(config, VERSION)
