"""What follows the sound that a header states: more of it, or what is no sound."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot.base import audio
from tests.base.test_decoding import SR, file, heard, noise, quick, wav  # noqa: F401 - fixture

CHUNK = {  # another one, of a hundred bytes
    "AIFF": b"ANNO" + struct.pack(">I", 100) + bytes(range(100)),
    "CAF": b"note" + struct.pack(">Q", 100) + bytes(range(100)),
    "FLAC": b"TAG" + bytes(range(125)),
    "AU": b"TAG" + bytes(range(125)),
}


def stating(content: bytearray, kind: str, frames: int) -> bytearray:
    """A file of 16 bits, mono, whose header states other frames than it has."""
    match kind:
        case "AIFF":
            struct.pack_into(">I", content, content.index(b"COMM") + 10, frames)
            struct.pack_into(">I", content, content.index(b"SSND") + 4, 8 + 2 * frames)
        case "AU":
            struct.pack_into(">I", content, 8, 2 * frames)
        case "CAF":
            struct.pack_into(">Q", content, content.index(b"data") + 4, 4 + 2 * frames)
        case "FLAC":
            content[21:26] = (content[21] >> 4 << 36 | frames).to_bytes(5, "big")
    return content


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(CHUNK))
@quick
@given(st.integers(60_000, 100_000), st.integers(1000, 30_000))
def test_a_header_that_states_less_is_told_and_nothing_is_lost_in_silence(file, kind, n, stated):  # noqa: F811
    file.write_bytes(wav(noise(n), kind=kind))
    whole, notes = heard(file)
    assert len(whole) == n and notes.warnings == [] and notes.decoder.startswith("libsndfile")
    file.write_bytes(stating(wav(noise(n), kind=kind), kind, stated))
    if kind in ("AU", "FLAC"):
        y, notes = heard(file)
        sizes = f"header states {stated / SR:.3f} s of sound, the file holds {n / SR:.3f}"
        assert np.array_equal(y, whole) and notes.warnings == [f"{sizes}; all of it is heard"]
    else:
        with pytest.raises(audio.AudioError, match=rf"header states {stated} frames, which end at byte \d+ of \d+"):
            heard(file)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(CHUNK))
@quick
@given(st.integers(10_000, 20_000), st.binary(max_size=7).map(lambda b: b or bytes(3000)))
def test_what_follows_and_is_no_sound_changes_nothing(file, kind, n, filling):  # noqa: F811
    content = wav(noise(n), kind=kind)
    file.write_bytes(content)
    whole, _ = heard(file)
    padded = content + bytes(-len(content) % (2 if kind == "AIFF" else 1))
    for more in (CHUNK[kind], filling):
        file.write_bytes(padded + more)
        y, notes = heard(file)
        assert np.array_equal(y, whole) and notes.warnings == []


def test_an_au_whose_length_was_never_written_is_heard_whole_or_refused(file):  # noqa: F811
    content = wav(noise(60_000), kind="AU")
    file.write_bytes(content)
    whole, _ = heard(file)
    struct.pack_into(">I", content, 8, 2**32 - 1)
    file.write_bytes(content)
    assert np.array_equal(heard(file)[0], whole)
    struct.pack_into(">I", content, 8, 0)
    file.write_bytes(content)
    with pytest.raises(audio.AudioError, match="header states 0 frames, which end at byte 24 of 120024"):
        heard(file)
