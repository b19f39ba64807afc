"""What is true of the data: tables of facts, one row a file, tag, chunk, group or band, for `suites` to judge.

Every table names its rows in the column `file`. A fact that could not be
measured is null, and the reason is in the column `problem` of the same row.
"""

import csv
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from tqdm import tqdm

from gunshot import tags
from gunshot.base import audio, params, processes, tables
from gunshot.dataset import impulse

CLASSES = ("gun", "env")
BATCH = 2048
PAIR = {"a": str, "b": str, "offset_s": float, "similarity": float}
RECORDING_FACTS = ["problem", "sha256_found", "duration_error_s", "peak_db", "clipped", "dc_offset"]
CHUNK_LEVELS = ["peak_db", "crest_db", "rise_db"]
TAG_FACTS = ["problem", "left", "interval_ms", "peak_db", "rise_db"]
FEATURE_FACTS = ["not_finite", "min_db", "max_db"]

LOOK_MS = 20  # behind a tag, where the shot must be heard

Facts = dict[str, pd.DataFrame]


class FieldSections(Protocol):
    """The sections of params.yaml that recordings of devices are judged by."""

    quality: params.Quality
    validation: params.Validation


class Sections(FieldSections, Protocol):
    """The sections of params.yaml that the pipeline's data is judged by."""

    audio: params.Audio
    splits: params.Splits
    features: params.Features


def _levels(pcm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return peak and RMS over the last axis of int16 [shape=(..., n)] as shares of full scale, at least half a bit."""
    y, floor = pcm.astype(np.float64) / audio.FULL_SCALE, 0.5 / audio.FULL_SCALE
    return np.maximum(np.abs(y).max(axis=-1), floor), np.maximum(np.sqrt(np.mean(y**2, axis=-1)), floor)


def _parallel(measure: Callable, items: list, unit: str) -> Iterable:
    done = processes.in_order(measure, items, workers=os.cpu_count() or 1, batch=8)
    yield from tqdm(done, total=len(items), unit=unit, disable=None)


def _pcm(path: Path, sr: int) -> np.ndarray:
    """Return a whole wav as int16 [shape=(n,)]; AudioError where it is absent, of another format, empty or cut off."""
    if not path.is_file():
        raise audio.AudioError(path, "not on disk", "every file that a table lists must be there")
    pcm = audio.read_pcm(path, sr=sr)
    # read_pcm takes a truncated or empty file for a short one; blocks, asked for one sample, looks at the header.
    next(audio.blocks(path, sr=sr, block_s=1 / sr))
    return pcm


def _measure_recording(listed: tuple[str, float], *, raw: Path, sr: int) -> dict:
    path, duration_s = listed
    try:
        pcm = _pcm(raw / path, sr)
    except audio.AudioError as e:
        return {"problem": f"{e.value}: {e.rule}"}
    peak, _ = _levels(pcm)
    return {
        "sha256_found": audio.sha256(pcm),
        "duration_error_s": abs(len(pcm) / sr - duration_s),
        "peak_db": 20 * np.log10(peak),
        "clipped": np.mean((pcm == audio.FULL_SCALE - 1) | (pcm == -audio.FULL_SCALE)),
        "dc_offset": abs(pcm.mean()) / audio.FULL_SCALE,
    }


def raw(raw: Path, *, p: Sections) -> Facts:
    """Return `recordings`, one row a recording or a wav that no table lists, and `classes`, one row a class.

    Every wav is read, in parallel processes; a recording's facts are its peak in
    dBFS, its share of samples at full scale, its DC offset as a share of full
    scale, and how its bytes and its duration agree with the table.
    """
    listed = tables.recordings(raw)
    measure = partial(_measure_recording, raw=raw, sr=p.audio.sr)
    measured = list(_parallel(measure, list(zip(listed["path"], listed["duration_s"], strict=True)), "recording"))
    recordings = listed.join(pd.DataFrame(measured, columns=RECORDING_FACTS))
    wavs = {f.relative_to(raw).as_posix() for f in raw.rglob("*") if f.suffix.lower() == ".wav"}
    stray = pd.DataFrame({"path": sorted(wavs - set(listed["path"]))}, dtype=object)
    recordings = pd.concat([recordings, stray.assign(problem="no recordings.csv lists it")], ignore_index=True)
    by_class = listed.groupby("class")
    classes = pd.DataFrame({"recordings": by_class.size(), "groups": by_class["recording_group"].nunique()})
    classes = classes.reindex(CLASSES, fill_value=0).assign(share=lambda t: t["recordings"] / max(1, len(listed)))
    return {
        "recordings": recordings.assign(file=recordings["path"]),
        "classes": classes.rename_axis("file").reset_index(),
    }


def _measure_packed(packed: tuple[str, np.ndarray, np.ndarray], *, root: Path, sr: int, length: int) -> tuple:
    """Return problems [shape=(k,)] and levels [shape=(k, 3)] of a packed wav's chunks, from their places and onsets."""
    path, index, onset = packed
    problems, levels = np.full(len(index), None, object), np.full((len(index), 3), np.nan)
    try:
        pcm = _pcm(root / path, sr)
    except audio.AudioError as e:
        problems[:] = f"{e.value}: {e.rule}"
        return problems, levels
    whole = len(pcm) // length
    held = (index >= 0) & (index < whole)
    problems[~held] = [f"index {i} of {path}: it holds {len(pcm)} samples, {whole} chunks" for i in index[~held]]
    if held.any():
        pcm = pcm[: whole * length].reshape(whole, length)[index[held]]
        peak, rms = _levels(pcm)
        rise = np.where(onset[held] < 0, np.nan, impulse.rise_db(pcm, onset[held], sr=sr))
        levels[held] = np.stack([20 * np.log10(peak), 20 * np.log10(peak / rms), rise], axis=1)
    return problems, levels


def chunks(root: Path, *, p: Sections) -> Facts:
    """Return `chunks`, one row a chunk, its rows that are `gun` and `env`, and `classes`.

    A chunk's facts are its peak in dBFS, its crest factor (peak over RMS) and its energy's rise at the onset, in dB.
    """
    listed = tables.read(root / "chunks.csv", tables.CHUNK)
    of_path = listed.groupby("path").indices
    packed = [(path, *listed.iloc[rows][["index", "onset"]].to_numpy().T) for path, rows in of_path.items()]
    measure = partial(_measure_packed, root=root, sr=p.audio.sr, length=p.audio.chunk_length)
    problems, levels = np.full(len(listed), None, object), np.empty((len(listed), len(CHUNK_LEVELS)))
    for rows, measured in zip(of_path.values(), _parallel(measure, packed, "file"), strict=True):
        problems[rows], levels[rows] = measured
    facts = pd.DataFrame(levels, columns=CHUNK_LEVELS).assign(problem=problems)
    listed = listed.join(facts).assign(file=listed["chunk"])
    counts = listed["class"].value_counts().reindex(CLASSES, fill_value=0)
    by_class = {name: listed[listed["class"] == name] for name in CLASSES}
    return {"chunks": listed, **by_class, "classes": counts.rename_axis("file").reset_index(name="chunks")}


def _lines(path: Path) -> Iterable[tuple[str, list[str]]]:
    """Yield a tag file's names and cells as they lie there: `tags.read` sorts them and drops doubles."""
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        yield from ((row[0], row[1:]) for row in csv.reader(file) if row)


def _measure_tags(line: tuple[str, list[str]], *, raw: Path, sr: int) -> list[dict]:
    """Return the facts of one recording's tags, in the order of its line."""
    path, cells = line
    placed = [tags.parse(cell.strip()) for cell in cells]
    rows = [
        {"file": f"{path}#{cell}", "problem": None if tag else f"{cell!r} is no start"}
        for cell, tag in zip(cells, placed, strict=True)
    ]
    try:
        pcm = _pcm(raw / path, sr)
    except audio.AudioError as e:
        return [row | {"problem": f"{e.value}: {e.rule}"} for row in rows]
    starts = np.array([tag.start for tag in placed if tag], int)
    rises, intervals = impulse.rise_db(pcm[None], starts, sr=sr), np.diff(starts * 1000 / sr, prepend=np.nan)
    good = [row for row, tag in zip(rows, placed, strict=True) if tag]
    for row, start, rise, interval in zip(good, starts, rises, intervals, strict=True):
        row |= {"left": len(pcm) - start, "rise_db": rise, "interval_ms": interval}
        if start < len(pcm):
            row["peak_db"] = 20 * np.log10(_levels(pcm[start : start + LOOK_MS * sr // 1000])[0])
    return rows


def tagged(tagged: Path, raw: Path, *, p: Sections) -> Facts:
    """Return `tags`, one row a tag, `lines`, one row a line of the tag file, `gun` and `env` recordings, and `corpus`.

    A tag's facts are the samples of its recording `left` behind it, the interval to the tag before, the peak of the
    next 20 ms in dBFS and the rise of energy there in dB; a gun recording's are its tags, and its tags or rejections.
    """
    listed = tables.read(tagged / "recordings.csv", {**tables.RECORDING, "tagged": str})
    rejected = tables.read(tagged / "rejected.csv", tables.REJECTED)
    lines = list(_lines(tagged / "tags.csv"))
    kinds = listed.set_index("path")["class"]
    of_line = pd.DataFrame({"file": [name for name, _ in lines]}, dtype=object)
    known = [line for line in lines if line[0] in kinds.index]
    measure = partial(_measure_tags, raw=raw, sr=p.audio.sr)
    rows = [row for part in _parallel(measure, known, "recording") for row in part]
    counts = pd.Series({name: len(cells) for name, cells in lines}, dtype=float)
    count = listed["path"].map(counts).fillna(0)
    listed = listed.assign(
        file=listed["path"],
        tags=count,
        told=count + listed["path"].isin(rejected["file"]),
        tags_per_s=count / listed["duration_s"].clip(lower=1),
    )
    gun, env = (listed[listed["class"] == name] for name in CLASSES)
    automatic = (gun["tagged"] == "automatic").mean() if len(gun) else 0.0
    return {
        "tags": pd.DataFrame(rows, columns=["file", *TAG_FACTS]),
        "lines": of_line.assign(**{"class": of_line["file"].map(kinds).fillna("not listed")}),
        "gun": gun,
        "env": env,
        "corpus": pd.DataFrame({"file": ["gun recordings"], "automatic": [automatic]}),
    }


def _sides(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a recording group with the sides it is on, as in "train, test"."""
    unique = rows[["recording_group", "side"]].drop_duplicates().sort_values(["recording_group", "side"])
    joined = unique.groupby("recording_group")["side"].agg(", ".join)
    return joined.rename("sides").rename_axis("file").reset_index()


def split(chunks: Path, assigned: Path, near: Path, *, p: Sections) -> Facts:
    """Return the tables `groups`, `pairs` of near-duplicates, `parts` (a row for each side and class) and `sides`.

    `sides` says by how much a side's share of the chunks differs from the one planned. A pair of which a
    recording gave no chunk is left out.
    """
    listed, given = tables.read(chunks, tables.CHUNK), tables.read(assigned, tables.SPLIT)
    lacking = sorted(set(listed["recording_group"]) - set(given["recording_group"]))
    groups = pd.concat([_sides(given), pd.DataFrame({"file": lacking, "sides": "none"})], ignore_index=True)
    side = listed["recording_group"].map(groups.set_index("file")["sides"])
    counts = pd.DataFrame({"side": side, "class": listed["class"]}).value_counts()
    parts = [{"file": f"{s}/{c}", "chunks": counts.get((s, c), 0)} for s in tables.SIDES for c in CLASSES]
    shares = [
        {"file": s, "share": (side == s).mean(), "share_error": abs((side == s).mean() - getattr(p.splits, s))}
        for s in tables.SIDES
    ]
    side_of = dict(zip(listed["recording"], side, strict=True))
    pairs = tables.read(near, PAIR)
    pairs = pairs[pairs["a"].isin(side_of) & pairs["b"].isin(side_of)]
    both = [", ".join(sorted({side_of[a], side_of[b]})) for a, b in zip(pairs["a"], pairs["b"], strict=True)]
    return {
        "groups": groups,
        "pairs": pairs.assign(file=pairs["a"] + " and " + pairs["b"], sides=np.array(both, object)),
        "parts": pd.DataFrame(parts),
        "sides": pd.DataFrame(shares),
    }


def _measure_features(path: Path) -> tuple[dict, pd.DataFrame, np.ndarray]:
    """Return an array's layout, one row of facts a feature, and each mel band's range in dB over all of them.

    The array is memory-mapped and read in batches. ValueError names a file that is no whole array.
    """
    try:
        array = np.atleast_1d(np.load(path, mmap_mode="r"))
    except (ValueError, EOFError) as e:
        raise ValueError(f"{path}: {e}; it must be a whole .npy") from None
    layout = {"features": len(array), "layout": f"{array.dtype} " + " x ".join(["n", *map(str, array.shape[1:])])}
    log_mel = array if array.ndim == 3 and array.size else np.empty((0, 0, 0))
    facts = np.empty((len(log_mel), len(FEATURE_FACTS)))
    low, high = np.full((2, log_mel.shape[1]), np.nan)
    for start in range(0, len(log_mel), BATCH):
        x = log_mel[start : start + BATCH]
        least, most = x.min(axis=2), x.max(axis=2)
        not_finite = np.count_nonzero(~np.isfinite(x), axis=(1, 2))
        facts[start : start + BATCH] = np.stack([not_finite, least.min(axis=1), most.max(axis=1)], axis=1)
        low, high = np.fmin(low, np.fmin.reduce(least)), np.fmax(high, np.fmax.reduce(most))
    return layout, pd.DataFrame(facts, columns=FEATURE_FACTS), high - low


def features(root: Path, *, p: Sections) -> Facts:
    """Return `sides`, `chunks`, the chunks `held_out` of training, `groups`, and the training split's mel `bands`.

    A chunk's facts are its feature's count of values that are not finite and its
    range in dB; a side's are its array's layout and its two row counts.
    """
    sides, rows, ranges = [], [], {}
    for side in tables.SIDES:
        layout, facts, ranges[side] = _measure_features(root / f"{side}.npy")
        listed = tables.chunks(root / f"{side}.csv", ("chunk", "class", "recording_group"))
        sides.append({"file": side, "rows": len(listed), **layout})
        rows.append(listed.join(facts).assign(side=side, file=f"{side}/" + listed["chunk"]))
    chunks = pd.concat(rows, ignore_index=True)
    bands = [{"file": f"mel band {i}", "range_db": value} for i, value in enumerate(ranges["train"])]
    return {
        "sides": pd.DataFrame(sides),
        "chunks": chunks,
        "held_out": chunks[chunks["side"] != "train"],
        "groups": _sides(chunks),
        "bands": pd.DataFrame(bands, columns=["file", "range_db"]),
    }
