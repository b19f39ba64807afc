"""CAP messages that go out by themselves, to one address: of cases that are raised, change, or are dismissed.

A message is a row before it is sent, and is sent until the address has taken it, over restarts too. So what goes out
is what the database says, in order for each case, and may come twice: by its identifier whoever gets it knows it.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Event

import sqlalchemy as sql

from gunshot.hub import cap, sending
from gunshot.hub.cap import Kind
from gunshot.hub.cases import last_decisions, utc
from gunshot.hub.console import decisions
from gunshot.hub.database import CAP, CASE
from gunshot.hub.incidents import EPOCH

LOOK_S = 0.5  # between two looks for what is due
SLOW_S = 10.0  # the same, after something could not be sent
FRESH = timedelta(hours=1)  # a case that was raised before that alerts nobody: the setting may be new
APART = timedelta(seconds=5)  # from a message of a case to its next update, at least
LONGEST = timedelta(days=1)  # for which a message is tried
UNANSWERED = 2  # cases without an answer, after which nobody is there; one alone may be what it cannot read

log = logging.getLogger("gunshot")


def keep(engine: sql.Engine, address: str, sender: str, stop: Event) -> None:
    """Send what is due, until `stop` is set; `sender` is the hub's host."""
    wait_s, unanswered = LOOK_S, {}
    while not stop.wait(wait_s):
        wait_s = LOOK_S if work(engine, address, sender, lambda: datetime.now(UTC), stop, unanswered) else SLOW_S


def work(
    engine: sql.Engine, address: str, sender: str, clock: Callable[[], datetime], stop: Event,
    unanswered: dict[int, datetime],
) -> bool:  # fmt: skip
    """Write the messages that are due, and send what was not taken yet until `stop` is set; return whether all was.

    Where the messages of UNANSWERED cases get no answer, the rest waits for the next time: each would wait as long.
    `unanswered` keeps when a case last got none. Such cases come last the next time, that of the longest ago first: so
    none holds up another for good.
    """
    now = clock()
    with engine.begin() as connection:
        for case, dismissed in _changed(connection, now):
            _write(connection, case, dismissed, sender=sender, now=now)
    return _deliver(engine, address, clock, stop, unanswered)


def _changed(connection: sql.Connection, now: datetime) -> list[tuple[sql.Row, bool]]:
    """Return the raised cases that changed, or were decided, since their last message, and whether each is dismissed.

    Each has `last`, the number of that message, None where there is none, and `decision`, that of the last decision.
    A case that another was merged into has the messages of both.
    """
    root = sql.func.coalesce(CASE.c.merged_into, CASE.c.number).label("root")
    last = sql.select(root, sql.func.max(CAP.c.number).label("last")).join(CAP, CAP.c.case == CASE.c.number)
    last = last.group_by(root).subquery()
    decided = last_decisions()
    decision = sql.func.coalesce(decided.c.decision, 0)
    seen = CAP.alias()
    query = (
        sql.select(CASE, last.c.last, decision.label("decision"))
        .outerjoin(last, last.c.root == CASE.c.number)
        .outerjoin(decided, decided.c.case == CASE.c.number)
        .outerjoin(seen, seen.c.number == last.c.last)
        .where(CASE.c.merged_into.is_(None), CASE.c.raised_at.is_not(None))
        .where(
            sql.or_(
                sql.and_(last.c.last.is_(None), CASE.c.raised_at > now - FRESH),
                seen.c.seen_case != CASE.c.number,
                seen.c.seen_changed_at != CASE.c.changed_at,
                seen.c.seen_decision != decision,
            )
        )
    )
    rows = connection.execute(query.order_by(CASE.c.raised_at, CASE.c.number)).all()
    chosen = sql.select(CASE.c.number).where(CASE.c.number.in_([row.number for row in rows]))
    dismissed = set(connection.scalars(decisions.decided(chosen, decisions.Kind.dismiss)))
    return [(row, row.number in dismissed) for row in rows]


def _write(connection: sql.Connection, case: sql.Row, dismissed: bool, *, sender: str, now: datetime) -> None:
    """Write a case's next message where one is due, or else what was seen of the case."""
    family = sql.select(CASE.c.number).where(sql.or_(CASE.c.number == case.number, CASE.c.merged_into == case.number))
    sent = connection.execute(sql.select(CAP).where(CAP.c.case.in_(family)).order_by(CAP.c.number)).all()
    over = {one for row in sent if row.kind == Kind.cancel for one in row.references.split()}
    valid = [row for row in sent if row.kind != Kind.cancel and cap.reference(sender, row) not in over]
    kind = _kind(case, valid, dismissed, sender)
    if kind == Kind.update and now - utc(valid[-1].sent_at) < APART:
        return
    seen = {"seen_case": case.number, "seen_changed_at": case.changed_at, "seen_decision": case.decision}
    if kind is None:
        connection.execute(sql.update(CAP).where(CAP.c.number == case.last).values(seen))
        return
    first = kind == Kind.alert and not sent
    message = cap.compose(
        case, kind, sender=sender, sent=utc(case.raised_at) if first else now, first=first,
        earlier=[cap.reference(sender, row) for row in valid],
    )  # fmt: skip
    connection.execute(sql.insert(CAP).values(message._asdict() | seen | {"case": case.number, "made_at": now}))


def _kind(case: sql.Row, valid: list[sql.Row], dismissed: bool, sender: str) -> Kind | None:
    """Return what a case's next message is to those who got the `valid` ones; None: they know all of it."""
    if dismissed:
        return Kind.cancel if valid else None
    if not valid:
        return Kind.alert
    newest = valid[-1]
    known = {cap.reference(sender, newest), *newest.references.split()}
    all_known = {cap.reference(sender, row) for row in valid} <= known
    is_same = newest.case == case.number and newest.content == cap.content(case, Kind.update)
    return None if is_same and all_known else Kind.update


def _deliver(
    engine: sql.Engine, address: str, clock: Callable[[], datetime], stop: Event, unanswered: dict[int, datetime]
) -> bool:
    """Send what the address has not taken, in order for each case; return whether it took all of it."""
    with engine.connect() as connection:
        waits = CAP.c.delivered_at.is_(None), CAP.c.made_at > clock() - LONGEST
        root = sql.func.coalesce(CASE.c.merged_into, CASE.c.number).label("root")
        query = sql.select(CAP, root).join(CASE, CASE.c.number == CAP.c.case)
        rows = connection.execute(query.where(*waits).order_by(CAP.c.number)).all()
    rows.sort(key=lambda row: unanswered.get(row.root, EPOCH))  # within a case they stay in order
    silent = 0  # cases
    failed: set[int] = set()  # merged cases count as one: what follows refers to the messages of all
    for row in rows:
        if stop.is_set():
            return False
        if row.root in failed:
            continue
        try:
            fault = _post(address, row.payload)
        except sending.UnansweredError as e:  # its text does not name the address, which may hold a password
            fault, silent, unanswered[row.root] = str(e), silent + 1, clock()
        if fault is not None:
            log.warning("cap: %s of case %d was not taken: %s", row.kind, row.case, fault)
            failed.add(row.root)
            if silent == UNANSWERED:
                return False
            continue
        unanswered.pop(row.root, None)
        log.info("cap: %s of case %d is sent", row.kind, row.case)
        with engine.begin() as connection:
            connection.execute(sql.update(CAP).where(CAP.c.number == row.number).values(delivered_at=clock()))
    return not failed


def _post(address: str, payload: str) -> str | None:
    """Send a message; return why it was not taken, or None. UnansweredError where nothing answered."""
    status = sending.post(address, payload.encode(), {"Content-Type": "application/cap+xml"})
    return None if 200 <= status < 300 else f"status {status}"
