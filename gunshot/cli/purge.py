"""gunshot purge: devices' recordings that nobody has confirmed, deleted after a time."""

import time
from typing import Annotated

import typer

from gunshot.cli.app import app


@app.command()
def purge(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be deleted, and delete nothing.")] = False,
) -> None:
    """Delete devices' recordings that nobody has confirmed and that are older than field.keep_days.

    Their age is that of their files, by the time of modification. Confirmed ones stay until they are imported.
    """
    from gunshot.base import params, pipeline
    from gunshot.field import queue

    keep = params.load("field").field.keep_days
    root = pipeline.field()
    if not root.is_dir() or not any(root.iterdir()):
        print(f"{root}: nothing there")
        return
    listed, states = queue.arrived(root, pipeline.raw(), pipeline.by_hand())
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
