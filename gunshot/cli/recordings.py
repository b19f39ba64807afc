"""The recordings that a command was given: files, folders of them, standard input."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gunshot.base.files import shown
from gunshot.cli.options import print_names


def listed(files: list[Path]) -> Iterator[tuple[Path, Path]]:
    """Yield the name and the file of each recording; of folders what is sound in them, and what is not is told."""
    for file in files:
        if str(file) == "-":
            with tempfile.NamedTemporaryFile(prefix="gunshot.") as copy:  # decoders go back and forth in it
                shutil.copyfileobj(sys.stdin.buffer, copy)
                copy.flush()
                yield file, Path(copy.name)
        elif file.is_dir():
            from gunshot.corpora import sources

            names, refused = sources.walk(file, ".", anywhere=True)
            names, beside = sources.without_sidecars(names, str, file.joinpath)
            for row in refused:
                print(f"warning: {shown(file / row['file'])}: {row['value']}: {row['rule']}", file=sys.stderr)
            names_beside = [row["file"] for row in beside]
            print_names("file is no audio", "files are no audio", names_beside, file=sys.stderr)
            if not names:
                print(f"warning: {shown(file)}: no recording in it", file=sys.stderr)
            yield from ((file / name, file / name) for name in names)
        else:
            yield file, file
