"""Recordings that came back from devices: which to look at first, and which to delete."""

import dataclasses
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from tqdm import tqdm

from gunshot import features, tags
from gunshot.base import audio, params, tables
from gunshot.detect import listener
from gunshot.models.model import Model
from gunshot.tags import catalogue

SCORES = {"recording": str, "size": int, "mtime_ns": int, "model": str, "score": float}
DAY_S = 86400.0
OWN = ("scores.csv", "tags.csv")  # of the field's folder itself


def arrived(root: Path, raw: Path, by_hand: Path) -> tuple[catalogue.Catalogue, dict[str, str]]:
    """Return the recordings in `root`, and whether each is confirmed, automatic or untagged.

    Raises
    ------
    ValueError
        There is no such folder.
    """
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; devices' recordings go to {root}/DEVICE/")
    listed = catalogue.listed(root, raw, by_hand)
    return listed, states(listed)


def states(listed: catalogue.Catalogue) -> dict[str, str]:
    """Return of each recording what `tags.state` says of its tags."""
    placed, _ = listed.read()
    return {key: tags.state(placed.get(key)) for key in listed.recordings}


class Sections(features.Sections, Protocol):
    """The sections of params.yaml that scores of recordings are made by."""

    detector: params.Detector


def by_doubt(
    listed: catalogue.Catalogue, model: Model | None, p: Sections
) -> tuple[catalogue.Catalogue, dict[str, float]]:
    """Return recordings in the order in which a person should look at them, and the scores of those that can be read.

    Without a model there are no scores, and the order is that of the names.
    """
    highest: dict[str, float] = {}
    if model:
        every = scores(listed.recordings, listed.home.root / "scores.csv", model, p=p)
        every = tqdm(every, total=len(listed.recordings), desc="score")
        highest = {key: score for key, score in every if score is not None}
    keys = queue(states(listed), highest, model.operating_point if model else 0.0)
    return dataclasses.replace(listed, recordings={key: listed.recordings[key] for key in keys}), highest


def queue(states: dict[str, str], scores: dict[str, float], point: float) -> list[str]:
    """Return the recordings in the order in which a person should look at them.

    Unconfirmed ones first, and of those the ones whose score is nearest to the operating point; what has no score
    follows by name, and what is confirmed comes last.
    """

    def doubt(key: str) -> tuple:
        return states[key] == "confirmed", abs(scores.get(key, np.inf) - point), key

    return sorted(states, key=doubt)


def scores(
    recordings: dict[str, Path], cache: Path, model: Model, *, p: Sections
) -> Iterator[tuple[str, float | None]]:
    """Yield each recording's key and the highest score of a window in it; None where it cannot be read.

    Recordings that `cache`, a CSV, knows with this model are not scored again; it is written when all were yielded, or
    the caller stops.
    """
    known = _known(cache)
    name, heard = _name(model.path), listener.settings(model, p, logit=0.0)
    rows = []
    try:
        for key, file in recordings.items():
            try:
                stat = file.stat()
                stamp = (key, stat.st_size, stat.st_mtime_ns, name)
                if (score := known.get(stamp)) is None:
                    options = {"sr": p.audio.sr, "min_length": p.features.n_fft, **p.features.model_dump()}
                    mel = listener.whole(features.of_file(file, **options), heard)
                    score = float(model.sweep(mel, hop=p.detector.hop).max())
            except (OSError, audio.AudioError):
                yield key, None
                continue
            rows.append(dict(zip(SCORES, (*stamp, score), strict=True)))
            yield key, score
    finally:
        left = [dict(zip(SCORES, (*stamp, score), strict=True)) for stamp, score in known.items()]
        done = {row["recording"] for row in rows}
        rows += [row for row in left if row["recording"] in recordings.keys() - done]
        tables.write(cache, tables.frame(rows, SCORES).sort_values("recording"))


def _name(path: Path) -> str:
    """Return what tells one model from another."""
    stat = path.stat()
    return f"{path.as_posix()}:{stat.st_size}:{stat.st_mtime_ns}"


def _known(cache: Path) -> dict[tuple, float]:
    if not cache.exists():
        return {}
    table = tables.read(cache, SCORES)
    return {tuple(row[:-1]): row[-1] for row in table[list(SCORES)].itertuples(index=False, name=None)}


def files(root: Path) -> tuple[dict[str, Path], list[str]]:
    """Return every file below `root` by key, whatever it is called, and the keys of what is no file.

    Of a link to a file the link itself is meant; a link to a folder, a pipe or a device is no file, and no link is
    followed. The queue's own tables are left out.

    Raises
    ------
    ValueError
        `root` is itself a link.
    OSError
        A folder cannot be read.
    """
    if root.is_symlink():
        raise ValueError(f"{root}: leads to {root.resolve()}; what lies behind a link is left alone: move it here")

    def stop(error: OSError):
        raise error

    every, other = {}, []
    for where, folders, names in os.walk(root, onerror=stop):
        for file in (Path(where) / name for name in [*folders, *names]):
            key = file.relative_to(root).as_posix()
            try:
                kind = file.lstat().st_mode
            except FileNotFoundError:  # written or imported this moment
                continue
            if stat.S_ISREG(kind) or (stat.S_ISLNK(kind) and not file.is_dir()):
                every |= {} if key in OWN else {key: file}
            elif not stat.S_ISDIR(kind):
                other.append(key)
    return every, sorted(other)


def expired(recordings: dict[str, Path], states: dict[str, str], *, now: float, keep_days: float) -> pd.DataFrame:
    """Return the unconfirmed recordings that are older than `keep_days`, oldest first: recording, age_days.

    A recording's age is that of its file, by its time of modification; `now` is in s since the epoch.
    """
    rows = [
        {"recording": key, "age_days": (now - file.lstat().st_mtime) / DAY_S}
        for key, file in recordings.items()
        if states[key] != "confirmed"
    ]
    table = tables.frame(rows, {"recording": str, "age_days": float})
    return table[table["age_days"] > keep_days].sort_values("age_days", ascending=False, ignore_index=True)


def remove(root: Path, keys: Iterable[str], expected: dict[str, list[tags.Tag]] | None = None) -> dict[str, OSError]:
    """Delete recordings below `root`, their tags first: a later file of the same name must not inherit them.

    `expected` are all tags as the caller had read them. Returned is why files are still there, by key: one that this
    user may not delete keeps no other.

    Raises
    ------
    tags.ChangedError
        A recording's tags are no longer as `expected`; nothing is deleted.
    """
    keys, left = list(keys), {}
    if not keys:
        return left
    before = None if expected is None else {key: expected.get(key) for key in keys}
    tags.amend(root / "tags.csv", dict.fromkeys(keys), before)
    for key in keys:
        try:
            (root / key).unlink(missing_ok=True)
        except OSError as e:
            left[key] = e
        else:
            _remove_empty((root / key).parent, root)
    cache = root / "scores.csv"
    if cache.exists():
        table = tables.read(cache, SCORES)
        tables.write(cache, table[~table["recording"].isin(keys)])
    return left


def _remove_empty(folder: Path, root: Path) -> None:
    """Delete a folder below `root` and those above it, as far as nothing is in them and the user may."""
    with suppress(OSError):  # an empty folder says nothing of anybody
        while folder != root and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent
