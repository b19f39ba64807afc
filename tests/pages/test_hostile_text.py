"""What the page of gunshot annotate is made of, without a browser."""

import time

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from gunshot import tags
from gunshot.base import audio
from gunshot.pages.drawing import BLOCK, N_FFT, Drawing
from gunshot.pages.editing import Desk, Editor
from gunshot.pages.sounds import KEPT, Sounds
from gunshot.tags import Tag, catalogue

SR = 16000
CLICK = 123_456_789  # sample, in a recording of three hours
STEPS = st.lists(
    st.tuples(st.sampled_from(["place", "move", "delete", "accept", "suggest", "rest"]), st.integers(-500, 21000)),
    max_size=30,
)


@given(STEPS)
def test_tags_stay_ascending_inside_and_undo_leads_back_to_the_beginning(steps):
    editor = Editor(20000, 4096, line=None)
    editor.saved(None, [Tag(10), Tag(500, 0.9)])
    first = editor.placed
    for what, at in steps:
        under = editor.under(at)
        if what == "place":
            editor.place(at)
        elif what == "suggest":
            editor.suggest([Tag(at % 20000, 0.5)], apart=160)
        elif what == "rest":
            editor.rest()
        elif under and what == "move":
            editor.move(under, at)
        elif under:
            (editor.delete if what == "delete" else editor.accept)(under)
        placed = [tag.start for tag in editor.placed]
        assert placed == sorted(set(placed)) and all(0 <= start < 20000 for start in placed)
    for _ in steps:
        editor.undo()
    assert editor.placed == first and not editor.changed


def test_moves_in_a_row_are_one_step_and_make_a_suggestion_a_persons():
    editor = Editor(20000, 4096)
    editor.saved(None, [Tag(500, 0.9)])
    at = editor.move(Tag(500, 0.9), 600)
    at = editor.move(Tag(at), 700)
    assert editor.placed == [Tag(700)]
    editor.undo()
    assert editor.placed == [Tag(500, 0.9)]
    editor.move(editor.placed[0], 600)
    editor.rest()
    editor.move(editor.placed[0], 700)
    editor.undo()
    assert editor.placed == [Tag(600)]


def test_the_window_under_a_sample_is_the_one_that_starts_last_before_it():
    editor = Editor(20000, 4096)
    editor.saved(None, [Tag(100), Tag(900), Tag(9000)])
    assert editor.under(99) is None and editor.under(100) == Tag(100)
    assert editor.under(900) == Tag(900) == editor.under(4500) and editor.under(900 + 4096) is None
    assert (editor.beside(900, 1), editor.beside(900, -1), editor.beside(9000, 1)) == (9000, 100, 9000)


def test_a_suggestion_beside_a_persons_tag_is_none():
    editor = Editor(20000, 4096)
    editor.saved(None, [Tag(1000), Tag(3000, 0.7)])
    editor.suggest([Tag(1100, 0.9), Tag(1160, 0.8), Tag(5000, 0.6)], apart=160)
    assert editor.placed == [Tag(1000), Tag(1160, 0.8), Tag(5000, 0.6)]


def test_windows_are_the_samples_and_the_last_is_moved_inside():
    pcm = np.arange(10000, dtype=np.int16)
    editor = Editor(10000, 4096)
    editor.saved(None, [Tag(5), Tag(9000)])
    windows = editor.windows(pcm)
    assert np.array_equal(windows[5], pcm[5 : 5 + 4096]) and np.array_equal(windows[9000], pcm[-4096:])
    with pytest.raises(ValueError, match="a window has 4096"):
        editor.windows(pcm[:4000])


@pytest.fixture
def desk(tmp_path):
    pcm = np.random.default_rng(0).integers(-3000, 3000, SR).astype(np.int16)
    for name in ("a.wav", "sub/b.wav"):
        audio.write_pcm(tmp_path / name, pcm, sr=SR)
    listed = catalogue.listed(tmp_path, tmp_path / "raw", tmp_path / "tags")
    return Desk(listed, sr=SR, chunk_length=4096, onset={"min_rise_db": 11.0, "min_interval_ms": 140.0})


def test_a_desk_saves_confirms_and_notices_what_others_wrote(desk, tmp_path):
    notices = []
    end = desk.subscribe(notices.append)
    assert [row["state"] for row in desk.rows()] == ["untagged", "untagged"]
    editor = desk.open("a.wav", SR)
    editor.suggest([Tag(7, 0.9)], apart=1)
    assert desk.row("a.wav")["state"] == "untagged *"
    assert desk.save("a.wav") == [Tag(7)] and notices == ["a.wav"]
    assert tags.read(tmp_path / "tags.csv") == ({"a.wav": [Tag(7)]}, [])
    editor.place(100)
    tags.amend(tmp_path / "tags.csv", {"a.wav": None, "sub/b.wav": [Tag(3)]})
    with pytest.raises(tags.ChangedError, match="changed meanwhile"):
        desk.save("a.wav")
    assert tags.read(tmp_path / "tags.csv")[0] == {"sub/b.wav": [Tag(3)]}
    desk.save("a.wav", force=True)
    assert tags.read(tmp_path / "tags.csv")[0] == {"a.wav": [Tag(7), Tag(100)], "sub/b.wav": [Tag(3)]}
    assert [row["state"] for row in desk.rows()] == ["confirmed", "confirmed"]
    end()
    desk.tell("a.wav")
    assert notices == ["a.wav", "a.wav"]


def test_what_is_unsaved_outlasts_another_look_and_a_reload_ends_it(desk, tmp_path):
    desk.open("a.wav", SR).place(50)
    assert desk.open("a.wav", SR).placed == [Tag(50)]
    tags.amend(tmp_path / "tags.csv", {"a.wav": [Tag(9)]})
    assert desk.open("a.wav", SR).placed == [Tag(50)]
    desk.reload("a.wav")
    assert desk.editor("a.wav").placed == [Tag(9)]


@given(st.integers(1, 3000), st.data())
def test_the_envelope_holds_each_sample_in_view(n, data):
    rng = np.random.default_rng(n)
    pcm = rng.integers(-32768, 32767, n * 97).astype(np.int16)
    drawing = Drawing(pcm)
    start = data.draw(st.integers(0, len(pcm) - 1))
    stop = data.draw(st.integers(start + 1, len(pcm)))
    at, low, high = drawing.envelope(start, stop, 50)
    assert len(at) <= 2 * 50 + 2 and np.all(np.diff(at) > 0) and at[0] <= start
    view = audio.to_float(pcm[start:stop])
    assert low.min() <= view.min() and high.max() >= view.max()
    if stop - start < 2 * BLOCK * 50:
        assert low.min() == view.min() and high.max() == view.max()


def test_the_spectrogram_is_numpys_and_a_tone_has_its_level():
    t = np.arange(SR) / SR
    pcm = audio.to_int16(0.5 * np.sin(2 * np.pi * 1000 * t))
    level = Drawing(pcm).spectrogram(0, SR, 40)
    assert level.shape == (N_FFT // 2 + 1, 40)
    assert np.all(level[:, 1:-1].argmax(axis=0) == 16)
    assert level[16, 1:-1] == pytest.approx(20 * np.log10(0.5), abs=0.1)


@pytest.mark.slow
def test_three_hours_are_drawn_at_once_and_a_click_in_them_is_seen():
    pcm = np.zeros(3 * 3600 * SR, np.int16)
    pcm[:] = np.tile(np.random.default_rng(0).integers(-30, 30, SR).astype(np.int16), 3 * 3600)
    pcm[CLICK] = 20000
    drawing, times = Drawing(pcm), []
    for stop in (len(pcm), len(pcm) // 180) * 3:
        begun = time.perf_counter()
        drawing.envelope(0, stop, 1600), drawing.spectrogram(0, stop, 1600)
        times.append(time.perf_counter() - begun)
    assert min(times[::2]) < 20 * min(times[1::2])  # 180 times as long
    at, _, high = drawing.envelope(0, len(pcm), 1600)
    peak = high.argmax()
    assert high[peak] == audio.to_float(pcm[CLICK : CLICK + 1])[0] and at[peak] <= CLICK < at[peak + 1]
    level = drawing.spectrogram(0, len(pcm), 1600)
    assert level.max(axis=0).argmax() == CLICK * 1600 // len(pcm)


def test_a_sound_is_a_link_a_copy_or_an_error_and_few_stay(tmp_path):
    folder, rng = tmp_path / "served", np.random.default_rng(1)
    folder.mkdir()
    pcm = rng.integers(-9000, 9000, 8000).astype(np.int16)
    files = {f"{i}.wav": tmp_path / f"{i}.wav" for i in range(KEPT + 2)}
    for file in files.values():
        audio.write_pcm(file, pcm, sr=SR)
    files |= {"c.flac": tmp_path / "c.flac", "no.wav": tmp_path / "no.wav", "gone.wav": tmp_path / "gone.wav"}
    sf.write(files["c.flac"], np.repeat(audio.to_float(pcm)[:, None], 2, axis=1), 32000)
    files["no.wav"].write_bytes(b"no audio")
    sounds = Sounds(files, folder, sr=SR)
    for name in list(files)[: KEPT + 2]:
        sound = sounds.get(name)
        assert np.array_equal(sound.drawing.pcm, pcm) and (folder / sound.name).is_symlink()
    copy = sounds.get("c.flac")
    assert not (folder / copy.name).is_symlink() and len(copy.drawing.pcm) == 4000
    assert len(list(folder.iterdir())) == KEPT
    for name, rule in (("no.wav", "libsndfile must read it"), ("gone.wav", "the recording must be there")):
        with pytest.raises(audio.AudioError, match=rule):
            sounds.get(name)


def test_blind_tags_are_seen_alone_and_give_way_to_others(tmp_path):
    raw, by_hand = tmp_path / "raw", tmp_path / "tags"
    (raw / "x").mkdir(parents=True)
    header = "path,class,label,recording_group,source,upstream,licence,sr_found,duration_s,sha256\n"
    (raw / "x/recordings.csv").write_text(f"{header}x/gun/a.wav,gun,r,g,s,u,l,16000,1.0,0\n")
    blind, seen = (catalogue.listed(raw, raw, by_hand, blind=way) for way in (True, False))
    seen.write({"x/gun/a.wav": [Tag(1, 0.9)]})
    assert blind.read() == ({}, [])
    assert blind.write({"x/gun/a.wav": [Tag(2)]}) == [by_hand / "blind/x.csv"]
    assert blind.read()[0] == seen.read()[0] == {"x/gun/a.wav": [Tag(2)]}
    seen.write({"x/gun/a.wav": [Tag(3)]})
    assert seen.read() == ({"x/gun/a.wav": [Tag(3)]}, []) and blind.read()[0] == {"x/gun/a.wav": [Tag(2)]}
    assert list(catalogue.listed(raw / "x", raw, by_hand).recordings) == ["x/gun/a.wav"]
    with pytest.raises(ValueError, match="import them first"):
        catalogue.listed(tmp_path, raw, by_hand, blind=True)
