"""A raised case as a message of the Common Alerting Protocol: CAP 1.2, an OASIS standard that alerting systems read."""

from datetime import UTC, datetime
from enum import StrEnum
from xml.etree import ElementTree

import sqlalchemy as sql

from gunshot.hub.cases import utc
from gunshot.hub.database import CASE
from gunshot.hub.incidents import time

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"
EVENT = "Possible gunfire"


class Kind(StrEnum):
    """What a message is to those who got the case's alert. Cancel: it was none after all."""

    alert = "Alert"
    update = "Update"
    cancel = "Cancel"


def message(connection: sql.Connection, number: int, kind: Kind, *, sender: str) -> str:
    """Return a CAP message of a case, as XML; `sender` is the hub's host.

    The alert's identifier follows from the case, so that each later message can refer to it. A drill has the status
    Exercise. The area is the ellipse that holds the shot 95 times in 100; without a place it is the site's name.

    Raises
    ------
    ValueError
        There is no such case, it is merged into another, or it is not raised: it alerts nobody.
    """
    case = connection.execute(sql.select(CASE).where(CASE.c.number == number)).first()
    if case is None:
        raise ValueError(f"case={number} must be there; `gunshot hub cases` lists them")
    if case.merged_into is not None:
        raise ValueError(f"case={number} must be one of its own; it is merged into {case.merged_into}")
    if case.raised_at is None:
        raise ValueError(f"case={number} must be raised; it is near: too few devices have it")
    first, now = f"{sender}-case-{number}", utc(case.raised_at if kind == Kind.alert else case.changed_at)
    head = {
        "identifier": first if kind == Kind.alert else f"{first}-{kind.name}-{now:%Y%m%dT%H%M%S%f}",
        "sender": sender,
        "sent": _stamp(now),
        "status": "Exercise" if case.exercise else "Actual",
        "msgType": kind,
        "scope": "Restricted",
        "restriction": f"For those to whom {sender} sends it",
        "note": f"A drill at {case.site}" if case.exercise else None,
        "references": None if kind == Kind.alert else f"{sender},{first},{_stamp(utc(case.raised_at))}",
    }
    root = ElementTree.Element("alert", xmlns=NAMESPACE)
    _add(root, head)
    _info(root, case, kind)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def _info(root: ElementTree.Element, case: sql.Row, kind: Kind) -> None:
    """Add what happened, and where."""
    onset, over = time(case.unix_us), kind == Kind.cancel
    where = f"site {case.site}" if case.site else "a device that stands alone"
    heard = f"Devices that heard it: {case.devices}. Shots, as far as they were heard: {case.shots}."
    placeless = f" Place not known: {case.no_place}." if case.no_place else ""
    content = {
        "category": "Security",
        "event": EVENT,
        "responseType": "AllClear" if over else "Assess",
        "urgency": "Past" if over else "Immediate",
        "severity": "Severe",
        "certainty": "Unlikely" if over else "Possible",
        "onset": onset and _stamp(onset),
        "headline": f"{EVENT}, {where}" + ": it was none" * over,
        "description": heard + placeless,
    }
    info = ElementTree.SubElement(root, "info")
    _add(info, content)
    polygon = None
    if case.latitude is not None:
        (ring,) = case.place["geometry"]["coordinates"]
        polygon = " ".join(f"{latitude},{longitude}" for longitude, latitude in ring)
    _add(ElementTree.SubElement(info, "area"), {"areaDesc": where, "polygon": polygon})


def _add(parent: ElementTree.Element, values: dict[str, str | None]) -> None:
    """Add an element of text for each value that there is."""
    for name, value in values.items():
        if value is not None:
            ElementTree.SubElement(parent, name).text = value


def _stamp(at: datetime) -> str:
    """Return a time as CAP has it: in whole seconds, and UTC as -00:00 (3.3.2)."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}-00:00"
