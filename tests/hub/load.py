"""How much a hub bears on this machine: `make hub-bench` writes reports/hub.json; test_load.py runs a small one.

Broker, hub and console are those of the commands; devices are real MQTT clients over TLS, and a person's page is open.
"""

import contextlib
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
from gunshot.hub.database import CASE, DEVICE, INCIDENT, MESSAGE, ONSET, REFUSED, SITE
from tests.flows.prefect_server import free_port, started
from tests.hub.console import COMMAND, ROOT, Browser, Scene, running
from tests.hub.crowd import PATIENCE_S, Crowd, Load, name
from tests.hub.waiting import until

GENERATORS = 2  # processes
WHOLE = Load(sites=250, site_size=4, bangs=50.0, seconds=60.0)


class Place(Scene):
    """A hub's folder with the devices of a load, and what runs of it."""

    def __init__(self, place: Path, load: Load):
        self.folder, self.port = place, int(free_port())
        self.url = folder.init(place, host="localhost", port=self.port, url=None).database
        rows = [_row(load, number) for number in range(load.devices)]
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
        with contextlib.suppress(httpx.RemoteProtocolError), self._browser.stream("GET", "/events") as stream:
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


def measure(place: Path, load: Load) -> dict:
    """Return what a load came to: latencies, CPU time, and what is not as it must be."""
    context = multiprocessing.get_context("spawn")
    ready, begin, out = context.Barrier(GENERATORS + 1), context.Queue(), context.Queue()
    edges = [load.sites * i // GENERATORS for i in range(GENERATORS + 1)]
    hub = Place(place, load)
    with hub.running() as processes, running(hub) as url, Browser(hub, url) as browser, contextlib.ExitStack() as stack:
        assert browser.log_in("viewer", hub.person("viewer", Role.viewer)).status_code == 303
        processes["console"] = next(one for one in psutil.Process().children() if "console" in one.cmdline())
        watcher = Watcher(browser)
        for first, end in pairwise(edges):
            share = place, load, range(first, end), hub.port, ready, begin, out
            one = context.Process(target=generate, args=share, daemon=True)
            one.start()
            stack.callback(one.kill)
        ready.wait(PATIENCE_S + load.devices / 10)
        before = cpu_s(processes)
        for _ in range(GENERATORS):
            begin.put((time.monotonic() + 1.0, round(1e6 * (time.time() + 1.0))))
        results = [out.get(timeout=load.seconds + 3 * PATIENCE_S) for _ in range(GENERATORS)]
        after = cpu_s(processes)
        newest = max(row["received_at"] for row in messages_of(hub)).replace(tzinfo=UTC)
        until(lambda: watcher.events and watcher.events[-1][1] >= newest, "the page heard of the last")
    cpu = {key: after[key] - before[key] for key in after} | {"generators": sum(each[0] for each in results)}
    return report(hub, load, [row for _, rows in results for row in rows], watcher.events, cpu)


def cpu_s(processes: dict[str, psutil.Process]) -> dict[str, float]:
    """Return how much CPU time processes and their children have had."""
    out = {}
    for key, one in processes.items():
        times = [each.cpu_times() for each in (one, *one.children(recursive=True))]
        out[key] = sum(each.user + each.system for each in times)
    return out


def messages_of(hub: Place) -> list[dict]:
    """Return the messages that are stored."""
    columns = MESSAGE.c.device, MESSAGE.c.session, MESSAGE.c.sequence, MESSAGE.c.received_at, MESSAGE.c.payload
    with hub.writing() as connection:
        return [dict(row) for row in connection.execute(sql.select(*columns)).mappings()]


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
            for table in (MESSAGE, INCIDENT, ONSET, CASE, REFUSED)
        }
        raised = connection.scalar(sql.select(sql.func.count(CASE.c.raised_at)))
    incidents = round(load.bangs * load.seconds) * load.site_size
    return {
        "devices": load.devices, "seconds": load.seconds, "alerts": incidents,
        "alerts_a_second": load.bangs * load.site_size, "messages": len(payloads),
        "bytes_of_an_opened_message": max(map(len, payloads.values())),
        "not_stored": sum(rows.get(key, {}).get("payload") != payload for key, payload in payloads.items()),
        "not_acknowledged": len(payloads.keys() - done.keys()),
        "twice": counts["message"] - len(payloads) + counts["incident"] - incidents,
        "cases": counts["case"], "raised": raised, "bangs": round(load.bangs * load.seconds),
        "refused": counts["refused"],
        "to_acknowledgement_s": quantiles(acknowledged), "to_console_s": quantiles(shown),
        "cpu_s": {key: round(value, 2) for key, value in cpu.items()},
        "hub_cpu_ms_a_message": round(1000 * cpu["hub"] / len(payloads), 3),
    }  # fmt: skip


def quantiles(values: np.ndarray) -> dict[str, float]:
    """Return how long half of something took, how long 95 % of it, and the longest, s."""
    return {key: round(float(np.quantile(values, q)), 3) for key, q in (("p50", 0.5), ("p95", 0.95), ("most", 1.0))}


def main() -> None:
    """Measure the whole load, and write the report file."""
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="gunshot-hub-") as temporary:
        figures = measure(Path(temporary) / "hub", WHOLE)
    machine = {"processor": processor(), "cores": len(os.sched_getaffinity(0)), "load_before": round(before, 1)}
    tables.write_json(ROOT / "reports" / "hub.json", {"machine": machine, "load": figures})
    print(json.dumps({"machine": machine, "load": figures}, indent=2))


def processor() -> str:
    """Return what this machine calls its processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


if __name__ == "__main__":
    main()
