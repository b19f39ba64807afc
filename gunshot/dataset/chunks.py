"""Chunks: where to cut tagged recordings, with deliberate jitter, and environment at a hop."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from gunshot import features
from gunshot.base import audio, params


class Sections(features.ContextSections, Protocol):
    """The sections of params.yaml that say how recordings are cut."""

    chunks: params.Chunks


def around_tags(
    tags: Sequence[int],
    n: int,
    rng: np.random.Generator,
    *,
    draws: int,
    most: int,
    jitter: tuple[float, float],
    chunk_length: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return starts in the recording and the shot's place in each chunk, int64 samples [shape=(chunks,)].

    A shot comes to lie at a place drawn from `jitter` (shares of the chunk), `draws` times a tag; where
    the recording's ends do not allow it, the chunk moves inside. Equal starts are given once. Of more than `most`
    chunks as many are drawn: a recording with a long burst must not outweigh the others.

    Examples
    --------
    One shot at sample 9000, cut once so that it lies in the middle of its chunk:

    >>> rng = np.random.default_rng(0)
    >>> starts, places = around_tags([9000], 16000, rng, draws=1, most=12, jitter=(0.5, 0.5), chunk_length=4096)
    >>> starts.tolist(), places.tolist()
    ([6952], [2048])
    >>> cut(np.arange(16000), starts, chunk_length=4096).shape
    (1, 4096)
    """
    if n < chunk_length:
        raise ValueError(f"n={n} samples must be at least chunk_length={chunk_length}")
    place = rng.uniform(*jitter, size=(len(tags), draws)) * chunk_length
    shots = np.repeat(np.asarray(tags, np.int64), draws)
    place = np.minimum(place.ravel().astype(np.int64), chunk_length - 1)  # a jitter of 1 is the last sample
    starts = np.clip(shots - place, 0, n - chunk_length)
    starts, first = np.unique(starts, return_index=True)
    kept = np.sort(rng.permutation(len(starts))[:most])
    starts, first = starts[kept], first[kept]
    return starts, np.minimum(shots[first] - starts, chunk_length - 1)


def at_hop(n: int, *, hop: int, chunk_length: int) -> np.ndarray:
    """Return the starts of all whole chunks at a hop, int64 samples [shape=(chunks,)]; none where n is too short.

    Examples
    --------
    >>> at_hop(16000, hop=6144, chunk_length=4096).tolist()
    [0, 6144]
    """
    return np.arange(0, n - chunk_length + 1, hop, dtype=np.int64)


def cut(pcm: np.ndarray, starts: np.ndarray, *, chunk_length: int) -> np.ndarray:
    """Return chunks of `pcm` [shape=(n,)] as rows [shape=(chunks, chunk_length)], same dtype."""
    return pcm[starts[:, None] + np.arange(chunk_length)]


def of_recording(
    recording: dict,
    pcm: np.ndarray,
    onsets: Sequence[int],
    rng: np.random.Generator,
    p: Sections,
) -> tuple[np.ndarray, list[dict]]:
    """Return a recording's chunks, int16 [shape=(chunks, chunk_length)], and their rows of tables.CHUNK.

    One of the class gun is cut around its onsets, another one at a hop. Chunks at a hop begin anywhere and leave the
    context behind a chunk where the recording allows it, as chunks around shots mostly do: sound that is missing must
    not tell the classes apart.

    Parameters
    ----------
    recording : a row of tables.RECORDING
    pcm : np.ndarray [shape=(n,)], int16
    onsets : in samples of the recording

    Raises
    ------
    ValueError
        A recording of the class gun is shorter than a chunk.
    """
    chunk_length, hop = p.audio.chunk_length, p.chunks.env_hop
    if recording["class"] == "gun":
        drawn = p.chunks.model_dump(include={"draws", "most", "jitter"})
        starts, places = around_tags(onsets, len(pcm), rng, chunk_length=chunk_length, **drawn)
    else:
        room = max(min(len(pcm), chunk_length), len(pcm) - features.context_samples(p)[1])
        first = int(rng.integers(min(hop, max(0, room - chunk_length) + 1)))
        starts = first + at_hop(room - first, hop=hop, chunk_length=chunk_length)
        places = np.full(len(starts), -1)
    return cut(pcm, starts, chunk_length=chunk_length), rows(recording, starts, places)


def rows(recording: dict, starts: np.ndarray, onsets: np.ndarray) -> list[dict]:
    """Return rows of tables.CHUNK for a recording (a row of tables.RECORDING) and its chunks."""
    common = {key: recording[key] for key in ("path", "class", "label", "recording_group", "source")}
    name = recording["path"]
    return [
        {"chunk": f"{name}#{start}", "index": i, "recording": name, "start": start, "onset": onset, **common}
        for i, (start, onset) in enumerate(zip(starts.tolist(), onsets.tolist(), strict=True))
    ]


def load(folder: Path, table: pd.DataFrame, *, sr: int, chunk_length: int) -> np.ndarray:
    """Return the PCM of a table's chunks, int16 [shape=(rows, chunk_length)], each packed wav read once.

    Raises
    ------
    gunshot.base.audio.AudioError
        A packed wav is missing, in another format or too short.
    """
    out = np.empty((len(table), chunk_length), np.int16)
    place = np.arange(len(table))
    for path, rows_of_path in table.groupby("path", sort=False).indices.items():
        index = table["index"].to_numpy()[rows_of_path]
        pcm = audio.read_pcm(folder / path, sr=sr)
        if len(pcm) < (index.max() + 1) * chunk_length:
            rule = f"chunks.csv needs {index.max() + 1} chunks of {chunk_length} samples"
            raise audio.AudioError(folder / path, f"{len(pcm)} samples", rule)
        out[place[rows_of_path]] = pcm[: len(pcm) // chunk_length * chunk_length].reshape(-1, chunk_length)[index]
    return out
