"""The import of corpora: what is converted, what is rejected and why, a second run, a kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot import corpora
from gunshot.base import audio, tables
from gunshot.corpora import folder, sources

QUALITY = {"sr": 16000, "silence_db": -80.0, "max_clipped": 0.5, "max_rejected": 1.0}
SHARED = Path(__file__).parents[3] / "shared" / "audio"


def noise(seed: int, n: int = 4000, channels: int = 1) -> np.ndarray:
    return 0.2 * np.random.default_rng(seed).standard_normal((n, channels))


def put(file: Path, y: np.ndarray, sr: int = 16000, **options) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    sf.write(file, y, sr, **options)
    return file


def run(root: Path, raw: Path, name: str = "mine", **changed) -> corpora.Summary:
    scanned, rejected = corpora.layouts[corpora.detect(root)](root)
    return corpora.import_corpus(scanned, rejected, raw / name, raw, **(QUALITY | changed))


def rows(raw: Path, name: str = "mine") -> dict[str, dict]:
    table = tables.read(raw / name / "recordings.csv", tables.IMPORTED)
    assert list(table) == list(tables.IMPORTED) and list(table["path"]) == sorted(table["path"])
    return {r["path"]: r for r in table.to_dict("records")}


def rejections(raw: Path, name: str = "mine") -> dict[str, tuple[str, str]]:
    return {r.file: (r.value, r.rule) for r in tables.read(raw / name / "rejected.csv", tables.REJECTED).itertuples()}


def contents(raw: Path) -> dict[str, bytes]:
    return {str(p.relative_to(raw)): p.read_bytes() for p in raw.rglob("*") if p.is_file()}


def times(raw: Path) -> dict[str, int]:
    return {str(p.relative_to(raw)): p.stat().st_mtime_ns for p in raw.rglob("*") if p.is_file()}


@pytest.fixture
def root(tmp_path):
    """A folder with one good recording."""
    put(tmp_path / "corpus/gun/rifle/good.wav", noise(0))
    return tmp_path / "corpus"


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "data/raw"


# -- what is accepted --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "sr", "channels", "options"),
    [
        ("phone.wav", 8000, 1, {}),
        ("stereo.wav", 44100, 2, {}),
        ("deep.wav", 48000, 1, {"subtype": "PCM_24"}),
        ("float.wav", 44100, 1, {"subtype": "FLOAT"}),
        ("coarse.wav", 22050, 1, {"subtype": "PCM_U8"}),
        ("packed.flac", 96000, 2, {"subtype": "PCM_24"}),
        ("lossy.ogg", 44100, 2, {}),
        ("short.wav", 16000, 1, {}),
    ],
)
def test_formats_are_converted(root, raw, file, sr, channels, options):
    n = sr // 100 if file == "short.wav" else sr // 2
    put(root / "env" / file, noise(3, n, channels), sr, **options)
    run(root, raw)
    path = f"mine/env/{file.split('.')[0]}.wav"
    row = rows(raw)[path]
    pcm = audio.read_pcm(raw / path, sr=16000)
    assert row["sr_found"] == sr and row["duration_s"] == len(pcm) / 16000 == pytest.approx(n / sr, abs=1e-4)
    assert row["sha256"] == audio.sha256(pcm) and not rejections(raw)
    np.testing.assert_array_equal(pcm, audio.to_int16(audio.read(root / "env" / file, sr=16000)))


@given(st.integers(100, 5000), st.sampled_from([8000, 16000]))
def test_a_recording_is_the_wav_that_libsndfile_writes(tmp_path_factory, n, sr):
    root, raw = tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("raw")
    put(root / "env/x.wav", noise(n, n), sr)
    run(root, raw)
    pcm = audio.to_int16(audio.read(root / "env/x.wav", sr=16000))
    sf.write(root / "same.wav", pcm, 16000, subtype="PCM_16")
    assert (raw / "mine/env/x.wav").read_bytes() == (root / "same.wav").read_bytes()


def test_names_are_kept(root, raw):
    names = ['a, "quoted" (1).wav', "выстрел №1.wav", "銃 声/x y.wav", "🔫" * 60 + ".wav", "it's;%.wav", "x\u00a0y.wav"]
    for i, name in enumerate(names):
        put(root / "gun" / name, noise(10 + i))
    run(root, raw)
    assert set(rows(raw)) == {f"mine/gun/{n}" for n in [*names, "rifle/good.wav"]}
    assert all((raw / path).is_file() for path in rows(raw))
    assert run(root, raw).already == len(names) + 1


# -- what is rejected --------------------------------------------------------------------------------------------


def faults() -> dict[str, tuple]:
    tone = np.sin(2 * np.pi * 20000 * np.arange(22050) / 44100)
    bad = noise(2).astype(np.float32)
    bad[17] = np.nan
    endless = noise(2).astype(np.float32)
    endless[17] = np.inf
    return {
        "empty.wav": (np.zeros((0, 1)), 16000, {}, "0 samples", "must not be empty"),
        "nan.wav": (bad, 16000, {"subtype": "FLOAT"}, "NaN or infinite", "finite"),
        "inf.wav": (endless, 16000, {"subtype": "FLOAT"}, "NaN or infinite", "finite"),
        "silent.wav": (np.zeros(4000), 16000, {}, "silent: peak -inf dBFS", "quality.silence_db=-80"),
        "faint.wav": (noise(2) * 1e-5, 16000, {"subtype": "FLOAT"}, "silent: peak -", "quality.silence_db=-80"),
        "clipped.wav": (noise(2) * 1e3, 44100, {}, "clipped: 0.9", "quality.max_clipped=0.5"),
        "clipped8.wav": (noise(2) * 1e3, 8000, {"subtype": "PCM_U8"}, "clipped: 0.9", "quality.max_clipped=0.5"),
        "offset.wav": (np.full(4000, 0.3), 16000, {}, "no audible content: -inf", "quality.silence_db=-80"),
        "integers.wav": (noise(2) * 1e5, 16000, {"subtype": "FLOAT"}, "times full scale", "divide those of 16 bits"),
        "bats.wav": (0.5 * tone * np.hanning(22050), 44100, {}, "no audible content", "quality.silence_db=-80"),
        "slow.wav": (noise(2), 10, {}, "10 Hz", "sample rate must be 1000"),
    }


@pytest.mark.parametrize("file", faults())
def test_unusable_audio_is_rejected_by_name(root, raw, file):
    y, sr, options, value, rule = faults()[file]
    put(root / "env" / file, y, sr, **options)
    run(root, raw)
    rejected = rejections(raw)
    assert list(rejected) == [f"env/{file}"] and list(rows(raw)) == ["mine/gun/rifle/good.wav"]
    assert value in rejected[f"env/{file}"][0] and rule in rejected[f"env/{file}"][1]
    assert set(contents(raw)) == {f"mine/{f}" for f in ("gun/rifle/good.wav", "recordings.csv", "rejected.csv")}


def test_what_is_no_audio_is_rejected(root, raw, tmp_path):
    (root / "gun/readme.txt").write_text("shots")
    (root / "gun/nothing.wav").touch()
    outside = put(tmp_path / "outside/x.wav", noise(5))
    (root / "gun/out.wav").symlink_to(outside)
    (root / "gun/away").symlink_to(outside.parent)
    (root / "gun/broken.wav").symlink_to("nowhere.wav")
    (root / "gun/linked.wav").symlink_to(put(root / "originals/y.wav", noise(6)))
    (root / "gun/two\nlines.wav").touch()
    os.mkfifo(root / "gun/pipe.wav")
    with open(os.fsencode(root / "gun") + b"/latin\xe9.wav", "wb"):
        pass
    run(root, raw)
    assert set(rows(raw)) == {"mine/gun/rifle/good.wav", "mine/gun/linked.wav"}
    rules = {file: rule for file, (_, rule) in rejections(raw).items()}
    assert rules == {
        "gun/readme.txt": "only recordings are taken",
        "gun/nothing.wav": "a recording must not be empty",
        "gun/out.wav": sources.LEADS_OUT,
        "gun/away": sources.LEADS_OUT,
        "gun/broken.wav": "must be a file",
        "gun/pipe.wav": "must be a file",
        "gun/two\\nlines.wav": sources.NO_TEXT,
        "gun/latin\\udce9.wav": sources.NO_TEXT,
    }
    leftover = (raw / "mine/rejected.csv").read_text().replace(str(outside.parent), "")
    assert str(tmp_path) not in leftover  # but for where the links lead


def test_class_folder_must_not_lead_out(root, tmp_path):
    (root / "env").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="env: leads to"):
        folder.scan(root)


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("a.wav", {"subtype": "PCM_16"}),
        ("b.wav", {"subtype": "PCM_24"}),
        ("c.wav", {"subtype": "FLOAT"}),
        ("d.wav", {"format": "RF64"}),
        ("e.flac", {}),
        ("f.ogg", {}),
        ("g.aiff", {}),
        ("h.au", {}),
        ("i.w64", {}),
    ],
)
def test_truncated_files_are_errors_wherever_they_end(tmp_path, file, options):
    whole = put(tmp_path / file, noise(1, 20000, 2), 44100, **options)
    assert len(audio.read(whole, sr=16000)) > 7000
    data, cut = whole.read_bytes(), tmp_path / f"cut{whole.suffix}"

    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(n=st.integers(0, len(data) - 1))
    def check(n):
        cut.write_bytes(data[:n])
        with pytest.raises(audio.AudioError):
            audio.read(cut, sr=16000)

    check()


def test_damaged_headers_are_audio_errors_or_audio(tmp_path):
    data, file = put(tmp_path / "x.wav", noise(1, 500)).read_bytes(), tmp_path / "y.wav"

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(changes=st.dictionaries(st.integers(0, 60), st.integers(0, 255), min_size=1, max_size=4))
    def check(changes):
        file.write_bytes(bytes(changes.get(i, b) for i, b in enumerate(data)))
        try:
            y = audio.read(file, sr=16000)
        except audio.AudioError as e:
            assert e.value and e.rule and str(tmp_path) not in e.value
        else:
            assert y.dtype == np.float32 and np.isfinite(y).all()

    check()


@pytest.mark.parametrize("workers", [1, 4])
def test_duplicates_name_the_first_by_path(root, raw, workers):
    put(root / "env/z/slow.wav", noise(7, 400_000))
    put(root / "env/z/tiny.wav", noise(8))
    put(root / "gun/a copy.flac", sf.read(root / "gun/rifle/good.wav", dtype="int16")[0])
    put(root / "gun/rifle/long.wav", noise(7, 400_000))
    run(root, raw, workers=workers)
    assert set(rows(raw)) == {"mine/env/z/slow.wav", "mine/env/z/tiny.wav", "mine/gun/a copy.wav"}
    assert {f: v for f, (v, _) in rejections(raw).items()} == {
        "gun/rifle/good.wav": "same audio as mine/gun/a copy.wav",
        "gun/rifle/long.wav": "same audio as mine/env/z/slow.wav",
    }


def test_duplicates_of_other_corpora_are_rejected(root, raw):
    run(root, raw, "first")
    put(root / "gun/new.wav", noise(9))
    run(root, raw, "second")
    assert set(rows(raw, "second")) == {"second/gun/new.wav"}
    assert rejections(raw, "second")["gun/rifle/good.wav"][0] == "same audio as first/gun/rifle/good.wav"
    before = contents(raw)
    run(root, raw, "second")
    assert contents(raw) == before


def test_two_files_for_one_recording(root, raw):
    put(root / "gun/rifle/good.flac", noise(9))
    (root / "gun" / ("x" * 253)).write_bytes((root / "gun/rifle/good.wav").read_bytes())
    run(root, raw)
    rejected = rejections(raw)
    assert rejected["gun/rifle/good.wav"][0] == "becomes mine/gun/rifle/good.wav, as does gun/rifle/good.flac"
    assert rejected[f"gun/{'x' * 253}"][0] == "257 bytes in the name"
    flac, _ = sf.read(root / "gun/rifle/good.flac", dtype="int16")
    np.testing.assert_array_equal(audio.read_pcm(raw / "mine/gun/rifle/good.wav", sr=16000), flac)


def test_too_many_rejected_fails_after_the_tables(root, raw):
    put(root / "env/silent.wav", np.zeros(4000))
    with pytest.raises(tables.RejectedError, match=r"1 of 2 rejected.*\n.*env/silent\.wav: silent"):
        run(root, raw, max_rejected=0.1)
    assert len(rows(raw)) == 1 and len(rejections(raw)) == 1
    assert run(root, raw, max_rejected=0.5).rejected == 1


def test_wrong_places_are_named(root, raw):
    with pytest.raises(ValueError, match="must lie directly in raw="):
        run(root, raw, "a/b")
    run(root, raw)
    with pytest.raises(ValueError, match="must lie outside it"):
        run(raw / "mine", raw)


# -- a second run, a change, a kill ------------------------------------------------------------------------------


def test_second_run_rewrites_nothing(root, raw):
    put(root / "env/silent.wav", np.zeros(4000))
    put(root / "env/b/stereo.flac", noise(4, 30_001, 2), 44100)
    first = run(root, raw)
    before, stamps = contents(raw), times(raw)
    second = run(root, raw)
    assert (first.imported, first.already, first.rejected) == (2, 0, 1)
    assert (second.imported, second.already, second.rejected) == (0, 2, 1)
    assert str(second).startswith("0 imported, 2 already there, 1 rejected")
    assert (contents(raw), times(raw)) == (before, stamps)
    put(root / "env/b/new.wav", noise(5))
    (raw / "mine/gun/.x.part").touch()
    assert run(root, raw).imported == 1
    wavs = {p: t for p, t in times(raw).items() if p in before and p.endswith(".wav")}
    assert wavs.items() <= stamps.items() and not list(raw.rglob(".*"))


def test_new_labels_are_taken_without_decoding(root, raw):
    run(root, raw)
    stamps = times(raw)
    (root / "manifest.csv").write_text("path,recording_group\ngun/rifle/good.wav,session:9\n")
    run(root, raw)
    assert rows(raw)["mine/gun/rifle/good.wav"]["recording_group"] == "session:9"
    assert times(raw)["mine/gun/rifle/good.wav"] == stamps["mine/gun/rifle/good.wav"]


def test_imported_audio_is_immutable(root, raw):
    run(root, raw)
    before = (raw / "mine/gun/rifle/good.wav").read_bytes()
    put(root / "gun/rifle/good.wav", noise(0, 5000))
    run(root, raw)
    value, rule = rejections(raw)["gun/rifle/good.wav"]
    assert value == "16000 Hz, 0.312 s; was 16000 Hz, 0.250 s" and rule.startswith("data/raw is immutable")
    assert (raw / "mine/gun/rifle/good.wav").read_bytes() == before and len(rows(raw)) == 1


def test_lost_recordings_return_or_are_named(root, raw):
    put(root / "gun/other.wav", noise(1))
    run(root, raw)
    before = contents(raw)
    (raw / "mine/gun/other.wav").unlink()
    assert run(root, raw).imported == 1 and contents(raw) == before
    (raw / "mine/gun/other.wav").unlink()
    (root / "gun/other.wav").unlink()
    run(root, raw)
    assert rejections(raw)["mine/gun/other.wav"][0] == "no such file"
    assert set(rows(raw)) == {"mine/gun/rifle/good.wav"}


SLOW = """
import sys, time
from pathlib import Path
from gunshot import corpora
from gunshot.base import audio
from gunshot.corpora import importing
importing.CHECKPOINT_S = 0.02
blocks = audio.blocks
root, raw, n = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
def slowly(*args, **options):
    for y in blocks(*args, **options):
        time.sleep(0.01)
        while len(list(raw.rglob("[!.]*.wav"))) >= n:  # here it is killed, however late
            time.sleep(0.01)
        yield y
audio.blocks = slowly
corpora.import_corpus(*corpora.layouts["folder"](root), raw / "mine", raw, sr=16000, silence_db=-80.0,
                      max_clipped=0.5, max_rejected=1.0)
"""


@pytest.mark.slow
def test_killed_at_any_time_it_ends_as_if_it_were_not(root, tmp_path):
    for i in range(150):
        put(root / f"{'gun' if i % 3 else 'env'}/label {i % 4}/{i:03}.wav", noise(i % 140), 22050)
    put(root / "env/silent.wav", np.zeros(4000))
    run(root, tmp_path / "whole/raw")
    raw, done = tmp_path / "killed/raw", []
    for n in (1, 30, 80):
        command = [sys.executable, "-c", SLOW, root, raw, str(n)]
        child = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
        while len(list(raw.rglob("[!.]*.wav"))) < n and child.poll() is None:
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        table = raw / "mine/recordings.csv"
        done.append(len(rows(raw)) if table.exists() else 0)
    assert done == sorted(done) and 0 < done[-1] < 140
    stamps = {path: times(raw)[path] for path in rows(raw)}
    summary = run(root, raw)
    assert summary.already == done[-1] and contents(raw) == contents(tmp_path / "whole/raw")
    assert stamps.items() <= times(raw).items()


def test_the_pipeline_does_not_see_what_a_refused_corpus_leaves():
    repo = Path(__file__).parents[2]
    for tool in ("dvc", "git"):
        done = subprocess.run([tool, "check-ignore", "data/raw/mine.rejected.csv"], cwd=repo, capture_output=True)
        assert done.returncode == 0


# -- real recordings ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real recordings beside the repository")
@pytest.mark.slow
def test_real_corpora(tmp_path):
    first = run(SHARED / "raw", tmp_path, "collected", max_rejected=0.01)
    second = run(SHARED / "UrbanSound8K", tmp_path, "city", max_rejected=0.01)
    assert (first.imported + first.rejected, second.imported + second.rejected) == (928, 420)
    table = tables.recordings(tmp_path)
    assert table["sha256"].is_unique and (table["class"] == "gun").sum() >= 135
    assert (table["recording_group"].str.startswith("collected/")).sum() == 0  # all from the manifest
    assert set(table.loc[table["source"] == "urbansound8k", "upstream"]) == {"UrbanSound8K"}
