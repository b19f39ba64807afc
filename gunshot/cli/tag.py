"""gunshot tag, gunshot tag-report, gunshot import tags, gunshot export tags: where shots start in recordings."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gunshot import tags
from gunshot.base import audio, params, pipeline, processes, tables
from gunshot.base.files import atomic
from gunshot.cli.app import app, export, import_
from gunshot.tags import catalogue, labeltracks

SHOWN = 10  # names that are printed of many


class Format(StrEnum):
    """Other tools' formats."""

    audacity = "audacity"
    label_studio = "label-studio"


RecordingsOption = Annotated[
    Path | None,
    typer.Option(help="The folder of the recordings that the tags belong to. Default: data/raw, all imported corpora."),
]


def _catalogue(path: Path | None) -> catalogue.Catalogue:
    return catalogue.listed(path or pipeline.raw(), pipeline.raw(), pipeline.by_hand())


def _print_names(what: str, names: list[str]) -> None:
    if names:
        more = f" ... and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        print(f"{len(names)} {what}: {', '.join(names[:SHOWN])}{more}")


def _find(item: tuple[str, Path], sr: int, options: dict) -> tuple[str, list[tags.Tag], str | None]:
    from gunshot.dataset import onsets  # half a second to import, which the other commands need not wait

    key, file = item
    try:
        return key, onsets.find(audio.to_int16(audio.read(file, sr=sr)), sr=sr, **options), None
    except audio.AudioError as e:
        return key, [], f"{key} ({e.value}: {e.rule})"


@app.command()
def tag(
    path: Annotated[Path, typer.Argument(exists=True, help="A recording, or a folder with recordings anywhere in it.")],
) -> None:
    """Find where shots start, and write it to the tag file that the pipeline reads.

    Of recordings below data/raw those of the class gun are tagged, in data/tags/CORPUS.csv. Of any other folder all
    recordings are, but those in env/ beside a gun/, in its tags.csv. A cell such as 8120@0.93 is an automatic onset,
    in samples at 16 kHz, and how sure it is, 0 to 1.

    What a person confirmed, and what a corpus knows of its own shots, stays as it is. Older automatic tags are
    replaced. A recording in which nothing was found gets no line, since an empty one says that it holds no shot.
    """
    from tqdm import tqdm

    p = params.load("audio", "tags")
    listed = _catalogue(path)
    before, bad = listed.read()
    todo = {key: file for key, file in listed.recordings.items() if tags.state(before.get(key)) != "confirmed"}
    found, failed = {}, []
    searched = processes.in_order(_find, todo.items(), p.audio.sr, p.tags.model_dump(), workers=2)
    for key, shots, fault in tqdm(searched, total=len(todo), desc="tag", unit="recording"):
        failed += [fault] if fault else []
        found |= {} if fault else {key: shots}
    # A person may have saved meanwhile.
    now, _ = listed.read()
    new = {key: shots for key, shots in found.items() if tags.state(now.get(key)) != "confirmed"}
    files = listed.write({key: shots or None for key, shots in new.items() if shots or key in now})
    count = sum(map(len, new.values()))
    where = ", ".join(map(str, files)) or "no file"
    print(f"{count} shots in {sum(map(bool, new.values()))} of {len(new)} recordings, written to {where}")
    if len(listed.recordings) > len(new) + len(failed):
        print(
            f"{len(listed.recordings) - len(new) - len(failed)} recordings were confirmed before and stay as they are"
        )
    _print_names("lines of tag files are no use", bad)
    _print_names("recordings without any onset found", [key for key, shots in new.items() if not shots])
    _print_names("recordings cannot be read", failed)
    raise typer.Exit(1 if failed else 0)


@app.command()
def tag_report() -> None:
    """Measure automatic onsets: precision, recall and F1 beside onsets drawn at random. Writes reports/tagging.json.

    On simulated recordings made for this alone, by firing pattern and distance, and on those recordings below
    data/raw that data/tags/blind tags. An onset is right where it lies within 15 ms of a shot of a burst (shots
    closer than 250 ms), or 50 ms of another shot, one onset a shot.
    """
    from tqdm import tqdm

    from gunshot.studies import onsets as onset_study

    p = params.load("audio", "simulate", "tags")
    options, workers, raw = p.tags.model_dump(), p.simulate.workers, pipeline.raw()
    shape = {"duration_s": p.simulate.duration_s, "distance_m": p.simulate.distance_m}
    made = onset_study.simulated(sr=p.audio.sr, options=options, workers=workers, **shape)
    total = onset_study.BANDS * onset_study.PER_BAND
    made = list(tqdm(made, total=total, desc="simulated", unit="recording"))
    real, blind = [], sorted((pipeline.by_hand() / "blind").glob("*.csv"))
    if blind and any(raw.glob("*/recordings.csv")):
        recordings = tables.recordings(raw)
        tagged, bad, waiting = tags.gather([], blind, recordings)
        _print_names("lines of blind tags are no use", [f"{r['file']}: {r['value']}: {r['rule']}" for r in bad])
        _print_names("corpora of blind tags are not in data/raw", [f"{c} ({n} lines)" for c, n in waiting.items()])
        found = onset_study.real(recordings, tagged, raw, sr=p.audio.sr, options=options, workers=workers)
        real = list(tqdm(found, desc="real", unit="recording"))
    report = onset_study.report(made, real)
    out = pipeline.output("evaluate").parent / "tagging.json"
    tables.write_json(out, report)
    made = report["simulated"]
    for name, row in {"simulated bursts": made, "all simulated": made["all"], "real": report["real"]}.items():
        if row is None:
            print(f"{name}: no recording of data/tags/blind is in data/raw")
        else:
            shown = "  ".join(f"{key} {row[key]:.3f}" for key in ("precision", "recall", "f1"))
            print(f"{name}: {shown}  at random f1 {row['control']['f1']:.3f}  ({row['shots']} shots)")
    print(f"see {out}")


@import_.command("tags")
def import_tags(
    files: Annotated[
        list[Path], typer.Argument(exists=True, dir_okay=False, help="CSV tag files, label tracks, exported JSON.")
    ],
    recordings: RecordingsOption = None,
) -> None:
    """Take tags over from Audacity (.txt), Label Studio (.json) or a tag file (.csv).

    A label track belongs to the recording whose path its own path ends in: gun/rifle/3.wav.txt or 3.txt. Audacity's
    point and region labels and Label Studio's regions give the tag by their start; labels that speak neither of a
    shot nor of a gun are left out and listed.

    Label Studio's annotations are confirmed tags, its predictions and labels such as shot@0.93 automatic ones, which
    never replace confirmed tags. Where one line is bad nothing is written.
    """
    sr = params.load("audio").audio.sr
    listed = _catalogue(recordings)
    known = labeltracks.Recordings(listed.recordings)
    found: dict[str, list[tags.Tag]] = {}
    other: list[str] = []
    for file in files:
        read, left = _read_any(file, sr)
        other += left
        for name, placed in read.items():
            key = known.find(name)
            if key in found:
                raise ValueError(f"{file}: {key} is tagged twice by these files; leave one out")
            _check_inside(file, key, listed.recordings[key], placed, sr)
            found[key] = placed
    before, _ = listed.read()
    kept = [
        key
        for key, placed in found.items()
        if tags.state(placed) == "automatic" and tags.state(before.get(key)) == "confirmed"
    ]
    new = {key: placed for key, placed in found.items() if key not in kept}
    written = listed.write(new)
    replaced = sum(key in before and before[key] != new[key] for key in new)
    where = ", ".join(map(str, written)) or "no file"
    print(f"{sum(map(len, new.values()))} tags of {len(new)} recordings in {where}; {replaced} had others before")
    _print_names("recordings are confirmed, and these automatic tags do not replace that", kept)
    _print_names("labels that speak of no shot", sorted(set(other)))


def _read_any(file: Path, sr: int) -> tuple[dict[str, list[tags.Tag]], list[str]]:
    """Return a file's tags by the path of the recording that it means, and labels that speak of no shot."""
    match file.suffix.lower():
        case ".csv":
            return catalogue.read_file(file), []
        case ".txt":
            found, other = labeltracks.from_audacity(_text(file), sr=sr, name=str(file))
            return {file.with_suffix("").as_posix(): found}, other
        case ".json":
            found, other, silent = labeltracks.from_label_studio(_text(file), sr=sr, name=str(file))
            _print_names("tasks without annotation or prediction", silent)
            return found, other
    raise ValueError(f"{file}: suffix={file.suffix!r} must be .csv (tag file), .txt (Audacity) or .json (Label Studio)")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{file}: must be text in UTF-8") from None


def _check_inside(file: Path, key: str, recording: Path, placed: list[tags.Tag], sr: int) -> None:
    n = round(audio.header(recording)[1] * sr)
    if late := [tag.start for tag in placed if tag.start >= n]:
        raise ValueError(f"{file}: {key}: tag {late[0]}: a tag must lie in the recording, 0 to {n - 1}")


@export.command("tags")
def export_tags(
    out: Annotated[Path, typer.Argument(help="audacity: a folder; label-studio: a .json file.")],
    format: Annotated[Format, typer.Option(help="Whose format.")] = Format.audacity,
    recordings: RecordingsOption = None,
) -> None:
    """Write tags for Audacity or Label Studio.

    audacity: OUT/RECORDING.txt, a label track a recording, to be opened by File > Import > Labels; an automatic tag
    is labelled shot@CONFIDENCE. label-studio: one JSON of tasks; confirmed tags are annotations, automatic ones
    predictions with their score, and the audio is found where LOCAL_FILES_DOCUMENT_ROOT is the recordings' folder.

    `gunshot import tags` reads both again.
    """
    sr = params.load("audio").audio.sr
    listed = _catalogue(recordings)
    tagged, bad = listed.read()
    shown = {key: tagged[key] for key in listed.recordings if key in tagged}
    if format == Format.audacity:
        for key, placed in shown.items():
            with atomic(out / f"{key}.txt") as part:
                part.write_text(labeltracks.audacity(placed, sr=sr), encoding="utf-8")
    elif out.suffix != ".json":
        raise ValueError(f"OUT={out} must end in .json")
    else:
        tables.write_json(out, labeltracks.label_studio(shown, sr=sr))
    print(f"{sum(map(len, shown.values()))} tags of {len(shown)} recordings in {out}")
    untagged = [key for key in listed.recordings if key not in tagged]
    _print_names("recordings have no tags and are left out", untagged)
    _print_names("lines of tag files are no use", bad)
    if not listed.imported:
        gone = sorted(tagged.keys() - listed.recordings.keys())
        _print_names("lines whose recording is not there are left out", gone)
