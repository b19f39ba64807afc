"""Near misses: what a slightly lower operating point would have taken for an incident.

The rule: a second detector hears the same windows. It is like the device's own, but for an operating point that is
BELOW lower. Each of its incidents in which the device's own decided no shot is one near miss, when it closes.
"""

from collections.abc import Callable

import numpy as np

from gunshot.detect import detector
from gunshot.detect.listener import Listener
from gunshot.device.messages import Near

BELOW = 1.0  # logits, of the detector that counts near misses; its hysteresis is that of the device's own


class NearMisses:
    """The near misses of a session, of a listener whose second detector counts them.

    Attributes
    ----------
    count : int
        How many there were.
    """

    def __init__(self, ear: Listener):
        self._ear = ear
        self.count = 0
        self._is_open = self._is_shot = False  # of the second detector's incident; that the own one has a shot in it
        self._now: tuple[int, np.ndarray] | None = None  # its highest sum of logits, and that window's log-mel
        self._best: tuple[int, np.ndarray] | None = None  # of the near misses since `take`

    def push(self, own: np.ndarray, near: np.ndarray, closed: np.ndarray) -> None:
        """Take in what both detectors decided in the listener's last push.

        `own` and `near` are their shots [shape=(shots, 6)], `closed` the windows at whose ends incidents of the second
        closed [shape=(n,)].
        """
        decided = detector.DECIDED
        for window in sorted({*own[:, decided].tolist(), *near[:, decided].tolist(), *closed.tolist()}):
            for shot in near[near[:, decided] == window]:
                self._is_open = True
                if self._now is None or shot[detector.LOGIT_SUM] > self._now[0]:
                    self._now = int(shot[detector.LOGIT_SUM]), self._ear.codes(window)
            self._is_shot |= bool((own[:, decided] == window).any())
            if window in closed:
                self.end()

    def end(self) -> None:
        """Close the second detector's incident, where one is open."""
        if self._is_open and not self._is_shot:
            self.count += 1
            self._best = max(filter(None, (self._now, self._best)), key=lambda one: one[0])
        self._is_open = self._is_shot = False
        self._now = None

    def take(self, score: Callable[[int], int]) -> tuple[Near, np.ndarray | None]:
        """Return the count and the highest score since this was asked before, and that window's log-mel if any.

        `score` makes a score of a sum of logits, in 1/65535.
        """
        best, self._best = self._best, None
        return Near(self.count, score(best[0]) if best else 0), best and best[1]
