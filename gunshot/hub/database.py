"""The hub's database: its tables, in SQLite or PostgreSQL.

Messages are kept as they came; incidents and onsets follow from them. Numbers of 64 bits without a sign are text where
they name something (a model), and are refused by the intake where they count and a database cannot hold them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sql
from sqlalchemy import BigInteger, Boolean, Column, DateTime, Float, ForeignKey, LargeBinary, String, Table
from sqlalchemy.exc import ArgumentError, DBAPIError

DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}
DATA = sql.MetaData()
_NUMBER = BigInteger().with_variant(sql.Integer, "sqlite")  # SQLite counts up in this type alone


def _key(name: str, kind=BigInteger, *more) -> Column:
    return Column(name, kind, *more, primary_key=True, autoincrement=False)


def _device() -> Column:
    return _key("device", String, ForeignKey("device.name"))


# Where devices hang that hear the same shots, and how many of them must hear one before a person is woken.
SITE = Table(
    "site", DATA, _key("name", String),
    Column("devices_needed", BigInteger, nullable=False),
    Column("exercise", Boolean, nullable=False),  # a drill: whatever is heard there now is one
)  # fmt: skip

DEVICE = Table(
    "device", DATA, _key("name", String), Column("number", BigInteger, nullable=False, unique=True),
    Column("site", String, ForeignKey("site.name")),  # null: it stands alone, and decides alone
    Column("latitude", Float), Column("longitude", Float),  # degrees, WGS 84; null: not known
)  # fmt: skip

# A start of a device: its birth, and whether it is there.
SESSION = Table(
    "session", DATA, _device(), _key("session"),
    Column("model", String), Column("operating_point", Float), Column("version", BigInteger),
    Column("capabilities", sql.JSON), Column("online", Boolean), Column("dropped", BigInteger),
    Column("heard_at", DateTime(timezone=True), nullable=False),  # when birth or status came last
)  # fmt: skip

MESSAGE = Table(
    "message", DATA, _device(), _key("session"), _key("sequence"),
    Column("incident", BigInteger),  # null: a heartbeat
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("payload", LargeBinary, nullable=False),
)  # fmt: skip

# What a person decides on: the incidents of one or more devices of a site that one sound can explain.
CASE = Table(
    "case", DATA, Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("site", String, ForeignKey("site.name")), Column("exercise", Boolean, nullable=False),
    Column("opened_at", DateTime(timezone=True), nullable=False),  # when the hub got its first message
    Column("raised_at", DateTime(timezone=True)),  # when enough devices had it; null: not yet
    Column("changed_at", DateTime(timezone=True), nullable=False, index=True),  # when any of it did
    Column("merged_into", _NUMBER, ForeignKey("case.number")),  # null: it is a case of its own
    Column("devices", BigInteger, nullable=False), Column("shots", BigInteger, nullable=False),
    Column("unix_us", BigInteger), Column("error_us", BigInteger),  # of the first onset; null: no device knew the time
    Column("latitude", Float), Column("longitude", Float),  # where it was fired; null: `no_place` says why
    Column("place", sql.JSON(none_as_null=True)),  # a GeoJSON Feature, as `gunshot locate` writes it
    Column("no_place", String), Column("place_due", Boolean, nullable=False, default=False, index=True),
)  # fmt: skip

INCIDENT = Table(
    "incident", DATA, _device(), _key("session"), _key("incident"),
    Column("case", _NUMBER, ForeignKey("case.number"), index=True),  # null: withdrawn before it had one
    Column("state", BigInteger, nullable=False), Column("shots", BigInteger, nullable=False),
    Column("score", BigInteger, nullable=False), Column("spl_db", BigInteger, nullable=False),  # as messages have them
    Column("onset", BigInteger, nullable=False), Column("decided", BigInteger, nullable=False),
    Column("model", String, nullable=False),
    # The time of the onset, by the first message that has a clock.
    Column("clock_sequence", BigInteger), Column("unix_us", BigInteger), Column("error_us", BigInteger),
    # Between these times its onsets were heard, for sure: by its clock and that one's error, else by when it came.
    Column("earliest_us", BigInteger), Column("latest_us", BigInteger, index=True),
    # The message that holds the log-mel of the highest score of those that hold one.
    Column("evidence_sequence", BigInteger), Column("evidence_score", BigInteger),
)  # fmt: skip

ONSET = Table(
    "onset", DATA, _device(), _key("session"), _key("incident"), _key("onset"),
    Column("unix_us", BigInteger), Column("error_us", BigInteger),  # null: the device did not know the time
)  # fmt: skip

# What was not taken, and why; once, however often it comes.
REFUSED = Table(
    "refused", DATA, _key("device", String), _key("leaf", String), _key("sha256", String),
    Column("reason", String, nullable=False), Column("payload", LargeBinary, nullable=False),
    Column("times", BigInteger, nullable=False), Column("refused_at", DateTime(timezone=True), nullable=False),
)  # fmt: skip


def engine(url: str) -> sql.Engine:
    """Return the database at a URL; ValueError where it is none, or of another kind than SQLite and PostgreSQL."""
    try:
        parsed = sql.make_url(url)
    except ArgumentError:
        raise ValueError("database must be a URL: sqlite:////a/file or postgresql://USER:PASSWORD@HOST/NAME") from None
    kind = parsed.get_backend_name()
    if kind not in DRIVERS:
        raise ValueError(f"database={kind} must be one of {', '.join(DRIVERS)}")
    out = sql.create_engine(parsed.set(drivername=DRIVERS[kind]), pool_pre_ping=True)
    if kind == "sqlite":
        sql.event.listen(out, "connect", _prepare_sqlite)
    return out


def _prepare_sqlite(connection, _) -> None:
    """Let others read while the hub writes, keep a commit over a loss of power, and check foreign keys."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


@contextmanager
def opened(url: str) -> Iterator[sql.Engine]:
    """Give the database at a URL, whose tables are made where they are not there, and close it.

    Raises
    ------
    ConnectionError
        Its driver raised an error, in the block too; the message names the database without its password.
    """
    database = engine(url)
    try:
        DATA.create_all(database)
        yield database
    except DBAPIError as e:
        raise ConnectionError(f"database {database.url}: {str(e.orig).strip().splitlines()[0]}") from None
    finally:
        database.dispose()
