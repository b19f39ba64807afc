"""What a device's camera shows: H.264 by RTSP over TCP, as a fragmented MP4 file in RAM. It is asked for no sound.

FFmpeg's words for an error hold the camera's address, and with it the password: none of them leaves this file.
"""

import queue
import threading
import time

from gunshot.device.parts import MOST_VIDEO

FRAGMENT_US = 500_000  # of video that leaves together
SILENT_S = 5.0  # after which a camera that says nothing is given up
CODEC = "h264"  # which browsers show, as it comes
STEP = 3600  # between two pictures that have no time, in the 1/90000 s of RTP: 25 a second
# The picture's size is known after one; how many come a second does not matter, and would take two seconds to see.
ASKED = {"rtsp_transport": "tcp", "allowed_media_types": "video", "fpsprobesize": "0"}
WRITTEN = {"movflags": "empty_moov+default_base_moof", "frag_duration": str(FRAGMENT_US)}


class _Pieces:
    """A file for FFmpeg to write to, whose content is taken out at its beginning."""

    def __init__(self):
        self._pieces: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.size = 0

    def write(self, piece: bytes) -> int:
        self._pieces.put(bytes(piece))
        self.size += len(piece)
        return len(piece)

    def take(self) -> bytes:
        out = []
        while not self._pieces.empty():
            out.append(self._pieces.get())
        return b"".join(out)


class Camera:
    """A camera that is watched for some seconds, in a thread of its own: the device must go on hearing.

    Attributes
    ----------
    note : str
        Why it ended before that; empty where it did not, or has not yet. It never holds an address.
    """

    def __init__(self, address: str, seconds: float):
        self.note = ""
        self._said = time.monotonic()  # when it said something last
        self._address, self._end = address, self._said + seconds
        self._pieces, self._closed = _Pieces(), False
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether no more comes than `take` returns now."""
        return not self._thread.is_alive()

    def take(self) -> bytes:
        """Return what came of the MP4 file since it was asked last."""
        return self._pieces.take()

    def close(self) -> None:
        """End it with the next picture."""
        self._closed = True

    def _run(self) -> None:
        try:
            self.note = self._copy()
        except ImportError:
            self.note = "this device has no PyAV: pip install av"
        except Exception as e:  # a device that listens for shots goes on, and the error holds the address
            self.note = f"it says nothing for {SILENT_S:g} s" if self._is_silent(e) else _words(e)

    def _is_silent(self, error: Exception) -> bool:
        """Return whether an error is that of a camera that said nothing: FFmpeg has several, `InvalidData` too."""
        import av

        has_said = isinstance(error, av.error.HTTPClientError | av.error.HTTPError)  # if late, as a wrong password
        return not has_said and time.monotonic() - self._said >= SILENT_S

    def _copy(self) -> str:
        """Copy pictures until the end, and return why it came early; whatever FFmpeg raises."""
        import av  # 0.2 s, and only where an order asks for it

        with av.open(self._address, options=ASKED, timeout=SILENT_S) as source:
            if not source.streams.video:
                return "it has no video"
            stream = source.streams.video[0]
            if stream.codec_context.name != CODEC:
                return f"it sends {stream.codec_context.name}: set it to H.264"
            with av.open(self._pieces, "w", format="mp4", container_options=WRITTEN) as sink:
                return self._mux(source, stream, sink)

    def _mux(self, source, stream, sink) -> str:
        out, times, last = sink.add_stream_from_template(stream), _Times(), None
        for packet in source.demux(stream):
            self._said = time.monotonic()
            if last is not None and packet.size:  # the next begins; of a camera that dies it may have come by half
                sink.mux(last)
            last = None
            if self._closed or time.monotonic() >= self._end:
                return ""
            if self._pieces.size > MOST_VIDEO:
                return f"it sends more than {MOST_VIDEO >> 20} MiB: take the address of its smaller stream"
            if packet.size and (times.has_begun or packet.is_keyframe):
                packet.pts, packet.dts = times.next(packet.pts, packet.dts)
                packet.stream, last = out, packet
        return "it has ended"


class _Times:
    """The times of pictures, from 0 on, in the stream's unit: some cameras give the first one none."""

    def __init__(self):
        self._base: int | None = None
        self._last = -STEP

    @property
    def has_begun(self) -> bool:
        return self._last >= 0

    def next(self, pts: int | None, dts: int | None) -> tuple[int, int]:
        """Return when the next picture is shown and decoded; the latter grows."""
        after = self._last + STEP
        pts = dts if pts is None else pts
        dts = pts if dts is None else dts
        if dts is not None and self._base is None:
            self._base = dts - after
        dts = after if dts is None else max(dts - self._base, self._last + 1)
        pts = dts if pts is None else max(pts - self._base, dts)
        self._last = dts
        return pts, dts


def _words(error: Exception) -> str:
    """Return what an error is, in words that the operating system or FFmpeg has for its number alone."""
    return getattr(error, "strerror", None) or type(error).__name__
