"""Gunshots in sound at 16 kHz, by the front end, network and detector of a gunshot device, compiled.

>>> import numpy as np
>>> from gunshot_runtime import Detector
>>> Detector().detect(np.zeros(16000, np.int16))
[]
"""

import json
import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gunshot_runtime import _native

__all__ = ["Detector", "Onset"]

FULL_SCALE = 32768
SETTINGS = ("on", "off", "even")  # of a detector, that a threshold sets
MOST_STEPS = 32768  # logits in steps are int16; this is beyond each
LIBRARY = _native.installed()
MODEL = json.loads((_native.HERE / "model.json").read_text(encoding="utf-8"))
__version__ = MODEL["version"]
if LIBRARY.facts["model_sha256"] != MODEL["model_sha256"]:
    raise ImportError(f"{_native.HERE}: model.json must be of the library beside it: install the wheel anew")


class Onset(NamedTuple):
    """A shot.

    `time_s` and `sample` are when its first sound arrived, from the stream's beginning; `decided_s` is the end of the
    window that decided it. `score` is 0 to 1, of the mean `logit`. `level_db` is the loudest sample around it, dB SPL
    of the microphone that the model was exported for, and `peak` its size, 0 to 32768. Onsets of one `incident`, from
    1 on, belong together: they are one alert.
    """

    time_s: float
    sample: int
    decided_s: float
    score: float
    logit: float
    level_db: float
    peak: int
    incident: int


class Detector:
    """A detector on a stream of samples at 16 kHz, one channel.

    Several may be used at a time, each from one thread at a time: blocks of two threads are two streams.

    Parameters
    ----------
    threshold : the score that opens an incident, as `gunshot detect --threshold` has it; the model's operating point
        where it is None
    site : a site's profile, a file of `gunshot calibrate`, whose threshold decides. Its model and settings are checked.
        Its signature is not: `gunshot detect --site` does that

    Attributes
    ----------
    sr : int
        The sample rate, Hz.
    threshold : float
        The score that opens an incident.
    version, model_sha256 : str
        Of the model.

    Raises
    ------
    ValueError
        The threshold is not above 0 and below 1; the profile is none, or of another model; or both are given.
    FileNotFoundError
        There is no such profile.
    """

    sr = LIBRARY.facts["sr"]
    version, model_sha256 = __version__, MODEL["model_sha256"]

    def __init__(self, *, threshold: float | None = None, site: str | os.PathLike | None = None):
        if threshold is not None and site is not None:
            raise ValueError(f"threshold={threshold:g}, site={os.fspath(site)!r}: only one can decide; leave one out")
        if site is not None:
            self.threshold, self._settings = _of_site(Path(site))
        else:
            self.threshold, self._settings = _of_score(threshold)
        self._stream = _native.Stream(LIBRARY, self._settings)

    @property
    def open(self) -> bool:
        """Return whether an incident is open: more of its shots may follow."""
        return self._stream.open

    def feed(self, samples: np.ndarray) -> list[Onset]:
        """Return the shots that further samples of the stream decide, a third of a second behind them.

        Parameters
        ----------
        samples : np.ndarray [shape=(n,)], int16, or float in [-1, 1), n of any size. What is not finite counts as 0

        Raises
        ------
        ValueError
            They are of another type, or of several channels.
        """
        return _onsets(self._stream.hear(_int16(samples)))

    def detect(self, samples: np.ndarray) -> list[Onset]:
        """Return the shots of a whole recording, as `gunshot detect` finds them.

        Its last frame goes on until its end was sought in; one shorter than a frame is filled up with silence.
        Parameters and errors are those of `feed`, whose stream goes on unchanged.
        """
        pcm, stream = _int16(samples), _native.Stream(LIBRARY, self._settings)
        heard = stream.hear(np.pad(pcm, (0, max(0, LIBRARY.facts["n_fft"] - len(pcm)))))
        return _onsets(heard) + _onsets(stream.finish())


def _int16(samples: np.ndarray) -> np.ndarray:
    samples = np.asarray(samples)
    if samples.ndim != 1 or not (samples.dtype == np.int16 or np.issubdtype(samples.dtype, np.floating)):
        raise ValueError(
            f"samples {samples.dtype} shape={samples.shape} must be int16, or float in [-1, 1), of one channel, "
            f"shape=(n,), at {Detector.sr} Hz"
        )
    if samples.dtype == np.int16:
        return samples
    # In float16 the largest sample would round to full scale, which int16 has not.
    wide = samples.astype(np.result_type(samples.dtype, np.float32), copy=False)
    steps = np.rint(np.nan_to_num(wide, posinf=0, neginf=0) * FULL_SCALE)
    return np.clip(steps, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def _onsets(heard: _native.Heard) -> list[Onset]:
    sr, step = Detector.sr, LIBRARY.facts["output_scale"] / LIBRARY.facts["windows"]
    return [
        Onset(onset / sr, onset, decided / sr, score / 65535, logit_sum * step, spl_db / 10, peak, incident)
        for onset, decided, incident, logit_sum, peak, score, spl_db in heard.shots.tolist()
    ]


def _of_score(score: float | None) -> tuple[float, tuple[int, int, int] | None]:
    """Return the score that opens an incident, and the detector's settings; of the operating point both are known."""
    if score is None:
        return MODEL["score"], None
    if not 0 < score < 1:
        raise ValueError(f"threshold={score:g} must be above 0 and below 1")
    slope, intercept = MODEL["calibration"]["slope"], MODEL["calibration"]["intercept"]
    logit = (float(np.log(score / (1 - score))) - intercept) / slope
    off = _steps(logit - MODEL["hysteresis"])
    return score, (_steps(logit), off, min(off, _steps(0.0)))


def _steps(logit: float) -> int:
    """Return the least sum of windows' logits, in steps, whose mean is `logit` or more."""
    windows, step = LIBRARY.facts["windows"], LIBRARY.facts["output_scale"]
    most = MOST_STEPS * windows
    return max(-most, min(most, math.ceil(logit * windows / step - 1e-9)))


def _of_site(file: Path) -> tuple[float, tuple[int, int, int]]:
    """Return the score and the settings of a site's profile; errors as for `Detector`."""
    remedy = "make one with `gunshot calibrate` and the model of this package"
    try:
        profile = json.loads(file.read_text(encoding="utf-8"))
        if profile["kind"] != "gunshot site profile" or profile["version"] != 1:
            raise ValueError(f"kind={profile['kind']!r}, version={profile['version']!r}")
        settings = {name: int(value) for name, value in profile["settings"].items()}
        chosen, score = tuple(settings.pop(name) for name in SETTINGS), float(profile["threshold"]["score"])
        sha256 = str(profile["model_sha256"])
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: no such file; {remedy}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise ValueError(f"{file}: must be a site's profile of version 1 ({e}); {remedy}") from None
    if sha256 != MODEL["model_sha256"]:
        raise ValueError(f"{file}: model_sha256={sha256[:16]} must be {MODEL['model_sha256'][:16]}; {remedy}")
    wanted = {name: value for name, value in MODEL["settings"].items() if name not in SETTINGS}
    if settings != wanted:
        raise ValueError(f"{file}: settings={settings} of the detector must be {wanted}; {remedy}")
    return score, chosen
