"""Tags in files of any kind: tag files, label tracks of Audacity, JSON of Label Studio."""

import codecs
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from gunshot import tags
from gunshot.base import audio
from gunshot.tags import catalogue, labeltracks


class Read(NamedTuple):
    """A file's tags by the path of the recording that it means, labels that mean no shot, what says nothing of any."""

    tags: dict[str, list[tags.Tag]]
    other: list[str]
    silent: list[str]


def read(file: Path, *, sr: int, labels: Collection[str] = labeltracks.SHOTS) -> Read:
    """Return what a file holds; ValueError where it is of another kind, or a line of it is bad.

    In other tools' formats `labels` mean a shot, see `labeltracks.means_shot`.
    """
    options = {"sr": sr, "name": str(file), "labels": labels}
    match file.suffix.lower():
        case ".csv":
            return Read(catalogue.read_file(file), [], [])
        case ".txt":
            placed, other = labeltracks.from_audacity(_text(file), **options)
            name = file.with_suffix("").as_posix()
            return Read({}, other, [name]) if placed is None else Read({name: placed}, other, [])
        case ".json":
            return Read(*labeltracks.from_label_studio(_text(file), **options))
    raise ValueError(f"{file}: suffix={file.suffix!r} must be .csv (tag file), .txt (Audacity) or .json (Label Studio)")


def _text(file: Path) -> str:
    content = file.read_bytes()
    try:
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # as editors on Windows save Unicode
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{file}: must be text in UTF-8, or in UTF-16 with its mark") from None


def gather(
    files: list[Path], recordings: dict[str, Path], *, sr: int, labels: Collection[str] = labeltracks.SHOTS
) -> Read:
    """Return the tags of several files by the recordings' keys; `labels` as for `read`.

    Raises
    ------
    ValueError
        Two files tag one recording, a tag lies outside its recording, or as for `read`.
    """
    known, whole = labeltracks.Recordings(recordings), Read({}, [], [])
    for file in files:
        part = read(file, sr=sr, labels=labels)
        whole.other.extend(part.other)
        whole.silent.extend(part.silent)
        for name, placed in part.tags.items():
            key = known.find(name)
            if key in whole.tags:
                raise ValueError(f"{file}: {key} is tagged twice by these files; leave one out")
            _check_inside(file, key, recordings[key], placed, sr)
            whole.tags[key] = placed
    return whole


def _check_inside(file: Path, key: str, recording: Path, placed: list[tags.Tag], sr: int) -> None:
    n = round(audio.header(recording)[1] * sr)
    if late := [tag.start for tag in placed if tag.start >= n]:
        raise ValueError(f"{file}: {key}: tag {late[0]}: a tag must lie in the recording, 0 to {n - 1}")
