"""What a site's threshold costs: shots of simulated streams in the site's own sound, at two thresholds."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from gunshot.alarms import summary
from gunshot.alarms.clear import CLEAR_DB
from gunshot.alarms.score import gathered, score_streams
from gunshot.base import audio, tables
from gunshot.detect import listener
from gunshot.models.scores import metrics
from gunshot.site.heard import Heard
from gunshot.site.hours import Hours

BEFORE, AFTER = "before", "after"


def rehearse(
    hours: Hours, recordings: Sequence[Heard], streams: Path, model: Path, points: dict[str, float],
    p: listener.Sections, *, workers: int = 2,
) -> dict:  # fmt: skip
    """Return the recall of clear shots in the site's sound at the mean logits BEFORE and AFTER, and by distance.

    Each stream with shots sounds on top of another part of the site's sound, both at the levels at which they were
    recorded. The stream's own place sounds on: so recall is rather too low than too high.

    Parameters
    ----------
    streams : folder of simulated streams, of the validation side: a threshold is never chosen on the test side
    points : mean logits by BEFORE and AFTER

    Raises
    ------
    ValueError
        As for `with_shots`, or no shot is clear.
    """
    table = with_shots(streams)
    paths = dict.fromkeys(points, model)
    with tempfile.TemporaryDirectory(prefix="gunshot.") as name:
        folder = Path(name)
        mix(table, streams, folder, hours, recordings, sr=p.audio.sr)
        scored = score_streams(table, folder, paths, points, p, workers=workers)
        rows = gathered(tqdm(scored, total=len(table), desc="rehearse", unit="stream"))
    return figures(rows["shots"])


def with_shots(streams: Path) -> pd.DataFrame:
    """Return the rows of the simulated streams with shots; ValueError where there is no such folder or stream."""
    if not (streams / "streams.csv").exists():
        raise ValueError(f"{streams / 'streams.csv'}: no such file; make the streams with `dvc repro streams_val`")
    table = tables.read(streams / "streams.csv", tables.STREAM)
    table = table[(table["kind"] == "shots") & (table["origin"] == "simulated")]
    if not len(table):
        raise ValueError(f"{streams}: no simulated stream with shots; make some with streams.shot_hours above 0")
    return table


def mix(
    table: pd.DataFrame, streams: Path, folder: Path, hours: Hours, recordings: Sequence[Heard], *, sr: int
) -> None:
    """Write streams with the site's sound under them to `folder`, with the tables of their shots and events."""
    pcm = [audio.read_pcm(streams / path, sr=sr) for path in table["path"]]
    under = backgrounds(hours, recordings, [len(x) for x in pcm], sr=sr)
    for path, shots, site in zip(table["path"], pcm, under, strict=True):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        both = np.clip(shots.astype(np.int32) + site, -audio.FULL_SCALE, audio.FULL_SCALE - 1)
        audio.write_pcm(folder / path, both.astype(np.int16), sr=sr)
    for name in ("shots.csv", "events.csv"):
        shutil.copyfile(streams / name, folder / name)


def backgrounds(hours: Hours, recordings: Sequence[Heard], lengths: list[int], *, sr: int) -> list[np.ndarray]:
    """Return parts of a site's sound, int16 [shape=(length,)] each, which begin as far apart as can be.

    A site that is shorter goes round.
    """
    bounds = [(round(s.start_s * sr), round(s.stop_s * sr)) for s in hours.spans]
    total = sum(stop - start for start, stop in bounds)
    starts = [i * total // len(lengths) for i in range(len(lengths))]
    out, at = [np.zeros(length, np.int16) for length in lengths], 0
    for span, (start, stop) in zip(hours.spans, bounds, strict=True):
        done = 0  # samples of the recording that were read
        for block in audio.blocks(recordings[span.recording].file, sr=sr, repair=True, notes=audio.Notes()):
            kept = audio.to_int16(block[max(0, start - done) : max(0, stop - done)])
            for first, background in zip(starts, out, strict=True):
                _lay(background, kept, at - first, total)
            at, done = at + len(kept), done + len(block)
            if done >= stop:
                break
    return out


def _lay(out: np.ndarray, part: np.ndarray, place: int, total: int) -> None:
    """Write `part` into `out` from `place` on, which may be below 0, and again each `total` samples."""
    while place < len(out):
        skip = max(0, -place)
        inside = part[skip : skip + len(out) - max(0, place)]
        out[max(0, place) : max(0, place) + len(inside)] = inside
        place += total


def figures(shots: pd.DataFrame) -> dict:
    """Return recall of clear shots by BEFORE and AFTER, and by distance of all that are as loud. Bounds are one-sided.

    Parameters
    ----------
    shots : rows of `alarms.score.score_stream`
    """
    clear = shots[shots["clear"].astype(bool)]
    by = {name: clear[clear["model"] == name] for name in (BEFORE, AFTER)}
    loud = shots[(shots["peak_snr_db"] >= CLEAR_DB) & (shots["distance_m"] >= 0)]
    distance = summary.by(loud, "distance_m", summary.DISTANCES_M)
    rows = [
        {"at_least_m": int(m), "shots": int(part["shots"].iloc[0])}
        | {row["model"]: {"recall": float(row["recall"]), "recall_lower": float(row["recall_lower"])}
           for row in part.to_dict("records")}
        for m, part in distance.groupby("distance_m", observed=True)
    ]  # fmt: skip
    if not len(clear):
        raise ValueError("shots=0: the streams must hold a clear shot; make more with streams.shot_hours")
    return {name: _recall(int(part["found"].sum()), len(part)) for name, part in by.items()} | {"by_distance": rows}


def _recall(hits: int, shots: int) -> dict:
    return {
        "shots": shots, "hits": hits, "recall": hits / shots, "recall_lower": metrics.share_lower(hits, shots),
        "recall_upper": 1 - metrics.share_lower(shots - hits, shots),
    }  # fmt: skip


def in_words(rehearsed: dict) -> str:
    """Return the recall before and after as a line of text."""
    return " -> ".join(
        f"{one['recall']:.1%} (at least {one['recall_lower']:.1%}, at most {one['recall_upper']:.1%})"
        for one in (rehearsed[BEFORE], rehearsed[AFTER])
    )
