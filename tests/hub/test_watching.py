"""Video on an order, all parts real: an RTSP server, a device, Mosquitto, the hub, the console, and Chromium."""

import contextlib
import dataclasses
import functools
import hashlib
import re
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from gunshot.device import messages
from gunshot.device.answers import Answers
from gunshot.device.bridge import Bridge
from gunshot.device.camera import Camera
from gunshot.device.link import Link
from gunshot.device.messages import Detector, Heartbeat
from gunshot.device.orders import MOST_S, Kind
from gunshot.device.outbox import Outbox
from gunshot.device.place import Place
from gunshot.device.topics import Birth
from gunshot.hub import database, folder, orders
from gunshot.hub.console import people
from gunshot.hub.console.roles import Role
from gunshot.signing import keys
from tests.device.filmed import PASSWORD, camera, pictures
from tests.firmware.driven import p, shots
from tests.flows.prefect_server import started
from tests.hub.console import COMMAND, ROOT, Browser, running
from tests.hub.network import NAME, Network, Sender, forked, kill, run_a_device
from tests.hub.waiting import until
from tests.pages.conftest import chromium, new_page  # noqa: F401 - fixtures

pytestmark = pytest.mark.slow
PCM = shots([2.7], 6.0, seed=3)
PLAYS = """(shown) => {
  const one = document.querySelector('video')
  return one?.videoWidth === 160 && one.currentTime > shown && one.getVideoPlaybackQuality().totalVideoFrames > 10
}"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("watching")


@pytest.fixture
def filming(place) -> Iterator[tuple]:
    with camera(place / "camera") as running:
        yield running


def secret_is_nowhere(network: Network) -> None:
    """But in the device's configuration."""
    files = [path for path in network.folder.parent.rglob("*") if path.is_file() and path.name != "device.yaml"]
    assert {"hub.sqlite", "orders.sqlite", "log"} <= {path.name for path in files}
    for path in files:
        assert PASSWORD.encode() not in path.read_bytes(), path


def test_video_comes_whole_over_a_broker_that_is_killed_meanwhile(filming, tmp_path):
    """Before the order, and after it, no connection reaches the camera."""
    one, _ = filming
    network = Network(tmp_path / "hub")
    network.give_camera(one.address)
    said, command = tmp_path / "said", (sys.executable, "-c", COMMAND, "hub", "order", "--reason", "a", "--person", "b")
    with contextlib.ExitStack() as stack:
        stack.enter_context(network.hub())
        sender = stack.enter_context(contextlib.closing(Sender(network.device, error_us=lambda: 1000)))
        with network.broker() as broker:
            sender.pump_until(lambda: network.rows(database.SESSION), "the hub knows the device")
            (session,) = network.rows(database.SESSION)
            assert "video" in session["capabilities"] and one.visits() == 0
            person = stack.enter_context(started(said, *command, network.folder, NAME, "--video", "3", cwd=ROOT))
            sender.pump_until(lambda: len(network.rows(database.PART)) >= 2, "some parts are stored")
            kill(broker)
        with network.broker():
            sender.pump_until(lambda: person.poll() is not None, "the command has ended")
            sender.pump_until(lambda: not len(sender.answers), "the device has no more of it")
    assert person.returncode == 0 and "3.0 of 3.0 s of video" in said.read_text()
    (video,), file = network.rows(database.VIDEO), Path(said.read_text().split()[-1])
    content = file.read_bytes()
    assert file.parent == network.folder / "sound" and video["file"] == file.name
    assert (video["bytes"], video["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert len(pictures(file)) > 8 and network.rows(database.PART) == []
    assert one.visits() == 1 and one.tracks() == ["track1"]
    secret_is_nowhere(network)


def test_video_goes_on_when_a_board_starts_again_and_ends_with_its_bridge(filming, tmp_path):
    one, _ = filming
    one.forget()
    network, opened = Network(tmp_path / "hub"), []
    network.give_camera(one.address)
    who, beat = Place.load(network.device), Heartbeat(1, 2, 0, *[0] * 10, detector=Detector(3, 4))

    def answers(birth: Birth) -> Answers:
        opened.append(Answers(network.device, birth, None, gate=None, camera=who.camera, error_us=lambda: 1000))
        return opened[-1]

    def camera_of(id: str) -> Camera:
        until(lambda: board.pump(0.05) or len(network.rows(database.PART)) > 1, "some of it is stored")
        return opened[0]._answers[id]._camera

    with network.broker(), network.hub(), contextlib.closing(Outbox(network.device)) as outbox:
        board = Bridge(
            network.device, who, outbox, functools.partial(Link, network.device, who.host, who.port, outbox), answers,
            sr=p.audio.sr, heartbeat_s=600.0,
        )  # fmt: skip
        with contextlib.closing(board):
            board.hear(messages.encode(beat), 0.0)
            until(lambda: board.pump(0.05) or network.rows(database.SESSION), "the hub knows the board")
            first = camera_of(ordered(network))
            board.hear(messages.encode(dataclasses.replace(beat, session=5)), 1.0)
            until(lambda: board.pump(0.05) or len(network.rows(database.SESSION)) > 1, "it knows of its second start")
            assert not first.is_done
            first._end = 0.0  # so the span ends now
            until(lambda: board.pump(0.05) or not len(opened[0]), "the hub has all of it")
            (order,), (video,) = network.rows(database.ORDER), network.rows(database.VIDEO)
            assert (order["state"], order["note"], one.visits()) == ("complete", None, 1)
            assert len(pictures(network.folder / "sound" / video["file"])) > 0
            second = camera_of(ordered(network))
    until(lambda: second.is_done, "the camera is closed")
    assert second.note == "" and len(opened) == 1  # it was closed, and did not end by itself


def ordered(network: Network) -> str:
    """An order for the device's video from now on, as long as can be; its id."""
    key, now = keys.load(folder.order_key(network.folder)), datetime.now(UTC)
    with database.opened(network.url) as engine, engine.begin() as connection:
        span = orders.of_time(now, MOST_S, kind=Kind.video)
        return orders.ask(connection, key, NAME, span, reason="a test", person="ada", now=now)


@pytest.fixture
def page(place, filming, new_page) -> Iterator[tuple]:  # noqa: F811
    """A hub with a device that has a camera, and the console's list as a reviewer sees it."""
    network = Network(place / "hub")
    network.give_camera(filming[0].address)
    with database.opened(network.url) as engine, engine.begin() as connection:
        password = people.admit(connection, "anna", Role.reviewer, now=datetime.now(UTC))
    with network.broker(), network.hub(), running(network) as url, Browser(network, url) as browser:
        assert browser.log_in("anna", password).status_code == 303
        page = new_page(ignore_https_errors=True)
        page.context.add_cookies([{"name": each.name, "value": each.value, "url": url} for each in browser.cookies.jar])
        page.goto(url)
        yield network, page, browser
        page.context.close()


def test_a_camera_is_watched_on_a_case_s_page_until_it_dies(filming, page):
    (one, server), (network, page, browser) = filming, page
    one.forget()
    with forked(run_a_device, network.device, PCM):
        page.get_by_role("link", name=re.compile("case 1")).click()
        page.get_by_label("Why it is needed").fill("is anybody hurt?")
        assert one.visits() == 0
        begun = time.monotonic()
        page.get_by_role("button", name="Watch its camera").click()
        page.wait_for_function("() => document.querySelector('video')?.currentTime > 0")
        print(f"from the button to the first picture: {time.monotonic() - begun:.1f} s")
        page.wait_for_function(PLAYS, arg=2)
        player = page.locator("video")
        player.evaluate("(one) => { window.same = one }")
        page.evaluate("reload()")  # as when something comes
        assert player.evaluate("(one) => one === window.same && !one.paused && one.muted")
        server.kill()
        expect(page.locator(".order")).to_contain_text("cut off: of its camera: it has ended")
        assert player.evaluate("(one) => one === window.same")
        page.wait_for_function("() => window.same.ended")
        page.get_by_label("Why it is needed").fill("once more")
        page.get_by_role("button", name="Watch its camera").click()
        expect(page.locator(".order").last).to_contain_text("refused: its camera shows nothing - Connection refused")
        expect(page.locator(".order").last.locator("video")).to_have_count(0)
    asked, (video,) = network.rows(database.ORDER), network.rows(database.VIDEO)
    (order,) = (one for one in asked if one["state"] == "cut off")
    assert (order["person"], order["reason"], order["seconds"]) == ("anna", "is anybody hurt?", 30.0)
    page.reload()
    player.evaluate("(one) => one.play()")  # nothing is fetched before
    page.wait_for_function("() => document.querySelector('video')?.duration > 2")
    player.evaluate("(one) => { one.currentTime = 2; return one.play() }")
    page.wait_for_function(PLAYS, arg=2.2)
    address = player.get_attribute("src")
    whole, end = browser.get(address), browser.get(address, headers={"Range": "bytes=100-"})
    assert hashlib.sha256(whole.content).hexdigest() == video["sha256"] and whole.headers["content-type"] == "video/mp4"
    assert end.status_code == 206 and end.content == whole.content[100:]
    assert np.ptp(pictures(network.folder / "sound" / video["file"])) > 200 and one.visits() == 1
    secret_is_nowhere(network)
