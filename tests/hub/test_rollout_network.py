"""A roll-out over a real broker: by a hub and a device that are processes, and are killed on the way."""

import dataclasses
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sql

from gunshot.device import messages, run
from gunshot.device.messages import Heartbeat
from gunshot.device.outbox import Outbox
from gunshot.device.releases import PART
from gunshot.device.slots import Slots
from gunshot.hub import database, folder, rollouts
from gunshot.hub.database import ROLLOUT, ROLLOUT_DEVICE, SESSION
from gunshot.hub.folder import Rollout
from gunshot.signing import keys, record
from tests.device.images import OPERATOR, PARAMS, image, manifest
from tests.firmware.driven import MODEL
from tests.hub.network import NAME, PATIENCE_S, Network, forked, p, until

BIG = np.random.default_rng(5).bytes(600_000)  # 37 parts
pytestmark = pytest.mark.slow


def be_rolled(place: Path, killed_at: int | None = None) -> None:
    """Be `gunshot device run` in a quiet street, of whatever image there is; killed once so many bytes are fetched."""
    slots, often = Slots(place), p.firmware.model_copy(update={"heartbeat_s": 0.5})

    def silence() -> Iterator[tuple[np.ndarray, bool]]:
        while True:
            time.sleep(0.02)
            yield np.zeros(p.audio.sr // 50), False
            if killed_at and any(file.stat().st_size >= killed_at for file in slots.folder.glob("*.incoming")):
                os.kill(os.getpid(), signal.SIGKILL)

    source = silence()
    while True:
        model = dataclasses.replace(MODEL, path=slots.boot() or place / "cert.pem")  # whose hash is its number
        run.listen(place, source, model, 0.0, SimpleNamespace(**vars(p) | {"firmware": often}), slots=slots)


@pytest.fixture
def network(tmp_path) -> Network:
    network = Network(tmp_path / "hub")
    record.write(network.device / "operators" / "ada.pem", keys.public_pem(OPERATOR))
    return network


def begin(network: Network) -> None:
    """Start a roll-out that is an hour old: its device may keep the image at once, by what is signed."""
    content = image(BIG, params=PARAMS.replace(b"windows: 1 ", b"windows: 2 "))  # as `p` has it
    with database.opened(network.url) as engine, engine.begin() as connection:
        rollouts.start(
            connection, keys.load(folder.order_key(network.folder)), rollouts.Image(content, manifest(content, 2)),
            [OPERATOR.public_key()], Rollout(shares=(1.0,)), canary=None, person="anna", reason="a test",
            now=datetime.now(UTC) - timedelta(hours=1),
        )  # fmt: skip


def progress(network: Network) -> tuple[str | None, int]:
    (row,) = network.rows(ROLLOUT_DEVICE)
    return row["stage"], row["part"] or 0


def an_hour_later(network: Network) -> None:
    """What is watched was watched for long."""
    with database.opened(network.url) as engine, engine.begin() as connection:
        before = datetime.now(UTC) - timedelta(hours=1)
        connection.execute(sql.update(ROLLOUT).where(ROLLOUT.c.watched_at.is_not(None)).values(watched_at=before))


def test_device_and_hub_are_killed_on_the_way_and_the_image_is_run_whole_and_kept(network):
    with network.broker(), network.hub() as hub:
        with forked(be_rolled, network.device, 4 * PART) as device:
            until(lambda: any(row["online"] for row in network.rows(SESSION)), "the device is there")
            begin(network)
            device.join(PATIENCE_S)
            assert device.exitcode == -signal.SIGKILL
        assert progress(network)[0] == "fetching"
        assert Slots(network.device).boot() is None  # its own model: the image of before
        with forked(be_rolled, network.device):
            until(lambda: progress(network)[1] >= 12, "it goes on")
            hub.kill()
            hub.join()
            with network.hub():
                until(lambda: progress(network)[0] == "trial", "it runs the image")
                assert progress(network)[0] == "trial" and network.rows(ROLLOUT)[0]["state"] == "running"
                until(lambda: network.rows(ROLLOUT)[0]["watched_at"] is not None, "it is watched")
                an_hour_later(network)
                until(lambda: network.rows(ROLLOUT)[0]["state"] == "complete", "it is complete")
                until(lambda: progress(network)[0] == "kept", "the device keeps it")
    newest = network.rows(SESSION)[-1]
    assert (newest["image"], newest["release"]) == (2, "v1.2.0") and "image" in newest["capabilities"]
    one = Slots(network.device)
    assert one.boot().read_bytes() == BIG and one.state.least == 2 and one.state.trial is None
    assert json.loads((network.device / "images" / "slots.json").read_text())["last"][1] == "kept"
    assert newest["device"] == NAME


def test_a_session_on_trial_says_at_once_that_it_lives_and_an_interrupt_ends_it_whatever_is_to_run(network):
    """With `heartbeat_s` of 600 s, three short cuts of power would else end each trial."""
    content, slots = image(b"a model"), Slots(network.device)
    signed = manifest(content, 2)
    slots.begin(signed)
    slots.add(signed, content, at=0)
    slots.finish(signed, "a" * 32, lambda _: None)
    model = dataclasses.replace(MODEL, path=slots.boot())

    def interrupted() -> Iterator[tuple[np.ndarray, bool]]:
        yield np.zeros(p.audio.sr // 50), False
        slots.end_trial("it is loud")
        assert slots.is_stale
        raise KeyboardInterrupt

    assert run.listen(network.device, interrupted(), model, 0.0, p, slots=slots) == 1 and not slots.is_stale
    with closing(Outbox(network.device)) as outbox:
        beat = messages.decode(outbox.first(1)[0].payload)
    assert isinstance(beat, Heartbeat) and beat.sequence == 0
    slots = Slots(network.device)
    model = dataclasses.replace(MODEL, path=slots.boot() or network.device / "cert.pem")
    assert run.listen(network.device, interrupted_at_once(), model, 0.0, p, slots=slots) == 1  # no trial: no such word


def interrupted_at_once() -> Iterator[tuple[np.ndarray, bool]]:
    yield np.zeros(p.audio.sr // 50), False
    raise KeyboardInterrupt
