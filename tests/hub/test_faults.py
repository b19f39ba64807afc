"""Whatever dies, fills up or goes away: what a device was told that the hub has is stored, exactly once.

A hub that cannot go on ends, with an error; each test starts it again, as systemd does. That broker and device are
killed: test_network.py, test_sound.py; that a folder comes back from a copy: test_backup.py.
"""

import contextlib
import dataclasses
import functools
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from gunshot.device import messages
from gunshot.device.messages import State
from gunshot.hub import database
from gunshot.hub.console import live
from tests.flows.prefect_server import postgresql
from tests.hub.network import NAME, Network, Sender, serve_full, serve_until, until
from tests.hub.test_intake import FIRST, NOW, SR, a_database, intake, rows

pytestmark = pytest.mark.slow
INCIDENTS = 3
EVIDENCE = np.zeros((71, 32), np.int8)  # as large as a device's


def fill(sender: Sender, incidents: int = INCIDENTS) -> list[bytes]:
    """Put the messages of some incidents into a device's outbox, a minute apart; return them."""
    number, session = sender.birth.number, sender.birth.session
    for i in range(2 * incidents):
        state, clock = (State.OPENED, State.CLOSED)[i % 2], FIRST.clock
        clock = dataclasses.replace(clock, unix_us=clock.unix_us + 60_000_000 * (i // 2))
        more = {"onsets": (), "log_mel": None} if i % 2 else {"log_mel": EVIDENCE}
        head = {"device": number, "session": session, "sequence": i, "incident": i // 2 + 1}
        sender.outbox.put(dataclasses.replace(FIRST, **head, state=state, clock=clock, **more))
    return [one.payload for one in sender.outbox.first(2 * incidents)]


def check(network: Network, sent: list[bytes], *, incidents: int = INCIDENTS) -> None:
    """All is stored, once, and each incident is a case of its own that was raised."""
    assert network.payloads() == sent and network.rows(database.REFUSED) == []
    assert [row["incident"] for row in network.rows(database.INCIDENT)] == list(range(1, incidents + 1))
    assert {State(row["state"]) for row in network.rows(database.INCIDENT)} == {State.CLOSED}
    raised = [row for row in network.rows(database.CASE) if row["raised_at"] and row["merged_into"] is None]
    assert len(raised) == len(network.rows(database.CASE)) == incidents
    assert {row["case"] for row in network.rows(database.INCIDENT)} == {row["number"] for row in raised}


def survive(network: Network, dying: Callable[[Path], None], exitcode: int) -> None:
    """Send through a hub that dies, then through one that does not."""
    with network.broker(), contextlib.closing(Sender(network.device)) as sender:
        sent = fill(sender)
        with network.hub(dying) as hub:
            sender.pump_until(lambda: not hub.is_alive(), "the hub ends")
            assert hub.exitcode == exitcode
        waiting = {one.payload for one in sender.outbox.first(len(sent))}
        assert set(sent) - waiting <= set(network.payloads()) and waiting  # what it has deleted is stored
        with network.hub():
            sender.pump_until(lambda: not len(sender.outbox), "all is acknowledged")
    check(network, sent)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("statement", range(1, 41))
def test_the_hub_is_killed_at_any_statement(tmp_path, statement):
    """Before it, by a signal that nothing can hold up. Six messages take fewer than 40 statements, commits too."""
    survive(Network(tmp_path / "hub"), functools.partial(serve_until, statement=statement), -9)


def test_a_full_disk_ends_the_hub_and_loses_nothing(tmp_path):
    network = Network(tmp_path / "hub")
    with contextlib.closing(sqlite3.connect(network.folder / "hub.sqlite")) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    survive(network, functools.partial(serve_full, pages=pages + 1), 1)


def test_a_database_that_is_locked_is_waited_for_and_ends_the_hub_where_it_stays_so(tmp_path):
    network = Network(tmp_path / "hub")
    with (
        network.broker(),
        contextlib.closing(Sender(network.device)) as sender,
        contextlib.closing(sqlite3.connect(network.folder / "hub.sqlite", isolation_level=None)) as other,
    ):
        with network.hub() as hub:
            sender.pump_until(lambda: len(network.rows(database.SESSION)) == 1, "the birth is stored")
            other.execute("BEGIN IMMEDIATE")
            sent = fill(sender)
            for _ in range(20):  # for a second at least; it waits for five
                sender.link.pump(0.05)
            assert len(sender.outbox) == len(sent) and hub.is_alive()
            other.execute("COMMIT")
            sender.pump_until(lambda: not len(sender.outbox), "all is acknowledged")
            other.execute("BEGIN IMMEDIATE")
            until(lambda: not hub.is_alive(), "the hub ends")  # it looks for orders each second
            assert hub.exitcode == 1
        other.execute("COMMIT")
    check(network, sent)


def test_a_postgresql_that_goes_away_ends_the_hub_and_when_it_is_back_all_comes(tmp_path):
    with postgresql() as url:
        network = Network(tmp_path / "hub", url=url.replace("+asyncpg", ""))
        engine = database.engine(network.url)
        limit = "ALTER DATABASE prefect WITH CONNECTION LIMIT {}"
        gone = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'prefect' AND pid != {}"
        with network.broker(), contextlib.closing(Sender(network.device)) as sender, engine.connect() as other:
            other = other.execution_options(isolation_level="AUTOCOMMIT")
            with network.hub() as hub:
                sender.pump_until(lambda: len(network.rows(database.SESSION)) == 1, "the birth is stored")
                other.exec_driver_sql(limit.format(0))
                other.exec_driver_sql(gone.format("pg_backend_pid()"))
                sent = fill(sender)
                sender.pump_until(lambda: not hub.is_alive(), "the hub ends")
                assert hub.exitcode == 1 and len(sender.outbox) == len(sent)
            with network.hub() as hub:
                until(lambda: not hub.is_alive(), "one that is started meanwhile ends too")
                assert hub.exitcode == 1
            other.exec_driver_sql(limit.format(-1))
            with network.hub():
                sender.pump_until(lambda: not len(sender.outbox), "all is acknowledged")
            check(network, sent)
        engine.dispose()


def test_a_device_that_was_away_for_long_brings_a_hundred_incidents(tmp_path):
    """More than its share at once: it is slowed, and none is passed over."""
    network = Network(tmp_path / "hub")
    with network.broker(), network.hub(), contextlib.closing(Sender(network.device)) as sender:
        sent = fill(sender, 100)
        sender.pump_until(lambda: not len(sender.outbox), "all is acknowledged")
    check(network, sent, incidents=100)
    assert network.rows(database.FLOOD) == []


def test_two_devices_with_one_folder_lose_nothing_that_is_not_said(tmp_path):
    """A copy of a folder: each takes the other's place at the broker, and the second's numbers are those of the first.

    What differs is refused by name, and kept.
    """
    network = Network(tmp_path / "hub")
    with network.broker(), network.hub():
        with contextlib.closing(Sender(network.device)) as first:
            sent = fill(first)
            first.pump_until(lambda: not len(first.outbox), "the first one's is acknowledged")
        with contextlib.closing(sqlite3.connect(network.device / "outbox.sqlite")) as connection, connection:
            connection.execute("UPDATE total SET session = 0")  # as in a copy of before
        with contextlib.closing(Sender(network.device)) as second:
            fill(second, 1)
            other = dataclasses.replace(FIRST, device=second.birth.number, session=1, sequence=2, shots=9)
            second.outbox.put(other)
            second.pump_until(lambda: not len(second.outbox), "the second one's is acknowledged")
    assert network.payloads() == sent
    (refused,) = network.rows(database.REFUSED)
    assert refused["payload"] == messages.encode(other) and refused["device"] == NAME
    assert "session=1 sequence=2 must be new; another message has them" in refused["reason"]


def test_a_clock_of_the_hub_that_is_set_back_hides_no_case():
    """The page looks for what changed by time too: a new case is news whatever the clock says."""
    engine, tokens = a_database(), []
    for i, back in enumerate((timedelta(0), timedelta(hours=1), timedelta(days=365))):
        payload = messages.encode(dataclasses.replace(FIRST, sequence=i, incident=i + 1, clock=None))
        with engine.begin() as connection:
            assert intake.alert(connection, "roof", payload, now=NOW - back, sr=SR)
        with engine.connect() as connection:
            tokens.append(live.token(connection))
    assert len(set(tokens)) == len(rows(engine, database.CASE)) == 3


def test_a_clock_of_a_device_that_jumps_takes_no_incident_away():
    """Each message says another time, also one of long ago: the first clock holds, and all is stored."""
    engine = a_database()
    jumps = [0, 86_400_000_000 * 400, -86_400_000_000 * 400, 1_000_000]
    for i, jump in enumerate(jumps):
        clock = dataclasses.replace(FIRST.clock, unix_us=FIRST.clock.unix_us + jump)
        payload = messages.encode(dataclasses.replace(FIRST, sequence=i, incident=1 + i // 2, clock=clock))
        with engine.begin() as connection:
            assert intake.alert(connection, "roof", payload, now=NOW, sr=SR)
    assert len(rows(engine, database.MESSAGE)) == 4 and len(rows(engine, database.CASE)) == 2
    assert [row["clock_sequence"] for row in rows(engine, database.INCIDENT)] == [0, 2]
