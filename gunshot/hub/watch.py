"""An outside watch: whether broker, hub and console are alive, as another machine hears it, and who is called if not.

Its folder is ``watch/`` of a hub's, moved to that machine: ``watch.yaml``, a certificate, its key, and the authority.
"""

import json
import ssl
import time
import urllib.request
from pathlib import Path

import apprise
import pydantic
import tenacity
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from gunshot.base.files import atomic
from gunshot.device import topics
from gunshot.device.place import read
from gunshot.hub.folder import WATCHED

CALLED = "called.json"  # places of the list that heard that the hub is dead
PATIENCE_S = 15.0  # a hub that starts anew is not dead
PAUSE_S = 0.5  # between two attempts to connect, and two looks at what came


class Settings(pydantic.BaseModel):
    """What watch.yaml says."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)  # passwords

    host: str  # of the broker
    port: int = pydantic.Field(ge=1, le=65535)
    console: str | None = pydantic.Field(default=None, pattern="^https://[^/]+$")  # by hand: its address
    escalation: list[str] = []  # by hand: as in hub.yaml

    @pydantic.field_validator("escalation")
    @classmethod
    def _known(cls, addresses: list[str]) -> list[str]:
        for place, address in enumerate(addresses, 1):
            if apprise.Apprise.instantiate(address) is None:
                raise ValueError(f"number {place} must be an address that Apprise knows")
        return addresses

    @classmethod
    def load(cls, folder: Path) -> "Settings":
        """Return what a folder's watch.yaml says; ValueError where it is no watch's folder."""
        return read(folder / WATCHED, cls, remedy="`gunshot hub init` writes it to HUB/watch")


def watch(folder: Path) -> None:
    """Look whether all is alive, and call each address once where it is not, and once more when it is again.

    Whoever could not be called is called by the next look.

    Raises
    ------
    ConnectionError
        Broker, hub or console is dead: which, and why.
    ValueError
        The folder is no watch's.
    """
    settings = Settings.load(folder)
    try:
        look(folder, settings)
    except ConnectionError as e:
        _call(folder, settings, "gunshot: the hub is dead", str(e), since=True)
        raise
    _call(folder, settings, "gunshot: the hub is alive again", "Broker, hub and console answer.", since=False)


def look(folder: Path, settings: Settings) -> None:
    """Return once the hub gave a sign of life by the broker, and the console answered where its address is known.

    ConnectionError: they did not for PATIENCE_S.
    """
    end = time.monotonic() + PATIENCE_S
    until = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(ConnectionError),
        stop=lambda _: time.monotonic() + PAUSE_S > end,
        wait=tenacity.wait_fixed(PAUSE_S),
        reraise=True,
    )
    until(_hear, folder, settings, end)
    if settings.console:  # once the hub was heard: what is left of the time is no reason to doubt that
        until(_ask, folder, settings.console, end)


def _hear(folder: Path, settings: Settings, end: float) -> None:
    at, came = f"{settings.host}:{settings.port}", []
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=topics.WATCH, protocol=mqtt.MQTTv311)
    client.tls_set(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    client.on_connect = lambda *_: client.subscribe(topics.LIFE)
    client.on_message = lambda *_: came.append(True)
    try:
        client.connect(settings.host, settings.port)
        while not came:
            if client.loop(PAUSE_S) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                raise ConnectionError("it ended the connection")
            if time.monotonic() > end:
                break
    except OSError as e:
        raise ConnectionError(f"the broker at {at} does not answer: {e}") from None
    finally:
        client.disconnect()
    if not came:
        raise ConnectionError(f"the hub gives no sign of life; the broker at {at} answers")


def _ask(folder: Path, console: str, end: float) -> None:
    context, left_s = ssl.create_default_context(cafile=folder / "ca.pem"), max(1.0, end - time.monotonic())
    try:
        urllib.request.urlopen(f"{console}/login", timeout=left_s, context=context).close()
    except OSError as e:
        raise ConnectionError(f"the console at {console} does not answer: {e}") from None


def _call(folder: Path, settings: Settings, title: str, body: str, *, since: bool) -> None:
    """Call who has not heard yet that it is dead since some time, or else that it is alive again; note each who has."""
    file = folder / CALLED
    called = json.loads(file.read_text()) if file.exists() else []
    for place, address in enumerate(settings.escalation, 1):
        if (place in called) == since:
            continue
        service = apprise.Apprise()
        service.add(address)
        if service.notify(title=title, body=body):
            called = sorted({*called, place} if since else {*called} - {place})
            with atomic(file) as part:
                part.write_text(json.dumps(called))
