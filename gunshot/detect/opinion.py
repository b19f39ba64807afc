"""The second opinion: what the verifier says of each incident that a detector let through."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from gunshot import features
from gunshot.base import params
from gunshot.detect import listener, recording
from gunshot.models.model import Model, load_model, read_operating_point
from gunshot.models.verifier import windows

ANEW = "make it with `gunshot train-verifier`"


class Sections(listener.Sections, Protocol):
    """The sections of params.yaml that opinions are given by."""

    verifier: params.Verifier


def highest(incident: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return of each incident which of its shots scores highest, the first of equals, int64 [shape=(incidents,)].

    Parameters
    ----------
    incident : np.ndarray [shape=(shots,)], the number of each shot's incident
    score : np.ndarray [shape=(shots,)], any measure that rises with the score

    Examples
    --------
    >>> highest(np.array([1, 1, 2, 2]), np.array([0.7, 0.9, 0.8, 0.8])).tolist()
    [1, 2]
    """
    order = np.lexsort((-np.asarray(score), incident))
    return order[np.unique(np.asarray(incident)[order], return_index=True)[1]]


def let_through(pcm: np.ndarray, ear: listener.Listener) -> list[np.ndarray]:
    """Return the shots of each of a listener's detectors in a whole recording, as `detector.Detector.push` does."""
    return [np.concatenate(pair) for pair in zip(ear.push(pcm)[0], ear.finish()[0], strict=True)]


def frames(onset_s: np.ndarray, p: Sections) -> np.ndarray:
    """Return the frames of a recording at which onsets lie, int64, same shape."""
    return np.rint(np.asarray(onset_s) * p.audio.sr / p.features.hop_length).astype(np.int64)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a model's file, by which a verifier knows its detector."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load(path: Path, detector: Path | None, p: Sections) -> Model:
    """Return the verifier in a .tflite file, which was made behind the detector in another file; None: behind any.

    Raises
    ------
    FileNotFoundError
        It, its report or its operating point is missing.
    ValueError
        One of these is damaged, it was made behind another detector, or as for `check`.
    """
    try:
        verifier = load_model(path)
        read_operating_point(path)
    except (FileNotFoundError, ValueError) as e:
        what, _, remedy = str(e).rpartition("; ")  # which is of what stages make: no stage makes a verifier
        raise type(e)(f"{what or remedy}; {ANEW}") from e
    if detector and verifier.report.get("detector_sha256") != sha256(detector):
        raise ValueError(f"{path}: made behind another detector than {detector}; run `gunshot train-verifier`")
    check(verifier, p)
    return verifier


def check(verifier: Model, p: Sections) -> None:
    """Raise ValueError where a verifier does not hear as many bands and frames as params.yaml says."""
    rules = ("bands", "features.n_mels", p.features.n_mels), ("frames", "verifier.frames", p.verifier.frames)
    for size, (what, name, rule) in zip(verifier.window, rules, strict=True):
        if size != rule:
            raise ValueError(
                f"{verifier.path}: windows of {size} {what} must have {name}={rule} of params.yaml; make it anew with "
                "`gunshot train-verifier`"
            )


def of_frames(verifier: Model, log_mel: np.ndarray, at: np.ndarray, p: Sections) -> np.ndarray:
    """Return the verifier's logits around frames `at` of a recording's log-mel [shape=(n_mels, frames)], float32.

    A frame behind the last counts as the last.

    ValueError as for `check`.
    """
    check(verifier, p)
    shape = {"before": p.verifier.before, "n_frames": p.verifier.frames}
    last = log_mel.shape[1] - 1
    heard = [windows.around(log_mel, min(max(int(frame), 0), last), **shape) for frame in at]
    return verifier.logit(np.stack(heard)) if heard else np.zeros(0, np.float32)


def of_file(verifier: Model, file: Path, onset_s: np.ndarray, p: Sections) -> np.ndarray:
    """Return the verifier's logits around onsets of a recording, s, in ascending order; memory holds a block of it.

    Raises
    ------
    ValueError
        As for `check`.
    gunshot.base.audio.AudioError
        As for `audio.blocks`.
    """
    opinions = [of_frames(verifier, part, at, p) for part, at in _spans(file, frames(onset_s, p), p)]
    return np.concatenate(opinions) if opinions else np.zeros(0, np.float32)


def _spans(file: Path, at: np.ndarray, p: Sections) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield parts of a recording's log-mel with the frames in them that were asked for, which have all around them."""
    before, after = p.verifier.before, p.verifier.frames - p.verifier.before
    kept, first = np.zeros((p.features.n_mels, 0), np.float32), 0
    mel = p.features.model_dump()
    for part in features.parts_of_file(file, sr=p.audio.sr, min_length=p.features.n_fft, repair=True, **mel):
        kept = np.concatenate([kept, part], axis=1)
        ready = at[at + after <= first + kept.shape[1]]
        if len(ready):
            yield kept, ready - first
        at = at[len(ready) :]
        drop = max(0, kept.shape[1] - before - after - part.shape[1])
        kept, first = kept[:, drop:], first + drop
    if len(at):
        yield kept, at - first


def of_shots(verifier: Model, file: Path, part: recording.Part, p: Sections) -> np.ndarray:
    """Return for each shot of a whole recording the opinion of its incident, the verifier's logit, float32.

    ValueError and AudioError as for `of_file`.
    """
    best = highest(part.incident, part.score)
    order = np.argsort(part.onset_s[best], kind="stable")
    logit = np.empty(len(best), np.float32)
    logit[order] = of_file(verifier, file, part.onset_s[best][order], p)
    return logit[np.searchsorted(np.unique(part.incident), part.incident)]
