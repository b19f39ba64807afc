"""gunshot detect, gunshot evaluate: what the models do on recordings."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from gunshot.base import audio, params, pipeline, tables
from gunshot.cli.app import app
from gunshot.detect import detector, listener


class Format(StrEnum):
    """How onsets are printed."""

    text = "text"
    json = "json"


DRAWN_MIN = 30  # minutes of a recording that --plot draws, at most: it takes some 300 MB
SUFFIXES = (".tflite", ".keras", ".joblib")
ModelOption = Annotated[
    str,
    typer.Option(
        help="int8, float or forest, as dvc.yaml names them, or a .tflite, .keras or .joblib file with its report.json "
        "beside it."
    ),
]


def paths(names: list[str]) -> dict[str, Path]:
    """Return the files of models that a user named; ValueError where one is neither known nor a model's file."""
    known = pipeline.models()
    for name in names:
        if name not in known and (Path(name).suffix not in SUFFIXES or not Path(name).is_file()):
            raise ValueError(f"model={name!r} must be {', '.join(known)} or a file that ends in {', '.join(SUFFIXES)}")
    return {name: known.get(name, Path(name)) for name in names}


@app.command()
def detect(
    files: Annotated[list[Path], typer.Argument(help="Recordings of any length, rate and channels.")],
    model: ModelOption = "int8",
    threshold: Annotated[
        float | None,
        typer.Option(help="Of the score that opens an incident. Default: the operating point on validation streams."),
    ] = None,
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
    """
    from gunshot.models.model import load_model

    if plot and (len(files) > 1 or plot.suffix != ".png"):
        raise ValueError(f"--plot draws one recording as .png, files={len(files)}, suffix={plot.suffix!r}")
    p = params.load("audio", "chunks", "features", "detector", "firmware")
    loaded = load_model(*paths([model]).values())
    logit = loaded.threshold(threshold)
    failed = 0
    for file in files:
        try:
            if plot:
                _check_drawable(file)
            onsets = _listen(file, loaded, logit, p, format=format, scores=scores)
        except audio.AudioError as e:
            print(f"error: {e}", file=sys.stderr)
            failed += 1
            continue
        if plot:
            from gunshot import features
            from gunshot.report import plots

            kept = {"sr": p.audio.sr, "min_length": p.audio.chunk_length, **p.features.model_dump()}
            mel = features.of_file(file, repair=True, **kept)
            found = loaded.sweep(mel, hop=p.detector.hop, n_frames=min(mel.shape[1], listener.window_frames(p)))
            plots.detection(plot, file, mel, found, onsets, level=float(loaded.calibrated(logit)), p=p)
    raise typer.Exit(1 if failed else 0)


def _check_drawable(file: Path) -> None:
    """Raise AudioError where a file is too long to be drawn: it is held whole, and no shot would be seen."""
    _, duration_s = audio.header(file)
    if duration_s > 60 * DRAWN_MIN:
        raise audio.AudioError(
            file, f"{duration_s / 60:.1f} minutes", f"--plot draws at most {DRAWN_MIN}; cut it, or leave --plot out"
        )


def _listen(file: Path, model, logit: float, p, *, format: Format, scores: bool) -> list[float]:
    """Print what a model finds in a file, as it is read, and return the onsets in s."""
    if not file.is_file():
        raise audio.AudioError(file, "is a folder" if file.is_dir() else "no such file", "a recording must be a file")
    ear, onsets, windows = listener.Listener(model, [logit], p), [], 0
    for block in _padded(audio.blocks(file, sr=p.audio.sr, repair=True, watch=ear.count), p.audio.chunk_length):
        (shots,), levels = ear.push(block)
        times = listener.times(shots, p)[0].round(4).tolist()
        if scores:
            starts = (windows + np.arange(len(levels))) * p.detector.hop * p.features.hop_length / p.audio.sr
            columns = {"start_s": starts.round(4).tolist(), "score": model.score_of(levels, windows=1).tolist()}
        else:
            sure = model.score_of(shots[:, detector.LEVEL], windows=p.detector.windows)
            columns = {"onset_s": times, "score": sure.tolist()}
            if format == Format.json:
                level = audio.spl_db(ear.peaks(shots), full_scale_pa=p.firmware.full_scale_pa)
                columns["level_db"] = level.round(1).tolist()
        for values in zip(*columns.values(), strict=True):
            _print({"file": str(file), **dict(zip(columns, values, strict=True))}, format)
        onsets, windows = onsets + times, windows + len(levels)
    if ear.dropped:
        print(f"warning: {file}: {ear.dropped} samples are no numbers; they count as silence", file=sys.stderr)
    if not (onsets or scores) and format == Format.text:
        print(f"{file}  no shot")
    return onsets


def _padded(blocks, length: int):
    """Yield blocks of audio and, where they are shorter than a window, silence that fills it up."""
    total = 0
    for block in blocks:
        total += len(block)
        yield block
    if total < length:
        yield np.zeros(length - total, np.float32)


def _print(row: dict, format: Format) -> None:
    print(json.dumps(row, ensure_ascii=False) if format == Format.json else "  ".join(_cell(v) for v in row.values()))


def _cell(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.3f}"


@app.command()
def evaluate(
    path: Annotated[
        Path,
        typer.Argument(
            exists=True, file_okay=False, help="Labelled recordings: folder, urbansound8k, esc50 or fsd50k."
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Where to write. Default: evaluate/NAME beside the reports.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="int8, float, forest or a file; several if repeated. Default: all three.")
    ] = None,
) -> None:
    """Measure models on your own labelled recordings, which they should never have been trained on.

    Writes metrics.json, windows.csv, files.csv, rejected.csv and index.html: metrics of each window and of each
    file (its highest window's score), by label and by upstream source. A file is heard after quiet of its own, so that
    a shot that opens it counts; its first windows start before it. Nothing is imported or trained. Where more files are
    rejected than quality.max_rejected allows, the figures are written all the same and the command fails.
    """
    import pandas as pd
    from tqdm import tqdm

    from gunshot import corpora
    from gunshot.models.model import read_report
    from gunshot.report.chunks import chunk_figures, write_report
    from gunshot.report.recordings import file_metrics_section, files_by_section, files_section
    from gunshot.studies.recordings import file_metrics, score_files

    p = params.load("audio", "features", "detector", "chunks", "tags", "evaluate", "quality")
    layout = corpora.detect(path)
    sources, rejected = corpora.layouts[layout](path)
    keys = ("path", "label", "recording_group", "source", "upstream", "file")
    listed = [{**{key: getattr(s, key) for key in keys}, "class": s.class_} for s in sources]
    for kind in ("gun", "env"):
        if not any(row["class"] == kind for row in listed):
            raise ValueError(f"{path}: no file of the class {kind}; figures need both, gun and env")
    chosen = paths(model or list(pipeline.models()))
    points = {name: read_report(file)["operating_point"] for name, file in chosen.items()}
    windows, files = [], []
    scored = score_files(listed, chosen, p)
    for rows, file, bad in tqdm(scored, total=len(listed), desc="evaluate", unit="file"):
        windows += rows
        files += [file] if file else []
        rejected += bad
    refused = tables.frame(rejected, tables.REJECTED)
    if len({file["class"] for file in files}) < 2:  # nothing to compare: what was rejected says why
        tables.check_rejected(refused, 0, limit=0, where="this message")
    windows, files = pd.DataFrame(windows), pd.DataFrame(files)
    out = out or pipeline.output("evaluate").parent / "evaluate" / path.resolve().name
    tables.write(out / "windows.csv", windows)
    tables.write(out / "files.csv", files)
    tables.write(out / "rejected.csv", refused)
    figures = chunk_figures(windows, points)
    by_file = file_metrics(files, points, np.random.default_rng(0))
    tables.write_json(out / "metrics.json", {"windows": figures["metrics"], "files": by_file})
    shown = files[["path", "label", "upstream", "y", next(iter(points))]].set_axis(
        ["file", "label", "upstream", "y", "score"], axis=1
    )
    write_report(
        out / "index.html",
        title=f"Gunshot detector: {path.resolve().name}",
        intro=f"{len(files)} recordings, {len(windows)} windows: of a file with shots those that hold an automatic "
        f"onset, of a file without shots all, {p.detector.hop} frames apart. Each file was heard after quiet of its "
        f"own. {len(refused)} files were rejected.",
        figures=figures,
        extra=[
            file_metrics_section(by_file),
            *(files_by_section(files, points, column) for column in ("upstream", "label")),
            files_section(shown),
        ],
    )
    print(pd.DataFrame(by_file).T.round(4).to_string())
    print(f"{len(files)} files, {len(windows)} windows, {len(refused)} rejected; see {out / 'index.html'}")
    tables.check_rejected(refused, len(listed), limit=p.quality.max_rejected, where=out / "rejected.csv")
