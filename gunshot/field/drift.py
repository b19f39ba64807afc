"""Whether recordings sound like those that a model was trained on: descriptors and scores against its reference.

Distances and the page are Evidently's. A threshold is what recordings drawn from the reference itself stay below,
since chunks of one recording are alike and tests of independent chunks would reject everything.
"""

import html
import itertools
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from gunshot import features
from gunshot.base import audio, params, processes
from gunshot.base.files import atomic
from gunshot.dataset import chunks
from gunshot.field import descriptors
from gunshot.models.model import Model, load_once

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

COLUMNS = (*descriptors.NAMES, "score", "alarm")  # alarm: 1 where the score reaches the detector's operating point
REFERENCE = {"recording": str, **dict.fromkeys(COLUMNS, float)}  # a row a chunk
FACTS = {"file": str, "problem": object, "chunks": int, "peak_db": float, "clipped": float, "dc_offset": float}
DRAWS, FALSE_VERDICTS = 399, 0.01  # batches drawn from the reference, and the share of them that may drift
LEAST_STD = 0.001  # Evidently's: of a column that hardly varies
DIGITS = 6  # of figures in a CSV
HELD_S = 30.0  # of a recording


class Sections(features.ContextSections, Protocol):
    """The sections of params.yaml that descriptors of recordings are made by."""

    chunks: params.Chunks


def describe(pcm: np.ndarray, starts: np.ndarray, model: Model, p: features.ContextSections) -> np.ndarray:
    """Return COLUMNS of chunks of a recording, float32 [shape=(chunks, len(COLUMNS))].

    FileNotFoundError where the model has no operating.json.

    Parameters
    ----------
    pcm : np.ndarray [shape=(n,)], int16
    starts : of the chunks, in samples; the model hears the sound around them too
    """
    log_mel, _ = features.windows(pcm, starts, p)
    score = model.score(features.heard(log_mel, model.window[1], p))
    cut = chunks.cut(pcm, np.asarray(starts), chunk_length=p.audio.chunk_length)
    columns = descriptors.of_chunks(cut, sr=p.audio.sr, n_fft=p.features.n_fft)
    return np.column_stack([columns, score, score >= model.operating_point]).astype(np.float32)


def sample(table: pd.DataFrame, *, rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return whole recordings of a table with the column recording, drawn until `rows` rows are reached, in order."""
    counts = table["recording"].value_counts(sort=False)
    counts = counts.iloc[rng.permutation(len(counts))]
    before = counts.cumsum() - counts
    return table[table["recording"].isin(counts.index[before < rows])]


def frame(recordings: Iterable[str], values: np.ndarray) -> pd.DataFrame:
    """Return rows of REFERENCE."""
    table = pd.DataFrame(np.asarray(values, float).reshape(-1, len(COLUMNS)), columns=list(COLUMNS)).round(DIGITS)
    table.insert(0, "recording", list(recordings))
    return table


def of_recording(listed: tuple[str, Path], path: Path, p: Sections) -> tuple[dict, np.ndarray]:
    """Return FACTS of a recording of any length, rate and channels, and COLUMNS of its chunks, cut at chunks.env_hop.

    It is read in blocks, so that memory is bounded. One that is malformed has no chunks and its reason in `problem`;
    what was amiss with one that was heard stands in `warnings`, a list. `path` is the model's.
    """
    name, file = listed
    notes, model = audio.Notes(), load_once(path)
    try:
        blocks = audio.blocks(file, sr=p.audio.sr, notes=notes)
        parts = [describe(pcm, starts, model, p) for pcm, starts in _with_context(blocks, p)]
        if not parts:
            raise audio.AudioError(file, "too short", f"must hold a chunk of {p.audio.chunk_length} at {p.audio.sr} Hz")
    except (audio.AudioError, OSError) as e:
        problem = f"{e.value}: {e.rule}" if isinstance(e, audio.AudioError) else f"{e.strerror}: must be readable"
        return {"file": name, "problem": problem, "chunks": 0}, np.empty((0, len(COLUMNS)), np.float32)
    values = np.concatenate(parts)
    facts = {
        "peak_db": 20 * math.log10(max(notes.level.peak, 0.5 / audio.FULL_SCALE)),
        "clipped": notes.level.clipped_share,
        "dc_offset": notes.level.dc_offset,
    }
    return {"file": name, "problem": None, "chunks": len(values), "warnings": notes.warnings, **facts}, values


def _with_context(blocks: Iterable[np.ndarray], p: Sections) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield stretches of a recording, int16, and where in each its next chunks start, their context around them.

    A stretch holds the last HELD_S at least, so that its quiet, which stands beyond a recording's ends, is the
    recording's, or that of so long a part.
    """
    length, (ahead, behind) = p.audio.chunk_length, features.context_samples(p)
    rest, start = np.zeros(0, np.int16), 0
    for block in itertools.chain(blocks, [None]):
        rest = rest if block is None else np.concatenate([rest, audio.to_int16(block)])
        known = len(rest) - (0 if block is None else behind)
        starts = np.arange(start, known - length + 1, p.chunks.env_hop)
        if len(starts):
            yield rest, starts
            start = starts[-1] + p.chunks.env_hop
        used = max(0, min(start - ahead, len(rest) - int(HELD_S * p.audio.sr)))
        rest, start = rest[used:], start - used


def of_recordings(
    listed: dict[str, Path], path: Path, p: Sections, *, workers: int
) -> Iterator[tuple[dict, np.ndarray]]:
    """Yield what `of_recording` returns of each recording, by name, in order, computed in processes."""
    yield from processes.in_order(of_recording, listed.items(), path, p, workers=workers, batch=1)


def effective(recordings: pd.Series) -> int:
    """Return how many recordings of equal length a batch is worth: (sum n)^2 / sum n^2 of its chunks (Kish, 1965)."""
    n = recordings.value_counts().to_numpy(float)
    return max(1, int(n.sum() ** 2 / np.square(n).sum()))


def thresholds(
    reference: pd.DataFrame, *, n: int, least: float, share: float, rng: np.random.Generator
) -> dict[str, float]:
    """Return for each of COLUMNS the distance at which it drifts in a batch of `n` recordings, at least `least`.

    Of DRAWS batches of `n` recordings that are drawn from the reference, and compared with all its others, no more than
    FALSE_VERDICTS have at least `share` of the columns at their thresholds, and so has a new batch of the same kind:
    all columns have the same quantile of their own distances, the lowest that keeps this. At most half of the reference
    is drawn, which is strict enough for larger batches.

    Raises
    ------
    ValueError
        The reference holds fewer than two recordings.
    """
    row, names = pd.factorize(reference["recording"])
    if len(names) < 2:
        raise ValueError(f"recordings of the reference={len(names)} must be at least 2; run `dvc repro reference`")
    drawn = rng.random((DRAWS, len(names))).argsort(axis=1) < min(n, len(names) // 2)
    distances = np.empty((DRAWS, len(COLUMNS)))
    for i, column in enumerate(COLUMNS):
        values = reference[column].to_numpy()
        order = values.argsort()
        gaps, drawn_of = np.diff(values[order]), row[order]
        distances[:, i] = [_distance(which[drawn_of], gaps) for which in drawn]
        distances[:, i] /= max(float(values.std()), LEAST_STD)
    rank = distances.argsort(axis=0).argsort(axis=0)
    deciding = np.sort(rank, axis=1)[:, -needed(share)]  # a draw alarms where the thresholds' rank is below this
    quantile = np.sort(deciding)[-int(FALSE_VERDICTS * (DRAWS + 1))]
    return {c: max(least, float(np.sort(d)[quantile])) for c, d in zip(COLUMNS, distances.T, strict=True)}


def needed(share: float) -> int:
    """Return how many of COLUMNS must drift."""
    return max(1, math.ceil(share * len(COLUMNS)))


def _distance(drawn: np.ndarray, gaps: np.ndarray) -> float:
    """Return the first Wasserstein distance of the drawn from the other ones of sorted values, `gaps` apart."""
    inside = np.cumsum(drawn)
    outside = np.arange(1, len(drawn) + 1) - inside
    return float(np.abs(inside / inside[-1] - outside / outside[-1])[:-1] @ gaps)


def snapshot(reference: pd.DataFrame, batch: pd.DataFrame, limits: dict[str, float]) -> "Snapshot":
    """Return Evidently's comparison of a batch with a reference, both rows of REFERENCE.

    Of each column it holds the first Wasserstein distance, in standard deviations of the reference, and a test that
    it is below the column's limit.
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift
    from evidently.tests import lt

    columns = list(limits)
    definition = DataDefinition(numerical_columns=columns)
    current, known = (Dataset.from_pandas(t[columns], data_definition=definition) for t in (batch, reference))
    return Report(
        [ValueDrift(column=c, method="wasserstein", threshold=t, tests=[lt(t)]) for c, t in limits.items()]
    ).run(current, known)


def judge(snapshot: "Snapshot", reference: pd.DataFrame, batch: pd.DataFrame, *, share: float) -> dict:
    """Return the verdict: `drift` where at least `share` of the columns fail their tests, `reason` in words, figures.

    `needed` is how many of the columns must. `columns` has for each column, those that drift first, its distance, its
    threshold, whether it drifts, and the medians of reference and batch (of `clipped` and `alarm` the means, which are
    rates).
    """
    columns = []
    for metric in snapshot.dict()["metrics"]:
        column, limit = metric["config"]["column"], metric["config"]["threshold"]
        middle = "mean" if column in ("clipped", "alarm") else "median"
        columns.append({
            "column": column,
            "distance": round(float(metric["value"]), DIGITS),
            "threshold": round(limit, DIGITS),
            "drifts": bool(metric["value"] >= limit),
            "reference": round(float(reference[column].agg(middle)), DIGITS),
            "batch": round(float(batch[column].agg(middle)), DIGITS),
        })  # fmt: skip
    columns.sort(key=lambda row: row["threshold"] / max(row["distance"], 1e-12))
    drifting = [row for row in columns if row["drifts"]]
    changes = ", ".join(f"{r['column']} {r['reference']:.4g} -> {r['batch']:.4g}" for r in drifting)
    return {
        "drift": len(drifting) >= needed(share),
        "reason": f"{len(drifting)} of {len(columns)} columns drift" + (f": {changes}" if changes else ""),
        "recordings": int(batch["recording"].nunique()),
        "effective": effective(batch["recording"]),
        "chunks": len(batch),
        "needed": needed(share),
        "columns": columns,
    }


HEAD = """<header style="font-family: sans-serif; max-width: 60rem; margin: 1rem auto; padding: 0 1rem">
<h1>{verdict}: {name}</h1>
<p>{reason}. {recordings} recordings, {chunks} chunks, measured with {model}.</p>
<p>Drift is declared where {needed} of {columns} columns drift at least. What follows is Evidently's comparison of each
column with training; “detected” there is of that column alone.</p>
</header>
"""


def save(snapshot: "Snapshot", out: Path, verdict: dict, *, name: str) -> None:
    """Write Evidently's report as report.json and, below a verdict, as report.html, which loads nothing from elsewhere.

    Parameters
    ----------
    verdict : what `judge` gives, with ``model``, the version that measured, and ``needed``, columns that make drift
    name : of the batch, as a person knows it

    Raises
    ------
    ValueError
        Evidently's page has no body to put the verdict into.
    """
    shown = {"verdict": "Drift" if verdict["drift"] else "No drift", "columns": len(verdict["columns"]), "name": name}
    facts = {key: html.escape(str(verdict[key])) for key in ("reason", "recordings", "chunks", "model", "needed")}
    head = HEAD.format(**facts, **{key: html.escape(str(value)) for key, value in shown.items()})
    page, bodies = re.subn(r"<body[^>]*>", lambda body: body[0] + head, snapshot.get_html_str(as_iframe=False), count=1)
    if not bodies:
        raise ValueError("Evidently's page must have a body")
    with atomic(out / "report.html") as part:
        part.write_text(page, encoding="utf-8")
    with atomic(out / "report.json") as part:
        snapshot.save_json(str(part))
