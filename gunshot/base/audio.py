"""Audio in and out: decode, mix down, resample, int16 <-> float."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from gunshot.base import decoding
from gunshot.base.decoding import SUFFIXES, AudioError, is_sound
from gunshot.base.files import atomic, shown

__all__ = ["SUFFIXES", "AudioError", "is_sound"]

FULL_SCALE = 32768
CLIPPED = 127 / 128  # the largest sample of an 8-bit file; 0.07 dB below that of any other
MOST = 2**23  # values of all channels that are read at once
SILENCE_PA = 20e-6  # 0 dB SPL
LOUDEST = 1e6  # of full scale; what a float file has above is held there, before a sum of it is infinite
HOT = 2  # of full scale; lossy codecs overshoot it by less
CANCELS = 0.2  # of the power that channels which have nothing in common leave in their mean; of x and -x/2, -12 dB


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
    samples, clipped, beyond, sounding : int
        Samples of all channels; those at full scale, `CLIPPED`; those that reach 1; those that are not 0.
    low, high : np.ndarray [shape=(channels,)]
        The lowest and the highest sample of each channel, 1 at full scale.
    """

    def __init__(self):
        self.samples, self.clipped, self.beyond, self.sounding, self._sum = 0, 0, 0, 0, 0.0
        self.low, self.high = np.inf, -np.inf

    def __call__(self, x: np.ndarray) -> None:
        """Take in a block, float32 [shape=(n, channels)]."""
        size = np.abs(x)
        self.samples += x.size
        self.clipped += int(np.count_nonzero(size >= CLIPPED))
        self.beyond += int(np.count_nonzero(size >= 1))
        self.sounding += int(np.count_nonzero(size))
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


def db(amplitude: float) -> float:
    """Return an amplitude as dB re full scale."""
    return float(20 * np.log10(amplitude)) if amplitude > 0 else -np.inf


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


class Notes:
    """What is learned of a file while `blocks` gives its audio; complete when that has ended.

    Attributes
    ----------
    decoder : str
        Name and version.
    samplerate : int
        Of the file, Hz.
    level : Level
        Of the samples as stored.
    peak : float
        The loudest sample of what was given, 1 at full scale.
    warnings : list of str
        What is amiss with the file, and heard all the same.
    """

    def __init__(self):
        self.decoder, self.samplerate, self.level, self.peak, self.warnings = "", 0, Level(), 0.0, []

    def faults(self, *, silence_db: float, max_clipped: float) -> list[tuple[str, str]]:
        """Return value and rule of what a recording to learn from must not be; see params.yaml, quality."""
        stored, faults = db(self.level.peak), []
        if stored < silence_db:
            return [(f"silent: peak {stored:.1f} dBFS", f"must reach quality.silence_db={silence_db:g} dBFS")]
        if self.level.clipped_share > max_clipped:
            clipped = f"clipped: {self.level.clipped_share:.3f} of samples at full scale"
            faults.append((clipped, f"at most quality.max_clipped={max_clipped:g}"))
        # An offset, a tone above half the new sample rate.
        audible = min(db(np.max(self.level.high - self.level.low) / 2), db(self.peak))
        if audible < silence_db:
            rule = f"what is left without offset, in mono, must reach quality.silence_db={silence_db:g} dBFS"
            faults.append((f"no audible content: {audible:.1f} dBFS", rule))
        return faults

    def _see(self, path: Path | str, x: np.ndarray) -> None:
        """Take in a block as stored; AudioError where its samples are scaled as integers."""
        self.level(x)
        if self.level.peak > 1 and self.level.beyond > self.level.sounding / 2:
            rule = "samples in floating point must lie in -1 to 1; divide those of 16 bits by 32768"
            raise AudioError(path, f"samples reach {self.level.peak:g} times full scale", rule)

    def _end(self, path: Path | str, dropped: int) -> None:
        if dropped:
            self.warnings.append(f"{dropped} samples are no numbers; they count as silence")
        if self.level.peak > HOT:
            self.warnings.append(f"samples reach {self.level.peak:g} times full scale, and are clipped there")


class _Mix:
    """Channels to one: their mean, or the loudest alone from where they cancel each other, in opposite phase."""

    def __init__(self, notes: Notes):
        self._notes, self._alone, self._power, self._left, self._frames = notes, None, 0.0, 0.0, 0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return a block [shape=(n, channels)] as mono [shape=(n,)]."""
        channels = x.shape[1]
        if channels > 1 and self._alone is None:
            mono = x.mean(axis=1)
            self._power = self._power + x.var(axis=0, dtype=np.float64) * len(x)
            self._left += float(mono.var(dtype=np.float64)) * len(x)
            if self._left >= CANCELS * self._power.mean() / channels:
                self._frames += len(x)
                return mono
            self._alone = int(self._power.argmax())
            since = f" from {self._frames / self._notes.samplerate:.1f} s on" if self._frames else ""
            remark = f"the {channels} channels cancel each other; channel {self._alone + 1} alone is heard{since}"
            self._notes.warnings.append(remark)
        return x.mean(axis=1) if self._alone is None else np.ascontiguousarray(x[:, self._alone])


def blocks(
    path: Path | str,
    *,
    sr: int,
    block_s: float = 30.0,
    watch: Callable[[np.ndarray], None] | None = None,
    repair: bool = False,
    notes: Notes | None = None,
) -> Iterator[np.ndarray]:
    """Yield a file's audio, mixed down and resampled to `sr`, in blocks of float32 [shape=(n,)].

    Memory is bounded by a block, however long the file. `watch` is called with each block as
    stored, before it is mixed down: float32 [shape=(n, channels)]. With `repair`, samples that are not finite
    become 0. Samples beyond LOUDEST are held there. Of channels in opposite phase the loudest alone is given.

    `notes` takes in what is learned of the file; without it, its warnings are logged.

    Raises
    ------
    AudioError
        Not audio, empty, truncated, several files joined, at no sane sample rate, with floats scaled as integers, or,
        unless repaired, with samples that are not finite.
    """
    noted, dropped = notes or Notes(), 0
    with decoding.opened(path) as source:
        noted.decoder, noted.samplerate, noted.warnings = source.decoder, source.samplerate, source.warnings
        mix = _Mix(noted)
        resampler = soxr.ResampleStream(source.samplerate, sr, 1, dtype="float32", quality="HQ")
        done, size = 0, max(1, min(int(block_s * source.samplerate), MOST // source.channels))
        while not source.ended:
            x = source.read(size)
            finite = np.isfinite(x)
            if not (repair or finite.all()):
                first = done + int(finite.all(axis=1).argmin())
                raise AudioError(path, f"NaN or infinite samples from frame {first} on", "every sample must be finite")
            done += len(x)
            if watch:
                watch(x)
            dropped += x.size - int(np.count_nonzero(finite))
            np.nan_to_num(x, copy=False, posinf=0, neginf=0)
            noted._see(path, x)
            mono = mix(np.clip(x, -LOUDEST, LOUDEST, out=x))
            y = mono if source.samplerate == sr else resampler.resample_chunk(mono, last=source.ended)
            noted.peak = max(noted.peak, min(1.0, round(float(np.abs(y).max(initial=0)) * FULL_SCALE) / FULL_SCALE))
            if source.ended:
                noted._end(path, dropped)
            yield y
    if notes is None:
        for warning in noted.warnings:
            logging.getLogger("gunshot").warning("warning: %s: %s", shown(path), warning)


def header(path: Path | str) -> tuple[int, float]:
    """Return a file's sample rate in Hz and its duration in s; AudioError where it cannot be had whole.

    Where no header tells the duration for certain, the file is decoded.
    """
    with decoding.opened(path) as source:
        while isinstance(source, decoding.Ffmpeg) and not source.ended:
            source.read(MOST // source.channels)
        return source.samplerate, source.frames / source.samplerate


def read(path: Path | str, *, sr: int) -> np.ndarray:
    """Return a whole file as float32 [shape=(n,)], mono, at `sr` Hz; AudioError as for `blocks`."""
    return np.concatenate(list(blocks(path, sr=sr)))


@contextmanager
def _sndfile(path: Path | str) -> Iterator[sf.SoundFile]:
    """Give a wav that the pipeline wrote; AudioError where it is none, or stops to be."""
    try:
        with sf.SoundFile(os.fsencode(path)) as file:
            yield file
    except sf.LibsndfileError as e:
        raise AudioError(path, decoding.unreadable(path) or e.error_string, "libsndfile must read it") from None


def read_pcm(path: Path | str, *, sr: int, start: int = 0, frames: int = -1) -> np.ndarray:
    """Return int16 samples [shape=(frames,)] from `start` of a mono 16-bit wav at `sr` Hz, as stored.

    Raises
    ------
    AudioError
        The file is not a mono 16-bit wav at `sr`, or ends before ``start + frames``.
    """
    with _sndfile(path) as file:
        form = f"{file.format} {file.subtype} {file.channels} channel(s) {file.samplerate} Hz"
        if (file.format, file.subtype, file.channels, file.samplerate) != ("WAV", "PCM_16", 1, sr):
            raise AudioError(path, form, f"must be WAV PCM_16 1 channel(s) {sr} Hz; use `gunshot import`")
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
