"""gunshot detect: when shots begin in recordings."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import app
from gunshot.cli.options import Format, ModelOption, ThresholdOption, print_row

DRAWN_MIN = 30  # minutes of a recording that --plot draws, at most: it takes some 300 MB


@app.command()
def detect(
    files: Annotated[list[Path], typer.Argument(help="Recordings of any length, rate and channels.")],
    model: ModelOption = "int8",
    threshold: ThresholdOption = None,
    format: Annotated[
        Format,
        typer.Option(help="text: file, onset in s, score; json: an object a line with file, onset_s, score, level_db."),
    ] = Format.text,
    scores: Annotated[bool, typer.Option("--scores", help="Print every window's score, not onsets.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help=f"Draw waveform, log-mel and scores of one file of at most {DRAWN_MIN} minutes.")
    ] = None,
) -> None:
    """Print when shots begin in recordings.

    A window is 4096 samples (256 ms); one is scored every detector.hop frames, and the mean of the last
    detector.windows decides. Onsets are in seconds from the recording's start. A recording shorter than a window is
    filled up with silence. level_db is the loudest sample around the onset in dB SPL, by firmware.full_scale_pa.
    An incident opens at the threshold and goes on detector.hysteresis below it, so that later shots may score lower.
    """
    from gunshot.base import audio, params, pipeline
    from gunshot.detect import listener, recording
    from gunshot.models.model import load_model, named

    if plot and (len(files) > 1 or plot.suffix != ".png"):
        raise ValueError(f"--plot draws one recording as .png, files={len(files)}, suffix={plot.suffix!r}")
    p = params.load("audio", "chunks", "features", "detector", "firmware")
    loaded = load_model(*named([model], pipeline.models()).values())
    logit, failed, parts = loaded.threshold(threshold), 0, []
    point = float(loaded.calibrated(logit))
    for file in files:
        ear, shots = listener.Listener(loaded, [logit], p), 0
        best = (0.0, 0.0)
        try:
            if plot:
                recording.check_short(file, minutes=DRAWN_MIN)
            for part in recording.listen(file, ear):
                for row in _rows(part, p, format=format, scores=scores):
                    print_row({"file": str(file), **row}, format)
                shots, best = shots + len(part.onset_s), max(best, _highest(part, p))
                parts += [part] if plot else []
        except audio.AudioError as e:
            print(f"error: {e}", file=sys.stderr)
            failed += 1
            continue
        if ear.dropped:
            print(f"warning: {file}: {ear.dropped} samples are no numbers; they count as silence", file=sys.stderr)
        if not (shots or scores) and format == Format.text:
            print(f"{file}  no shot (highest {best[0]:.3f} at {best[1]:.1f} s, threshold {point:.3f})")
    if parts:
        from gunshot.report import plots

        whole, goes_on = recording.joined(parts), float(loaded.calibrated(logit - p.detector.hysteresis))
        drawn = whole.samples, whole.window_score, whole.onset_s
        plots.detection(plot, file.name, *drawn, threshold=point, goes_on=goes_on, p=p)
        print(f"see {plot}", file=sys.stderr)
    raise typer.Exit(1 if failed else 0)


def _highest(part, p) -> tuple[float, float]:
    """Return the highest score of a part's windows and its window's middle, s; (0, 0) where no window ends in it."""
    if not len(part.window_score):
        return 0.0, 0.0
    i = int(part.window_score.argmax())
    return float(part.window_score[i]), float(part.start_s[i]) + p.audio.chunk_length / p.audio.sr / 2


def _rows(part, p, *, format: Format, scores: bool) -> list[dict]:
    """Return what is printed of a part of a recording: a row a window, or a row a shot."""
    from gunshot.base import audio

    if scores:
        columns = {"start_s": part.start_s.round(4), "score": part.window_score}
    else:
        columns = {"onset_s": part.onset_s.round(4), "score": part.score}
        if format == Format.json:
            columns["level_db"] = audio.spl_db(part.peak, full_scale_pa=p.firmware.full_scale_pa).round(1)
    return [dict(zip(columns, row, strict=True)) for row in zip(*(c.tolist() for c in columns.values()), strict=True)]
