"""A hub's folder: settings, certificates, the broker's configuration, and what each device is given.

``hub.yaml``, ``mosquitto.conf``, ``acl``, ``authority/``, ``broker/``, ``client/`` (the hub's own), ``devices/NAME/``,
``watch/`` (the outside watch's), ``homeassistant/`` (its certificate), ``sound/`` (what orders brought), ``console/``.
"""

import base64
import logging
import os
import pwd
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import pydantic
import sqlalchemy as sql
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gunshot.device import images, orders, topics
from gunshot.device.place import Place, read
from gunshot.device.policy import Policy
from gunshot.hub import audit, certificates, database, sites
from gunshot.signing import keys

log = logging.getLogger("gunshot")

SETTINGS = "hub.yaml"
WATCHED = "watch.yaml"  # what `gunshot.hub.watch.Settings` reads
HUB = "hub"  # the common name of its certificate
ACL = """\
# By the certificate's common name. %u is that name.
user {hub}
topic read {root}/#
topic write {root}/+/ack
topic write {root}/+/order
topic write {root}/+/image
topic write {life}
topic write {root}/+/{heard}
topic write {online}
topic write {discovery}
user {watch}
topic read {life}
user {home}
topic read {root}/+/status
topic read {root}/+/{heard}
topic read {online}
topic read {discovery}
topic readwrite {home}/status
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
# `gunshot hub revoke` writes it, and asks the broker to read it.
crlfile {folder}/broker/{revoked}
pid_file {folder}/broker/{pid}
persistence true
persistence_location {folder}/broker/
autosave_interval 60
# Or each small packet waits 40 ms for the one before to be confirmed.
set_tcp_nodelay true
# Of a client that is away or slow: what comes beyond either is dropped, and its device sends it again.
max_queued_messages 10000
max_queued_bytes {queued_bytes}
# So many the hub commits at once; it confirms none before that.
max_inflight_messages 200
message_size_limit {most_bytes}
# Of any packet: a list of subscriptions may otherwise have 256 MiB.
max_packet_size {most_packet}
"""
REVOKED, PID = "revoked.pem", "mosquitto.pid"  # in broker/: the list of revoked certificates, the broker's process
LOOPBACK = ("localhost", "127.0.0.1", "::1")
SECRET = "whsec_"  # so begins a webhook's secret
MOST_BYTES = 65535  # of a message
MOST_PACKET = 66_000  # bytes: a message, and its topic
QUEUED_BYTES = 64 * 2**20  # that the broker keeps for a client


def _outgoing(url: str) -> str:
    """Return an address to which alerts may be sent; ValueError where it is none, or has no TLS on the way."""
    try:
        parts = urlsplit(url)
        scheme, host, _ = parts.scheme, parts.hostname, parts.port  # a ValueError where that is no port
        (host or "").encode("idna")  # likewise: empty or too long between two dots
    except ValueError:
        scheme = host = None
    # By the host that is asked, not by how the text begins: what stands before an @ is a name and a password.
    if not host or re.search(r"\s|\\", url) or not (scheme == "https" or (scheme == "http" and host in LOOPBACK)):
        raise ValueError("must be https://, or http:// to this machine")
    return url


Outgoing = Annotated[str, pydantic.AfterValidator(_outgoing)]


class Webhook(pydantic.BaseModel):
    """Where raised cases are sent as JSON, signed."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = pydantic.Field(pattern=f"^{topics.NAME}$")  # by which log and console know it, and never by the address
    url: Outgoing = pydantic.Field(repr=False)
    secret: str = pydantic.Field(repr=False)  # that both sides have: whsec_ and 24 to 64 bytes in base64
    sites: tuple[str, ...] = ()  # whose cases; none: all, and those of devices without a site

    @pydantic.field_validator("secret")
    @classmethod
    def _has_length(cls, secret: str) -> str:
        try:
            length = len(base64.b64decode(secret.removeprefix(SECRET), validate=True))
        except ValueError:
            length = 0
        if not (secret.startswith(SECRET) and 24 <= length <= 64):
            raise ValueError(f"must be {SECRET} and 24 to 64 bytes in base64: `openssl rand -base64 32` draws some")
        return secret

    @property
    def key(self) -> bytes:
        """Return what deliveries are signed with."""
        return base64.b64decode(self.secret.removeprefix(SECRET))


Seconds = Annotated[float, pydantic.Field(gt=0, le=31_536_000, allow_inf_nan=False)]  # a year at most


class Rollout(pydantic.BaseModel):
    """How a promoted model goes out: to a canary, then to shares of the devices, each step watched."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    shares: tuple[pydantic.FiniteFloat, ...] = (
        0.1,
        0.5,
        1.0,
    )  # of the devices, after the canary; each with those before it
    watch_s: Seconds = 3600.0  # for which a step is watched before the next one
    patience_s: Seconds = 86_400.0  # that a step waits for devices that are away
    silent_s: Seconds = 1800.0  # a device of which no message came for so long is not well
    # Of one device, without those persons confirmed.
    max_incidents_per_hour: float = pydantic.Field(default=2.0, gt=0, allow_inf_nan=False)

    @pydantic.model_validator(mode="after")
    def _can_work(self) -> "Rollout":
        rising = sorted({*self.shares, 0.0, 1.0})
        if rising != [0.0, *self.shares]:
            raise ValueError(f"rollout: shares={list(self.shares)} must rise from above 0 to 1")
        if self.watch_s < self.silent_s:
            why = f"must be at least silent_s={self.silent_s:g}, or a silent device goes unseen"
            raise ValueError(f"rollout: watch_s={self.watch_s:g} {why}")
        return self

    def check(self, *, heartbeat_s: float) -> None:
        """ValueError where a device that is well, and sends a heartbeat so often, may count as silent."""
        if self.silent_s < 2 * heartbeat_s:
            why = (
                f"must be at least twice firmware.heartbeat_s={heartbeat_s:g}, or one that is late takes an image back"
            )
            raise ValueError(f"rollout: silent_s={self.silent_s:g} {why}")


class Tiles(pydantic.BaseModel):
    """Where the console's map gets its background."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    url: str = pydantic.Field(pattern=r"^https://[^/ ;,']+/[^ ;,']*$")  # with {z}, {x} and {y}
    attribution: str  # who drew it, shown in a corner of the map


class Settings(pydantic.BaseModel):
    """What `init` was told, in hub.yaml, and what was added there by hand."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)  # passwords

    host: str  # by which devices reach the broker
    port: int = pydantic.Field(ge=1, le=65535)
    database: str  # a URL
    tiles: Tiles | None = None  # by hand; without, the map is a plain grid and asks nobody
    message_days: float = pydantic.Field(default=90.0, gt=0)  # by hand: messages that nobody confirmed are kept so long
    home_assistant: bool = False  # by hand: tell it of each device, and what it hears
    cap: Outgoing | None = None  # by hand: where CAP messages are sent
    webhooks: tuple[Webhook, ...] = ()  # by hand
    rollout: Rollout = Rollout()  # by hand
    feed: str | None = pydantic.Field(default=None, min_length=24, repr=False)  # by hand: the token of the GeoJSON feed
    verifier: Path | None = None  # by hand: of `gunshot train-verifier`, seen from where the hub is started
    escalation: list[str] = []  # by hand: addresses, as Apprise has them, that are called where nobody looks

    @pydantic.model_validator(mode="after")
    def _webhooks_have_names(self) -> "Settings":
        names = [one.name for one in self.webhooks]
        if len(set(names)) < len(names):
            raise ValueError(f"webhooks: each must have a name of its own, not {', '.join(names)}")
        return self


def init(folder: Path, *, host: str, port: int, url: str | None) -> Settings:
    """Make a hub's folder and its database, as far as they are not there; return its settings.

    ValueError where the folder is another hub's: its settings differ.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # also where somebody made it: database and sound in it are nobody else's
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
    if not revoked(folder).exists():
        certificates.revoke(folder / "authority", revoked(folder))
    certificates.issue(folder / "authority", folder / "client", HUB)
    for name in (topics.WATCH, topics.HOME_ASSISTANT):
        certificates.issue(folder / "authority", folder / name, name, copies=copies(folder))
    certificates.keep(folder / topics.WATCH / WATCHED, yaml.safe_dump({"host": host, "port": port}).encode())
    written, read = (
        "\n".join(f"pattern {access} {topics.topic('%u', leaf)}" for leaf in leaves)
        for access, leaves in (("write", topics.WRITTEN), ("read", topics.READ))
    )
    who = {"hub": HUB, "watch": topics.WATCH, "root": topics.ROOT, "life": topics.LIFE}
    who |= {"home": topics.HOME_ASSISTANT, "heard": topics.HEARD, "online": topics.HUB_STATUS}
    acl = ACL.format(**who, discovery=topics.discovery("+"), written=written, read=read)
    local = " localhost" if host == "localhost" else ""  # not to be reached from elsewhere: nor is it listened there
    user = pwd.getpwuid(os.getuid()).pw_name
    conf = CONF.format(
        folder=folder,
        user=user,
        port=port,
        interface=local,
        most_bytes=MOST_BYTES,
        most_packet=MOST_PACKET,
        queued_bytes=QUEUED_BYTES,
        revoked=REVOKED,
        pid=PID,
    )
    certificates.keep(folder / "acl", acl.encode())
    certificates.keep(folder / "mosquitto.conf", conf.encode())
    yaml_ = yaml.safe_dump(settings.model_dump(exclude_defaults=True), sort_keys=False)
    certificates.keep(folder / SETTINGS, yaml_.encode())  # last: now it is whole
    return settings


def load(folder: Path) -> Settings:
    """Return the settings of a hub's folder; ValueError where it is none."""
    return read(folder / SETTINGS, Settings, remedy=f"make it with `gunshot hub init {folder}`")


def order_key(folder: Path) -> Path:
    """Return the file of the key that signs orders, in a hub's folder."""
    return folder / "authority" / orders.KEY


def revoked(folder: Path) -> Path:
    """Return the file of the list of revoked certificates, in a hub's folder."""
    return folder / "broker" / REVOKED


def copies(folder: Path) -> Path:
    """Return where the certificates of devices are kept, in a hub's folder; their keys are not."""
    return folder / "authority" / "issued"


def withdraw(folder: Path, name: str) -> None:
    """Put each certificate that a device or client was ever given on the list of those that are revoked; its files go.

    That is each of which there is a copy, and that in its folder here. The broker learns of it by `revocation.enforce`.
    ValueError where a client has none: nothing else shuts it out, while the hub itself takes nothing from a device.
    """
    given, own = (
        certificates.issued(copies(folder), name),
        folder / ("" if name in topics.CLIENTS else "devices") / name,
    )
    if (own / "cert.pem").exists():  # of a hub that kept no copies yet
        given.append(x509.load_pem_x509_certificate((own / "cert.pem").read_bytes()))
    if not given and name in topics.CLIENTS:
        raise ValueError(
            f"{name} must have a certificate in {own} or {copies(folder)}, to withdraw; without, only a new authority "
            "shuts out who has it: `gunshot hub init` another folder, and enrol each device there"
        )
    if not given:
        log.warning("%s: no copy of its certificate is left; only a new authority shuts out who has it", name)
    certificates.revoke(folder / "authority", revoked(folder), given)
    for file in ("cert.pem", "key.pem"):
        (own / file).unlink(missing_ok=True)


def enrol(
    folder: Path, name: str, number: int,
    *, site: str | None = None, latitude: float | None = None, longitude: float | None = None,
    speech: Policy = Policy.forbidden, renew: bool = False, operators: Path | None = None,
) -> Path:  # fmt: skip
    """Write all that a device needs to its folder, and its row to the database, as far as they are not there.

    Returns the device's folder. Where it stands may change, as `sites.move` says. A device that was revoked is let in
    again. `renew` gives one that is enrolled a new certificate and key, and withdraws those that it has.
    `speech` is for the folder alone: the hub cannot change what a device has, and takes it from nowhere but here.
    `operators` is the folder of the public keys of those whose images it takes; without one it takes no image.
    ValueError where the name is none, or the name or the number is of another, or for what `sites.move` refuses.
    """
    topics.check_name(name)
    if not 0 <= number <= topics.MOST_NUMBER:
        raise ValueError(f"number={number} must be from 0 to {topics.MOST_NUMBER}")
    settings, key = load(folder), order_key(folder)
    if not key.exists():  # of a hub that was made before there were orders
        raise ValueError(f"{key}: no such file; `gunshot hub init {folder}` with the options of then makes it")
    with database.opened(settings.database) as engine, engine.begin() as connection:
        session = _enter(connection, name, number, renew=renew)
        site = sites.move(connection, name, site=site, latitude=latitude, longitude=longitude)
        audit.enter(connection, "device", name, now=datetime.now(UTC), event="renewed" if renew else "enrolled")
    out = folder / "devices" / name
    if renew:
        withdraw(folder, name)
    certificates.issue(folder / "authority", out, name, copies=copies(folder))
    certificates.keep(out / orders.KEY, keys.public_pem(keys.load(key)))
    for file in (order_key(folder).parent / orders.OVERRULE).glob("*.pem"):
        certificates.keep(out / orders.OVERRULE / file.name, file.read_bytes())
    for file in operators.glob("*.pem") if operators else ():
        certificates.keep(out / images.OPERATORS / file.name, file.read_bytes())
    Place(
        host=settings.host, port=settings.port, name=name, number=number, session=session, site=site, speech=speech
    ).save(out)
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


def _enter(connection: sql.Connection, name: str, number: int, *, renew: bool) -> int:
    """Write a device's row, or let it in again, and return the last session that is known of it, 0 for none."""
    device = database.DEVICE.c
    holders = connection.execute(
        sql.select(device.name, device.number).where(sql.or_(device.name == name, device.number == number))
    ).all()
    for other in holders:
        if other.name != name:
            raise ValueError(f"number={number} must be a device's own; {other.name} has it")
        if other.number != number:
            raise ValueError(f"number={number} must be {other.number}, with which {name} is enrolled")
    if renew and not holders:
        raise ValueError(f"name={name} must be enrolled before it is renewed")
    if not holders:
        connection.execute(sql.insert(database.DEVICE).values(name=name, number=number))
    connection.execute(sql.update(database.DEVICE).where(device.name == name).values(revoked_at=None))
    tables = database.SESSION.c, database.MESSAGE.c  # messages may come before the birth of their session
    known = (sql.select(sql.func.max(columns.session)).where(columns.device == name) for columns in tables)
    return max(connection.scalar(last) or 0 for last in known)
