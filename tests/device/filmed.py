"""A camera on loopback: an RTSP server, and FFmpeg's synthetic picture with a tone, sent at their own pace."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.flows.prefect_server import free_port, started
from tests.hub.waiting import until

USER, PASSWORD = "warden", "geheim-4711"
RATE, LASTS_S = 10, 30  # pictures a second, and for how long; then it ends
SERVER = Path(__file__).with_name("rtsp_server.py")


def film(file: Path, codec: str = "libx264", seconds: float = LASTS_S) -> None:
    """Write FFmpeg's test picture with noise, as many bytes as of a small camera, and a tone of 440 Hz."""
    picture = av.open(f"testsrc=size=160x120:rate={RATE}:duration={seconds},noise=alls=40:allf=t", format="lavfi")
    tone = av.open(f"sine=frequency=440:sample_rate=16000:duration={seconds}", format="lavfi")
    with picture, tone, av.open(file, "w") as out:
        options = {"preset": "ultrafast", "tune": "zerolatency", "g": str(RATE)}
        video = out.add_stream(codec, rate=RATE, width=160, height=120, pix_fmt="yuv420p", options=options)
        sound = out.add_stream("aac", rate=16000)
        for i, frame in enumerate(picture.decode(video=0)):
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base, frame.pict_type = i, Fraction(1, RATE), 0
            out.mux(video.encode(frame))
        for frame in tone.decode(audio=0):
            out.mux(sound.encode(frame))
        out.mux(video.encode())
        out.mux(sound.encode())


def pictures(source) -> np.ndarray:
    """The pictures of a file that has no sound, as gray levels [shape=(n, height, width)]."""
    with av.open(source) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["h264"]
        return np.array([frame.to_ndarray(format="gray") for frame in container.decode(video=0)])


class Camera:
    """A camera that runs: its address, and what it noted of those who came."""

    def __init__(self, port: str, log: Path, film: Path):
        self.address = f"rtsp://{USER}:{PASSWORD}@127.0.0.1:{port}/film.mp4"
        self.film, self._log, self._before = film, log, 0

    def forget(self) -> None:
        """Count from here on."""
        self._before = len(self._log.read_text())

    def visits(self) -> int:
        """How many connections reached it."""
        return len(re.findall(r"\) connected$", self._noted(), re.MULTILINE))

    def tracks(self) -> list[str]:
        """The tracks that were asked of it."""
        return re.findall(r"SETUP \S+/(track\d)", self._noted())

    def _noted(self) -> str:
        return self._log.read_text()[self._before :]


@contextmanager
def camera(place: Path) -> Iterator[tuple[Camera, object]]:
    """Run a camera in a folder; with its process."""
    place.mkdir(exist_ok=True)
    port, log, file = free_port(), place / "camera.log", place / "film.mp4"
    if not file.exists():
        film(file)
    command = (sys.executable, SERVER, place, port, USER, PASSWORD)
    with started(log, *command, env=os.environ | {"PYTHONUNBUFFERED": "1"}) as server:
        until(lambda: "listening" in log.read_text(), log.read_text)
        yield Camera(port, log, file), server


def copied(film: Path, place: Path) -> Path:
    """A folder with a film that is there already."""
    place.mkdir()
    shutil.copy(film, place / "film.mp4")
    return place
