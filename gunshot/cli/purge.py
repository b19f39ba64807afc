"""gunshot purge: what devices sent and nobody has confirmed, deleted after a time."""

import time
from typing import Annotated

import typer

from gunshot.base.files import shown
from gunshot.cli.app import app
from gunshot.cli.options import SHOWN, counted, print_names


@app.command()
def purge(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be deleted, and delete nothing.")] = False,
) -> None:
    """Delete what devices sent, nobody has confirmed, and is older than field.keep_days.

    That is every file in data/field, whatever it is called, audio or not; each is listed. Its age is by the time of
    modification. Confirmed ones stay until they are imported. No link is followed. A file that cannot be deleted keeps
    no other; it is named, and the command fails.
    """
    from gunshot import tags
    from gunshot.base import params, pipeline
    from gunshot.field import queue
    from gunshot.tags import catalogue

    keep = params.load("field").field.keep_days
    root = pipeline.field()
    if not root.is_dir() or not any(root.iterdir()):
        print(f"{root}: nothing there")
        return
    files, other = queue.files(root)
    placed = catalogue.read_file(root / "tags.csv")
    states = {key: tags.state(placed.get(key)) for key in files}
    old = queue.expired(files, states, now=time.time(), keep_days=keep)
    kept = {} if dry_run else queue.remove(root, old["recording"], expected=placed)
    for row in old[~old["recording"].isin(kept)].itertuples():
        print(f"{shown(root / row.recording)}  {row.age_days:.1f} days")
    verb = "would be deleted" if dry_run else "deleted"
    confirmed = sum(state == "confirmed" for state in states.values())
    left = len(states) - len(old) - confirmed
    gone, stay = counted(len(old) - len(kept), "file"), counted(left, "younger one stays", "younger ones stay")
    print(f"{gone} older than {keep:g} days {verb}; {stay}", end="")
    print(f"; {counted(confirmed, 'is', 'are')} confirmed: `gunshot import field`" if confirmed else "")
    print_names(
        "link to a folder, pipe or device is left alone", "links to folders, pipes or devices are left alone", other
    )
    if kept:
        first = "; ".join(f"{shown(root / key)}: {error.strerror}" for key, error in list(kept.items())[:SHOWN])
        still = counted(len(kept), "file is", "files are")
        raise ValueError(f"{still} too old and still there; whoever may delete there must do so: {first}")
