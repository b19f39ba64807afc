"""Files whose headers lie or say nothing, and what libsndfile does not read: all that is there is heard, or refused."""

import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot.base import audio, riff

SR = 44100
NEVER = [0, 2**32 - 1, 2**31 - 1, 2**31 - 2**12, (2**31 - 2**12) // 6 * 6, 2**31, 2**32 - 1 - 36]
quick = settings(max_examples=25, deadline=None)


def noise(n: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((n, channels)).clip(-5, 5)


def heard(path: Path, sr: int = SR, **options) -> tuple[np.ndarray, audio.Notes]:
    notes = audio.Notes()
    return np.concatenate(list(audio.blocks(path, sr=sr, notes=notes, **options))), notes


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("decoding") / "x"


def wav(y: np.ndarray, subtype: str = "PCM_16", kind: str = "WAV") -> bytearray:
    out = io.BytesIO()
    sf.write(out, y, SR, format=kind, subtype=subtype)
    return bytearray(out.getvalue())


# -- MP3 without a length ----------------------------------------------------------------------------------------


def mp3(y: np.ndarray, mode: str, level: float) -> bytes:
    """Return an MP3 without its first frame, which states how many there are."""
    out = io.BytesIO()
    sf.write(out, y, SR, format="MP3", bitrate_mode=mode, compression_level=level)
    content = out.getvalue()
    rate = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)[content[2] >> 4]
    assert b"Xing" in content[:50] or b"Info" in content[:50]
    return content[144_000 * rate // SR + (content[2] >> 1 & 1) :]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@settings(max_examples=6, deadline=None)
@given(st.integers(60_000, 200_000), st.sampled_from([1, 2]), st.sampled_from([0.1, 0.4, 0.8]), st.booleans())
def test_an_mp3_that_states_no_length_is_heard_to_its_end(file, mode, n, channels, level, tagged):
    y = noise(n, channels)
    y[: n // 2] *= 0.01  # a variable rate has little to say here
    content = mp3(y, mode, level)
    file.write_bytes(b"ID3\4\0\0\0\0\1\0" + bytes(128) + content if tagged else content)
    samples, notes = heard(file)
    assert n <= len(samples) < n + 4 * 1152 and notes.decoder.startswith("FFmpeg") and not notes.warnings
    assert audio.header(file) == (SR, len(samples) / SR)
    last = samples[-n // 4 : -4 * 1152]
    assert np.sqrt(np.square(last).mean()) > 0.02


@pytest.mark.slow
@quick
@given(st.integers(30_000, 60_000), st.integers(30_000, 60_000))
def test_an_mp3_that_states_less_than_it_holds_is_heard_whole(file, n, m):
    out = io.BytesIO()
    sf.write(out, noise(n), SR, format="MP3", bitrate_mode="CONSTANT", compression_level=0.5)
    file.write_bytes(out.getvalue() + mp3(noise(m), "CONSTANT", 0.5))
    samples, notes = heard(file)
    assert abs(len(samples) - n - m) < 6 * 1152 and "more follow; all of it is heard" in notes.warnings[0]


def test_an_mp3_that_states_its_length_is_libsndfile_s(file):
    sf.write(file, noise(50_000), SR, format="MP3")
    samples, notes = heard(file)
    assert notes.decoder == f"libsndfile {sf.__libsndfile_version__}"
    assert np.array_equal(samples, sf.read(file, dtype="float32", always_2d=True)[0].mean(axis=1))


# -- WAV with another length -------------------------------------------------------------------------------------


@quick
@given(st.data())
def test_a_wav_that_states_less_than_it_holds_is_heard_whole(file, data):
    """Also in a wav with chunks before its sound; both sizes are told."""
    subtype = data.draw(st.sampled_from(["PCM_16", "PCM_24", "PCM_U8", "FLOAT"]))
    n = 2 * data.draw(st.integers(500, 10_000))  # no pad byte: where no length is stated, it looks like a sample
    y = noise(n, data.draw(st.sampled_from([1, 2])))
    content = wav(y, subtype)
    file.write_bytes(content)
    whole, notes = heard(file)
    assert not notes.warnings
    start = content.index(b"data") + 8
    held = len(content) - start
    stated = data.draw(st.sampled_from(NEVER) | st.integers(0, max(0, held - 64)))
    content[start - 4 : start] = struct.pack("<I", stated)
    content[4:8] = struct.pack(
        "<I", data.draw(st.sampled_from([0, 2**32 - 1, len(content) - 8, stated + 36 & 0xFFFFFFFF]))
    )
    if data.draw(st.booleans()):
        content[12:12] = struct.pack("<4sI", b"JUNK", 28) + bytes(28)
    file.write_bytes(content)
    samples, notes = heard(file)
    assert np.array_equal(samples, whole)
    (warning,) = notes.warnings
    assert f"states {stated} bytes" in warning and f"holds {held}" in warning
    assert audio.header(file) == (SR, len(whole) / SR)


@quick
@given(st.integers(1000, 5000), st.integers(1, 2**31 - 5000))
def test_a_wav_that_states_more_than_it_holds_is_truncated(file, n, more):
    content = wav(noise(n))
    content[40:44] = struct.pack("<I", 2 * n + more)
    file.write_bytes(content)
    with pytest.raises(audio.AudioError, match=f"promises {2 * n + more} bytes of data, file holds {2 * n}"):
        heard(file)


@quick
@given(
    st.integers(100, 3000), st.sampled_from([b"LIST", b"id3 ", b"bext", b"cue "]), st.binary(max_size=99), st.booleans()
)
def test_what_follows_the_sound_is_no_sound(file, n, name, content, padded):
    """A chunk, also behind sound of an odd size without the byte that fills it up; a player's tag; zeros."""
    chunk = struct.pack("<4sI", name, len(content)) + content
    y = noise(2 * n + 1)
    sound = wav(y, "PCM_U8")
    sound = sound[: sound.index(b"data") + 8 + len(y)]
    for end in (chunk, b"TAG" + content.ljust(125), bytes(500), content[:7]):
        file.write_bytes(sound + bytes(padded) + end)
        samples, notes = heard(file)
        assert len(samples) == len(y) and not notes.warnings


@pytest.mark.parametrize("kind", ["RF64", "BW64"])
@pytest.mark.parametrize("stated", [0, 2000, 2**64 - 1])
def test_an_rf64_that_states_another_length_is_heard_whole(file, kind, stated):
    content = wav(noise(9000), kind="RF64")
    place = content.index(b"ds64") + 16
    content[:4] = kind.encode()
    content[place : place + 8] = struct.pack("<Q", stated)
    file.write_bytes(content)
    samples, notes = heard(file)
    assert len(samples) == 9000 and f"states {stated} bytes" in notes.warnings[0]


@settings(max_examples=5, deadline=None)
@given(st.integers(1, 2**20))
def test_a_size_that_wrapped_at_4_gib_is_the_whole(file, over):
    """The file is sparse: only its header is on the disk."""
    held = 2**32 + 2 * over
    file.write_bytes(wav(noise(10))[:40] + struct.pack("<I", 2 * over) + noise(10).astype(np.float32).tobytes() * 9000)
    with file.open("r+b") as stream:
        stream.truncate(44 + held)
        assert riff.data(stream).held == held
    assert audio.header(file) == (SR, held / 2 / SR)
    block = next(audio.blocks(file, sr=SR, block_s=0.1, notes=audio.Notes()))
    assert len(block) == 4410 and np.abs(block).max() > 0


def test_a_flac_of_unknown_length_is_heard_whole(file):
    content = wav(noise(30_000), kind="FLAC")
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    file.write_bytes(content)
    samples, notes = heard(file)
    assert len(samples) == 30_000 and notes.decoder.startswith("FFmpeg")


# -- what libsndfile does not read -------------------------------------------------------------------------------

CODED = {
    "x.m4a": ("ipod", "aac", 44100), "x.mp4": ("mp4", "aac", 48000), "x.aac": ("adts", "aac", 16000),
    "x.mov": ("mov", "alac", 44100), "x.webm": ("webm", "libopus", 48000), "x.wma": ("asf", "wmav2", 44100),
    "x.mka": ("matroska", "aac", 44100), "x.caf": ("caf", "alac", 44100), "x.wv": ("wv", "wavpack", 44100),
    "x.ts": ("mpegts", "aac", 48000), "x.flv": ("flv", "aac", 44100), "x.ac3": ("ac3", "ac3", 48000),
    "x.tta": ("tta", "tta", 44100),
}  # fmt: skip


def encoded(path: Path, y: np.ndarray, kind: str, codec: str, sr: int, video: bool = False) -> None:
    layout = "stereo" if y.shape[1] == 2 else "mono"
    with av.open(str(path), "w", format=kind) as out:
        stream = out.add_stream(codec, rate=sr, layout=layout)
        stream.bit_rate = 96_000
        if video:
            picture = out.add_stream("mpeg4", rate=10)
            picture.width, picture.height = 64, 64
        size = 2048 if codec == "wmav2" else 1024
        for i in range(0, len(y) // size * size, size):
            part = np.ascontiguousarray(y[i : i + size].T, np.float32)
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
            frame.rate, frame.pts = sr, i
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if video:
            out.mux([p for _ in range(5) for p in picture.encode(av.VideoFrame(64, 64, "yuv420p"))])
            out.mux(picture.encode(None))


@pytest.mark.slow
@pytest.mark.parametrize("name", CODED)
@pytest.mark.parametrize("channels", [1, 2])
def test_ffmpeg_reads_what_libsndfile_does_not(tmp_path, name, channels):
    kind, codec, sr = CODED[name]
    y = noise(3 * sr, channels) * 0.01
    y[2 * sr : 2 * sr + 300] += 0.5
    encoded(tmp_path / name, y, kind, codec, sr)
    samples, notes = heard(tmp_path / name, 16000)
    assert notes.samplerate == sr and notes.decoder.startswith("FFmpeg") and not notes.warnings
    assert abs(len(samples) / 16000 - 3) < 0.12
    assert abs(np.abs(samples).argmax() / 16000 - 2) < 0.13  # codecs' delays
    assert audio.header(tmp_path / name)[1] == pytest.approx(len(samples) / 16000, abs=1e-4)


def test_the_sound_of_a_video_is_heard(tmp_path):
    encoded(tmp_path / "phone.mp4", noise(2 * SR), "mp4", "aac", SR, video=True)
    assert abs(len(heard(tmp_path / "phone.mp4")[0]) / SR - 2) < 0.1


@pytest.mark.parametrize("name", ["x.m4a", "x.webm", "x.wma"])
@quick
@given(st.floats(0, 0.8))
def test_what_is_cut_off_is_refused(tmp_path_factory, name, share):
    file = tmp_path_factory.getbasetemp() / f"whole {name}"
    kind, codec, sr = CODED[name]
    if not file.exists():
        encoded(file, noise(3 * sr), kind, codec, sr)
    cut = file.with_name(name)
    cut.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(audio.AudioError):
        heard(cut)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*CODED]), st.data())
def test_damaged_bytes_are_heard_or_refused(tmp_path_factory, name, data):
    file = tmp_path_factory.getbasetemp() / f"damaged {name}"
    kind, codec, sr = CODED[name]
    if not file.exists():
        encoded(file, noise(sr), kind, codec, sr)
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 9))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    changed = file.with_name(name)
    changed.write_bytes(content)
    try:
        samples, _ = heard(changed)
    except audio.AudioError as e:
        assert e.value and e.rule
    else:
        assert np.isfinite(samples).all()


# -- what is checked of all --------------------------------------------------------------------------------------


@quick
@given(st.integers(1000, 9000), st.sampled_from([-1.0, -0.9, -1.1]), st.integers(1, 3))
def test_of_opposite_channels_one_is_heard_and_named(file, n, factor, pairs):
    y = noise(n)
    sf.write(file, np.tile(np.hstack([y, factor * y]), pairs), SR, format="WAV", subtype="FLOAT")
    samples, notes = heard(file)
    louder = 1 if factor > -1.05 else 2
    assert notes.warnings == [f"the {2 * pairs} channels cancel each other; channel {louder} alone is heard"]
    np.testing.assert_allclose(samples, (y if louder == 1 else factor * y)[:, 0], atol=1e-6)


@quick
@given(st.integers(1000, 9000), st.floats(-0.99, 0), st.booleans())
def test_of_two_channels_one_is_heard_where_their_mean_is_12_db_below_it(file, n, factor, swapped):
    y = noise(n)
    both = np.hstack([y, factor * y])[:, :: -1 if swapped else 1]
    sf.write(file, both, SR, format="WAV", subtype="FLOAT")
    mono, notes = heard(file)
    if factor < -0.5:  # 20 log10((1 - 0.5) / 2) = -12 dB
        assert notes.warnings == [f"the 2 channels cancel each other; channel {1 + swapped} alone is heard"]
        np.testing.assert_allclose(mono, y[:, 0], atol=1e-6)
    elif factor > -0.499:
        assert not notes.warnings
        np.testing.assert_allclose(mono, (1 + factor) / 2 * y[:, 0], atol=1e-6)


@quick
@given(st.integers(1, 9000), st.integers(2, 8), st.floats(-0.7, 1.0), st.sampled_from([0.001, 0.05, 30.0]))
def test_other_channels_are_averaged_to_the_bit(file, n, channels, alike, block_s):
    rng = np.random.default_rng(n)
    y = (alike * rng.standard_normal((n, 1)) * (1 if alike > 0 else np.resize([1, -1], channels))) * 0.1
    y = (y + 0.1 * rng.standard_normal((n, channels))).astype(np.float32)
    sf.write(file, y, SR, format="WAV", subtype="FLOAT")
    if n > 200 and block_s == 30.0:
        assert np.array_equal(heard(file)[0], y.mean(axis=1))


def test_from_where_channels_cancel_one_is_heard(file):
    y = np.concatenate([noise(2 * SR, 2) * 0.01, np.repeat(noise(SR), 2, axis=1) * [1, -1]])
    sf.write(file, y, SR, format="WAV", subtype="FLOAT")
    samples, notes = heard(file, block_s=1.0)
    assert notes.warnings == ["the 2 channels cancel each other; channel 1 alone is heard from 2.0 s on"]
    np.testing.assert_allclose(samples[2 * SR :], y[2 * SR :, 0], atol=1e-6)


@quick
@given(st.floats(3, 32768), st.integers(500, 5000), st.booleans())
def test_floats_scaled_as_integers_are_refused(file, peak, n, quiet):
    y = noise(n) / np.abs(noise(n)).max() * peak
    y[n // 4 :] *= not quiet  # digital silence is no sound
    y = np.sign(y) * np.ceil(np.abs(y))
    sf.write(file, y, SR, format="WAV", subtype="FLOAT")
    with pytest.raises(audio.AudioError, match=r"times full scale: .*divide those of 16 bits by 32768"):
        heard(file)


def test_warnings_that_nobody_asks_for_are_logged(file, caplog):
    content = wav(noise(1000))
    content[40:44] = struct.pack("<I", 100)
    file.write_bytes(content)
    audio.read(file, sr=SR)
    assert [r.message for r in caplog.records] == [
        f"warning: {file}: header states 100 bytes of sound, the file holds 2000; all of it is heard"
    ]


@pytest.mark.parametrize("name", [b"latin\xe9.wav", b"x\xff\xfe.mp3", b"y\xe9.m4a"])
def test_a_name_that_is_no_text_is_heard(tmp_path, name):
    kind = name[-3:].decode()
    if kind == "m4a":
        encoded(tmp_path / "x.m4a", noise(SR), *CODED["x.m4a"])
    else:
        sf.write(tmp_path / f"x.{kind}", noise(SR), SR)
    path = tmp_path / os.fsdecode(name)
    (tmp_path / f"x.{kind}").rename(path)
    assert abs(len(heard(path)[0]) - SR) < 2500
    path.write_bytes(b"")
    with pytest.raises(audio.AudioError) as e:
        heard(path)
    str(e.value).encode()  # can be printed and stored
    assert "\\udc" in e.value.path


PEAK = """
import sys
from pathlib import Path
from gunshot.base import audio
first = next(audio.blocks(sys.argv[1], sr=16000, notes=audio.Notes()))
status = Path("/proc/self/status").read_text()  # getrusage would tell the peak of the process that started this one
print(int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""


@pytest.mark.slow
def test_a_huge_rf64_is_opened_in_bounded_memory(tmp_path):
    """5.5 GB, sparse; it is heard block by block."""
    path, n = tmp_path / "huge.rf64", 1000
    content = wav(noise(n), kind="RF64")
    held, place = 5_500_000_000, content.index(b"ds64") + 8
    start = content.index(b"data") + 8
    content[place : place + 24] = struct.pack("<QQQ", held + start - 8, held, held // 2)
    path.write_bytes(content)
    with path.open("r+b") as stream:
        stream.truncate(start + held)
    done = subprocess.run([sys.executable, "-c", PEAK, path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300, done.stdout  # MB, Python and NumPy among them


# -- who is sound ------------------------------------------------------------------------------------------------


def test_sound_is_known_by_its_suffix_or_by_its_bytes(tmp_path):
    texts = {"s1.txt": b"a shot", "s1.json": b'{"a": 1}', "s1.xml": b"<a/>", "s1.png": b"\x89PNG\r\n\x1a\n" + bytes(40)}
    texts |= {"tags.csv": b"", "s2.txt": b"", "typescript.ts": b"const x = 1;\n" * 400}
    for name, content in (texts | {"broken.wav": b"", "cut.m4a": b"x", "rec": bytes(wav(noise(99)))}).items():
        (tmp_path / name).write_bytes(content)
    encoded(tmp_path / "stream.ts", noise(SR), *CODED["x.ts"])
    assert {name for name in texts if audio.is_sound(tmp_path / name)} == set()
    assert all(audio.is_sound(tmp_path / name) for name in ("broken.wav", "cut.m4a", "rec", "stream.ts"))
