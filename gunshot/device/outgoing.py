"""The parts of an answer on their way to the hub, until it has them."""

from gunshot.device.orders import RefusedError

WINDOW = 8  # parts of an answer that are on their way at once


class Outgoing:
    """What an answer has for the hub.

    Attributes
    ----------
    seconds : float
        How long what it asks for is.
    refused : RefusedError | None
        Why nothing is sent, where that is known only after the order was taken.
    ended : float | None
        When all was cut.
    waiting : dict[int, bytes]
        The parts that the hub does not have, by number.
    """

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.waiting: dict[int, bytes] = {}
        self.refused: RefusedError | None = None
        self.ended: float | None = None
        self._due: dict[int, float] = {}  # when a part goes out again

    def outgoing(self, now: float, resend_s: float) -> list[bytes]:
        """Return what goes out now."""
        out = [number for number in sorted(self.waiting)[:WINDOW] if now >= self._due.get(number, now)]
        self._due |= dict.fromkeys(out, now + resend_s)
        return [self.waiting[number] for number in out]

    def again(self) -> None:
        """Let all go out again."""
        self._due.clear()

    def close(self) -> None:
        """Nothing more is wanted of it."""
