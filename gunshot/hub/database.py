"""The hub's database: its tables, in SQLite or PostgreSQL.

Messages are kept as they came; incidents and onsets follow from them. Numbers of 64 bits without a sign are text where
they name something (a model), and are refused by the intake where they count and a database cannot hold them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sql
from sqlalchemy import BigInteger, Boolean, Column, DateTime, Float, ForeignKey, LargeBinary, String, Table
from sqlalchemy.exc import ArgumentError, DBAPIError

from gunshot.hub import schema

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
    Column("temperature_c", Float),  # of the air, as somebody read it last; null: nobody has
)  # fmt: skip

DEVICE = Table(
    "device", DATA, _key("name", String), Column("number", BigInteger, nullable=False, unique=True),
    Column("site", String, ForeignKey("site.name")),  # null: it stands alone, and decides alone
    Column("latitude", Float), Column("longitude", Float),  # degrees, WGS 84; null: not known
    Column("revoked_at", DateTime(timezone=True)),  # since when nothing is taken from it; null: it is let in
)  # fmt: skip

# A start of a device: its birth, and whether it is there.
SESSION = Table(
    "session", DATA, _device(), _key("session"),
    Column("model", String), Column("operating_point", Float), Column("version", BigInteger),
    Column("capabilities", sql.JSON), Column("online", Boolean), Column("dropped", BigInteger),
    Column("image", BigInteger), Column("release", String),  # that it runs; null: its own pipeline's model
    Column("heard_at", DateTime(timezone=True), nullable=False),  # when birth or status came last
)  # fmt: skip

MESSAGE = Table(
    "message", DATA, _device(), _key("session"), _key("sequence"),
    Column("incident", BigInteger),  # null: a heartbeat
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("payload", LargeBinary, nullable=False),  # empty: it was purged
    sql.Index("message_by_arrival", "device", "received_at"),
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
    Column("site", String, ForeignKey("site.name")),  # where its device hung then; null: it stands alone
    Column("state", BigInteger, nullable=False), Column("shots", BigInteger, nullable=False),
    Column("score", BigInteger, nullable=False), Column("spl_db", BigInteger, nullable=False),  # as messages have them
    Column("onset", BigInteger, nullable=False), Column("decided", BigInteger, nullable=False),
    Column("model", String, nullable=False),
    Column("profile", String),  # of a site, by which the device decided; null: by none
    # The device's second opinion, of the last message that has one; null: it has given none.
    Column("opinion_sequence", BigInteger), Column("verifier", String),
    Column("opinion", BigInteger), Column("upheld", Boolean),  # the score as messages have it
    # The time of the onset, by the first message that has a clock.
    Column("clock_sequence", BigInteger), Column("unix_us", BigInteger), Column("error_us", BigInteger),
    # Between these times its onsets were heard, for sure: by its clock and that one's error, else by when it came.
    Column("earliest_us", BigInteger), Column("latest_us", BigInteger, index=True),
    # The message that holds the log-mel of the highest score of those that hold one.
    Column("evidence_sequence", BigInteger), Column("evidence_score", BigInteger),
    sql.Index("incident_by_site", "site", "latest_us"),  # those that one more may be linked to
)  # fmt: skip

ONSET = Table(
    "onset", DATA, _device(), _key("session"), _key("incident"), _key("onset"),
    Column("unix_us", BigInteger), Column("error_us", BigInteger),  # null: the device did not know the time
)  # fmt: skip

# What a person asked a device for, signed as it was sent; `state` is one of orders.STATES. The rows stay.
ORDER = Table(
    "order", DATA, _key("id", String), Column("device", String, ForeignKey("device.name"), nullable=False),
    Column("session", BigInteger), Column("incident", BigInteger),  # whose sound it is, or null
    Column("seconds", Float, nullable=False), Column("reason", String, nullable=False),
    Column("person", String, nullable=False), Column("payload", LargeBinary, nullable=False),
    Column("issued_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("sent_at", DateTime(timezone=True)), Column("answered_at", DateTime(timezone=True)),  # last; null: never
    Column("state", String, nullable=False, index=True), Column("note", String),  # why it was refused, or ended early
)  # fmt: skip

# A part of an answer, or its end, as it came; until all did.
PART = Table(
    "part", DATA, _key("order", String, ForeignKey("order.id")), _key("number"),
    Column("payload", LargeBinary, nullable=False), Column("received_at", DateTime(timezone=True), nullable=False),
)  # fmt: skip

# The sound that an order brought: a FLAC file in the hub's folder.
CLIP = Table(
    "clip", DATA, _key("order", String, ForeignKey("order.id")), Column("file", String, nullable=False),
    Column("session", BigInteger, nullable=False), Column("start", BigInteger, nullable=False),  # its first sample
    Column("samples", BigInteger, nullable=False), Column("sr", BigInteger, nullable=False),
    Column("sha256", String, nullable=False),  # of its samples
    Column("kept", Boolean, nullable=False),  # its case is confirmed: it stays
    Column("written_at", DateTime(timezone=True), nullable=False), Column("deleted_at", DateTime(timezone=True)),
    # When the hub's verifier looked at it, and its second opinion; null: not yet, and of what it can say nothing.
    Column("judged_at", DateTime(timezone=True)), Column("verifier", String),
    Column("opinion", BigInteger), Column("upheld", Boolean),  # as an incident's
)  # fmt: skip

# The video that an order brought: a clip too, an MP4 file beside those.
VIDEO = Table(
    "video", DATA, _key("order", String, ForeignKey("order.id")), Column("file", String, nullable=False),
    Column("bytes", BigInteger, nullable=False), Column("sha256", String, nullable=False),
    Column("kept", Boolean, nullable=False),  # likewise
    Column("written_at", DateTime(timezone=True), nullable=False), Column("deleted_at", DateTime(timezone=True)),
)  # fmt: skip

# Who may look at cases, or decide them.
PERSON = Table(
    "person", DATA, _key("name", String), Column("role", String, nullable=False),
    Column("password", String, nullable=False),  # its argon2 hash
    Column("disabled", Boolean, nullable=False),
)  # fmt: skip

# Each attempt to log in at the console. Rows are never deleted.
LOGIN = Table(
    "login", DATA, Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("at", DateTime(timezone=True), nullable=False), Column("address", String, nullable=False),
    Column("person", String, ForeignKey("person.name")),  # null: nobody has that name, which may be a password
    Column("failed", Boolean, nullable=False),
    Column("ended_at", DateTime(timezone=True)),  # null: not logged out, nor shut out
    sql.Index("login_by_address", "address", "at"),
)  # fmt: skip

# What persons decided on a case. Rows are only ever added; the last one that decides is what holds.
DECISION = Table(
    "decision", DATA, Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("case", _NUMBER, ForeignKey("case.number"), nullable=False, index=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("person", String, ForeignKey("person.name"), nullable=False),
    Column("kind", String, nullable=False), Column("label", String), Column("note", String),
)  # fmt: skip

# Who was called because nobody acknowledged a case: the address at a place of the list in hub.yaml, from 1 on.
CALL = Table(
    "call", DATA, _key("case", _NUMBER, ForeignKey("case.number")), _key("place"),
    Column("at", DateTime(timezone=True), nullable=False),
)  # fmt: skip

# A CAP message that goes out by itself; its case may be merged into another one by now.
CAP = Table(
    "cap", DATA, Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("case", _NUMBER, ForeignKey("case.number"), nullable=False, index=True),
    Column("identifier", String, nullable=False, unique=True), Column("kind", String, nullable=False),
    Column("sent_at", DateTime(timezone=True), nullable=False),  # as it says itself
    Column("references", String, nullable=False), Column("content", String, nullable=False),  # as cap.Message has them
    Column("payload", String, nullable=False), Column("made_at", DateTime(timezone=True), nullable=False),
    # Of which case, as it was when it was last looked whether there is more to say; and after which decision on it.
    Column("seen_case", _NUMBER, nullable=False), Column("seen_changed_at", DateTime(timezone=True), nullable=False),
    Column("seen_decision", _NUMBER, nullable=False),
    Column("delivered_at", DateTime(timezone=True), index=True),  # null: the address has not taken it
)  # fmt: skip

# What a webhook, by its name in hub.yaml, is to be told of a case: tried until it is taken, or a dead letter.
DELIVERY = Table(
    "delivery", DATA, Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("hook", String, nullable=False), Column("case", _NUMBER, ForeignKey("case.number"), nullable=False),
    Column("identifier", String, nullable=False, unique=True), Column("payload", String, nullable=False),  # JSON
    Column("made_at", DateTime(timezone=True), nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),  # when it was tried first, or a person sent it again
    Column("due_at", DateTime(timezone=True), nullable=False),  # when it is tried next
    Column("tries", BigInteger, nullable=False), Column("fault", String),  # why it was not taken last
    # As `cap` has both: of the case, as it was when it was last looked whether there is more to say.
    Column("seen_changed_at", DateTime(timezone=True), nullable=False),
    Column("seen_decision", _NUMBER, nullable=False),
    Column("delivered_at", DateTime(timezone=True)), Column("dead_at", DateTime(timezone=True)),  # null: neither yet
    sql.Index("delivery_by_case", "hook", "case"),
)  # fmt: skip

_RUNS = sql.text("state = 'running'")
# A roll-out of an image to devices, in steps; `state` is one of rollouts.STATES. The rows stay.
ROLLOUT = Table(
    "rollout", DATA, _key("id", String),
    Column("version", String, nullable=False), Column("number", BigInteger, nullable=False),  # as its manifest says
    Column("manifest", LargeBinary, nullable=False), Column("image", LargeBinary, nullable=False),
    Column("person", String, nullable=False), Column("reason", String, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("steps", BigInteger, nullable=False),
    Column("settings", sql.JSON, nullable=False),  # folder.Rollout, as it was when it began
    Column("state", String, nullable=False, index=True), Column("note", String),  # why it was stopped or taken back
    Column("step", BigInteger, nullable=False),  # that it is at, from 0 on: the canary
    Column("step_at", DateTime(timezone=True), nullable=False),  # since when
    Column("watched_at", DateTime(timezone=True)),  # since when all who are there have it; null: not yet
    Column("changed_at", DateTime(timezone=True), nullable=False),
    sql.Index("rollout_running", "state", unique=True, sqlite_where=_RUNS, postgresql_where=_RUNS),  # one at a time
)  # fmt: skip

# A device of a roll-out: in which step, what it is offered, signed, and how far it is: one of releases.Stage, or null.
ROLLOUT_DEVICE = Table(
    "rollout_device", DATA, _key("rollout", String, ForeignKey("rollout.id")),
    _key("device", String, ForeignKey("device.name")), Column("step", BigInteger, nullable=False),
    Column("install", LargeBinary, nullable=False), Column("keep", LargeBinary, nullable=False),
    Column("back", LargeBinary, nullable=False),
    Column("sent_at", DateTime(timezone=True)),  # an offer, last
    Column("stage", String), Column("part", BigInteger), Column("note", String),  # as it said last
    Column("trial_us", BigInteger),  # since when it runs the image, microseconds since 1970
    Column("trial_session", BigInteger), Column("trial_incident", BigInteger),  # after which its incidents count
)  # fmt: skip

# What persons did, a chain: see `gunshot.hub.audit`. Rows are only ever added.
AUDIT = Table(
    "audit", DATA, _key("number"),  # from 1 on
    Column("entry", String, nullable=False),  # canonical JSON
    Column("sha256", String, nullable=False),  # of it
)  # fmt: skip

# Of devices that sent more than their share: how many messages the hub passed over, which only they know.
FLOOD = Table(
    "flood", DATA, _device(), Column("messages", BigInteger, nullable=False),
    Column("first_at", DateTime(timezone=True), nullable=False),
    Column("last_at", DateTime(timezone=True), nullable=False),
    Column("said_at", DateTime(timezone=True), nullable=False),  # when the log had a line of it last
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
    utc = {"options": "-c timezone=UTC"} if kind == "postgresql" else {}  # or times come in the server's own zone
    out = sql.create_engine(parsed.set(drivername=DRIVERS[kind]), pool_pre_ping=True, connect_args=utc)
    if kind == "sqlite":
        sql.event.listen(out, "connect", _prepare_sqlite)
    return out


def _prepare_sqlite(connection, _) -> None:
    """Let others read while the hub writes, keep a commit over a loss of power, check foreign keys, erase what goes."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


@contextmanager
def opened(url: str) -> Iterator[sql.Engine]:
    """Give the database at a URL, whose tables are made or brought up to this version, and close it.

    Raises
    ------
    ValueError
        Its tables are of a version that this one cannot use.
    ConnectionError
        Its driver raised an error, in the block too; the message names the database without its password.
    """
    database = engine(url)
    try:
        schema.prepare(database, DATA)
        yield database
    except DBAPIError as e:
        raise ConnectionError(f"database {database.url}: {str(e.orig).strip().splitlines()[0]}") from None
    finally:
        database.dispose()
