"""The outbox against a plain list: order, bounds, restarts, damage."""

import dataclasses
import resource
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot.device import messages
from gunshot.device.messages import Heartbeat, Incident, State
from gunshot.device.outbox import FILE, Outbox

BEAT = Heartbeat(7, 1, 0, *[0] * 10)
ALERT = Incident(7, 1, 0, incident=1, state=State.OPENED, shots=1, onset=0, decided=0, score=0, spl_db=0, model=0)
STEPS = st.lists(st.sampled_from(["beat", "alert", "remove", "restart"]), max_size=25)


@settings(max_examples=8)  # each step is written to a disk
@given(steps=STEPS, most_count=st.integers(1, 6), most_bytes=st.integers(60, 500))
def test_it_is_a_list_that_drops_the_oldest_heartbeats_first(steps, most_count, most_bytes):
    model, dropped, session, sequence = [], 0, 1, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outbox = Outbox(folder, most_count=most_count, most_bytes=most_bytes)
        assert outbox.start() == session
        for step in steps:
            if step == "restart":
                outbox.close()
                outbox = Outbox(folder, most_count=most_count, most_bytes=most_bytes)
                session, sequence = session + 1, 0
                assert outbox.start() == session
            elif step == "remove" and model:
                outbox.remove(model[len(model) // 2].session, model.pop(len(model) // 2).sequence)
            elif step in ("beat", "alert"):
                kind = BEAT if step == "beat" else ALERT
                model.append(dataclasses.replace(kind, session=session, sequence=sequence))
                outbox.put(model[-1])
                sequence += 1
            while len(model) > most_count or sum(len(messages.encode(m)) for m in model) > most_bytes:
                model.remove(next((m for m in model if isinstance(m, Heartbeat)), model[0]))
                dropped += 1
            assert [one.payload for one in outbox.first(100)] == [messages.encode(m) for m in model]
            turn = sorted(model, key=lambda m: isinstance(m, Heartbeat))  # each kind in its order
            assert [one.payload for one in outbox.next(3)] == [messages.encode(m) for m in turn[:3]]
            assert len(outbox) == len(model) and outbox.dropped == dropped
            assert [(one.session, one.sequence) for one in outbox.first(2)] == [
                (m.session, m.sequence) for m in model[:2]
            ]
        outbox.close()


def test_a_damaged_message_is_dropped_and_counted(tmp_path):
    with closing(Outbox(tmp_path)) as outbox:
        for sequence in range(3):
            outbox.put(dataclasses.replace(BEAT, sequence=sequence))
    with closing(sqlite3.connect(tmp_path / FILE)) as db, db:
        (payload,) = db.execute("SELECT payload FROM message WHERE sequence = 1").fetchone()
        db.execute("UPDATE message SET payload = ? WHERE sequence = 1", (payload[:40] + b"x" + payload[41:],))
    with closing(Outbox(tmp_path)) as outbox:
        assert [one.sequence for one in outbox.first(9)] == [0, 2] and (len(outbox), outbox.dropped) == (2, 1)


@contextmanager
def a_full_disk() -> Iterator[None]:
    """Let the system refuse each byte that this process writes to a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_ends_nothing_and_loses_nothing_that_waited(tmp_path):
    """What comes meanwhile waits in memory; killed then, it has what was on the disk, and what the hub has by now."""
    one, two, three, four = (dataclasses.replace(ALERT, sequence=number) for number in range(4))
    killed = tmp_path / "killed"
    killed.mkdir()
    with closing(Outbox(tmp_path, retry_s=0)) as outbox:
        assert outbox.start() == 1
        outbox.put(one)
        outbox.put(two)
        with a_full_disk():
            outbox.put(three)
            outbox.remove(1, 0)
            assert outbox.fault and [waiting.sequence for waiting in outbox.next(9)] == [1, 2]
            with pytest.raises(ValueError, match=r"make room: a session begins once its number is on the disk"):
                outbox.start()
            outbox.put(four)
        for file in tmp_path.glob(f"{FILE}*"):
            shutil.copy(file, killed)
        with closing(Outbox(killed)) as other:
            assert [waiting.sequence for waiting in other.first(9)] == [0, 1]
        outbox.remove(1, 1)
        assert outbox.fault is None and outbox.start() == 2
    with closing(Outbox(tmp_path)) as outbox:
        assert [waiting.sequence for waiting in outbox.first(9)] == [2, 3]


def test_two_processes_do_not_share_it(tmp_path):
    with (
        closing(Outbox(tmp_path)),
        pytest.raises(ValueError, match="locked; is `gunshot device run` or `bridge` running"),
    ):
        Outbox(tmp_path)
