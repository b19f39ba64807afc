"""Near-duplicates: recordings that hold the same sound, re-encoded, resampled, louder or cut elsewhere."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import maximum_filter
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from gunshot.base import audio, processes, tables

N_FFT, HOP = 1024, 256
AROUND = (15, 7)  # bins and frames in which a landmark is the largest
PER_FRAME = 0.6  # landmarks, at most
FAN, REACH = 6, 63  # partners of a landmark, and frames to the furthest
COMMON = 40  # a hash in more recordings than this says nothing
BLOCK = 512  # recordings whose candidates are counted at once, so that memory does not grow with their pairs
HASHES = 4  # equal ones at one offset make a candidate
SURE, FEW = 8, 3  # with fewer than SURE only each recording's FEW best candidates are compared
SLACK_S = 0.05  # around a candidate's offset, in which the waveforms are compared
OVERLAP_S = 0.25  # that two recordings must share
SIMILARITY = 0.7  # from which on two recordings are near-duplicates; unrelated ones reach 0.65
PAIR = {"a": str, "b": str, "offset_s": float, "similarity": float}


def landmarks(pcm: np.ndarray, *, sr: int) -> np.ndarray:
    """Return hashes of pairs of spectral peaks and their frames, int64 [shape=(hashes, 2)] (Wang 2003).

    A hash is both peaks' bins and the frames between them, so that neither level nor place in the recording matters.
    A. Wang, "An industrial-strength audio search algorithm", ISMIR 2003.
    """
    if len(pcm) < 2 * N_FFT:
        return np.zeros((0, 2), np.int64)
    power = np.abs(ShortTimeFFT(hann(N_FFT), HOP, sr).stft(audio.to_float(pcm))) ** 2
    level = np.log(power + 1e-9)
    peaks = (level == maximum_filter(level, AROUND)) & (level > np.median(level))
    bins, frames = np.nonzero(peaks)
    most = int(PER_FRAME * level.shape[1]) + 1
    strongest = np.argsort(-level[bins, frames], kind="stable")[:most]
    order = strongest[np.lexsort((bins[strongest], frames[strongest]))]
    bins, frames = bins[order].astype(np.int64), frames[order].astype(np.int64)
    marks = []
    for ahead in range(1, FAN + 1):
        gap = frames[ahead:] - frames[:-ahead]
        near = gap <= REACH
        hashes = (bins[:-ahead] << 16 | bins[ahead:] << 6 | gap)[near]
        marks.append(np.stack([hashes, frames[:-ahead][near]], axis=1))
    return np.concatenate(marks) if marks else np.zeros((0, 2), np.int64)


def candidates(prints: list[np.ndarray]) -> np.ndarray:
    """Return pairs of recordings that share hashes at one offset, int64 [shape=(pairs, 3)]: a < b, frames.

    Pairs that share HASHES by chance grow with the square of the recordings, so that those of a few hashes must be
    among the best of one of their recordings: then all grow with the recordings.
    """
    owner = np.repeat(np.arange(len(prints)), [len(p) for p in prints])
    every = np.concatenate([*prints, np.zeros((0, 2), np.int64)])
    order = np.lexsort((owner, every[:, 0]))
    hashes, frames, owner = every[order, 0], every[order, 1], owner[order]
    starts = np.flatnonzero(np.r_[True, hashes[1:] != hashes[:-1]]) if len(hashes) else np.zeros(0, int)
    usable = np.repeat(np.diff(np.r_[starts, len(hashes)]) <= COMMON, np.diff(np.r_[starts, len(hashes)]))
    hashes, frames, owner = hashes[usable], frames[usable], owner[usable]
    place = np.argsort(owner, kind="stable")
    edges = np.searchsorted(owner[place], np.arange(0, len(prints) + BLOCK, BLOCK))
    parts = [_offsets(hashes, frames, owner, place[i:j]) for i, j in pairwise(edges)]
    return _best(np.concatenate([*parts, np.zeros((0, 4), np.int64)]))[:, :3]


def _best(rows: np.ndarray) -> np.ndarray:
    """Return of rows a, b, frames and equal hashes those of SURE, and the FEW best others of each a and of each b."""
    kept = rows[:, 3] >= SURE
    others = np.flatnonzero(~kept)
    for end in (0, 1):
        order = others[np.lexsort((-rows[others, 3], rows[others, end]))]
        name = rows[order, end]
        kept[order[:FEW]] = True
        kept[order[FEW:][name[FEW:] != name[:-FEW]]] = True
    return rows[kept]


def _offsets(hashes: np.ndarray, frames: np.ndarray, owner: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return a, b, frames and equal hashes of all pairs whose first recordings have the hashes at `place`.

    Equal hashes lie side by side, by their owners. A pair of recordings and an offset are one number, since those are
    sorted ten times as fast as rows are.
    """
    reach = int(frames.max(initial=0)) + 1  # no offset is longer
    first, count = int(owner[place[:1]].sum()), int(owner.max(initial=0)) + 1  # `place` is by owners
    votes = []
    for apart in range(1, COMMON):
        place = place[place < len(hashes) - apart]
        place = place[hashes[place] == hashes[place + apart]]  # who has no equal here has none further on
        one = place[owner[place] != owner[place + apart]]
        pair = (owner[one] - first) * count + owner[one + apart]
        votes.append(pair * (2 * reach) + frames[one] - frames[one + apart] + reach)
    votes, counts = np.unique(np.concatenate(votes), return_counts=True)
    votes, counts = votes[counts >= HASHES], counts[counts >= HASHES]
    pair, offset = np.divmod(votes, 2 * reach)
    best = np.lexsort((-counts, pair))
    kept = best[np.diff(pair[best], prepend=-1) > 0]
    a, b = np.divmod(pair[kept], count)
    return np.stack([a + first, b, offset[kept] - reach, counts[kept]], axis=1)


def similarity(a: np.ndarray, b: np.ndarray, offset: int, *, sr: int) -> tuple[float, int]:
    """Return how alike two recordings are where they overlap, 0 to 1, and the offset of `b` in `a` in samples.

    The lesser of two maxima around `offset`: of the normalized cross-correlation of their differences from sample to
    sample, and of the square root of that in which every frequency weighs the same (Knapp and Carter 1976, GCC-PHAT).
    A hum or tone that two recordings share is but one frequency of many to the second; two single clicks, whose
    frequencies all agree, differ in how strong these are to the first.
    """
    x, y = a[max(0, offset) :], b[max(0, -offset) :]
    n = min(len(x), len(y))
    if n < OVERLAP_S * sr:
        return 0.0, offset
    x, y = (np.diff(audio.to_float(pcm[:n]), prepend=np.float32(0)) for pcm in (x, y))
    size = next_fast_len(2 * n, real=True)
    cross = rfft(x, size) * np.conj(rfft(y, size))
    magnitude = np.abs(cross)
    white = irfft(np.divide(cross, magnitude, out=np.zeros_like(cross), where=magnitude > 0), size)
    plain = irfft(cross, size) / max(float(np.sqrt((x @ x) * (y @ y))), 1e-12)
    lags = np.arange(-int(SLACK_S * sr), int(SLACK_S * sr) + 1)
    at = int(np.argmax(plain[lags]))
    beside = white[lags[at] + np.array([-1, 0, 1])].max()
    return float(np.clip(min(plain[lags[at]], np.sqrt(max(beside, 0.0))), 0, 1)), offset + int(lags[at])


def _load(path: str, root: Path, sr: int) -> np.ndarray:
    return landmarks(audio.read_pcm(root / path, sr=sr), sr=sr)


def _compare(pair: tuple[str, str, int], root: Path, sr: int) -> tuple[float, int]:
    a, b, frames = pair
    return similarity(audio.read_pcm(root / a, sr=sr), audio.read_pcm(root / b, sr=sr), frames * HOP, sr=sr)


def pairs(paths: list[str], root: Path, *, sr: int, workers: int) -> pd.DataFrame:
    """Return the near-duplicates among recordings below `root`, columns PAIR, `offset_s` is where b begins in a."""
    loaded = processes.in_order(_load, paths, root, sr, workers=workers, batch=16)
    prints = list(tqdm(loaded, total=len(paths), desc="group", unit="recording"))
    close = [(paths[a], paths[b], int(frames)) for a, b, frames in candidates(prints)]
    alike = processes.in_order(_compare, close, root, sr, workers=workers, batch=16)
    alike = tqdm(alike, total=len(close), desc="compare", unit="pair")
    rows = [
        {"a": a, "b": b, "offset_s": round(offset / sr, 4), "similarity": round(value, 4)}
        for (a, b, _), (value, offset) in zip(close, alike, strict=True)
        if value >= SIMILARITY
    ]
    return tables.frame(rows, PAIR).sort_values(["a", "b"], ignore_index=True)


def merged(recordings: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Return each recording's group, named by its smallest member; near-duplicates in `pairs` (a, b) join groups."""
    names = sorted(set(recordings["recording_group"]))
    place = {name: i for i, name in enumerate(names)}
    group = recordings.set_index("path")["recording_group"].map(place)
    a, b = group[pairs["a"]].to_numpy(), group[pairs["b"]].to_numpy()
    links = coo_array((np.ones(len(a)), (a, b)), shape=(len(names), len(names)))
    part = pd.Series(connected_components(links, directed=False)[1])
    smallest = part.map(pd.Series(names).groupby(part).min())
    return recordings["recording_group"].map(dict(zip(names, smallest, strict=True)))
