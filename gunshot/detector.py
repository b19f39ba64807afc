"""Window scores to onsets: which windows alarm, which alarms are one incident, and when its shots began."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import find_peaks

PAST = 4  # frames, 28 ms: the level that a shot rises from
MIN_RISE_DB = 6.0  # mean over the bands, of a further shot within an incident
MIN_SHARE = 0.5  # of the incident's steepest rise
MIN_INTERVAL = 7  # frames, 49 ms: 1,200 rounds a minute


@dataclass(frozen=True)
class Onset:
    """A shot: when its first sound arrived, s, and the highest score of a window that holds it."""

    onset_s: float
    score: float


def incidents(scores: np.ndarray, *, threshold: float, cooldown: int) -> list[tuple[int, int]]:
    """Return the first and last window of each incident, where at most `cooldown` windows between alarms are quiet.

    Parameters
    ----------
    scores : np.ndarray [shape=(windows,)]
        Windows whose score is at least `threshold` alarm.
    """
    alarms = np.flatnonzero(scores >= threshold)
    if not len(alarms):
        return []
    parts = np.split(alarms, np.flatnonzero(np.diff(alarms) > cooldown + 1) + 1)
    return [(int(part[0]), int(part[-1])) for part in parts]


def rise(log_mel: np.ndarray) -> np.ndarray:
    """Return how far each frame rises above the mean of the frames before it, dB over all bands [shape=(frames,)]."""
    n = log_mel.shape[1]
    before = np.concatenate([np.repeat(log_mel[:, :1], PAST, axis=1), log_mel], axis=1)
    total = np.cumsum(np.pad(before.astype(np.float64), ((0, 0), (1, 0))), axis=1)
    past = (total[:, PAST : PAST + n] - total[:, :n]) / PAST
    return np.maximum(log_mel - past, 0).mean(axis=0)


def onsets(
    log_mel: np.ndarray,
    scores: np.ndarray,
    *,
    threshold: float,
    hop: int,
    n_frames: int,
    cooldown_s: float,
    sr: int,
    n_fft: int,
    hop_length: int,
) -> list[Onset]:
    """Return the onsets of a recording, ascending: within each incident the peaks of `rise`, at least the highest.

    Parameters
    ----------
    log_mel : np.ndarray [shape=(n_mels, frames)], dB
    scores : np.ndarray [shape=(windows,)]
        Of windows of `n_frames` at a hop of `hop` frames.
    """
    cooldown = int(cooldown_s * sr / (hop * hop_length))
    heard = np.zeros(log_mel.shape[1], bool)  # by a window that alarms: no onset lies in an incident's quiet gaps
    for window in np.flatnonzero(scores >= threshold):
        heard[window * hop : window * hop + n_frames] = True
    steep = np.where(heard, rise(log_mel), 0)
    found = []
    for first, last in incidents(scores, threshold=threshold, cooldown=cooldown):
        start, stop = first * hop, last * hop + n_frames
        part = np.concatenate([[0.0], steep[start:stop], [0.0]])
        least = max(MIN_RISE_DB, MIN_SHARE * part.max())
        peaks = find_peaks(part, height=least, distance=MIN_INTERVAL)[0] - 1
        for frame in peaks if len(peaks) else [int(steep[start:stop].argmax())]:
            inside = slice(max(0, -(-(start + frame - n_frames + 1) // hop)), (start + frame) // hop + 1)
            # The rise is steepest while the first sound passes the middle of the frame's window.
            onset = ((start + frame) * hop_length + n_fft // 2) / sr
            found.append(Onset(round(onset, 4), float(scores[inside].max())))
    return found
