"""A device's link to its hub, by MQTT: what waits in its outbox goes out, and is deleted when the hub acknowledges it.
Orders come in, and answers go out the same way.

The broker's word (PUBACK) deletes nothing: a broker may lose what it has, and it keeps little for a hub that is away.
"""

import logging
import queue
import time
from contextlib import suppress
from pathlib import Path

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from gunshot.device import topics
from gunshot.device.answers import Answers
from gunshot.device.installer import Installer
from gunshot.device.outbox import Outbox
from gunshot.device.topics import NO_PROFILE, Acknowledgement, Birth, SiteProfile, Status

WINDOW = 20  # messages that are on their way at once
RESEND_S, MOST_RESEND_S = 30.0, 3600.0  # without an acknowledgement; twice as long each time, up to the latter
KEEPALIVE_S = 30
LONGEST_S = 60  # between attempts to connect
LAST_S = 5.0  # that a device which ends waits for its last word to be taken

log = logging.getLogger("gunshot")


class Link:
    """The connection of a device that has begun a session. Its thread reads and writes; all else is in the caller's.

    Parameters
    ----------
    folder : the device's, with its certificate, key and authority
    host, port : of the broker
    outbox : what it sends; it is used in the caller's thread alone
    birth : what it says of itself at each connection
    answers : what it answers to orders; used in the caller's thread too
    site : what it says of a site's profile
    resend_s : after which a message goes out again; then after twice as long, and so on
    installer : what it does with offers of a roll-out; None: it takes none
    """

    def __init__(
        self, folder: Path, host: str, port: int, outbox: Outbox, birth: Birth, answers: Answers,
        *, site: SiteProfile = NO_PROFILE, resend_s: float = RESEND_S, installer: Installer | None = None,
    ):  # fmt: skip
        self._outbox, self._birth, self._answers, self._resend_s = outbox, birth, answers, resend_s
        self._site, self._installer, self._disk_fault = site, installer, outbox.fault
        self._online = True
        self._due: dict[tuple[int, int], tuple[float, float]] = {}  # when it goes out again, and how long after that
        self._news: queue.SimpleQueue[mqtt.MQTTMessage | None] = queue.SimpleQueue()  # None: connected anew
        # A session without an end: acknowledgements that come while the device is away are kept.
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=birth.name, clean_session=False, protocol=mqtt.MQTTv311
        )
        client.tls_set(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
        client.reconnect_delay_set(1, LONGEST_S)
        client.will_set(self._topic("status"), self._status(online=False), qos=1, retain=True)
        client.on_connect, client.on_message = self._connected, lambda _, __, message: self._news.put(message)
        client.on_connect_fail = lambda *_: log.warning("no connection to %s:%d yet", host, port)
        client.on_disconnect = lambda _, __, ___, reason, ____: log.info("disconnected from the broker: %s", reason)
        client.connect_async(host, port, KEEPALIVE_S)
        self._client = client
        client.loop_start()

    def pump(self, wait_s: float = 0.0) -> None:
        """Delete what was acknowledged, take orders, and send what waits. Waits so long for news, at most."""
        try:
            self._read(self._news.get(timeout=wait_s) if wait_s else self._news.get_nowait())
            while True:
                self._read(self._news.get_nowait())
        except queue.Empty:
            pass
        self._answers.pump()
        if self._outbox.fault != self._disk_fault:
            self._disk_fault = self._outbox.fault
            self._say_status()
        if not self._client.is_connected():
            return
        waiting, now = self._outbox.next(WINDOW), time.monotonic()
        keys = [(one.session, one.sequence) for one in waiting]
        self._due = {key: self._due.get(key, (now, self._resend_s)) for key in keys}
        for key, one in zip(keys, waiting, strict=True):
            due, pause_s = self._due[key]
            if now >= due:
                self._client.publish(self._topic("alert"), one.payload, qos=1)
                self._due[key] = now + pause_s, min(2 * pause_s, MOST_RESEND_S)
        for reply in self._answers.outgoing() + (self._installer.outgoing() if self._installer else []):
            self._client.publish(self._topic("reply"), reply, qos=1)

    def tell(self, *, online: bool) -> None:
        """Say whether the device is there, where that is news; a link begins as one of a device that is."""
        if online != self._online:
            self._online = online
            self._say_status()

    def say(self, site: SiteProfile) -> None:
        """Say what the device has of a site's profile, where that is news."""
        if site != self._site:
            self._site = site
            self._say_status()

    def close(self) -> None:
        """Say that the device ends, and disconnect; what waits stays in the outbox."""
        if self._client.is_connected():
            last = self._client.publish(self._topic("status"), self._status(online=False), qos=1, retain=True)
            with suppress(RuntimeError):  # the connection ended just now
                last.wait_for_publish(LAST_S)
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, client: mqtt.Client, _, __, reason, ___) -> None:
        if reason.is_failure:
            return log.warning("the broker refuses this device: %s", reason)
        log.info("connected to the broker")
        client.subscribe([(self._topic(leaf), 1) for leaf in topics.READ])
        return self._news.put(None)

    def _read(self, news: mqtt.MQTTMessage | None) -> None:
        if news is None:
            self._client.publish(self._topic("birth"), self._birth.encode(), qos=1, retain=True)
            self._client.publish(self._topic("status"), self._status(online=self._online), qos=1, retain=True)
            self._due.clear()  # a broker that was killed may have lost what it had
            self._answers.again()
            if self._installer:
                self._installer.again()
            return None
        if news.topic == self._topic("order"):
            return self._answers.take(news.payload)
        if news.topic == self._topic("image"):
            return self._installer and self._installer.take(news.payload)
        if len(news.payload) != topics.NUMBERS.size:  # it is a part that is acknowledged, and no message
            return self._answers.acknowledged(news.payload)
        acknowledgement = Acknowledgement.decode(news.payload)
        if acknowledgement.device == self._birth.number:
            self._outbox.remove(acknowledgement.session, acknowledgement.sequence)
            if self._installer and acknowledgement.session == self._birth.session:
                self._installer.calm()
        return None

    def _say_status(self) -> None:
        if self._client.is_connected():
            self._client.publish(self._topic("status"), self._status(online=self._online), qos=1, retain=True)

    def _topic(self, leaf: str) -> str:
        return topics.topic(self._birth.name, leaf)

    def _status(self, *, online: bool) -> bytes:
        dropped = self._outbox.dropped if online else None  # a will is written before anything is dropped
        said = {"site": self._site.site, "site_fault": self._site.fault, "disk_fault": self._outbox.fault}
        return Status(session=self._birth.session, online=online, dropped=dropped, **said).encode()
