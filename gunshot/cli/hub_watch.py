"""gunshot hub watch: whether a hub is alive, from another machine."""

from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import hub


@hub.command()
def watch(
    folder: Annotated[Path, typer.Argument(help="The watch's, which `gunshot hub init` wrote to HUB/watch.")],
) -> None:
    """Look once whether hub and broker are alive, from another machine; exit with an error where they are not.

    Then it calls the addresses of its watch.yaml, each once, and once more when the hub is alive again. A systemd timer
    runs it: DOC/systemd has one.
    """
    from gunshot.hub import watch as watches

    watches.watch(folder)
    print("the hub is alive")
