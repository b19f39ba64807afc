"""Detectors on streams: shots found and missed, false incidents an hour, how late; and where a detector is operated."""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from gunshot.alarms.clear import is_clear
from gunshot.base import audio, processes, tables
from gunshot.detect import detector, listener
from gunshot.detect.listener import Listener
from gunshot.models.model import import_libraries, load_once
from gunshot.models.scores import metrics

GRID = np.arange(-4.0, 16.01, 0.25)  # mean logits at which the curves are measured
COUNTED_BY = ("origin", "kind", "model", "logit")
COUNTED = ("false_onsets", "false_incidents", "shots", "hits")
AROUND_S = 0.5  # after an event ends, in which an onset is still its own
SOUNDS = 3  # sounds of a quiet stream, of those that come closest to an incident


def matched(onset_s: np.ndarray, first_s: np.ndarray, blast_s: np.ndarray, *, collar_s: float):
    """Return pairs of a shot and an onset [shape=(matches, 2)], and which onsets are false [shape=(len(onset_s),)].

    An onset within the collar of a shot's first arrival or of its blast is right. Each is in one pair at most; an onset
    at the other arrival of a shot that was found is neither right nor false.

    Examples
    --------
    Two shots, of which the first is found 10 ms late and the second is missed; an onset at 4 s is false:

    >>> first_s = blast_s = np.array([1.0, 2.0])
    >>> pairs, false = matched(np.array([1.01, 4.0]), first_s, blast_s, collar_s=0.05)
    >>> pairs.tolist(), false.tolist()
    ([[0, 0]], [False, True])
    """
    arrival_s = np.stack([first_s, blast_s])
    near = np.abs(arrival_s[..., None] - onset_s) <= collar_s  # [2, shots, onsets]
    pairs = metrics.match(near.any(axis=0))
    shot, onset = pairs.T
    false = np.ones(len(onset_s), bool)
    false[onset] = False
    other = 1 - np.abs(arrival_s[:, shot] - onset_s[onset]).argmin(axis=0)  # not the one that was detected
    two = blast_s[shot] > first_s[shot]
    return pairs, false & ~near[other, shot][two].any(axis=0)


def score_stream(
    row: dict, folder: Path, paths: dict[str, Path], points: dict[str, float], p: listener.Sections
) -> dict[str, list[dict]]:
    """Return one stream's rows by table: `counts` of each model at GRID, and at its point `shots` and `false_onsets`.

    For a quiet stream, `closest` lists the sounds that open an incident at the highest thresholds, above the point or
    not.

    Parameters
    ----------
    row : of tables.STREAM
    points : the mean logit at which a model is operated; a model without one has rows of counts alone
    """
    pcm = audio.read_pcm(folder / row["path"], sr=p.audio.sr)
    shots, events = (_of(path, row["path"]) for path in (folder / "shots.csv", folder / "events.csv"))
    shots = shots.assign(clear=is_clear(shots), origin=row["origin"])
    out = {"counts": [], "shots": [], "false_onsets": [], "closest": []}
    for name, path in paths.items():
        model, logits = load_once(path), [*GRID, *([points[name]] if name in points else [])]
        ear = Listener(model, logits, p)
        every, _ = ear.push(pcm)
        for logit, onsets in zip(GRID, every, strict=False):
            out["counts"].append(_count(onsets, shots, ear) | _common(row, name) | {"logit": logit})
        if name in points:
            for key, rows in _at_point(every[-1], shots, events, ear, row).items():
                out[key] += [_common(row, name) | values for values in rows]
        if name in points and row["kind"] == "quiet":
            near = _closest(dict(zip(logits, every, strict=True)), events, ear, row)
            out["closest"] += [_common(row, name) | values for values in near]
    return out


def _common(row: dict, name: str) -> dict:
    return {"path": row["path"], "origin": row["origin"], "kind": row["kind"], "model": name}


def _compare(onsets: np.ndarray, shots: pd.DataFrame, ear: Listener) -> tuple:
    (onset_s, told_s), p = ear.times(onsets), ear.p
    first_s, blast_s = (shots[name].to_numpy() / p.audio.sr for name in ("onset", "blast"))
    return onset_s, told_s, first_s, *matched(onset_s, first_s, blast_s, collar_s=p.detector.collar_s)


def _count(onsets: np.ndarray, shots: pd.DataFrame, ear: Listener) -> dict[str, int]:
    *_, pairs, false = _compare(onsets, shots, ear)
    clear = shots["clear"].to_numpy()
    return {
        "false_onsets": int(false.sum()),
        "false_incidents": int(opening(onsets[:, detector.WHICH], false).sum()),
        "shots": int(clear.sum()),
        "hits": int(clear[pairs[:, 0]].sum()),
    }


def opening(incident: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Return which onsets open a false incident: the first of each incident without a shot's [shape=(n,)], bool.

    Parameters
    ----------
    incident : np.ndarray [shape=(n,)], the number of each onset's incident
    false : np.ndarray [shape=(n,)], bool, whether an onset is no shot's

    Examples
    --------
    Of incident 1 one onset is a shot's; incident 2 has three, all false, and counts once:

    >>> opening(np.array([1, 1, 2, 2, 2]), np.array([True, False, True, True, True])).tolist()
    [False, False, True, False, False]
    """
    opens = np.zeros(len(incident), bool)
    opens[np.unique(incident, return_index=True)[1]] = True
    return opens & ~np.isin(incident, incident[~false])


def _at_point(onsets: np.ndarray, shots: pd.DataFrame, events: pd.DataFrame, ear: Listener, row: dict) -> dict:
    """Return `shots`, with whether and how late each was detected, and `false_onsets` with their causes."""
    _, told_s, first_s, pairs, false = _compare(onsets, shots, ear)
    hit, delay = np.zeros(len(shots), bool), np.full(len(shots), np.nan)
    hit[pairs[:, 0]] = True
    delay[pairs[:, 0]] = told_s[pairs[:, 1]] - first_s[pairs[:, 0]]
    wrong = _false(onsets, false, events, ear, row)
    return {"shots": shots.assign(found=hit, delay_s=delay).to_dict("records"), "false_onsets": wrong}


def _false(onsets: np.ndarray, false: np.ndarray, events: pd.DataFrame, ear: Listener, row: dict) -> list[dict]:
    """Return a row for each onset that is no shot's: when, of what score, in which incident, and what sounded.

    Where it opens a false incident `opens` is true, so that the rows where it is are the false incidents.
    """
    onset_s, _ = ear.times(onsets)
    opens = opening(onsets[:, detector.WHICH], false)
    score = ear.model.score_of(onsets[:, detector.LOGIT_SUM], windows=ear.p.detector.windows)
    sr = ear.p.audio.sr
    return [
        {"onset_s": float(onset_s[i]), "score": float(score[i]), "incident": int(onsets[i, detector.WHICH]),
         "opens": bool(opens[i]), "place": row["place"], **_cause(events, int(onset_s[i] * sr), int(AROUND_S * sr))}
        for i in np.flatnonzero(false)
    ]  # fmt: skip


def _closest(onsets: dict[float, np.ndarray], events: pd.DataFrame, ear: Listener, row: dict) -> list[dict]:
    """Return the SOUNDS kinds of sounds of a quiet stream that open an incident at the highest thresholds, a row each.

    Parameters
    ----------
    onsets : by mean logit what the detector gives at that threshold
    """
    rows: dict[tuple[str, str], dict] = {}
    for logit in sorted(onsets, reverse=True):
        if len(rows) >= SOUNDS:
            break
        for onset in _false(onsets[logit], np.ones(len(onsets[logit]), bool), events, ear, row):
            if onset["opens"]:
                rows.setdefault((onset["label"], onset["cause"]), {"logit": float(logit)} | onset)
    return list(rows.values())[:SOUNDS]


@cache
def _table(path: Path) -> dict[str, pd.DataFrame]:
    columns = tables.STREAM_SHOT if path.name == "shots.csv" else tables.STREAM_EVENT
    table = tables.read(path, columns)
    return {"": table[:0], **dict(iter(table.groupby("path")))}


def _of(path: Path, stream: str) -> pd.DataFrame:
    parts = _table(path)
    return parts.get(stream, parts[""])


def _cause(events: pd.DataFrame, sample: int, after: int) -> dict[str, str]:
    """Return label, kind and recording group of what sounds at a sample: the event that began last, else the bed."""
    here = events[(events["start"] <= sample + after // 4) & (sample <= events["stop"] + after)]
    order = here.assign(rank=here["kind"].eq("event")).sort_values(["rank", "start"], kind="stable")
    if not len(order):
        return {"label": "", "cause": "", "recording_group": ""}
    last = order.iloc[-1]
    return {"label": last["label"], "cause": last["kind"], "recording_group": last["recording_group"]}


def score_streams(
    table: pd.DataFrame,
    folder: Path,
    paths: dict[str, Path],
    points: dict[str, float],
    p: listener.Sections,
    *,
    workers: int = 2,
) -> Iterator[dict[str, list[dict]]]:
    """Yield what `score_stream` returns for each row of tables.STREAM, in order."""
    rows = table.to_dict("records")
    import_libraries(paths.values())
    yield from processes.in_order(score_stream, rows, folder, paths, points, p, workers=workers, batch=1)


def gathered(parts: Iterable[dict[str, list[dict]]]) -> dict[str, pd.DataFrame]:
    """Return what `score_streams` yields as tables by its keys, the rows of `counts` summed by COUNTED_BY.

    They are summed as they come: memory grows with shots, false onsets and close sounds alone.
    """
    totals: dict[tuple, dict[str, int]] = {}
    rows: dict[str, list[dict]] = {"shots": [], "false_onsets": [], "closest": []}
    for part in parts:
        for row in part["counts"]:
            total = totals.setdefault(tuple(row[name] for name in COUNTED_BY), dict.fromkeys(COUNTED, 0))
            for name in COUNTED:
                total[name] += row[name]
        for key, collected in rows.items():
            collected += part[key]
    counts = pd.DataFrame([dict(zip(COUNTED_BY, key, strict=True)) | total for key, total in totals.items()])
    return {"counts": counts} | {key: pd.DataFrame(collected) for key, collected in rows.items()}
