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

ClassesOption = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="A class map of your own, YAML: gun, env or out by class. Default: gunshot/corpora/classes/LAYOUT.yaml.",
    ),
]


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
def urbansound8k(path: PathArgument, name: NameOption = "", classes: ClassesOption = None) -> None:
    """UrbanSound8K's own folders, audio/ and metadata/.

    gun_shot is gun, the other nine classes env. Groups: the Freesound recording (fsID). Licence: CC BY-NC 3.0.
    """
    _import("urbansound8k", path, name, classes)


@import_.command()
def esc50(path: PathArgument, name: NameOption = "", classes: ClassesOption = None) -> None:
    """ESC-50's own folders, audio/ and meta/; ESC-10 is a part of it.

    All 50 classes are env; fireworks, door_wood_knock, clapping and thunderstorm are hard negatives. Groups: the
    Freesound recording (src_file). Licence: CC BY-NC 3.0.
    """
    _import("esc50", path, name, classes)


@import_.command("kaggle-gunshots")
def kaggle_gunshots(path: PathArgument, name: NameOption = "kaggle-gunshots") -> None:
    """The Kaggle gunshot audio dataset: a folder a weapon, files such as "3 (20).wav".

    All are gun. Groups: weapon and video, the number before the parenthesis; a name without one puts its file into a
    group of the whole weapon. The licence is noted as unknown: look at the data set's page.
    """
    _import("kaggle-gunshots", path, name)


@import_.command()
def freefirearm(path: PathArgument, name: NameOption = "freefirearm") -> None:
    """The Free Firearm Sound Library: a folder a weapon, with its takes.

    All are gun. Groups: the weapon, recorded in one session. Licence: CC0-1.0.
    """
    _import("freefirearm", path, name)


def _import(layout: str, path: Path, name: str, classes: Path | None = None) -> None:
    from gunshot import corpora

    p = params.load("audio", "quality")
    raw = pipeline.output("simulate").parent
    name = name or path.resolve().name
    if name != Path(name).name or name.startswith("."):
        raise ValueError(f"name={name!r} must be a folder's name, without a path or a leading dot")
    out = raw / name
    if out == pipeline.output("simulate"):
        raise ValueError(f"name={name!r} is that of the simulated corpus; choose another with --name")
    sources, rejected = corpora.layouts[layout](path, **({"classes": classes} if classes else {}))
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
