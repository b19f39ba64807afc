"""A roll-out's steps: who gets the image when, what stops it, what takes it back, and what a person may do."""

import re
import shutil
import warnings

import pytest
import sqlalchemy as sql

from gunshot.device import releases
from gunshot.device.orders import SIGNATURE
from gunshot.device.releases import Offer, Report, Stage
from gunshot.hub import audit, database, rollouts
from gunshot.hub.console import app
from gunshot.hub.console.decisions import Kind
from gunshot.hub.console.roles import Role
from gunshot.hub.database import DEVICE, REFUSED, ROLLOUT_DEVICE, SESSION
from gunshot.hub.folder import Rollout
from tests.device.images import HUB, OPERATOR, PARAMS, image, manifest
from tests.flows.prefect_server import postgresql
from tests.hub.fleet import MINUTE, MODEL, NAMES, NOW, SETTINGS, Fleet

with warnings.catch_warnings(action="ignore"):  # it would rather have another library
    from fastapi.testclient import TestClient
AT_ONCE = SETTINGS.model_copy(update={"shares": (1.0,), "patience_s": 7200.0})  # after the canary
pytestmark = pytest.mark.slow


def entries(fleet: Fleet) -> list[tuple[str, str]]:
    with fleet.scene.writing() as connection:
        assert [fault for fault in audit.faults(connection) if not fault.startswith("table device")] == []
        return [(one["event"], one.get("by")) for one in audit.listing(connection) if one["kind"] == "rollout"]


def test_a_canary_then_shares_then_all_keep_it(fleet):
    fleet.begin()
    fleet.run(2)
    assert fleet.with_it() == {"gate"} and fleet.state() == ("running", None)
    fleet.run(58)
    assert fleet.with_it() == {"gate"}
    fleet.run(5)
    assert len(fleet.with_it()) == 2  # 0.4 of four devices
    fleet.run(61)
    assert fleet.with_it() == set(NAMES) and fleet.state()[0] == "running"
    assert all(one.slots.state.trial for one in fleet.devices.values())
    fleet.run(62)
    assert fleet.state() == ("complete", None)
    assert all(one.slots.state.least == 2 and not one.slots.state.trial for one in fleet.devices.values())
    assert {(row.image, row.release) for row in fleet.scene.rows(SESSION) if row.session == 2} == {(2, "v1.2.0")}
    assert entries(fleet) == [("started", "anna"), ("complete", None)]
    fleet.begin(1)  # older than what they keep
    fleet.run(2)
    assert fleet.state()[0] == "stopped" and "gate: older: number 1 must be at least 2" in fleet.state()[1]


def test_what_is_signed_is_good_no_earlier_than_its_step(fleet):
    """Who steals it all at the start cannot have it kept before each step could have been watched."""
    id = fleet.begin()
    with fleet.scene.writing() as connection:
        rows = connection.execute(sql.select(ROLLOUT_DEVICE).where(ROLLOUT_DEVICE.c.rollout == id)).all()

    def hours(signed: bytes) -> float:
        said = Offer.decode(releases.decode(signed)[1][SIGNATURE:])
        return (said.not_before_us / 1e6 - NOW.timestamp()) / 3600

    earliest = {row.step: [hours(one) for one in (row.install, row.keep, row.back)] for row in rows}
    assert earliest == {0: [0, 3, 0], 1: [1, 3, 0], 2: [2, 3, 0]}


@pytest.mark.parametrize("steps", [{1}, {1, 2}])
def test_where_all_of_a_step_are_revoked_nothing_comes_before_it_is_good(fleet, steps):
    """What is signed counts the hour of each step that had devices at the start; the fleet looks at each offer."""
    id = fleet.begin()
    fleet.run(10)
    with fleet.scene.writing() as connection:
        gone = {one.device for one in rollouts.devices(connection, id) if one.step in steps}
        connection.execute(sql.update(DEVICE).where(DEVICE.c.name.in_(gone)).values(revoked_at=fleet.now))
    fleet.run(100)
    assert fleet.with_it() == {"gate"} and fleet.state() == ("running", None)
    fleet.run(60)
    assert fleet.with_it() == set(NAMES) - gone and fleet.state() == ("running", None)
    fleet.run(30)
    assert fleet.state() == ("complete", None) and fleet.devices["gate"].slots.state.least == 2


def test_a_loud_canary_takes_it_back_and_no_other_gets_it(fleet):
    fleet.begin()
    fleet.run(10)
    fleet.hear("gate", 8)
    fleet.run(2)
    assert fleet.state()[0] == "running"
    fleet.hear("gate", 1)
    fleet.run(2)
    state, why = fleet.state()
    assert state == "back" and why == "gate has 9 incidents in 0.2 h, more than 2 an hour"
    assert fleet.with_it() == set() and fleet.devices["gate"].slots.state.kept is None
    fleet.run(200)
    assert fleet.with_it() == set() and entries(fleet) == [("started", "anna"), ("back", None)]
    assert all(one.session == 1 + 2 * (one.name == "gate") for one in fleet.devices.values())


def test_incidents_that_persons_confirmed_are_no_fault_of_the_image(fleet):
    fleet.scene.person("anna", Role.reviewer)
    fleet.begin()
    fleet.run(2)
    fleet.scene.case(1, fleet.now, ("yard",))
    fleet.hear("gate", 20, case=1)
    fleet.scene.decide(1, "anna", Kind.confirm, fleet.now)
    fleet.run(62)
    assert fleet.state()[0] == "running" and len(fleet.with_it()) == 2


def test_a_device_that_falls_silent_takes_it_back_from_all_also_from_one_that_is_away(fleet):
    fleet.begin()
    fleet.run(64)
    (second,) = fleet.with_it() - {"gate"}
    fleet.there(second, False)
    fleet.run(20)
    assert fleet.state()[0] == "running" and len(fleet.with_it()) == 2
    fleet.run(15)
    assert fleet.state()[0] == "back" and fleet.state()[1].startswith(f"{second} is silent for ")
    assert fleet.with_it() == {second}
    fleet.begin(3, content=image(b"another"), canary="gate")
    fleet.there(second, True)
    fleet.run(2)
    assert fleet.with_it() == set() and fleet.devices["gate"].model == b"another"


def test_a_device_that_hears_nothing_is_silent_too(fleet):
    """It answers, and sends no message."""
    fleet.devices["gate"].is_quiet = True
    fleet.begin()
    fleet.run(35)
    assert fleet.state()[0] == "back" and fleet.state()[1].startswith("gate is silent for ")


def test_an_image_with_which_a_device_does_not_stay_up_is_taken_back_by_itself(fleet):
    fleet.devices["gate"].crashes = True
    fleet.begin()
    fleet.run(2)
    state, why = fleet.state()
    assert state == "back" and why == "gate took it back: in 3 starts the hub had no message of it"
    assert fleet.with_it() == set()


def test_a_canary_that_refuses_stops_it_and_another_device_that_does_is_said(fleet):
    other = PARAMS.replace(b"fmin: 100.0", b"fmin: 50.0")
    fleet.begin(content=image(MODEL, params=other))
    fleet.run(2)
    assert (
        fleet.state()[0] == "stopped" and "gate: params: features must be as this device has them" in fleet.state()[1]
    )
    for file in fleet.devices["yard"].folder.glob("operators/*"):
        file.unlink()
    fleet.devices["yard"].start()
    fleet.begin(settings=AT_ONCE)
    fleet.run(200)
    assert fleet.state()[0] == "complete" and fleet.with_it() == {*NAMES} - {"yard"}
    with fleet.scene.writing() as connection:
        notes = {one.device: one.note for one in rollouts.devices(connection, rollouts.newest(connection).id)}
    assert notes["yard"].startswith("operator: its manifest must be signed by one")


def test_a_device_that_is_away_holds_a_step_up_for_a_while_and_gets_it_when_it_is_there(fleet):
    for name in ("yard", "fountain", "roof-north"):
        fleet.there(name, False)
    fleet.begin(settings=SETTINGS.model_copy(update={"patience_s": 7200.0}))
    fleet.run(120)
    assert fleet.state()[0] == "running" and fleet.with_it() == {"gate"}
    fleet.run(90)
    assert fleet.state()[0] == "stopped" and "no device of step 1 runs it" in fleet.state()[1]
    fleet.there("yard", True)
    fleet.there("fountain", True)
    fleet.begin(settings=AT_ONCE)
    fleet.run(280)
    assert fleet.state()[0] == "complete" and fleet.with_it() == {"gate", "yard", "fountain"}
    fleet.there("roof-north", True)
    fleet.run(3)
    assert fleet.with_it() == set(NAMES) and fleet.devices["roof-north"].slots.state.least == 2


def test_a_device_that_lost_the_image_before_it_kept_it_gets_it_anew(fleet):
    fleet.begin(settings=AT_ONCE)
    fleet.run(3)
    gate = fleet.devices["gate"]
    fleet.there("gate", False)
    fleet.now += 120 * MINUTE  # in which both steps were watched
    with fleet.scene.writing() as connection:
        rollouts._set(connection, rollouts.newest(connection), fleet.now, state="complete")
    shutil.rmtree(gate.folder / "images")
    gate.start()
    assert gate.model is None
    fleet.there("gate", True)
    fleet.run(3)
    assert gate.model == MODEL and gate.slots.state.least == 2 and gate.slots.state.trial is None


def test_a_person_stops_it_takes_it_back_or_begins_again(fleet):
    fleet.begin()
    fleet.run(2)
    with pytest.raises(ValueError, match=r"v1\.2\.0 is being rolled out; `gunshot hub rollout stop` ends that"):
        fleet.begin(3)
    fleet.end("stopped")
    fleet.run(100)
    assert fleet.with_it() == {"gate"} and fleet.state() == ("stopped", "ben wanted it")
    fleet.begin(canary="gate")
    fleet.run(64)
    assert len(fleet.with_it()) == 2
    assert fleet.devices["gate"].session == 2  # it ran it already
    fleet.end("back")
    fleet.run(2)
    assert fleet.with_it() == set() and fleet.state() == ("back", "ben wanted it")
    with pytest.raises(ValueError, match=r"v1\.2\.0 must be running or stopped, and is back; `gunshot rollback`"):
        fleet.end("back")
    assert entries(fleet) == [("started", "anna"), ("stopped", "ben"), ("started", "anna"), ("back", "ben")]


def test_what_is_no_roll_out_is_refused(fleet):
    with pytest.raises(ValueError, match="nothing was rolled out yet"):
        fleet.end("back")
    fleet.there("yard", False)
    refused = {
        "must be signed by an operator": {"key": HUB},
        "no device takes images for mps2-an386; `gunshot device bridge` does": {"hardware": "mps2-an386"},
        "an image must be a zip": {"content": b"no zip"},
        "canary=cellar must be a device that takes images": {"canary": "cellar"},
        "canary=yard must be .*, and is there: fountain, gate, roof-north$": {"canary": "yard"},
        "person=' ' must say something": {"person": " "},
        "reason='xxxxxxxxxxxxxxxxxxxx' must": {"reason": "x" * 201},
    }
    for words, more in refused.items():
        with pytest.raises(ValueError, match=words):
            fleet.begin(**more)
    assert fleet.scene.rows(database.ROLLOUT) == []
    with fleet.scene.writing() as connection:
        connection.execute(sql.update(SESSION).values(capabilities=["sound"]))
    with pytest.raises(ValueError, match="no device takes images for linux"):
        fleet.begin()


@pytest.mark.parametrize("hardware", ["linux", "mps2-an386"])
def test_an_image_that_no_device_would_take_is_too_large_for_a_roll_out(hardware):
    content = bytes(releases.MOST_BYTES + 1)
    with pytest.raises(ValueError, match=f"image={len(content)} bytes must be {releases.MOST_BYTES} at most"):
        rollouts.Image(content, manifest(content, device=hardware)).checked([OPERATOR.public_key()])


def test_a_roll_out_is_for_one_class_and_the_last_one_of_another_class_goes_on(fleet):
    fleet.there("yard", False)
    fleet.begin(settings=AT_ONCE)
    fleet.run(280)
    assert fleet.state() == ("complete", None) and "yard" not in fleet.with_it()
    with fleet.scene.writing() as connection:  # as a board's bridge has it
        is_it = SESSION.c.device == "fountain"
        connection.execute(sql.update(SESSION).where(is_it).values(capabilities=["image:mps2-an386"]))
    id = fleet.begin(3, content=b"for a board", hardware="mps2-an386", canary="fountain")
    fleet.there("yard", True)
    fleet.run(3)
    with fleet.scene.writing() as connection:
        (one,) = rollouts.devices(connection, id)
    assert (one.device, one.note) == ("fountain", "hardware: it is for mps2-an386, and this is linux")
    assert "yard" in fleet.with_it()


def test_what_a_device_says_of_no_roll_out_of_its_own_is_refused(fleet):
    id = fleet.begin()
    fleet.run(1)
    trial = Report(id=id, stage=Stage.trial).encode()
    said = [("cellar", trial), ("gate", trial.replace(id.encode(), b"0" * 32)), ("gate", rollouts.REPORT)]
    said += [("gate", wanting(id, releases.MOST_PARTS))]
    for device, one in [*said, ("gate", trial.replace(b"trial", b"great"))]:
        with fleet.scene.writing() as connection:
            assert rollouts.report(connection, device, one, now=fleet.now) is None
    assert len(fleet.scene.rows(REFUSED)) == 5
    with fleet.scene.writing() as connection:
        last = wanting(id, releases.MOST_PARTS - 1)
        assert rollouts.report(connection, "gate", last, now=fleet.now) is None  # this image has none
        assert rollouts.report(connection, "yard", wanting(id, 0), now=fleet.now) is None  # not yet


def wanting(id: str, part: int) -> bytes:
    """What a device says that wants a part, any number."""
    report = Report(id=id, stage=Stage.fetching, part=0)
    return report.model_copy(update={"part": part}).encode()


def test_on_postgresql_it_is_complete_and_no_part_that_is_asked_for_ends_the_hub(tmp_path):
    with postgresql() as url:
        fleet = Fleet(tmp_path, url=url.replace("+asyncpg", ""))
        id = fleet.begin(settings=AT_ONCE)
        fleet.run(2)
        for part in (releases.MOST_PARTS - 1, releases.MOST_PARTS, 2**31 // releases.PART, 2**32 - 1):
            with fleet.scene.writing() as connection:
                assert rollouts.report(connection, "gate", wanting(id, part), now=fleet.now) is None
        assert len(fleet.scene.rows(REFUSED)) == 3
        fleet.devices["gate"].installer.again()  # or it is fetching, as was said for it
        fleet.run(150)
        assert fleet.state() == ("complete", None) and fleet.with_it() == set(NAMES)
        fleet.begin(3, content=image(b"another"))
        fleet.run(2)
        fleet.hear("gate", 20)
        fleet.run(2)
        assert fleet.state() == ("back", "gate has 20 incidents in 0.0 h, more than 2 an hour")
        fleet.engine.dispose()


@pytest.mark.parametrize(
    "more", [{"shares": (0.5, 0.2, 1.0)}, {"shares": (0.5,)}, {"shares": (0.0, 1.0)}, {"shares": ()}, {"watch_s": 60.0}]
)
def test_what_are_no_settings(more):
    with pytest.raises(ValueError, match=r"rollout: (shares|watch_s)="):
        Rollout(**more)


@pytest.mark.parametrize("name", ["watch_s", "patience_s", "silent_s", "max_incidents_per_hour", "shares"])
def test_what_no_clock_can_count_is_refused(name):
    for value in (float("inf"), float("nan"), *([1e15] * name.endswith("_s"))):
        with pytest.raises(ValueError, match=rf"(?s){name}.*(finite|less than or equal)"):
            Rollout(**{name: (value, 1.0) if name == "shares" else value})


def test_a_device_that_is_well_must_not_count_as_silent():
    Rollout(silent_s=1200.0).check(heartbeat_s=600.0)
    with pytest.raises(ValueError, match=r"silent_s=1199 must be at least twice firmware\.heartbeat_s=600"):
        Rollout(silent_s=1199.0).check(heartbeat_s=600.0)


def test_the_page_of_the_devices_says_how_it_goes(fleet):
    password = fleet.scene.person("anna", Role.viewer)
    with TestClient(
        app.console(fleet.scene.folder, fleet.engine, host="localhost", sr=16_000, heartbeat_s=600.0),
        base_url="https://localhost",
    ) as browser:
        csrf = re.search(r'name="csrf" value="([^"]+)"', browser.get("/login").text)[1]
        browser.post("/login", data={"name": "anna", "password": password, "csrf": csrf})
        assert "Roll-out" not in browser.get("/devices").text
        fleet.begin()
        fleet.run(2)
        page = browser.get("/devices").text
        assert "Roll-out of <b>v1.2.0</b> by anna: <b>running</b>, step 1 of 3" in page
        assert "trial: gate<" in page and "not yet: fountain, roof-north, yard<" in page
        assert "v1.2.0, number 2<" in page
        fleet.hear("gate", 30)
        fleet.run(1)
        page = browser.get("/devices").text
        assert "<b>taken back</b>" in page and "gate has 30 incidents in 0.0 h, more than 2 an hour" in page
