"""From a site's recordings to its threshold: what is left out, what is chosen, what held-out hours give."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from gunshot.alarms.score import GRID
from gunshot.base import audio
from gunshot.detect import listener
from gunshot.models.model import Model
from gunshot.models.scores import calibration
from gunshot.site import decisions, lessons, profile, rehearsal, suspects, threshold, verifier
from gunshot.site.decisions import CONFIRMED, DISMISSED, Decision
from gunshot.site.heard import Heard, Sections, hear
from gunshot.site.hours import HOUR_S, Hours, Span, check_overlap, lay
from gunshot.site.threshold import Measured

LEAST_S = 60.0  # of a site
HELPS = 0.5  # share of incidents that a site verifier leaves in stretches that taught it nothing, at most
SHOWN = 10  # suspects that an error names
MOST_CODE = 127  # of int8


@dataclass(frozen=True)
class Calibration:
    """A site's threshold.

    Attributes
    ----------
    logit, point : the mean logit that was chosen, and that of the operating point
    hours : what it was chosen on
    rows : of `threshold.curve`, of all those hours: what it was chosen by, and so no measurement of it
    held_out : what hours give at the threshold that the others chose
    silence_s, confirmed_s, suspects_s : how much was left out because nothing sounded, persons confirmed shots, or it
        seemed to hold some
    suspects : what seemed to hold shots, and was left out
    options : what a person asked for, by `calibrate`'s names
    to_lower_h : hours that would lower the threshold for sure
    learned : the site verifier by which `rows` and `held_out` are counted; None where there is none
    """

    logit: float
    point: float
    limit: float
    hours: Hours
    rows: pd.DataFrame
    held_out: Measured
    silence_s: float
    confirmed_s: float
    suspects_s: float
    suspects: list[suspects.Suspect]
    options: dict[str, bool]
    to_lower_h: float
    learned: lessons.Learned | None = None

    @property
    def proof(self) -> str:
        """Return proven or unproven: whether the held-out bound keeps the limit, and nothing was chosen by its counts.

        What was left out as suspect was so, and so was a site verifier's strength, on the hours that count it.
        """
        by_counts = self.suspects or self.learned
        return "proven" if self.held_out.upper <= self.limit and not by_counts else "unproven"

    def at(self, logit: float) -> pd.Series:
        """Return the row of a mean logit."""
        return self.rows[self.rows["logit"] == logit].iloc[0]


def reach(model: Model) -> float:
    """Return the highest mean logit that a model can give: above it a detector would be deaf, and keep any limit."""
    if (scale := model.report.get("quantization")) and model.path.suffix == ".tflite":
        return (MOST_CODE - scale["output_zero_point"]) * scale["output_scale"]
    return float(calibration.logit(np.float64(1))) if model.path.suffix == ".joblib" else np.inf


def logits_of(model: Model) -> np.ndarray:
    """Return the mean logits that are tried [shape=(n,)]: GRID as far as the model reaches, and its operating point."""
    return np.unique([*GRID[reach(model) >= GRID], model.threshold()])


def hear_all(
    files: Sequence[tuple[str, Path]], model: Model, p: Sections, *, progress: Callable[[float], object]
) -> tuple[list[Heard], list[dict]]:
    """Return recordings as `heard.hear` does, by names and files, and rows of tables.REJECTED.

    One that is there twice is rejected: an hour that counts as two would prove too much.
    """
    out, rejected = {}, []
    for name, file in files:
        try:
            one = hear(name, file, model, logits_of(model), model.threshold(), p, progress=progress)
            if (twin := out.setdefault(one.sha256, one)) is not one:
                raise audio.AudioError(file, f"the same as {twin.name}", "each recording must be given once")
        except audio.AudioError as e:
            rejected.append({"file": name, "value": e.value, "rule": e.rule})
    return list(out.values()), rejected


def calibrate(
    site: str, recordings: Sequence[Heard], model: Model, p: Sections, *, limit: float,
    decided: Sequence[Decision] = (), no_shots: bool = False, leave_out: bool = False, lower: bool = False,
    school: lessons.School | None = None,
) -> Calibration:  # fmt: skip
    """Return a site's threshold, and its verifier where that halves incidents in stretches that taught it nothing.

    Parameters
    ----------
    limit : of false incidents an hour
    decided : what persons decided there: what is confirmed is left out, what is dismissed is no suspect
    no_shots : a person says that the hours hold none
    leave_out : a person says that what seems to hold shots is left out; what is left then proves nothing
    lower : the threshold may lie below the operating point, where the hours prove that it may, without any one too
    school : what a site verifier learns by; None: the threshold alone is chosen

    Raises
    ------
    ValueError
        There is no minute of sound; two recordings are of one time; the hours seem to hold shots and nobody said what
        of it; or no threshold that the model can reach keeps the limit.
    """
    sr, logits, point = p.audio.sr, logits_of(model), model.threshold()
    check_overlap(recordings, sr=sr)
    if decided:
        decisions.check_times(recordings)
    left_out = [Span(i, *bounds) for i, heard in enumerate(recordings) for bounds in heard.silent]
    lengths_s = [lay(recordings, left_out, sr=sr).duration_s]
    left_out += decisions.spans(decided, recordings, CONFIRMED, sr=sr, more_s=decisions.AROUND_S)
    hours = _long_enough(site, lay(recordings, left_out, sr=sr))
    lengths_s.append(hours.duration_s)
    known = decisions.spans(decided, recordings, DISMISSED, sr=sr, more_s=decisions.SAME_S)
    doubtful = (
        [] if no_shots else _suspects(hours, recordings, known, left_out, int(np.searchsorted(logits, point)), sr)
    )
    if doubtful and not leave_out:
        raise ValueError(_asked(site, doubtful))
    if doubtful:
        left_out += [span for suspect in doubtful for span in suspect.spans]
        hours = _long_enough(site, lay(recordings, left_out, sr=sr))
    counts, h, place = hours.counts(), hours.duration_s / HOUR_S, int(np.searchsorted(logits, point))
    learned = None
    if school:
        doubts = _doubts(recordings, known, place) if decided else []
        learned = lessons.teach(recordings, hours, left_out, doubts, school, model, p, logits)
    if learned and learned.counts[:, place].sum() <= HELPS * counts[:, place].sum():
        counts = learned.counts
    else:
        learned = None
    rows = threshold.curve(counts.sum(axis=0), h, logits)
    options = {"no_shots": no_shots, "leave_out": leave_out, "lower": lower}
    lower = lower and threshold.lowers(counts, h, logits, point=point, limit=limit)
    held = Measured(int(counts[:, place].sum()), h)
    if learned and held.lower <= limit:  # few hours would raise it for one incident, which proves nothing
        logit = point
    elif (logit := threshold.choose(rows, point=point, limit=limit, lower=lower)) is not None:
        held = threshold.held_out(counts, h, logits, point=point, limit=limit, lower=lower)
    else:
        raise ValueError(_broken(site, rows.iloc[-1], model, h, limit))
    total_s = sum(heard.samples for heard in recordings) / sr
    left_s = np.maximum(0.0, -np.diff([total_s, *lengths_s, hours.duration_s])).tolist()  # silence, confirmed, suspects
    to_lower_h = threshold.hours_to_lower(counts.sum(axis=0), logits, point=point, limit=limit)
    return Calibration(logit, point, limit, hours, rows, held, *left_s, doubtful, options, to_lower_h, learned)


def _broken(site: str, last: pd.Series, model: Model, hours: float, limit: float) -> str:
    """Return why there is no threshold, by the row of the highest."""
    return (
        f"{site}: {last[threshold.RATE]:.2f} false incidents/h at the highest threshold that the model reaches "
        f"({model.calibrated(last['logit']):.4f}), more than {limit:g} in {hours:.2f} h: no threshold keeps the limit "
        "here; seek what raises them with `gunshot detect`, hang the device elsewhere, or allow more"
    )


def _doubts(recordings: Sequence[Heard], known: list[Span], place: int) -> list[Span]:
    """Return where incidents at a threshold sound of which nobody said what they were."""
    return [
        Span(i, t - decisions.SAME_S, t + decisions.SAME_S)
        for i, heard in enumerate(recordings)
        for t in heard.alerts[place].tolist()
        if not _inside(t, i, known)
    ]


def _long_enough(site: str, hours: Hours) -> Hours:
    if hours.duration_s < LEAST_S:
        raise ValueError(
            f"{site}: {hours.duration_s:.1f} s of sound must be {LEAST_S:g} at least; record hours, not seconds: six "
            "without an incident prove at most 0.5 an hour"
        )
    return hours


def _suspects(
    hours: Hours, recordings: Sequence[Heard], known: list[Span], left_out: list[Span], place: int, sr: int
) -> list[suspects.Suspect]:
    """Return what seems to hold shots, of what is not left out and not known to hold none.

    `place` is that of the operating point among the thresholds.
    """
    beside = suspects.bursts(recordings, [*known, *left_out], sr=sr)
    undecided = [
        replace(heard, alerts=[np.array([t for t in heard.alerts[place] if not _inside(t, i, known)])])
        for i, heard in enumerate(recordings)
    ]
    count = lay(undecided, left_out, sr=sr).counts()[:, 0]
    return beside + suspects.crowded(hours, count, recordings)


def _inside(time_s: float, recording: int, spans: list[Span]) -> bool:
    return any(s.recording == recording and s.start_s <= time_s < s.stop_s for s in spans)


def _asked(site: str, doubtful: list[suspects.Suspect]) -> str:
    more = f"\n  and {len(doubtful) - SHOWN} more" if len(doubtful) > SHOWN else ""
    lines = "".join(f"\n  {suspect.why}" for suspect in doubtful[:SHOWN])
    return (
        f"{site}: its hours seem to hold shots, and must hold none; listen there, then say --no-shots where there are "
        f"none, --leave-out to leave these out, or name them in --decisions:{lines}{more}"
    )


def in_words(measured: Measured, limit: float, *, by_counts: str = "") -> str:
    """Return held-out incidents an hour as text: what they prove, and how many more hours would prove the limit.

    What was chosen `by_counts` of these very hours, the hours themselves or a site verifier, leaves no proof.

    Examples
    --------
    >>> print(in_words(Measured(0, 9.0), 0.5))
    9.00 h without an incident prove at most 0.33/h
    >>> print(in_words(Measured(0, 4.0), 0.5))
    4.00 h without an incident prove at most 0.75/h; 1.99 h more without one would prove 0.5/h
    """
    n, hours = measured.false_incidents, measured.hours
    what = "without an incident" if not n else f"with {n} incident{'s' * (n > 1)} ({measured.rate:.2f}/h)"
    if by_counts:
        return f"{hours:.2f} h {what}: at most {measured.upper:.2f}/h, of {by_counts} chosen by their counts: no proof"
    said = f"{hours:.2f} h {what} prove at most {measured.upper:.2f}/h"
    more = threshold.hours_needed(n, limit) - hours
    if measured.upper <= limit:
        return said
    return f"{said}; {more:.2f} h more without {'one' if not n else 'another'} would prove {limit:g}/h"


def content(
    site: str, done: Calibration, recordings: Sequence[Heard], model: Model, p: Sections,
    *, decided_in: Path | None, cost: dict | None, rehearsed: dict | None,
) -> dict:  # fmt: skip
    """Return what `profile.write` signs."""
    lines = [(heard.sha256, heard.name) for heard in recordings]
    return {
        "site": site,
        "model_sha256": profile.sha256_of(model.path),
        "settings": profile.settings_of(model, p, done.logit),
        "threshold": profile.threshold(model, done.logit),
        "operating_point": profile.threshold(model, done.point),
        "limit": float(done.limit),
        "proof": done.proof,
        "held_out": {
            "false_incidents": done.held_out.false_incidents, "hours": done.held_out.hours,
            threshold.RATE: done.held_out.rate, threshold.UPPER: done.held_out.upper,
        },
        "chosen_on": {
            "recordings": len(lines), "sha256": profile.of_recordings(lines),
            "hours": done.hours.duration_s / HOUR_S, "silence_s": done.silence_s, "confirmed_s": done.confirmed_s,
            "suspects_s": done.suspects_s, "options": done.options,
            "decisions_sha256": profile.sha256_of(decided_in) if decided_in else None,
        },
        "validation_recall": cost,
        "rehearsal": rehearsed,
        "site_verifier": _site_verifier(done, model, p) if done.learned else None,
    }  # fmt: skip


def _site_verifier(done: Calibration, model: Model, p: Sections) -> dict:
    place = int(np.searchsorted(logits_of(model), done.point))
    settings, number = listener.settings(model, p, logit=done.logit), int(profile.sha256_of(model.path)[:16], 16)
    before, after = (done.learned.recall[name] for name in (rehearsal.BEFORE, rehearsal.AFTER))
    return {
        "content": verifier.packed(done.learned.verifier, settings, model=number).hex(),
        "windows": done.learned.windows, "false_incidents_without": int(done.hours.counts()[:, place].sum()),
        "false_incidents": int(done.learned.counts[:, place].sum()),
        "shots": before["shots"], "recall_without": before["recall"], "recall": after["recall"],
    }  # fmt: skip
