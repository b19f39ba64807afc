"""Files that nobody meant: `gunshot detect` gives a result or says in one line what is wrong, in bounded memory."""

import io
import json
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from gunshot import cli
from gunshot.models import model
from gunshot.models.model import Model
from tests.conftest import SEED

REPO = Path(__file__).parents[2]
PEAK = 128 * 2**20  # bytes: three blocks as they are stored
SUBTYPES = {
    "WAV": ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM", "GSM610"],
    "FLAC": ["PCM_16", "PCM_24"],
    "OGG": ["VORBIS", "OPUS"],
    "AIFF": ["PCM_16", "FLOAT"],
    "AU": ["PCM_16"],
    "MP3": ["MPEG_LAYER_III"],
}
EVERY = [(kind, subtype) for kind, subtypes in SUBTYPES.items() for subtype in subtypes]


def many(test):
    """Run ten examples, others for each commit: memory that is traced is slow."""
    options = {"derandomize": False, "database": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
    return seed(SEED)(settings(max_examples=10, **options)(test))


def a_recording(
    kind: str = "WAV", subtype: str = "PCM_16", *, channels: int = 1, sr: int = 16000, n: int = 6000
) -> bytes:
    """A whole file in memory: noise with a burst."""
    y = 0.01 * np.random.default_rng(0).standard_normal((n, channels))
    y[n // 2 : n // 2 + 300] *= 40
    out = io.BytesIO()
    sf.write(out, np.clip(y, -1, 1), sr, format=kind, subtype=subtype)
    return out.getvalue()


@pytest.fixture
def detect(tmp_path, monkeypatch):
    """detect(content): the exit code, and what was printed, where nothing was raised and memory stayed bounded."""
    (tmp_path / "params.yaml").write_bytes((REPO / "params.yaml").read_bytes())
    (tmp_path / "dvc.yaml").write_bytes((REPO / "dvc.yaml").read_bytes())
    (tmp_path / "m.joblib").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    report = {"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}}
    loud = Model(Path("m.joblib"), report, lambda x: (x.max(axis=(1, 2)) + 50) / 10, window=(32, 33))
    monkeypatch.setattr(model, "load_model", lambda path: loud)

    def run(content: bytes, *more: str) -> tuple[int, list[str], list[str]]:
        (tmp_path / "x.wav").write_bytes(content)
        tracemalloc.start()
        try:
            args = ["detect", "x.wav", "--model", "m.joblib", "--threshold", "0.5", "--format", "json", *more]
            done = CliRunner().invoke(cli.app, args, env={"NO_COLOR": "1", "TERM": "dumb"})
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
        assert peak < PEAK, f"{peak / 2**20:.0f} MB"
        lines, errors = done.stdout.splitlines(), done.stderr.splitlines()
        assert all(line.startswith(("error: x.wav: ", "warning: x.wav: ", "see p.png")) for line in errors), errors
        assert all(np.isfinite(row["onset_s"]) and 0.5 <= row["score"] <= 1 for row in map(json.loads, lines))
        assert done.exit_code == any(line.startswith("error") for line in errors)
        return done.exit_code, lines, errors

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "subtype"), EVERY)
def test_each_kind_of_file_is_heard(detect, kind, subtype):
    sr = 48000 if subtype == "OPUS" else 44100
    code, lines, errors = detect(a_recording(kind, subtype, channels=1 if subtype == "GSM610" else 2, sr=sr, n=30_000))
    assert (code, errors) == (0, []) and len(lines) >= 1


@pytest.mark.slow
@many
@given(st.binary(max_size=600), st.sampled_from([b"", b"RIFF", b"fLaC", b"OggS", b"FORM", b"ID3", b"\xff\xfb"]))
def test_random_bytes_are_refused(detect, content, magic):
    code, lines, _ = detect(magic + content)
    assert code == 1 and not lines


@pytest.mark.slow
@many
@given(st.data())
def test_changed_bytes_of_a_header_are_refused_or_heard(detect, data):
    kind, subtype = data.draw(st.sampled_from(EVERY))
    content = bytearray(a_recording(kind, subtype, sr=48000))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 119))] = data.draw(st.integers(0, 255))
    detect(bytes(content))


@pytest.mark.slow
@many
@given(st.data())
def test_changed_or_missing_data_is_refused_or_heard(detect, data):
    kind, subtype = data.draw(st.sampled_from(EVERY))
    content = bytearray(a_recording(kind, subtype, sr=48000))
    first = data.draw(st.integers(60, len(content) - 1))
    part = data.draw(st.binary(max_size=200))
    content[first : first + len(part)] = part
    detect(bytes(content[: data.draw(st.integers(first, len(content)))]))


@pytest.mark.slow
@many
@given(
    st.sampled_from([0, 1, 2, 3, 6, 7, 17, 0x55, 0xFFFE, 0xFFFF]),
    st.sampled_from([0, 1, 2, 255, 1024, 1025, 65535]),
    st.sampled_from([0, 1, 999, 1000, 8000, 16000, 10**6, 10**6 + 1, 2**31 - 1, 2**31, 2**32 - 1]),
    st.sampled_from([0, 1, 2, 3, 4, 8, 2048, 65535]),
    st.sampled_from([0, 1, 8, 12, 16, 24, 32, 64, 65535]),
    st.sampled_from([0, 1, 3, 12_000, 2**31 - 1, 2**32 - 8, 2**32 - 1]),
)
def test_wav_headers_that_promise_anything(detect, tag, channels, sr, align, bits, size):
    content = bytearray(a_recording())
    content[20:36] = struct.pack("<HHIIHH", tag, channels, sr, (sr * align) % 2**32, align, bits)
    content[40:44] = struct.pack("<I", size)
    detect(bytes(content))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("offset", "form", "value", "words"),
    [
        (40, "<I", 12_001, "header promises 12001 bytes of data, file holds 12000"),
        (24, "<I", 1, "1 Hz: the sample rate must be 1000 to 1000000 Hz"),
        (24, "<I", 2**31, "libsndfile must read it"),
        (22, "<H", 65535, "libsndfile must read it"),
        (34, "<H", 99, "libsndfile must read it"),
    ],
)
def test_a_lying_header_is_named(detect, offset, form, value, words):
    content = bytearray(a_recording())
    struct.pack_into(form, content, offset, value)
    code, lines, (error,) = detect(bytes(content))
    assert (code, lines) == (1, []) and words in error


@pytest.mark.slow
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45])
@pytest.mark.filterwarnings("error")
def test_floats_of_any_value_are_heard(detect, subtype, value):
    y = 0.001 * np.random.default_rng(0).standard_normal((30_000, 2))
    y[10_000:10_100] = value
    out = io.BytesIO()
    sf.write(out, y, 44100, format="WAV", subtype=subtype)
    code, lines, errors = detect(out.getvalue())
    lost = 0 if np.isfinite(value) else 200
    assert code == 0 and errors == (
        [f"warning: x.wav: {lost} samples are no numbers; they count as silence"] * (lost > 0)
        + ["warning: x.wav: samples reach 3e+38 times full scale, and are clipped there"] * (abs(value) == 3e38)
    )
    assert len(lines) == (abs(value) > 1e30 and np.isfinite(value))


@pytest.mark.slow
def test_a_plot_of_samples_that_are_no_numbers_is_that_of_silence(detect, tmp_path):
    y, pictures = 0.001 * np.random.default_rng(0).standard_normal(48_000), []
    y[20_000:20_300] *= 300
    for value in (np.nan, -np.inf, 0.0):
        y[40_000:41_000] = value
        out = io.BytesIO()
        sf.write(out, y, 16000, format="WAV", subtype="FLOAT")
        code, lines, _ = detect(out.getvalue(), "--plot", "p.png")
        assert code == 0 and lines
        pictures.append((tmp_path / "p.png").read_bytes())
    assert pictures[0] == pictures[1] == pictures[2]


def test_a_recording_too_long_to_be_drawn_is_refused_before_it_is_heard(detect, tmp_path):
    content = a_recording(subtype="PCM_U8", sr=1000, n=31 * 60_000)
    code, lines, errors = detect(content, "--plot", "p.png")
    assert (code, lines) == (1, []) and errors == [
        "error: x.wav: 31.0 minutes: --plot draws at most 30; cut it, or leave --plot out"
    ]
    assert not (tmp_path / "p.png").exists()


@pytest.mark.slow
def test_many_channels_are_read_in_bounded_memory(detect):
    """30 s of them would be 0.9 GB; a block is shorter."""
    n = 24_000
    content = bytearray(a_recording(channels=1, n=1024 * n, sr=16000))
    struct.pack_into("<H", content, 22, 1024)
    struct.pack_into("<H", content, 32, 2048)
    code, lines, errors = detect(bytes(content))
    assert (code, errors) == (0, []) and len(lines) >= 1
