"""A roll-out where more goes wrong: the hub was away, a device is revoked, two hands are on it, it is late."""

from datetime import timedelta

import pytest
import sqlalchemy as sql

from gunshot.device.messages import State
from gunshot.hub import audit, rollouts, wellness
from gunshot.hub.database import DEVICE, INCIDENT, ROLLOUT, SESSION
from tests.device.images import image
from tests.hub.fleet import MINUTE, NAMES, SETTINGS, Fleet

pytestmark = pytest.mark.slow


def look(fleet: Fleet) -> list[tuple[str, bytes]]:
    """What the hub sends now, before anybody says more."""
    with fleet.scene.writing() as connection:
        return rollouts.work(connection, now=fleet.now, listening_since=fleet.listening_since)


def be_away(fleet: Fleet, minutes: int) -> None:
    """The hub hears nothing for so long, and then begins to."""
    fleet.now += minutes * MINUTE
    fleet.listening_since = fleet.now
    look(fleet)


def events(fleet: Fleet) -> list[tuple[str, str | None]]:
    with fleet.scene.writing() as connection:
        return [(one["event"], one.get("by")) for one in audit.listing(connection) if one["kind"] == "rollout"]


def revoke(fleet: Fleet, name: str) -> None:
    fleet.devices[name].is_quiet = True
    with fleet.scene.writing() as connection:
        connection.execute(sql.update(DEVICE).where(DEVICE.c.name == name).values(revoked_at=fleet.now))


def test_while_the_hub_was_away_no_device_was_silent_and_none_was_watched(fleet):
    fleet.begin()
    fleet.run(2)
    be_away(fleet, 120)
    assert fleet.state() == ("running", None) and fleet.with_it() == {"gate"}
    fleet.run(1)
    assert fleet.state() == ("running", None)
    fleet.run(2)
    assert len(fleet.with_it()) == 2  # it is heard again


def test_who_fell_silent_while_the_hub_was_away_takes_it_back_before_another_gets_it(fleet):
    fleet.begin()
    fleet.run(2)
    fleet.devices["gate"].is_quiet = True
    be_away(fleet, 120)
    fleet.run(25)
    assert fleet.state() == ("running", None) and fleet.with_it() == {"gate"}
    fleet.run(10)
    assert fleet.state()[0] == "back" and fleet.state()[1].startswith("gate is silent for 2100 s")
    assert fleet.with_it() == set()


def test_what_a_device_said_while_the_hub_was_away_comes_before_patience_ends(fleet):
    """It has the image, and the hub was killed before it heard so."""
    settings = SETTINGS.model_copy(update={"patience_s": 3600.0})
    fleet.begin(settings=settings)
    fleet.there("gate", False)
    fleet.run(2)
    be_away(fleet, 120)
    assert fleet.state() == ("running", None)
    fleet.there("gate", True)
    fleet.run(3)
    assert fleet.state() == ("running", None) and fleet.with_it() == {"gate"}


@pytest.mark.parametrize("name", ["gate", "another"])
def test_a_device_that_is_revoked_is_nobody_s_to_wait_for_and_no_fault(fleet, name):
    fleet.begin()
    fleet.run(64)
    name = name if name == "gate" else next(iter(fleet.with_it() - {"gate"}))
    revoke(fleet, name)
    fleet.run(200)
    assert fleet.state() == ("complete", None)
    assert {one for one in NAMES if fleet.devices[one].slots.state.least} == {*NAMES} - {name}


def test_a_device_that_is_revoked_while_it_fetches_holds_no_step_up(fleet):
    fleet.begin(settings=SETTINGS.model_copy(update={"shares": (1.0,)}))
    fleet.there("yard", False)
    fleet.run(64)
    assert fleet.with_it() == {*NAMES} - {"yard"}
    revoke(fleet, "yard")
    fleet.run(64)
    assert fleet.state() == ("complete", None)


def test_a_canary_that_is_revoked_stops_it(fleet):
    fleet.begin()
    revoke(fleet, "gate")
    fleet.run(1)
    assert fleet.state() == ("stopped", "no device of step 0 runs it: none of them is let in")


def test_what_a_person_wanted_while_the_hub_looked_is_what_holds(fleet, monkeypatch):
    fleet.begin()
    fleet.run(2)

    def looking(*_, **__) -> list[str]:
        fleet.end("stopped")
        return ["gate is silent"]

    monkeypatch.setattr(wellness, "faults", looking)
    look(fleet)
    assert fleet.state() == ("stopped", "ben wanted it")
    assert events(fleet) == [("started", "anna"), ("stopped", "ben")]


def test_what_the_hub_did_while_a_person_looked_is_what_holds(fleet, monkeypatch):
    fleet.begin()
    with fleet.scene.writing() as connection:
        seen = rollouts.newest(connection)
    fleet.end("back")
    rows = iter([seen])
    real = rollouts.newest
    monkeypatch.setattr(rollouts, "newest", lambda connection: next(rows, None) or real(connection))
    with pytest.raises(ValueError, match=r"v1\.2\.0 is back by now; look at it, then decide again"):
        fleet.end("stopped")
    assert fleet.state() == ("back", "ben wanted it") and len(events(fleet)) == 2


def test_of_two_who_start_at_once_one_does(fleet, monkeypatch):
    real = rollouts._in_order

    def meanwhile(*args) -> list[str]:
        monkeypatch.setattr(rollouts, "_in_order", real)
        fleet.begin()
        return real(*args)

    monkeypatch.setattr(rollouts, "_in_order", meanwhile)
    with pytest.raises(ValueError, match="another one is being rolled out; `gunshot hub rollout stop` ends that"):
        fleet.begin(3)
    assert [row.number for row in fleet.scene.rows(ROLLOUT)] == [2]


def test_the_one_that_runs_is_the_one_that_a_person_ends_whatever_the_clock_said(fleet):
    fleet.begin()
    fleet.end("stopped")
    fleet.now -= timedelta(hours=1)  # the clock was set back
    fleet.begin(3)
    fleet.run(2)
    assert fleet.with_it() == {"gate"}
    fleet.end("back")
    assert {row.number: row.state for row in fleet.scene.rows(ROLLOUT)} == {2: "stopped", 3: "back"}
    fleet.run(2)
    assert fleet.with_it() == set()


def test_after_thirty_days_nothing_is_sent_and_a_person_is_told_so(fleet):
    fleet.begin()
    fleet.run(2)
    fleet.end("stopped")
    fleet.now += rollouts.GOOD_FOR
    with pytest.raises(ValueError, match=r"v1\.2\.0: what was signed has expired; start a new roll-out"):
        fleet.end("back")
    fleet.begin(3, content=image(b"another"))
    fleet.run(2)
    fleet.now += rollouts.GOOD_FOR
    fleet.listening_since = fleet.now
    assert look(fleet) == [] and fleet.state() == ("stopped", "what was signed has expired")


def test_steps_that_take_longer_than_what_is_signed_is_good_for_are_refused(fleet):
    longest = rollouts.GOOD_FOR.total_seconds() / 3
    fits = SETTINGS.model_copy(update={"patience_s": longest - SETTINGS.watch_s})
    with pytest.raises(ValueError, match="of all steps are 2592003 s, and must be 2592000 s at most"):
        fleet.begin(settings=fits.model_copy(update={"patience_s": fits.patience_s + 1}))
    fleet.begin(settings=fits)


def test_drills_and_what_was_withdrawn_are_no_fault_of_the_image(fleet):
    fleet.begin()
    fleet.run(2)
    fleet.scene.case(1, fleet.now, ("yard",), exercise=True)
    fleet.hear("gate", 20, case=1)
    fleet.hear("gate", 20)
    withdrawn = INCIDENT.c.device == "gate", INCIDENT.c.case.is_(None)
    with fleet.scene.writing() as connection:
        connection.execute(sql.update(INCIDENT).where(*withdrawn).values(state=int(State.WITHDRAWN)))
    fleet.run(62)
    assert fleet.state()[0] == "running" and len(fleet.with_it()) == 2


def test_a_loud_device_is_found_whatever_its_clock_says(fleet):
    fleet.begin()
    fleet.run(2)
    fleet.hear("gate", 20)
    with fleet.scene.writing() as connection:
        connection.execute(sql.update(INCIDENT).values(latest_us=INCIDENT.c.latest_us - 86_400_000_000))
    fleet.run(1)
    assert fleet.state()[0] == "back" and fleet.state()[1].startswith("gate has 20 incidents")


def test_what_a_device_heard_in_another_roll_out_of_the_same_image_is_not_counted(fleet):
    fleet.begin()
    fleet.run(2)
    fleet.end("stopped")
    fleet.hear("gate", 20)
    fleet.begin()  # it runs it already
    fleet.run(10)
    assert fleet.state()[0] == "running" and fleet.devices["gate"].session == 2
    fleet.hear("gate", 8)
    fleet.run(1)
    assert fleet.state()[0] == "running"
    fleet.hear("gate", 1)
    fleet.run(1)
    assert fleet.state() == ("back", "gate has 9 incidents in 0.2 h, more than 2 an hour")


def test_where_nobody_is_to_be_told_anything_no_session_is_looked_at(fleet):
    fleet.begin()
    fleet.run(2)
    asked = []
    sql.event.listen(fleet.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    assert look(fleet) == []
    assert asked and not [one for one in asked if f"max({SESSION.name}.session)" in one]
