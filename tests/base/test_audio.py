"""Audio: int16 and float, resampling, what is refused by name, atomic writes."""

import hashlib
import io
import os
import pickle
import resource

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gunshot.base import audio
from gunshot.base.files import atomic

SR = 16000
PCM = hnp.arrays(np.int16, st.integers(0, 300))


def test_every_int16_survives_the_round_trip():
    pcm = np.arange(-32768, 32768).astype(np.int16)
    y = audio.to_float(pcm)
    assert y.dtype == np.float32 and y.min() == -1 and y.max() < 1
    assert np.array_equal(audio.to_int16(y), pcm)
    assert np.array_equal(audio.to_int16(y.astype(np.float64)), pcm)


@given(hnp.arrays(np.float64, 50, elements=st.floats(-4, 4)))
def test_to_int16_rounds_to_the_nearest_and_clips(y):
    pcm = audio.to_int16(y)
    inside = (y >= -1) & (y <= 32767 / 32768)
    assert pcm.dtype == np.int16
    assert np.all(np.abs(pcm[inside] / 32768 - y[inside]) <= 0.5 / 32768)
    assert np.all(pcm[y > 32767 / 32768] == 32767) and np.all(pcm[y < -1] == -32768)


def test_sha256_is_of_little_endian_bytes():
    pcm = np.array([1, -2, 300], ">i2")
    expected = hashlib.sha256(b"\x01\x00\xfe\xff\x2c\x01").hexdigest()
    assert audio.sha256(pcm) == expected == audio.sha256(pcm.astype("<i2"))
    assert audio.sha256(np.repeat(pcm, 2)[::2]) == expected


@given(PCM.filter(len))
def test_written_samples_are_read_as_they_were(tmp_path_factory, pcm):
    path = tmp_path_factory.mktemp("a") / "deep/er/x.wav"
    audio.write_pcm(path, pcm, sr=SR)
    samples = audio.read_pcm(path, sr=SR)
    assert samples.dtype == np.int16 and np.array_equal(samples, pcm)
    assert np.array_equal(audio.to_int16(audio.read(path, sr=SR)), pcm)
    start = len(pcm) // 3
    assert np.array_equal(audio.read_pcm(path, sr=SR, start=start, frames=len(pcm) - start), pcm[start:])
    assert audio.header(path) == (SR, len(pcm) / SR)


@pytest.mark.parametrize("sr", [8000, 11025, 22050, 44100, 48000, 96000])
def test_a_sine_keeps_pitch_level_and_place_at_any_rate(tmp_path, sr):
    f, n = 1234.5, sr * 2
    sf.write(tmp_path / "x.wav", 0.5 * np.sin(2 * np.pi * f * np.arange(n) / sr), sr, subtype="FLOAT")
    y = audio.read(tmp_path / "x.wav", sr=SR)
    assert abs(len(y) - 2 * SR) <= 1 and y.dtype == np.float32
    expected = 0.5 * np.sin(2 * np.pi * f * np.arange(len(y)) / SR)
    assert np.abs(y - expected)[500:-500].max() < 1e-3


def test_resampling_lets_nothing_above_nyquist_through(tmp_path):
    sr = 48000
    sf.write(tmp_path / "x.wav", 0.5 * np.sin(2 * np.pi * 10000 * np.arange(sr) / sr), sr, subtype="FLOAT")
    assert np.abs(audio.read(tmp_path / "x.wav", sr=SR)[500:-500]).max() < 1e-4


@pytest.mark.parametrize("block_s", [0.001, 0.1, 0.33, 30.0])
def test_the_blocks_size_does_not_matter(tmp_path, block_s):
    y = 0.1 * np.random.default_rng(0).standard_normal((44100, 2))
    sf.write(tmp_path / "x.wav", y, 44100, subtype="FLOAT")
    whole = audio.read(tmp_path / "x.wav", sr=SR)
    seen = []
    parts = np.concatenate(list(audio.blocks(tmp_path / "x.wav", sr=SR, block_s=block_s, watch=seen.append)))
    assert np.array_equal(parts, whole)
    assert np.array_equal(np.concatenate(seen), y.astype(np.float32))


def test_channels_are_averaged(tmp_path):
    left, right = np.full(1000, 0.5), np.full(1000, -0.25)
    sf.write(tmp_path / "x.wav", np.stack([left, right], axis=1), SR, subtype="FLOAT")
    assert np.allclose(audio.read(tmp_path / "x.wav", sr=SR), 0.125)


REFUSED = [
    ({"samplerate": 8000, "subtype": "PCM_16"}, 1, "WAV PCM_16 1 channel(s) 8000 Hz"),
    ({"samplerate": SR, "subtype": "PCM_16"}, 2, "WAV PCM_16 2 channel(s) 16000 Hz"),
    ({"samplerate": SR, "subtype": "PCM_24"}, 1, "WAV PCM_24 1 channel(s) 16000 Hz"),
    ({"samplerate": SR, "subtype": "FLOAT"}, 1, "WAV FLOAT 1 channel(s) 16000 Hz"),
    ({"samplerate": SR, "subtype": "PCM_16", "format": "FLAC"}, 1, "FLAC PCM_16 1 channel(s) 16000 Hz"),
]


@pytest.mark.parametrize(("options", "channels", "stated"), REFUSED)
def test_read_pcm_refuses_other_formats_by_name(tmp_path, options, channels, stated):
    path = tmp_path / "x.wav"
    sf.write(path, np.zeros((100, channels)), **options)
    with pytest.raises(audio.AudioError) as e:
        audio.read_pcm(path, sr=SR)
    assert str(e.value) == f"{path}: {stated}: must be WAV PCM_16 1 channel(s) 16000 Hz; use `gunshot import`"
    assert (e.value.path, e.value.value) == (str(path), stated)


@pytest.mark.parametrize(("start", "frames"), [(0, 101), (60, 41), (101, -1), (500, 1)])
def test_read_pcm_never_gives_fewer_samples(tmp_path, start, frames):
    audio.write_pcm(tmp_path / "x.wav", np.zeros(100, np.int16), sr=SR)
    with pytest.raises(audio.AudioError, match=f"100 samples: must hold at least {start + max(frames, 0)}"):
        audio.read_pcm(tmp_path / "x.wav", sr=SR, start=start, frames=frames)


@pytest.mark.parametrize("call", [audio.read_pcm, audio.read, lambda path, sr: audio.header(path)])
def test_what_is_missing_or_no_audio_is_named(tmp_path, call):
    (tmp_path / "text.wav").write_text("no audio at all")
    for name in ("missing.wav", "text.wav"):
        with pytest.raises(audio.AudioError, match=f"{name}.*libsndfile must read it"):
            call(tmp_path / name, sr=SR)


def test_what_the_system_does_not_open_is_told_in_its_words(tmp_path):
    for path, words in ((tmp_path / "gone.wav", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(audio.AudioError) as e:
            audio.header(path)
        assert str(e.value) == f"{path}: {words}: FFmpeg or libsndfile must read it"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_first_sample_that_is_no_number_is_told(tmp_path, value):
    y = np.zeros((50_000, 2))
    y[40_123:, 1] = value
    sf.write(tmp_path / "x.wav", y, SR, subtype="FLOAT")
    with pytest.raises(audio.AudioError, match="NaN or infinite samples from frame 40123 on: every sample must be"):
        list(audio.blocks(tmp_path / "x.wav", sr=SR, block_s=1.0))


CODED = [("AU", "PCM_16"), ("CAF", "PCM_16"), ("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"),
         ("OGG", "OPUS"), ("RF64", "PCM_16"), ("W64", "PCM_16")]  # fmt: skip


def coded(kind: str, subtype: str, *, sr: int, n: int, seed: int = 0) -> bytes:
    """Return a file of noise."""
    out = io.BytesIO()
    y = 0.1 * np.random.default_rng(seed).standard_normal(n)
    sf.write(out, np.clip(y, -1, 1), sr, format=kind, subtype=subtype)
    return out.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "subtype"), CODED)
@settings(max_examples=15, deadline=None)
@given(st.integers(1, 30_000), st.integers(1, 30_000), st.sampled_from([24000, 48000]), st.integers(0, 9))
def test_files_joined_end_to_end_are_refused_and_each_alone_is_read(tmp_path_factory, kind, subtype, n, m, sr, seed):
    """Of the same rate or of another, the second one's sound would be lost, or its header heard as a click."""
    path = tmp_path_factory.mktemp("joined") / "x"
    first, second = coded(kind, subtype, sr=24000, n=n, seed=seed), coded(kind, subtype, sr=sr, n=m)
    for content, there, rate in ((first, n, 24000), (second, m, sr)):
        path.write_bytes(content)
        assert abs(len(audio.read(path, sr=rate)) - there) <= 2304 * (kind == "MP3")
    for content in (first + second, first + first):
        path.write_bytes(content)
        with pytest.raises(audio.AudioError) as e:
            audio.read(path, sr=SR)
        assert e.value.value.startswith(f"another {kind} file begins at byte ") and "one stream" in e.value.rule
        byte = int(e.value.value.split()[-1])
        assert len(first) <= byte <= len(first) + 40  # of an MP3 its header comes some bytes later


@pytest.mark.parametrize("kind", ["WAV", "AIFF"])
@given(st.integers(1, 5000), st.sampled_from([24000, 48000]))
def test_joined_wavs_are_no_audio_to_libsndfile(tmp_path_factory, kind, n, sr):
    path = tmp_path_factory.mktemp("joined") / "x"
    path.write_bytes(coded(kind, "PCM_16", sr=24000, n=n) + coded(kind, "PCM_16", sr=sr, n=1000))
    with pytest.raises(audio.AudioError, match="libsndfile must read it"):
        audio.read(path, sr=SR)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(audio.AudioError, match=r"x\.wav: 1000 of 100044 bytes: .*: libsndfile must write it"):
            audio.write_pcm(tmp_path / "x.wav", np.ones(50_000, np.int16), sr=SR)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.wav"
    audio.write_pcm(path, np.arange(9, dtype=np.int16), sr=SR)
    before = path.read_bytes()

    def cut_off(path):
        with atomic(path) as part:
            part.write_bytes(before[:20])
            raise RuntimeError("power cut")

    for name in ("x.wav", "new.wav"):
        with pytest.raises(RuntimeError, match="power cut"):
            cut_off(tmp_path / name)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["x.wav"]


def test_atomic_shows_nothing_before_the_end(tmp_path):
    path = tmp_path / "below" / ("long name " * 20 + ".csv")
    with atomic(path) as part:
        part.write_text("half")
        assert not path.exists() and part.parent == path.parent
        part.write_text("whole")
    assert path.read_text() == "whole" and os.listdir(path.parent) == [path.name]
    assert path.stat().st_mode & 0o777 == 0o644


def test_an_error_reaches_another_process_whole():
    error = pickle.loads(pickle.dumps(audio.AudioError("a.wav", "0 samples", "must not be empty")))
    assert (error.path, error.value, error.rule) == ("a.wav", "0 samples", "must not be empty")
    assert str(error) == "a.wav: 0 samples: must not be empty"


@pytest.mark.parametrize("sr", [8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000, 384000])
@settings(max_examples=5, deadline=None)
@given(st.floats(0.3, 0.7))
def test_a_click_stays_where_it_was_at_any_rate(tmp_path_factory, sr, at):
    """Within a sample of the slower of the two rates: a resampler's delay would be an onset's."""
    path = tmp_path_factory.mktemp("click") / "x.wav"
    y = np.zeros(sr)
    y[round(at * sr)] = 0.9
    sf.write(path, y, sr, subtype="FLOAT")
    samples = audio.read(path, sr=SR)
    assert abs(np.abs(samples).argmax() / SR - round(at * sr) / sr) <= 1 / min(sr, SR)
