"""gunshot demo in a real Chromium: the firmware's own C in the page, which hears as detect does and reaches nobody."""

import base64
import re
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
from playwright.sync_api import expect

from gunshot.base import audio, params
from gunshot.detect import listener
from gunshot.device import emulator, parity
from gunshot.models.model import load_model
from gunshot.pages.demo import shots
from tests.pages.conftest import FLAGS
from tests.pages.demo import PATIENCE_MS, ROOT, Server, Visitor

pytestmark = pytest.mark.firmware

P = params.load("audio", "chunks", "context", "features", "detector", path=ROOT / "params.yaml")
SR, HOP = P.audio.sr, P.features.hop_length
LEAST_SPEED = 30  # seconds of sound a second


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    assert server.stop() == (0, "")


@pytest.fixture
def visit(server, new_page):
    return lambda **options: Visitor(new_page(**options), server.url)


@pytest.fixture(scope="module")
def model():
    return load_model(ROOT / "models/quantized/model.tflite")


@pytest.fixture(scope="module")
def pcm() -> np.ndarray:
    return parity.recording(sr=SR)


@pytest.fixture(scope="module")
def files(pcm, tmp_path_factory) -> dict[str, Path]:
    """The parity recording in formats that a person may have."""
    folder, fast = tmp_path_factory.mktemp("files"), soxr.resample(audio.to_float(pcm), SR, 48_000, quality="HQ")
    kinds = {"wav": (pcm, SR), "flac": (pcm, SR), "ogg": (audio.to_float(pcm), SR), "mp3": (fast, 48_000)}
    for suffix, (sound, sr) in kinds.items():
        sf.write(folder / f"x.{suffix}", sound, sr)
    sf.write(folder / "fast.wav", np.stack([fast, fast], axis=1), 48_000, subtype="PCM_16")
    return {path.name: path for path in folder.iterdir()}


RUN = """async (sound) => {
  const bytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const pcm = new Int16Array(bytes(sound).buffer), sent = { message: [], frame: [], window: [] };
  let firmware;
  const copy = (at, size) => Array.from(new Uint8Array(firmware.memory.buffer, at, size));
  const page = {
    message: (at, size) => sent.message.push(...copy(at, size)),
    frame: (at) => sent.frame.push(...copy(at, 32)),
    window: (logit) => sent.window.push(logit & 255, (logit >> 8) & 255),
  };
  const module = await (await fetch("gunshot.wasm")).arrayBuffer();
  firmware = (await WebAssembly.instantiate(module, { page })).instance.exports;
  firmware.begin(7);
  for (let i = 0; i < pcm.length; i += 4096) {
    const part = pcm.subarray(i, i + 4096);
    new Int16Array(firmware.memory.buffer, firmware.input(), 4096).set(part);
    firmware.hear(part.length);
  }
  firmware.end();
  return sent;
}"""


def test_chromium_computes_the_bytes_of_the_host(visit, pcm, tmp_path):
    sent = visit().page.evaluate(RUN, base64.b64encode(pcm.tobytes()).decode())
    host = emulator.build("host", firmware=ROOT / "firmware")
    audio.write_pcm(tmp_path / "x.wav", pcm, sr=SR)
    run = emulator.run(host / "gunshot", "host", ["x.wav", "messages", "7"], folder=tmp_path)
    traced = parity.trace(host, "host", pcm, P)
    assert run.code == 0 and bytes(sent["message"]) == (tmp_path / "messages").read_bytes()
    assert bytes(sent["frame"]) == traced.codes.T.tobytes() and bytes(sent["window"]) == traced.logits.tobytes()
    assert len(sent["window"]) > 2000


def test_a_file_at_its_rate_gives_the_onsets_of_detect_fast(visit, files, pcm, model):
    at, wanted = visit(), parity.expected(pcm, model, P).tolist()
    assert at.open(files["x.wav"]) == wanted and len(wanted) >= 3
    said = at.page.locator("#state").inner_text()
    assert said.startswith(f"x.wav: {len(wanted)} shots in 60.0 s, heard in")
    assert 60 / float(re.search(r"in ([\d.]+) s$", said)[1]) >= LEAST_SPEED
    assert at.open(files["x.flac"]) == wanted


def test_other_rates_and_formats_give_them_within_20_ms_and_what_is_no_sound_is_named(visit, files, model, tmp_path):
    at, broken = visit(), tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF, but no sound at all" * 40)
    at.page.locator("#file").set_input_files(broken)
    expect(at.page.locator("#fault")).to_have_text("broken.wav: this browser cannot decode it")
    for name in ("fast.wav", "x.ogg", "x.mp3"):
        ear = listener.Listener(model, [model.threshold()], P)
        (placed,), _ = ear.push(audio.read(files[name], sr=SR))
        wanted, seen = ear.samples(placed), np.array(at.open(files[name]))
        assert len(seen) == len(wanted) >= 3 and np.abs(seen - wanted).max() <= 0.02 * SR
    expect(at.page.locator("#fault")).to_be_hidden()


def test_a_simulated_shot_is_heard_as_it_sounds(visit):
    at = visit()
    offered = at.page.evaluate("fetch('demo.json').then((answer) => answer.json())")["shots"]
    assert len({one["title"] for one in offered}) == len(offered) >= 5 and any(one["detected"] for one in offered)
    shot = max(offered, key=lambda one: one["detected"])
    at.page.get_by_role("button", name=shot["title"]).click()
    at.says("Playing")
    at.says("Played")
    assert len(at.onsets()) == shot["detected"]
    expect(at.page.locator("#shots")).to_have_text(str(shot["detected"]))
    expect(at.page.locator("#decision")).to_have_text(re.compile(r"^\d+ ms$"))
    expect(at.page.locator("#latency")).to_have_text(re.compile(r"^\d+ ms$"))
    assert at.page.locator("#incidents audio").count() == 0  # no sound is kept of what was heard live


def test_the_threshold_decides_by_keyboard_alone(visit, files, pcm, model):
    at = visit()
    at.page.locator("#threshold").focus()
    for _ in range(40):
        at.page.keyboard.press("ArrowLeft")
    ear = listener.Listener(model, [model.threshold() - 40 * model.step], P)
    (placed,), _ = ear.push(pcm)
    score = model.score_of(ear._settings[0].on, windows=1)
    expect(at.page.locator("#opens")).to_have_text(f"{score:.3f}")
    seen = at.open(files["x.wav"])
    assert seen == ear.samples(placed).tolist() and len(seen) != len(parity.expected(pcm, model, P))
    at.page.get_by_role("button", name="Back to the operating point").press("Enter")
    expect(at.page.locator("#opens")).to_contain_text("the operating point")
    assert at.open(files["x.wav"]) == parity.expected(pcm, model, P).tolist()


def test_the_page_reaches_no_other_place_and_asks_for_nothing_while_it_hears(visit, server, files, chromium):
    at, asked = visit(), []
    at.page.on("request", lambda request: request.url.startswith("blob:") or asked.append(request.url))
    assert at.open(files["x.wav"]) and asked == []
    context = chromium.new_context()  # its refusals are errors, which a page of `visit` must not log
    page = context.new_page()
    page.goto(server.url)
    expect(page.locator("#state")).to_have_text("Ready")
    elsewhere = "fetch('http://127.0.0.1:9/', { method: 'POST', body: 'x' }).then(() => 'sent', (error) => error.name)"
    watched = "new Promise((done) => addEventListener('securitypolicyviolation', (event) => done(event.blockedURI)))"
    assert page.evaluate(f"() => {{ const seen = {watched}; {elsewhere}; return seen; }}").startswith(
        "http://127.0.0.1:9"
    )
    (worker,) = page.workers
    assert worker.evaluate(f"() => {elsewhere}") == "TypeError"
    assert worker.evaluate("() => fetch('demo.json').then((answer) => answer.status)") == 200
    context.close()
    with pytest.raises(urllib.error.HTTPError, match="501"):
        urllib.request.urlopen(server.url, data=b"sound")


def test_the_server_and_the_page_state_the_same_policy(server):
    with urllib.request.urlopen(server.url) as answer:
        policy, text = answer.headers["Content-Security-Policy"], answer.read().decode()
    stated = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
    assert (
        policy == f"{stated}; frame-ancestors 'none'"
        and "default-src 'none'" in stated
        and "unsafe-inline" not in stated
    )


@pytest.fixture(scope="module")
def fired() -> np.ndarray:
    """Simulated shots one after the other."""
    return np.concatenate([each.pcm for each in list(shots.render(sr=SR))[2::2]])


def microphone(chromium, url: str, file: Path) -> Visitor:
    """Return a page in a Chromium of its own, whose microphone hears a file once, at its pace."""
    fake = [
        "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={file}%noloop",
    ]  # fmt: skip
    browser = chromium.browser_type.launch(executable_path="/usr/bin/chromium", headless=True, args=[*FLAGS, *fake])
    return Visitor(browser.new_page(), url)


def test_the_microphone_gives_the_times_between_onsets_of_detect(server, chromium, fired, model, tmp_path):
    wanted = parity.expected(fired, model, P)
    sf.write(tmp_path / "16.wav", fired, SR)
    sf.write(tmp_path / "48.wav", soxr.resample(audio.to_float(fired), SR, 48_000, quality="HQ"), 48_000)
    pages = {sr: microphone(chromium, server.url, tmp_path / f"{sr}.wav") for sr in (16, 48)}
    faults = []
    for at in pages.values():  # at the same time
        at.page.on("console", lambda message: message.type == "error" and faults.append(message.text))
        at.page.get_by_role("button", name="Listen to the microphone").click()
        at.says("Listening")
    for sr, at in pages.items():
        expect(at.page.locator("#shots")).to_have_text(str(len(wanted)), timeout=PATIENCE_MS)
        off = np.diff(at.onsets()) - np.diff(wanted)
        assert np.abs(off).max() <= (HOP if sr == 16 else 0.02 * SR), off
        expect(at.page.locator("#processing")).to_have_text(
            "Echo cancellation, noise suppression and gain control are off."
        )
        at.page.get_by_role("button", name="Stop").click()
        at.says("Stopped")
        assert at.page.locator("#incidents audio").count() == 0  # no sound is kept
        at.page.context.browser.close()
    assert len(wanted) >= 4 and faults == []


def test_a_microphone_that_is_refused_is_named(chromium, server):
    page = chromium.new_context(permissions=[]).new_page()
    at = Visitor(page, server.url)
    page.get_by_role("button", name="Listen to the microphone").click()
    expect(page.locator("#fault")).to_contain_text(re.compile("denied|not found"), ignore_case=True)
    at.says("Stopped")
    expect(page.get_by_role("button", name="Listen to the microphone")).to_be_enabled()
    page.context.close()
