"""Where in its frame an onset lies: frames are 7 ms apart, and each is 32 ms long.

Take a sound that begins at once and dies away, in a stream of frames. A frame that its beginning has just entered, by
the edge of the Hann window, holds little of it; the next ones hold more, but so do the PAST frames before them. So the
rise is furthest where the sound began at a certain place in the frame: the later, the louder the sound is, since less
of it is enough. `line` computes that place. Between frames a parabola through three rises tells where the rise would
have been furthest.
"""

from functools import cache

import numpy as np

from gunshot import features
from gunshot.detect import detector

SOFT_DB, LOUD_DB = detector.MIN_RISE_DB, detector.MOST_RISE * detector.MIN_RISE_DB  # rises that `line` is for
DECAY_S = 0.03  # in which the power falls to 1/e: 60 dB in 0.4 s, as of a shot in the open


def _furthest(above_db: float, share: np.ndarray, hop_length: int) -> tuple[float, int]:
    """Return the furthest rise of a frame in dB as a sound enters it, and how many samples of it the frame holds then.

    Parameters
    ----------
    above_db : how far a frame that holds all of the sound is above one without
    share : of the power of a frame that holds all of it, by samples held
    """
    past = detector.PAST * hop_length
    level_db = 10 * np.log10(1 + np.pad(share, (past, 0)) * 10 ** (above_db / 10))
    before_db = [level_db[past - i * hop_length : len(level_db) - i * hop_length] for i in range(1, detector.PAST + 1)]
    rise_db = level_db[past:] - np.mean(before_db, axis=0)
    return float(rise_db.max()), int(rise_db.argmax())


@cache
def line(*, sr: int, n_fft: int, hop_length: int) -> tuple[int, int]:
    """Return at which sample of its frame an onset lies that does not rise, and how many later with each least rise.

    It is the straight line through the places of sounds that rise by SOFT_DB to LOUD_DB. Half a hop is taken off: LEAN
    counts from there.

    Examples
    --------
    Where the frames before and after rise alike, a shot that rises by 4 dB began 179 samples after its frame of 512
    did, one of 60 dB 403:

    >>> start, later = line(sr=16000, n_fft=512, hop_length=112)
    >>> [start + 112 // 2 + later * rise_db // 4 for rise_db in (4, 60)]
    [179, 403]
    """
    held = np.convolve(features.hann(n_fft)[::-1] ** 2, np.exp(-np.arange(n_fft) / (DECAY_S * sr)))[:n_fft]
    share = np.concatenate([[0.0], held / held.max()])
    above_db = np.arange(SOFT_DB, 2 * LOUD_DB)
    rise_db, samples_held = np.array([_furthest(each, share, hop_length) for each in above_db]).T
    sought_db = np.arange(SOFT_DB, LOUD_DB + 1)
    slope, start = np.polyfit(sought_db, n_fft - np.interp(sought_db, rise_db, samples_held), 1)
    return round(start - hop_length / 2), round(slope * detector.MIN_RISE_DB)


def samples(shots: np.ndarray, *, sr: int, n_fft: int, hop_length: int) -> np.ndarray:
    """Return the onsets of a detector's shots in samples, int64 [shape=(shots,)]; firmware/src/gunshot.c has the same.

    See Also
    --------
    gunshot.detect.detector.Detector.push : gives the shots
    """
    start, later = line(sr=sr, n_fft=n_fft, hop_length=hop_length)
    within = (shots[:, detector.LEAN] * hop_length + shots[:, detector.RISE] * later) // detector.SIXTEENTHS
    return shots[:, detector.ONSET] * hop_length + start + within
