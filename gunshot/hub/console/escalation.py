"""Who is called where nobody looks: a raised case that stays unacknowledged goes down a list of addresses.

The first address is called a minute after the case was raised, the next one a minute later. An address is anything that
Apprise knows: e-mail, a webhook, a messenger. What cannot be sent is tried again, and holds up no other address.
"""

import logging
from datetime import UTC, datetime, timedelta
from threading import Event

import apprise
import sqlalchemy as sql
from sqlalchemy.exc import SQLAlchemyError

from gunshot.hub.console import decisions
from gunshot.hub.console.times import utc
from gunshot.hub.database import CALL, CASE

AFTER = timedelta(seconds=60)  # from one address to the next
LONGEST = timedelta(hours=1)  # after it was raised a case calls nobody any more
LOOK_S = 1.0  # between two looks for cases that are due
SLOW_S = 10.0  # the same, after something could not be sent

log = logging.getLogger("gunshot")


def check(addresses: list[str]) -> None:
    """Raise ValueError where an address is none that Apprise knows; it may hold a password, and is not named."""
    for place, address in enumerate(addresses, 1):
        if apprise.Apprise.instantiate(address) is None:
            raise ValueError(f"hub.yaml: escalation: number {place} must be an address that Apprise knows")


def keep(engine: sql.Engine, addresses: list[str], page: str, stop: Event) -> None:
    """Call who is due, until `stop` is set. `page` is the console's address."""
    wait_s = LOOK_S
    while not stop.wait(wait_s):
        try:
            wait_s = LOOK_S if work(engine, addresses, page, now=datetime.now(UTC)) else SLOW_S
        except SQLAlchemyError as e:  # or nobody would be called any more, also where pages have all its connections
            log.warning("escalation: the database failed: %s", getattr(e, "orig", e))


def work(engine: sql.Engine, addresses: list[str], page: str, *, now: datetime) -> bool:
    """Call who is due now, and note each call; return whether all could be sent.

    A call is noted after it was sent: who ends this in between makes it come twice, never not at all.
    """
    with engine.connect() as connection:
        calls = due(connection, len(addresses), now=now)
    sent = [_call(engine, addresses[place - 1], case, place, page) for case, place in calls]
    return all(sent)


def due(connection: sql.Connection, addresses: int, *, now: datetime) -> list[tuple[sql.Row, int]]:
    """Return cases with the place in the list, from 1 on, of an address that is to be called now of so many."""
    query = sql.select(CASE).where(
        CASE.c.merged_into.is_(None), CASE.c.raised_at > now - LONGEST, ~decisions.acknowledged()
    )
    cases = connection.execute(query.order_by(CASE.c.raised_at)).all()
    called = set(connection.execute(sql.select(CALL.c.case, CALL.c.place)).tuples()) if cases else set()
    return [
        (case, place)
        for case in cases
        for place in range(1, min(addresses, (now - utc(case.raised_at)) // AFTER) + 1)
        if (case.number, place) not in called
    ]


def _call(engine: sql.Engine, address: str, case: sql.Row, place: int, page: str) -> bool:
    title = f"{'DRILL: ' if case.exercise else ''}possible gunfire{', ' + case.site if case.site else ''}"
    since = utc(case.raised_at).strftime("%H:%M:%S UTC")
    body = f"Nobody has acknowledged case {case.number} since {since}: {page}/cases/{case.number}"
    service = apprise.Apprise()
    service.add(address)
    if not service.notify(body=body, title=title):
        log.warning("escalation: number %d of the list could not be called for case %d", place, case.number)
        return False
    with engine.begin() as connection:
        connection.execute(sql.insert(CALL).values(case=case.number, place=place, at=datetime.now(UTC)))
    return True
