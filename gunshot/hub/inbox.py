"""What came by MQTT and is not taken in yet: many messages at a time, and no more of one device than its share.

An honest device has few messages on its way at once, and sends more as they are acknowledged: what comes faster than
its share is late then, and none is lost. Of one that does not wait for that, the rest is passed over, and counted.
"""

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from paho.mqtt import client as mqtt

from gunshot.device import topics

MOST = 200  # messages that are taken in together
RATE, BURST = (
    25.0,
    100.0,
)  # of one device, messages a second, and at once; live video of 8.9 Mbit/s has 19 parts a second
MOST_LATE = 100  # messages of one device that wait for its share
MOST_LATE_BYTES = 64 * 2**20  # of all devices


@dataclass
class _Share:
    """What a device may send: so many messages at a time, and which ones wait."""

    left: float
    at: float
    late: deque[mqtt.MQTTMessage] = field(default_factory=deque)

    def takes(self, now: float) -> bool:
        """Return whether one more message is within the share; it is counted then."""
        self.left, self.at = min(BURST, self.left + RATE * (now - self.at)), now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Inbox:
    """The messages that wait to be taken in.

    Parameters
    ----------
    confirm : tells the broker that it need not keep a message, which its device does until it is acknowledged
    clock : in seconds
    """

    def __init__(self, confirm: Callable[[mqtt.MQTTMessage], None], clock: Callable[[], float] = time.monotonic):
        self._confirm, self._clock = confirm, clock
        self._due: list[mqtt.MQTTMessage] = []
        self._shares: dict[str, _Share] = {}
        self._late_bytes = 0
        self._passed_over: Counter[str] = Counter()
        self.seen = 0  # messages, whatever became of them

    def __len__(self) -> int:
        """Return how many messages are due, those that were late not among them."""
        return len(self._due)

    @property
    def wait_s(self) -> float | None:
        """Return after what time one that is late may be due; None where none is late."""
        return 1 / RATE if self._late_bytes else None

    def put(self, message: mqtt.MQTTMessage) -> None:
        """Add a message. What is late is confirmed, so that the broker sends what others said."""
        self.seen += 1
        device, _ = topics.parts(message.topic)
        share = self._shares.setdefault(device, _Share(BURST, self._clock()))
        if not share.late and share.takes(self._clock()):
            self._due.append(message)
            return
        if len(share.late) < MOST_LATE and self._late_bytes + _size(message) <= MOST_LATE_BYTES:
            share.late.append(message)
            self._late_bytes += _size(message)
        else:
            self._passed_over[device] += 1
        self._confirm(message)

    def take(self) -> tuple[list[mqtt.MQTTMessage], list[mqtt.MQTTMessage]]:
        """Return the messages that are due, and keep them no longer: those to be confirmed yet, and those that were."""
        due, self._due, late, now = self._due, [], [], self._clock()
        for share in self._shares.values() if self._late_bytes else ():
            while share.late and share.takes(now):
                self._late_bytes -= _size(share.late[0])
                late.append(share.late.popleft())
        return due, late

    def forget(self) -> None:
        """Drop what is due, after the broker is gone: it was not confirmed, so it comes again."""
        self._due.clear()

    def passed_over(self) -> Counter[str]:
        """Return how many messages of each device were passed over since this was asked last."""
        out, self._passed_over = self._passed_over, Counter()
        return out


def _size(message: mqtt.MQTTMessage) -> int:
    return 1 + len(message.payload)  # one without content too waits in its turn
