"""What people hand to `gunshot detect`: folders, pipes, names that are no text, files beside recordings."""

import io
import json
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from gunshot import cli
from gunshot.base.files import shown
from gunshot.models import model
from gunshot.models.model import Model
from tests.base.test_decoding import encoded
from tests.cli.test_malformed_audio import REPO, a_recording


@pytest.fixture
def detect(tmp_path, monkeypatch):
    """detect(arguments): the exit code, rows by file, and lines of errors, by a model that hears what is loud."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(REPO / name, tmp_path)
    (tmp_path / "m.joblib").touch()
    monkeypatch.chdir(tmp_path)
    report = {"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}}
    loud = Model(Path("m.joblib"), report, lambda x: (x.max(axis=(1, 2)) + 50) / 10, window=(32, 33))
    monkeypatch.setattr(model, "load_model", lambda path: loud)

    def run(*arguments: str, content: bytes = b"") -> tuple[int, list[dict], list[str]]:
        args = ["detect", *arguments, "--model", "m.joblib", "--threshold", "0.5", "--format", "json"]
        done = CliRunner().invoke(cli.app, args, input=content, env={"NO_COLOR": "1", "TERM": "dumb"})
        assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
        return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.splitlines()

    return run


def test_a_folder_is_heard_and_what_lies_beside_is_listed(detect, tmp_path):
    (tmp_path / "rec/deep").mkdir(parents=True)
    (tmp_path / "rec/a.wav").write_bytes(a_recording())
    (tmp_path / "rec/deep/b").write_bytes(a_recording("FLAC"))
    (tmp_path / "rec/bad.wav").write_bytes(b"RIFF")
    for name in ("a.txt", "a.json", "a.xml", "a.png"):
        (tmp_path / "rec" / name).write_bytes(b"a shot")
    (tmp_path / "rec/out.wav").symlink_to(tmp_path / "elsewhere.wav")
    (tmp_path / "elsewhere.wav").write_bytes(a_recording())
    (tmp_path / "rec/gone.wav").symlink_to("nowhere.wav")
    code, rows, lines = detect("rec")
    assert code == 1 and {row["file"] for row in rows} == {"rec/a.wav", "rec/deep/b", "rec/out.wav"}
    assert lines == [
        "warning: rec/gone.wav: broken link: must be a file",
        "4 files are no audio: a.json, a.png, a.txt, a.xml",
        "error: rec/bad.wav: Format not recognised.: FFmpeg or libsndfile must read it",
    ]
    (tmp_path / "empty").mkdir()
    assert detect("empty") == (0, [], ["warning: empty: no recording in it"])


@pytest.mark.slow
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")]), st.integers(4000, 40_000))
def test_standard_input_is_heard_as_a_file_is(detect, tmp_path, kind, n):
    content = a_recording(*kind, n=n)
    (tmp_path / "x").write_bytes(content)
    code, rows, lines = detect("x")
    piped = detect("-", content=content)
    assert piped == (code, [row | {"file": "-"} for row in rows], lines) and code == 0 and rows
    assert detect("-", content=b"no sound")[::2] == (
        1, ["error: -: Format not recognised.: FFmpeg or libsndfile must read it"]
    )  # fmt: skip


def test_a_phone_s_recording_is_heard(detect, tmp_path):
    y = 0.003 * np.random.default_rng(0).standard_normal((88_200, 1))
    y[44_100:44_400] *= 200
    encoded(tmp_path / "x.m4a", y.clip(-1, 1), "ipod", "aac", 44_100)
    code, rows, lines = detect("x.m4a")
    assert (code, lines) == (0, []) and any(abs(row["onset_s"] - 1) < 0.05 for row in rows)


@pytest.mark.slow
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=20).filter(lambda b: not set(b) & set(b"\0/") and not b.startswith((b"-", b"."))))
def test_names_of_any_bytes_are_heard_and_printed(detect, tmp_path, name):
    folder = tmp_path / "names"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    file = folder / os.fsdecode(name + b".wav")
    file.write_bytes(a_recording())
    (folder / "zz.wav").write_bytes(a_recording())
    name = shown(Path("names") / file.name)
    for arguments in (["names"], [str(Path("names") / file.name), "names/zz.wav"]):
        code, rows, lines = detect(*arguments)
        assert (code, lines) == (0, []) and {row["file"] for row in rows} == {name, "names/zz.wav"}


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 12_000))
def test_a_wav_that_states_less_is_heard_whole_with_a_warning(detect, tmp_path, stated):
    content = bytearray(a_recording())
    (tmp_path / "x.wav").write_bytes(content)
    whole = detect("x.wav")
    content[40:44] = stated.to_bytes(4, "little")
    (tmp_path / "x.wav").write_bytes(content)
    code, rows, lines = detect("x.wav")
    assert (code, rows) == whole[:2] and rows
    warning = f"warning: x.wav: header states {stated} bytes of sound, the file holds 12000; all of it is heard"
    assert lines == [warning] * (stated < 12_000 - 7)


def test_opposite_channels_and_integers_as_floats(detect, tmp_path):
    y, sr = sf.read(io.BytesIO(a_recording()), always_2d=True)
    sf.write("mono.wav", y, sr)
    sf.write("opposite.wav", np.hstack([y, -y]), sr)
    sf.write("integers.wav", np.round(y * 32768), sr, subtype="FLOAT")
    sf.write("silent.wav", y * 0, sr)
    sf.write("clipped.wav", y * 1e6, sr)
    code, rows, lines = detect("mono.wav", "opposite.wav", "integers.wav", "silent.wav", "clipped.wav")
    onsets = {file: [r["onset_s"] for r in rows if r["file"] == file] for file in ("mono.wav", "opposite.wav")}
    assert code == 1 and onsets["opposite.wav"] == onsets["mono.wav"] != []
    assert lines[0] == "warning: opposite.wav: the 2 channels cancel each other; channel 1 alone is heard"
    assert lines[1].startswith("error: integers.wav: samples reach ") and "divide those of 16 bits" in lines[1]
    assert lines[2] == "warning: silent.wav: silent: peak -inf dBFS: must reach quality.silence_db=-80 dBFS"
    assert lines[3].startswith("warning: clipped.wav: clipped: 0.9") and lines[3].endswith("quality.max_clipped=0.5")


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def test_wavs_as_recorders_and_editors_write_them(detect, tmp_path):
    """Broadcast and bat recorders' chunks, tags before and behind, wrong counts, other coders: the same sound."""
    plain = a_recording()
    form, sound, id3 = plain[20:36], chunk(b"data", plain[44:]), b"ID3\x03\0\0\0\0\0\x40" + bytes(64)
    variants = {
        "plain": [chunk(b"fmt ", form), sound],
        "bext": [chunk(b"bext", bytes(602)), chunk(b"fmt ", form), sound, chunk(b"id3 ", id3 + b"x")],
        "guano": [chunk(b"fmt ", form), sound, chunk(b"guan", b"GUANO|Version:1.0\nMake:X")],
        "no samples in fact": [chunk(b"fmt ", form), chunk(b"fact", bytes(4)), sound],
        "fmt with an extension": [chunk(b"fmt ", form + struct.pack("<H", 22)), sound],
        "fmt of 20 bytes": [chunk(b"fmt ", form + bytes(4)), sound],
    }
    for cut in (1, 5):  # and an odd chunk that lacks its pad byte
        variants[f"unpadded {cut}"] = [chunk(b"fmt ", form), chunk(b"LIST", b"INFOISFT" + bytes(cut))[:-1], sound]
    for name, parts in variants.items():
        body = b"WAVE" + b"".join(parts)
        (tmp_path / f"{name}.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    (tmp_path / "tag before.wav").write_bytes(id3 + plain)
    (tmp_path / "wav.mp3").write_bytes(plain)
    names = [*(f"{name}.wav" for name in variants), "tag before.wav", "wav.mp3"]
    code, rows, lines = detect(*names)
    assert (code, lines) == (0, [])
    onsets = {name: [row["onset_s"] for row in rows if row["file"] == name] for name in names}
    assert onsets["plain.wav"] and all(onset_s == onsets["plain.wav"] for onset_s in onsets.values())


def test_what_is_no_recording_is_told_for_what_it_is(detect, tmp_path):
    (tmp_path / "nothing.wav").touch()
    (tmp_path / "page.wav").write_bytes(b"<!DOCTYPE html><html>404</html>")
    os.mkfifo(tmp_path / "pipe.wav")
    assert detect("nothing.wav", "page.wav", "pipe.wav", "gone.wav") == (1, [], [
        "error: nothing.wav: 0 bytes: a recording must not be empty",
        "error: page.wav: Format not recognised.: FFmpeg or libsndfile must read it",
        "error: pipe.wav: is a pipe or a device: a recording must be a file",
        "error: gone.wav: no such file: a recording must be a file",
    ])  # fmt: skip
