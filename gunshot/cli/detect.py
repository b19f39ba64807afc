"""gunshot detect: when shots begin in recordings."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gunshot.base.files import shown
from gunshot.cli import compiling
from gunshot.cli.app import app
from gunshot.cli.options import Format, ModelOption, SiteOption, ThresholdOption, given, print_row
from gunshot.cli.recordings import listed

if TYPE_CHECKING:
    from gunshot.base import params
    from gunshot.detect.listener import Sections
    from gunshot.detect.recording import Part
    from gunshot.models.model import Model

DRAWN_MIN = 30  # minutes of a recording that --plot draws, at most: it takes some 300 MB


@app.command()
def detect(
    files: Annotated[
        list[Path],
        typer.Argument(
            parser=given, help="Recordings of any length, rate and channels; folders of them; - for standard input."
        ),
    ],
    model: ModelOption = "int8",
    threshold: ThresholdOption = None,
    site: SiteOption = None,
    format: Annotated[
        Format,
        typer.Option(help="text: file, onset in s, score; json: an object a line with file, onset_s, score, level_db."),
    ] = Format.text,
    scores: Annotated[bool, typer.Option("--scores", help="Print every window's score, not onsets.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help=f"Draw waveform, log-mel and scores of one file of at most {DRAWN_MIN} minutes.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Print a second opinion of each incident as well, at each file's end.")
    ] = False,
) -> None:
    """Print when shots begin in recordings.

    A window is 4096 samples (256 ms); one is scored every detector.hop frames, and the mean of the last
    detector.windows decides. Onsets are in seconds from the recording's start. A recording shorter than a window is
    filled up with silence. What libsndfile does not read, FFmpeg does: m4a, aac, webm, wma, the sound of videos. What
    is amiss with a file, and heard all the same, is told as a warning. level_db is the loudest sample around the onset
    in dB SPL, by firmware.full_scale_pa. An incident opens at the threshold and goes on detector.hysteresis below it,
    so that later shots may score lower.

    With --verify a larger network, the verifier, hears 2.4 s around the highest shot of each incident: each shot has
    its incident's opinion, a score of 0 to 1, and whether that upholds the incident or doubts it. None is left out.
    """
    from gunshot.base import audio, params, pipeline
    from gunshot.detect import listener, opinion, recording
    from gunshot.models.model import load_model, named

    compiling.announce()
    if plot and (len(files) > 1 or files[0].is_dir() or plot.suffix != ".png"):
        raise ValueError(f"--plot draws one recording as .png, files={len(files)}, suffix={plot.suffix!r}")
    if verify and scores:
        raise ValueError("--verify has opinions of incidents, --scores prints windows: leave one of them out")
    p = params.load("audio", "chunks", "context", "features", "detector", "firmware", "quality", "verifier")
    known = pipeline.models()
    (chosen,) = named([model], known).values()
    if verify and chosen.resolve() != known["int8"].resolve():
        raise ValueError(
            f"--verify is of the int8 detector, --model {shown(model)} must be int8: leave one of them out"
        )
    second = opinion.load(pipeline.verifier(), chosen, p) if verify else None
    loaded = load_model(chosen)
    (loaded, logit), failed, parts, said = opening(loaded, p, threshold, site), 0, [], None
    point = float(loaded.calibrated(logit))
    for name, file in listed(files):
        ear, notes, shots, name = listener.Listener(loaded, [logit], p), audio.Notes(), 0, shown(name)
        best = (0.0, 0.0)
        try:
            if plot:
                recording.check_short(file, minutes=DRAWN_MIN)
            heard = recording.listen(file, ear, notes)
            for part in [_whole(heard, drawn=bool(plot))] if second else heard:
                said = _opinions(second, file, part, p, format) if second else None
                for row in _rows(part, p.firmware, format=format, scores=scores, said=said):
                    print_row({"file": name, **row}, format)
                shots, best = shots + len(part.onset_s), max(best, _highest(part, p.audio))
                parts += [part] if plot else []
        except audio.AudioError as e:
            print(f"error: {name}: {e.value}: {e.rule}", file=sys.stderr)
            failed += 1
            continue
        faults = notes.faults(silence_db=p.quality.silence_db, max_clipped=p.quality.max_clipped)
        for warning in notes.warnings + [f"{value}: {rule}" for value, rule in faults]:
            print(f"warning: {name}: {warning}", file=sys.stderr)
        if not (shots or scores) and format == Format.text:
            print(f"{name}  no shot (highest {best[0]:.3f} at {best[1]:.1f} s, threshold {point:.3f})")
    if parts:
        from gunshot.report import plots

        whole, goes_on = recording.joined(parts), float(loaded.calibrated(logit - p.detector.hysteresis))
        drawn = whole.samples, whole.start_s, whole.window_score, whole.onset_s
        title = shown(files[0].name) + (_in_title(whole, said) if said else "")
        plots.detection(plot, title, *drawn, threshold=point, goes_on=goes_on, p=p)
        print(f"see {plot}", file=sys.stderr)
    raise typer.Exit(1 if failed else 0)


def opening(model: "Model", p: "Sections", threshold: float | None, site: Path | None) -> tuple["Model", float]:
    """Return what decides: the model, and the mean logit that opens an incident.

    That is of a score, of a site's profile, whose verifier the model then has, or of the operating point. Which one
    decided is said on stderr where it is a profile's. ValueError as for `profile.read`, or where both are given.
    """
    if site is None:
        return model, model.threshold(threshold)
    from gunshot.site import profile  # a second to import: only where it is used

    if threshold is not None:
        raise ValueError(f"--threshold {threshold:g} and --site {shown(site)}: only one can decide; leave one out")
    read = profile.read(site, model, p)
    here, point = read.threshold.score, read.operating_point.score
    by = f"{here:.3f}{' and the verifier' if read.site_verifier else ''}, of the site {read.site} ({shown(site)})"
    print(f"threshold {by}; operating point {point:.3f}", file=sys.stderr)
    return profile.decides(read, model, p), read.threshold.logit


def _highest(part: "Part", p: "params.Audio") -> tuple[float, float]:
    """Return the highest score of a part's windows and its window's middle, s, from 0 on; (0, 0) without one."""
    if not len(part.window_score):
        return 0.0, 0.0
    i = int(part.window_score.argmax())
    return float(part.window_score[i]), max(0.0, float(part.start_s[i]) + p.chunk_length / p.sr / 2)


def _whole(parts: Iterable["Part"], *, drawn: bool) -> "Part":
    """Return a recording's parts as one, without its samples where it is not drawn."""
    from gunshot.detect import recording

    return recording.joined(part if drawn else part._replace(samples=part.samples[:0]) for part in parts)


def _opinions(verifier: "Model", file: Path, part: "Part", p: "Sections", format: Format) -> dict[str, list]:
    """Return the columns that the verifier adds to a whole recording's shots, each its incident's."""
    from gunshot.detect import opinion
    from gunshot.models.model import read_operating_point

    logit = opinion.of_shots(verifier, file, part, p).astype(float)
    upheld = logit >= read_operating_point(verifier.path)["logit"]  # as `gunshot cascade` has it: scores are rounded
    words = ["upheld" if yes else "doubted" for yes in upheld]
    said = upheld.tolist() if format == Format.json else words
    return {"opinion": verifier.calibrated(logit).round(4).tolist(), "upheld": said}


def _in_title(part: "Part", said: dict[str, list]) -> str:
    """Return the verifier's opinion of each incident as a second line of a plot's title."""
    import numpy as np

    _, first = np.unique(part.incident, return_index=True)
    each = [f"{said['opinion'][i]:.2f} at {part.onset_s[i]:.1f} s" for i in first]
    return f"\nthe verifier's opinion: {', '.join(each)}" if each else ""


def _rows(
    part: "Part", p: "params.Firmware", *, format: Format, scores: bool, said: dict[str, list] | None = None
) -> list[dict]:
    """Return what is printed of a part of a recording: a row a window, or a row a shot, with what the verifier said."""
    from gunshot.base import audio

    if scores:
        columns = {"start_s": part.start_s.round(4), "score": part.window_score}
    else:
        columns = {"onset_s": part.onset_s.round(4), "score": part.score}
        if format == Format.json:
            columns["level_db"] = audio.spl_db(part.peak, full_scale_pa=p.full_scale_pa).round(1)
    columns = {name: column.tolist() for name, column in columns.items()} | (said or {})
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
