"""gunshot calibrate: the threshold that a site needs, of what it sounds like."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gunshot.base.files import shown
from gunshot.cli import compiling
from gunshot.cli.app import app
from gunshot.cli.options import ModelOption, counted, given, known_as
from gunshot.cli.recordings import listed

if TYPE_CHECKING:
    from gunshot.models.model import Model
    from gunshot.site.calibration import Calibration
    from gunshot.site.heard import Heard, Sections
    from gunshot.site.lessons import School


@app.command()
def calibrate(
    site: Annotated[str, typer.Argument(help="The site's name, as `gunshot hub site` has it.")],
    hours: Annotated[
        list[Path], typer.Argument(parser=given, help="Recordings of the site without shots, and folders of them.")
    ],
    out: Annotated[Path, typer.Option(parser=given, help="Where to write the profile, as JSON.", metavar="FILE")],
    max_false_incidents_per_hour: Annotated[
        float | None, typer.Option(help="The site's limit. Default: detector.max_false_incidents_per_hour.")
    ] = None,
    decisions: Annotated[
        Path | None, typer.Option(parser=given, help="What persons decided: the console's cases.csv.", metavar="FILE")
    ] = None,
    no_shots: Annotated[
        bool, typer.Option("--no-shots", help="The hours hold no shot, even where they seem to.")
    ] = False,
    leave_out: Annotated[
        bool, typer.Option("--leave-out", help="Leave out the parts of the hours that seem to hold shots.")
    ] = False,
    lower: Annotated[
        bool, typer.Option("--lower", help="Go below the operating point too, where the hours prove the limit there.")
    ] = False,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Say what it costs: recall in the site's own sound, before and after.")
    ] = False,
    verifier: Annotated[
        bool, typer.Option("--verifier/--no-verifier", help="Learn to tell the place's own sounds from shots.")
    ] = True,
    plot: Annotated[
        Path | None,
        typer.Option(parser=given, help="Draw false incidents an hour against the threshold.", metavar="FILE.png"),
    ] = None,
    model: ModelOption = "int8",
) -> None:
    """Choose the threshold for a site, from hours of its own sound that hold no shot, and write its signed profile.

    It is the lowest from the operating point upward that keeps the limit of false incidents an hour. The figure that is
    printed is of held-out hours: each hour is counted at the threshold that all others choose. Its bound says what is
    proven, and how many more hours would prove the limit. An incident that goes on counts again each streams.stream_s.

    Incidents that persons confirmed are left out of the hours, a minute either way; names of recordings must then say
    when they begin, as yard_20260501_221003.wav, UTC. Hours that seem to hold shots are an error, until --no-shots or
    --leave-out says what of it; what --leave-out leaves proves nothing. A silent recording is refused, silence within
    one is left out, and two recordings of one time, by their names, are an error.

    A site verifier learns the sounds that raise incidents there, of the int8 network: those that were dismissed, where
    there are --decisions, else all. It is taken where held-out parts of the hours have at most half the incidents by
    it, and where it loses at most one point of recall of validation streams' shots in the site's own sound. Its
    strength is chosen by the counts of these hours, so that they prove nothing of it. The threshold then stays, unless
    the held-out parts prove more incidents by it than the limit.

    A threshold that leaves less than half of the recall at the operating point is refused: the device would be deaf.

    --rehearse lays the shots of simulated streams into the site's sound. They are validation streams, since a threshold
    is chosen: test streams are for figures alone.

    `gunshot detect --site FILE` and `gunshot device run --site FILE` use the profile. It is signed with your key
    (`gunshot models key`) and holds for this very model.
    """
    from gunshot.base import params, pipeline
    from gunshot.models.model import load_model, named
    from gunshot.signing import record
    from gunshot.site import calibration, profile, rehearsal
    from gunshot.site import decisions as decided

    compiling.announce()
    _check(site, no_shots, leave_out, plot)
    p = params.load("audio", "chunks", "context", "features", "detector", "quality", "streams")
    limit = p.detector.max_false_incidents_per_hour
    limit = limit if max_false_incidents_per_hour is None else max_false_incidents_per_hour
    if not 0 < limit < float("inf"):
        raise ValueError(f"--max-false-incidents-per-hour {limit:g} must be above 0")
    key = record.operator_key()  # before what takes long, as is the next
    if rehearse:
        rehearsal.with_shots(pipeline.output("streams_val"))
    loaded = load_model(*named([model], pipeline.models()).values())
    persons = decided.read(decisions, site) if decisions else []
    heard = _heard(hours, loaded, p)
    asked = {"no_shots": no_shots, "leave_out": leave_out, "lower": lower, "limit": limit, "decided": persons}
    school = _school(site, loaded, p) if verifier else None
    done = calibration.calibrate(site, heard, loaded, p, school=school, **asked)
    _print(site, done, loaded, heard)
    cost = _cost(site, done, loaded) if done.logit != done.point else None
    rehearsed = _rehearsed(site, done, heard, loaded, p) if rehearse else None
    content = calibration.content(site, done, heard, loaded, p, decided_in=decisions, cost=cost, rehearsed=rehearsed)
    written = profile.write(out, content, key)
    if plot:
        from gunshot.site import plot as drawing

        drawing.write(plot, site, done, loaded)
    print(f"see {shown(out)}{f' and {shown(plot)}' if plot else ''}, signed {written.at}")


def _check(site: str, no_shots: bool, leave_out: bool, plot: Path | None) -> None:
    from gunshot.device.topics import check_name

    check_name(site)
    if no_shots and leave_out:
        raise ValueError("--no-shots and --leave-out contradict each other: say one of them")
    if plot and plot.suffix != ".png":
        raise ValueError(f"--plot {shown(plot)}: suffix={plot.suffix!r} must be .png")


def _heard(hours: list[Path], model: "Model", p: "Sections") -> list["Heard"]:
    """Return the recordings as they are heard; what is refused is told, and too much of that is an error."""
    from tqdm import tqdm

    from gunshot.base import audio, tables
    from gunshot.site import calibration

    if Path("-") in hours:
        raise ValueError("-: hours must be files and folders: they are read more than once")
    files = [(shown(name), file) for name, file in listed(hours)]
    if not files:
        raise ValueError(f"{', '.join(map(shown, hours))}: no recording; hours must hold at least one")
    total_s = 0.0
    for _, file in files:
        try:
            total_s += audio.header(file)[1]
        except audio.AudioError:
            continue  # it is refused below, with the reason
    with tqdm(total=math.ceil(total_s), desc="calibrate", unit="s", unit_scale=True) as bar:
        heard, rejected = calibration.hear_all(files, model, p, progress=bar.update)
    for one in heard:
        for warning in one.warnings:
            print(f"warning: {one.name}: {warning}", file=sys.stderr)
    for row in rejected:
        print(f"error: {row['file']}: {row['value']}: {row['rule']}", file=sys.stderr)
    refused = tables.frame(rejected, tables.REJECTED)
    tables.check_rejected(refused, len(files), limit=p.quality.max_rejected, where="this message")
    return heard


def _print(site: str, done: "Calibration", model: "Model", heard: list["Heard"]) -> None:
    from gunshot.site import calibration, rehearsal, threshold

    parts = {"confirmed": done.confirmed_s, "that seem to hold shots": done.suspects_s, "silent": done.silence_s}
    left = "".join(f", {s / 60:.1f} min left out, {why}" for why, s in parts.items() if s > 0.05)
    print(f"{site}: {done.hours.duration_s / 3600:.2f} h in {counted(len(heard), 'recording')}{left}")
    for suspect in done.suspects:
        print(f"  left out: {suspect.why}")
    score, point = (f"{float(model.calibrated(logit)):.3f}" for logit in (done.logit, done.point))
    which = "the operating point" if done.logit == done.point else f"the operating point is {point}"
    print(f"threshold {score} ({which}), limit {done.limit:g} false incidents/h")
    if done.learned:
        place = calibration.logits_of(model).tolist().index(done.point)
        without, by = (int(counts[:, place].sum()) for counts in (done.hours.counts(), done.learned.counts))
        print(f"site verifier: {without} -> {by} incidents at the operating point, in parts that taught it nothing")
        shots = f"{done.learned.recall[rehearsal.BEFORE]['shots']} clear shots in the site's own sound"
        print(f"  recall of {shots}, at the operating point: {rehearsal.in_words(done.learned.recall)}")
    if done.logit != done.point:
        at = done.at(done.point)
        print(f"at the operating point: {at[threshold.RATE]:.2f}/h, at most {at[threshold.UPPER]:.2f}")
    if done.options["lower"] and done.logit >= done.point:
        more = done.to_lower_h - done.hours.duration_s / 3600
        print(f"--lower: it is not lowered; {more:.2f} h more without another incident would lower it")
    by_counts = "hours" if done.suspects else "a site verifier" if done.learned else ""
    words = calibration.in_words(done.held_out, done.limit, by_counts=by_counts)
    print(f"held out, {done.proof}: {words}")


def _cost(site: str, done: "Calibration", model: "Model") -> dict | None:
    """Return and print what the threshold costs on the validation streams; None where that is not known.

    ValueError as for `cost.check`.
    """
    from gunshot.base import pipeline
    from gunshot.site import cost, rehearsal

    points = {rehearsal.BEFORE: done.point, rehearsal.AFTER: done.logit}
    try:
        known = cost.on_streams(pipeline.output("operate"), known_as(model.path), points)
    except ValueError as e:
        why = f"what this threshold costs is not known, and a device may be deaf at it: {e}; --rehearse measures it"
        print(f"warning: {why}", file=sys.stderr)
        return None
    print(cost.in_words(known))
    cost.check(site, known, where="of the validation streams")
    return known


def _school(site: str, model: "Model", p: "Sections") -> "School | None":
    """Return what a site verifier may learn by; None, told as a warning, where that is missing."""
    from gunshot.base import pipeline, seeds
    from gunshot.site import lessons

    if model.path.suffix != ".tflite":  # no trunk whose vectors a device has
        return None
    features, streams = pipeline.output("featurize"), pipeline.output("streams_val")
    needed = {"featurize": features / "train.csv", "streams_val": streams / "streams.csv"}
    for stage, file in needed.items():
        if not file.exists():
            print(f"warning: {site}: no site verifier, without {file}: `dvc repro {stage}` makes it", file=sys.stderr)
            return None
    return lessons.School(features, streams, seeds.generator(p.streams.seed, f"sites/{site}"))


def _rehearsed(site: str, done: "Calibration", heard: list["Heard"], model: "Model", p: "Sections") -> dict:
    from gunshot.base import pipeline
    from gunshot.site import cost, rehearsal

    own = done.learned and done.learned.verifier
    by = {rehearsal.BEFORE: rehearsal.Decides(done.point), rehearsal.AFTER: rehearsal.Decides(done.logit, own)}
    scenes = rehearsal.play(done.hours, heard, pipeline.output("streams_val"), model, p)
    rehearsed = rehearsal.recall(scenes, model, by, p)
    before = rehearsed[rehearsal.BEFORE]
    print(f"recall of {before['shots']} clear simulated shots of validation streams in the site's sound:")
    print(f"  {rehearsal.in_words(rehearsed)}; by distance, with those too far to be clear:")
    for row in rehearsed["by_distance"]:
        one, other = row[rehearsal.BEFORE], row[rehearsal.AFTER]
        print(
            f"  from {row['at_least_m']:4} m: {row['shots']:3} shots, {one['recall']:.0%} -> {other['recall']:.0%} "
            f"(at least {one['recall_lower']:.0%} -> {other['recall_lower']:.0%})"
        )
    cost.check(site, rehearsed, where="in the site's own sound")
    return rehearsed
