"""What persons did, as a chain: each row has the hash of the one before, as lines of the record of promotions have.

Logins, decisions and orders are rows of tables of their own, of which an entry repeats what never changes; enrolments,
revocations, what became of persons, and who heard what are entries alone. Who can write the database can write the
whole chain anew: so keep the last hash elsewhere, which `faults` takes.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import sqlalchemy as sql

from gunshot.hub.database import AUDIT, DECISION, DEVICE, LOGIN, ORDER, PERSON, ROLLOUT
from gunshot.signing import record

# Of a kind of entry: the table whose rows it is of, and the columns that never change, the key first.
ROWS = {
    "login": (LOGIN, ("number", "at", "address", "person", "failed")),
    "decision": (DECISION, ("number", "case", "at", "person", "kind", "label", "note")),
    "order": (
        ORDER,
        ("id", "device", "session", "incident", "seconds", "reason", "person", "payload", "issued_at", "expires_at"),
    ),
    "rollout": (ROLLOUT, ("id", "version", "number", "manifest", "person", "reason", "started_at")),
}
# And what an entry says of a row that may change: the last entry holds.
LAST = {
    "device": (DEVICE, ("name", "number", "revoked_at")),  # enrolled, renewed, revoked
    "person": (PERSON, ("name", "role", "password", "disabled")),  # let in, or shut out
}
KINDS = ROWS | LAST
# Of these no table has a row, or not one that stays as it is.
CLIENT = "client"  # of topics.CLIENTS
LISTENER = "listener"
DELIVERY = "delivery"


def enter(connection: sql.Connection, kind: str, key: str | int, *, now: datetime, **more) -> None:
    """Enter what a row says now into the chain, in the transaction that wrote it.

    `kind` is one of KINDS, `key` the row's, and `more` what else is to be said of it.
    """
    table, columns = KINDS[kind]
    said = (table.c[name] for name in columns)  # or a step from an earlier version would ask for a later one's columns
    row = connection.execute(sql.select(*said).where(table.c[columns[0]] == key)).one()
    _append(connection, {"kind": kind, "row": _said(row, columns)} | more, now=now)


def enter_client(connection: sql.Connection, name: str, *, now: datetime, **more) -> None:
    """Enter what became of one of the hub's own clients; `more` says what."""
    _append(connection, {"kind": CLIENT, "row": {"name": name}} | more, now=now)


def enter_listener(
    connection: sql.Connection, person: str, *, login: int, order: str, what: str, now: datetime
) -> None:
    """Enter who hears or sees what an order brought; `what` is clip, live or video."""
    row = {"person": person, "login": login, "order": order}
    _append(connection, {"kind": LISTENER, "row": row, "what": what}, now=now)


def enter_delivery(connection: sql.Connection, number: int, *, now: datetime, **more) -> None:
    """Enter what a person did with a delivery to a webhook; `more` says who, and what."""
    _append(connection, {"kind": DELIVERY, "row": {"number": number}} | more, now=now)


def adopt(connection: sql.Connection, *, now: datetime) -> None:
    """Enter all rows that are there, of a database from before there was a chain."""
    there = sql.inspect(connection).get_table_names()  # a table of later has no row
    for kind, (table, columns) in ((kind, one) for kind, one in KINDS.items() if one[0].name in there):
        for key in connection.scalars(sql.select(table.c[columns[0]]).order_by(table.c[columns[0]])).all():
            enter(connection, kind, key, now=now, adopted=True)


def _said(row: sql.Row, columns: tuple[str, ...]) -> dict:
    """Return columns of a row as JSON has them: times as text, bytes and hashes of passwords as their SHA-256."""
    out = {}
    for name in columns:
        value = getattr(row, name)
        if isinstance(value, datetime):
            value = value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC).isoformat()
        elif name in ("payload", "password", "manifest"):
            value = hashlib.sha256(value if isinstance(value, bytes) else value.encode()).hexdigest()
        out[name] = value
    return out


def _append(connection: sql.Connection, event: dict, *, now: datetime) -> None:
    if connection.dialect.name == "postgresql":  # one at a time; in SQLite there is one writer from its first word on
        connection.execute(sql.text(f"LOCK TABLE {AUDIT.name} IN EXCLUSIVE MODE"))
    else:
        connection.execute(sql.update(AUDIT).where(sql.false()).values(sha256=""))
    newest = last(connection)
    number, previous = (newest.number + 1, newest.sha256) if newest else (1, None)
    entry = event | {"number": number, "previous": previous, "at": now.astimezone(UTC).isoformat()}
    row = {"number": number, "entry": record.canonical(entry).decode(), "sha256": record.digest(entry)}
    connection.execute(sql.insert(AUDIT).values(row))


def last(connection: sql.Connection) -> sql.Row | None:
    """Return the last row, None where there is none."""
    return connection.execute(sql.select(AUDIT).order_by(AUDIT.c.number.desc()).limit(1)).first()


def check(engine: sql.Engine, *, known: tuple[int, str] | None = None) -> tuple[list[str], sql.Row | None]:
    """Return what is wrong, as `faults` has it, and the last row: both as of one moment, whoever writes meanwhile."""
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")  # or each query would see what is there by then
        else:
            connection.execution_options(isolation_level="REPEATABLE READ")
        return list(faults(connection, known=known)), last(connection)


def listing(connection: sql.Connection) -> Iterator[dict]:
    """Yield the entries, oldest first, each with its `sha256`; ValueError where one is no JSON object."""
    for row in connection.execute(sql.select(AUDIT).order_by(AUDIT.c.number)):
        yield _entry(row) | {"sha256": row.sha256}


def _entry(row: sql.Row) -> dict:
    try:
        entry = json.loads(row.entry)
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        raise ValueError(f"audit row {row.number}: its entry must be a JSON object")
    return entry


def faults(connection: sql.Connection, *, known: tuple[int, str] | None = None) -> Iterator[str]:
    """Yield what is wrong: first with the chain, from its first row on, then between it and the tables.

    `known` is the number and the hash of a row, as somebody wrote them down.
    """
    entries = {}
    previous, number, hashes = None, 0, {}
    for row in connection.execute(sql.select(AUDIT).order_by(AUDIT.c.number)):
        number += 1
        hashes[row.number] = row.sha256
        where = f"audit row {row.number}"
        if row.number != number:
            yield f"{where}: row {number} must come before it; rows are missing"
            number = row.number
        try:
            entry = _entry(row)
        except ValueError as e:
            yield str(e)
        else:
            yield from (f"{where}: {fault}" for fault in _row_faults(row, entry, previous))
            yield from (f"{where}: {fault}" for fault in _collect(entries, entry, row.number))
        previous = row.sha256
    if known and hashes.get(known[0]) != known[1]:
        yield f"audit row {known[0]}: it must have the hash {known[1]}, as it was written down"
    for kind in KINDS:
        yield from _table_faults(connection, kind, entries)


def _row_faults(row: sql.Row, entry: dict, previous: str | None) -> Iterator[str]:
    try:
        is_whole = record.canonical(entry).decode() == row.entry and record.digest(entry) == row.sha256
    except ValueError:  # NaN, or half a character, which no entry has
        is_whole = False
    if not is_whole:
        yield "its hash is not that of what it says; it was altered"
    if entry.get("number") != row.number:
        yield f"says number={entry.get('number')}; rows are out of order"
    if entry.get("previous") != previous:
        yield "does not follow the row before it; that one was altered, or rows are missing or out of order"


def _collect(entries: dict[tuple, tuple[dict, int]], entry: dict, number: int) -> Iterator[str]:
    """Keep the last entry of each row; yield what is wrong where one names none."""
    kind, row = entry.get("kind"), entry.get("row")
    if not isinstance(kind, str) or not isinstance(row, dict):
        yield "its kind must be a text, and its row an object; it was altered"
    elif kind in KINDS:
        name = KINDS[kind][1][0]
        if isinstance(key := row.get(name), str | int):
            entries[kind, key] = row, number
        else:
            yield f"its {name} must be a text or a number; it was altered"


def _table_faults(connection: sql.Connection, kind: str, entries: dict[tuple, tuple[dict, int]]) -> Iterator[str]:
    """Yield which rows of a table are not as the chain has them."""
    table, columns = KINDS[kind]
    key, seen = columns[0], set()
    for row in connection.execute(sql.select(table).order_by(table.c[key])):
        said, where = _said(row, columns), f"table {table.name}, {key} {getattr(row, key)}"
        seen.add((kind, said[key]))
        if (kind, said[key]) not in entries:
            yield f"{where}: no audit row has it"
            continue
        before, number = entries[kind, said[key]]
        if changed := sorted(name for name in columns if before.get(name) != said[name]):
            yield f"{where}: {', '.join(changed)} must be as in audit row {number}"
    for of_kind, which in sorted(entries.keys() - seen, key=str):
        if of_kind == kind:
            number = entries[of_kind, which][1]
            yield f"table {table.name}, {key} {which}: its row is missing; audit row {number} has it"
