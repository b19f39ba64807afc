"""A detector on audio that arrives piece by piece: frames, windows and decisions as they come, in bounded memory."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from gunshot import features
from gunshot.base import audio, params
from gunshot.detect import detector, onset
from gunshot.models.model import Model


class Sections(features.ContextSections, Protocol):
    """The sections of params.yaml that a listener reads."""

    chunks: params.Chunks
    detector: params.Detector


AROUND = (detector.PAST, detector.LOCAL)  # frames before an onset and from it on, whose loudest sample is its peak


class Listener:
    """A model and detectors on one stream of int16 samples at ``p.audio.sr``.

    Parameters
    ----------
    logits : the mean logit that opens an incident, one for each detector
    before : np.ndarray [shape=(n_mels, 1)], what counts as having sounded before the first frame, dB; like that one
        where it is None, as on a device. Recordings cut at their shot need it: a device has heard something before

    Examples
    --------
    A second of silence holds no shot, whichever model listens:

    >>> from pathlib import Path
    >>> from gunshot.models.model import load_model
    >>> p = params.load("audio", "chunks", "context", "features", "detector")
    >>> model = load_model(Path("models/forest/forest.joblib"))
    >>> listener = Listener(model, [model.threshold(0.9)], p)
    >>> (shots,), logits = listener.push(np.zeros(p.audio.sr, np.int16))
    >>> onset_s, decided_s = listener.times(shots)
    >>> onset_s.tolist(), len(logits)
    ([], 17)
    """

    def __init__(self, model: Model, logits: Sequence[float], p: Sections, *, before: np.ndarray | None = None):
        self.model, self.p, self._before = model, p, before
        self._settings = [settings(model, p, logit=logit) for logit in logits]
        anyone = settings(model, p, logit=0.0)
        self.lead, self._tail = anyone.lead, anyone.tail
        self.dropped = 0  # samples that were no numbers
        self.gaps = -1
        self.gap()

    def gap(self) -> None:
        """Begin anew: samples are missing, so that no frame, window or incident may reach across. Counted in `gaps`."""
        self.gaps += 1
        self._detectors = [detector.Detector(s) for s in self._settings]
        self._pcm = np.zeros(0, np.int16)
        self._log_mel = np.zeros((self.p.features.n_mels, 0), np.float32)
        self._past = None
        self.windows = range(0)  # of the last push, by number
        self._peaks, self._frames = np.zeros(self.lead, np.int32), 0

    def count(self, samples: np.ndarray) -> None:
        """Count samples that are no numbers as dropped."""
        self.dropped += samples.size - int(np.count_nonzero(np.isfinite(samples)))

    def push(self, samples: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Return the shots of each detector, as `detector.Detector.push` does, and the new windows' logits in steps.

        Parameters
        ----------
        samples : np.ndarray [shape=(n,)], int16, or float in [-1, 1); what is not finite becomes 0 and is counted
        """
        if samples.dtype != np.int16:
            self.count(samples)
            samples = audio.to_int16(np.nan_to_num(samples, posinf=0, neginf=0))
        self._pcm = np.concatenate([self._pcm, samples])
        return self._decide(self._advance())

    def finish(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Return what `push` does, of a recording that has ended: its last frame goes on until all of it was heard.

        One without a whole frame holds nothing.
        """
        if self._past is None:
            return self._decide(np.zeros((0, detector.GROUPS), np.int32))
        self._log_mel = np.concatenate([self._log_mel, np.repeat(self._last, self._tail, axis=1)], axis=1)
        return self._decide(np.zeros((self._tail, detector.GROUPS), np.int32))

    def _decide(self, rises: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        logits = self.model.window_logits(self._log_mel, hop=self.p.detector.hop)
        self._heard, self.windows = self._log_mel, range(self.windows.stop, self.windows.stop + len(logits))
        self._log_mel = self._log_mel[:, len(logits) * self.p.detector.hop :]
        return [d.push(rises, logits) for d in self._detectors], logits

    def times(self, shots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return when shots began, and when the detector had decided them, s [shape=(shots,)] each."""
        frames = {"sr": self.p.audio.sr, "n_fft": self.p.features.n_fft, "hop_length": self.p.features.hop_length}
        last = shots[:, detector.DECIDED] * self.p.detector.hop + self.model.window[1] - 1
        return self.samples(shots) / self.p.audio.sr, detector.end_s(last - self.lead, **frames)

    def samples(self, shots: np.ndarray) -> np.ndarray:
        """Return the samples at which shots began, int64 [shape=(shots,)]."""
        f = self.p.features
        within = onset.samples(shots, sr=self.p.audio.sr, n_fft=f.n_fft, hop_length=f.hop_length)
        return within - self.lead * f.hop_length

    def starts(self, first: int, count: int) -> np.ndarray:
        """Return where the chunks begin on which `count` windows decide, from number `first` on, s [shape=(count,)].

        Those of the first ones begin in the lead, before 0.
        """
        frame = (first + np.arange(count)) * self.p.detector.hop - self.lead + before(self.model, self.p)
        return frame * self.p.features.hop_length / self.p.audio.sr

    def peaks(self, shots: np.ndarray) -> np.ndarray:
        """Return the size of the loudest sample around each shot of the last push, 0 to 32768.

        Around are the samples that are new in the frames from PAST before the onset to LOCAL - 1 after it.
        """
        first = self._frames + self.lead - len(self._peaks)
        places = [slice(max(0, t - AROUND[0] - first), t + AROUND[1] - first) for t in shots[:, detector.ONSET]]
        return np.array([self._peaks[place].max() for place in places], np.int32)

    def closed(self) -> list[np.ndarray]:
        """Return the windows of the last push at whose ends each detector closed incidents, int64 [shape=(n,)] each."""
        return [d.closed for d in self._detectors]

    def ends(self, window: int) -> int:
        """Return the sample at which a window ends."""
        last = window * self.p.detector.hop + self.model.window[1] - 1 - self.lead
        return last * self.p.features.hop_length + self.p.features.n_fft

    def codes(self, window: int) -> np.ndarray:
        """Return the codes of a window of the last push, int8 [shape=(frames, n_mels)]."""
        begin = (window - self.windows.start) * self.p.detector.hop
        return self.model.codes(self._heard[:, begin : begin + self.model.window[1]]).T

    def _advance(self) -> np.ndarray:
        """Turn whole frames of the waiting samples into log-mel, and return their rises."""
        f = self.p.features
        n = features.frames(len(self._pcm), n_fft=f.n_fft, hop_length=f.hop_length)
        if not n:
            return np.zeros((0, detector.GROUPS), np.int32)
        self._hold_peaks(n)
        log_mel = features.log_mel(self._pcm[: (n - 1) * f.hop_length + f.n_fft], sr=self.p.audio.sr, **f.model_dump())
        self._pcm = self._pcm[n * f.hop_length :]
        if self._past is None:  # what sounded before the first frame is not known: it counts as having sounded so
            still = log_mel[:, :1] if self._before is None else self._before
            log_mel = np.concatenate([np.repeat(still, self.lead, axis=1), log_mel], axis=1)
            self._past = np.repeat(self.model.codes(still), detector.PAST, axis=1)
        self._last = log_mel[:, -1:]
        self._log_mel = np.concatenate([self._log_mel, log_mel], axis=1)
        codes = self.model.codes(log_mel)
        codes = np.concatenate([self._past, codes], axis=1)
        self._past = codes[:, -detector.PAST :]
        return detector.rise(codes)

    def _hold_peaks(self, n: int) -> None:
        """Keep the loudest of the samples that are new in each of `n` frames."""
        f = self.p.features
        new = np.abs(self._pcm[: (n - 1) * f.hop_length + f.n_fft].astype(np.int32))
        old = f.n_fft - f.hop_length
        peaks = new[old:].reshape(n, f.hop_length).max(axis=1)
        if not self._frames:
            peaks[0] = max(peaks[0], new[:old].max(initial=0))
        self._peaks = np.concatenate([self._peaks[-detector.RING :], peaks])
        self._frames += n


def whole(log_mel: np.ndarray, s: detector.Settings) -> np.ndarray:
    """Return the log-mel of a recording [shape=(n_mels, frames)] with its lead before it and its tail after it."""
    return np.pad(log_mel, ((0, 0), (s.lead, s.tail)), mode="edge")


def before(model: Model, p: features.ContextSections) -> int:
    """Return how many frames of a model's window lie before the chunk that it decides on.

    Raises
    ------
    ValueError
        The window has neither as many frames as `context.frames` nor as a chunk.
    """
    known = {features.chunk_frames(p): 0, p.context.frames: p.context.before}
    if model.window[1] not in known:
        raise ValueError(
            f"{model.path}: windows of {model.window[1]} frames must have {' or '.join(map(str, known))}, as the "
            "sections audio, features and context of params.yaml have it"
        )
    return known[model.window[1]]


def settings(model: Model, p: Sections, *, logit: float) -> detector.Settings:
    """Return the settings of the detector of a model at a mean logit.

    A shot is sought in the frames of a window whose middle lies where training has shots begin: `chunks.jitter` of the
    chunk, which begins at `context.before` where the model hears more than a chunk.

    ValueError as for `before`.
    """
    d, (n_mels, n_frames) = p.detector, model.window
    place = (np.array(p.chunks.jitter) * p.audio.chunk_length - p.features.n_fft / 2) / p.features.hop_length
    place += before(model, p)
    off = model.logit_sum(logit - d.hysteresis, windows=d.windows)
    return detector.Settings(
        on=model.logit_sum(logit, windows=d.windows),
        off=off,
        even=min(off, model.logit_sum(0.0, windows=d.windows)),
        windows=d.windows,
        hop=d.hop,
        n_frames=n_frames,
        first=max(0, int(place[0])),
        stop=min(int(place[1]) + 1, n_frames - detector.LOCAL + 1),
        cooldown=int(d.cooldown_s * p.audio.sr / (d.hop * p.features.hop_length)),
        min_rise=detector.min_rise(n_mels, model.code_db),
    )
