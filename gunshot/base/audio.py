"""Audio in and out: decode, mix down, resample, int16 <-> float."""

import hashlib
import mmap
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from gunshot.base.files import atomic

FULL_SCALE = 32768
RATES = (1000, 1_000_000)  # Hz; a header outside is damaged, and resampling 1 Hz would fill the memory
CLIPPED = 127 / 128  # the largest sample of an 8-bit file; 0.07 dB below that of any other
MOST = 2**23  # values of all channels that are read at once
SILENCE_PA = 20e-6  # 0 dB SPL
LOUDEST = 1e6  # of full scale; what a float file has above is held there, before a sum of it is infinite


class AudioError(ValueError):
    """A file that cannot be used as audio. ``value`` is what was found, ``rule`` what is asked."""

    def __init__(self, path: Path | str, value: str, rule: str):
        super().__init__(f"{path}: {value}: {rule}")
        self.path, self.value, self.rule = str(path), value, rule

    def __reduce__(self):  # to reach the caller's process
        return type(self), (self.path, self.value, self.rule)


def to_float(pcm: np.ndarray) -> np.ndarray:
    """Return int16 samples [shape=(..., n)] as float32 in [-1, 1)."""
    return pcm.astype(np.float32) / np.float32(FULL_SCALE)


def to_int16(y: np.ndarray) -> np.ndarray:
    """Return float samples [shape=(..., n)] in [-1, 1) as int16, rounded and clipped at full scale."""
    return np.clip(np.rint(y * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


class Level:
    """Peak, offset and clipped share of a recording as it is stored, gathered block by block: a `watch` of `blocks`.

    Attributes
    ----------
    samples, clipped : int
        Samples of all channels, and those of them at full scale, `CLIPPED`.
    low, high : np.ndarray [shape=(channels,)]
        The lowest and the highest sample of each channel, 1 at full scale.
    """

    def __init__(self):
        self.samples, self.clipped, self._sum = 0, 0, 0.0
        self.low, self.high = np.inf, -np.inf

    def __call__(self, x: np.ndarray) -> None:
        """Take in a block, float32 [shape=(n, channels)]."""
        self.samples += x.size
        self.clipped += int(np.count_nonzero(np.abs(x) >= CLIPPED))
        self._sum += float(x.sum(dtype=float))
        self.low, self.high = np.minimum(self.low, x.min(axis=0)), np.maximum(self.high, x.max(axis=0))

    @property
    def peak(self) -> float:
        """Return the largest sample of any channel, either sign."""
        return float(max(-np.min(self.low), np.max(self.high)))

    @property
    def clipped_share(self) -> float:
        """Return the share of samples at full scale."""
        return self.clipped / self.samples

    @property
    def dc_offset(self) -> float:
        """Return the size of the mean of all samples."""
        return abs(self._sum) / self.samples


def sha256(pcm: np.ndarray) -> str:
    """Return the SHA-256 of int16 samples as little-endian bytes, in hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(pcm, dtype="<i2").tobytes()).hexdigest()


def spl_db(peak: np.ndarray, *, full_scale_pa: float) -> np.ndarray:
    """Return sizes of samples, 0 to 32768, as dB SPL, same shape; 0 counts as 1.

    Parameters
    ----------
    full_scale_pa : pascal at digital full scale, the microphone's sensitivity
    """
    return 20 * np.log10(np.maximum(peak, 1) / FULL_SCALE * full_scale_pa / SILENCE_PA)


@contextmanager
def _opened(path: Path | str) -> Iterator[sf.SoundFile]:
    """Give a file that libsndfile reads; AudioError where it does not, or stops to."""
    try:
        with sf.SoundFile(path) as file:
            yield file
    except sf.LibsndfileError as e:
        raise AudioError(path, _unreadable(path) or e.error_string, "libsndfile must read it") from None


def _unreadable(path: Path | str) -> str | None:
    """Return why the system does not open a file, of which libsndfile only says System error; None where it does."""
    try:
        with open(path, "rb"):
            return None
    except OSError as e:
        return e.strerror


_PROMISED = re.compile(r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*:\s*(\d+)\s*\(should be (\d+)\)", re.MULTILINE)
_OGG_PAGE = 65307  # bytes, at most: RFC 3533
_OGG_LAST = 4  # the flag of a stream's last page


def _truncated(file: sf.SoundFile) -> str | None:
    """Return why a file is cut short, None where it is whole; libsndfile reads wav, aiff, au, w64 and ogg that are."""
    for promised, held in _PROMISED.findall(file.extra_info):
        if int(promised) > int(held):
            return f"header promises {promised} bytes of data, file holds {held}"
    if file.format == "OGG":
        with open(file.name, "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _OGG_PAGE))
            tail = stream.read()
        page = tail[tail.rfind(b"OggS") :]
        sizes = page[27 : 27 + page[26]] if len(page) > 26 else b""
        if not sizes or not page[5] & _OGG_LAST or len(page) < 27 + len(sizes) + sum(sizes):
            return "no last page of the stream"
    return None


# How a file begins, by format. Of files joined end to end libsndfile reads the first, or takes headers for sound.
_BEGINNING = {
    "AU": rb"\.snd\0{3}|dns\..\0{3}",
    "CAF": rb"caff\0\x01\0\0desc",
    "FLAC": rb"fLaC[\0\x80]\0\0\x22",
    "MP3": rb"\0{9}(?:Xing|Info)",  # in the first frame, where it tells how many there are
    "OGG": rb"OggS\0\x02",
    "RF64": rb"RF64\xff{4}WAVE",
    "W64": rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb",
}


def _joined(file: sf.SoundFile) -> int | None:
    """Return the byte of a file at which another one begins, None where none does; of WAV and AIFF libsndfile tells."""
    if file.format not in _BEGINNING:
        return None
    with open(file.name, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        places = [found.start() for found in re.finditer(_BEGINNING[file.format], content, re.DOTALL)]
    return places[1] if len(places) > 1 else None


def blocks(
    path: Path | str,
    *,
    sr: int,
    block_s: float = 30.0,
    watch: Callable[[np.ndarray], None] | None = None,
    repair: bool = False,
) -> Iterator[np.ndarray]:
    """Yield a file's audio, mixed down and resampled to `sr`, in blocks of float32 [shape=(n,)].

    Memory is bounded by a block, however long the file. `watch` is called with each block as
    stored, before it is mixed down: float32 [shape=(n, channels)]. With `repair`, samples that are not finite
    become 0. Samples beyond LOUDEST are held there.

    Raises
    ------
    AudioError
        Not audio, empty, truncated, several files joined, at no sane sample rate, or, unless repaired, with samples
        that are not finite.
    """
    with _opened(path) as file:
        _check(path, file)
        resampler = soxr.ResampleStream(file.samplerate, sr, 1, dtype="float32", quality="HQ")
        done, size = 0, max(1, min(int(block_s * file.samplerate), MOST // file.channels))
        while done < file.frames:
            x = file.read(size, dtype="float32", always_2d=True)
            if not len(x):
                raise AudioError(path, f"{done} of {file.frames} frames", "a recording must not be truncated")
            finite = np.isfinite(x)
            if not (repair or finite.all()):
                first = done + int(finite.all(axis=1).argmin())
                raise AudioError(path, f"NaN or infinite samples from frame {first} on", "every sample must be finite")
            done += len(x)
            if watch:
                watch(x)
            np.nan_to_num(x, copy=False, posinf=0, neginf=0)
            mono = np.clip(x, -LOUDEST, LOUDEST, out=x).mean(axis=1)
            yield mono if file.samplerate == sr else resampler.resample_chunk(mono, last=done >= file.frames)


def _check(path: Path | str, file: sf.SoundFile) -> None:
    """Raise AudioError where the audio of a file cannot be had whole."""
    if file.frames == 0:
        raise AudioError(path, "0 samples", "a recording must not be empty")
    if remark := _truncated(file):
        raise AudioError(path, remark, "a recording must not be truncated")
    if (byte := _joined(file)) is not None:
        rule = "a recording must be one stream; split or convert it"
        raise AudioError(path, f"another {file.format} file begins at byte {byte}", rule)
    if not RATES[0] <= file.samplerate <= RATES[1]:
        raise AudioError(path, f"{file.samplerate} Hz", f"the sample rate must be {RATES[0]} to {RATES[1]} Hz")


def header(path: Path | str) -> tuple[int, float]:
    """Return the sample rate in Hz and the duration in s that a header states; AudioError where it is no audio."""
    with _opened(path) as file:
        return file.samplerate, file.frames / file.samplerate


def read(path: Path | str, *, sr: int) -> np.ndarray:
    """Return a whole file as float32 [shape=(n,)], mono, at `sr` Hz; AudioError as for `blocks`."""
    return np.concatenate(list(blocks(path, sr=sr)))


def read_pcm(path: Path | str, *, sr: int, start: int = 0, frames: int = -1) -> np.ndarray:
    """Return int16 samples [shape=(frames,)] from `start` of a mono 16-bit wav at `sr` Hz, as stored.

    Raises
    ------
    AudioError
        The file is not a mono 16-bit wav at `sr`, or ends before ``start + frames``.
    """
    with _opened(path) as file:
        found = f"{file.format} {file.subtype} {file.channels} channel(s) {file.samplerate} Hz"
        if (file.format, file.subtype, file.channels, file.samplerate) != ("WAV", "PCM_16", 1, sr):
            raise AudioError(path, found, f"must be WAV PCM_16 1 channel(s) {sr} Hz; use `gunshot import`")
        if start > file.frames or start + frames > file.frames:
            raise AudioError(path, f"{file.frames} samples", f"must hold at least {start + max(frames, 0)}")
        file.seek(start)
        return file.read(frames, dtype="int16")


def write_pcm(path: Path | str, pcm: np.ndarray, *, sr: int) -> None:
    """Write int16 samples [shape=(n,)] as a wav, whole or not at all; AudioError where libsndfile cannot."""
    with atomic(path) as part:
        try:
            sf.write(part, pcm, sr, format="WAV", subtype="PCM_16")
        except sf.LibsndfileError as e:
            held = f"{part.stat().st_size} of {44 + 2 * len(pcm)} bytes"
            raise AudioError(path, f"{held}: {e.error_string}", "libsndfile must write it") from None
