"""gunshot hub audit: what persons did, and whether anybody altered it."""

import json
import sys
from typing import Annotated

import typer

from gunshot.cli.app import hub
from gunshot.cli.hub import FolderArgument
from gunshot.cli.options import counted

MOST = 20  # faults that are printed


@hub.command()
def audit(
    folder: FolderArgument,
    check: Annotated[
        bool, typer.Option("--check", help="Look for what was altered; exit status 1 where it was.")
    ] = False,
    known: Annotated[
        str | None, typer.Option(metavar="NUMBER:HASH", help="With --check: what an earlier check printed.")
    ] = None,
) -> None:
    """List what persons did, newest last: an object a line.

    Logins, decisions, orders, who heard what an order brought, enrolments, revocations, roll-outs, who was let in.

    Each has the hash of the one before, so that none can be altered, removed or moved alone. Who can write the database
    can write all of them anew, or cut off the last ones: keep what --check prints elsewhere, and give it to the next.
    """
    from gunshot.hub import audit as chain
    from gunshot.hub import database
    from gunshot.hub import folder as folders

    if known is not None and not check:
        raise typer.BadParameter(f"--known={known} needs --check beside it: nothing is compared without")
    with database.opened(folders.load(folder).database) as engine:
        if not check:
            with engine.connect() as connection:
                for entry in chain.listing(connection):
                    print(json.dumps(entry, ensure_ascii=False))
            return
        faults, last = chain.check(engine, known=_known(known))
    for fault in faults[:MOST]:
        print(f"error: {fault}", file=sys.stderr)
    if faults:
        if len(faults) > MOST:
            print(f"error: and {len(faults) - MOST} more", file=sys.stderr)
        raise typer.Exit(1)
    if last is None:
        print("no row yet")
    else:
        print(f"{counted(last.number, 'row is', 'rows are')} as they were written. Keep this elsewhere, for --known:")
        print(f"  {last.number}:{last.sha256}")


def _known(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    number, _, digest = text.partition(":")
    if not number.isdecimal() or not digest:
        raise typer.BadParameter(f"--known={text} must be NUMBER:HASH, as `gunshot hub audit --check` prints it")
    return int(number), digest
