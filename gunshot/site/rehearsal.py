"""What a site's threshold costs: shots of simulated streams in the site's own sound, at two thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from gunshot.alarms import summary
from gunshot.alarms.clear import CLEAR_DB, is_clear
from gunshot.alarms.score import matched
from gunshot.base import audio, tables
from gunshot.detect import listener
from gunshot.models.model import Model, load_once
from gunshot.models.scores import metrics
from gunshot.site.heard import Ear, Heard, Windows
from gunshot.site.hours import Hours
from gunshot.site.verifier import Verifier

BEFORE, AFTER = "before", "after"
MOST_LOST = 0.01  # of recall, by a site verifier


class Decides(NamedTuple):
    """By what a detector decides: a mean logit that opens an incident, and a site verifier, where there is one."""

    logit: float
    verifier: Verifier | None = None


@dataclass(frozen=True)
class Scene:
    """A stream in a site's sound: its shots, rows of tables.STREAM_SHOT and whether each is clear, and its windows."""

    shots: pd.DataFrame
    windows: Windows


def rehearse(
    hours: Hours, recordings: Sequence[Heard], streams: Path, model: Path, points: dict[str, float],
    p: listener.Sections,
) -> dict:  # fmt: skip
    """Return what `recall` does, of `play`'s scenes at the mean logits BEFORE and AFTER; errors as for both."""
    loaded = load_once(model)
    scenes = play(hours, recordings, streams, loaded, p)
    return recall(scenes, loaded, {name: Decides(logit) for name, logit in points.items()}, p)


def recall(scenes: Sequence[Scene], model: Model, by: dict[str, Decides], p: listener.Sections) -> dict:
    """Return the recall of clear shots in a site's sound by BEFORE and AFTER, and by distance.

    ValueError where no shot is clear.
    """
    return figures(pd.concat([heard_shots(scene, model, one, p).assign(model=name)
                              for scene in scenes for name, one in by.items()], ignore_index=True))  # fmt: skip


def play(hours: Hours, recordings: Sequence[Heard], streams: Path, model: Model, p: listener.Sections) -> list[Scene]:
    """Return streams with shots as a device hears them that hangs at a site.

    Each sounds on top of another part of the site's sound, both at the levels at which they were recorded. The stream's
    own place sounds on: so recall is rather too low than too high.

    Parameters
    ----------
    streams : folder of simulated streams; of the validation side where something is chosen by them

    Raises
    ------
    ValueError
        As for `with_shots`.
    """
    table, scenes = with_shots(streams), []
    shots = tables.read(streams / "shots.csv", tables.STREAM_SHOT)
    pcm = [audio.read_pcm(streams / path, sr=p.audio.sr) for path in table["path"]]
    under = backgrounds(hours, recordings, [len(x) for x in pcm], sr=p.audio.sr)
    rows = zip(table["path"], pcm, under, strict=True)
    for path, fired, site in tqdm(rows, total=len(table), desc="rehearse", unit="stream"):
        both = np.clip(fired.astype(np.int32) + site, -audio.FULL_SCALE, audio.FULL_SCALE - 1).astype(np.int16)
        ear, own = Ear(model, [0.0], 0.0, p, keeps=True), shots[shots["path"] == path]
        ear.push(both)
        scenes.append(Scene(own.assign(clear=is_clear(own)), ear.kept()))
    return scenes


def heard_shots(scene: Scene, model: Model, by: Decides, p: listener.Sections) -> pd.DataFrame:
    """Return the shots of a stream, and which of them a detector finds."""
    kept, ear = scene.windows, Ear(model, [by.logit], by.logit, p)
    logits = by.verifier.decide(kept.logits, kept.at, kept.vectors) if by.verifier else kept.logits
    onset_s, _ = ear.times(ear.again(kept.rises, logits))
    first_s, blast_s = (scene.shots[name].to_numpy() / p.audio.sr for name in ("onset", "blast"))
    pairs, _ = matched(onset_s, first_s, blast_s, collar_s=p.detector.collar_s)
    hit = np.zeros(len(scene.shots), bool)
    hit[pairs[:, 0]] = True
    return scene.shots.assign(found=hit, origin="simulated")


def with_shots(streams: Path) -> pd.DataFrame:
    """Return the rows of the simulated streams with shots; ValueError where there is no such folder or stream."""
    if not (streams / "streams.csv").exists():
        raise ValueError(f"{streams / 'streams.csv'}: no such file; make the streams with `dvc repro streams_val`")
    table = tables.read(streams / "streams.csv", tables.STREAM)
    table = table[(table["kind"] == "shots") & (table["origin"] == "simulated")]
    if not len(table):
        raise ValueError(f"{streams}: no simulated stream with shots; make some with streams.shot_hours above 0")
    return table


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
    shots : rows of `heard_shots` with a column model, BEFORE or AFTER
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


def keeps(rehearsed: dict) -> bool:
    """Return whether AFTER finds as many shots as BEFORE, but for MOST_LOST of all."""
    before, after = rehearsed[BEFORE], rehearsed[AFTER]
    return before["hits"] - after["hits"] <= MOST_LOST * before["shots"]


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
