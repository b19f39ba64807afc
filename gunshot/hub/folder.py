"""A hub's folder: settings, certificates, the broker's configuration, and what each device is given.

``hub.yaml``, ``mosquitto.conf``, ``acl``, ``authority/``, ``broker/``, ``client/`` (the hub's own), ``devices/NAME/``,
``watch/`` (the outside watch's), ``sound/`` (what orders brought), ``console/``.
"""

import os
import pwd
from pathlib import Path

import pydantic
import sqlalchemy as sql
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gunshot.device import orders, topics
from gunshot.device.place import FILE as PLACE
from gunshot.device.place import Place, read
from gunshot.device.policy import Policy
from gunshot.hub import certificates, database, sites
from gunshot.signing import keys

SETTINGS = "hub.yaml"
WATCHED = "watch.yaml"  # what `gunshot.hub.watch.Settings` reads
HUB = "hub"  # the common name of its certificate
ACL = """\
# By the certificate's common name. %u is that name.
user {hub}
topic read {root}/#
topic write {root}/+/ack
topic write {root}/+/order
topic write {life}
user {watch}
topic read {life}
{written}
{read}
"""
CONF = """\
# mosquitto -c {folder}/mosquitto.conf
user {user}
listener {port}{interface}
cafile {folder}/broker/ca.pem
certfile {folder}/broker/cert.pem
keyfile {folder}/broker/key.pem
require_certificate true
use_identity_as_username true
# Or a device could take the hub's session by its client id.
use_username_as_clientid true
allow_anonymous false
acl_file {folder}/acl
persistence true
persistence_location {folder}/broker/
autosave_interval 60
# Or each small packet waits 40 ms for the one before to be confirmed.
set_tcp_nodelay true
max_queued_messages 10000
message_size_limit {most_bytes}
"""
MOST_BYTES = 65535  # of a message


class Tiles(pydantic.BaseModel):
    """Where the console's map gets its background."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    url: str = pydantic.Field(pattern=r"^https://[^/ ;,']+/[^ ;,']*$")  # with {z}, {x} and {y}
    attribution: str  # who drew it, shown in a corner of the map


class Settings(pydantic.BaseModel):
    """What `init` was told, in hub.yaml, and what was added there by hand."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    host: str  # by which devices reach the broker
    port: int = pydantic.Field(ge=1, le=65535)
    database: str  # a URL
    tiles: Tiles | None = None  # by hand; without, the map is a plain grid and asks nobody
    escalation: list[str] = []  # by hand: addresses, as Apprise has them, that are called where nobody looks


def init(folder: Path, *, host: str, port: int, url: str | None) -> Settings:
    """Make a hub's folder and its database, as far as they are not there; return its settings.

    ValueError where the folder is another hub's: its settings differ.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings = Settings(host=host, port=port, database=url or f"sqlite:///{folder}/hub.sqlite")
    if (folder / SETTINGS).exists():
        for name, before in load(folder).model_dump(include={"host", "port", "database"}).items():
            if (now := getattr(settings, name)) != before and name != "database":
                raise ValueError(f"{name}={now} must be {before}, as {folder / SETTINGS} has it")
            if now != before:  # it may hold a password
                raise ValueError(f"database must be that of {folder / SETTINGS}, or that file changed by hand")
    with database.opened(settings.database):
        pass  # its tables are made
    certificates.authority(folder / "authority")
    certificates.keep(order_key(folder), keys.private_pem(Ed25519PrivateKey.generate()))
    certificates.issue(folder / "authority", folder / "broker", "broker", host=host)
    certificates.issue(folder / "authority", folder / "client", HUB)
    certificates.issue(folder / "authority", folder / topics.WATCH, topics.WATCH)
    certificates.keep(folder / topics.WATCH / WATCHED, yaml.safe_dump({"host": host, "port": port}).encode())
    written, read = (
        "\n".join(f"pattern {access} {topics.topic('%u', leaf)}" for leaf in leaves)
        for access, leaves in (("write", topics.WRITTEN), ("read", topics.READ))
    )
    who = {"hub": HUB, "watch": topics.WATCH, "root": topics.ROOT, "life": topics.LIFE}
    acl = ACL.format(**who, written=written, read=read)
    local = " localhost" if host == "localhost" else ""  # not to be reached from elsewhere: nor is it listened there
    user = pwd.getpwuid(os.getuid()).pw_name
    conf = CONF.format(folder=folder, user=user, port=port, interface=local, most_bytes=MOST_BYTES)
    certificates.keep(folder / "acl", acl.encode())
    certificates.keep(folder / "mosquitto.conf", conf.encode())
    yaml_ = yaml.safe_dump(settings.model_dump(exclude_defaults=True), sort_keys=False)
    certificates.keep(folder / SETTINGS, yaml_.encode())  # last: now it is whole
    return settings


def load(folder: Path) -> Settings:
    """Return the settings of a hub's folder; ValueError where it is none."""
    return read(folder / SETTINGS, Settings, made=f"make it with `gunshot hub init {folder}`")


def order_key(folder: Path) -> Path:
    """Return the file of the key that signs orders, in a hub's folder."""
    return folder / "authority" / orders.KEY


def enrol(
    folder: Path, name: str, number: int,
    *, site: str | None = None, latitude: float | None = None, longitude: float | None = None,
    speech: Policy | None = None,
) -> Path:  # fmt: skip
    """Write all that a device needs to its folder, and its row to the database, as far as they are not there.

    Returns the device's folder. Where it stands may change, as `sites.move` says. ValueError where the name is none, or
    the name or the number is of another, or for what `sites.move` refuses. `speech` is for the folder alone: the hub
    cannot change what a device has. None: as a folder that is here says it, else forbidden.
    """
    topics.check_name(name)
    if not 0 <= number <= topics.MOST_NUMBER:
        raise ValueError(f"number={number} must be from 0 to {topics.MOST_NUMBER}")
    settings, key = load(folder), order_key(folder)
    if not key.exists():  # of a hub that was made before there were orders
        raise ValueError(f"{key}: no such file; `gunshot hub init {folder}` with the options of then makes it")
    with database.opened(settings.database) as engine, engine.begin() as connection:
        _enter(connection, name, number)
        sites.move(connection, name, site=site, latitude=latitude, longitude=longitude)
    out = folder / "devices" / name
    certificates.issue(folder / "authority", out, name)
    certificates.keep(out / orders.KEY, keys.public_pem(keys.load(key)))
    if speech is None:
        speech = Place.load(out).speech if (out / PLACE).exists() else Policy.forbidden
    for file in (order_key(folder).parent / orders.OVERRULE).glob("*.pem"):
        certificates.keep(out / orders.OVERRULE / file.name, file.read_bytes())
    Place(host=settings.host, port=settings.port, name=name, number=number, speech=speech).save(out)
    return out


def overruler(folder: Path, name: str, private: Path) -> Path:
    """Make the key of a person who may have speech sent: `private`, and its public one in the authority; return that.

    Devices that are enrolled from then on know it. ValueError where the name is none, or a file is there.
    """
    load(folder)
    topics.check_name(name)
    public = order_key(folder).parent / orders.OVERRULE / f"{name}.pem"
    for file in (private, public):
        if file.exists():
            raise ValueError(f"{file} exists; a key is never written over")
    key = Ed25519PrivateKey.generate()
    certificates.keep(private, keys.private_pem(key))
    certificates.keep(public, keys.public_pem(key))
    return public


def _enter(connection: sql.Connection, name: str, number: int) -> None:
    device = database.DEVICE.c
    holders = connection.execute(
        sql.select(device.name, device.number).where(sql.or_(device.name == name, device.number == number))
    ).all()
    for other in holders:
        if other.name != name:
            raise ValueError(f"number={number} must be a device's own; {other.name} has it")
        if other.number != number:
            raise ValueError(f"number={number} must be {other.number}, with which {name} is enrolled")
    if not holders:
        connection.execute(sql.insert(database.DEVICE).values(name=name, number=number))
