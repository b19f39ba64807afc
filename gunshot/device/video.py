"""The answer to one order for video: what the camera shows until the span has ended, cut into parts as it comes."""

import hashlib
import logging
import time

from gunshot.device import parts
from gunshot.device.camera import Camera
from gunshot.device.orders import RefusedError
from gunshot.device.outgoing import Outgoing
from gunshot.device.parts import End, VideoPart
from gunshot.device.ring import Ring

log = logging.getLogger("gunshot")


class Video(Outgoing):
    """The answer to one order, as far as the hub does not have it. The camera is opened when the span begins.

    It is refused where the camera shows nothing.

    Parameters
    ----------
    order : its id
    start_us, stop_us : the span that it asks for, microseconds since 1970
    address : the camera's
    """

    def __init__(self, order: str, start_us: int, stop_us: int, address: str):
        super().__init__((stop_us - start_us) / 1e6)
        self._order, self._start_us, self._stop_us, self._address = order, start_us, stop_us, address
        self._camera: Camera | None = None
        self._count = 0  # of parts that were cut
        self._hash = hashlib.sha256()

    def cut(self, _: Ring | None) -> None:
        """Cut what came of the camera; what the device heard does not matter."""
        now_us = time.time_ns() // 1000
        if self.ended is not None or self.refused or now_us < self._start_us:
            return None
        if self._camera is None:
            if now_us >= self._stop_us:
                return self._end("")
            self._camera = Camera(self._address, (self._stop_us - now_us) / 1e6)
        is_done, content = self._camera.is_done, self._camera.take()
        for i in range(0, len(content), parts.MOST_BYTES):
            self._add(content[i : i + parts.MOST_BYTES])
        return self._end(self._camera.note) if is_done else None

    def _add(self, content: bytes) -> None:
        said = VideoPart(order=self._order, number=self._count, sha256=hashlib.sha256(content).hexdigest())
        self.waiting[self._count] = parts.encode(said, content)
        self._hash.update(content)
        self._count += 1

    def _end(self, note: str) -> None:
        if not self._count:
            why = note or "it showed nothing before the span had ended"
            self.refused = RefusedError("camera", why)
            return
        note = note and f"of its camera: {note}"
        end = End(order=self._order, number=self._count, sha256=self._hash.hexdigest(), note=note)
        self.waiting[self._count], self.ended = parts.encode(end), time.monotonic()
        log.info("order %s: the video was cut, %d parts%s", self._order, self._count, note and f"; {note}")

    def close(self) -> None:
        """Look at the camera no longer."""
        if self._camera:
            self._camera.close()
