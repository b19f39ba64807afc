"""gunshot annotate in a real browser: what a person does with mouse and keys, and what is then on the disk."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from playwright.sync_api import expect

from gunshot import tags
from gunshot.simulate import corpus
from tests.pages.annotator import ROOT, SR, Annotator, Server

pytestmark = pytest.mark.slow
SHOTS = [8000, 20000, 28000, 40000]


def shots(n: int, starts: list[int], seed: int) -> np.ndarray:
    """Noise with a decaying burst at each start."""
    rng = np.random.default_rng(seed)
    y = 0.002 * rng.standard_normal(n)
    for start in starts:
        t = np.arange(min(6000, n - start)) / SR
        y[start : start + len(t)] += 0.6 * np.exp(-t / 0.03) * rng.standard_normal(len(t))
    return np.clip(y, -1, 0.999)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Recordings of many kinds; each test works on its own."""
    folder = tmp_path_factory.mktemp("annotate") / "recordings"
    folder.mkdir()
    for name in ("a", "b", "c", "d", "e", "f", "g"):
        sf.write(folder / f"{name}.wav", shots(48000, SHOTS, ord(name)), SR, subtype="PCM_16")
    y = np.repeat(shots(48000, SHOTS, 1)[:, None], 2, axis=1)
    sf.write(folder / 'h, "it\'s" (é).flac', y, 44100)
    (folder / "i.wav").write_bytes(b"RIFF, but no audio at all" * 40)
    sf.write(folder / "long.wav", shots(SR * 600, [SR * 60 * i for i in range(1, 10)], 2), SR, subtype="PCM_16")
    burst = corpus.render("gun", 48, corpus.Corpus(1, (2.0, 2.4), (20.0, 60.0), SR))
    sf.write(folder / "burst.wav", burst.pcm, SR, subtype="PCM_16")
    sf.write(folder / "short.wav", shots(2000, [100], 3), SR, subtype="PCM_16")
    return folder


@pytest.fixture(scope="module")
def server(folder):
    server = Server(folder, "--out", str(folder.parent / "windows"))
    yield server
    said = server.stop()
    assert "Traceback" not in said, said


@pytest.fixture
def person(server, new_page):
    return lambda recording, **options: Annotator(new_page(**options), server.url, recording)


def on_disk(folder: Path) -> dict[str, list[tags.Tag]]:
    by_path, bad = tags.read(folder / "tags.csv")
    assert not bad
    return by_path


def starts(folder: Path, name: str) -> list[int]:
    """Return a recording's confirmed tags."""
    assert tags.state(on_disk(folder).get(name)) == "confirmed"
    return [tag.start for tag in on_disk(folder)[name]]


def test_a_click_places_a_drag_moves_a_key_deletes_and_undo_takes_each_back(person, folder):
    at = person("a.wav")
    at.click(8000)
    at.click(30000)
    at.has(2, "untagged *")
    at.drag(30000 + 800, by=10000)
    at.shows(0, 3)  # a drag of a window is none of the view
    at.press("s")
    at.says("Confirmed and saved: 2 shots")
    assert starts(folder, "a.wav") == pytest.approx([8000, 40000], abs=at.tolerance())
    at.hover(41000)
    at.press("Delete")
    at.has(1)
    at.press("u")
    at.has(2)
    at.hover(9000)
    at.press("Backspace")
    at.has(1)
    at.press("Control+z", "s")
    at.says("2 shots")
    at.page.reload()
    expect(at.page.locator(".tabulator-row").first).to_contain_text("confirmed")
    at.open("a.wav")
    at.has(2, "confirmed")


def test_a_drag_is_one_step_of_undo(person, folder):
    at = person("b.wav")
    at.click(8000)
    at.drag(8800, by=8000)
    at.drag(16800, by=8000)
    at.press("u", "s")
    at.says("1 shots")
    assert starts(folder, "b.wav") == pytest.approx([16000], abs=2 * at.tolerance())


def test_the_keyboard_alone_does_it_all(person, folder):
    at = person("c.wav")
    for _ in range(10):
        at.press("ArrowRight")
    at.press("Enter", ">", ">", ",", "s")
    at.says("Confirmed and saved: 1 shots")
    assert starts(folder, "c.wav") == [10 * (48000 // 50) + 160 + 160 - 16]
    at.press("]", "[", "Delete", "s")
    at.says("no shot in it")
    assert starts(folder, "c.wav") == []
    at.press("+", "+", "+")
    cursor = 9760 / SR
    at.shows(cursor * 7 / 8, cursor * 7 / 8 + 3 / 8)
    at.press("0")
    at.shows(0, 3)
    at.press("n")
    expect(at.title).to_contain_text("d.wav")
    at.press("p", "N")
    expect(at.title).to_contain_text("d.wav")


def test_suggestions_are_accepted_moved_or_rejected(person, folder):
    at = person("d.wav")
    at.press("o")
    at.says("4 onsets found automatically")
    at.has(4, "4 suggested")
    at.hover(8000 + 500)
    at.press("a")
    at.has(4, "3 suggested")
    at.hover(40000 + 500)
    at.press("Delete")
    at.has(3, "2 suggested")
    at.press("A", "s")
    at.says("3 shots")
    assert starts(folder, "d.wav") == pytest.approx(SHOTS[:3], abs=48)


def test_space_plays_the_whole_and_a_key_the_window_under_the_cursor(person):
    at = person("e.wav")
    whole, window = at.page.locator("audio").first, at.page.locator("audio").last
    at.click(8000)
    whole.evaluate("sound => { sound.playbackRate = 0.25 }")  # so that it still plays when it is looked at
    at.press("Space")
    at.waits("model.name == 'heard' && model.location > 0.3")
    expect(whole).to_have_js_property("paused", False)
    assert 0.3 < whole.evaluate("sound => sound.currentTime") < whole.evaluate("sound => sound.duration") == 3
    at.press("Space")
    expect(whole).to_have_js_property("paused", True)
    # Where it ended before it is still ended: each end is counted.
    counts = "() => sound.dataset.ends = 1 + Number(sound.dataset.ends ?? 0)"
    window.evaluate(f"sound => sound.addEventListener('ended', {counts})")
    for ends in ("1", "2"):
        at.press("w")
        expect(window).to_have_attribute("data-ends", ends)
        assert window.evaluate("sound => sound.duration") == pytest.approx(0.256)


def test_split_and_save_writes_each_window(person, folder):
    at = person("f.wav")
    at.click(8000)
    at.click(46000)  # its window would end behind the recording
    at.press("x")
    at.says("2 windows written")
    pcm, _ = sf.read(folder / "f.wav", dtype="int16")
    for start in starts(folder, "f.wav"):
        window, sr = sf.read(folder.parent / "windows" / f"f_{start}.wav", dtype="int16")
        first = min(start, len(pcm) - 4096)
        assert sr == SR and np.array_equal(window, pcm[first : first + 4096])


def test_a_tag_file_changed_on_disk_is_noticed_and_not_overwritten(person, folder):
    at = person("g.wav")
    at.click(8000)
    theirs = [tags.Tag(123), tags.Tag(456)]
    tags.amend(folder / "tags.csv", {"g.wav": theirs, "other.wav": [tags.Tag(7)]})
    at.press("s")
    at.says("changed meanwhile")
    assert on_disk(folder)["g.wav"] == theirs
    at.page.get_by_role("button", name="Take what is on disk").click()
    at.has(2)
    at.click(30000)
    tags.amend(folder / "tags.csv", {"g.wav": [tags.Tag(1)]})
    at.press("s")
    at.says("changed meanwhile")
    at.page.get_by_role("button", name="Overwrite it").click()
    at.says("3 shots")
    assert starts(folder, "g.wav") == [123, 456, pytest.approx(30000, abs=at.tolerance())]
    assert on_disk(folder)["other.wav"] == [tags.Tag(7)]


def test_two_browsers_work_on_the_same(person, folder):
    name = 'h, "it\'s" (é).flac'
    one, other = person(name), person(name)
    one.click(4000)
    other.has(1)
    other.click(10000)
    one.has(2)
    one.press("s")
    one.says("2 shots")
    expect(other.title).to_contain_text("confirmed")
    assert starts(folder, name) == pytest.approx([4000, 10000], abs=one.tolerance())


def test_what_is_no_audio_vanishes_or_is_too_short_is_told_and_the_rest_goes_on(person, folder):
    at = person("i.wav")
    at.says("libsndfile must read it")
    at.press("Enter")
    at.says("no recording is shown")
    tags.amend(folder / "tags.csv", {"gone.wav": [tags.Tag(5)]})
    at.open("short.wav")
    at.click(300)
    at.press("x")
    at.says("a window has 4096")
    at.press("s")
    at.says("1 shots")
    before = on_disk(folder)
    (folder / "short.wav").unlink()
    at.open("i.wav")
    at.open("short.wav")
    at.says("the recording must be there")
    assert on_disk(folder) == before


def test_a_recording_is_dropped_on_the_page_and_what_is_no_audio_is_told(person, folder):
    at = person("a.wav")
    drop = at.page.locator("input[type=file]")
    new = {"name": "new one.wav", "mimeType": "audio/wav", "buffer": (folder / "e.wav").read_bytes()}
    drop.set_input_files(new)
    expect(at.title).to_contain_text("new one.wav")
    assert (folder / "new one.wav").read_bytes() == new["buffer"]
    at.click(8000)
    at.press("s")
    at.says("1 shots")
    assert len(starts(folder, "new one.wav")) == 1
    drop.set_input_files({"name": "notes.wav", "mimeType": "audio/wav", "buffer": b"no audio at all"})
    at.says("notes.wav: Format not recognised")
    drop.set_input_files(new)
    at.says("a recording of that name is there")
    drop.set_input_files({"name": "x.txt", "mimeType": "text/plain", "buffer": b"text"})
    at.says("suffix='.txt' must be one of")
    assert not (folder / "notes.wav").exists() and len(starts(folder, "new one.wav")) == 1


def test_ten_minutes_are_drawn_column_by_column(person):
    at = person("long.wav")
    at.shows(0, 600)
    drawn = "() => Bokeh.documents[0].get_model_by_name('waveform').get_length()"
    assert 1000 < at.page.evaluate(drawn) < 10000
    at.hover(SR * 300)
    for _ in range(5):
        at.press("+")
    at.shows(300 * 31 / 32, 300 * 31 / 32 + 600 / 32, within=1)
    at.click(SR * 300)
    at.has(1)
    at.page.mouse.wheel(0, -300)
    at.waits(f"model.type == 'Figure' && model.x_range.end - model.x_range.start < {0.9 * 600 / 32}")
    at.press("u")
    at.has(0)


def test_a_burst_is_shown_as_in_the_documentation(person, tmp_path):
    """`make pictures` keeps its picture."""
    at = person("burst.wav", viewport={"width": 1400, "height": 760})
    at.press("o", "]", "a", "]", "a", "]")
    expect(at.title).to_contain_text("suggested")
    at.page.wait_for_function("() => Bokeh.documents[0].is_idle")
    file = Path(os.environ.get("PICTURES", tmp_path)) / "annotate.png"
    at.page.screenshot(path=file)
    assert file.stat().st_size > 50_000


def test_a_port_in_use_is_told(server, folder):
    port = server.url.rsplit(":", 1)[1]
    command = [sys.executable, "-c", "from gunshot.cli import main; main()", "annotate", str(folder), "--no-browser"]
    done = subprocess.run([*command, "--port", port], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and f"error: port={port} is in use; choose another" in done.stderr


def test_the_server_leaves_no_copy_of_a_recording_behind(folder, tmp_path, monkeypatch):
    own = tmp_path / "own"  # other tests have folders in the one that all share
    own.mkdir()
    monkeypatch.setenv("TMPDIR", str(own))
    server = Server(folder)
    assert list(own.glob("gunshot-*"))
    assert "Traceback" not in server.stop()
    assert not list(own.glob("gunshot-*"))
