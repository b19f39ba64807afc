"""Log-mels of long audio in one file, mapped into memory: where hard negatives are sought, however many hours."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from gunshot import features
from gunshot.base.files import atomic


def write(path: Path, log_mels: Iterable[np.ndarray]) -> list[int]:
    """Write log-mels [shape=(n_mels, frames)] one behind the other, as float32, and return how many frames each has."""
    frames = []
    with atomic(path) as part, part.open("wb") as file:
        for log_mel in log_mels:
            file.write(np.ascontiguousarray(log_mel.T, np.float32))
            frames.append(log_mel.shape[1])
    return frames


def read(path: Path, frames: Sequence[int]) -> list[np.ndarray]:
    """Return what `write` wrote, memory-mapped, each log-mel of so many `frames` of its own."""
    if not sum(frames):
        return []
    every = np.memmap(path, np.float32, "r").reshape(sum(frames), -1)
    return [part.T for part in np.split(every, np.cumsum(frames)[:-1])]


def of_streams(streams: Path, file: Path, p: features.Sections) -> dict[str, list[np.ndarray]]:
    """Return by origin the log-mels of all streams below a folder, mapped from `file`, to which they are written."""
    shape = p.features.model_dump() | p.audio.model_dump(include={"sr"}) | {"min_length": 0}
    paths, pool = sorted(streams.rglob("*.wav")), {}
    frames = write(file, (features.of_file(path, **shape) for path in paths))
    for path, log_mel in zip(paths, read(file, frames), strict=True):
        pool.setdefault(path.relative_to(streams).parts[0], []).append(log_mel)
    return pool
