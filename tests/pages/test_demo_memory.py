"""gunshot demo listens without growing: what a microphone would bring in half an hour, as fast as the page takes it."""

import base64
import math
import time
from typing import NamedTuple

import numpy as np
import psutil
import pytest
import soundfile as sf

from gunshot.base import params
from gunshot.pages.demo import shots
from tests.pages.demo import ROOT, Server, Visitor, microphone

pytestmark = pytest.mark.firmware

P = params.load("audio", "features", "detector", path=ROOT / "params.yaml")
SR, WINDOW = P.audio.sr, P.detector.hop * P.features.hop_length  # samples from window to window
PERIOD = math.ceil((P.detector.cooldown_s + 0.5) * SR / WINDOW) * WINDOW  # samples, after which an incident is closed
MOST, MORE = 100, 30  # incidents that the page lists, as in incidents.js, and that come once it is full
MINUTES = 30  # that it listens
# From here on the test is what brings the microphone's blocks.
TAKEN = """() => {
  const Node = AudioWorkletNode;
  window.AudioWorkletNode = class extends Node {
    constructor(...given) {
      super(...given);
      window.ear = this;
    }
  };
}"""
FED = """async ([data, times]) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  const sound = Float32Array.from(new Int16Array(bytes.buffer), (one) => one / 32768);
  window.hears ??= ear.port.onmessage;
  ear.port.onmessage = null;
  for (let k = 0; k < times; k++) {
    for (let i = 0; i < sound.length; i += 8192) {
      const blocks = [];
      for (let at = i; at < Math.min(i + 8192, sound.length); at += 512) {
        blocks.push(hears({ data: { samples: sound.slice(at, at + 512), at: Date.now() } }));
      }
      await Promise.all(blocks);
    }
  }
}"""


class Memory(NamedTuple):
    """What a page holds after its garbage is collected: bytes of its heap and of its process, nodes of its document."""

    heap: int
    resident: int
    nodes: int


def memory(at: Visitor) -> Memory:
    """Return what a page holds; its process also has the worker's heap and the module's memory."""
    page, browser = at.page.context.new_cdp_session(at.page), at.page.context.browser.new_browser_cdp_session()
    page.send("HeapProfiler.collectGarbage")
    heap, counted = page.send("Runtime.getHeapUsage")["usedSize"], page.send("Memory.getDOMCounters")["nodes"]
    processes = browser.send("SystemInfo.getProcessInfo")["processInfo"]
    renderers = [psutil.Process(one["id"]).memory_info().rss for one in processes if one["type"] == "renderer"]
    return Memory(heap, max(renderers), counted)


@pytest.fixture
def listening(chromium, tmp_path):
    """A page that listens to a microphone which says nothing."""
    server = Server()
    sf.write(tmp_path / "still.wav", np.zeros(SR, np.int16), SR)
    at = microphone(chromium, server.url, tmp_path / "still.wav")
    at.page.evaluate(TAKEN)
    at.page.get_by_role("button", name="Listen to the microphone").click()
    at.says("Listening")
    yield at
    at.page.context.browser.close()
    assert server.stop() == (0, "")


def feed(at: Visitor, pcm: np.ndarray, times: int) -> None:
    at.page.evaluate(FED, [base64.b64encode(pcm.tobytes()).decode(), times])


def newest(at: Visitor) -> int:
    """Return the number of the last incident, which is listed first."""
    return int(at.page.locator("#incidents > li").first.get_attribute("data-incident"))


def test_a_list_that_is_full_grows_no_more(listening):
    """One simulated shot, again and again in whole windows, each an incident: until the list is full, and on."""
    shot, states, fed = next(shots.render(sr=SR)).pcm[:PERIOD], [], 0
    for times in (MOST + 5, MORE):
        feed(listening, shot, times)
        states.append(memory(listening))
        fed += times
        assert newest(listening) == fed and listening.page.locator("#incidents > li").count() == MOST
    half, end = states
    print(states)
    assert abs(end.nodes - half.nodes) < MORE / 2  # each incident has several, a changed text one more
    assert end.heap - half.heap < 1_000_000


@pytest.mark.exhaustive
def test_a_page_that_listens_holds_no_more_at_the_end_than_at_half_time(listening):
    """Three simulated shots in nine seconds, again and again: more incidents in half an hour than the page lists."""
    fired = np.concatenate([shot.pcm for i, shot in enumerate(shots.render(sr=SR)) if i in (0, 1, 3)])
    times, states, began = round(MINUTES * 60 * SR / len(fired)) // 2, [], time.monotonic()
    for _ in range(2):
        feed(listening, fired, times)
        states.append(memory(listening))
    took_s = time.monotonic() - began
    heard = int(listening.page.locator("#shots").inner_text())
    listed = listening.page.locator("#incidents > li").count()
    print(f"{MINUTES} min in {took_s:.0f} s, {heard} shots, {listed} incidents listed: {states}")
    half, end = states
    assert heard >= 8 * MINUTES and listed == MOST
    assert end.heap - half.heap < 1_000_000 and end.resident - half.resident < 20_000_000
    assert end.nodes <= 1.1 * half.nodes
