"""Persons who may use the console: their roles, passwords and logins.

Functions work in the transaction of the connection that they are given, which the caller commits; but `log_in` commits
by itself. Passwords are drawn here, never chosen, and kept as argon2 hashes.
"""

import hashlib
import re
import secrets
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

import argon2
import sqlalchemy as sql

from gunshot.hub import audit
from gunshot.hub.console.roles import Role
from gunshot.hub.database import LOGIN, PERSON

NAME = r"[a-z0-9][a-z0-9.-]{0,62}"
PASSWORD_BYTES = 15  # drawn: 20 letters
LASTS = timedelta(hours=12)  # a login
WINDOW = timedelta(minutes=15)
MOST_FAILED = 5  # in a window, of one person from one address
MOST_FAILED_ADDRESS = 20  # in a window, from one address

HASHER = argon2.PasswordHasher()
NOBODY = HASHER.hash(secrets.token_bytes(PASSWORD_BYTES))  # so that an unknown name takes as long as a known one
_PEPPER = secrets.token_bytes(16)
# When names that nobody has were tried, by address and a hash, as each may be a password. In memory alone.
_STRANGERS: dict[tuple[str, bytes], list[datetime]] = {}
_ONE_AT_A_TIME = threading.Lock()  # a hash takes 64 MiB, and no two attempts may pass the limit together


class LockedError(ValueError):
    """Too many failed logins: wait."""


@dataclass(frozen=True)
class Person:
    """Who is logged in."""

    name: str
    role: Role

    @property
    def decides(self) -> bool:
        """Return whether the person may decide on cases."""
        return self.role != Role.viewer

    @property
    def administers(self) -> bool:
        """Return whether the person may see and send again what webhooks did not take."""
        return self.role == Role.admin


def admit(connection: sql.Connection, name: str, role: Role, *, now: datetime) -> str:
    """Let a person in, with a role, and return the new password, which is nowhere else.

    One who is there gets this role and a new password, is no longer disabled, and has to log in again. ValueError where
    the name is none.
    """
    if not re.fullmatch(NAME, name):
        raise ValueError(f"name={name!r} must be lower case letters, digits, dots and dashes, 63 at most")
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    values = {"role": str(role), "password": HASHER.hash(password), "disabled": False}
    if not connection.execute(sql.update(PERSON).where(PERSON.c.name == name).values(**values)).rowcount:
        connection.execute(sql.insert(PERSON).values(name=name, **values))
    _end_all(connection, name, now)
    audit.enter(connection, "person", name, now=now)
    return password


def disable(connection: sql.Connection, name: str, *, now: datetime) -> None:
    """Shut a person out at once; what the person decided stays. ValueError where nobody has that name."""
    if not connection.execute(sql.update(PERSON).where(PERSON.c.name == name).values(disabled=True)).rowcount:
        raise ValueError(f"name={name} must be that of a person; `gunshot hub person` makes one")
    _end_all(connection, name, now)
    audit.enter(connection, "person", name, now=now)


def log_in(connection: sql.Connection, name: str, password: str, *, address: str, now: datetime) -> int | None:
    """Return the number of a new login, or None where name and password are not those of a person who may.

    Raises
    ------
    LockedError
        From this address there were too many failed logins, of this name or of all: also where nobody has that name,
        or this would tell who has one. The password is not looked at, and no row written.
    """
    with _ONE_AT_A_TIME:
        known = sql.select(PERSON).where(PERSON.c.name == name)
        person = connection.execute(known).first() if re.fullmatch(NAME, name) else None
        stranger = None if person else _stranger(address, name, now)
        _check_limit(connection, person and name, address, now, strange=stranger or [])
        try:
            right = HASHER.verify(person.password if person else NOBODY, password)
        except argon2.exceptions.VerifyMismatchError:
            right = False
        admitted = bool(right and person and not person.disabled)
        row = {"at": now, "address": address, "person": person and name, "failed": not admitted}
        number = connection.execute(sql.insert(LOGIN).values(**row)).inserted_primary_key[0]
        audit.enter(connection, "login", number, now=now)
        connection.commit()  # before the next attempt counts them
        if stranger is not None:
            stranger.append(now)
    return number if admitted else None


def logged_in(connection: sql.Connection, login: int, *, now: datetime) -> Person | None:
    """Return who a login is of; None where it has ended or is too old."""
    valid = (LOGIN.c.number == login, ~LOGIN.c.failed, LOGIN.c.ended_at.is_(None), LOGIN.c.at > now - LASTS)
    query = sql.select(PERSON.c.name, PERSON.c.role).join(LOGIN, LOGIN.c.person == PERSON.c.name).where(*valid)
    row = connection.execute(query).first()
    return row and Person(row.name, Role(row.role))


def log_out(connection: sql.Connection, login: int, *, now: datetime) -> None:
    """End a login."""
    connection.execute(sql.update(LOGIN).where(LOGIN.c.number == login).values(ended_at=now))


def _end_all(connection: sql.Connection, name: str, now: datetime) -> None:
    running = (LOGIN.c.person == name, ~LOGIN.c.failed, LOGIN.c.ended_at.is_(None))
    connection.execute(sql.update(LOGIN).where(*running).values(ended_at=now))


def _stranger(address: str, name: str, now: datetime) -> list[datetime]:
    """Return when a name that nobody has was tried from an address; forget what is older than the window."""
    for key, times in list(_STRANGERS.items()):
        times[:] = [time for time in times if now - WINDOW < time]
        if not times:
            del _STRANGERS[key]
    return _STRANGERS.setdefault((address, hashlib.blake2b(name.encode(), key=_PEPPER).digest()), [])


def _check_limit(
    connection: sql.Connection, person: str | None, address: str, now: datetime, *, strange: list[datetime]
) -> None:
    failed = sql.select(LOGIN.c.person).where(LOGIN.c.address == address, LOGIN.c.at > now - WINDOW, LOGIN.c.failed)
    names = connection.scalars(failed).all()
    tries = names.count(person) if person else len(strange)
    if len(names) >= MOST_FAILED_ADDRESS or tries >= MOST_FAILED:
        raise LockedError(f"too many failed logins: wait {WINDOW.seconds // 60} minutes")
