"""gunshot hub console and gunshot hub person: the page on which cases are decided, and who may use it."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

import typer

from gunshot.cli.app import hub
from gunshot.cli.hub import FolderArgument
from gunshot.cli.options import show_log
from gunshot.hub.console.roles import Role


@hub.command()
def console(
    folder: FolderArgument,
    host: Annotated[
        str, typer.Option(help="The name or address by which browsers reach it. localhost: this machine alone.")
    ] = "localhost",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8443,
) -> None:
    """Serve the page on which persons see cases and decide them, beside `gunshot hub run`; Ctrl-C ends it.

    Prints its address. Browsers must trust FOLDER/authority/cert.pem; `gunshot hub person` lets a person in.
    """
    from gunshot.base import params
    from gunshot.hub.console import app

    show_log()
    p = params.load("audio", "firmware")
    with suppress(KeyboardInterrupt):
        app.serve(folder, host=host, port=port, sr=p.audio.sr, heartbeat_s=p.firmware.heartbeat_s)


@hub.command()
def person(
    folder: FolderArgument,
    name: Annotated[str, typer.Argument(help="Lower case letters, digits, dots and dashes.")],
    role: Annotated[
        Role | None, typer.Option(help="viewer: looks. reviewer: decides too. admin: may do all that there is.")
    ] = None,
    disable: Annotated[bool, typer.Option("--disable", help="Shut the person out at once instead.")] = False,
) -> None:
    """Let a person use the console; it prints the password, once.

    One who is there gets this role, a new password, and has to log in again.
    """
    from gunshot.hub import database
    from gunshot.hub import folder as folders
    from gunshot.hub.console import people

    if not (role or disable):
        raise typer.BadParameter("--role must say what the person may do: viewer, reviewer or admin")
    url, now = folders.load(folder).database, datetime.now(UTC)
    with database.opened(url) as engine, engine.begin() as connection:
        if disable:
            people.disable(connection, name, now=now)
        else:
            password = people.admit(connection, name, role, now=now)
    if disable:
        print(f"{name} is shut out; `gunshot hub person {folder} {name} --role ROLE` lets {name} in again")
    else:
        print(f"{name} is a {role}. The password, which is kept nowhere:")
        print(f"  {password}")
