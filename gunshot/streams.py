"""Streams: long audio, simulated or laid from real recordings, on which a detector is measured as it is used.

A stream is of the kind `quiet`, which holds no shot, or `shots`; the training side has quiet ones alone, in which hard
negatives are found. Simulated ones are gunshot.simulate.streams. Real ones
are laid from recordings that were imported, of the side's recording groups alone.
"""

import itertools
import math
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from gunshot.base import audio, processes, seeds, tables
from gunshot.simulate import streams as simulated
from gunshot.simulate.levels import heard, peak_db, peak_snr_db
from gunshot.simulate.signals import add, db, join, uniform
from gunshot.simulate.streams import FIRST_S, GAP_S, Stream

FADE_S = 0.1  # of the cross-fade between real recordings
PEAK_DB = (-30.0, -3.0)  # of a real environment recording, re full scale
MOST_GAIN_DB = 30.0  # that it may get: what is nearly silent stays so
SNR_DB = (0.0, 40.0)  # peak SNR of the loudest shot of a real firing
FLOOR_DB = -70.0  # re full scale, that a real environment has at least for that SNR
RUN_S, LEAD_S, TAIL_S = 1.5, 0.5, 2.0  # shots closer than this are one firing; what is cut before it and after it


@dataclass(frozen=True)
class Cut:
    """Part of a real recording, from `start` to `stop` in samples; `fresh` where no earlier stream holds it.

    `onsets`, in samples of the recording, are those of a firing.
    """

    recording: str
    recording_group: str
    label: str
    start: int
    stop: int
    fresh: bool = True
    onsets: tuple[int, ...] = ()

    def __len__(self):
        return self.stop - self.start


@dataclass(frozen=True)
class Simulated:
    """A stream to be rendered."""

    seed: int
    side: str
    kind: str
    index: int
    stream_s: float
    events_per_min: float
    distance_m: tuple[float, float]
    origin: str = "simulated"

    def make(self, raw: Path, sr: int) -> Stream:
        """Return the stream."""
        shape = {name: getattr(self, name) for name in ("stream_s", "events_per_min", "distance_m")}
        return simulated.render(self.seed, self.side, self.index, self.kind, sr=sr, **shape)


@dataclass(frozen=True)
class Real:
    """A stream to be laid: environment end to end, and firings with the samples at which they start."""

    seed: int
    side: str
    kind: str
    index: int
    environment: list[Cut]
    firings: list[tuple[int, Cut]]
    origin: str = "real"

    def make(self, raw: Path, sr: int) -> Stream:
        """Return the stream; `raw` is the folder of the corpora."""
        rng = seeds.generator(self.seed, f"streams/real/{self.side}/{self.kind}/{self.index}")
        y, events, unique = _environment(rng, self.environment, raw, sr)
        other, shots = y.copy(), []
        for number, (start, firing) in enumerate(self.firings):
            shots += [row | {"firing": number} for row in _fire(rng, y, other, firing, start, raw, sr)]
        shots = [row | {"heard": heard(y, row["onset"], sr)} for row in shots]
        row = {
            "side": self.side, "origin": "real", "kind": self.kind, "index": self.index, "place": "", "scene": "",
            "duration_s": len(y) / sr, "unique_s": unique / sr, "full_scale_db_spl": -1.0, "gain_control": False,
            "recording_group": "",
        }  # fmt: skip
        return Stream(audio.to_int16(y), row, shots, events)


def starts(cuts: list[Cut], sr: int) -> np.ndarray:
    """Return where each of some cuts starts and the last one ends [shape=(cuts + 1,)]; each fades into the next."""
    lengths = np.array([len(cut) for cut in cuts])
    fades = np.minimum(int(FADE_S * sr), np.minimum(lengths[:-1], lengths[1:]) // 2)
    return np.r_[0, np.cumsum(lengths - np.r_[fades, 0])]


def _read(cut: Cut, raw: Path, sr: int) -> np.ndarray:
    return audio.to_float(audio.read_pcm(raw / cut.recording, sr=sr, start=cut.start, frames=len(cut)))


def _environment(rng: np.random.Generator, cuts: list[Cut], raw: Path, sr: int) -> tuple[np.ndarray, list[dict], int]:
    """Return cuts laid end to end [shape=(n,), dtype=float32], a row for each, and how many samples are fresh."""
    at = starts(cuts, sr)
    y, rows, unique, laid = np.zeros(at[-1], np.float32), [], 0, 0
    for start, cut in zip(at[:-1].tolist(), cuts, strict=True):
        x = _read(cut, raw, sr)
        x *= np.float32(db(min(uniform(rng, PEAK_DB) - peak_db(x), MOST_GAIN_DB)))
        join(y, x, start, laid - start)
        unique += cut.fresh * (start + len(cut) - laid)
        laid = start + len(cut)
        rows.append({
            "start": start, "stop": laid, "label": cut.label, "kind": "bed", "distance_m": -1.0,
            "level_db": peak_db(x), "snr_db": 0.0, "recording": cut.recording, "source_start": cut.start,
            "recording_group": cut.recording_group,
        })  # fmt: skip
    return y, rows, unique


def _fire(
    rng: np.random.Generator, y: np.ndarray, other: np.ndarray, firing: Cut, start: int, raw: Path, sr: int
) -> list[dict]:
    """Add a firing to `y` from sample `start`, at a drawn SNR over `other` [shape=(n,)]; return a row for each shot."""
    x, onsets = _read(firing, raw, sr), np.array(firing.onsets) - firing.start
    rise, fall = min(int(0.01 * sr), int(onsets[0])), min(int(0.05 * sr), len(x) - int(onsets[-1]) - 1)
    x[:rise] *= np.linspace(0, 1, rise, dtype=np.float32)
    x[len(x) - fall :] *= np.linspace(1, 0, fall, dtype=np.float32)
    shots = np.split(x, onsets)[1:]  # each until the next one starts
    snr_db = [
        peak_snr_db(own, other, start + onset, sr, floor_db=FLOOR_DB)
        for own, onset in zip(shots, onsets.tolist(), strict=True)
    ]
    gain_db = uniform(rng, SNR_DB) - max(snr_db)
    add(y, x, start, float(db(gain_db)))
    common = {
        "shock": -1, "weapon": firing.label, "pattern": "", "suppressed": False, "distance_m": -1.0, "angle_deg": -1.0,
        "scene": "", "place": "", "peak_db_spl": -1.0, "recording": firing.recording,
        "recording_group": firing.recording_group,
    }  # fmt: skip
    return [
        {"onset": start + onset, "blast": start + onset, "peak_snr_db": snr + gain_db} | common
        for onset, snr in zip(onsets.tolist(), snr_db, strict=True)
    ]


def environment(recordings: pd.DataFrame, longest: int, sr: int) -> list[Cut]:
    """Return cuts of at most `longest` samples that hold each recording of the class env once, columns RECORDING."""
    table, cuts = recordings[recordings["class"] == "env"], []
    for row, seen in zip(table.to_dict("records"), table["sha256"].duplicated(), strict=True):
        n = round(row["duration_s"] * sr)
        edges = np.linspace(0, n, -(-n // longest) + 1).astype(int).tolist()
        which = row["path"], row["recording_group"], row["label"]
        cuts += [Cut(*which, start, stop, not seen) for start, stop in itertools.pairwise(edges)]
    return cuts


def firings(recordings: pd.DataFrame, onsets: dict[str, list[int]], longest: int, sr: int) -> list[Cut]:
    """Return cuts of recordings of the class gun, one for each firing: shots that follow each other closely.

    `onsets` are in samples, by recording. The first and the last of a firing are at most `longest` samples apart.
    """
    cuts = []
    for row in recordings[recordings["class"] == "gun"].to_dict("records"):
        n, own = round(row["duration_s"] * sr), sorted(onsets.get(row["path"], []))
        runs: list[list[int]] = []
        for onset in own:
            if runs and onset - runs[-1][-1] < RUN_S * sr and onset - runs[-1][0] <= longest:
                runs[-1].append(onset)
            else:
                runs.append([onset])
        for before, run, after in zip([None, *runs], runs, [*runs[1:], None], strict=False):
            start = max(run[0] - int(LEAD_S * sr), (before[-1] + run[0]) // 2 if before else 0)
            stop = min(run[-1] + int(TAIL_S * sr), after[0] if after else n)
            cuts.append(Cut(row["path"], row["recording_group"], row["label"], start, stop, onsets=tuple(run)))
    return cuts


def _packed(cuts: Iterable[Cut], n: int, sr: int) -> Iterator[list[Cut]]:
    """Yield cuts in runs of at least `n` samples; the last run may be shorter."""
    batch: list[Cut] = []
    for cut in cuts:
        batch.append(cut)
        if starts(batch, sr)[-1] >= n:
            yield batch
            batch = []
    if batch:
        yield batch


def _again(rng: np.random.Generator, cuts: list[Cut]) -> Iterator[Cut]:
    """Yield all cuts in a drawn order, then in another, and so on; only the first time are they fresh."""
    yield from (cuts[i] for i in rng.permutation(len(cuts)))
    while True:
        yield from (replace(cuts[i], fresh=False) for i in rng.permutation(len(cuts)))


def _placed(rng: np.random.Generator, waiting: list[Cut], n: int, sr: int) -> list[tuple[int, Cut]]:
    """Take firings from the end of `waiting` that fit into `n` samples, and return each with where it starts."""
    placed, at = [], int(sr * uniform(rng, FIRST_S))
    while waiting and at + len(waiting[-1]) <= n:
        placed.append((at, waiting.pop()))
        at += len(placed[-1][1]) + int(sr * uniform(rng, GAP_S))
    return placed


def plan_real(
    recordings: pd.DataFrame,
    onsets: dict[str, list[int]],
    side_of: dict[str, str],
    *,
    seed: int,
    stream_s: float,
    sr: int,
) -> list[Real]:
    """Return the real streams, none where nothing was imported.

    Parameters
    ----------
    recordings : columns RECORDING; those that were simulated are left out
    onsets : of the shots, in samples, by recording
    side_of : the side of each recording group; one without a side is left out

    A side's environment recordings are all laid once in its quiet streams. Over them, in other orders and as often as
    it takes, its firings are laid once each.
    """
    n, planned = int(stream_s * sr), []
    imported = recordings[recordings["source"] != "simulated"].sort_values("path")
    for side in tables.SIDES:
        mine = imported[imported["recording_group"].map(side_of) == side]
        cuts = environment(mine, n, sr)
        waiting = firings(mine, onsets, n // 4, sr) if side != "train" else []
        if not cuts:
            continue
        rng = seeds.generator(seed, f"streams/real/{side}")
        order = [cuts[i] for i in rng.permutation(len(cuts))]
        planned += [Real(seed, side, "quiet", i, batch, []) for i, batch in enumerate(_packed(order, n, sr))]
        waiting = [waiting[i] for i in rng.permutation(len(waiting))]
        batches = _packed(_again(rng, cuts), n, sr)
        index = 0
        while waiting:
            batch = next(batches)
            planned.append(Real(seed, side, "shots", index, batch, _placed(rng, waiting, starts(batch, sr)[-1], sr)))
            index += 1
    return planned


def plan_simulated(
    *, seed: int, hours: float, shot_hours: float, val_share: float, train_hours: float, stream_s: float, **shape
) -> list[Simulated]:
    """Return the simulated streams: `hours` of test without shots, `shot_hours` with.

    Validation has `val_share` times both. `shape` are the further fields of `Simulated`.
    """
    wanted = {
        "train": {"quiet": train_hours},
        "val": {"quiet": val_share * hours, "shots": val_share * shot_hours},
        "test": {"quiet": hours, "shots": shot_hours},
    }
    return [
        Simulated(seed, side, kind, index, stream_s, **shape)
        for side, kinds in wanted.items()
        for kind, kind_hours in kinds.items()
        for index in range(max(1, math.ceil(round(kind_hours * 3600 / stream_s, 6))))
    ]


def _save(task: Simulated | Real, out: Path, raw: Path, sr: int) -> dict[str, list[dict]]:
    stream = task.make(raw, sr)
    path = f"{task.origin}/{task.kind}/{task.index:05d}.wav"
    audio.write_pcm(out / path, stream.pcm, sr=sr)
    rows = {"shots.csv": stream.shots, "events.csv": stream.events, "streams.csv": [stream.row]}
    return {name: [{"path": path, **row} for row in content] for name, content in rows.items()}


def write(out: Path, raw: Path, planned: list[Simulated | Real], *, sr: int, workers: int) -> pd.DataFrame:
    """Write a side's streams to the folder `out`: wavs, then the tables; return that of the streams, columns STREAM.

    What an earlier run left there is removed first, so that a run that was killed leaves no table and the next one
    the same bytes. Memory is bounded by a stream a worker.
    """
    for name in tables.STREAM_TABLES:
        (out / name).unlink(missing_ok=True)
    for origin in tables.ORIGINS:
        shutil.rmtree(out / origin, ignore_errors=True)
    results = processes.in_order(_save, planned, out, raw, sr, workers=workers, batch=1)
    written = list(tqdm(results, total=len(planned), desc="streams", unit="stream"))
    for name, columns in tables.STREAM_TABLES.items():
        table = tables.frame((row for rows in written for row in rows[name]), columns)
        tables.write(out / name, table if columns is tables.STREAM else table.round(3))
    return table
