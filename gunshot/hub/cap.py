"""A raised case as a message of the Common Alerting Protocol: CAP 1.2, an OASIS standard that alerting systems read."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple
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


class Message(NamedTuple):
    """A message: `references` to earlier ones have spaces between; `content` is what two of them may have in common."""

    identifier: str
    kind: Kind
    sent_at: datetime
    references: str
    content: str
    payload: str  # XML


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
    raised_at = utc(case.raised_at)
    alert = compose(case, Kind.alert, sender=sender, sent=raised_at, first=True)
    if kind == Kind.alert:
        return alert.payload
    return compose(case, kind, sender=sender, sent=utc(case.changed_at), earlier=[reference(sender, alert)]).payload


def compose(
    case: sql.Row, kind: Kind, *, sender: str, sent: datetime, earlier: Sequence[str] = (), first: bool = False
) -> Message:
    """Return a message of a raised case, which takes the place of earlier ones, or cancels them.

    `earlier` are what `reference` returns of them; all that are valid, since a later one refers to no other (3.2.1).
    `first` is the case's first alert, whose identifier is that of the case.
    """
    own = f"{sender}-case-{case.number}"
    head = {
        "identifier": own if first else f"{own}-{kind.name}-{sent:%Y%m%dT%H%M%S%f}",
        "sender": sender,
        "sent": _stamp(sent),
        "status": _status(case),
        "msgType": kind,
        "scope": "Restricted",
        "restriction": f"For those to whom {sender} sends it",
        "note": f"A drill at {case.site}" if case.exercise else None,
        "references": " ".join(earlier) or None,
    }
    root = ElementTree.Element("alert", xmlns=NAMESPACE)
    _add(root, head)
    _info(root, case, kind)
    ElementTree.indent(root)
    xml = ElementTree.tostring(root, encoding="unicode", xml_declaration=True)
    return Message(head["identifier"], kind, sent, " ".join(earlier), content(case, kind), xml)


def reference(sender: str, message: Message | sql.Row) -> str:
    """Return how later messages refer to one."""
    return f"{sender},{message.identifier},{_stamp(utc(message.sent_at))}"


def content(case: sql.Row, kind: Kind) -> str:
    """Return what a message of a case says, without who sends it and when."""
    root = ElementTree.Element("alert", status=_status(case))
    _info(root, case, kind)
    return ElementTree.tostring(root, encoding="unicode")


def _status(case: sql.Row) -> str:
    return "Exercise" if case.exercise else "Actual"


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
