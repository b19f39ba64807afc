"""gunshot hub rollout start, status, stop and back: a promoted model to the devices of a hub."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import rollout
from gunshot.cli.hub import FolderArgument
from gunshot.cli.options import Format, counted

PersonOption = Annotated[str, typer.Option(help="Who wants it; it is kept.")]


@rollout.command()
def start(
    folder: FolderArgument,
    version: Annotated[str, typer.Argument(help="As `gunshot export image` wrote it, or the path of an image.")],
    person: PersonOption,
    reason: Annotated[str, typer.Option(help="Why; likewise.")],
    canary: Annotated[str | None, typer.Option(help="The first device. Default: one that is there.")] = None,
) -> None:
    """Roll out an image: to the canary, then to the shares of `rollout:` in hub.yaml, as long as the devices are well.

    `gunshot hub run` does it. It takes the image back from all devices where one of them is silent, has more incidents
    than it may, or went back by itself; after the last step they keep it for good. Devices take images that an operator
    signed whose key they got when they were enrolled, no older one than they keep, and none for other hardware.
    """
    from gunshot.hub import database, rollouts
    from gunshot.hub import folder as folders
    from gunshot.signing import keys, record

    settings, key = folders.load(folder), folders.order_key(folder)
    image = Path(version) if Path(version).is_file() else Path("models/promoted") / f"{version}.image"
    manifest = image.with_name(f"{image.name}.manifest")
    for file in (image, manifest):
        if not file.is_file():
            raise ValueError(f"{file}: no such file; `gunshot export image` makes it of the model in production")
    if not key.exists():
        raise ValueError(f"{key}: no such file; who has it starts roll-outs")
    content = rollouts.Image(image.read_bytes(), manifest.read_bytes())
    with database.opened(settings.database) as engine, engine.begin() as connection:
        rollouts.start(
            connection, keys.load(key), content, keys.trusted(record.KEYS).values(), settings.rollout,
            canary=canary, person=person, reason=reason, now=datetime.now(UTC),
        )  # fmt: skip
    with database.opened(settings.database) as engine, engine.connect() as connection:
        _print(connection)


@rollout.command()
def status(
    folder: FolderArgument, format: Annotated[Format, typer.Option(help="json: one object.")] = Format.text
) -> None:
    """Say how far the last roll-out is, and each device of it."""
    from gunshot.hub import database
    from gunshot.hub import folder as folders

    with database.opened(folders.load(folder).database) as engine, engine.connect() as connection:
        _print(connection, format)


@rollout.command()
def stop(folder: FolderArgument, person: PersonOption) -> None:
    """Offer it to no more devices; those that have it go on with it, on trial."""
    _end(folder, "stopped", person)


@rollout.command()
def back(folder: FolderArgument, person: PersonOption) -> None:
    """Have all devices of it run the image of before. Once it is complete, a newer image alone takes its place."""
    _end(folder, "back", person)


def _end(folder: Path, state: str, person: str) -> None:
    from gunshot.hub import database, rollouts
    from gunshot.hub import folder as folders

    with database.opened(folders.load(folder).database) as engine, engine.begin() as connection:
        rollouts.end(connection, state, person=person, now=datetime.now(UTC))
        _print(connection)


def _print(connection, format: Format = Format.text) -> None:
    from gunshot.hub import rollouts

    row = rollouts.newest(connection)
    if row is None:
        return print("null" if format == Format.json else "nothing was rolled out yet")
    rows = rollouts.devices(connection, row.id)
    if format == Format.json:
        said = {name: getattr(row, name) for name in ("id", "version", "number", "state", "note", "step", "steps")}
        devices = [{name: getattr(one, name) for name in ("device", "step", "stage", "note")} for one in rows]
        return print(json.dumps(said | {"person": row.person, "reason": row.reason, "devices": devices}))
    why = f": {row.note}" if row.note else ""
    print(f"{row.version}, number {row.number}, {row.state} at step {row.step + 1} of {row.steps}{why}")
    for one in rows:
        stage = one.stage or ("offered" if one.sent_at else "not yet")
        print(f"  {one.device:<12}  step {one.step + 1}  {stage}{': ' + one.note if one.note else ''}")
    return print(f"{counted(len(rows), 'device')}, by {row.person}: {row.reason}")
