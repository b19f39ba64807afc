"""The console's pages in a real browser: live, at night and on a phone, no violation of its CSP."""

import contextlib
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from gunshot.device.messages import Near
from gunshot.hub.console.decisions import Kind
from gunshot.hub.console.roles import Role
from gunshot.hub.database import DECISION
from tests.hub.console import AT, HOUR, SR, Scene, bang, running
from tests.pages.conftest import chromium, new_page  # noqa: F401 - fixtures

pytestmark = pytest.mark.slow
PHONE = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "device_scale_factor": 2}
COUNT = """
  window.tones = 0
  const {start} = OscillatorNode.prototype
  OscillatorNode.prototype.start = function (...when) { window.tones += 1; return start.apply(this, when) }
"""
ZONE = {"ignore_https_errors": True, "timezone_id": "Europe/Berlin"}


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    return Scene(tmp_path_factory.mktemp("page") / "hub")


@pytest.fixture(scope="module")
def url(scene):
    with running(scene) as url:
        yield url


@pytest.fixture(scope="module")
def anna(scene, url, chromium) -> dict:  # noqa: F811
    """Anna's browser, who has logged in by the form, once."""
    password = scene.person("anna", Role.reviewer)
    with contextlib.closing(chromium.new_context(**ZONE)) as context:
        page = context.new_page()
        page.goto(url)
        for tried in ("a guess", password):
            page.get_by_label("Name").fill("anna")
            page.get_by_label("Password").fill(tried)
            page.get_by_role("button", name="Log in").click()
            if tried != password:
                expect(page.get_by_role("alert")).to_have_text("name or password is wrong")
        expect(page.get_by_role("heading", name="Possible gunfire")).to_be_visible()
        return context.storage_state()


@pytest.fixture
def open_page(url, anna, new_page):  # noqa: F811
    """Return a function that opens one of the console's pages as anna."""

    def open_(path: str = "/", before: str = "", **options):
        page = new_page(storage_state=anna, **ZONE | options)
        page.add_init_script(before)
        page.goto(url + path)
        return page

    return open_


def test_a_case_arrives_is_acknowledged_and_confirmed(scene, open_page):
    page, other = open_page(), open_page()
    expect(page.get_by_text("No case.")).to_be_visible()
    page.evaluate("window.same = true")
    scene.case(1, datetime.now(UTC), ("gate", "yard"))
    row = page.locator("[data-case='1']")
    expect(row).to_contain_text("2 of 3 devices")
    expect(page.get_by_role("alert")).to_contain_text("1 not acknowledged: case 1, school")
    expect(page).to_have_title("(1) Cases - gunshot")
    assert page.evaluate("window.same")  # it is the same page
    page.get_by_role("link", name="case 1, school").click()
    page.get_by_role("button", name="Acknowledge").click()
    expect(other.locator("[data-case='1']")).to_contain_text("acknowledged")
    expect(other.get_by_role("alert")).to_have_count(0)
    page.get_by_label("Note").fill("<img src=x onerror=alert(1)> police called")
    page.get_by_role("button", name="Confirm gunfire").click()
    expect(page.locator(".history")).to_contain_text(
        "anna confirmed: gunfire<img src=x onerror=alert(1)> police called"
    )
    expect(page.locator(".history")).to_contain_text("the hub got it: possible gunfire")
    expect(page.locator(".facts")).to_contain_text(re.compile(r"To decide\d+ (s|min)"))
    expect(other.locator("[data-case='1']")).to_contain_text("confirmed")
    expect(other.locator("#live")).to_contain_text(re.compile(r"Half were acknowledged within \d+ .*, decided within"))


def test_a_case_is_dismissed_and_a_note_outlives_what_others_do(scene, open_page):
    scene.case(2, datetime.now(UTC), ("gate", "roof-north"), exercise=True)
    page, other = open_page("/cases/2"), open_page("/cases/2")
    expect(page.get_by_role("heading", name="Possible gunfire DRILL")).to_be_visible()
    page.get_by_label("Note").fill("boys behind the gym")
    other.get_by_role("button", name="Acknowledge").click()
    expect(page.locator(".history")).to_contain_text("anna acknowledged it")
    page.get_by_label("What it was").select_option("fireworks")
    page.get_by_role("button", name="Dismiss").click()
    expect(other.locator(".lead")).to_contain_text("dismissed: fireworks")
    expect(other.locator("blockquote")).to_have_text("boys behind the gym")
    rows = [(row.kind, row.label, row.note) for row in scene.rows(DECISION) if row.case == 2]
    assert rows == [("acknowledge", None, None), ("dismiss", "fireworks", "boys behind the gym")]


def test_the_page_says_that_it_cannot_be_heard_until_one_clicks(scene, open_page):
    page = open_page(before=COUNT)
    expect(page.locator("#mute")).to_contain_text("Sound is off")
    page.get_by_role("button", name="Test the sound").click()
    expect(page.locator("#mute")).to_contain_text("Sound is on")
    page.wait_for_function("() => window.tones >= 4")
    scene.case(3, datetime.now(UTC), ("gate", "yard"))
    page.wait_for_function("() => window.tones >= 8")  # it came
    page.wait_for_function("() => window.tones >= 12")  # and nobody has acknowledged it
    scene.decide(3, "anna", Kind.acknowledge, datetime.now(UTC))
    expect(page.locator("#waiting")).to_be_hidden()


def test_the_page_says_when_nothing_comes_any_more(open_page):
    page = open_page()
    page.clock.install()
    page.reload()
    expect(page.locator("#lost")).to_be_hidden()
    page.clock.fast_forward(20_000)  # without an event
    expect(page.locator("#lost")).to_be_visible()
    expect(page.locator("#lost")).to_be_hidden()  # the next one is there


@pytest.fixture(scope="module")
def full(scene, anna) -> Scene:
    """A scene of a night: cases of all states, a device that is deaf since a day, one that is not there."""
    now = datetime.now(UTC)
    rng = np.random.default_rng(1)
    scene.case(11, now - HOUR, ("gate", "yard", "roof-north"), place=True, shots=7)
    scene.case(12, now - 2 * HOUR, ("fountain",), site="park", shots=1)
    scene.case(13, now - 3 * HOUR, ("gate",), raised=False, shots=1)
    scene.case(14, now - 5 * HOUR, ("gate", "yard"), shots=12)
    scene.case(15, now - 6 * HOUR, ("gate", "roof-north"), exercise=True)
    pcm = np.random.default_rng(2).integers(-300, 300, 4 * SR).astype(np.int16)
    scene.order(11, "gate", now - HOUR, state="complete", pcm=pcm)
    scene.judge(11, "gate", score=0.93, upheld=True, profile="5d0cf2b1a7e94c36")
    scene.judge(11, "yard", score=0.11, upheld=False)
    scene.order(11, "yard", now - HOUR, state="refused", note="span: it is gone")
    scene.decide(14, "anna", Kind.dismiss, now - 5 * HOUR + timedelta(seconds=41), label="fireworks")
    scene.decide(15, "anna", Kind.confirm, now - 6 * HOUR + timedelta(seconds=95))
    codes = np.clip(bang(71) * 90 - 100, -128, 127).astype(np.int8)
    for name in AT:
        scene.session(name, online=name != "yard", heard_at=now)
        levels = {}
        for hours in range(15 * 24):
            at = now - hours * HOUR - timedelta(minutes=5)
            day = 8 * np.sin((at.hour - 9) / 24 * 2 * np.pi) - 22 * (name == "gate" and hours < 24)
            levels[at] = 48 + day + 1.5 * rng.standard_normal()
        scene.heartbeats(name, levels, near=Near(3, 47_841), log_mel=codes)
    return scene


def picture(page, name: str, folder: Path) -> None:
    """Take a picture of a page that has its first event, and all that it shows; `make pictures` keeps it."""
    expect(page.locator("#waiting")).to_be_visible()
    page.wait_for_function("() => [...document.images].every((image) => image.complete && image.naturalWidth)")
    file = Path(os.environ.get("PICTURES", folder)) / f"{name}.png"
    page.screenshot(path=file)
    assert file.stat().st_size > 20_000


@pytest.mark.parametrize("path", ["/", "/cases/11", "/devices"])
def test_on_a_phone_at_night_a_page_fits_and_is_dark_as_in_the_documentation(full, open_page, tmp_path, path):
    page = open_page(path, **PHONE)
    expect(page.locator("#waiting")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["viewport"]["width"]
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", dark))) < 40, dark
    for button in page.get_by_role("button").all():
        assert button.bounding_box()["height"] >= 30  # a finger's
    if path == "/":
        picture(page, "console_phone", tmp_path)


def test_devices_tell_who_is_deaf_and_who_is_gone_as_in_the_documentation(full, open_page, tmp_path):
    page = open_page("/devices", viewport={"width": 1100, "height": 900})
    gate, yard = (page.locator(f"[data-device={name}]") for name in ("gate", "yard"))
    expect(gate).to_contain_text(re.compile(r"perhaps deaf: the noise of the last day is 2\d dB below"))
    expect(gate).to_contain_text("0000000000c0ffee")
    expect(yard).to_contain_text("not there")
    expect(yard).not_to_contain_text("deaf")
    picture(page, "console_devices", tmp_path)


def test_a_case_has_its_place_on_a_map_that_asks_nobody_as_in_the_documentation(full, open_page, tmp_path):
    page = open_page("/cases/11", viewport={"width": 1100, "height": 1600})
    expect(page.locator("path.at-device")).to_have_count(3)
    expect(page.locator("path.at-case")).to_have_count(2)  # its place and its ellipse
    expect(page.locator("#map")).to_contain_text("roof-north")
    expect(page.locator("#where")).to_contain_text("yard is left out: late by 42 ms")
    assert page.evaluate("document.querySelector('audio').readyState") == 0  # nothing is fetched that nobody plays
    picture(page, "console_case", tmp_path)
