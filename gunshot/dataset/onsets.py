"""Onsets of shots, found automatically: rises of energy, and bursts as chains of rises at a steady interval.

Far away, where noise and reverberation drown the rises of a burst's later shots, its shots are still like its clearest
one: the whitened waveform there is a template, and a chain is sought among the places that are like it.
"""

from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from scipy.signal import correlate, find_peaks, oaconvolve
from scipy.signal.windows import hann

from gunshot.base import audio, params
from gunshot.dataset import impulse
from gunshot.tags import Tag, check, state, unique

N_FFT = 64  # 4 ms at 16 kHz
HOP = 16  # 1 ms
BANDS = (1, 3, 6, 12, 31)  # bins: from 250 Hz to 750, 1500, 3000 and 7750 Hz, each counts alike
AHEAD, GUARD, BEFORE = 4, 3, 20  # ms: of the new sound, between, of what it rises above
PEAK_DB, PEAK_MS = 1.5, 10  # a candidate's least rise, and how far apart candidates are
CAP_DB = 11.0  # a first shot's rise from silence must not outweigh a whole burst
DYNAMIC_DB = 10.0  # what is further below the loudest candidate around it is an echo or handling
BLOCK = 4000  # ms in which bursts are sought, so that time grows with a recording's length and no faster
PERIODS_MS = 46 * 1.02 ** np.arange(78)  # 1,300 to 280 rounds a minute
JITTER = 0.05  # of a cyclic rate, as a share of the period
SKIP_DB = 5.0  # what a chain pays for a shot that is not heard
CHAIN_DB = 1.5  # a rise above this speaks for a chain's shot
MARGIN_DB = 8.0  # by which a chain must be better than single shots
CLEAR_DB = 6.0  # of one of its shots at least: steady noise has a chain of rises up to 5 dB at some rate
LEAD_MS, LEAD_SHARE = 8, 0.75  # of a shock wave over its blast: at least, and of the period at most
FIRST_DB = 5.0  # a burst's first shot rises further than the rest, from quiet
MIDDLE_DB, SLOPE_DB = -3.0, 10.0  # logistic fit of right and wrong tags of 600 simulated recordings
WHITENED = 512  # samples of the frames and of the filter that whiten
TEMPLATE = (16, 400)  # samples, before and after an onset
ALIKE, LIKENESS = 0.2, 0.4  # normalised cross-correlation of a candidate at least, and what speaks for a shot
LIKENESS_DB, LIKENESS_CAP_DB = 20.0, 8.0  # the worth of a likeness of 1 more, as a rise; and of all likeness at most
RISE_SHARE = 0.5  # of what a rise is worth there
GAIN_DB = 20.0  # what a template's chain must weigh beyond the shots found by rises
FAINT_RISE_DB = 2.0  # the median rise of its shots, at least
AROUND = 12  # ms, in which its shots' common rise is sought
LATENCY = 2  # frames from a rise's maximum to its beginning


class Sections(Protocol):
    """The sections of params.yaml that say where shots start."""

    audio: params.Audio
    tags: params.Tags
    validation: params.Validation


class Placed(NamedTuple):
    """A recording's tags, whether they were `given` or are `automatic`, and rows of tables.REJECTED of the others.

    Those in `faint` are automatic ones at which energy hardly rises: nobody's fault, they do not count as rejected.
    """

    tags: list[Tag]
    origin: str
    rejected: list[dict]
    faint: list[dict]


def strength(pcm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rise and level of int16 `pcm` [shape=(n,)], dB [shape=(frames,)] each, a frame a ms.

    The rise is the mean over bands of 0 to 30 dB between the sound ahead and the sound before; what lies before the
    recording counts as its quietest tenth, so that a shot cut at its start is found.
    """
    frames = np.lib.stride_tricks.sliding_window_view(audio.to_float(pcm), N_FFT)[::HOP]
    power = np.abs(np.fft.rfft(frames * hann(N_FFT, sym=False).astype(np.float32), axis=1)) ** 2
    energy = np.add.reduceat(power[:, : BANDS[-1]], BANDS[:-1], axis=1) + 1e-9
    floor = np.quantile(energy, 0.1, axis=0)
    total = np.vstack([np.zeros(len(floor)), np.cumsum(energy, axis=0, dtype=np.float64)])
    t, n = np.arange(len(energy)), len(energy)
    end, last = np.minimum(t + AHEAD, n), np.maximum(t - GUARD, 0)
    first = np.maximum(last - BEFORE, 0)
    ahead = (total[end] - total[t]) / (end - t)[:, None]
    before = (total[last] - total[first]) / np.maximum(last - first, 1)[:, None]
    rise = 10 * np.log10((ahead + floor) / (np.where((last > first)[:, None], before, floor) + floor))
    return np.clip(rise, 0, 30).mean(axis=1), 10 * np.log10(ahead.sum(axis=1))


def _chain(t: np.ndarray, weight: np.ndarray, period: float, first: int | None = None) -> tuple[float, list[int]]:
    """Return weight and members of the best chain of candidates one or two periods apart, by dynamic programming.

    As a beat tracker does it (Ellis 2007, Beat tracking by dynamic programming). `first` is a member it must begin at.
    """
    gap = t[:, None] - t[None, :]
    slack = max(JITTER, 1.5 / period)
    one, two = np.abs(gap / period - 1), np.abs(gap / (2 * period) - 1)
    step = np.where(one < 2.2 * slack, -2 * (one / slack) ** 2, -np.inf)
    step = np.maximum(step, np.where(two < 1.5 * slack, -SKIP_DB - 2 * (2 * two / slack) ** 2, -np.inf))
    best, came = weight.copy(), np.full(len(t), -1)
    if first is not None:
        best[np.arange(len(t)) != first] = -np.inf
    for j in range((first or 0) + 1, len(t)):
        before = best[:j] + step[j, :j]
        i = int(np.argmax(before))
        if before[i] > 0 or (first is not None and np.isfinite(before[i])):
            best[j], came[j] = weight[j] + before[i], i
    j = int(np.argmax(best))
    score, members = float(best[j]), []
    while j >= 0:
        members.append(j)
        j = came[j]
    return score, members[::-1]


def _burst(t: np.ndarray, rise: np.ndarray, weight: np.ndarray) -> tuple[float, list[int], int]:
    """Return weight and members of the best burst among candidates, at any cyclic rate; no members where none is.

    Last comes by how many frames each member is late: the lead of shock waves over blasts where a burst's blasts drown
    all of its shock waves but the first.
    """
    chains = [(*_chain(t, weight, period), period) for period in PERIODS_MS] if len(t) > 2 else []
    score, members, period = max((c for c in chains if len(c[1]) > 2), default=(0.0, [], 0.0), key=lambda c: c[0])
    if not members:
        return score, members, 0
    # A burst begins where sound rises from quiet. What the chain holds before is noise at its rhythm; where it begins
    # later, its members are the blasts, and the burst's first sound was a shock wave.
    near = (t >= t[members[0]] - 1.3 * period) & (t <= t[members[-1]])
    high = np.flatnonzero(near & (rise >= np.median(rise[members]) + FIRST_DB))
    if len(high):
        first = int(high[rise[high] >= rise[high].max() - FIRST_DB][0])
        rest, anchored = _chain(t, weight, period, first)
        if len(anchored) > 2 and rest >= 0.5 * weight[[i for i in members if t[i] >= t[first]]].sum():
            return rest, anchored, 0
        lead = int(t[members[0]] - t[first])
        if LEAD_MS <= lead <= LEAD_SHARE * period:
            return score, members, lead
    return score, members, 0


def _select(t: np.ndarray, rise: np.ndarray, level: np.ndarray, min_rise_db: float, gap: float) -> tuple[list, list]:
    """Return the frames of a block's shots, and how far each rises; a burst's share their mean rise."""
    faint = np.maximum(level.max() - DYNAMIC_DB - level, 0)
    weight = np.minimum(rise, CAP_DB) - CHAIN_DB - faint
    kept: list[int] = []
    for i in np.flatnonzero((rise >= min_rise_db) & (faint == 0)):
        if not kept or t[i] - t[kept[-1]] >= gap:
            kept.append(int(i))
    score, burst, lead = _burst(t, rise, weight)
    inside = [i for i in kept if burst and t[burst[0]] - 5 <= t[i] <= t[burst[-1]] + 5]
    clear = burst and rise[burst].max() >= CLEAR_DB
    if clear and score > weight[inside].sum() + MARGIN_DB and len(burst) > len(inside):
        outside = [i for i in kept if t[i] < t[burst[0]] - gap or t[i] > t[burst[-1]] + gap]
        kept = sorted(burst + outside)
    else:
        burst = []
    frames = [int(t[i]) - (lead if i in burst else 0) for i in kept]
    return frames, [float(rise[burst].mean() if i in burst else rise[i]) for i in kept]


def _whiten(y: np.ndarray) -> np.ndarray:
    """Return samples [shape=(n,)] with the median spectrum of their frames made flat, without delay."""
    window = hann(WHITENED, sym=False)
    frames = np.lib.stride_tricks.sliding_window_view(y, WHITENED)[:: WHITENED // 2] * window
    power = np.median(np.abs(np.fft.rfft(frames, axis=1)) ** 2, axis=0) + 1e-12
    impulse = np.roll(np.fft.irfft(power**-0.5), WHITENED // 2) * window
    return oaconvolve(y, impulse, mode="same")


def _likeness(x: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Return the normalised cross-correlation, -1 to 1, of `template` with `x` from each sample on."""
    total = np.concatenate([[0.0], np.cumsum(x**2)])
    energy = np.maximum(total[len(template) :] - total[: -len(template)], 1e-12)
    return correlate(x, template, mode="valid") / np.sqrt(energy * np.sum(template**2) + 1e-12)


def _alike(
    x: np.ndarray, template: np.ndarray, rise: np.ndarray, level: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return weight, samples and members' weights of the best chain of places that are like a template."""
    like = _likeness(x, template)
    at = find_peaks(like, height=ALIKE, distance=PEAK_MS * HOP)[0]
    if len(at) < 3:
        return 0.0, at[:0], np.zeros(0)
    frame = np.clip((at + TEMPLATE[0]) // HOP - LATENCY, 0, len(rise) - 1)
    near = np.clip(frame[:, None] + np.arange(-4, 5), 0, len(rise) - 1)
    faint = np.maximum(level.max() - DYNAMIC_DB - level[near].max(axis=1), 0)
    weight = np.minimum(LIKENESS_DB * (like[at] - LIKENESS), LIKENESS_CAP_DB) - faint
    weight += RISE_SHARE * (np.minimum(rise[near].max(axis=1), CAP_DB) - CHAIN_DB)
    score, members = max((_chain(at / HOP, weight, period) for period in PERIODS_MS), key=lambda c: c[0])
    return score, at[members], weight[members]


def _replicas(x: np.ndarray, rise: np.ndarray, level: np.ndarray, onset: int) -> tuple[np.ndarray, np.ndarray]:
    """Return frames and weights of a burst's shots, all like the one at frame `onset`; none where there is no burst.

    The template is cut there, and then again as the mean of the shots found. `x` are whitened samples, `rise` and
    `level` of their frames.
    """
    before, after = TEMPLATE
    start = max(0, (onset + LATENCY) * HOP - before)
    template = x[start : start + before + after]
    for _ in range(2):
        if len(template) < before + after:
            return np.zeros(0), np.zeros(0)
        _, at, weight = _alike(x, template, rise, level)
        if len(at) < 3:
            return np.zeros(0), np.zeros(0)
        template = np.mean([x[i : i + before + after] for i in at], axis=0)
    frames = (at + before) // HOP - LATENCY
    # Where in the template the shots begin: the rise that they have in common.
    shift = np.arange(-AROUND, AROUND + 1)
    common = rise[np.clip(frames[:, None] + shift, 0, len(rise) - 1)].mean(axis=0)
    return np.clip(frames + shift[common.argmax()], 0, len(rise) - 1), weight


def _with_replicas(
    frames: list[int], sure: list[float], replicas: tuple[np.ndarray, np.ndarray], rise: np.ndarray, gap: float
) -> tuple[list[int], list[float]]:
    """Return a block's shots, joined by those of a burst of replicas where its evidence beyond the others is enough."""
    burst, weight = replicas
    if not len(burst):
        return frames, sure
    known = np.abs(burst[:, None] - np.array([*frames, -1000])).min(axis=1) <= 8
    high = rise[np.clip(burst[:, None] + np.arange(-6, 7), 0, len(rise) - 1)].max(axis=1)
    if weight[~known].sum() <= GAIN_DB or np.median(high) < FAINT_RISE_DB:
        return frames, sure
    outside = [i for i, frame in enumerate(frames) if frame < burst[0] - gap or frame > burst[-1] + gap]
    shots = burst.tolist() + [frames[i] for i in outside]
    return shots, [float(high.mean())] * len(burst) + [sure[i] for i in outside]


def find(pcm: np.ndarray, *, sr: int, min_rise_db: float, min_interval_ms: float) -> list[Tag]:
    """Return automatic tags of the shots in int16 `pcm` [shape=(n,)] at `sr` 16000 Hz, ascending, with confidences.

    Candidates are maxima of `strength`. Single shots rise by `min_rise_db` at least and lie `min_interval_ms` apart:
    what follows sooner is an echo or the blast behind a shock wave. Only a burst may be faster: three candidates or
    more at one cyclic rate whose evidence, their rises or their likeness, outweighs the single shots in their place.

    Raises
    ------
    ValueError
        `sr` is not 16000.

    Examples
    --------
    Two claps of noise, 0.5 s and 1.25 s after the start of a faint hiss:

    >>> rng = np.random.default_rng(0)
    >>> y = 0.001 * rng.standard_normal(2 * 16000)
    >>> for start in (8000, 20000):
    ...     y[start : start + 800] += 0.3 * rng.standard_normal(800) * np.exp(-np.arange(800) / 200)
    >>> tags = find(audio.to_int16(y), sr=16000, min_rise_db=11.0, min_interval_ms=140.0)
    >>> [round(tag.start / 16000, 2) for tag in tags]
    [0.5, 1.25]
    """
    if sr != 1000 * HOP:
        raise ValueError(f"sr={sr} must be {1000 * HOP}")
    if len(pcm) < N_FFT + HOP:
        return []
    rise, level = strength(pcm)
    white = _whiten(audio.to_float(pcm).astype(np.float64)) if len(pcm) >= 2 * WHITENED else None
    t = find_peaks(np.r_[-1, rise, -1], height=PEAK_DB, distance=PEAK_MS)[0] - 1
    shots = []
    for block in np.unique(t // BLOCK):
        here = t[t // BLOCK == block]
        kept, sure = _select(here, rise[here], level[here], min_rise_db, min_interval_ms)
        first, last = block * BLOCK, (block + 1) * BLOCK
        if white is not None:
            loud = rise[here] - np.maximum(level[here].max() - DYNAMIC_DB - level[here], 0)
            part = white[first * HOP : last * HOP + TEMPLATE[1]], rise[first:last], level[first:last]
            burst, weight = _replicas(*part, int(here[loud.argmax()]) - first)
            kept, sure = _with_replicas(kept, sure, (burst + first, weight), rise, min_interval_ms)
        shots += zip(kept, sure, strict=True)
    # A burst that is moved to its shock waves may begin before a single shot that it came after.
    return unique([Tag(int(max(0, at + LATENCY)) * HOP, round(_confidence(sure), 2)) for at, sure in shots])


def placed(name: str, given: list[Tag] | None, pcm: np.ndarray, p: Sections) -> Placed:
    """Return where shots start in int16 `pcm` [shape=(n,)] of a recording: as given, else what `find` finds."""
    origin = "given" if given is not None and state(given) == "confirmed" else "automatic"
    own = find(pcm, sr=p.audio.sr, **p.tags.model_dump()) if given is None else given
    own, faint = impulse.clear(name, own, pcm, sr=p.audio.sr, min_rise_db=p.validation.min_gun_rise_db)
    kept, rejected = check(name, own, len(pcm))
    return Placed(kept, origin, [] if faint and not own else rejected, faint)


def of_file(
    item: tuple[str, Path], sr: int, options: dict, min_gun_rise_db: float
) -> tuple[str, list[Tag], int, str | None]:
    """Return a recording's key, its tags by `find`, how many more are not clear, and why it cannot be read, if so."""
    key, file = item
    try:
        pcm = audio.to_int16(audio.read(file, sr=sr))
    except audio.AudioError as e:
        return key, [], 0, f"{key} ({e.value}: {e.rule})"
    kept, faint = impulse.clear(key, find(pcm, sr=sr, **options), pcm, sr=sr, min_rise_db=min_gun_rise_db)
    return key, kept, len(faint), None


def _confidence(rise_db: float) -> float:
    return float(1 / (1 + np.exp((MIDDLE_DB - rise_db) / SLOPE_DB)))
