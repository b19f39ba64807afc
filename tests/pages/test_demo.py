"""gunshot demo in a real Chromium: the firmware's own C in the page, which hears as detect does and reaches nobody."""

import base64
import os
import re
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
from playwright.sync_api import expect
from typer.testing import CliRunner

from gunshot import cli
from gunshot.base import audio, params
from gunshot.detect import listener
from gunshot.device import emulator, parity
from gunshot.models.model import load_model
from gunshot.pages.demo import folder, shots
from gunshot.pages.demo import server as serving
from tests.pages.demo import PATIENCE_MS, ROOT, Server, Visitor, exported, handed_out, microphone, renewed

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
def wanted(pcm, model) -> list[int]:
    """The onsets of detect in it."""
    return parity.expected(pcm, model, P).tolist()


@pytest.fixture(scope="module")
def fired() -> np.ndarray:
    """Simulated shots one after the other, 7 s; none hangs on where a window begins: a microphone starts anywhere."""
    rendered = list(shots.render(sr=SR))
    lengths = {0: 20_000, 1: 27_000, 3: 24_000}
    return np.concatenate([rendered[i].pcm[: lengths[i]] for i in (0, 1, 3, 1, 0)])


@pytest.fixture(scope="module")
def files(pcm, fired, tmp_path_factory) -> dict[str, Path]:
    """The parity recording, and the simulated shots in other formats that a person may have."""
    out, slow = tmp_path_factory.mktemp("files"), audio.to_float(fired)
    fast = soxr.resample(slow, SR, 48_000, quality="HQ")
    sf.write(out / "x.wav", pcm, SR)
    sf.write(out / "x.flac", pcm, SR)
    sf.write(out / "fast.wav", np.stack([fast, fast], axis=1), 48_000, subtype="PCM_16")
    sf.write(out / "x.ogg", slow, SR)
    sf.write(out / "x.mp3", fast, 48_000)
    return {path.name: path for path in out.iterdir()}


RUN = """async (sound) => {
  const bytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const pcm = new Int16Array(bytes(sound).buffer), sent = { message: "", frame: "", window: "" };
  let firmware;
  const copy = (at, size) => String.fromCharCode(...new Uint8Array(firmware.memory.buffer, at, size));
  const page = {
    message: (at, size) => (sent.message += copy(at, size)),
    frame: (at) => (sent.frame += copy(at, 32)),
    window: (logit) => (sent.window += String.fromCharCode(logit & 255, (logit >> 8) & 255)),
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
    said = visit().page.evaluate(RUN, base64.b64encode(pcm.tobytes()).decode())
    sent = {name: text.encode("latin-1") for name, text in said.items()}
    host = emulator.build("host", firmware=ROOT / "firmware")
    audio.write_pcm(tmp_path / "x.wav", pcm, sr=SR)
    run = emulator.run(host / "gunshot", "host", ["x.wav", "messages", "7"], folder=tmp_path)
    traced = parity.trace(host, "host", pcm, P)
    assert run.code == 0 and sent["message"] == (tmp_path / "messages").read_bytes()
    assert sent["frame"] == traced.codes.T.tobytes() and sent["window"] == traced.logits.tobytes()
    assert len(sent["window"]) > 2000


DROPPED = """(data) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0)), held = new DataTransfer();
  held.items.add(new File([bytes], "dropped.flac"));
  return held;
}"""


def test_a_file_at_its_rate_gives_the_onsets_of_detect_fast(visit, files, wanted):
    at = visit()
    assert at.open(files["x.wav"]) == wanted and len(wanted) >= 3
    said = at.page.locator("#state").inner_text()
    assert said.startswith(f"x.wav: {len(wanted)} shots in 60.0 s, heard in")
    assert 60 / float(re.search(r"in ([\d.]+) s$", said)[1]) >= LEAST_SPEED
    dropped = at.page.evaluate_handle(DROPPED, base64.b64encode(files["x.flac"].read_bytes()).decode())
    at.page.dispatch_event("body", "drop", {"dataTransfer": dropped})
    at.says("dropped.flac: ")
    assert at.onsets() == wanted


def test_other_rates_and_formats_give_them_within_20_ms_and_what_is_no_sound_is_named(visit, files, model, tmp_path):
    at, broken = visit(), tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF, but no sound at all" * 40)
    at.page.locator("#file").set_input_files(broken)
    expect(at.page.locator("#fault")).to_have_text("broken.wav: this browser cannot decode it")
    for name in ("fast.wav", "x.ogg", "x.mp3"):
        ear = listener.Listener(model, [model.threshold()], P)
        (placed,), _ = ear.push(audio.read(files[name], sr=SR))
        onsets, seen = ear.samples(placed), np.array(at.open(files[name]))
        assert len(seen) == len(onsets) >= 3 and np.abs(seen - onsets).max() <= 0.02 * SR
    expect(at.page.locator("#fault")).to_be_hidden()


PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "color_scheme": "dark"}


def picture(at: Visitor, folder: Path, name: str) -> None:
    """Take a picture of a page; `make pictures` keeps it."""
    file = Path(os.environ.get("PICTURES", folder)) / name
    at.page.evaluate("() => scrollTo(0, 0)")
    at.page.screenshot(path=file)
    assert file.stat().st_size > 30_000


def test_a_simulated_shot_is_heard_as_it_sounds_as_in_the_documentation(visit, tmp_path):
    at = visit(**PHONE)
    offered = at.page.evaluate("fetch('demo.json').then((answer) => answer.json())")["shots"]
    assert len({one["title"] for one in offered}) == len(offered) >= 5
    shot = max(offered, key=lambda one: one["detected"])
    at.page.get_by_role("button", name=shot["title"]).click()
    at.says("Playing")
    at.says("Played")
    assert len(at.onsets()) == shot["detected"] >= 1
    expect(at.page.locator("#shots")).to_have_text(str(shot["detected"]))
    for name in ("#decision", "#latency"):
        expect(at.page.locator(name)).to_have_text(re.compile(r"^\d+ ms$"))
    assert at.page.locator("#incidents audio").count() == 0  # no sound is kept of what was heard live
    picture(at, tmp_path, "demo_phone.png")


def test_the_threshold_decides_by_keyboard_alone(visit, files, pcm, model, wanted):
    at = visit()
    at.page.locator("#threshold").focus()
    for _ in range(40):
        at.page.keyboard.press("ArrowLeft")
    ear = listener.Listener(model, [model.threshold() - 40 * model.step], P)
    (placed,), _ = ear.push(pcm)
    score = model.score_of(ear._settings[0].on, windows=1)
    expect(at.page.locator("#opens")).to_have_text(f"{score:.3f}")
    seen = at.open(files["x.wav"])
    assert seen == ear.samples(placed).tolist() and len(seen) != len(wanted)
    at.page.get_by_role("button", name="Back to the operating point").press("Enter")
    expect(at.page.locator("#opens")).to_contain_text("the operating point")
    assert at.open(files["x.wav"]) == wanted


def test_the_page_reaches_no_other_place_and_asks_for_nothing_while_it_hears(visit, server, files, chromium):
    at, asked = visit(), []
    at.page.on("request", lambda request: request.url.startswith("blob:") or asked.append(request.url))
    assert at.open(files["x.wav"]) and asked == []
    assert at.page.evaluate("() => navigator.serviceWorker.getRegistrations().then((all) => all.length)") == 0
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


def listened(pages: list[Visitor], count: int) -> list[np.ndarray]:
    """Listen on pages at the same time until so many shots were heard; return each one's onsets."""
    for at in pages:
        at.page.get_by_role("button", name="Listen to the microphone").click()
        at.says("Listening")
        processing = "Echo cancellation, noise suppression and gain control are off."
        expect(at.page.locator("#processing")).to_have_text(processing)
    for at in pages:
        expect(at.page.locator("#shots")).to_have_text(str(count), timeout=PATIENCE_MS)
        at.page.get_by_role("button", name="Stop").click()
        at.says("Stopped")
        assert at.page.locator("#incidents audio").count() == 0  # no sound is kept
    return [np.array(at.onsets()) for at in pages]


def test_the_microphone_gives_the_times_between_onsets_of_detect(server, chromium, fired, model, tmp_path):
    onsets, faults, pages = parity.expected(fired, model, P), [], []
    for sr in (SR, 48_000):
        file = tmp_path / f"{sr}.wav"
        sf.write(file, soxr.resample(audio.to_float(fired), SR, sr, quality="HQ"), sr)
        pages.append(microphone(chromium, server.url, file))
        pages[-1].page.on("console", lambda message: message.type == "error" and faults.append(message.text))
    within = np.array([HOP, 0.02 * SR])
    for _ in range(3):  # the fake microphone of a busy machine loses sound
        off = [np.abs(np.diff(seen) - np.diff(onsets)).max() for seen in listened(pages, len(onsets))]
        if (off <= within).all():
            break
    assert len(onsets) >= 4 and (off <= within).all() and faults == [], off
    for at in pages:
        at.page.context.browser.close()


def test_a_microphone_that_is_refused_is_named(chromium, server):
    page = chromium.new_context(permissions=[]).new_page()
    at = Visitor(page, server.url)
    page.get_by_role("button", name="Listen to the microphone").click()
    expect(page.locator("#fault")).to_contain_text(re.compile("denied|not found"), ignore_case=True)
    at.says("Stopped")
    expect(page.get_by_role("button", name="Listen to the microphone")).to_be_enabled()
    page.context.close()


def test_a_microphone_that_the_browser_takes_away_or_gives_at_another_rate_ends_the_session(
    server, chromium, fired, tmp_path
):
    sf.write(tmp_path / "x.wav", fired, SR)
    at = microphone(chromium, server.url, tmp_path / "x.wav")
    at.page.evaluate(
        "() => { const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices); "
        "navigator.mediaDevices.getUserMedia = async (asked) => (window.stream = await ask(asked)); }"
    )
    at.page.get_by_role("button", name="Listen to the microphone").click()
    at.says("Listening")
    at.page.evaluate("() => window.stream.getTracks()[0].dispatchEvent(new Event('ended'))")
    expect(at.page.locator("#fault")).to_contain_text("has paused the microphone")
    expect(at.page.get_by_role("button", name="Listen to the microphone")).to_have_attribute("aria-pressed", "false")
    assert at.page.evaluate("() => window.stream.getTracks()[0].readyState") == "ended"  # it was let go
    refuses = "() => { throw new DOMException('another rate', 'NotSupportedError'); }"
    at.page.evaluate(f"() => {{ AudioContext.prototype.createMediaStreamSource = {refuses}; }}")
    at.page.get_by_role("button", name="Listen to the microphone").click()
    expect(at.page.locator("#fault")).to_contain_text("no microphone at 16 kHz, try another one (another rate)")
    assert at.page.evaluate("() => window.stream.getTracks()[0].readyState") == "ended"
    at.page.context.browser.close()


@pytest.fixture
def plain(tmp_path, monkeypatch):
    """What `gunshot export demo` writes, behind a server that knows nothing of it, and that server."""
    monkeypatch.chdir(ROOT)
    exported(tmp_path / "demo")
    with handed_out(tmp_path / "demo") as server:
        yield tmp_path / "demo", server


def test_any_server_hands_it_out_a_newer_one_is_taken_and_then_none_is_needed(plain, new_page, files, wanted):
    out, server = plain
    at = Visitor(new_page(), f"http://localhost:{server.server_port}/")
    expect(at.page.locator("#offline")).to_be_visible()
    renewed(out, "Pistol, 15", "Popgun, 15")
    at.page.wait_for_function("() => navigator.serviceWorker.controller")
    at.page.reload()
    expect(at.page.get_by_role("button", name="Popgun")).to_be_visible()
    server.shutdown()
    server.server_close()  # from here on there is no server
    at.page.reload()
    at.says("Ready")
    assert at.open(files["x.wav"]) == wanted
    shot = at.page.evaluate("() => fetch('shot1.flac').then((answer) => answer.status)")
    assert shot == 200 and not at.page.locator("#fault").is_visible()


def test_each_control_has_a_name_is_reached_by_keys_and_fits_a_phone(visit):
    at = visit(viewport={"width": 320, "height": 640}, has_touch=True)
    assert at.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    at.page.locator("body").press("Tab")
    reached = []
    for _ in range(30):
        name = at.page.evaluate("() => document.activeElement.id || document.activeElement.textContent")
        if name in reached:
            break
        reached.append(name)
        at.page.keyboard.press("Tab")
    assert reached[0] == "listen" and {"file", "threshold", "operating"} <= set(reached) and len(reached) >= 10
    for role, name in (
        ("slider", "An incident opens"),
        ("button", "Choose a file"),
        ("button", "Listen"),
        ("img", "Log-mel"),
    ):
        expect(at.page.get_by_role(role, name=name)).to_be_visible()
    assert min(at.page.locator("button").evaluate_all("all => all.map((one) => one.clientHeight)")) >= 40


def test_a_recording_is_shown_as_in_the_documentation(visit, fired, tmp_path):
    sf.write(tmp_path / "street.wav", fired, SR)
    at = visit(viewport={"width": 1000, "height": 1000})
    assert at.open(tmp_path / "street.wav")
    picture(at, tmp_path, "demo.png")


def test_a_folder_of_other_files_and_a_firmware_of_another_model_are_refused(model, tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(FileExistsError, match=r"mine\.txt is no file of the demo"):
        folder.write(tmp_path, [folder.Version(tmp_path / "x.wasm", model, P)], offline=True)
    (tmp_path / "constants.h").write_text("of another")
    for name in ("constants.h", "none.h"):
        with pytest.raises(ValueError, match=r"must be of .*model\.tflite: make it with `dvc repro export`"):
            folder.check(tmp_path / name, model)


def test_a_port_in_use_is_named(server, tmp_path):
    port = int(server.url.split(":")[2].strip("/"))
    with pytest.raises(ValueError, match=f"port={port} is in use; choose another with --port"):
        serving.serve(tmp_path, port=port, show=False)


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_what_is_no_port_is_refused(port):
    done = CliRunner().invoke(cli.app, ["demo", "--no-browser", "--port", port], env={"COLUMNS": "200", "TERM": "dumb"})
    assert done.exit_code == 2 and "'--port': Input should be" in done.output


@pytest.mark.parametrize(("command", "words"), [("demo", ["--port", "stored or sent"]), ("export demo", ["https"])])
def test_help_says_what_a_user_needs(command, words):
    shown = CliRunner().invoke(cli.app, [*command.split(), "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0 and all(word in shown.output for word in words)
