"""What came by MQTT and is not taken in yet: many messages at a time, and no more of one device than its share.

An honest device has few messages on its way at once, and sends more as they are acknowledged: what comes faster than
its share is late then, and none is lost. Of one that does not wait for that, the rest is passed over, and counted.
What a device sends once and not again is not lost in that: of birth and status the last is kept, and a refusal waits.
"""

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from paho.mqtt import client as mqtt

from gunshot.device import topics

MOST = 200  # messages that are taken in together
RATE = 25.0  # messages a second of one device; live video of 8.9 Mbit/s has 19 parts a second
BURST = 100.0  # and at once
MOST_LATE = 100  # messages of one device that wait for its share, and as many refusals besides
MOST_LATE_BYTES = 2**20  # of one device; each has its own, so that a flood takes no other's room
REFUSAL, MOST_REFUSAL = b'{"kind":"refused"', 2**13  # how a device's begins, and its bytes at most


@dataclass
class _Share:
    """What a device may send: so many messages at a time, and which ones wait."""

    left: float
    at: float
    late: deque[mqtt.MQTTMessage] = field(default_factory=deque)
    late_bytes: int = 0

    def takes(self, now: float) -> bool:
        """Return whether one more message is within the share; it is counted then."""
        self.left, self.at = min(BURST, self.left + RATE * (now - self.at)), now
        if self.left < 1:
            return False
        self.left -= 1
        return True

    def waits(self, message: mqtt.MQTTMessage) -> bool:
        """Return whether a message has room to wait; it does then."""
        if _is_refusal(message):
            has_room = len(self.late) < 2 * MOST_LATE
        else:
            has_room = len(self.late) < MOST_LATE and self.late_bytes + len(message.payload) <= MOST_LATE_BYTES
        if has_room:
            self.late.append(message)
            self.late_bytes += len(message.payload)
        return has_room

    def next(self) -> mqtt.MQTTMessage:
        """Return the message that waits longest, which waits no more."""
        self.late_bytes -= len(self.late[0].payload)
        return self.late.popleft()


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
        self._last: dict[str, mqtt.MQTTMessage] = {}  # beyond its share, the last of each retained topic
        self._shares: dict[str, _Share] = {}  # by device, or retained topic
        self._late = 0  # messages
        self._passed_over: Counter[str] = Counter()
        self.seen = 0  # messages, whatever became of them

    def __len__(self) -> int:
        """Return how many messages are due, those that were late not among them."""
        return len(self._due) + len(self._last)

    @property
    def wait_s(self) -> float | None:
        """Return how long to wait until a late message may be due; None where none is late."""
        return 1 / RATE if self._late else None

    def put(self, message: mqtt.MQTTMessage) -> None:
        """Add a message. What is late is confirmed, so that the broker sends what others said."""
        self.seen += 1
        device, leaf = topics.parts(message.topic)
        is_retained = leaf in topics.RETAINED  # no device sends it again: it has a share of its own, and does not wait
        share = self._shares.setdefault(message.topic if is_retained else device, _Share(BURST, self._clock()))
        in_turn = message.topic not in self._last if is_retained else not share.late
        if in_turn and share.takes(self._clock()):
            self._due.append(message)
            return
        if is_retained:
            before, self._last[message.topic] = self._last.get(message.topic), message
            if before:
                self._confirm(before)
            return
        if share.waits(message):
            self._late += 1
        else:
            self._passed_over[device] += 1
        self._confirm(message)

    def take(self) -> tuple[list[mqtt.MQTTMessage], list[mqtt.MQTTMessage]]:
        """Return the messages that are due, and keep them no longer: those to be confirmed yet, and those that were."""
        due, late, now = [*self._due, *self._last.values()], [], self._clock()
        self.forget()
        for share in self._shares.values() if self._late else ():
            while share.late and share.takes(now):
                late.append(share.next())
        self._late -= len(late)
        return due, late

    def forget(self) -> None:
        """Drop what is due, after the broker is gone: it was not confirmed, so it comes again."""
        self._due.clear()
        self._last.clear()

    def passed_over(self) -> Counter[str]:
        """Return how many messages of each device were passed over since this was asked last."""
        out, self._passed_over = self._passed_over, Counter()
        return out


def _is_refusal(message: mqtt.MQTTMessage) -> bool:
    return message.payload.startswith(REFUSAL) and len(message.payload) <= MOST_REFUSAL
