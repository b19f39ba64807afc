"""gunshot demo where a person asks for one thing while another has not come yet: the last one counts."""

import base64
import shutil
from pathlib import Path

import pytest
import soundfile as sf
from playwright.sync_api import expect

from gunshot.base import params
from gunshot.device import parity
from gunshot.models.model import load_model
from tests.pages.demo import ROOT, Server, Visitor, exported, handed_out, microphone, renewed

pytestmark = pytest.mark.firmware

P = params.load("audio", "chunks", "context", "features", "detector", path=ROOT / "params.yaml")
# The microphone and the decoder come when a test lets them, the newest first. `sent` is what the worker was asked.
HELD = """() => {
  const gates = { microphone: [], decoder: [] }, held = (what) => new Promise((open) => gates[what].push(open));
  Object.assign(window, { gates, streams: [], asked: 0, decoded: 0, sent: [] });
  window.live = () => streams.flatMap((one) => one.getTracks()).filter((one) => one.readyState === "live").length;
  const media = navigator.mediaDevices, ask = media.getUserMedia.bind(media);
  media.getUserMedia = async (wanted) => {
    asked += 1;
    await held("microphone");
    streams.push(await ask(wanted));
    return streams.at(-1);
  };
  const offline = OfflineAudioContext.prototype, decode = offline.decodeAudioData;
  offline.decodeAudioData = async function (bytes) {
    await held("decoder");
    return decode.call(this, bytes).finally(() => (decoded += 1));
  };
  const post = Worker.prototype.postMessage;
  Worker.prototype.postMessage = function (data, moved) {
    sent.push(data.kind === "hear" ? data.samples.length : data.kind);
    post.call(this, data, moved);
  };
}"""
DROP = """([data, name]) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0)), dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
}"""
PIECE, BLOCK = 16000, 512  # of a file, of the microphone; samples, as in page.js


class Hasty(Visitor):
    """A person who does not wait."""

    def drop(self, file: Path) -> None:
        self.page.evaluate(DROP, [base64.b64encode(file.read_bytes()).decode(), file.name])

    def press(self, times: int = 1) -> None:
        """Press the button of the microphone."""
        self.page.evaluate("(times) => { for (; times; times--) document.getElementById('listen').click(); }", times)

    def lets(self, what: str, then: str) -> None:
        """Let the microphone or the decoder come once it is waited for, and wait for a condition."""
        self.page.wait_for_function("(what) => gates[what].length", arg=what)
        self.page.evaluate("(what) => gates[what].pop()()", what)
        self.page.wait_for_function(then)

    def value(self, expression: str):
        return self.page.evaluate(f"() => {expression}")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """The parity recording, its second half, in which shots are, and what is no sound."""
    out, pcm = tmp_path_factory.mktemp("files"), parity.recording(sr=P.audio.sr)
    sf.write(out / "whole.wav", pcm, P.audio.sr)
    sf.write(out / "half.wav", pcm[len(pcm) // 2 :], P.audio.sr)
    (out / "broken.wav").write_bytes(b"RIFF, but no sound at all" * 40)
    return {path.name: path for path in out.iterdir()}


@pytest.fixture(scope="module")
def browser(chromium, files):
    """A page of a Chromium with a microphone."""
    server = Server()
    at = microphone(chromium, server.url, files["whole.wav"])
    yield at.page, server.url
    at.page.context.browser.close()
    assert server.stop() == (0, "")


@pytest.fixture
def at(browser) -> Hasty:
    hasty = Hasty(*browser)
    hasty.page.evaluate(HELD)
    return hasty


def onsets(file: Path):
    """Return the onsets of detect, but for the last bit of samples, which Chromium's decoder scales differently."""
    pcm, _ = sf.read(file, dtype="int16")
    seen = parity.expected(pcm, load_model(ROOT / "models/quantized/model.tflite"), P).tolist()
    assert len(seen) >= 3
    return pytest.approx(seen, abs=P.features.hop_length)


def test_two_quick_presses_ask_for_one_microphone_and_stop_lets_go_of_it(at):
    at.press(times=2)
    at.lets("microphone", "() => streams.length === 1")
    at.says("Listening")
    assert at.value("[asked, live()]") == [1, 1]
    at.press()
    at.says("Stopped")
    assert at.value("live()") == 0
    at.press()  # and once more, from the start
    at.lets("microphone", "() => streams.length === 2")
    at.says("Listening")
    assert at.value("live()") == 1


def test_a_file_that_is_opened_while_the_browser_asks_is_heard_and_the_microphone_let_go(at, files):
    at.press()
    at.page.wait_for_function("() => asked === 1")
    at.drop(files["half.wav"])
    at.says("Decoding")
    at.lets("microphone", "() => streams.length === 1 && live() === 0")
    at.lets("decoder", "() => decoded === 1")
    at.says("half.wav: ")
    assert at.onsets() == onsets(files["half.wav"])
    assert BLOCK not in at.value("sent")
    expect(at.page.locator("#listen")).to_have_text("Listen to the microphone")


@pytest.mark.parametrize("name", ["whole.wav", "broken.wav"])
def test_where_a_person_listens_while_a_file_decodes_nothing_of_it_is_heard(at, files, name):
    at.drop(files[name])
    at.says("Decoding")
    at.press()
    at.lets("microphone", "() => sent.includes(512)")
    at.lets("decoder", "() => decoded === 1")
    heard = at.value("sent.length")
    at.page.wait_for_function("(heard) => sent.length >= heard + 5", arg=heard)
    sent = at.value("sent")
    assert PIECE not in sent and sent.count("begin") == 1
    at.says("Listening")
    assert at.value("live()") == 1 and not at.page.locator("#fault").is_visible()


def test_the_file_that_was_opened_last_is_the_one_that_is_heard(at, files):
    at.drop(files["whole.wav"])
    at.says("Decoding whole.wav")
    at.page.wait_for_function("() => gates.decoder.length === 1")
    at.drop(files["half.wav"])
    at.page.wait_for_function("() => gates.decoder.length === 2")
    at.lets("decoder", "() => decoded === 1")
    at.says("half.wav: ")
    at.lets("decoder", "() => decoded === 2")
    assert at.onsets() == onsets(files["half.wav"]) and at.value("sent").count("begin") == 1


def test_demos_of_one_place_keep_their_own_copies(new_page, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    outer, inner = tmp_path / "demo", tmp_path / "demo" / "inner"
    exported(outer)
    shutil.copytree(outer, tmp_path / "copy")
    (tmp_path / "copy").rename(inner)
    renewed(outer, "Pistol, 15", "Popgun, 15")
    page = new_page()
    with handed_out(tmp_path) as server:
        urls = [f"http://localhost:{server.server_port}/demo/{path}" for path in ("inner/", "")]
        for url in urls:
            Visitor(page, url)
            page.wait_for_function("() => navigator.serviceWorker.controller")
    for url, words in zip(urls, ("Pistol", "Popgun"), strict=True):  # there is no server now
        Visitor(page, url)
        expect(page.get_by_role("button", name=words).first).to_be_visible()
