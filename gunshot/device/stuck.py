"""A microphone that is stuck: it gives one value, or full scale alone. firmware/src/gunshot.c counts the same."""

import numpy as np

FULL = 32767  # and beyond, and the same below 0


class Stuck:
    """How often (`count`) a microphone of `sr` samples a second was stuck for a second, which is told once."""

    def __init__(self, sr: int):
        self._sr = sr
        self.count = 0
        self._run, self._last = 0, np.int16(0)  # samples so far that are alike; the last

    def hear(self, pcm: np.ndarray) -> None:
        """Take int16 samples [shape=(n,)]."""
        if not len(pcm):
            return
        is_full = np.abs(pcm.astype(np.int32)) >= FULL
        begins = np.flatnonzero((pcm != np.r_[self._last, pcm[:-1]]) & ~is_full)
        first, *more = np.diff(np.r_[0, begins, len(pcm)]).tolist()
        self.count += self._run < self._sr <= self._run + first
        self.count += sum(run >= self._sr for run in more)
        self._run, self._last = more[-1] if more else self._run + first, pcm[-1]
