"""A roll-out to an emulated board: a hub, Mosquitto, a bridge that is killed, the board's UART on a pty, its flash."""

import os
import random
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from gunshot.device import emulator
from gunshot.device.board_image import PART
from gunshot.device.images import OPERATORS
from gunshot.device.place import Place
from gunshot.hub import database, folder, rollouts
from gunshot.hub.database import REFUSED, ROLLOUT, ROLLOUT_DEVICE, SESSION
from gunshot.hub.folder import Rollout
from gunshot.signing import keys, record
from tests.firmware.board import NAME as CLASS
from tests.firmware.board import OPERATOR, SLOT, Board, header, manifest
from tests.firmware.test_ports import FIRMWARE
from tests.hub.network import Network, until
from tests.hub.test_bridge import Wire, bridged
from tests.hub.test_rollout_network import an_hour_later

pytestmark = pytest.mark.firmware
PATIENCE_S = 240.0  # byte by byte through two threads of QEMU, which takes seconds a part where all cores are busy
IMAGE, OTHER = (random.Random(seed).randbytes(700) for seed in (1, 2))  # 3 parts on the line
HEAD = bytes([ord("G"), ord("S"), 2, PART])


class Plugged(threading.Thread):
    """A board at the bridge's wire, in a thread: it starts again whenever it ends, or power is cut.

    `after` has by how many of an image's parts were sent to the board what is done then, once.
    """

    def __init__(self, board: Board, wire: Wire):
        super().__init__(daemon=True)
        self.board, self.wire, self.parts, self.after = board, wire, 0, {}
        self.is_cut, self.is_pulled = threading.Event(), threading.Event()

    def run(self) -> None:
        while not self.is_pulled.is_set():
            with self.board.powered() as (emulated, line):
                while emulated.poll() is None and not self.is_cut.is_set() and not self.is_pulled.is_set():
                    self._pass(line)
                self.is_cut.clear()

    def _pass(self, line: int) -> None:
        """Pass on what either end has sent."""
        for end in select.select([line, self.wire.end], [], [], 0.1)[0]:
            try:
                data = os.read(end, 4096)
                os.write(self.wire.end if end == line else line, data)
            except OSError:  # nobody is there: a bridge that was killed, a board that has ended
                time.sleep(0.01)
                continue
            self.parts += data.count(HEAD) if end != line else 0
            for count in [count for count in list(self.after) if count <= self.parts]:
                self.after.pop(count)()

    def cut(self) -> None:
        """Cut its power, and give it again."""
        starts = self.board.starts
        self.is_cut.set()
        until(lambda: self.board.starts > starts, "it starts again")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    key = header(tmp_path_factory.mktemp("key"))
    return emulator.build(CLASS, firmware=FIRMWARE, ota_key=key) / "gunshot"


@pytest.fixture
def network(tmp_path) -> Network:
    """A hub whose device is the bridge of a board."""
    network = Network(tmp_path / "hub")
    record.write(network.device / OPERATORS / "ada.pem", keys.public_pem(OPERATOR))
    Place.load(network.device).model_copy(update={"board": CLASS}).save(network.device)
    return network


@pytest.fixture
def wire(tmp_path) -> Wire:
    return Wire(tmp_path / "ttyBOARD", tmp_path / "bridge.log")


@pytest.fixture
def plugged(program, tmp_path, wire) -> Iterator[Plugged]:
    """A board that is plugged in once a test starts it."""
    (tmp_path / "board").mkdir()
    one = Plugged(Board(tmp_path / "board", program, heard_s=36_000), wire)
    yield one
    one.is_pulled.set()
    if one.is_alive():
        one.join()


def begin(network: Network, image: bytes, number: int) -> None:
    """Start a roll-out that is an hour old, so that the board may be told to keep it at once."""
    signed = rollouts.Image(image, manifest(image, number))
    with database.opened(network.url) as engine, engine.begin() as connection:
        rollouts.start(
            connection, keys.load(folder.order_key(network.folder)), signed, [OPERATOR.public_key()],
            Rollout(shares=(1.0,)), canary=None, person="anna", reason="a test",
            now=datetime.now(UTC) - timedelta(hours=1),
        )  # fmt: skip


def last(network: Network) -> tuple[dict, dict]:
    """The last roll-out, and its one device."""
    row = max(network.rows(ROLLOUT), key=lambda row: row["started_at"])
    (one,) = (one for one in network.rows(ROLLOUT_DEVICE) if one["rollout"] == row["id"])
    return row, one


def is_there(network: Network) -> bool:
    """Whether the hub knows a board that takes images."""
    return any(row["online"] and f"image:{CLASS}" in row["capabilities"] for row in network.rows(SESSION))


def kill(bridge: subprocess.Popen) -> None:
    os.killpg(bridge.pid, signal.SIGKILL)


def test_the_board_runs_it_and_keeps_it_although_bridge_and_board_are_killed_on_the_way(network, wire, plugged):
    log = wire.log.read_text
    with network.broker(), network.hub():
        with bridged(network, wire) as bridge:
            wire.open()
            plugged.start()
            until(lambda: is_there(network), log, PATIENCE_S)
            plugged.after[1] = lambda: kill(bridge)
            begin(network, IMAGE, 4)
            bridge.wait(PATIENCE_S)
        assert plugged.board.starts == 1 and last(network)[1]["stage"] == "fetching"
        plugged.after[plugged.parts + 1] = plugged.is_cut.set  # the board begins anew
        with bridged(network, wire):
            until(lambda: last(network)[1]["stage"] == "trial", log, PATIENCE_S)
            until(lambda: network.rows(SESSION)[-1]["image"] == 4, log, PATIENCE_S)
            assert plugged.board.starts == 3  # as power was cut, and for the trial
            until(lambda: last(network)[0]["watched_at"] is not None, "it is watched", PATIENCE_S)
            an_hour_later(network)
            until(lambda: last(network)[1]["stage"] == "kept", log, PATIENCE_S)
    row, one = last(network)
    assert (row["state"], one["note"]) == ("complete", None)
    assert network.rows(SESSION)[-1]["release"] == "v1.4.0" and network.rows(REFUSED) == []
    assert plugged.board.slot(0) == (manifest(IMAGE, 4) + IMAGE).ljust(SLOT, b"\xff")
    assert plugged.board.slot(1) == b"\xff" * SLOT
    plugged.is_pulled.set()
    plugged.join()
    (start,) = plugged.board.start(until=lambda _: True)
    assert (start.stage, start.running) == ("kept", 4)


def test_what_the_board_refuses_is_said_and_a_trial_that_ends_on_it_is_taken_back(network, wire, plugged):
    log = wire.log.read_text
    with network.broker(), network.hub(), bridged(network, wire):
        wire.open()
        plugged.start()
        until(lambda: is_there(network), log, PATIENCE_S)
        begin(network, OTHER, 2)  # below the number of what was flashed
        until(lambda: last(network)[0]["state"] != "running", log, PATIENCE_S)
        assert last(network)[0]["state"] == "stopped"
        assert last(network)[0]["note"].endswith("roof: older: the board refuses it")
        assert plugged.board.slot(0) == b"\xff" * SLOT
        begin(network, IMAGE, 4)
        until(lambda: last(network)[1]["stage"] == "trial", log, PATIENCE_S)
        for _ in range(3):
            plugged.cut()
            until(lambda: log().count(f"start {plugged.board.starts:08x}"), log, PATIENCE_S)
        until(lambda: last(network)[0]["state"] == "back", log, PATIENCE_S)
        assert "roof took it back: the board did, as it does in the fourth start" in last(network)[0]["note"]
        until(lambda: network.rows(SESSION)[-1]["image"] is None, log, PATIENCE_S)
    assert network.rows(REFUSED) == []
