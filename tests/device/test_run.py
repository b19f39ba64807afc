"""A device against the messages that the library tells of the same sound: their time, heartbeats, missing samples."""

import itertools
import time
from contextlib import closing

import numpy as np
import pytest

from gunshot.base import audio
from gunshot.detect import listener
from gunshot.detect.live import Heard
from gunshot.device import incidents, messages, run
from gunshot.device.messages import Heartbeat, Incident, State
from gunshot.device.outbox import Outbox
from gunshot.device.topics import Birth
from tests.firmware.driven import MODEL, p, shots

BIRTH = Birth(
    name="roof", number=7, session=1, model="00000000000000ff", operating_point=0.5, version=2, capabilities=[]
)
SIZE = 896
SECTION = p.firmware.model_copy(update={"heartbeat_s": 3600.0})
PCM = shots([0.7, 0.9, 3.0], 5.0)


@pytest.fixture
def outbox(tmp_path):
    with closing(Outbox(tmp_path)) as one:
        one.start()
        yield one


def a_device(outbox: Outbox, birth: Birth = BIRTH, **options) -> run.Device:
    return run.Device(listener.Listener(MODEL, [0.0], p), birth, outbox, SECTION, **options)


def hear(device: run.Device, pcm: np.ndarray) -> None:
    for i in range(0, len(pcm), SIZE):
        device.hear(audio.to_float(pcm[i : i + SIZE]), lost=False)


def waiting(outbox: Outbox) -> list[messages.Message]:
    return [messages.decode(one.payload) for one in outbox.first(1000)]


def test_messages_are_those_of_the_listener(outbox):
    device = a_device(outbox, error_us=lambda: None)
    hear(device, PCM)
    device.end()
    teller = incidents.Incidents(
        listener.Listener(MODEL, [0.0], p), device=7, session=1, sequence=itertools.count(), model=255, p=p.firmware
    )
    expected = teller.push(PCM) + teller.end()
    assert [one.payload for one in outbox.first(1000)] == [messages.encode(m) for m in expected]
    assert {m.incident for m in expected} == {1, 2}


def test_a_clock_that_is_sure_times_the_window_s_end(outbox, monkeypatch):
    """The sample `decided` was heard as long ago as samples came after it."""
    begun_us = 1_700_000_000_000_000
    device = a_device(outbox, error_us=lambda: 1500)
    monkeypatch.setattr(time, "time_ns", lambda: 1000 * (begun_us + device._heard * 1_000_000 // p.audio.sr))
    hear(device, PCM)
    sent = waiting(outbox)
    assert len(sent) >= 3
    for message in sent:
        assert abs(message.clock.unix_us - begun_us - message.decided * 1_000_000 / p.audio.sr) <= 2
        assert message.clock.error_us == 1500 + run.DELAY_US


def test_a_source_that_says_when_it_heard_times_the_window_s_end(outbox, monkeypatch):
    """However late the machine is; where the source does not know it any more, it is as if it never had."""
    begun, at = 1_700_000_000.0, Heard()
    device = a_device(outbox, error_us=lambda: 1500, at=at)
    monkeypatch.setattr(time, "time_ns", lambda: 10**18)
    for i in range(0, len(PCM), SIZE):
        at.unix_s = begun + (i + len(PCM[i : i + SIZE])) / p.audio.sr
        device.hear(audio.to_float(PCM[i : i + SIZE]), lost=False)
    at.unix_s = begun + 999
    device.hear(np.zeros(SIZE, np.float32), lost=True)  # what closes there ended before the gap
    sent = waiting(outbox)
    assert sent[-1].state == State.CLOSED and len(sent) >= 3
    for message in sent:
        assert abs(message.clock.unix_us - begun * 1e6 - message.decided * 1_000_000 / p.audio.sr) <= 2
        assert message.clock.error_us == 1500 + run.WAY_US
    at.unix_s = None
    hear(device, PCM)
    assert waiting(outbox)[-1].clock.error_us == 1500 + run.DELAY_US


def test_a_heartbeat_tells_what_was_heard(outbox, monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    device = a_device(outbox)
    hear(device, PCM)
    now += SECTION.heartbeat_s
    noise = np.full(SIZE, 2**-4, np.float32)
    device.hear(noise, lost=True)
    device.hear(noise, lost=False)
    *sent, beat = waiting(outbox)
    assert isinstance(beat, Heartbeat) and all(isinstance(m, Incident) for m in sent)
    assert (beat.sequence, beat.alerts, beat.heard, beat.gaps) == (len(sent), len(sent), len(PCM) + SIZE, 1)
    assert beat.uptime_ms == 1000 * SECTION.heartbeat_s and beat.unsent == 0
    heard = np.concatenate([PCM / 2**15, noise])
    level_db = 20 * np.log10(p.firmware.full_scale_pa * np.sqrt(np.mean(heard**2)) / 20e-6)
    assert abs(beat.noise - 10 * level_db) <= 1
    now += SECTION.heartbeat_s
    device.hear(noise, lost=False)
    level_db = 20 * np.log10(p.firmware.full_scale_pa * 2**-4 / 20e-6)
    assert abs(waiting(outbox)[-1].noise - 10 * level_db) <= 1 and waiting(outbox)[-1].stuck == 0
    now += SECTION.heartbeat_s
    device.hear(np.full(p.audio.sr, 2**-4, np.float32), lost=False)  # one value for a second
    assert waiting(outbox)[-1].stuck == 1


def test_what_found_no_room_is_in_the_next_heartbeat(tmp_path, monkeypatch):
    """Of its own session; `Outbox.dropped` is of all."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for session in (1, 2):
        with closing(Outbox(tmp_path, most_count=2)) as outbox:
            before = outbox.dropped
            device = a_device(outbox, birth=BIRTH.model_copy(update={"session": session}), error_us=lambda: None)
            hear(device, PCM)
            device.end()
            dropped, alerts = outbox.dropped - before, outbox.first(2)
            for one in alerts:  # the hub has them
                outbox.remove(one.session, one.sequence)
            now += SECTION.heartbeat_s
            device.hear(np.zeros(SIZE, np.float32), lost=False)
            (beat,) = waiting(outbox)
            assert (beat.session, beat.unsent, len(alerts)) == (session, dropped, 2) and dropped >= 2
