"""gunshot hub site: where devices hang that hear the same shots, and what is needed before a person is woken."""

from typing import Annotated

import typer

from gunshot.cli.app import hub
from gunshot.cli.hub import FolderArgument
from gunshot.cli.options import counted


@hub.command()
def site(
    folder: FolderArgument,
    name: Annotated[str, typer.Argument(help="Its name: lower case letters, digits and dashes.")],
    devices_needed: Annotated[
        int, typer.Option(help="How many of its devices must hear a shot before a person is woken.", min=1)
    ],
    exercise: Annotated[
        bool | None,
        typer.Option("--exercise/--no-exercise", help="Whatever is heard from now on is a drill, or is not."),
    ] = None,
) -> None:
    """Make a site, or change it; `gunshot hub enrol --site` puts devices there.

    It holds for what is heard from now on: a case that was raised stays raised, and one that is no drill none.
    """
    from gunshot.hub import database, sites
    from gunshot.hub import folder as folders

    url = folders.load(folder).database
    with database.opened(url) as engine, engine.begin() as connection:
        sites.put(connection, name, devices_needed=devices_needed, exercise=exercise)
    print(f"{name}: {counted(devices_needed, 'device')} must hear a shot before a person is woken")
