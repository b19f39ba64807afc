"""Options that several commands have, and how they print rows and names."""

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer

from gunshot.base.files import shown

SHOWN = 10  # names that are printed of many


class Format(StrEnum):
    """How results are printed: for people, or for machines."""

    text = "text"
    json = "json"


def given(text: str) -> Path:
    """Return a path; an empty text, as of a variable that is not set, is refused: Path takes it for this folder."""
    if not text:
        raise typer.BadParameter('"" must be the name of a folder or file; this folder is .')
    return Path(text)


ModelOption = Annotated[
    str,
    typer.Option(
        help="int8, float or forest, as dvc.yaml names them, or a .tflite, .keras or .joblib file with its report.json "
        "beside it."
    ),
]
ThresholdOption = Annotated[
    float | None,
    typer.Option(help="Of the score that opens an incident. Default: the operating point on validation streams."),
]
SiteOption = Annotated[
    Path | None,
    typer.Option(parser=given, help="A site's profile, of `gunshot calibrate`: its threshold decides.", metavar="FILE"),
]
OutOption = Annotated[Path | None, typer.Option(help="Default: a .json of the command's name beside the reports.")]
RecordingsOption = Annotated[
    Path | None,
    typer.Option(help="The folder of the recordings that the tags belong to. Default: data/raw, all imported corpora."),
]
CandidateArgument = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The candidate's folder.")]
ByOption = Annotated[str, typer.Option("--by", help="Who decides.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, in one line.")]
OverruleOption = Annotated[
    list[str] | None, typer.Option(help="GATE=TEXT: why a gate that failed may be; repeat for each.")
]


def show_log() -> None:
    """Print what the library says while it works, with the time of day, as errors are printed."""
    import logging

    logging.basicConfig(format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("gunshot").setLevel(logging.INFO)


def report(name: str) -> Path:
    """Return the path of a file or folder beside the reports that the pipeline makes."""
    from gunshot.base import pipeline

    return pipeline.output("evaluate").parent / name


def known_as(model: Path) -> str | None:
    """Return the name that dvc.yaml has for a model's file; None where it has none."""
    from gunshot.base import pipeline

    names = (name for name, path in pipeline.models().items() if path.resolve() == model.resolve())
    return next(names, None)


def print_row(row: dict, format: Format) -> None:
    """Print the values of a row on a line, numbers with three decimals, or the row as JSON."""
    cells = (value if isinstance(value, str) else f"{value:.3f}" for value in row.values())
    print(json.dumps(row, ensure_ascii=False) if format == Format.json else "  ".join(cells))


def counted(n: int, one: str, many: str = "") -> str:
    """Return a number and what it counts: ``1 file``, ``2 files``; `many` where it is not `one` with an s."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def print_names(one: str, many: str, names: Sequence[str], *, file: TextIO | None = None) -> None:
    """Print how many names there are, if any, and the first of them: ``1 file is no audio: a.txt``."""
    if names:
        more = f" ... and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        print(f"{counted(len(names), one, many)}: {', '.join(map(shown, names[:SHOWN]))}{more}", file=file)
