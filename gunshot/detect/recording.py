"""A detector on a recording of any length, rate and channels: what each block of it holds, in bounded memory."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gunshot.base import audio
from gunshot.detect import detector, listener


class Part(NamedTuple):
    """A block of a recording, and the shots and windows that it completes.

    `samples` are float32 at ``p.audio.sr`` [shape=(n,)]. Of shots [shape=(shots,)]: `onset_s`, from the recording's
    start, `score`, `peak`, the loudest sample around the onset, 0 to 32768, and `incident`, its number from 1 on. Of
    windows [shape=(windows,)]: `window_score`, and `start_s` of the chunk on which each decides.
    """

    samples: np.ndarray
    onset_s: np.ndarray
    score: np.ndarray
    peak: np.ndarray
    start_s: np.ndarray
    window_score: np.ndarray
    incident: np.ndarray


def joined(parts: Iterable[Part]) -> Part:
    """Return parts that follow each other as one."""
    return Part(*map(np.concatenate, zip(*parts, strict=True)))


def listen(file: Path, ear: listener.Listener, notes: audio.Notes | None = None) -> Iterator[Part]:
    """Yield what a listener with one detector hears in a file; one shorter than a frame is filled up with silence.

    Raises
    ------
    gunshot.base.audio.AudioError
        The path is no file, or as for `audio.blocks`, whose `notes` are these; samples that are no numbers count as
        silence.
    """
    if not file.is_file():
        kind = "is a folder" if file.is_dir() else "is a pipe or a device" if file.exists() else "no such file"
        raise audio.AudioError(file, kind, "a recording must be a file")
    p, windows = ear.p, 0
    blocks = audio.blocks(file, sr=p.audio.sr, repair=True, notes=notes)
    for block in _ended(_filled_up(blocks, p.features.n_fft)):
        (shots,), logits = ear.finish() if block is None else ear.push(block)
        yield Part(
            np.zeros(0, np.float32) if block is None else block,
            ear.times(shots)[0],
            ear.model.score_of(shots[:, detector.LOGIT_SUM], windows=p.detector.windows),
            ear.peaks(shots),
            ear.starts(windows, len(logits)),
            ear.model.score_of(logits, windows=1),
            shots[:, detector.WHICH],
        )
        windows += len(logits)


def _ended(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray | None]:
    yield from blocks
    yield None


def _filled_up(blocks: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """Yield blocks of audio and, where they hold fewer than `length` samples, the silence that is missing."""
    total = 0
    for block in blocks:
        total += len(block)
        yield block
    if total < length:
        yield np.zeros(length - total, np.float32)


def check_short(file: Path, *, minutes: float) -> None:
    """Raise AudioError where a file is longer than some minutes: to be drawn it is held whole."""
    _, duration_s = audio.header(file)
    if duration_s > 60 * minutes:
        raise audio.AudioError(
            file, f"{duration_s / 60:.1f} minutes", f"--plot draws at most {minutes}; cut it, or leave --plot out"
        )
