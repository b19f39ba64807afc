"""Old messages of what nobody confirmed go, and all that was made of them stays."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sql

from gunshot.hub import cases, database, incidents, intake, retention
from gunshot.hub.console import details, fleet, listing
from gunshot.hub.console.decisions import Kind
from gunshot.hub.console.noise import Noise
from gunshot.hub.console.roles import Role
from gunshot.hub.database import CASE, DELIVERY, INCIDENT, MESSAGE, ONSET, REFUSED
from tests.hub.console import SR, Scene

NOW = datetime.now(UTC)
OLD = NOW - timedelta(days=91)


@pytest.fixture
def scene(tmp_path) -> Scene:
    """Four old cases: confirmed, dismissed, undecided, near; a young one; heartbeats; and what was refused."""
    scene = Scene(tmp_path / "hub")
    scene.person("anna", Role.reviewer)
    for number in range(1, 5):
        scene.case(number, OLD, ("gate",), raised=number < 4)
    scene.case(5, NOW, ("gate",))
    scene.decide(1, "anna", Kind.confirm, OLD + timedelta(hours=1))
    scene.decide(2, "anna", Kind.dismiss, OLD + timedelta(hours=1), label="door")
    scene.heartbeats("gate", {OLD: 40.0, NOW: 41.0})
    with scene.writing() as connection:
        for at in (OLD, NOW):
            intake.refuse(connection, "gate", "alert", at.isoformat().encode(), "no message", at)
        connection.execute(sql.update(INCIDENT).where(INCIDENT.c.evidence_sequence.is_(None)).values(
            evidence_sequence=sql.select(sql.func.min(MESSAGE.c.sequence)).where(
                MESSAGE.c.incident == INCIDENT.c.incident, MESSAGE.c.device == INCIDENT.c.device
            ).scalar_subquery(), evidence_score=1,
        ))  # fmt: skip
    return scene


def purge(scene: Scene) -> int:
    with database.opened(scene.url) as engine:
        return retention.purge(engine, keep_days=90, now=NOW)


@pytest.mark.slow
@pytest.mark.parametrize("most", [retention.MOST, 1, 2])
def test_what_nobody_confirmed_goes_when_it_is_old(scene, monkeypatch, most):
    monkeypatch.setattr(retention, "MOST", most)
    assert purge(scene) == 4 and purge(scene) == 0  # of the cases 2, 3 and 4, and a heartbeat
    left = [row.incident for row in scene.rows(MESSAGE) if row.payload]
    assert sorted(left, key=str) == [1, 5, None]
    assert [row.incident for row in scene.rows(INCIDENT) if row.evidence_sequence is not None] == [1, 5]
    assert [row.reason for row in scene.rows(REFUSED)] == ["no message"] and len(scene.rows(REFUSED)) == 1


def test_all_that_was_made_of_it_stays(scene):
    def all_of_it() -> list:
        with scene.writing() as connection:
            pages = [details.case(connection, n, sr=SR, living=timedelta(hours=1)) for n in range(1, 6)]
            for one in (one for page in pages for one in page["incidents"]):
                del one["has_evidence"]
            listed = incidents.listing(connection), list(incidents.gaps(connection)), cases.listing(connection)
            return [pages, listed, listing.cases(connection, listing.Filter()), len(scene.rows(MESSAGE))]

    before, counts = all_of_it(), [scene.rows(table) for table in (CASE, ONSET)]
    purge(scene)
    assert all_of_it() == before and [scene.rows(table) for table in (CASE, ONSET)] == counts
    with scene.writing() as connection:
        assert details.evidence(connection, "gate", 1, 2) is None
        assert details.evidence(connection, "gate", 1, 1).log_mel is not None
        (gate,) = (one for one in fleet.devices(connection, Noise(24 * 100), now=NOW) if one["name"] == "gate")
    assert gate["beat"].noise == 410


@pytest.mark.slow
@pytest.mark.parametrize("most", [retention.MOST, 2, 1])
def test_what_webhooks_took_goes_when_it_is_old_but_for_the_last_of_a_case(scene, monkeypatch, most):
    """A few at once."""
    monkeypatch.setattr(retention, "MOST", most)
    kept = {"case": 1, "seen_changed_at": OLD, "seen_decision": 0, "tries": 1, "payload": "{}"}
    times = dict.fromkeys(("made_at", "since", "due_at"), OLD)
    rows = [
        *[{"hook": "a", "delivered_at": OLD}] * 3, {"hook": "a", "delivered_at": None, "dead_at": OLD},
        {"hook": "a", "delivered_at": NOW}, {"hook": "a", "delivered_at": OLD}, {"hook": "b", "delivered_at": OLD},
    ]  # fmt: skip
    with scene.writing() as connection:
        for number, row in enumerate(rows, 1):
            connection.execute(sql.insert(DELIVERY).values(kept | times | row | {"identifier": str(number)}))
    counts = []

    def count(_connection, cursor, statement: str, *_) -> None:
        if statement.startswith("DELETE"):
            counts.append(cursor.rowcount)

    with database.opened(scene.url) as engine:
        sql.event.listen(engine, "after_cursor_execute", count)
        retention.purge(engine, keep_days=90, now=NOW)
    assert sum(counts) == 1 + 3 and max(counts) <= most  # with what was refused
    assert [row.identifier for row in scene.rows(DELIVERY)] == ["4", "5", "6", "7"]


def test_a_message_that_comes_once_more_is_known(scene):
    (first,) = (row for row in scene.rows(MESSAGE) if row.incident == 2)
    purge(scene)
    with scene.writing() as connection:
        device, number = "gate", sql.text("UPDATE device SET number = 1 WHERE name = 'gate'")
        connection.execute(number)  # which the scene's messages carry
        assert intake.alert(connection, device, first.payload, now=NOW, sr=SR)
    assert len(scene.rows(REFUSED)) == 1
    assert [row.payload for row in scene.rows(MESSAGE) if row.incident == 2] == [b""]
