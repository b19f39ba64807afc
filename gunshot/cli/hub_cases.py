"""gunshot hub site, cases and cap: what is needed before a person is woken, and what was heard by how many devices."""

import csv
import json
import sys
from enum import StrEnum
from typing import Annotated

import typer

from gunshot.cli.app import hub
from gunshot.cli.hub import FolderArgument
from gunshot.cli.options import counted


class Cases(StrEnum):
    """How cases are printed."""

    text = "text"
    json = "json"
    csv = "csv"
    geojson = "geojson"


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
    temperature: Annotated[
        float | None,
        typer.Option(
            help="Of the air there, degrees Celsius, for where shots are fired. Unknown: 15, with an error of 15."
        ),
    ] = None,
) -> None:
    """Make a site, or change it; `gunshot hub enrol --site` puts devices there.

    It holds for what is heard from now on: a case that was raised stays raised, and one that is no drill none.
    """
    from gunshot.hub import database, sites
    from gunshot.hub import folder as folders

    url = folders.load(folder).database
    with database.opened(url) as engine, engine.begin() as connection:
        drill = sites.put(connection, name, devices_needed=devices_needed, exercise=exercise, temperature_c=temperature)
    note = "; what is heard now is a drill" if drill else ""
    print(f"{name}: {counted(devices_needed, 'device')} must hear a shot before a person is woken{note}")


@hub.command()
def cases(
    folder: FolderArgument,
    format: Annotated[
        Cases, typer.Option(help="json: an object a line. csv: with a header. geojson: for any map, one document.")
    ] = Cases.text,
) -> None:
    """List the cases, newest last: what one sound can explain of what a site's devices heard.

    Of each: its number, the time of the first onset, site, whether it was raised or is near it (too few devices have
    it), devices, shots, and where it was fired or why that cannot be said. Text ends with how many are near by device.
    """
    from gunshot.hub import cases as stored
    from gunshot.hub import database
    from gunshot.hub import folder as folders

    url = folders.load(folder).database
    with database.opened(url) as engine, engine.connect() as connection:
        rows = stored.listing(connection)
    if format == Cases.geojson:
        print(json.dumps(stored.collection(rows)))
    elif format == Cases.csv:
        writer = csv.DictWriter(sys.stdout, stored.COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        for row in rows:
            print(json.dumps(row) if format == Cases.json else _text(row))
        if not rows and format == Cases.text:
            print("no case yet")
        if (near := stored.near(rows)) and format == Cases.text:
            print("near, by device:", ", ".join(f"{device} {count}" for device, count in near.most_common()))


class Messages(StrEnum):
    """What a message is to those who got the alert of its case."""

    alert = "alert"
    update = "update"
    cancel = "cancel"


@hub.command()
def cap(
    folder: FolderArgument,
    case: Annotated[int, typer.Argument(help="Its number, as `gunshot hub cases` lists it; it must be raised.")],
    kind: Annotated[
        Messages, typer.Option(help="cancel: it was none after all. It and update refer to the alert.")
    ] = Messages.alert,
) -> None:
    """Print a case as a message of the Common Alerting Protocol (CAP 1.2), for alerting systems; nothing is sent.

    A drill has the status Exercise. The area is the ellipse of the place, else the site by name.
    """
    from gunshot.hub import cap as messages
    from gunshot.hub import database
    from gunshot.hub import folder as folders

    settings = folders.load(folder)
    with database.opened(settings.database) as engine, engine.connect() as connection:
        print(messages.message(connection, case, messages.Kind[kind], sender=settings.host))


def _text(row: dict) -> str:
    time = f"   {row['time']}" if row["time"] else f"by {row['opened']}"
    status = ("raised" if row["raised"] else "near") + " (drill)" * row["exercise"]
    at = f"no place: {row['no_place']}" if row["no_place"] else "its place is being worked out"
    if row["latitude"] is not None:
        at = f"{row['latitude']:.6f}, {row['longitude']:.6f} +-{row['half_axis_m']:.0f} m"
    devices, shots = counted(row["devices"], "device"), counted(row["shots"], "shot")
    return f"{row['case']:>5}  {time}  {row['site'] or '-':<12}  {status:<14}  {devices:<9}  {shots:<9}  {at}"
