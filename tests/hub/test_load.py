"""A small load on a real broker, hub and console: nothing lost, nothing twice; and a device that floods them."""

import time
from datetime import UTC, datetime

import pytest

from gunshot.hub import inbox
from gunshot.hub.console import fleet
from gunshot.hub.console.noise import Noise
from gunshot.hub.database import FLOOD, MESSAGE
from tests.hub.crowd import Crowd, Load
from tests.hub.load import Place, measure
from tests.hub.waiting import until

pytestmark = pytest.mark.slow


def test_a_small_load_is_stored_once_and_seen(tmp_path):
    """Of what `make hub-bench` measures on 1,000 devices; times hang on what else this machine does."""
    figures = measure(tmp_path / "hub", Load(sites=5, site_size=4, bangs=5.0, seconds=3.0, heartbeat_s=2.0))
    assert figures["devices"] == 20 and figures["alerts"] == 60 and figures["messages"] > 120
    assert figures["not_stored"] == figures["not_acknowledged"] == figures["refused"] == 0
    assert set(figures["too_many"].values()) == {0} and figures["cases"] == 15
    assert figures["to_acknowledgement_s"]["p50"] > 0 and 0 < figures["to_console_s"]["p50"] < 30


def test_a_flood_of_one_device_holds_up_no_other_and_is_shown(tmp_path):
    """It sends as fast as it can, and waits for nothing; what it is told that it may delete is stored."""
    load = Load(sites=1, site_size=4, bangs=1.0, seconds=1.0)
    hub = Place(tmp_path / "hub", load)
    with hub.running():
        crowd = Crowd(hub.folder, range(load.devices), hub.port)
        flooder, *others = crowd.devices
        for i in range(1000):
            flooder.beat(0)
            if i % 100 == 99:
                crowd.run(0.0)
                others[i % len(others)].open(round(1e6 * time.time()))
        until(lambda: crowd.run(0.05) or all(len(d.acknowledged) == len(d.sent) for d in others), "others are heard")
        assert len(flooder.acknowledged) < inbox.BURST + inbox.MOST_LATE  # whose turn comes after theirs

        def counted() -> int:
            crowd.run(0.05)
            return len(flooder.acknowledged) + sum(row.messages for row in hub.rows(FLOOD))

        until(lambda: counted() == len(flooder.sent), "each is taken in, or passed over")
    stored = {row.sequence for row in hub.rows(MESSAGE) if row.device == flooder.name}
    assert stored == set(flooder.acknowledged) and inbox.BURST + inbox.MOST_LATE <= len(stored) < len(flooder.sent)
    with hub.writing() as connection:
        shown = fleet.devices(connection, Noise(fleet.HOURS), now=datetime.now(UTC))
    warned = {row["name"]: row["warnings"] for row in shown if row["warnings"]}
    assert list(warned) == [flooder.name] and warned[flooder.name][0].startswith("floods the hub: ")
