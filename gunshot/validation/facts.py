"""What is true of the data: tables of facts, one row a file, chunk, group, side or band, for `suites` to judge.

Every table names its rows in the column `file`. A fact that could not be
measured is null, and the reason is in the column `problem` of the same row.
"""

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from tqdm import tqdm

from gunshot import audio, processes, tables

CLASSES = ("gun", "env")
SIDES = ("train", "val", "test")
BATCH = 2048
SPLIT = {"recording_group": str, "side": str}
RECORDING_FACTS = ["problem", "sha256_found", "duration_error_s", "peak_db", "clipped", "dc_offset"]
CHUNK_FACTS = ["problem", "peak_db", "crest_db"]
FEATURE_FACTS = ["not_finite", "min_db", "max_db"]

Facts = dict[str, pd.DataFrame]


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
    next(audio.blocks(path, sr=sr))  # read_pcm takes a truncated or empty file for a short one, blocks does not
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


def raw(raw: Path, *, p: SimpleNamespace) -> Facts:
    """Return `recordings`, one row a recording or a wav that no table lists, and `classes`, one row a class.

    Every wav is read, in parallel processes; a recording's facts are its peak in
    dBFS, its share of samples at full scale, its DC offset as a share of full
    scale, and how its bytes and its duration agree with the table.
    """
    listed = tables.recordings(raw)
    measure = partial(_measure_recording, raw=raw, sr=p.audio.sr)
    found = list(_parallel(measure, list(zip(listed["path"], listed["duration_s"], strict=True)), "recording"))
    recordings = listed.join(pd.DataFrame(found, columns=RECORDING_FACTS))
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


def _measure_packed(packed: tuple[str, list[int]], *, root: Path, sr: int, length: int) -> list[dict]:
    path, indices = packed
    try:
        pcm = _pcm(root / path, sr)
    except audio.AudioError as e:
        return [{"problem": f"{e.value}: {e.rule}"}] * len(indices)
    whole = len(pcm) // length
    peak, rms = _levels(pcm[: whole * length].reshape(whole, length))
    return [
        {"peak_db": 20 * np.log10(peak[i]), "crest_db": 20 * np.log10(peak[i] / rms[i])}
        if 0 <= i < whole
        else {"problem": f"index {i} of {path}: it holds {len(pcm)} samples, {whole} chunks"}
        for i in indices
    ]


def chunks(root: Path, *, p: SimpleNamespace) -> Facts:
    """Return `chunks`, one row a chunk, its rows that are `gun` and `env`, and `classes`.

    A chunk's facts are its peak in dBFS and its crest factor, peak over RMS, in dB.
    """
    listed = tables.read(root / "chunks.csv", tables.CHUNK)
    packed = [(path, list(rows)) for path, rows in listed.groupby("path")["index"]]
    measure = partial(_measure_packed, root=root, sr=p.audio.sr, length=p.audio.chunk_length)
    found = [fact for facts in _parallel(measure, packed, "file") for fact in facts]
    rows = [i for path in listed.groupby("path").indices.values() for i in path]
    listed = listed.join(pd.DataFrame(found, columns=CHUNK_FACTS, index=rows)).assign(file=listed["chunk"])
    counts = listed["class"].value_counts().reindex(CLASSES, fill_value=0)
    by_class = {name: listed[listed["class"] == name] for name in CLASSES}
    return {"chunks": listed, **by_class, "classes": counts.rename_axis("file").reset_index(name="chunks")}


def _sides(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a recording group with the sides it is on, as in "train, test"."""
    unique = rows[["recording_group", "side"]].drop_duplicates().sort_values(["recording_group", "side"])
    joined = unique.groupby("recording_group")["side"].agg(", ".join)
    return joined.rename("sides").rename_axis("file").reset_index()


def split(chunks: Path, splits: Path, *, p: SimpleNamespace) -> Facts:
    """Return `groups`, one row a recording group, `parts`, one row a side and class, and `sides`, one row a side.

    `sides` says by how much a side's share of the chunks differs from the one planned.
    """
    listed, assigned = tables.read(chunks, tables.CHUNK), tables.read(splits, SPLIT)
    lacking = sorted(set(listed["recording_group"]) - set(assigned["recording_group"]))
    groups = pd.concat([_sides(assigned), pd.DataFrame({"file": lacking, "sides": "none"})], ignore_index=True)
    side = listed["recording_group"].map(groups.set_index("file")["sides"])
    counts = pd.DataFrame({"side": side, "class": listed["class"]}).value_counts()
    parts = [{"file": f"{s}/{c}", "chunks": counts.get((s, c), 0)} for s in SIDES for c in CLASSES]
    shares = [
        {"file": s, "share": (side == s).mean(), "share_error": abs((side == s).mean() - getattr(p.splits, s))}
        for s in SIDES
    ]
    return {"groups": groups, "parts": pd.DataFrame(parts), "sides": pd.DataFrame(shares)}


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


def features(root: Path, *, p: SimpleNamespace) -> Facts:
    """Return `sides`, `chunks`, the chunks `held_out` of training, `groups`, and the training split's mel `bands`.

    A chunk's facts are its feature's count of values that are not finite and its
    range in dB; a side's are its array's layout and its two row counts.
    """
    sides, rows, ranges = [], [], {}
    for side in SIDES:
        layout, facts, ranges[side] = _measure_features(root / f"{side}.npy")
        listed = tables.read(root / f"{side}.csv", tables.CHUNK)
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
