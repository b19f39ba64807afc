"""gunshot import field, gunshot purge: recordings that came back from devices."""

import time
from pathlib import Path
from typing import Annotated

import typer

from gunshot import tags
from gunshot.base import params, pipeline, tables
from gunshot.cli import import_ as importing
from gunshot.cli.app import app, import_
from gunshot.tags import catalogue


def _arrived() -> tuple[Path, catalogue.Catalogue, dict[str, str]]:
    """Return data/field, its recordings, and their states."""
    root = pipeline.field()
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; devices' recordings go to {root}/DEVICE/")
    listed = catalogue.listed(root, pipeline.raw(), pipeline.by_hand())
    found, _ = listed.read()
    return root, listed, {key: tags.state(found.get(key)) for key in listed.recordings}


@import_.command("field")
def import_field() -> None:
    """What `gunshot annotate data/field` confirmed, from data/field/DEVICE/.

    A recording with shots becomes gun, one without env, its device is the recording group, and its tags come along.
    Then the original is deleted. What nobody has confirmed stays, and nothing trains on it.
    """
    from gunshot.field import queue

    root, _, states = _arrived()
    confirmed = [key for key, state in states.items() if state == "confirmed"]
    waiting = len(states) - len(confirmed)
    if not confirmed:
        print(f"{root}: none of {waiting} recordings is confirmed; look at them with `gunshot annotate {root}`")
        return
    out = pipeline.raw() / "field"
    sources = importing.convert("field", root, out)
    there = set(tables.read(out / "recordings.csv", tables.RECORDING)["path"])
    done = [source.name for source in sources if f"{out.name}/{source.path}" in there]
    queue.remove(root, done)
    print(f"{len(done)} originals deleted from {root}; {waiting} recordings there wait to be confirmed")


@app.command()
def purge(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be deleted, and delete nothing.")] = False,
) -> None:
    """Delete devices' recordings that nobody has confirmed and that are older than field.keep_days.

    Their age is that of their files, by the time of modification. Confirmed ones stay until they are imported.
    """
    from gunshot.field import queue

    keep = params.load("field").field.keep_days
    root = pipeline.field()
    if not root.is_dir() or not any(root.iterdir()):
        print(f"{root}: nothing there")
        return
    root, listed, states = _arrived()
    old = queue.expired(listed.recordings, states, now=time.time(), keep_days=keep)
    if dry_run:
        for row in old.itertuples():
            print(f"{root / row.recording}  {row.age_days:.1f} days")
    else:
        queue.remove(root, old["recording"])
    verb = "would be deleted" if dry_run else "deleted"
    confirmed = sum(state == "confirmed" for state in states.values())
    left = len(states) - len(old) - confirmed
    print(f"{len(old)} recordings older than {keep:g} days {verb}; {left} younger ones stay", end="")
    print(f"; {confirmed} are confirmed: `gunshot import field`" if confirmed else "")
