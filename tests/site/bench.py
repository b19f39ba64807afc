"""Measures what a place teaches its device: python -m tests.site.bench, in the project's folder, after `dvc repro`.

Simulated places of four hours, in which the uncalibrated detector alarms on sounds of their own, in two halves. The
first teaches, from one hour and its first five false alarms on; the second measures, and the recall of the test side's
shots in its sound. Writes reports/places.json, and a picture.
"""

import sys
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from gunshot.base import audio, params, pipeline, seeds, tables
from gunshot.detect import detector
from gunshot.detect.listener import Listener
from gunshot.models.model import Model, load_model
from gunshot.models.scores import metrics
from gunshot.site import calibration, rehearsal
from gunshot.site.decisions import DISMISSED, Decision
from gunshot.site.heard import Heard, decided, hear
from gunshot.site.hours import Hours, lay
from gunshot.site.lessons import School
from gunshot.site.rehearsal import Decides
from tests.site import places

REPORT, PICTURE = Path("reports/places.json"), Path("DOC/pictures/places.png")
SEED, CANDIDATES, WANTED = 0, 400, 2
LEAST_ALARMS = 3  # of places.TRIALS, that a place's own sound raises before anything is calibrated
HOURS, BLOCKS = 4, 3600 // places.BLOCK_S
LABELS = 5  # the first false alarms of an hour, which a person dismissed
BY_LABELS, BY_HOURS = (3, 10), (0.5, 1, 2)  # beside LABELS; with all false alarms known
PROVEN = 10  # incidents: of fewer a ratio is unproven


def chosen(model: Model, p) -> list[tuple[int, int]]:
    """Return the numbers of the first places whose own sound raises alarms, and how many; no kind of sound twice."""
    out, kinds = [], set()
    for i in range(CANDIDATES):
        place, ear = places.draw(SEED, i), Listener(model, [model.threshold()], p)
        if place.label not in kinds:
            (shots,), _ = ear.push(place.trial())
            if (alarms := int(shots[:, detector.WHICH].max(initial=0))) >= LEAST_ALARMS:
                out.append((i, alarms))
                kinds.add(place.label)
        if len(out) == WANTED:
            break
    return out


def recorded(place: places.Place, folder: Path, model: Model, p) -> list[Heard]:
    """Write a place's hours to a folder and return them as they are heard."""
    heard = []
    for hour in range(HOURS):
        file = folder / f"place_20260101_{hour:02}0000.wav"
        blocks = range(BLOCKS * hour, BLOCKS * (hour + 1))
        pcm = np.concatenate([place.block(i, half=2 * hour // HOURS) for i in blocks])
        audio.write_pcm(file, pcm, sr=p.audio.sr)
        heard.append(hear(file.name, file, model, calibration.logits_of(model), model.threshold(), p))
    return heard


def dismissed(hours: Hours, recordings: Sequence[Heard], place: int, count: int) -> list[Decision]:
    """Return what a person says of the first `count` alarms of hours."""
    first = hours.alerts[place][:count]
    spans = [hours.back(t, t + 0.01)[0] for t in first]
    times = [recordings[span.recording].began + timedelta(seconds=span.start_s) for span in spans]
    return [Decision(str(i), time, 0.0, DISMISSED, "other") for i, time in enumerate(times)]


def taught(recordings: list[Heard], labels: int | None, model: Model, p, name: str) -> tuple:
    """Return the calibrations of hours, by the threshold alone and with a site verifier of the first alarms.

    None is where no threshold keeps the limit.
    """
    place, hours = (
        int(np.searchsorted(calibration.logits_of(model), model.threshold())),
        lay(recordings, [], sr=p.audio.sr),
    )
    asked = {"limit": p.detector.max_false_incidents_per_hour, "no_shots": True}
    school = School(pipeline.output("featurize"), pipeline.output("streams_val"), seeds.generator(SEED, name))
    persons = dismissed(hours, recordings, place, labels) if labels else []
    out = []
    for by in ({}, {"school": school, "decided": persons}):
        try:
            out.append(calibration.calibrate(name, recordings, model, p, **asked, **by))
        except ValueError as e:
            print(f"{name}: {e}", file=sys.stderr)
            out.append(None)
    return tuple(out)


class Second:
    """A place's second half: what it gives at any threshold with any verifier."""

    def __init__(self, recordings: list[Heard], model: Model, p):
        self._recordings, self._model, self._p = recordings, model, p
        self.hours = lay(recordings, [], sr=p.audio.sr)
        self._scenes = rehearsal.play(self.hours, recordings, pipeline.output("streams_test"), model, p)

    def measured(self, by: Decides) -> dict:
        """Return false incidents, an hour and at most, and recall of clear test shots."""
        model, p, logits = self._model, self._p, [by.logit]
        one = [decided(x, by.verifier, model, logits, by.logit, p) for x in self._recordings] if by.verifier else None
        if one is None:
            place = int(np.searchsorted(calibration.logits_of(model), by.logit))
            count = len(self.hours.alerts[place])
        else:
            count = len(lay(one, [], sr=p.audio.sr).alerts[0])
        h = self.hours.duration_s / 3600
        both = {rehearsal.BEFORE: Decides(model.threshold()), rehearsal.AFTER: by}
        recall = rehearsal.recall(self._scenes, model, both, p)[rehearsal.AFTER]
        return {"false_incidents": count, "hours": h, "false_incidents_per_hour": count / h,
                "false_incidents_per_hour_upper": metrics.rate_upper(count, h),
                **{key: recall[key] for key in ("shots", "hits", "recall", "recall_lower")}}  # fmt: skip


def decides(done: calibration.Calibration | None, model: Model) -> Decides:
    """Return what decides after a calibration: of one that failed, the operating point."""
    if done is None:
        return Decides(model.threshold())
    return Decides(done.logit, done.learned and done.learned.verifier)


def row_of(heard: list[Heard], model: Model, p, name: str) -> dict:
    """Return a place's figures, and curves by hours and by labels."""
    first, second = heard[: HOURS // 2], Second(heard[HOURS // 2 :], model, p)
    threshold, verified = taught(first[:1], LABELS, model, p, name)
    at, out = model.threshold(), {}
    for key, by in (
        ("before", Decides(at)),
        ("threshold", decides(threshold, model)),
        ("verifier", decides(verified, model)),
    ):
        out[key] = {
            "threshold": float(model.calibrated(by.logit)),
            "verified": by.verifier is not None,
            **second.measured(by),
        }
    out["labels"] = {str(LABELS): {k: v for k, v in out["verifier"].items() if k not in ("threshold", "verified")}}
    for n in BY_LABELS:
        out["labels"][str(n)] = second.measured(decides(taught(first[:1], n, model, p, name)[1], model))
    out["hours"] = {}
    for h in BY_HOURS:
        part = first[:h] if h >= 1 else [cut(first[0], h, model, p)]
        out["hours"][str(h)] = second.measured(decides(taught(part, None, model, p, name)[1], model))
    before, after = out["before"], out["verifier"]
    n = before["false_incidents"]
    out["divided_by"] = n / after["false_incidents"] if after["false_incidents"] else None  # None: none is left
    out["proof"] = "measured" if n >= PROVEN else "unproven"
    out["lost"] = before["recall"] - after["recall"]
    return out


def cut(heard: Heard, hours: float, model: Model, p) -> Heard:
    """Return the first part of a recording, as it is heard."""
    file = heard.file.with_stem(f"{heard.file.stem}_{hours}")
    audio.write_pcm(file, audio.read_pcm(heard.file, sr=p.audio.sr)[: int(hours * 3600 * p.audio.sr)], sr=p.audio.sr)
    return hear(heard.name, file, model, calibration.logits_of(model), model.threshold(), p)


def draw(rows: dict) -> None:
    """Draw false incidents an hour and recall of each place, and the curves."""
    matplotlib.use("Agg")
    figure = Figure(figsize=(9.6, 6.4), layout="constrained")
    (left, right), (by_hours, by_labels) = figure.subplots(2, 2)
    keys, x = ("before", "threshold", "verifier"), np.arange(len(rows))
    for i, (key, colour) in enumerate(zip(keys, ("#667", "#0072B2", "#D55E00"), strict=True)):
        for ax, what in ((left, "false_incidents_per_hour"), (right, "recall")):
            ax.bar(x + 0.27 * (i - 1), [row[key][what] for row in rows.values()], 0.25, color=colour, label=key)
    for ax, what in ((left, "false incidents an hour, second half"), (right, "recall of clear test shots there")):
        ax.set_xticks(x, list(rows), fontsize=8)
        ax.set_title(what, loc="left", fontsize=10)
    right.legend(fontsize=8, frameon=False, ncols=3)
    right.set_ylim(0, 1)
    for ax, key, what in ((by_hours, "hours", "hours of the place, all false alarms known"),
                          (by_labels, "labels", "dismissed alarms, of one hour")):  # fmt: skip
        for name, row in rows.items():
            points = {0.0: row["before"]} | {float(k): v for k, v in row[key].items()}
            points = dict(sorted(points.items()))
            ax.plot(list(points), [v["false_incidents_per_hour"] for v in points.values()], marker="o", label=name)
        ax.set_xlabel(what)
        ax.set_ylabel("false incidents an hour")
    by_hours.legend(fontsize=8, frameon=False)
    for ax in (left, right, by_hours, by_labels):
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURE, dpi=80)


def main() -> None:
    """Measure, write the report and draw the picture."""
    p = params.load("audio", "chunks", "context", "features", "detector", "quality", "streams")
    model, rows = load_model(pipeline.models()["int8"]), {}
    for i, alarms in tqdm(chosen(model, p), desc="places"):
        place = places.draw(SEED, i)
        name = f"{place.label}, {place.where}"
        with tempfile.TemporaryDirectory() as folder:
            heard = recorded(place, Path(folder), model, p)
            rows[name] = {"place": i, "alarms_of_12": alarms} | row_of(heard, model, p, name)
        tables.write_json(REPORT, {"seed": SEED, "places": rows})  # place by place: it takes long
    draw(rows)


if __name__ == "__main__":
    main()
