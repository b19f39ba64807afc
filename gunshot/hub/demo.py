"""A hub to look at, on this machine alone: broker, hub, console, and devices that hear a simulated street.

Broker, hub and console are processes, as on a real site; the devices are threads, which hear the same sound at the
same time, again and again. All end with this process, however it ends.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from gunshot.base import audio, processes
from gunshot.device import run as device
from gunshot.hub import database, folder, plane, sites, worlds
from gunshot.hub.console import people
from gunshot.hub.console.roles import Role
from gunshot.models.model import load_model

SEED = 8  # of a street in which all devices hear each shot, and one takes fireworks for a shot
DEVICES, SITE, DEVICES_NEEDED = ("corner", "gate", "lamp"), "street", 2
PERSON = "demo"
HEARTBEAT_S = 10.0
CLOCK_US = 1000  # error: the devices share this machine's clock
PROGRAM = (sys.executable, "-c", "import sys; sys.argv[0] = 'gunshot'; from gunshot.cli import main; main()")
START_S, LAST_S, LOOK_S = 120.0, 15.0, 0.1  # for a process to be there, and to end; between two looks

Played = Iterator[tuple[np.ndarray, bool]]


@dataclass(frozen=True)
class Child:
    """A process of the demo, and the file of what it says."""

    program: subprocess.Popen
    log: Path

    def check(self) -> None:
        """Raise ChildProcessError where it has ended."""
        if self.program.poll() is not None:
            raise ChildProcessError(f"{self.log.stem} has ended; {self.log} says why:\n{self.log.read_text().strip()}")

    def said(self, pattern: str) -> str:
        """Return what a pattern matches in what it says, once it says so; ChildProcessError: it does not."""
        end = time.monotonic() + START_S
        while not (match := re.search(pattern, self.log.read_text())):
            self.check()
            if time.monotonic() > end:
                raise ChildProcessError(f"{self.log.stem} did not start within {START_S:g} s; {self.log} may say why")
            time.sleep(LOOK_S)
        return match[0]


def run(place: Path, file: Path, p: device.Sections) -> None:
    """Run a demo in a folder until interrupted, and print how to look at it. `file` is the devices' model.

    Raises
    ------
    ValueError
        Mosquitto or the model is missing, or the folder is another hub's.
    ChildProcessError
        One of its processes has ended.
    """
    if not (mosquitto := shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")):
        raise ValueError("mosquitto is missing; on Debian: apt install mosquitto")
    print("Simulating a street.", flush=True)
    world = worlds.street(SEED, devices=len(DEVICES), sr=p.audio.sr)
    places = prepare(place, world)
    with ExitStack() as stack:
        children = [
            stack.enter_context(child(place, "broker", mosquitto, "-c", place / "mosquitto.conf")),
            stack.enter_context(child(place, "hub", *PROGRAM, "hub", "run", place)),
            stack.enter_context(child(place, "console", *PROGRAM, "hub", "console", place, "--port", "0")),
        ]
        children[1].said("connected to the broker")
        page = children[2].said(r"https://localhost:\d+\n").strip()
        playing = stack.enter_context(heard(places, world, file, p))
        print(f"{page}    name: {PERSON}    password: {admit(place)}")
        print(f"Browsers warn unless they trust {place}/authority/cert.pem. Each {worlds.STREET_S} s there are")
        print("fireworks, a door, and a gun, which all three devices hear. Ctrl-C ends it.", flush=True)
        while True:
            for ended in wait(playing, LOOK_S, FIRST_EXCEPTION).done:
                ended.result()
            for one in children:
                one.check()


def prepare(place: Path, world: worlds.World) -> list[Path]:
    """Make a hub's folder for the devices of a world, as far as it is not there; return the devices' folders."""
    if not (place / folder.SETTINGS).exists():
        with socket.create_server(("localhost", 0)) as free:
            port = free.getsockname()[1]
        folder.init(place, host="localhost", port=port, url=None)
    with database.opened(folder.load(place).database) as engine, engine.begin() as connection:
        sites.put(connection, SITE, devices_needed=DEVICES_NEEDED, exercise=True)
    stands = plane.degrees(world.place, origin=worlds.ORIGIN).tolist()
    return [
        folder.enrol(place, name, number, site=SITE, latitude=latitude, longitude=longitude)
        for number, (name, (latitude, longitude)) in enumerate(zip(DEVICES, stands, strict=True), 1)
    ]


def admit(place: Path) -> str:
    """Let a reviewer in, and return the password, which is a new one each time."""
    with database.opened(folder.load(place).database) as engine, engine.begin() as connection:
        return people.admit(connection, PERSON, Role.reviewer, now=datetime.now(UTC))


@contextmanager
def child(place: Path, name: str, *command: str | Path) -> Iterator[Child]:
    """Run a command, which says what it says to NAME.log in a folder, and end it as Ctrl-C does."""
    log = place / f"{name}.log"
    # In a group of its own: a terminal's Ctrl-C goes to this process alone, which ends the others in their order.
    with log.open("w") as out:
        program = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, process_group=0,
            preexec_fn=partial(processes.end_with_parent, os.getpid()),
        )  # fmt: skip
    try:
        yield Child(program, log)
    finally:
        program.send_signal(signal.SIGINT)
        try:
            program.wait(LAST_S)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


@contextmanager
def heard(places: list[Path], world: worlds.World, file: Path, p: device.Sections) -> Iterator[list[Future]]:
    """Let devices hear a world again and again; give what is done where one has ended."""
    beating = {"firmware": p.firmware.model_copy(update={"heartbeat_s": HEARTBEAT_S})}
    own, stop, begun = SimpleNamespace(**vars(p) | beating), threading.Event(), time.monotonic()
    size = p.detector.hop * p.features.hop_length

    def be(place: Path, pcm: np.ndarray) -> int:
        model = load_model(file)  # its own: an interpreter is one thread's
        source = played(pcm, p.audio.sr, size, begun, stop)
        return device.listen(place, source, model, model.threshold(), own, error_us=lambda: CLOCK_US)

    with ThreadPoolExecutor(len(places)) as pool:
        try:
            yield [pool.submit(be, place, pcm) for place, pcm in zip(places, world.pcm, strict=True)]
        finally:
            stop.set()


def played(pcm: np.ndarray, sr: int, size: int, begun: float, stop: threading.Event) -> Played:
    """Yield int16 samples [shape=(n,)] as a microphone's blocks, from the time `begun` on, again and again.

    KeyboardInterrupt once `stop` is set, as where a person ends a device.
    """
    at = 0
    while not stop.wait(max(0.0, begun + (at + size) / sr - time.monotonic())):
        yield audio.to_float(pcm.take(range(at, at + size), mode="wrap")), False
        at += size
    raise KeyboardInterrupt
