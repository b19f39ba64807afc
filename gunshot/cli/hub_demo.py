"""gunshot hub demo: a hub to look at, with three devices that hear a simulated street."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import hub


@hub.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Its hub's; made where it is not there.")] = Path("hub-demo"),
) -> None:
    """Start a broker, a hub, its console and three simulated devices on this machine; Ctrl-C ends them all.

    Prints the console's address and a login. Again and again the devices hear fireworks, a door and a gun, at the
    pace at which they sound. It needs Mosquitto, and the int8 model of `make`.
    """
    from gunshot.base import params, pipeline
    from gunshot.hub import demo as demos

    p = params.load("audio", "chunks", "context", "features", "detector", "firmware")
    with suppress(KeyboardInterrupt):
        demos.run(folder, pipeline.models()["int8"], p)
