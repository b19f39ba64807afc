"""gunshot hub order, orders, overruler, purge: sound and video that people ask devices for."""

import json
import re
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import hub
from gunshot.cli.options import Format, counted

FolderArgument = Annotated[Path, typer.Argument(help="The hub's folder.")]
LOOK_S = 0.2  # from one look at an order to the next
UNSENT_S = 15.0  # after which it is no longer waited for a hub to send it


@hub.command()
def order(
    folder: FolderArgument,
    device: Annotated[str, typer.Argument(help="Its name.")],
    reason: Annotated[str, typer.Option(help="Why; the device is told, and it is kept.")],
    person: Annotated[str, typer.Option(help="Who asks; likewise.")],
    incident: Annotated[str | None, typer.Option(help="SESSION/N: the sound of that incident.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Sound from this time on: 2026-03-01T12:00:00Z.")] = None,
    live: Annotated[float | None, typer.Option(help="Sound from now on, for so many seconds.")] = None,
    video: Annotated[float | None, typer.Option(help="Its camera's video from now on, for so many seconds.")] = None,
    seconds: Annotated[float | None, typer.Option(help="How long, with --from or --incident.")] = None,
    overrule: Annotated[
        list[Path], typer.Option(help="NAME.pem of a person who wants it although people speak; two, with --incident.")
    ] = [],  # noqa: B006 - Typer copies it
) -> None:
    """Ask a device for sound, or its camera for video; wait for it, and print the FLAC or MP4 file that it is in.

    A device has the last 30 s of sound, and nothing of what its camera showed; 60 s can be asked for at once. A
    camera that dies gives what came until then, and an error that says so. `gunshot hub run` must run. Ctrl-C waits no
    longer, and takes nothing back: `gunshot hub orders` shows what came.
    """
    from gunshot.base import params
    from gunshot.device.orders import Kind
    from gunshot.hub import database, orders
    from gunshot.hub import folder as folders
    from gunshot.signing import keys

    number, start, length = _wanted(incident, from_, live, video, seconds)
    url, key = folders.load(folder).database, folders.order_key(folder)
    overrulers = {file.stem: keys.load(file) for file in overrule}
    if not key.exists():
        raise ValueError(f"{key}: no such file; `gunshot hub init` makes it, and who has it asks for sound")
    sr = params.load("audio").audio.sr
    with database.opened(url) as engine:
        with engine.begin() as connection:
            now = datetime.now(UTC)
            if number:
                span = orders.of_incident(connection, device, *number, sr=sr, seconds=length)
            else:
                span = orders.of_time(start or now, length, kind=Kind.sound if video is None else Kind.video)
            who = {"reason": reason, "person": person, "overrulers": overrulers}
            id = orders.ask(connection, keys.load(key), device, span, **who, now=now)
        _wait(engine, id, span, sr)
        with engine.connect() as connection:
            (row,) = (each for each in orders.listing(connection) if each["id"] == id)
    if row["file"]:
        print(folder / orders.SOUND / row["file"])
    if row["state"] != orders.COMPLETE:
        raise ValueError(f"order={id} is {row['state']}: {row['note']}")


def _wanted(
    incident: str | None, from_: str | None, live: float | None, video: float | None, seconds: float | None
) -> tuple[tuple[int, int] | None, datetime | None, float | None]:
    """Return session and number of an incident, a start in time, and a length; ValueError where options contradict."""
    if sum(option is not None for option in (incident, from_, live, video)) != 1:
        raise ValueError("one of --incident, --from, --live and --video must be there")
    from_now = video if live is None else live
    if from_now is not None and seconds is not None:
        raise ValueError(f"seconds={seconds:g} must not be there with --live or --video, which say how long")
    if from_ is not None and seconds is None:
        raise ValueError("--from must have --seconds with it")
    number = start = None
    if incident is not None:
        if not (match := re.fullmatch(r"(\d{1,10})/(\d{1,10})", incident)):
            raise ValueError(
                f"incident={incident} must be SESSION/N, as `gunshot hub incidents --format json` has them"
            )
        number = int(match[1]), int(match[2])
    if from_ is not None:
        with suppress(ValueError):
            start = datetime.fromisoformat(from_)
        if start is None or start.tzinfo is None:
            raise ValueError(f"from={from_} must be a time with its zone: 2026-03-01T12:00:00Z")
    return number, start, from_now if seconds is None else seconds


def _wait(engine, id: str, span, sr: int) -> None:
    """Wait until an order of the database has ended, and show how much has come."""
    import tqdm

    from gunshot.device.orders import Kind
    from gunshot.device.parts import PART
    from gunshot.hub import orders

    begun, seconds, came_s = time.monotonic(), span.seconds, 0.0
    with tqdm.tqdm(total=seconds, unit="s", bar_format=f"{{desc}}{{n:.1f}} of {{total:.1f}} s of {span.kind}") as bar:
        while True:
            with engine.connect() as connection:
                progress = orders.progress(connection, id)
            if progress.state != orders.OPEN:
                break
            if not progress.is_sent and time.monotonic() - begun > UNSENT_S:
                raise ValueError(f"order={id} must be sent by a hub: is `gunshot hub run` running, and its broker?")
            # A part of video is no measure of time.
            came_s = progress.parts * PART / sr if span.kind == Kind.sound else came_s + LOOK_S * bool(progress.parts)
            bar.update(min(seconds, came_s) - bar.n)
            time.sleep(LOOK_S)
        bar.update((seconds if progress.state == orders.COMPLETE else bar.n) - bar.n)


@hub.command()
def orders(
    folder: FolderArgument,
    format: Annotated[Format, typer.Option(help="json: an object a line.")] = Format.text,
) -> None:
    """List the orders, newest last: time, device, length, state, who, why, and the file of their clip."""
    from gunshot.base.files import shown
    from gunshot.device.orders import Kind
    from gunshot.hub import database
    from gunshot.hub import folder as folders
    from gunshot.hub import orders as stored

    with database.opened(folders.load(folder).database) as engine, engine.connect() as connection:
        rows = stored.listing(connection)
    for row in rows:
        if format == Format.json:
            print(json.dumps(row))
            continue
        whose = f" of incident {row['session']}/{row['incident']}" if row["incident"] is not None else ""
        state = row["state"] + (f" ({row['note']})" if row["note"] else "")
        long = f"{row['seconds']:.1f} s" + (" of video" if row["kind"] == Kind.video else whose)
        print(f"{row['issued_at']}  {row['device']:<12}  {long}  {state}", end="  ")
        print(f"{row['person']}: {shown(row['reason'])}", end="  ")
        print(*[f"speech too: {', '.join(row['overruled'])}"] * bool(row["overruled"]), row["file"] or "", sep="  ")
    if not rows and format == Format.text:
        print("no order yet")


@hub.command()
def overruler(
    folder: FolderArgument,
    name: Annotated[str, typer.Argument(help="The person's: lower case letters, digits and dashes.")],
    key: Annotated[Path, typer.Argument(help="Where the private key goes, on a disk of the person's: .../NAME.pem.")],
) -> None:
    """Make the key of a person who may, with a second one, have the sound of an incident in which people speak.

    Devices know who was there when they were enrolled: those before need FOLDER/authority/overrule in their folders.
    """
    from gunshot.hub import folder as folders

    if key.stem != name:
        raise ValueError(f"key={key} must be named {name}.pem: `gunshot hub order --overrule` takes the name from it")
    print(f"{folders.overruler(folder, name, key)} is for devices, {key} for {name} alone: no copy, nor on the hub")


@hub.command()
def purge(folder: FolderArgument) -> None:
    """Delete clips older than field.keep_days, and messages older than message_days of hub.yaml, of no confirmed case.

    Cases, incidents, decisions and orders stay listed; evidence and heartbeats go with the messages. Run it once a day,
    as cron does.
    """
    from gunshot.base import params
    from gunshot.hub import database, retention
    from gunshot.hub import folder as folders
    from gunshot.hub import orders as stored
    from gunshot.hub.console import sound

    keep, settings, now = params.load("field").field.keep_days, folders.load(folder), datetime.now(UTC)
    with database.opened(settings.database) as engine:
        with engine.begin() as connection:
            sound.keep(connection)
            files = stored.purge(connection, folder / stored.SOUND, keep_days=keep, now=now)
        emptied = retention.purge(engine, keep_days=settings.message_days, now=now)
    for file in files:
        print(folder / stored.SOUND / file)
    print(f"{counted(len(files), 'clip')} older than {keep:g} days deleted")
    print(f"{counted(emptied, 'message')} older than {settings.message_days:g} days deleted")
