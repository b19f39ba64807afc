"""gunshot hub: the main system's folder, its devices, and what they sent."""

import csv
import json
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import hub
from gunshot.cli.options import counted, show_log
from gunshot.device.policy import Policy

FolderArgument = Annotated[Path, typer.Argument(help="The hub's folder.")]


class Listing(StrEnum):
    """How incidents are printed."""

    text = "text"
    json = "json"
    csv = "csv"


@hub.command()
def init(
    folder: FolderArgument,
    host: Annotated[
        str, typer.Option(help="The name or address by which devices reach the broker. localhost: this machine alone.")
    ] = "localhost",
    port: Annotated[int, typer.Option(help="The broker's.", min=1, max=65535)] = 8883,
    database: Annotated[
        str | None, typer.Option(help="postgresql://USER:PASSWORD@HOST/NAME. Default: SQLite in the folder.")
    ] = None,
) -> None:
    """Make a hub's folder: authority, certificates, the broker's configuration, an empty database.

    What is there already stays as it is, keys above all. Run it as the user who runs the broker.
    """
    from gunshot.hub import folder as folders

    folders.init(folder, host=host, port=port, url=database)
    print(f"{folder} is a hub's folder. Next:")
    print(f"  mosquitto -c {folder.resolve()}/mosquitto.conf")
    print(f"  gunshot hub run {folder}")
    print(f"  gunshot hub enrol {folder} NAME --number N    # for each device")


@hub.command()
def enrol(
    folder: FolderArgument,
    device: Annotated[str, typer.Argument(help="Its name: lower case letters, digits and dashes.")],
    number: Annotated[int, typer.Option(help="That its messages carry, 0 to 4294967295.")],
    site: Annotated[str | None, typer.Option(help="Of `gunshot hub site`. Without one a device decides alone.")] = None,
    latitude: Annotated[float | None, typer.Option(help="Where it stands, degrees, WGS 84; south is below 0.")] = None,
    longitude: Annotated[float | None, typer.Option(help="West of Greenwich is below 0.")] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="Give it a new certificate and key, and revoke those that it has.")
    ] = False,
    speech: Annotated[
        Policy, typer.Option(help="Whether sound in which people speak may leave it; said each time.")
    ] = Policy.forbidden,
) -> None:
    """Let a device in: write its certificate, its key and where the hub is to FOLDER/devices/DEVICE.

    Move that folder to the device. Its name and its number are its own for good; where it stands may be said, or said
    anew, at any time by the same command. With --renew move cert.pem and key.pem alone: its own device.yaml may have
    more lines. Until they are there it is away, and what it hears waits on it. A device that was revoked is let in
    again.
    """
    from gunshot.device import orders
    from gunshot.hub import folder as folders
    from gunshot.hub import revocation
    from gunshot.signing import keys, record

    out = folders.enrol(
        folder, device, number, site=site, latitude=latitude, longitude=longitude, speech=speech, renew=renew,
        operators=record.KEYS,
    )  # fmt: skip
    if renew:
        revocation.enforce(folder, device)
    persons = sorted(orders.overrulers(out))
    may = f"; two of {', '.join(persons)} may overrule that" if persons and speech == Policy.forbidden else ""
    whole = f"{out} is all that the device needs; move it there"
    moved = f"{out}: move cert.pem and key.pem to the device"
    operators = sorted(keys.names(record.KEYS).values())
    images = f"; models by {', '.join(operators)} may be rolled out to it" if operators else ""
    print(f"{moved if renew else whole}. Sound of speech is {speech}{may}{images}. Then:")
    print(f"  gunshot device run {out.name}")


@hub.command()
def revoke(
    folder: FolderArgument,
    device: Annotated[str, typer.Argument(help="Its name, as it was enrolled; or watch, or homeassistant.")],
) -> None:
    """Let a device in no longer: revoke its certificates, end its connection, clear what the broker keeps of it.

    What it told stays in the database. The broker must run on this machine, or be told to read its files. `gunshot hub
    enrol` of the same name and number gives a new certificate; to the watch and Home Assistant, `gunshot hub init`.
    """
    from datetime import UTC, datetime

    from gunshot.hub import revocation

    revocation.revoke(folder, device, now=datetime.now(UTC))
    print(f"{device} is revoked: its connection has ended, and it gets no other; nothing that it says is taken in")


@hub.command()
def run(folder: FolderArgument) -> None:
    """Store what devices send, and acknowledge it once it is stored; Ctrl-C ends it.

    The broker must run. Run one hub at a time. It ends with an error where the database fails: start it again then.
    """
    from gunshot.base import params
    from gunshot.hub import folder as folders
    from gunshot.hub import service

    show_log()
    p = params.load("audio", "chunks", "context", "features", "detector", "firmware", "verifier")
    settings, judge = folders.load(folder), None
    settings.rollout.check(heartbeat_s=p.firmware.heartbeat_s)
    if settings.verifier:
        from gunshot.detect import opinion
        from gunshot.hub import second

        loaded = opinion.load(settings.verifier, None, p)
        judge = lambda engine, sound, stop: second.keep(engine, sound, loaded, p, stop)  # noqa: E731
    with suppress(KeyboardInterrupt):
        service.serve(folder, sr=p.audio.sr, second=judge)


@hub.command()
def incidents(
    folder: FolderArgument,
    format: Annotated[Listing, typer.Option(help="json: an object a line. csv: with a header.")] = Listing.text,
) -> None:
    """List the incidents, newest last: time, device, state, shots, score, level, clock error, second opinions.

    The time is the first shot's, in UTC; where the device did not know it, text shows "by" and when its message came.
    Says which messages are missing.
    """
    from gunshot.hub import database
    from gunshot.hub import folder as folders
    from gunshot.hub import incidents as stored

    url = folders.load(folder).database
    with database.opened(url) as engine, engine.connect() as connection:
        rows, gaps = stored.listing(connection), list(stored.gaps(connection))
    if format == Listing.csv:
        writer = csv.DictWriter(sys.stdout, stored.COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        if format == Listing.json:
            print(json.dumps(row))
        elif format == Listing.text:
            _print(row)
    if not rows and format == Listing.text:
        print("no incident yet")
    for device, session, first, last in gaps:
        missing = counted(last - first + 1, "message is missing", "messages are missing")
        print(f"warning: {device}: {missing}, {first} to {last} of session {session}", file=sys.stderr)


def _print(row: dict) -> None:
    from gunshot.hub.incidents import in_words

    time = f"   {row['time']}" if row["time"] else f"by {row['received']}"
    error = "clock unknown" if row["time"] is None else f"+-{row['clock_error_s']:.3f} s"
    level, shots = f"{row['level_db']:.1f} dB", counted(row["shots"], "shot")
    said = "".join(
        f"  second opinion: {in_words(row[prefix + 'upheld'])} ({row[prefix + 'opinion']:.2f} of 1), {where}"
        for prefix, where in (("", "on the device"), ("sound_", "on the ordered sound"))
        if row[prefix + "verifier"]
    )
    print(f"{time}  {row['device']:<12}  {row['state']:<9}  {shots:<9}  {row['score']:.3f}  {level:<8}  {error}{said}")
