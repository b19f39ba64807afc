"""What the hub forgets: messages that nobody confirmed, with their log-mels, and what webhooks took, once it is old.

Rows stay, of messages too: by them a message that comes once more is known, and one that never came is missing. What a
message said of an incident and its onsets is in the rows of those, and what was decided in the rows of that.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import sqlalchemy as sql

from gunshot.hub.console import decisions
from gunshot.hub.database import CASE, DELIVERY, INCIDENT, MESSAGE, REFUSED

MOST = 500  # rows that are emptied, or deleted, at once: the hub, which writes each second, waits for no more


def purge(engine: sql.Engine, *, keep_days: float, now: datetime) -> int:
    """Empty the messages that are older than `keep_days` and of no case that is confirmed; return how many.

    Heartbeats are among them. What was refused is deleted, and so is what webhooks took, but for the last of a case: by
    that it is known what there is to tell. Where it is killed, it goes on the next time.
    """
    before, later = now - timedelta(days=keep_days), DELIVERY.alias()
    d = DELIVERY.c
    is_followed = sql.exists().where(later.c.hook == d.hook, later.c.case == d.case, later.c.number > d.number)
    _in_batches(engine, lambda connection: _delete(connection, REFUSED, REFUSED.c.refused_at < before))
    _in_batches(engine, lambda connection: _delete(connection, DELIVERY, d.delivered_at < before, is_followed))
    return _in_batches(engine, lambda connection: _empty(connection, before))


def _in_batches(engine: sql.Engine, batch: Callable[[sql.Connection], int]) -> int:
    """Do batches, each in a transaction of its own, until one has less than MOST rows; return how many all had."""
    total = 0
    while True:
        with engine.begin() as connection:
            total += (count := batch(connection))
        if count < MOST:
            return total


def _delete(connection: sql.Connection, table: sql.Table, *where: sql.ColumnElement) -> int:
    """Delete MOST rows at most, and return how many."""
    key = table.primary_key.columns
    some = sql.select(*key).where(*where).limit(MOST)
    return connection.execute(sql.delete(table).where(sql.tuple_(*key).in_(some.correlate(None)))).rowcount


def _empty(connection: sql.Connection, before: datetime) -> int:
    """Empty MOST messages at most, and return how many."""
    m, i = MESSAGE.c, INCIDENT.c
    confirmed = decisions.decided(sql.select(CASE.c.number), decisions.Kind.confirm)
    same = m.device == i.device, m.session == i.session, m.incident == i.incident
    stays = sql.exists().where(*same, i.case.in_(confirmed)).correlate(MESSAGE)
    old = sql.select(m.device, m.session, m.sequence).where(m.received_at < before, m.payload != b"", ~stays)
    keys = [tuple(row) for row in connection.execute(old.limit(MOST))]
    if keys:
        is_one, shown = (sql.tuple_(*columns).in_(keys) for columns in (
            (m.device, m.session, m.sequence), (i.device, i.session, i.evidence_sequence)
        ))  # fmt: skip
        connection.execute(sql.update(MESSAGE).where(is_one).values(payload=b""))
        connection.execute(sql.update(INCIDENT).where(shown).values(evidence_sequence=None, evidence_score=None))
    return len(keys)
