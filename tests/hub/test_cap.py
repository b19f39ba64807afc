"""Cases as CAP 1.2: what its standard demands of a message (chapter 3.2, and the notes of 3.3)."""

import re
from xml.etree import ElementTree

import pytest
import sqlalchemy as sql

from gunshot.device.messages import State
from gunshot.hub import cap, database
from gunshot.hub.cap import Kind
from tests.hub.test_fusion import a_message, take
from tests.hub.test_places import engine, heard_s, place  # noqa: F401 - a fixture

SPACE = "{urn:oasis:names:tc:emergency:cap:1.2}"
# The elements in the order that the schema's sequences demand; those without a question mark must be there.
ALERT = (
    "identifier sender sent status msgType source? scope restriction? addresses? code? note? references? "
    "incidents? info"
)
INFO = (
    "language? category event responseType? urgency severity certainty audience? eventCode? effective? onset? expires? "
    "senderName? headline? description? instruction? web? contact? parameter? resource? area"
)
AREA = "areaDesc polygon? circle? geocode? altitude? ceiling?"
WORDS = {
    "status": "Actual Exercise System Test Draft", "msgType": "Alert Update Cancel Ack Error",
    "scope": "Public Restricted Private", "urgency": "Immediate Expected Future Past Unknown",
    "category": "Geo Met Safety Security Rescue Fire Health Env Transport Infra CBRNE Other",
    "responseType": "Shelter Evacuate Prepare Execute Avoid Monitor Assess AllClear None",
    "severity": "Extreme Severe Moderate Minor Unknown", "certainty": "Observed Likely Possible Unlikely Unknown",
}  # fmt: skip
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[-+]\d\d:\d\d"
NUMBER = r"-?\d+(\.\d+)?"


def message(engine: sql.Engine, kind: Kind = Kind.alert, number: int = 1) -> dict[str, str]:  # noqa: F811
    """The texts of a case's message by name, after a look at what the standard demands."""
    with engine.connect() as connection:
        root = ElementTree.fromstring(cap.message(connection, number, kind, sender="hub.example"))
    assert root.tag == SPACE + "alert"
    texts = {}
    for name, order in (("", ALERT), ("info", INFO), ("info/area", AREA)):
        parent = root.find("/".join(SPACE + part for part in name.split("/"))) if name else root
        names = [one.tag.removeprefix(SPACE) for one in parent]
        pattern = " ".join(f"({part.rstrip('?')}){'?' * part.endswith('?')}" for part in order.split())
        assert re.fullmatch(pattern.replace(" ", " ?"), " ".join(names)), names
        texts |= {one.tag.removeprefix(SPACE): one.text for one in parent if not len(one)}
    assert all(texts[name] in words.split() for name, words in WORDS.items())
    assert all(re.fullmatch(TIME, texts[name]) for name in ("sent", "onset") if name in texts)
    assert not any(set(texts[name]) & set(" ,<&") for name in ("identifier", "sender"))
    assert texts["scope"] != "Restricted" or texts["restriction"]
    if "references" in texts:
        assert re.fullmatch(f"[^ ,]+,[^ ,]+,{TIME}", texts["references"])
    if "polygon" in texts:
        points = texts["polygon"].split()
        assert len(points) >= 4 and points[0] == points[-1]
        assert all(re.fullmatch(f"{NUMBER},{NUMBER}", point) for point in points)
    return texts


def test_an_alert_an_update_and_a_cancel_of_one_case(engine):  # noqa: F811
    for device in range(3):
        take(engine, a_message(device, heard_s(device)), late_s=2 + device)
    place(engine)
    alert = message(engine)
    assert (alert["status"], alert["msgType"], alert["event"]) == ("Actual", "Alert", "Possible gunfire")
    assert alert["sent"] == "2026-03-01T12:00:03-00:00" and alert["onset"] == "2026-03-01T12:00:00-00:00"
    latitude, longitude = map(float, alert["polygon"].split()[0].split(","))
    assert abs(latitude - 100 / 110_574) < 1e-3 and abs(longitude - 120 / 111_320) < 1e-3
    assert "note" not in alert and "references" not in alert
    take(engine, a_message(0, 0.0, sequence=1, state=State.CLOSED, shots=3), late_s=9)
    update, cancel = message(engine, Kind.update), message(engine, Kind.cancel)
    assert message(engine) == alert | {"description": update["description"]}
    assert update["sent"] == "2026-03-01T12:00:09-00:00" and "heard: 3" in update["description"]
    assert update["references"] == cancel["references"] == f"hub.example,{alert['identifier']},{alert['sent']}"
    assert len({each["identifier"] for each in (alert, update, cancel)}) == 3
    assert (cancel["msgType"], cancel["responseType"], cancel["urgency"]) == ("Cancel", "AllClear", "Past")


def test_a_drill_says_so_and_what_has_no_place_names_the_site(engine):  # noqa: F811
    with engine.begin() as connection:
        connection.execute(sql.update(database.SITE).values(exercise=True))
    for device in range(2):
        take(engine, a_message(device, heard_s(device), clock=None))
    place(engine)
    texts = message(engine)
    assert (texts["status"], texts["note"], texts["areaDesc"]) == ("Exercise", "A drill at yard", "site yard")
    assert "polygon" not in texts and "onset" not in texts and "Place not known" in texts["description"]


def test_what_alerts_nobody_has_no_message(engine):  # noqa: F811
    take(engine, a_message(0, 0.0))
    for number, words in ((1, "case=1 must be raised; it is near"), (2, "case=2 must be there")):
        with pytest.raises(ValueError, match=words):
            message(engine, number=number)
    with engine.begin() as connection:
        connection.execute(sql.update(database.CASE).where(database.CASE.c.number == 1).values(merged_into=1))
    with pytest.raises(ValueError, match="it is merged into 1"):
        message(engine)
