"""Sites: what they need before a person is woken, and where their devices stand."""

import sqlalchemy as sql

from gunshot.device import topics
from gunshot.hub.database import DEVICE, SITE

MOST_C = -90.0, 60.0  # of the air, anywhere
MOST_LATITUDE = 89.0  # degrees: at a pole no direction is east, and `gunshot.hub.plane` has none


def put(
    connection: sql.Connection,
    name: str,
    *,
    devices_needed: int,
    exercise: bool | None,
    temperature_c: float | None = None,
) -> bool:
    """Make a site, or change it; return whether what is heard there is a drill.

    `exercise` and `temperature_c`, of the air, stay as they are where they are None; a new site has neither.
    It is a rule for what is heard from now on: a case that was raised stays raised, and is a drill if it was one.
    ValueError where the name is none, no device is needed, or air is not so warm.
    """
    topics.check_name(name)
    if devices_needed < 1:
        raise ValueError(f"devices_needed={devices_needed} must be at least 1")
    if temperature_c is not None and not MOST_C[0] <= temperature_c <= MOST_C[1]:
        raise ValueError(f"temperature_c={temperature_c} must be from {MOST_C[0]:g} to {MOST_C[1]:g} degrees Celsius")
    before = connection.execute(sql.select(SITE).where(SITE.c.name == name)).first()
    drill = bool(before and before.exercise) if exercise is None else exercise
    values = {"devices_needed": devices_needed, "exercise": drill}
    values |= {} if temperature_c is None else {"temperature_c": temperature_c}
    if before is None:
        connection.execute(sql.insert(SITE).values(name=name, **values))
    else:
        connection.execute(sql.update(SITE).where(SITE.c.name == name).values(values))
    return drill


def move(
    connection: sql.Connection, device: str, *, site: str | None, latitude: float | None, longitude: float | None
) -> str | None:
    """Say to which site a device belongs, and where it stands in degrees; what is None stays as it is.

    Returns the site that it belongs to, if any. What it heard before stays with the site where it heard it.

    Raises
    ------
    ValueError
        There is no such site, or a latitude or longitude alone, or one that cannot be.
    """
    if site is not None and connection.scalar(sql.select(SITE.c.name).where(SITE.c.name == site)) is None:
        raise ValueError(f"site={site} must be there; make it with `gunshot hub site`")
    if (latitude is None) != (longitude is None):
        raise ValueError(f"latitude={latitude} and longitude={longitude} must be given together")
    for name, value, most in (("latitude", latitude, MOST_LATITUDE), ("longitude", longitude, 180.0)):
        if value is not None and not -most <= value <= most:
            raise ValueError(f"{name}={value} must be from {-most:g} to {most:g} degrees")
    values = {"site": site, "latitude": latitude, "longitude": longitude}
    given = {name: value for name, value in values.items() if value is not None}
    if given:
        connection.execute(sql.update(DEVICE).where(DEVICE.c.name == device).values(given))
    return connection.scalar(sql.select(DEVICE.c.site).where(DEVICE.c.name == device))
