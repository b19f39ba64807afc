"""Files with damaged parts: what is left is heard at its time, or the file is refused."""

import os
import struct
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot.base import audio
from tests.base.test_decoding import CODED, encoded, heard, noise, wav

SR = 16000
quick = settings(max_examples=15, deadline=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("damage")


@cache
def ogg(folder: Path, subtype: str) -> bytes:
    sf.write(folder / "whole.ogg", noise(6 * SR), SR, format="OGG", subtype=subtype)
    return (folder / "whole.ogg").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@quick
@given(st.floats(0.45, 0.7), st.integers(20, 40))
def test_a_damaged_page_of_ogg_moves_no_sound(folder, subtype, share, n):
    """A page whose checksum is wrong is passed over, and libsndfile puts what follows in its place."""
    content = bytearray(ogg(folder, subtype))
    begin = int(share * len(content))
    content[begin : begin + n] = bytes(byte ^ 0x55 for byte in content[begin : begin + n])
    (folder / "x.ogg").write_bytes(content)
    with pytest.raises(audio.AudioError, match=rf"[0-9]+ of {6 * SR} frames: a recording must not be truncated"):
        heard(folder / "x.ogg", SR)


@cache
def m4a(folder: Path) -> tuple[bytes, np.ndarray]:
    """Return a file with a click early and one late, and what is heard of it."""
    kind, codec, sr = CODED["x.m4a"]
    y = 0.01 * noise(4 * sr)
    for at in (sr // 2, 3 * sr + sr // 2):
        y[at : at + 300] += 0.5
    encoded(folder / "x.m4a", y, kind, codec, sr)
    return (folder / "x.m4a").read_bytes(), heard(folder / "x.m4a", sr)[0]


@quick
@given(st.floats(0.35, 0.65), st.integers(1, 20))
def test_damaged_packets_move_no_sound(folder, share, n):
    """What cannot be decoded is silence, and told; the index says where each packet begins."""
    content, whole = m4a(folder)
    begin = int(share * len(content))
    (folder / "x.m4a").write_bytes(content[:begin] + bytes(range(235, 235 + n)) + content[begin + n :])
    samples, notes = heard(folder / "x.m4a", CODED["x.m4a"][2])
    assert all(text.endswith("cannot be decoded; they count as silence") for text in notes.warnings)
    assert len(samples) == len(whole) and np.array_equal(np.abs(samples) > 0.2, np.abs(whole) > 0.2)


def test_a_packet_that_cannot_be_decoded_is_silence(folder):
    content, whole = m4a(folder)
    begin = len(content) // 2
    (folder / "x.m4a").write_bytes(content[:begin] + b"\xff" * 20 + content[begin + 20 :])
    samples, notes = heard(folder / "x.m4a", CODED["x.m4a"][2])
    assert len(notes.warnings) == 1 and len(samples) == len(whole)
    assert np.count_nonzero(samples == 0) >= 1024 > np.count_nonzero(whole == 0)


@quick
@given(st.integers(1, 3), st.integers(0, 40))
def test_a_chunk_that_libsndfile_does_not_understand_hides_no_sound(folder, channels, size):
    """Adobe Audition writes a PEAK chunk of one channel into files of two."""
    y = noise(3000, channels).astype(np.float32)
    content = wav(y, "FLOAT")
    peak = struct.pack("<4sI", b"PEAK", size) + bytes(size + size % 2)
    begin = content.index(b"PEAK") if b"PEAK" in content else content.index(b"data")
    (folder / "x.wav").write_bytes(content[:begin] + peak + content[content.index(b"data") :])
    samples, notes = heard(folder / "x.wav")
    assert np.allclose(samples, y.mean(axis=1), atol=1e-6) and not notes.warnings


@pytest.mark.parametrize("between", [b"", struct.pack("<4sI4s", b"LIST", 4, b"INFO")])
def test_sound_in_two_chunks_is_refused_not_halved(folder, between):
    content = wav(noise(3000))
    (folder / "x.wav").write_bytes(content + between + content[content.index(b"data") :])
    with pytest.raises(audio.AudioError):
        heard(folder / "x.wav")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(audio.AudioError, match="is a pipe or a device: a recording must be a file"):
        heard(tmp_path / "pipe.wav")
