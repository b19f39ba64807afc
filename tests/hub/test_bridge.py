"""The firmware on an emulated Cortex-M4, its UART on a pty, the bridge, Mosquitto, a hub: a wav in, incidents out."""

import contextlib
import dataclasses
import os
import sys
import threading
import tty
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from gunshot.base import audio, params
from gunshot.detect import listener
from gunshot.device import emulator, incidents, messages, orders, outbox, parity, run, topics
from gunshot.device.messages import Detector, Heartbeat, Incident
from gunshot.hub import database
from gunshot.hub import incidents as stored
from gunshot.hub import orders as asked
from gunshot.models.model import load_model, read_operating_point
from gunshot.signing import keys
from gunshot.simulate import corpus
from tests.cli.test_hub import COMMAND
from tests.flows.prefect_server import started
from tests.hub.network import NAME, NUMBER, Network, until

REPO = Path(__file__).parents[2]
MODEL = REPO / "models/quantized/model.tflite"
BOARD = "mps2-an386"
P = params.load("audio", "chunks", "context", "features", "detector", "firmware", path=REPO / "params.yaml")
STARTS = (4_000_000_000, 5)  # that the board draws: they do not rise


@pytest.fixture
def pcm() -> np.ndarray:
    """Some seconds of quiet, the first simulated shots that the model hears, and quiet again."""
    sr, model = P.audio.sr, load_model(MODEL)
    source = corpus.Corpus(seed=7, duration_s=(2.5, 3.0), distance_m=(20.0, 60.0), sr=sr)
    quiet = np.random.default_rng(0).normal(0, 30, 6 * sr)
    for index in range(20):
        heard = quiet.copy()
        shots = corpus.render("gun", index, source).pcm
        heard[sr : sr + len(shots)] += shots
        heard = np.clip(heard, -32768, 32767).astype(np.int16)
        if len(parity.expected(heard, model, P)):
            return heard
    raise AssertionError("the model hears none of twenty shots")


class Wire:
    """A pty by a lasting name, as udev gives a board's line one; `cut` takes it away, and it comes again."""

    def __init__(self, name: Path, log: Path):
        self.name, self.log, self._ours, self._opened = name, log, -1, 0

    def open(self) -> None:
        """Be there, and wait until the bridge has opened it."""
        self._ours, board = os.openpty()
        tty.setraw(self._ours)
        self.name.symlink_to(os.ttyname(board))
        os.close(board)
        self._opened += 1
        until(lambda: self.log.read_text().count(f"{self.name} is open") >= self._opened, self.log.read_text)

    @property
    def end(self) -> int:
        """The handle of the board's end."""
        return self._ours

    def write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._ours, data) :]

    def cut(self) -> None:
        self.name.unlink()
        os.close(self._ours)


def bridged(network: Network, wire: Wire) -> contextlib.AbstractContextManager:
    """Run `gunshot device bridge`."""
    command = [sys.executable, "-c", COMMAND, "device", "bridge", network.device, wire.name]
    return started(wire.log, *command, cwd=REPO, env={**os.environ, "PYTHONPATH": str(REPO)})


def play(pcm: np.ndarray, start: int, folder: Path, hear) -> bytes:
    """Let the board hear samples from a start on; give what comes out of its UART to `hear`, and return all of it."""
    program = emulator.build(BOARD, firmware=REPO / "firmware") / "gunshot"
    audio.write_pcm(folder / "in.wav", pcm, sr=P.audio.sr)
    os.mkfifo(folder / "uart")
    ended, sent = [], b""
    arguments, where = ["in.wav", "uart", str(start)], {"folder": folder, "uart": "file:uart"}
    board = threading.Thread(target=lambda: ended.append(emulator.run(program, BOARD, arguments, **where)))
    board.start()
    with (folder / "uart").open("rb", buffering=0) as line:
        while data := line.read(256):
            hear(data)
            sent += data
    board.join()
    (folder / "uart").unlink()
    assert ended[0] == emulator.Run(0, [])
    return sent


def by_a_device(pcm: np.ndarray, folder: Path) -> list[Incident]:
    """What `gunshot device run --file` tells of the same samples."""
    model = load_model(MODEL)
    birth = topics.Birth(
        name=NAME, number=NUMBER, session=1, model=f"{incidents.model_number(MODEL.read_bytes()):016x}",
        operating_point=0.5, version=messages.VERSION, capabilities=[],
    )  # fmt: skip
    with contextlib.closing(outbox.Outbox(folder)) as waiting:
        device = run.Device(
            listener.Listener(model, [model.threshold()], P), birth, waiting, P.firmware, error_us=lambda: None
        )
        device.hear(audio.to_float(pcm), lost=False)
        device.end()
        wanted = [messages.decode(one.payload) for one in waiting.first(1000)]
    return [message for message in wanted if isinstance(message, Incident)]


def assert_same(heard: list[Incident], wanted: list[Incident]) -> None:
    """But for whose they are, and of a log-mel one code, which may be the next one."""
    for a, b in zip(heard, wanted, strict=True):
        assert (a.log_mel is None) == (b.log_mel is None)
        assert a.log_mel is None or (a.log_mel != b.log_mel).sum() <= 1
        same = {"session": 0, "sequence": 0, "clock": None, "log_mel": b.log_mel}
        assert messages.encode(dataclasses.replace(a, **same)) == messages.encode(dataclasses.replace(b, **same))


@pytest.mark.firmware
def test_a_wav_on_the_board_is_an_incident_of_the_hub(tmp_path, pcm):
    """Then the board starts again, and its line is cut within the first incident message, and comes back."""
    network, log = Network(tmp_path / "hub"), tmp_path / "bridge.log"
    wire, lost = Wire(tmp_path / "ttyBOARD", log), range(85 + 1000, 85 + 1500)  # bytes, behind the heartbeat
    at = 0

    def cut_once(data: bytes) -> None:
        nonlocal at
        wire.write(data[: max(0, lost.start - at)])
        if at < lost.stop <= at + len(data):
            until(lambda: "session 2" in log.read_text(), log.read_text)  # it has the heartbeat
            wire.cut()
            wire.open()
        wire.write(data[max(0, lost.stop - at) :])
        at += len(data)

    with network.broker(), network.hub(), bridged(network, wire):
        wire.open()
        first = messages.decode_all(play(pcm, STARTS[0], tmp_path, wire.write))
        until(lambda: len(network.payloads()) == len(first), log.read_text)
        second = messages.decode_all(play(pcm, STARTS[1], tmp_path, cut_once))
        until(lambda: len(network.payloads()) == 2 * len(first) - 1, log.read_text)
        births = network.rows(database.SESSION)
    assert isinstance(first[0], Heartbeat) and isinstance(second[1], Incident) and len(second) == len(first)
    wanted, heard = by_a_device(pcm, tmp_path), [messages.decode(payload) for payload in network.payloads()]
    by_session = [[m for m in heard if isinstance(m, Incident) and m.session == session] for session in (1, 2)]
    assert wanted[0].shots >= 1
    assert_same(by_session[0], wanted)
    assert_same(by_session[1], wanted[1:])
    assert [row["shots"] for row in network.rows(database.INCIDENT)] == 2 * [wanted[-1].shots]
    with database.opened(network.url) as engine, engine.connect() as connection:
        assert list(stored.gaps(connection)) == [(NAME, 2, 1, 1)]
    assert network.rows(database.REFUSED) == []
    assert [(row["session"], row["online"]) for row in births] == [(1, False), (2, True)]
    model, opens = load_model(MODEL), read_operating_point(MODEL)["settings"]["on"]
    point = model.calibrated(opens * model.step / P.detector.windows)
    for row in births:
        assert row["model"] == f"{wanted[0].model:016x}" and row["operating_point"] == pytest.approx(point, abs=2e-5)


@pytest.mark.slow
def test_an_order_for_a_board_s_sound_is_refused_by_name(tmp_path):
    """One that was asked for before the hub knew what the device is; later ones the hub refuses itself."""
    network, wire = Network(tmp_path / "hub"), Wire(tmp_path / "ttyBOARD", tmp_path / "bridge.log")
    key, who = keys.load(network.folder / "authority" / orders.KEY), {"reason": "a bang", "person": "Ada"}
    span = asked.of_time(datetime(2026, 3, 1, tzinfo=UTC), 5.0)
    with database.opened(network.url) as engine, engine.begin() as connection:
        asked.ask(connection, key, NAME, span, now=datetime.now(UTC), **who)
    beat = Heartbeat(1, 2, 0, *[0] * 10, detector=Detector(3, 4))
    with network.broker(), network.hub(), bridged(network, wire):
        wire.open()
        wire.write(messages.encode(beat))
        until(lambda: network.rows(database.ORDER)[0]["state"] == asked.REFUSED, wire.log.read_text)
    assert network.rows(database.ORDER)[0]["note"] == "sound: this device keeps none"
    with (
        database.opened(network.url) as engine, engine.begin() as connection,
        pytest.raises(ValueError, match="must keep sound; it says that it has log_mel, onsets, clock"),
    ):  # fmt: skip
        asked.ask(connection, key, NAME, span, now=datetime.now(UTC), **who)
