"""Measures how stages grow with hours of recordings: `make bench-scale`, or python -m tests.stages.scale HOURS...

For each number of hours a project with so many simulated recordings, and with streams that grow alike, runs each stage
of dvc.yaml on two processes; with the last of these hours those that map run on one process, and on two workers of a
Dask cluster, too. Training has two epochs. After `make`, which has compiled what Numba does. Writes reports/scale.json
and DOC/pictures/scale.png.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from graphlib import TopologicalSorter
from pathlib import Path

import matplotlib
import numpy as np
import psutil
import yaml
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from scipy.optimize import least_squares

from gunshot.base import tables
from tests.base.dask_cluster import Cluster, cluster, wait_for
from tests.bench import processor
from tests.stages.project import Project, snapshot

REPORT, PICTURE = Path("reports/scale.json"), Path("DOC/pictures/scale.png")
HOURS = (1.0, 4.0, 16.0, 64.0)
A_RECORDING_H = 1.8 / 3600  # of the default corpus, on average
# Stages that do not map: one run each.
ALONE = {"split", "train_forest", "train_network", "quantize", "reference", "evaluate", "export"}
ONE, TWO, DASK = "1 process", "2 processes", "2 Dask workers"
EVERY_S = 0.05  # between two looks at the memory
SPAN = 16  # from the fewest hours to the most; fits over fewer say nothing
LEAST_S = 5.0  # of work, from which on the cluster's overhead counts
# Runs a stage with so many processes, whatever it asks for.
RUN = """
import runpy, sys
from gunshot.base import processes
pool, count = processes.ProcessPoolExecutor, int(sys.argv.pop(1))
processes.ProcessPoolExecutor = lambda workers, *args, **more: pool(count, *args, **more)
runpy.run_module(f"stages.{sys.argv.pop(1)}", run_name="__main__", alter_sys=True)
"""


def sized(hours: float) -> dict[str, dict]:
    """Return params for so many hours of recordings, and as many of streams: a half train, a quarter val and test."""
    count, side = hours / A_RECORDING_H, hours / 8
    return {
        "simulate": {"gun_recordings": round(0.375 * count), "env_recordings": round(0.625 * count)},
        "streams": {"hours": side, "shot_hours": side, "val_share": 1.0, "train_hours": 4 * side, "stream_s": 30.0},
        "network": {"epochs": 2},
    }


def outputs(stage: dict) -> list[str]:
    """Return the paths of all that a stage of dvc.yaml writes."""
    return [out if isinstance(out, str) else next(iter(out)) for out in stage["outs"] + stage.get("metrics", [])]


def ordered(path: Path) -> dict[str, dict]:
    """Return the stages of dvc.yaml, each behind those whose outputs it reads."""
    stages = yaml.safe_load(path.read_text())["stages"]
    maker = {out: name for name, stage in stages.items() for out in outputs(stage)}
    reads = {
        name: {maker[out] for dep in stage.get("deps", []) for out in maker if f"{out}/".startswith(f"{dep}/")}
        for name, stage in stages.items()
    }
    return {name: stages[name] for name in TopologicalSorter(reads).static_order()}


def family(roots: list[int]) -> Iterator[psutil.Process]:
    """Yield processes and all that they started, as far as they still live."""
    for root in roots:
        try:
            one = psutil.Process(root)
            yield from (one, *one.children(recursive=True))
        except psutil.NoSuchProcess:
            pass


def anonymous_kb(pid: int) -> int:
    """Return the anonymous memory of a process; 0 where it has ended. Pages that a fork shares count in each."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0)


@contextmanager
def watched(roots: list[int]) -> Iterator[list[float]]:
    """Give a list that at the block's end has the peak of the anonymous memory of `roots` and their families, MB."""
    peak, done = [0.0], threading.Event()

    def look() -> None:
        while not done.wait(EVERY_S):
            peak[0] = max(peak[0], sum(anonymous_kb(each.pid) for each in family(roots)) / 1024)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def used_s(roots: list[int]) -> float:
    """Return the time of processors that processes and their ended children have had, s."""
    return sum(sum(psutil.Process(root).cpu_times()[:4]) for root in roots)


def measure(project: Project, command: list[str], count: int, workers: list[int], **env: str) -> dict:
    """Return what a stage takes; `workers` are the processes of the cluster that `env` names."""
    before, began = used_s(workers), time.perf_counter()
    log = project.shared / "log"
    with log.open("w") as out:
        run = [sys.executable, "-c", RUN, str(count), *command]
        stage = subprocess.Popen(run, cwd=project.root, env=project.env | env, stdout=out, stderr=subprocess.STDOUT)
        with watched([stage.pid, *workers]) as peak:
            _, status, usage = os.wait4(stage.pid, 0)
    stage.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    if stage.returncode:
        raise RuntimeError(f"{shlex.join(command)} ended with {stage.returncode}:\n{log.read_text()[-3000:]}")
    # Beside a worker its map's processes end when Dask lets go of them.
    wait_for(lambda: len(list(family(workers))) == len(workers))
    seconds = usage.ru_utime + usage.ru_stime + used_s(workers) - before
    return {"processor_s": seconds, "wall_s": wall, "peak_mb": peak[0]}


def measured(project: Project, hours: float, wheres: Iterable[str], on: Cluster) -> Iterator[tuple[str, str, dict]]:
    """Yield the stages of a project with so many hours, where they ran, and what that took."""
    project.params(sized(hours))
    workers = [each.pid for each in on.processes]
    runs = {ONE: (1, [], {}), TWO: (2, [], {}), DASK: (2, workers, {"DASK_SCHEDULER_ADDRESS": on.address})}
    for name, stage in ordered(project.root / "dvc.yaml").items():
        command = shlex.split(stage["cmd"])[2:]  # behind `exec stages/run`
        for where in (TWO,) if name in ALONE else wheres:
            for out in outputs(stage):
                path = project.root / out
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            count, beside, env = runs[where]
            row = measure(project, command, count, beside, **on.settings, **env)
            print(f"{hours:g} h, {name}, {where}: " + ", ".join(f"{k} {v:.1f}" for k, v in row.items()), flush=True)
            yield name, where, row


def growth(hours: list[float], seconds: list[float]) -> dict[str, float]:
    """Return the start-up `s`, the factor `c` and the exponent `e` of s + c * hours ** e, fitted by ratios."""
    t = np.array(seconds)

    def off(x: np.ndarray) -> np.ndarray:
        return np.log((x[0] + x[1] * np.array(hours) ** x[2]) / t)

    fit = least_squares(off, (t.min() / 2, (t / hours).min(), 1.0), bounds=((0, 1e-9, 0), (t.min(), np.inf, 3)))
    return dict(zip(("start_s", "an_hour_s", "exponent"), fit.x.tolist(), strict=True))


def fitted(hours: list[float], rows: dict[str, dict[str, list[dict]]]) -> dict[str, dict]:
    """Return of each stage what was measured where, its growth over SPAN, and by how much the cluster takes more."""
    out = {}
    for name, by in rows.items():
        out[name] = {where: {key: [round(each[key], 2) for each in row] for key in row[0]} for where, row in by.items()}
        seconds = {where: columns["processor_s"][-1] for where, columns in out[name].items()}
        if seconds[TWO] >= LEAST_S and DASK in seconds:
            out[name]["cluster_overhead"] = round(seconds[DASK] / seconds[TWO] - 1, 3)
        if hours[-1] >= SPAN * hours[0]:
            out[name] |= growth(hours, out[name][TWO]["processor_s"])
    return out


def draw(report: dict) -> None:
    """Draw each stage's seconds and memory by hours, both axes logarithmic."""
    matplotlib.use("Agg")
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    hours, labels = report["hours"], {"processor_s": "processor time, s", "peak_mb": "peak anonymous memory, MB"}
    for axes, (key, label) in zip(figure.subplots(1, 2), labels.items(), strict=True):
        for i, (name, stage) in enumerate(report["stages"].items()):
            style = ("-", "--", ":")[i // 10]
            axes.loglog(hours, stage[TWO][key], style, marker="o", ms=3, color=f"C{i % 10}", label=name)
        axes.set(xlabel="hours of recordings, and of streams", ylabel=label)
        axes.set_xticks(hours, [f"{each:g}" for each in hours])
        axes.xaxis.set_minor_locator(NullLocator())
        low, high = np.log10(axes.get_ylim())
        axes.set_ylim(10 ** np.floor(low), 10 ** np.ceil(high))
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", fontsize=8)
    figure.suptitle(f"Stages on two processes; load {report['load']:.0f} on {report['cores']} cores", fontsize=10)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=80)


def main(hours: list[float]) -> None:
    rows: dict[str, dict[str, list[dict]]] = {}
    load = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "shared").mkdir()
        snapshot(folder / "project")
        project = Project(folder / "project", folder / "shared")
        with cluster(project.shared, project.root, project.env) as on:
            on.ensure(2)
            for i, count in enumerate(hours):
                wheres = (ONE, TWO, DASK) if count == hours[-1] else (TWO,)
                for stage, where, row in measured(project, count, wheres, on):
                    rows.setdefault(stage, {}).setdefault(where, []).append(row)
                    load.append(os.getloadavg()[0])
                report = {"hours": hours[: i + 1], "cores": os.cpu_count(), "processor": processor()}
                report |= {"load": round(float(np.mean(load)), 1), "stages": fitted(report["hours"], rows)}
                tables.write_json(REPORT, report)  # after each, since the next may take hours
    draw(report)


if __name__ == "__main__":
    main([float(hours) for hours in sys.argv[1:]] or list(HOURS))
