"""A device's second opinion: a verifier hears what the device's ring holds around an incident's highest shot.

It is the opinion that `gunshot detect --verify` has. Nothing of what it hears leaves the device but the opinion.
"""

import numpy as np

from gunshot import features
from gunshot.detect import opinion
from gunshot.device.messages import Opinion
from gunshot.device.ring import Ring
from gunshot.models.model import Model, read_operating_point

MOST_SCORE = 65535


class Second:
    """A verifier and the ring that it hears.

    Attributes
    ----------
    after : int
        Samples from an onset on, of which the verifier hears the last.
    """

    def __init__(self, verifier: Model, ring: Ring, p: opinion.Sections):
        self._verifier, self._ring, self._p = verifier, ring, p
        self._number = int(opinion.sha256(verifier.path)[:16], 16)
        self._logit = read_operating_point(verifier.path)["logit"]
        self.after = (p.verifier.frames - p.verifier.before) * p.features.hop_length + p.features.n_fft

    def opinion(self, onset: int, begun: int) -> Opinion:
        """Return the opinion of a shot by its first sample; the session's frames are counted from sample `begun` on.

        Where the ring does not hold all that the verifier hears, quiet stands for the rest, as at a recording's ends.
        """
        f, v = self._p.features, self._p.verifier
        at = round((onset - begun) / f.hop_length)
        first = max(0, at - v.before, -((begun - self._ring.start) // f.hop_length))
        stop = min(self._ring.stop, begun + (at - v.before + v.frames - 1) * f.hop_length + f.n_fft)
        pcm = self._ring.cut(begun + first * f.hop_length, stop)
        log_mel = features.log_mel(pcm, sr=self._p.audio.sr, **f.model_dump())
        (logit,) = opinion.of_frames(self._verifier, log_mel, np.array([at - first]), self._p).astype(float)
        score = round(MOST_SCORE * float(self._verifier.calibrated(logit)))
        return Opinion(self._number, score, int(logit >= self._logit))
