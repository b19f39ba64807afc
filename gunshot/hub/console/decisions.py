"""What persons decide on cases: rows that are only ever added.

What the devices heard is one thing, "possible gunfire", and stays so; what a person says it was stands beside it.
"""

from datetime import datetime
from enum import StrEnum

import sqlalchemy as sql

from gunshot.hub import audit
from gunshot.hub.database import CASE, DECISION

LABELS = ("fireworks", "door", "vehicle", "tool", "animal", "unknown", "other")  # of what is dismissed
MOST_NOTE = 2000  # characters


class Kind(StrEnum):
    """What a person says of a case: I have seen it; it was gunfire; it was none; a remark."""

    acknowledge = "acknowledge"
    confirm = "confirm"
    dismiss = "dismiss"
    note = "note"


class State(StrEnum):
    """Of a case: by the last that confirmed or dismissed it; before that, whether anybody acknowledged it."""

    new = "new"
    acknowledged = "acknowledged"
    confirmed = "confirmed"
    dismissed = "dismissed"


DECIDING = {Kind.confirm: State.confirmed, Kind.dismiss: State.dismissed}


class ChangedError(ValueError):
    """Somebody else wrote a decision on the case since the person looked."""


def _counts() -> sql.ColumnElement:
    """Return whether a decision counts for its case: what was said before it was raised does not.

    That more devices heard it is another matter.
    """
    c, d = CASE.c, DECISION.c
    return sql.and_(c.number == d.case, sql.or_(c.raised_at.is_(None), d.at >= c.raised_at))


def acknowledged() -> sql.ColumnElement:
    """Return whether somebody acknowledged, confirmed or dismissed a case of a query, as a condition."""
    return sql.exists().where(_counts(), DECISION.c.kind != Kind.note).correlate(CASE)


def outcomes(chosen: sql.Select) -> sql.CTE:
    """Return a query of what was decided, by `case`, of those whose numbers are chosen.

    `acknowledged_at` is when a person first did more than note, `decided_at` when one first confirmed or dismissed, and
    `last` the number of the decision that holds; each is null where there is none.
    """
    d, deciding = DECISION.c, DECISION.c.kind.in_(list(DECIDING))
    return (
        sql.select(
            d.case,
            sql.func.min(sql.case((d.kind != Kind.note, d.at))).label("acknowledged_at"),
            sql.func.min(sql.case((deciding, d.at))).label("decided_at"),
            sql.func.max(sql.case((deciding, d.number))).label("last"),
        )
        .join(CASE, _counts())
        .where(d.case.in_(chosen))
        .group_by(d.case)
        .cte("outcomes")
    )


def state_of(outcome: sql.FromClause, last: sql.FromClause) -> sql.ColumnElement:
    """Return the state of a case as a column, by its outcome and the decision that holds, both joined from outside."""
    return sql.case(
        *((last.c.kind == kind, sql.literal(str(state))) for kind, state in DECIDING.items()),
        (outcome.c.acknowledged_at.isnot(None), sql.literal(str(State.acknowledged))),
        else_=sql.literal(str(State.new)),
    )


def decided(chosen: sql.Select, kind: Kind) -> sql.Select:
    """Return a query of the numbers of those cases, of all whose numbers are chosen, where such a decision holds."""
    outcome, last = outcomes(chosen), DECISION.alias()
    query = sql.select(outcome.c.case).join(last, last.c.number == outcome.c.last)
    return query.where(last.c.kind == kind)


def history(connection: sql.Connection, cases: list[int]) -> list[sql.Row]:
    """Return the decisions on some cases, oldest first."""
    return connection.execute(sql.select(DECISION).where(DECISION.c.case.in_(cases)).order_by(DECISION.c.number)).all()


def enter(
    connection: sql.Connection, case: int, person: str, kind: Kind, *, label: str, note: str, seen: int, now: datetime
) -> None:
    """Write what a person decides on a case.

    `seen` is the number of the last decision on it that the person has seen, 0 for none. Label and note are empty
    where there is none.

    Raises
    ------
    ChangedError
        There is a later one.
    ValueError
        Label or note do not fit the kind.
    """
    _check(kind, label, note)
    newest = sql.select(sql.func.coalesce(sql.func.max(DECISION.c.number), 0)).where(DECISION.c.case == case)
    row = {"case": case, "at": now, "person": person, "kind": str(kind), "label": label or None, "note": note or None}
    values = [sql.literal(value, DECISION.c[name].type) for name, value in row.items()]
    # Nobody comes between the look and the row: SQLite has one writer at a time, PostgreSQL locks the case.
    connection.execute(sql.select(CASE.c.number).where(CASE.c.number == case).with_for_update())
    unchanged = sql.select(*values).where(newest.scalar_subquery() == seen)
    if not connection.execute(sql.insert(DECISION).from_select(list(row), unchanged)).rowcount:
        raise ChangedError("somebody else was quicker: look at what was decided, then decide again")
    audit.enter(connection, "decision", connection.scalar(newest), now=now)


def _check(kind: Kind, label: str, note: str) -> None:
    if kind == Kind.dismiss and label not in LABELS:
        raise ValueError(f"label={label!r} of what is dismissed must be one of {', '.join(LABELS)}")
    if kind != Kind.dismiss and label:
        raise ValueError(f"label={label!r} must be empty: only what is dismissed has one")
    if kind == Kind.note and not note:
        raise ValueError("note='' must have text")
    if "\0" in note:
        raise ValueError("note must have no character NUL: PostgreSQL takes none")
    if len(note) > MOST_NOTE:
        raise ValueError(f"note of {len(note)} characters must have {MOST_NOTE} at most")
