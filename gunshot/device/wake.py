"""An acoustic wake-up ahead of front end and model: which windows a device scores that sleeps until sound rises.

All is in integers, so that firmware/src/wake.c decides the same, bit for bit. A hop of samples rises where the energy
of one of two bands, over this hop and the one before, stands above its slow mean. It wants each window that seeks shots
in the frames that hold it; those are scored, and all windows while an incident is open. What is scored is what would be
without sleep: the firmware keeps samples, and computes the frames of a wanted window from them.
"""

import numpy as np

from gunshot.base.compiled import compiled
from gunshot.detect import detector

BANDS = 2
LOW = 2  # the low-pass takes a quarter of what is new, below some 700 Hz at 16 kHz; the other band is what it leaves
SLOW = 8  # the mean takes a 256th, 1.8 s at hops of 7 ms
FRACTION = 4  # bits of a sample's that the low-pass keeps, and of an octave's that a level has
LEVEL = 8  # bits more that the mean has
OCTAVE_MDB = 3010  # thousandths of a dB in an octave of energy
NO_SHOT = -32767  # logit of a window that is not scored, in steps


@compiled()
def _level(energy):
    """Return log2 in steps of 1 / 2^FRACTION, straight between whole ones; 0 of 0."""
    if energy == 0:
        return 0
    octave, left = 0, energy
    while left > 1:
        left >>= 1
        octave += 1
    return (octave << FRACTION) + ((energy << FRACTION) >> octave) - (1 << FRACTION)


@compiled()
def _rises(pcm, hop, least):
    out = np.zeros(len(pcm) // hop, np.bool_)
    filtered = np.int64(0)
    before, mean, energy = np.zeros(BANDS, np.int64), np.zeros(BANDS, np.int64), np.zeros(BANDS, np.int64)
    for t in range(len(out)):
        energy[:] = 0
        for value in pcm[t * hop : (t + 1) * hop]:
            sample = np.int64(value) << FRACTION
            filtered += (sample - filtered) >> LOW
            low, high = filtered >> FRACTION, (sample - filtered) >> FRACTION
            energy[0] += low * low
            energy[1] += high * high
        for band in range(BANDS):
            now = _level(energy[band] + (before[band] if t else energy[band])) << LEVEL
            if not t:
                mean[band] = now
            above = now - mean[band]
            out[t] |= above >= least << LEVEL
            mean[band] += above >> SLOW
            before[band] = energy[band]
    return out


def rises(pcm: np.ndarray, *, hop_length: int, db: int) -> np.ndarray:
    """Return which whole hops of int16 samples [shape=(n,)] rise by `db`, bool [shape=(n // hop_length,)].

    Examples
    --------
    Faint noise, and a bang in its fourth hop that is still heard in the two-hop energy of the fifth:

    >>> pcm = np.random.default_rng(0).integers(-20, 21, 800).astype(np.int16)
    >>> pcm[300:340] *= 100
    >>> rises(pcm, hop_length=100, db=12).tolist()
    [False, False, False, True, True, False, False, False]

    Raises
    ------
    ValueError
        `db` is no whole number from 1 to 60.
    """
    if not 1 <= db <= 60 or int(db) != db:
        raise ValueError(f"db={db} must be a whole number from 1 to 60")
    return _rises(np.ascontiguousarray(pcm), hop_length, int(db) * (1000 << FRACTION) // OCTAVE_MDB)


def wanted(risen: np.ndarray, count: int, s: detector.Settings, *, n_fft: int, hop_length: int) -> np.ndarray:
    """Return which of `count` windows of a stream rises want, bool [shape=(count,)].

    Parameters
    ----------
    risen : of `rises`, from the stream's first sample on
    """
    at = np.flatnonzero(risen) + s.lead  # the frame that begins with a hop; some before it hold it too
    earliest = at - (n_fft - 1) // hop_length
    first = np.clip(-((s.stop - 1 - earliest) // s.hop), 0, count)
    last = np.clip((at - s.first) // s.hop, -1, count - 1)
    edges = np.zeros(count + 1, np.int64)
    np.add.at(edges, first, 1)
    np.add.at(edges, last + 1, -1)
    return np.cumsum(edges)[:count] > 0


def decide(
    rise: np.ndarray, logits: np.ndarray, wants: np.ndarray, s: detector.Settings
) -> tuple[np.ndarray, np.ndarray]:
    """Return the shots of a stream as `detector.Detector.push` does, and which windows were scored, bool [(windows,)].

    Parameters
    ----------
    rise, logits : of all frames, the lead among them, and of all windows, as for `detector.Detector.push`
    wants : of `wanted`

    Raises
    ------
    ValueError
        The detector decides by several windows: a mean of windows that sleep is none.
    """
    if s.windows != 1:
        raise ValueError(f"windows={s.windows} must be 1 where a device sleeps: set detector.windows")
    decider, scored, shots = detector.Detector(s), np.zeros(len(logits), bool), [np.zeros((0, 6), np.int64)]
    opened, given = False, 0
    for window, logit in enumerate(logits):
        scored[window] = wants[window] or opened
        needed = window * s.hop + s.n_frames
        seen = logit if scored[window] else NO_SHOT
        decided = decider.push(rise[given:needed], np.array([seen], np.int32))
        given = max(given, needed)
        opened = (opened or len(decided) > 0) and not len(decider.closed)
        shots.append(decided)
    return np.concatenate(shots), scored


def cost(scored: np.ndarray, s: detector.Settings) -> dict[str, int]:
    """Return what a device computes where some windows are scored: `frames`, and `windows` that its model hears.

    Frames are those of the windows that no window before needed, with a hop before it, from which the first rises are
    reckoned. The model hears each window that ends among them: bit by bit, as it does a beginning.
    """
    at = np.flatnonzero(scored)
    apart = np.diff(at, prepend=at[:1] - s.n_frames)
    heard = at * s.hop + s.n_frames - s.lead  # frames since the stream began
    frames = np.minimum(np.minimum(s.n_frames + s.hop, s.hop * apart), heard)
    return {"frames": int(frames.sum()), "windows": int((-(-frames // s.hop)).sum())}
