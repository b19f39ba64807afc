"""gunshot device run: this machine and its microphone as a device of a hub."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gunshot.cli.app import device
from gunshot.cli.options import SiteOption, ThresholdOption, known_as, show_log

if TYPE_CHECKING:
    from gunshot.detect import live
    from gunshot.device.ladder import Rungs
    from gunshot.device.place import Place
    from gunshot.device.run import Sections
    from gunshot.device.slots import Slots
    from gunshot.device.topics import SiteProfile
    from gunshot.models.model import Model


@device.command()
def run(
    folder: Annotated[Path, typer.Argument(help="The device's folder, of `gunshot hub enrol`.")],
    file: Annotated[Path | None, typer.Option(help="A recording in the microphone's place, at its own pace.")] = None,
    microphone: Annotated[
        str | None, typer.Option(help="An input's number or part of its name. Default: the system's.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="As for `gunshot detect`. Default: what a hub rolled out to this device, else int8."),
    ] = None,
    threshold: ThresholdOption = None,
    site: SiteOption = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Tell the hub a second opinion of each incident, some 2 s after its shot.")
    ] = False,
) -> None:
    """Listen, and send what is heard to the hub as messages; Ctrl-C ends it.

    With --site a site's profile sets the threshold, and its verifier decides too, where it has one. A profile that
    cannot be used, for another model or another site than the folder's, is told in the log and in the device's status,
    and the operating point stays.

    The threshold goes up by a rung where incidents, whatever they were, prove more an hour than the profile's limit;
    without a profile that limit is detector.max_false_incidents_per_hour. The highest rung keeps half of the operating
    point's recall on the validation streams. Heartbeats tell the rung, and the folder's ladder.json keeps it: delete
    that to begin anew. With --threshold it stays.

    Where half an hour stands out from all days that it has heard, by its noise or by what sounds like a shot, the place
    has changed: heartbeats tell it, and the profile is left until the place is as before, or another one is given. The
    folder's change.json keeps what is usual, after two weeks.

    With --verify the verifier, of `gunshot train-verifier`, hears 2.4 s around each incident's highest shot on this
    machine, and a message tells what it thinks. The alert goes out before, whatever it thinks. Where a hub rolled out
    another model than the verifier was made behind, there is no opinion, and the log says so.

    No audio is stored; the last 30 s are in RAM, and sent where the hub orders it. A `camera: rtsp://...` in its
    device.yaml is opened where the hub orders its video, and never otherwise. Messages wait in the folder until the hub
    has acknowledged them, also over a restart; with a recording it ends when none waits.

    Where a hub rolls out a promoted model, signed by an operator whose key is in the folder's operators/, it is fetched
    and runs on trial, until the hub says that it is kept, or taken back. With --model the device takes none.
    """
    from gunshot.base import audio, params, pipeline
    from gunshot.detect import live
    from gunshot.device.place import Place
    from gunshot.device.slots import Slots
    from gunshot.models.model import load_model, named

    show_log()
    p, notes = params.load("audio", "chunks", "context", "features", "detector", "firmware", "verifier"), audio.Notes()
    place = Place.load(folder)  # before what takes long
    if site and threshold is not None:
        raise ValueError(f"--threshold {threshold:g} and --site {site}: only one can decide; leave one out")
    slots = Slots(folder) if model is None else None
    own = next(iter(named([model or "int8"], pipeline.models()).values()))
    size = p.detector.hop * p.features.hop_length
    heard, form = live.Heard(), (p.audio.sr, size)
    source = live.recording(file, *form, notes, heard) if file else live.microphone(microphone, *form, heard)
    is_first = True
    while True:
        loaded = _booted(slots, own) if slots else load_model(own)
        verifier = _verifier(loaded.path, p, must=is_first and loaded.path == own) if verify else None
        is_first = False
        more = {"heard": heard, "slots": slots, "verifier": verifier}
        left, turned = _listen(place, folder, source, loaded, p, threshold=threshold, site=site, more=more)
        if not (turned or (slots and slots.is_stale)):
            break
    for warning in notes.warnings:
        print(f"warning: {file}: {warning}", file=sys.stderr)
    if left:
        print(f"warning: {left} messages wait in {folder}, for the next start", file=sys.stderr)


def _booted(slots: "Slots", own: Path) -> "Model":
    """Return the model that this start runs, an image's or the machine's own. A trial that cannot be loaded is over."""
    from gunshot.models.model import load_model

    image = slots.boot()
    try:
        return load_model(image or own)
    except (ValueError, OSError) as e:
        if not slots.is_on_trial:
            raise
        slots.end_trial(f"its model cannot be loaded: {e}")
        return _booted(slots, own)


def _listen(
    place: "Place", folder: Path, source: "live.Blocks", model: "Model", p: "Sections",
    *, threshold: float | None, site: Path | None, more: dict,
) -> tuple[int, bool]:  # fmt: skip
    """Be the device with a model, and return how many messages wait, and whether its place changed, or changed back.

    `more` is for `gunshot.device.run.listen`.
    """
    from gunshot.device import run as running
    from gunshot.device.change import Watch
    from gunshot.device.topics import SiteProfile

    same = {"model": running.model_number_of(model), "site": place.site}
    if threshold is not None:
        more |= {"watch": Watch(folder, **same)}
        return running.listen(folder, source, model, model.threshold(threshold), p, **more), False
    rungs, said, taught = _rungs(site, model, p, place)
    watch = Watch(folder, **same, profile=rungs.profile)
    if watch.changed and rungs.profile:
        since = datetime.fromtimestamp(watch.changed.since, UTC)
        fault = f"{said.site}: the place has changed since {since:%Y-%m-%d %H:%M} UTC, {watch.changed.in_words}"
        said = SiteProfile(fault=f"{fault}; where it stays so, calibrate again")
        (rungs, _, taught) = _rungs(None, model, p, place)
    more |= {"rungs": rungs, "site": said, "own": taught, "watch": watch}
    return running.listen(folder, source, model, rungs.logits[0], p, **more), watch.turned


def _verifier(detector: Path, p: "Sections", *, must: bool) -> "Model | None":
    """Return the verifier behind a detector; None, with a warning, where there is none, unless there must be one.

    ValueError and FileNotFoundError as for `opinion.load`, where there must.
    """
    import logging

    from gunshot.base import pipeline
    from gunshot.detect import opinion

    try:
        return opinion.load(pipeline.verifier(), detector, p)
    except (ValueError, OSError) as e:
        if must:
            raise
        logging.getLogger("gunshot").warning("it gives no second opinion: %s", e)
        return None


def _rungs(
    file: Path | None, model: "Model", p: "Sections", place: "Place"
) -> tuple["Rungs", "SiteProfile", "Model | None"]:
    """Return the thresholds of a device, what it says of its site's profile, and the model with the site's verifier.

    A profile that cannot be used must not silence a device: it is then as if there were none, and it says why.
    """
    from gunshot.device.ladder import Rungs
    from gunshot.device.topics import NO_PROFILE, SiteProfile
    from gunshot.site import profile

    above, said = _above(model), NO_PROFILE
    if file is not None:
        try:
            read = profile.read(file, model, p, site=place.site)
        except (ValueError, OSError) as e:
            said = SiteProfile(fault=str(e))
        else:
            lowest = read.threshold.logit
            logits = lowest, *(logit for logit in above if logit > lowest)
            own = profile.decides(read, model, p) if read.site_verifier else None
            said = SiteProfile(site=read.site, number=int(profile.sha256_of(file)[:16], 16))
            return Rungs(logits, read.limit, read.signature, place.site), said, own
    return Rungs(above, p.detector.max_false_incidents_per_hour, site=place.site), said, None


def _above(model: "Model") -> tuple[float, ...]:
    """Return the operating point and what a device may go up to from there, as mean logits.

    It is the operating point alone where nobody knows what the others cost.
    """
    import logging

    from gunshot.base import pipeline
    from gunshot.site import cost

    try:
        return tuple(cost.kept(pipeline.output("operate"), known_as(model.path), model.threshold()))
    except (ValueError, OSError) as e:  # it must not silence a device
        logging.getLogger("gunshot").info("it goes no higher than the operating point: %s", e)
        return (model.threshold(),)
