"""Log-mel spectrograms by librosa's definitions, batched; each frame depends on its own samples alone."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np

from gunshot.base import audio, params
from gunshot.base.compiled import compiled

BLOCK = 264  # frames that are transformed at once: their spectra stay in a core's cache
LANES = 8  # frames whose bands are summed side by side
# The mel scale of Slaney's Auditory Toolbox (1998): MEL_HZ a mel up to LOG_HZ, from there a factor of exp(LOG_STEP).
MEL_HZ, LOG_HZ, LOG_STEP = 200 / 3, 1000.0, np.log(6.4) / 27
QUIET = 0.1  # share of a recording's time: its quiet, in each band
CODE_DB, CODE_ZERO = 0.5, 72  # int8 codes, where a network does not set its own: -100 dB is -128


class Sections(Protocol):
    """The sections of params.yaml that say what a log-mel is."""

    audio: params.Audio
    features: params.Features


class ContextSections(Sections, Protocol):
    """The sections of params.yaml that say what the network hears at once."""

    context: params.Context


def _mels(hz: float) -> float:
    return hz / MEL_HZ if hz < LOG_HZ else LOG_HZ / MEL_HZ + np.log(hz / LOG_HZ) / LOG_STEP


def _hz(mels: np.ndarray) -> np.ndarray:
    return np.where(mels < LOG_HZ / MEL_HZ, MEL_HZ * mels, LOG_HZ * np.exp(LOG_STEP * (mels - LOG_HZ / MEL_HZ)))


@cache
def mel_filters(*, sr: int, n_fft: int, n_mels: int, fmin: float, fmax: float) -> np.ndarray:
    """Return Slaney's mel filter bank [shape=(n_mels, 1 + n_fft // 2)], float32: triangles of one area each.

    To the bit it is `librosa.filters.mel`, whose import takes longer than all that `gunshot detect` does with it.
    """
    corners = _hz(np.linspace(_mels(fmin), _mels(fmax), n_mels + 2))
    low, middle, high = (corners[i : i + n_mels, None] for i in range(3))
    hz = np.fft.rfftfreq(n_fft, 1 / sr)
    bank = np.maximum(0, np.minimum((hz - low) / (middle - low), (high - hz) / (high - middle))).astype(np.float32)
    return (bank * (2 / (high - low))).astype(np.float32)


@cache
def _bands(**kept) -> tuple[np.ndarray, np.ndarray]:
    """Return the filter bank, float64, and the first bin and the end of each band that is not 0 there."""
    bank = mel_filters(**kept).astype(np.float64)
    inside = bank > 0
    first = inside.argmax(axis=1)
    return bank, np.column_stack([first, first + inside.sum(axis=1)])


@cache
def hann(n_fft: int) -> np.ndarray:
    """Return the periodic Hann window [shape=(n_fft,)], float64, as librosa's STFT uses it."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)


def frames(n: int, *, n_fft: int, hop_length: int) -> int:
    """Return how many whole frames `n` samples hold, without centring or padding."""
    return max(0, 1 + (n - n_fft) // hop_length)


def log_mel(
    pcm: np.ndarray,
    *,
    sr: int,
    n_fft: int,
    hop_length: int,
    n_mels: int,
    fmin: float,
    fmax: float,
    amin: float,
) -> np.ndarray:
    """Return log-mel spectrograms [shape=(..., n_mels, frames)], float32, in dB re full scale.

    ``10 log10(max(amin, M |STFT|^2))``: ``librosa.feature.melspectrogram`` with ``center=False`` and
    ``power_to_db(ref=1, top_db=None)``. No statistic is taken over the clip, so frame t of a
    recording is the same whichever chunk it is computed in.

    Parameters
    ----------
    pcm : np.ndarray [shape=(..., n)], int16 or float32 in [-1, 1)
        n must be at least n_fft.

    Raises
    ------
    ValueError
        Where n is smaller than n_fft or the mel range does not lie in 0 to sr/2.

    Examples
    --------
    A tone of 1 kHz at half of full scale, one chunk long, is loudest in band 9:

    >>> p = params.load("audio", "features")
    >>> tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(p.audio.chunk_length) / p.audio.sr)
    >>> mel = log_mel(audio.to_int16(tone), sr=p.audio.sr, **p.features.model_dump())
    >>> mel.shape, mel.dtype
    ((32, 33), dtype('float32'))
    >>> int(mel.mean(axis=1).argmax())
    9
    """
    n = pcm.shape[-1]
    if n < n_fft:
        raise ValueError(f"n={n} samples must be at least n_fft={n_fft}")
    if not 0 <= fmin < fmax <= sr / 2:
        raise ValueError(f"fmin={fmin:g}, fmax={fmax:g} must satisfy 0 <= fmin < fmax <= sr/2={sr / 2:g}")
    bank, edges = _bands(sr=sr, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax)
    chunks, n_frames = pcm.reshape(-1, n), frames(n, n_fft=n_fft, hop_length=hop_length)
    window = hann(n_fft) / (audio.FULL_SCALE if pcm.dtype == np.int16 else 1)
    block = np.zeros((BLOCK, n_fft))
    mel = np.empty((len(chunks) * n_frames, n_mels), np.float32)
    for i in range(0, len(mel), BLOCK):
        part = block[: len(mel) - i]
        _frame(chunks, window, hop_length, n_frames, i, part)
        # In double precision: a float32 FFT rounds at -140 dB of the loudest band, which is 0.02 dB in quiet ones.
        _mel(np.fft.rfft(part).view(np.float64), bank, edges, mel[i : i + BLOCK])
    np.maximum(mel, np.float32(amin), out=mel)
    np.log10(mel, out=mel)
    mel *= np.float32(10)
    return np.ascontiguousarray(mel.reshape(*pcm.shape[:-1], n_frames, n_mels).swapaxes(-1, -2))


@compiled()
def _frame(chunks, window, hop_length, n_frames, start, out):
    """Write the windowed frames from number `start` on, counted over all chunks, to `out` [shape=(frames, n_fft)]."""
    for f in range(min(len(out), len(chunks) * n_frames - start)):
        chunk, t = divmod(start + f, n_frames)
        samples, row = chunks[chunk, t * hop_length : t * hop_length + len(window)], out[f]
        for j in range(len(window)):
            row[j] = samples[j] * window[j]


@compiled()
def _mel(spectrum, bank, edges, out):
    """Write the mel power of spectra [shape=(frames, 2 * bins)], real and imaginary in turn, to `out`, float32.

    A loop, not a product of matrices: BLAS rounds by a row's place, and a frame must not depend on the other frames.
    """
    power, total = np.zeros((spectrum.shape[1] // 2, LANES)), np.empty(LANES)
    for first in range(0, len(out), LANES):  # side by side, so that the sums of several frames are one instruction
        count = min(LANES, len(out) - first)
        for f in range(count):
            parts = spectrum[first + f]
            for k in range(len(power)):
                power[k, f] = parts[2 * k] * parts[2 * k] + parts[2 * k + 1] * parts[2 * k + 1]
        for m in range(len(bank)):
            total[:] = 0.0
            for k in range(edges[m, 0], edges[m, 1]):
                for f in range(LANES):
                    total[f] += bank[m, k] * power[k, f]
            for f in range(count):
                out[first + f, m] = total[f]


def windows(pcm: np.ndarray, starts: Sequence[int], p: ContextSections) -> tuple[np.ndarray, np.ndarray]:
    """Return the log-mels of chunks of a recording with its sound around them, and how many frames of each are padding.

    Frame `context.before` of a window is the chunk's first. Before its beginning and after its end a recording has its
    own `quiet`.

    Parameters
    ----------
    pcm : np.ndarray [shape=(n,)], int16
    starts : of the chunks, in samples

    Returns
    -------
    float32 [shape=(chunks, n_mels, context.frames)] in dB, int [shape=(chunks,)]
    """
    f, count, before = p.features, p.context.frames, p.context.before
    out, padded = np.empty((len(starts), f.n_mels, count), np.float32), np.empty(len(starts), int)
    still = quiet(log_mel(pcm, sr=p.audio.sr, **f.model_dump()), count)
    for i, start in enumerate(starts):
        begin = int(start) - before * f.hop_length
        lead = max(0, -(begin // f.hop_length))
        first = begin + lead * f.hop_length
        there = min(count - lead, frames(len(pcm) - first, n_fft=f.n_fft, hop_length=f.hop_length))
        end = first + (there - 1) * f.hop_length + f.n_fft
        part = log_mel(pcm[first:end], sr=p.audio.sr, **f.model_dump())
        out[i] = np.concatenate([still[:, :lead], part, still[:, lead + there :]], axis=1)
        padded[i] = count - there
    return out, padded


def quiet(log_mel: np.ndarray, n_frames: int) -> np.ndarray:
    """Return frames that sound like the quiet of a log-mel [shape=(n_mels, frames)], [shape=(n_mels, n_frames)].

    Each band has the level below which it is for a tenth of the time. A device has always heard something before a
    shot; of many published recordings the shot is the first sound, and digital silence before it is no place.
    """
    return np.repeat(np.quantile(log_mel, QUIET, axis=1, keepdims=True).astype(np.float32), n_frames, axis=1)


def in_quiet(log_mel: np.ndarray, before: int, after: int) -> np.ndarray:
    """Return a log-mel [shape=(n_mels, frames)] with so many frames of its own `quiet` before and after it."""
    still = quiet(log_mel, max(before, after))
    return np.concatenate([still[:, :before], log_mel, still[:, :after]], axis=1)


def of_chunks(x: np.ndarray, p: ContextSections) -> np.ndarray:
    """Return the chunks' own frames of windows [shape=(n, n_mels, context.frames)], [shape=(n, n_mels, 33)]."""
    n_frames = chunk_frames(p)
    return x[..., p.context.before : p.context.before + n_frames]


def context_samples(p: ContextSections) -> tuple[int, int]:
    """Return how many samples of its context lie before a chunk, and behind it."""
    before = p.context.before * p.features.hop_length
    whole = (p.context.frames - 1) * p.features.hop_length + p.features.n_fft
    return before, whole - before - p.audio.chunk_length


def heard(x: np.ndarray, n_frames: int, p: ContextSections) -> np.ndarray:
    """Return what a model whose windows have `n_frames` frames hears of windows [shape=(n, n_mels, context.frames)]."""
    return x if n_frames == p.context.frames else of_chunks(x, p)


def chunk_frames(p: Sections) -> int:
    """Return how many frames a chunk has."""
    return frames(p.audio.chunk_length, n_fft=p.features.n_fft, hop_length=p.features.hop_length)


def of_file(
    path: Path | str, *, sr: int, n_fft: int, hop_length: int, min_length: int, repair: bool = False, **mel
) -> np.ndarray:
    """Return the log-mel of a recording of any length, rate and channels, float32 [shape=(n_mels, frames)].

    The audio is read, resampled and rounded to int16 in blocks, so that memory holds the frames alone
    (20 kB a second). One shorter than `min_length` samples is filled up with silence. `repair` is that of `blocks`.

    Raises
    ------
    gunshot.base.audio.AudioError
        As for `gunshot.base.audio.blocks`.
    """
    kept = {"sr": sr, "n_fft": n_fft, "hop_length": hop_length, **mel}
    return np.concatenate(list(parts_of_file(path, min_length=min_length, repair=repair, **kept)), axis=1)


def parts_of_file(
    path: Path | str, *, sr: int, n_fft: int, hop_length: int, min_length: int, repair: bool = False, **mel
) -> Iterator[np.ndarray]:
    """Yield what `of_file` returns part by part [shape=(n_mels, frames)], as the blocks are read."""
    rest, total = np.zeros(0, np.int16), 0
    kept = {"sr": sr, "n_fft": n_fft, "hop_length": hop_length, **mel}
    for block in audio.blocks(path, sr=sr, repair=repair):
        total += len(block)
        rest = np.concatenate([rest, audio.to_int16(block)])
        n = frames(len(rest), n_fft=n_fft, hop_length=hop_length)
        if n > 0 and total >= min_length:
            yield log_mel(rest[: (n - 1) * hop_length + n_fft], **kept)
            rest = rest[n * hop_length :]
    if total < min_length:
        yield log_mel(np.pad(rest, (0, min_length - len(rest))), **kept)


def codes(log_mel: np.ndarray, *, scale: float = CODE_DB, zero_point: int = CODE_ZERO) -> np.ndarray:
    """Return log-mels in dB as int8 codes of `scale` dB, same shape: round half to even, then saturate."""
    steps = np.divide(log_mel, np.float32(scale), dtype=np.float32)
    steps = np.add(np.rint(steps, out=steps), np.float32(zero_point), out=steps)
    return np.clip(steps, -128, 127, out=steps).astype(np.int8)
