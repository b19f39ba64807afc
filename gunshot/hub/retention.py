"""What the hub forgets of what nobody confirmed: messages, with their log-mels, once they are old.

Rows stay, of messages too: by them a message that comes once more is known, and one that never came is missing. What a
message said of an incident and its onsets is in the rows of those, and what was decided in the rows of that.
"""

from datetime import datetime, timedelta

import sqlalchemy as sql

from gunshot.hub.console import decisions
from gunshot.hub.database import CASE, INCIDENT, MESSAGE, REFUSED


def purge(connection: sql.Connection, *, keep_days: float, now: datetime) -> int:
    """Empty the messages that are older than `keep_days` and of no case that is confirmed; return how many.

    Heartbeats are among them, and what was refused is deleted.
    """
    before = now - timedelta(days=keep_days)
    connection.execute(sql.delete(REFUSED).where(REFUSED.c.refused_at < before))
    m, i = MESSAGE.c, INCIDENT.c
    confirmed = decisions.decided(sql.select(CASE.c.number), decisions.Kind.confirm)
    same = m.device == i.device, m.session == i.session, m.incident == i.incident
    stays = sql.exists().where(*same, i.case.in_(confirmed)).correlate(MESSAGE)
    old = m.received_at < before, m.payload != b"", ~stays
    emptied = connection.scalar(sql.select(sql.func.count()).select_from(MESSAGE).where(*old))
    connection.execute(sql.update(MESSAGE).where(*old).values(payload=b""))  # SQLite counts no rows of one with a CTE
    evidence = m.device == i.device, m.session == i.session, m.sequence == i.evidence_sequence
    gone = sql.exists().where(*evidence, m.payload == b"").correlate(INCIDENT)
    connection.execute(sql.update(INCIDENT).where(gone).values(evidence_sequence=None, evidence_score=None))
    return emptied
