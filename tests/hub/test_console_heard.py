"""What the console shows of devices: what each heard and nearly heard, what a verifier thinks, how each is."""

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sql

from gunshot.device import messages
from gunshot.device.messages import Battery, Heartbeat, Near, Rung
from gunshot.hub.console import evidence
from gunshot.hub.console.roles import Role
from gunshot.hub.database import CLIP
from gunshot.hub.incidents import in_words
from tests.hub.console import SR, Browser, Scene, running

pytestmark = pytest.mark.slow
NOW = datetime.now(UTC)
DAY = timedelta(days=1)
NEAR = "/devices/gate/near.png"


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    scene = Scene(tmp_path_factory.mktemp("console") / "hub")
    scene.case(1, NOW - DAY, ("gate", "yard"))
    return scene


@pytest.fixture(scope="module")
def reviewer(scene):
    with running(scene) as url, Browser(scene, url) as browser:
        assert browser.log_in("anna", scene.person("anna", Role.reviewer)).status_code == 303
        yield browser


def test_a_second_opinion_stands_beside_what_a_device_heard(scene, reviewer):
    assert "Second opinion" not in reviewer.get("/cases/1").text
    scene.judge(1, "gate", score=0.91, upheld=True, profile="00000000000fab1e")
    scene.judge(1, "yard", score=0.08, upheld=False)
    id = scene.order(1, "gate", NOW, state="complete", pcm=np.zeros(SR, np.int16))
    judged = {"judged_at": NOW, "verifier": "00000000000decaf", "opinion": 655, "upheld": False}
    with scene.writing() as connection:
        connection.execute(sql.update(CLIP).where(CLIP.c.order == id).values(**judged))
    page = re.sub(r"<[^>]+>", "", reviewer.get("/cases/1").text)
    assert f"Second opinion: {in_words(True)} (0.91 of 1), on the device, by 0000000000facade." in page
    assert f"Second opinion: {in_words(False)} (0.08 of 1), on the device" in page
    assert "perhaps something else (0.01 of 1), on the ordered sound, by 00000000000decaf." in page
    assert page.count("by the site's profile 00000000000fab1e") == page.count("by the site's profile") == 1


def test_evidence_is_a_picture_as_large_as_the_log_mel(reviewer):
    png = reviewer.get("/evidence/gate/1/1.png")
    assert png.headers["content-type"] == "image/png" and png.content[:8] == b"\x89PNG\r\n\x1a\n"
    assert [int.from_bytes(png.content[i : i + 4], "big") for i in (16, 20)] == [71, 32]  # of IHDR


def test_devices_tell_near_misses_and_show_the_last_one(scene, reviewer):
    """A later heartbeat without one changes the count alone."""
    assert "Near misses" not in reviewer.get("/devices").text and reviewer.get(NEAR).status_code == 404
    codes = np.tile(np.arange(32, dtype=np.int8), (71, 1))
    scene.heartbeats("gate", {NOW - DAY: 50.0}, near=Near(2, 39321), log_mel=codes)
    scene.heartbeats("gate", {NOW: 50.0}, near=Near(7, 0))
    shown = re.sub(r"<.*?>", "", reviewer.get("/devices").text)
    assert "Near misses7; last 0.600" in shown
    assert reviewer.get(NEAR).content == evidence.png(codes)


def test_devices_tell_how_far_they_raised_their_threshold(scene, reviewer):
    assert "Threshold now" not in reviewer.get("/devices").text
    scene.heartbeats("gate", {NOW: 50.0}, rung=Rung(2, 3, 63900))
    shown = re.sub(r"<.*?>", "", reviewer.get("/devices").text)
    assert "Threshold now0.975, rung 2 of 3, raised by itself" in shown and "hears less: many incidents" in shown
    scene.heartbeats("gate", {NOW + timedelta(minutes=1): 50.0}, rung=Rung(0, 3, 63000))
    shown = re.sub(r"<.*?>", "", reviewer.get("/devices").text)
    assert "rung 0 of 3" in shown and "by itself" not in shown and "hears less: many" not in shown


def test_devices_tell_how_full_their_battery_is(scene, reviewer):
    assert "Battery" not in reviewer.get("/devices").text
    for minute, (percent, is_told) in enumerate([(57, False), (0, True)]):
        scene.heartbeats("gate", {NOW + timedelta(minutes=2 + minute): 50.0}, battery=Battery(percent))
        shown = re.sub(r"<.*?>", "", reviewer.get("/devices").text)
        assert f"Battery{percent} %" in shown and ("nearly empty: 0 %" in shown) == is_told


def test_an_odd_heartbeat_shows_no_near_miss_and_harms_no_page(scene, reviewer, monkeypatch):
    """A message may have a log-mel alone, or none or an empty one and be as long as if it had one."""
    codes = np.zeros((71, 32), np.int8)
    more = messages.FIELDS[Heartbeat] | {99: ("near", lambda _: bytes(600), None)}  # a field that nobody knows
    for hour, odd in enumerate(({"log_mel": codes}, {"near": Near(3, 1)}, {"near": Near(3, 1), "log_mel": codes[:0]})):
        with monkeypatch.context() as patch:
            patch.setitem(messages.FIELDS, Heartbeat, more)
            scene.heartbeats("fountain", {NOW - DAY + timedelta(hours=hour): 50.0}, **odd)
        scene.heartbeats("fountain", {NOW: 50.0}, near=Near(3, 0))
        page = reviewer.get("/devices")
        assert page.status_code == 200 and "/devices/fountain/near.png" not in page.text, odd
        assert reviewer.get("/devices/fountain/near.png").status_code == 404, odd
