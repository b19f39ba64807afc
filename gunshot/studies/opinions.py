"""The cascade, a detector and behind it the verifier: incidents with their opinions, and what is left of them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from gunshot import features
from gunshot.alarms.clear import is_clear
from gunshot.alarms.score import matched, opening
from gunshot.base import audio, processes, tables
from gunshot.detect import detector, opinion
from gunshot.detect.listener import Listener
from gunshot.models.model import import_libraries, load_once
from gunshot.models.scores import metrics

ENOUGH = 10  # false incidents of the detector alone, below which nothing is said of the cascade


def incidents(
    pcm: np.ndarray, ear: Listener, verifier: Path, p: opinion.Sections
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield for each of a listener's detectors what it lets through of a whole recording.

    Of shots, as `detector.Detector.push` gives them, and of incidents: the shots; which of them is each incident's
    highest, int64; and the verifier's logit around that one, float32, both [shape=(incidents,)].
    """
    every = opinion.let_through(pcm, ear)
    best = [opinion.highest(shots[:, detector.WHICH], shots[:, detector.LOGIT_SUM]) for shots in every]
    frames = [opinion.frames(ear.times(s[b])[0], p) for s, b in zip(every, best, strict=True)]
    at, place = np.unique(np.concatenate(frames), return_inverse=True)
    if len(at):
        log_mel = features.log_mel(pcm, sr=p.audio.sr, **p.features.model_dump())
        logits = opinion.of_frames(load_once(verifier), log_mel, at, p)[place]
    else:
        logits = np.zeros(0, np.float32)
    yield from zip(every, best, np.split(logits, np.cumsum([len(f) for f in frames])[:-1]), strict=True)


def of_stream(
    row: dict, folder: Path, model: Path, verifier: Path, logits: list[float], p: opinion.Sections
) -> list[dict]:
    """Return a row for each incident that a detector lets through in a stream at each mean logit.

    Its `opinion` is the verifier's logit, `hits` are the clear shots that it has, and `false` says that it has no shot.

    Parameters
    ----------
    row : of tables.STREAM
    """
    pcm = audio.read_pcm(folder / row["path"], sr=p.audio.sr)
    shots = tables.read(folder / "shots.csv", tables.STREAM_SHOT)
    shots = shots[shots["path"] == row["path"]]
    clear, ear, rows = is_clear(shots).to_numpy(), Listener(load_once(model), logits, p), []
    first_s, blast_s = (shots[name].to_numpy() / p.audio.sr for name in ("onset", "blast"))
    for logit, (onsets, best, opinions) in zip(logits, incidents(pcm, ear, verifier, p), strict=True):
        pairs, false = matched(ear.times(onsets)[0], first_s, blast_s, collar_s=p.detector.collar_s)
        wrong = set(onsets[opening(onsets[:, detector.WHICH], false), detector.WHICH].tolist())
        hit = onsets[pairs[clear[pairs[:, 0]], 1], detector.WHICH]
        for which, value in zip(onsets[best, detector.WHICH].tolist(), opinions.tolist(), strict=True):
            counts = {"hits": int((hit == which).sum()), "false": which in wrong}
            rows.append({"path": row["path"], "kind": row["kind"], "logit": logit, "opinion": value, **counts})
    return rows


def on_streams(
    folder: Path, model: Path, verifier: Path, logits: list[float], p: opinion.Sections, *, workers: int = 2
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return the rows of `of_stream` of all simulated streams of a folder, and their hours and clear shots."""
    table = simulated(folder)
    import_libraries([model, verifier])
    parts = processes.in_order(
        of_stream, table.to_dict("records"), folder, model, verifier, logits, p, workers=workers, batch=1
    )
    columns = {"path": str, "kind": str, "logit": float, "opinion": float, "hits": int, "false": bool}
    rows = tables.frame((row for part in parts for row in part), columns)
    return rows, totals(folder)


def simulated(folder: Path) -> pd.DataFrame:
    """Return the rows, of tables.STREAM, of the simulated streams of a folder."""
    table = tables.read(folder / "streams.csv", tables.STREAM)
    return table[table["origin"] == "simulated"]


def totals(folder: Path) -> dict[str, float]:
    """Return the hours without shots and the clear shots of the simulated streams of a folder."""
    table, shots = simulated(folder), tables.read(folder / "shots.csv", tables.STREAM_SHOT)
    clear = int(is_clear(shots[shots["path"].isin(table["path"])]).sum())
    return {"hours": float(table["unique_s"][table["kind"] == "quiet"].sum() / 3600), "shots": clear}


def threshold(rows: pd.DataFrame, *, max_lost: float) -> float:
    """Return the highest opinion at which incidents that fall short of it hold at most a share of the clear shots.

    Parameters
    ----------
    rows : of `of_stream`, on validation streams at one mean logit
    max_lost : that share, of the clear shots that the detector finds

    Raises
    ------
    ValueError
        The detector finds no clear shot there.

    Examples
    --------
    Of four shots in three incidents one may be lost:

    >>> rows = pd.DataFrame({"opinion": [-1.0, 2.0, 5.0], "hits": [1, 1, 2]})
    >>> threshold(rows, max_lost=0.25)
    2.0
    """
    right = rows[rows["hits"] > 0].sort_values("opinion", kind="stable")
    if not len(right):
        raise ValueError("clear shots found=0 on validation streams: a verifier's threshold needs one; raise streams.*")
    lost = right["hits"].cumsum().shift(fill_value=0)  # below each incident
    return float(right["opinion"][lost <= max_lost * right["hits"].sum()].max())


def compared(before: int, after: int) -> dict:
    """Return by how much the verifier divides false incidents, with the exact 95 % interval of the share that it keeps.

    Parameters
    ----------
    before, after : false incidents of the detector alone, and of those the ones that the verifier upholds

    Examples
    --------
    >>> row = compared(40, 4)
    >>> row["divided_by"], row["enough"], [round(share, 2) for share in row["kept_interval"]]
    (10.0, True, [0.03, 0.24])
    """
    interval = metrics.share_interval(after, before) if before else None
    return {
        "detector": before,
        "cascade": after,
        "divided_by": before / after if after else None,
        "kept_interval": interval,
        "enough": before >= ENOUGH,
    }


def figures(rows: pd.DataFrame, totals: dict[str, float], *, opinion: float) -> dict:
    """Return what a detector at one mean logit does on streams alone and with the verifier, whose threshold is given.

    Rates are None where there are no hours or no clear shots.

    Parameters
    ----------
    rows, totals : what `on_streams` gives, of one mean logit
    """
    out, counts, (hours, clear) = {}, [], (totals["hours"], totals["shots"])
    for name, part in (("detector", rows), ("cascade", rows[rows["opinion"] >= opinion])):
        false, hits = int((part["false"] & (part["kind"] == "quiet")).sum()), int(part["hits"].sum())
        counts.append((false, hits))
        out[name] = {
            "false_incidents": false, "false_incidents_per_hour": false / hours if hours else None,
            "false_incidents_per_hour_interval": metrics.rate_interval(false, hours) if hours else None, "hits": hits,
            "recall": hits / clear if clear else None,
            "recall_interval": metrics.share_interval(hits, clear) if clear else None,
        }  # fmt: skip
    (before, hits), (after, kept) = counts
    lost = (hits - kept) / clear if clear else None
    return totals | out | {"false": compared(before, after), "recall_lost": lost}
