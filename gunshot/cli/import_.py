"""gunshot import: recordings into data/raw, in the layouts in which they come, and tags into data/tags."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from gunshot.base.files import is_escaped, shown
from gunshot.cli import tracking
from gunshot.cli.app import import_
from gunshot.cli.options import RecordingsOption, counted, print_names

PathArgument = Annotated[
    Path, typer.Argument(exists=True, help="The folder that holds them, or an archive of it: .zip, .tar, .tar.gz ...")
]
DownloadedArgument = Annotated[
    Path | None, typer.Argument(exists=True, help="The folder that holds them, or an archive of it; or --download.")
]
DownloadOption = Annotated[
    bool, typer.Option("--download", help="Fetch the data set, in place of PATH; goes on where it was stopped.")
]
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
    """A tree with gun/ and env/, any audio that libsndfile or FFmpeg reads, at any rate.

    A file's folder is its label. A manifest.csv in the tree or beside it (path, recording_group; label, source,
    upstream, licence, class) says more.

    What cannot be used is listed with its reason in rejected.csv. Run again, it goes on where it was stopped and
    leaves what is there as it is. DVC then tracks the corpus; the next `dvc repro` trains on it.
    """
    _import("folder", path, name)


@import_.command()
def urbansound8k(
    path: DownloadedArgument = None,
    name: NameOption = "",
    classes: ClassesOption = None,
    download: DownloadOption = False,
) -> None:
    """UrbanSound8K's own folders, audio/ and metadata/.

    gun_shot is gun, the other nine classes env. Groups: the Freesound recording (fsID). Licence: CC BY-NC 3.0.
    --download takes 6.0 GB from Zenodo.
    """
    _import("urbansound8k", path, name, classes, download=download)


@import_.command()
def esc50(
    path: DownloadedArgument = None,
    name: NameOption = "",
    classes: ClassesOption = None,
    download: DownloadOption = False,
) -> None:
    """ESC-50's own folders, audio/ and meta/; ESC-10 is a part of it.

    All 50 classes are env; fireworks, door_wood_knock, clapping and thunderstorm are hard negatives. Groups: the
    Freesound recording (src_file). Licence: CC BY 3.0 for ESC-10, CC BY-NC 3.0 for the rest. --download takes 0.65 GB
    from GitHub.
    """
    _import("esc50", path, name, classes, download=download)


@import_.command()
def fsd50k(
    path: DownloadedArgument = None,
    name: NameOption = "",
    classes: ClassesOption = None,
    download: DownloadOption = False,
) -> None:
    """FSD50K's own folders, FSD50K.ground_truth/, FSD50K.dev_audio/, FSD50K.eval_audio/, FSD50K.metadata/.

    Gunshot_and_gunfire is gun, a mere Explosion or Boom is left out, all else env. Groups: the Freesound recording (the
    file's name). Licence: each clip's own, from FSD50K.metadata. dev or eval may be missing. --download takes 24.7 GB
    from Zenodo.
    """
    _import("fsd50k", path, name, classes, download=download)


@import_.command("kaggle-gunshots")
def kaggle_gunshots(
    path: DownloadedArgument = None, name: NameOption = "kaggle-gunshots", download: DownloadOption = False
) -> None:
    """The Kaggle gunshot audio dataset: a folder a weapon, files such as "3 (20).wav".

    All are gun. Groups: the weapon, since no name says which cuts come from one video. The licence is noted as unknown:
    look at the data set's page. --download takes it from Kaggle (kagglehub), whose own cache keeps a copy.
    """
    _import("kaggle-gunshots", path, name, download=download)


@import_.command()
def freefirearm(
    path: DownloadedArgument = None, name: NameOption = "freefirearm", download: DownloadOption = False
) -> None:
    """The Free Firearm Sound Library: a folder a weapon, with its takes.

    All are gun. Groups: the weapon, recorded in one session. Licence: CC0-1.0. --download takes 0.2 GB from
    OpenGameArt.
    """
    _import("freefirearm", path, name, download=download)


@import_.command()
def public(
    download: Annotated[
        bool, typer.Option("--download", help="Fetch and import them. Without it: print what there is, and stop.")
    ] = False,
    licence: Annotated[
        list[str] | None,
        typer.Option(
            help="Only recordings under this licence, as recordings.csv names it; repeat for each. `commercial` stands "
            "for promotion.licences in params.yaml, under which a model may be sold. Default: all."
        ),
    ] = None,
) -> None:
    """All public data sets that the importers know, fetched and imported one after another.

    The Free Firearm Sound Library, ESC-50, UrbanSound8K, FSD50K, and the Kaggle gunshot audio dataset where a token of
    Kaggle's is configured: 32 GB to fetch for 14 GB of recordings, of which DVC keeps a copy. The network and the
    free disk are looked at first; then each file comes at a fixed version, is checked by its hash, and goes on where it
    was cut. Stopped at any time, the same command goes on.

    Archives and what they unpack to lie in data/downloads/ for as long as they are needed. What stays is data/raw/NAME/
    with each recording's licence in recordings.csv, and credits/ with what names the authors.
    """
    from gunshot.cli import downloads

    downloads.public(licence, fetch=download)


@import_.command("field")
def import_field() -> None:
    """What `gunshot annotate data/field` confirmed, from data/field/DEVICE/.

    A recording with shots becomes gun, one without env, its device is the recording group, and its tags come along.
    Then the original is deleted. What nobody has confirmed stays, and nothing trains on it. What `gunshot hub collect`
    filed has a person's label, and takes the place of what was imported of it before another decision.
    """
    from gunshot.base import pipeline, tables
    from gunshot.corpora import field
    from gunshot.field import queue

    root = pipeline.field()
    _, states = queue.arrived(root, pipeline.raw(), pipeline.by_hand())
    confirmed = [key for key, state in states.items() if state == "confirmed"]
    waiting = len(states) - len(confirmed)
    if not confirmed:
        print(
            f"{root}: none of {counted(waiting, 'recording')} is confirmed; look at them with `gunshot annotate {root}`"
        )
        return
    out = pipeline.raw() / "field"
    tracking.ready(out)
    gone = field.withdraw(field.scan(root)[0], out, pipeline.by_hand())
    print_names(
        "recording was decided otherwise since, and is taken out",
        "recordings were decided otherwise since, and are taken out",
        gone,
    )
    sources = convert("field", root, out)
    there = set(tables.read(out / "recordings.csv", tables.RECORDING)["path"])
    done = [source.name for source in sources if f"{out.name}/{source.path}" in there]
    kept = queue.remove(root, done)
    wait = counted(waiting, "recording there waits", "recordings there wait")
    print(f"{counted(len(done) - len(kept), 'original')} deleted from {root}; {wait} to be confirmed")
    print_names(
        "original is imported, but you may not delete it; whoever may must",
        "originals are imported, but you may not delete them; whoever may must",
        list(kept),
    )


@import_.command("tags")
def import_tags(
    files: Annotated[
        list[Path], typer.Argument(exists=True, dir_okay=False, help="CSV tag files, label tracks, exported JSON.")
    ],
    recordings: RecordingsOption = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="A label that means a shot, in place of the ones below; repeat for each."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Also where a person confirmed other tags.")] = False,
) -> None:
    """Take tags over from Audacity (.txt), Label Studio (.json) or a tag file (.csv).

    A label track belongs to the recording whose path its own path ends in: gun/rifle/3.wav.txt or 3.txt. Audacity's
    point and region labels and Label Studio's regions give the tag by their start.

    A label means a shot where it is, whatever its case: shot(s), gunshot(s), gun shot(s), gun, gunfire, gun fire,
    "gunshot, gunfire", or empty; a number or a calibre may follow ("shot 3", "gunshot 9mm"). All else (no shot, nail
    gun, a choice) is listed and changes nothing. A track without labels, or an annotation without results, says that
    there is no shot.

    Label Studio's annotations are confirmed tags, its predictions and labels such as shot@0.93 automatic ones, which
    never replace confirmed tags. Confirmed ones do so with --replace. Where one line is bad nothing is written.
    """
    from gunshot import tags
    from gunshot.base import params, pipeline
    from gunshot.tags import catalogue, formats, labeltracks

    raw = pipeline.raw()
    listed = catalogue.listed(recordings or raw, raw, pipeline.by_hand())
    options = {"sr": params.load("audio").audio.sr, "labels": label or labeltracks.SHOTS}
    given, other, silent = formats.gather(files, listed.recordings, **options)
    print_names(
        "label track or task says nothing of shots and changes nothing",
        "label tracks or tasks say nothing of shots and change nothing",
        silent,
    )
    before, _ = listed.read()
    differ = [key for key in given if tags.state(before.get(key)) == "confirmed" and before[key] != given[key]]
    weaker = [key for key in differ if tags.state(given[key]) == "automatic"]
    kept = [] if replace else [key for key in differ if key not in weaker]
    new = {key: placed for key, placed in given.items() if key not in {*weaker, *kept}}
    written = listed.write(new)
    replaced = sum(key in before and before[key] != new[key] for key in new)
    where = ", ".join(map(str, written)) or "no file"
    placed, heard = counted(sum(map(len, new.values())), "tag"), counted(len(new), "recording")
    print(f"{placed} of {heard} in {where}; {replaced} had others before")
    print_names(
        "recording is confirmed, and these automatic tags do not replace that",
        "recordings are confirmed, and these automatic tags do not replace that",
        weaker,
    )
    print_names(
        "recording was confirmed with other tags and stays; with --replace these take their place",
        "recordings were confirmed with other tags and stay; with --replace these take their place",
        kept,
    )
    print_names(
        "label means no shot and changes nothing; name those that do with --label",
        "labels mean no shot and change nothing; name those that do with --label",
        sorted(set(other)),
    )


def _import(layout: str, path: Path | None, name: str, classes: Path | None = None, *, download: bool = False) -> None:
    from gunshot import corpora
    from gunshot.base import pipeline
    from gunshot.cli import downloads
    from gunshot.corpora import archives

    if (path is None) != download:
        raise ValueError("give either the PATH of the recordings or --download")
    title = layout if download else archives.title(path)
    name = name or title
    if name != Path(name).name or name.startswith("."):
        raise ValueError(f"name={name!r} must be a folder's name, without a path or a leading dot")
    if any(map(is_escaped, name)):
        raise ValueError(f"name={shown(name)} must be text; choose another with --name")
    out = pipeline.raw() / name
    if out == pipeline.output("simulate"):
        raise ValueError(f"name={name!r} is that of the simulated corpus; choose another with --name")
    if download:
        downloads.one(layout, out, classes)
        return
    with archives.opened(path) as folder:
        convert(layout, corpora.locate(layout, folder), out, **({"classes": classes} if classes else {}))


def convert(
    layout: str,
    folder: Path,
    out: Path,
    *,
    licences: list[str] | None = None,
    credit: Callable[[], None] | None = None,
    **options,
) -> list:
    """Import a folder to `out`, hand it to DVC, and return the sources that were asked for.

    Only those under one of `licences` are, where these are given. `credit` writes beside the recordings.
    """
    from gunshot import corpora
    from gunshot.base import params, tables

    p = params.load("audio", "quality")
    tracking.ready(out)
    sources, rejected = corpora.layouts[layout](folder, **options)
    sources = sources if licences is None else _under(licences, sources, layout)
    tracked, refused = (out.with_name(f"{out.name}{suffix}") for suffix in (".dvc", ".rejected.csv"))
    try:
        summary = corpora.import_corpus(sources, rejected, out, out.parent, sr=p.audio.sr, **p.quality.model_dump())
    except tables.RejectedError as e:
        message = str(e)
        if not tracked.exists():  # a new corpus is taken back: the next `dvc repro` must neither see nor train on it
            (out / "rejected.csv").replace(refused)  # .dvcignore names it
            shutil.rmtree(out)
            message = message.replace(str(out / "rejected.csv"), str(refused))
        raise ValueError(f"{message}\nmend the files, or raise quality.max_rejected, and import again") from None
    refused.unlink(missing_ok=True)
    print(f"{out}: {summary}")
    if summary.rejected or summary.no_audio:
        print(f"what was rejected, and why: {out / 'rejected.csv'}")
    if credit:
        credit()
    if Path(".dvc").is_dir():
        tracking.track(out)
        ignore = out.parent / ".gitignore"
        print(f"tracked by DVC in {tracked}; `git add {tracked} {ignore}` keeps it, `dvc repro` trains on it")
    return sources


def _under(licences: list[str], sources: list, layout: str) -> list:
    """Return the sources under some licences, and print how many are not."""
    others = Counter(source.licence for source in sources if source.licence not in licences)
    for licence, count in sorted(others.items()):
        left = counted(count, f"recording of {layout} is", f"recordings of {layout} are")
        print(f"{left} left out, under {licence}")
    return [source for source in sources if source.licence in licences]
