"""Sound on an order, by a real Mosquitto and a hub: sample for sample, whoever is killed in the middle of it."""

import contextlib
import time

import numpy as np
import pytest
import soundfile as sf

from gunshot.base import audio
from gunshot.device import orders, speech
from gunshot.hub import database, folder
from gunshot.signing import keys
from gunshot.simulate import events
from tests.firmware.driven import p, shots
from tests.hub.network import NAME, NUMBER, Network, Sender, kill, serve_three_parts

pytestmark = pytest.mark.slow
SR = p.audio.sr
PCM = shots([2.7, 22.1], 25.0, seed=3)


@pytest.fixture
def network(tmp_path) -> Network:
    return Network(tmp_path / "hub")


def states(network: Network) -> list[str]:
    return [row["state"] for row in network.rows(database.ORDER)]


def clips(network: Network) -> list[np.ndarray]:
    """The samples of the clips, in the order in which they begin."""
    rows = sorted(network.rows(database.CLIP), key=lambda clip: clip["start"])
    return [sf.read(network.folder / "sound" / clip["file"], dtype="int16")[0] for clip in rows]


def test_the_sound_of_an_incident_is_that_of_the_wav(network, tmp_path):
    """And nothing of it is in the device's folder, nor in the hub's database."""
    audio.write_pcm(tmp_path / "street.wav", PCM, sr=SR)
    heard = sf.read(tmp_path / "street.wav", dtype="int16")[0]
    with network.broker(), network.hub(), contextlib.closing(Sender(network.device)) as sender:
        sender.hear(heard)
        sender.pump_until(lambda: not len(sender.outbox), "the incidents are stored")
        _, incident = network.rows(database.INCIDENT)
        start, stop = incident["onset"] - 2 * SR, incident["onset"] + SR
        network.ask(start, stop)
        sender.pump_until(lambda: states(network) == ["complete"], "the clip is written")
        sender.pump_until(lambda: not len(sender.answers), "the device has no more of it")
        (clip,) = clips(network)
        assert np.array_equal(clip, heard[start:stop]) and np.abs(clip).max() > 5000
        network.ask(start, stop, session=2)
        sender.pump_until(lambda: "refused" in states(network), "an order to another session is refused")
    (refused,) = (row for row in network.rows(database.ORDER) if row["state"] == "refused")
    assert refused["note"] == "session: it asks for samples of session 2, this is 1"
    rest = [path for place in (network.device, network.folder) for path in place.rglob("*") if path.suffix != ".flac"]
    assert {"outbox.sqlite", "orders.sqlite", "hub.sqlite"} <= {path.name for path in rest}
    for path in (path for path in rest if path.is_file()):
        content = path.read_bytes()
        assert b"fLaC" not in content, path
        assert not any(heard[i : i + 8].tobytes() in content for i in range(start, stop, 64)), path


def test_the_broker_is_killed_in_the_middle(network):
    with network.hub(), contextlib.closing(Sender(network.device)) as sender:
        sender.hear(PCM)
        network.ask(0, len(PCM))
        with network.broker() as broker:
            sender.pump_until(lambda: len(network.rows(database.PART)) >= 5, "some parts are stored")
            kill(broker)
        sender.link.pump()
        assert len(sender.answers) == 1 and states(network) == ["open"]
        with network.broker():
            sender.pump_until(lambda: states(network) == ["complete"], "the clip is written")
    assert np.array_equal(clips(network)[0], PCM)


def test_the_hub_is_killed_between_two_parts(network):
    with network.broker(), contextlib.closing(Sender(network.device)) as sender:
        sender.hear(PCM)
        network.ask(0, len(PCM))
        with network.hub(serve_three_parts) as hub:
            sender.pump_until(lambda: not hub.is_alive(), "the hub dies")
            assert hub.exitcode == 9
        assert len(network.rows(database.PART)) >= 3 and states(network) == ["open"]
        with network.hub():
            sender.pump_until(lambda: states(network) == ["complete"], "the clip is written")
            sender.pump_until(lambda: not len(sender.answers), "the device has no more of it")
    assert np.array_equal(clips(network)[0], PCM)


def test_live_sound_comes_while_it_is_heard(network):
    """And ends where the sound ends."""
    with network.broker(), network.hub(), contextlib.closing(Sender(network.device, error_us=lambda: 1000)) as sender:
        blocks = iter(np.array_split(PCM, 100))
        begun = []

        def hear() -> None:
            sender.device.hear(audio.to_float(next(blocks)), lost=False)

        hear()
        now_us = time.time_ns() // 1000
        network.ask(now_us, now_us + 60_000_000, session=None)
        sender.pump_until(lambda: len(sender.answers) == 1, "the order is there")
        for _ in range(4):
            hear()
        sender.pump_until(lambda: len(network.rows(database.PART)) >= 1, "the first part comes")
        begun.append(states(network))
        for _ in range(4):
            hear()
        sender.device.end()
        sender.pump_until(lambda: states(network) != ["open"], "it has ended")
    assert begun == [["open"]] and states(network) == ["cut off"]
    (clip,) = network.rows(database.CLIP)
    start, stop = clip["start"], clip["start"] + clip["samples"]
    assert stop == len(PCM) * 9 // 100 and np.array_equal(clips(network)[0], PCM[start:stop])


def test_a_folder_from_before_there_were_orders_gives_no_sound(network):
    (network.device / orders.KEY).unlink()
    with network.broker(), network.hub(), contextlib.closing(Sender(network.device)) as sender:
        sender.hear(PCM[:SR])
        network.ask(0, SR)
        sender.pump_until(lambda: states(network) == ["refused"], "it is refused")
    assert network.rows(database.ORDER)[0]["note"].startswith("key: this device has no order.pem")


def test_speech_stays_on_the_device_unless_two_persons_want_it(network, tmp_path):
    """With Silero's detector, which takes the simulator's syllables for speech."""
    said, _ = events.schedule(np.random.default_rng(2), events.EVENTS["speech"], 3 * SR, SR)
    heard = PCM[: 8 * SR].copy()
    heard[4 * SR : 7 * SR] += audio.to_int16(0.2 * said / np.abs(said).max())
    for name in ("anna", "ben"):
        folder.overruler(network.folder, name, tmp_path / f"{name}.pem")
    device = folder.enrol(network.folder, NAME, NUMBER)
    persons = {name: keys.load(tmp_path / f"{name}.pem") for name in ("anna", "ben")}
    with network.broker(), network.hub(), contextlib.closing(Sender(device, gate=speech.gate)) as sender:
        sender.hear(heard)
        sender.pump_until(lambda: network.rows(database.INCIDENT), "the incident is stored")
        network.ask(2 * SR, 8 * SR)
        network.ask(0, 2 * SR)
        sender.pump_until(lambda: sorted(states(network)) == ["complete", "refused"], "one of the two is refused")
        network.ask(2 * SR, 8 * SR, incident=1, overrulers=persons)
        sender.pump_until(lambda: states(network).count("complete") == 2, "two persons overruled it")
    (refused,) = (row for row in network.rows(database.ORDER) if row["state"] == "refused")
    assert refused["note"] == "speech: people speak in it, and this device's folder forbids that"
    assert [len(clip) for clip in clips(network)] == [2 * SR, 6 * SR] and np.array_equal(
        clips(network)[1], heard[2 * SR :]
    )
