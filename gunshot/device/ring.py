"""The last samples that a device heard, in RAM alone: what an order can ask for of the past."""

import time

import numpy as np

RING_S = 30


class Ring:
    """The last samples of a session, by their number in it.

    A hole in the sound empties it: what was before would be at no time that is known, and a span never crosses one.

    Attributes
    ----------
    sr : int
        Of its samples, Hz.
    start, stop : int
        The sample that it holds first, and the one after the last.
    gaps : int
        How many holes there were.
    ended : bool
        Whether no more come.
    """

    def __init__(self, sr: int, *, seconds: float = RING_S):
        self._pcm = np.zeros(round(seconds * sr), np.int16)
        self.sr, self.start, self.stop, self.gaps, self.ended = sr, 0, 0, 0, False
        self._stopped_us = time.time_ns() // 1000  # when `stop` was heard, by the machine's clock

    def push(self, pcm: np.ndarray) -> None:
        """Take in further samples, int16 [shape=(n,)], that were heard up to now."""
        size = len(self._pcm)
        kept = pcm[-size:]
        self.stop += len(pcm)
        self._pcm[np.arange(self.stop - len(kept), self.stop) % size] = kept
        self.start = max(self.start, self.stop - size)
        self._stopped_us = time.time_ns() // 1000

    def gap(self) -> None:
        """Forget all: samples are missing before the next ones."""
        self.start = self.stop
        self.gaps += 1

    def end(self) -> None:
        """No more samples come."""
        self.ended = True

    def sample_at(self, unix_us: int) -> int:
        """Return the sample that was heard, or will be, at a time of the machine's clock; below 0 before all."""
        return self.stop + (unix_us - self._stopped_us) * self.sr // 1_000_000

    def cut(self, start: int, stop: int) -> np.ndarray:
        """Return the samples from `start` to before `stop` [shape=(stop - start,)].

        Raises
        ------
        ValueError
            It does not hold them all.
        """
        if not self.start <= start <= stop <= self.stop:
            raise ValueError(f"samples {start} to {stop} must be in the ring, which holds {self.start} to {self.stop}")
        return self._pcm[np.arange(start, stop) % len(self._pcm)]
