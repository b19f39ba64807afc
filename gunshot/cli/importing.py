"""gunshot import: recordings into data/raw, in the layouts in which they come."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from gunshot import params, pipeline, tables
from gunshot.cli.app import import_

PathArgument = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The folder that holds them.")]
NameOption = Annotated[str, typer.Option(help="The corpus's name below data/raw. Default: the folder's name.")]


@import_.command()
def folder(path: PathArgument, name: NameOption = "") -> None:
    """A tree with gun/ and env/, any audio that libsndfile reads, at any rate.

    A file's folder is its label. A manifest.csv in the tree or beside it (path, recording_group; label, source,
    upstream, licence, class) says more.

    What cannot be used is listed with its reason in rejected.csv. Run again, it goes on where it was stopped and
    leaves what is there as it is. DVC then tracks the corpus; the next `dvc repro` trains on it.
    """
    _import("folder", path, name)


@import_.command()
def urbansound8k(path: PathArgument, name: NameOption = "") -> None:
    """UrbanSound8K's own folders, audio/ and metadata/."""
    _import("urbansound8k", path, name)


def _import(layout: str, path: Path, name: str) -> None:
    from gunshot import corpora

    p = params.load("audio", "quality")
    raw = pipeline.output("simulate").parent
    name = name or path.resolve().name
    if name != Path(name).name or name.startswith("."):
        raise ValueError(f"name={name!r} must be a folder's name, without a path or a leading dot")
    out = raw / name
    if out == pipeline.output("simulate"):
        raise ValueError(f"name={name!r} is that of the simulated corpus; choose another with --name")
    sources, rejected = corpora.layouts[layout](path)
    tracked = out.with_name(f"{out.name}.dvc")
    try:
        summary = corpora.import_corpus(sources, rejected, out, raw, sr=p.audio.sr, **p.quality.model_dump())
    except tables.RejectedError as e:
        if not tracked.exists():
            _withdraw(out)
        raise ValueError(f"{e}\nmend the files, or raise quality.max_rejected, and import again") from None
    print(f"{out}: {summary}")
    if summary.rejected:
        print(f"what was rejected, and why: {out / 'rejected.csv'}")
    if Path(".dvc").is_dir():
        subprocess.run([sys.executable, "-m", "dvc", "add", "--quiet", str(out)], check=True)
        print(
            f"tracked by DVC in {tracked}; `git add {tracked} {raw / '.gitignore'}` keeps it, `dvc repro` trains on it"
        )


def _withdraw(out: Path) -> None:
    """Remove a refused corpus but for the list of what was rejected: the next `dvc repro` must not train on it."""
    for path in out.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "rejected.csv":
            path.unlink()
