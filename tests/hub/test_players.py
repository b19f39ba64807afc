"""Sound in the console, all parts real: a case arrives, its sound is asked for on its page, played, and heard live."""

import base64
import io
import itertools
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from playwright.sync_api import expect

from gunshot.hub import database
from gunshot.hub.console import people
from gunshot.hub.console.roles import Role
from tests.firmware.driven import p, shots
from tests.hub.console import Browser, running
from tests.hub.network import NAME, Network, be_a_microphone, forked, noise
from tests.pages.conftest import chromium, new_page  # noqa: F401 - fixtures

pytestmark = pytest.mark.slow
SR = p.audio.sr
PCM = shots([2.7], 6.0, seed=3)
LIVE_PARTS = 8  # half a second each
# Each part, and when it begins to be heard, s since 1970.
NOTE = """
  window.played = []
  const {decodeAudioData} = AudioContext.prototype
  AudioContext.prototype.decodeAudioData = async function (bytes) {
    const flac = btoa(String.fromCharCode(...new Uint8Array(bytes)))
    return Object.assign(await decodeAudioData.call(this, bytes), {flac})
  }
  const {start} = AudioBufferSourceNode.prototype
  AudioBufferSourceNode.prototype.start = function (when) {
    window.played.push([this.buffer.flac, Date.now() / 1000 + when - this.context.currentTime])
    return start.call(this, when)
  }
"""
FLAC = "async (url) => btoa(String.fromCharCode(...new Uint8Array(await (await fetch(url)).arrayBuffer())))"


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Iterator[Network]:
    network = Network(tmp_path_factory.mktemp("players") / "hub")
    with network.broker(), network.hub():
        yield network


@pytest.fixture
def page(network, new_page):  # noqa: F811
    """The console's list as anna sees it, who is a reviewer."""
    with database.opened(network.url) as engine, engine.begin() as connection:
        password = people.admit(connection, "anna", Role.reviewer, now=datetime.now(UTC))
    with running(network) as url, Browser(network, url) as browser:
        assert browser.log_in("anna", password).status_code == 303
        page = new_page(ignore_https_errors=True)
        page.context.add_cookies([{"name": each.name, "value": each.value, "url": url} for each in browser.cookies.jar])
        page.add_init_script(NOTE)
        page.goto(url)
        yield page
        page.context.close()


def test_the_sound_of_a_case_is_asked_for_played_and_heard_live(network, page, tmp_path):
    with forked(be_a_microphone, network.device, PCM, tmp_path / "times"):
        page.get_by_role("link", name=re.compile("case 1")).click()
        page.get_by_label("Why it is needed").fill("no second device")
        page.get_by_role("button", name="Ask for its sound").click()
        player = page.locator("audio")
        player.evaluate("(one) => one.play()")  # nothing is fetched before
        page.wait_for_function("() => document.querySelector('audio')?.duration > 0")
        (incident,), (order,) = network.rows(database.INCIDENT), network.rows(database.ORDER)
        assert (order["person"], order["reason"], order["state"]) == ("anna", "no second device", "complete")
        wanted = PCM[incident["onset"] - 2 * SR :][: round(order["seconds"] * SR)]
        assert np.abs(wanted).max() > 5000 and player.evaluate("(one) => one.duration") == len(wanted) / SR
        content = page.evaluate(FLAC, player.get_attribute("src"))
        assert np.array_equal(pcm(content), wanted)
        player.evaluate("(one) => { window.same = one; return one.play() }")
        page.evaluate("reload()")  # as when something comes
        assert player.evaluate("(one) => one === window.same && !one.paused")
        page.get_by_label("Why it is needed").fill("is anybody hurt?")
        page.get_by_role("button", name="Listen live").click()
        page.wait_for_function(f"() => window.played.length >= {LIVE_PARTS}")
        played = page.evaluate("window.played")
        expect(page.locator("#hearing")).to_have_text(f"You hear {NAME}, live.")
    delays = sorted(itertools.starmap(delay_of(tmp_path / "times"), played))
    print(
        f"live, from a sound to when it is heard: p50 {np.median(delays):.2f} s, p95 {np.quantile(delays, 0.95):.2f} s"
    )
    assert delays[0] > 0.5  # a part is heard after its last sample


def pcm(content: str) -> np.ndarray:
    """The samples of a FLAC file in base64."""
    return sf.read(io.BytesIO(base64.b64decode(content)), dtype="int16")[0]


def delay_of(times: Path):
    """Return a function: how long after it sounded a part of the noise begins to be heard, s."""
    firsts, at = np.array([line.split() for line in times.read_text().splitlines()], float).T
    blocks = [noise(i, int(firsts[1] - firsts[0])) for i in range(len(firsts))]
    heard = np.concatenate([PCM, *blocks]).tobytes()

    def delay(content: str, played: float) -> float:
        first = heard.index(pcm(content).tobytes()) // 2
        return played - np.interp(first, firsts, at)

    return delay
