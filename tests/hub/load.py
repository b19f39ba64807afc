"""How much a hub bears on this machine: `make hub-bench` writes reports/hub.json; test_load.py runs a small one.

Broker, hub and console are those of the commands; devices are real MQTT clients over TLS, and a person's page is open.
"""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np
import psutil
import sqlalchemy as sql

from gunshot.base import tables
from gunshot.hub import certificates, folder
from gunshot.hub.console.roles import Role
from gunshot.hub.database import CASE, DEVICE, FLOOD, INCIDENT, MESSAGE, ONSET, REFUSED, SITE
from tests.flows.prefect_server import free_port, started
from tests.hub.console import COMMAND, ROOT, Browser, Scene, running
from tests.hub.crowd import PATIENCE_S, Crowd, Load, name
from tests.hub.waiting import until

GENERATORS = 2  # processes
WHOLE = Load(sites=250, site_size=4, bangs=50.0, seconds=60.0)
FLOODED = dataclasses.replace(WHOLE, seconds=15.0)
AT_ONCE = 1000  # messages of the device that floods, which the broker has not confirmed


class Place(Scene):
    """A hub's folder with the devices of a load and one more, which may flood it; and what runs of it."""

    def __init__(self, place: Path, load: Load):
        self.folder, self.port = place, int(free_port())
        self.url = folder.init(place, host="localhost", port=self.port, url=None).database
        rows = [_row(load, number) for number in range(load.devices)]
        self.flooder = name(load.devices)
        rows.append(dict.fromkeys(rows[0]) | {"name": self.flooder, "number": load.devices})
        with self.writing() as connection:
            sites = [{"name": f"s{i}", "devices_needed": 2, "exercise": False} for i in range(load.sites)]
            connection.execute(sql.insert(SITE), sites)
            connection.execute(sql.insert(DEVICE), rows)
        for row in rows:
            certificates.issue(place / "authority", place / "devices" / row["name"], row["name"])

    @contextlib.contextmanager
    def running(self) -> Iterator[dict[str, psutil.Process]]:
        """Run broker and hub; their processes."""
        logs = [self.folder.parent / f"{one}.log" for one in ("broker", "hub")]
        command = (sys.executable, "-c", COMMAND, "hub", "run", self.folder)
        with (
            started(logs[0], "/usr/sbin/mosquitto", "-c", self.folder / "mosquitto.conf") as broker,
            started(logs[1], *command, cwd=ROOT) as hub,
        ):
            until(lambda: "connected to the broker" in logs[1].read_text(), logs[1].read_text)
            yield {"broker": psutil.Process(broker.pid), "hub": psutil.Process(hub.pid)}
        assert "Traceback" not in logs[1].read_text(), logs[1].read_text()


def _row(load: Load, number: int) -> dict:
    site, corner = divmod(number, load.site_size)
    at = {"latitude": 47.0 + site / 1000, "longitude": 8.0 + corner / 1000}  # 76 m apart
    return {"name": name(number), "number": number, "site": f"s{site}", **at}


class Watcher(threading.Thread):
    """A person's open page, which gets the list at each event; `events` has when each came, and what is new."""

    def __init__(self, browser: Browser):
        super().__init__(daemon=True)
        self._browser, self.events = browser, []
        self.start()

    def run(self) -> None:
        token = None
        with contextlib.suppress(httpx.HTTPError), self._browser.stream("GET", "/events") as stream:
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    came, news = time.monotonic(), json.loads(line.removeprefix("data:"))["token"]
                    if news != token and not news.startswith("None"):
                        changed = datetime.fromisoformat(" ".join(news.split()[:2])).replace(tzinfo=UTC)
                        self.events.append((came, changed))
                        self._browser.get("/")
                    token = news


def generate(place: Path, load: Load, share: range, port: int, ready, begin, out) -> None:
    """Be the devices of some sites, in a process of its own: `out` gets what each sent and when, and the CPU time."""
    crowd = Crowd(place, range(share.start * load.site_size, share.stop * load.site_size), port)
    ready.wait()
    at, at_us = begin.get()
    before = time.process_time()
    crowd.act(load.events(share), at, at_us)
    cpu_s = time.process_time() - before
    crowd.run_until_acknowledged()
    out.put((cpu_s, [(d.name, d.payloads, d.sent, d.acknowledged) for d in crowd.devices]))


def flood(place: Path, number: int, port: int, ready, confirmed) -> None:
    """Be a device that sends as fast as the broker confirms, and waits for no acknowledgement, until it is killed."""
    crowd = Crowd(place, range(number, number + 1), port)
    (device,) = crowd.devices

    def count(*_) -> None:
        confirmed.value += 1

    device.client.on_publish = count
    ready.wait()
    while True:
        for _ in range(50):
            device.beat(0)
        crowd.run(0.0)
        while len(device.sent) - confirmed.value > AT_ONCE:
            crowd.run(0.01)


def measure(place: Path, load: Load, *, flooded: bool = False) -> dict:
    """Return what a load came to: latencies, CPU time, and what is not as it must be; one more device may flood."""
    context = multiprocessing.get_context("spawn")
    ready, begin, out = context.Barrier(GENERATORS + flooded + 1), context.Queue(), context.Queue()
    confirmed = context.Value("q", 0)
    edges, hub = [load.sites * i // GENERATORS for i in range(GENERATORS + 1)], Place(place, load)
    parts = [(generate, place, load, range(*edge), hub.port, ready, begin, out) for edge in pairwise(edges)]
    parts += [(flood, place, load.devices, hub.port, ready, confirmed)] * flooded
    with hub.running() as processes, running(hub) as url, Browser(hub, url) as browser, contextlib.ExitStack() as stack:
        assert browser.log_in("viewer", hub.person("viewer", Role.viewer)).status_code == 303
        processes["console"] = next(one for one in psutil.Process().children() if "console" in one.cmdline())
        watcher = Watcher(browser)
        for target, *arguments in parts:
            one = context.Process(target=target, args=arguments, daemon=True)
            one.start()
            stack.callback(one.join)
            stack.callback(one.kill)
        ready.wait(PATIENCE_S + load.devices / 10)
        before, at = cpu_s(processes), time.monotonic()
        for _ in range(GENERATORS):
            begin.put((at + 1.0, round(1e6 * (time.time() + 1.0))))
        results = [out.get(timeout=load.seconds + 3 * PATIENCE_S) for _ in range(GENERATORS)]
        cpu = {key: value - before[key] for key, value in cpu_s(processes).items()}
        flooded_a_second = confirmed.value / (time.monotonic() - at)
        newest = max(row["received_at"] for row in messages_of(hub)).replace(tzinfo=UTC)
        until(lambda: watcher.events and watcher.events[-1][1] >= newest, "the page heard of the last")
    cpu["generators"] = sum(each[0] for each in results)
    figures = report(hub, load, [row for _, rows in results for row in rows], watcher.events, cpu)
    if flooded:
        passed_over = sum(row.messages for row in hub.rows(FLOOD))
        figures |= {"flood_messages_a_second": round(flooded_a_second), "flood_passed_over": passed_over}
    return figures


def cpu_s(processes: dict[str, psutil.Process]) -> dict[str, float]:
    """Return how much CPU time processes and their children have had."""
    out = {}
    for key, one in processes.items():
        times = [each.cpu_times() for each in (one, *one.children(recursive=True))]
        out[key] = sum(each.user + each.system for each in times)
    return out


def messages_of(hub: Place) -> list[dict]:
    """Return the messages that are stored, but those of a flood."""
    columns = MESSAGE.c.device, MESSAGE.c.session, MESSAGE.c.sequence, MESSAGE.c.received_at, MESSAGE.c.payload
    with hub.writing() as connection:
        rows = connection.execute(sql.select(*columns).where(MESSAGE.c.device != hub.flooder)).mappings()
        return [dict(row) for row in rows]


def report(hub: Place, load: Load, sent: list[tuple], events: list[tuple[float, datetime]], cpu: dict) -> dict:
    """Return the figures of a run; `sent` is of each device what `generate` says of it."""
    rows = {(row["device"], row["sequence"]): row for row in messages_of(hub)}
    payloads = {(device, i): payload for device, payloads, *_ in sent for i, payload in enumerate(payloads)}
    times = {(device, i): at for device, _, times, _ in sent for i, at in enumerate(times)}
    done = {(device, i): at for device, _, _, acknowledged in sent for i, at in acknowledged.items()}
    came, changed = (np.array(each) for each in zip(*((at, to.timestamp()) for at, to in events), strict=True))
    opened = [key for key, row in rows.items() if row["payload"] and row["payload"][3] == 1]
    received = np.array([rows[key]["received_at"].replace(tzinfo=UTC).timestamp() for key in opened])
    shown = came[np.searchsorted(changed, received)] - np.array([times[key] for key in opened])
    acknowledged = np.array([done[key] - times[key] for key in done])
    with hub.writing() as connection:
        counts = {
            table.name: connection.scalar(sql.select(sql.func.count()).select_from(table))
            for table in (INCIDENT, ONSET, CASE, REFUSED)
        }
        raised = connection.scalar(sql.select(sql.func.count(CASE.c.raised_at)))
        unplaced = connection.scalar(sql.select(sql.func.count()).where(CASE.c.place_due))
    bangs = round(load.bangs * load.seconds)
    incidents = bangs * load.site_size
    return {
        "devices": load.devices, "seconds": load.seconds, "alerts": incidents,
        "alerts_a_second": load.bangs * load.site_size, "messages": len(payloads),
        "bytes_of_an_opened_message": max(map(len, payloads.values())),
        "not_stored": sum(rows.get(key, {}).get("payload") != payload for key, payload in payloads.items()),
        "not_acknowledged": len(payloads.keys() - done.keys()),
        "too_many": {  # or too few
            "messages": len(rows) - len(payloads), "incidents": counts["incident"] - incidents,
            "onsets": counts["onset"] - incidents, "cases": counts["case"] - bangs, "raised": raised - bangs,
        },
        "cases": counts["case"], "cases_to_locate_at_the_end": unplaced, "refused": counts["refused"],
        "to_acknowledgement_s": quantiles(acknowledged), "to_console_s": quantiles(shown),
        "cpu_s": {key: round(value, 2) for key, value in cpu.items()},
        "hub_cpu_ms_a_message": round(1000 * cpu["hub"] / len(payloads), 3),
    }  # fmt: skip


def quantiles(values: np.ndarray) -> dict[str, float]:
    """Return how long half of something took, how long 95 % of it, and the longest, s."""
    return {key: round(float(np.quantile(values, q)), 3) for key, q in (("p50", 0.5), ("p95", 0.95), ("most", 1.0))}


def main() -> None:
    """Measure the whole load, then a part of it beside a flood, and write the report file."""
    figures = {"processor": processor(), "cores": len(os.sched_getaffinity(0)), "nice": os.nice(0)}
    for kind, load in (("load", WHOLE), ("flooded", FLOODED)):
        busy = round(os.getloadavg()[0], 1)
        with tempfile.TemporaryDirectory(prefix="gunshot-hub-") as temporary:
            figures[kind] = measure(Path(temporary) / "hub", load, flooded=kind == "flooded") | {"load_before": busy}
        print(kind, json.dumps(figures[kind], indent=2))
    tables.write_json(ROOT / "reports" / "hub.json", figures)


def processor() -> str:
    """Return what this machine calls its processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


if __name__ == "__main__":
    main()
