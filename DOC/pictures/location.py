"""Measures locations on simulated cities: python DOC/pictures/location.py, after `dvc repro`, in the project's folder.

Writes reports/location.json, which DOC/location.md quotes, and that page's picture.
"""

import re
from collections import Counter
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt

from gunshot.base import params, pipeline, processes, tables
from gunshot.hub import cities
from gunshot.hub.location import Ellipse
from gunshot.models.model import load_once

OUT = Path(__file__).with_name("location.png")
SEED, DRAWN, HEARD, SHOWN = 2, 400, 200, 6
ERROR_S = 0.003
KINDS = [
    {"devices": n, "blocked": b} for n, b in ((3, 0), (4, 0), (5, 0), (6, 0), (8, 0), (5, 1), (6, 1), (8, 1), (6, 2))
]
KINDS += [{"devices": 6, "blocked": 0, "wind": wind} for wind in (2.0, 4.0, 6.0)]
RENDERED = {"one path blocked": {"blocked": 1, "shock": False}, "shock waves": {"blocked": 0, "shock": True}}
ENOUGH, DRAWN_FROM = 5, 3  # devices of six that hear a shot: to be measured on, to be in the picture


def drawn(task: tuple[int, int]) -> cities.Outcome:
    """Return a city of a kind with drawn onset errors."""
    kind, index = task
    return cities.drawn(index, seed=SEED, error_s=ERROR_S, **KINDS[kind])


def heard(index: int, kind: dict, path: Path, p) -> cities.Outcome:
    """Return a city heard by the detector at its operating point."""
    model = load_once(path)
    return cities.heard(index, seed=SEED, model=model, logit=model.threshold(None), p=p, devices=6, **kind)


def count(outcome: cities.Outcome) -> int:
    """Return how many devices heard the shot."""
    return int(np.isfinite(outcome.onset_s).sum())


def measured() -> tuple[dict, list[cities.Outcome]]:
    """Return the report, and the rendered cities with a blocked path that DRAWN_FROM devices or more heard."""
    p = params.load("audio", "chunks", "context", "features", "detector")
    tasks = [(kind, i) for kind in range(len(KINDS)) for i in range(DRAWN)]
    outcomes = list(processes.in_order(drawn, tasks, workers=2, batch=20))
    content: dict = {"seed": SEED, "onset_error_s": ERROR_S, "drawn": [], "heard": {}}
    for k, kind in enumerate(KINDS):
        content["drawn"].append(kind | cities.summary(outcomes[k * DRAWN : (k + 1) * DRAWN]))
    shown: list[cities.Outcome] = []
    for name, kind in RENDERED.items():
        path = pipeline.models()["int8"]
        every = list(processes.in_order(heard, range(HEARD), kind, path, p, workers=2, batch=5))
        enough = [each for each in every if count(each) >= ENOUGH]
        shown = shown or [each for each in every if count(each) >= DRAWN_FROM]
        error_s = np.concatenate([e.onset_s - e.city.clock_s - e.city.arrival_s for e in every])
        error_s = error_s[np.isfinite(error_s)]
        quantiles = np.quantile(error_s, [0.05, 0.5, 0.95])
        content["heard"][name] = {
            "cities": HEARD,
            "devices_that_hear": dict(sorted(Counter(map(count, every)).items())),
            "onset_error_ms": {q: round(1000 * t, 1) for q, t in zip(("5", "50", "95"), quantiles, strict=True)},
            "of_those_that_five_or_six_hear": cities.summary(enough),
        }
    return content, shown


def draw(ax: plt.Axes, outcome: cities.Outcome) -> None:
    """Draw a city: devices, the shot, the place and its ellipse, and beside it what is around the shot."""
    city, at = outcome.city, outcome.location
    deaf, out = ~np.isfinite(outcome.onset_s), [int(name) for name in at.left_out]
    ax.plot(*city.place[~deaf].T, "^", color="#1B5E7A", markersize=8, label="device")
    ax.plot(*city.place[deaf].T, "^", markeredgecolor="#1B5E7A", color="white", markersize=8, label="heard nothing")
    blocked = np.flatnonzero(city.late_s)
    ax.plot(*city.place[blocked].T, "s", markeredgecolor="#B00020", color="none", markersize=15, label="path blocked")
    ax.plot(*city.place[out].T, "x", color="#B00020", markersize=13, markeredgewidth=2, label="left out by the fit")
    for i in blocked:
        ax.annotate(
            f"{1000 * city.late_s[i]:.0f} ms late", city.place[i], (9, 9), textcoords="offset points", fontsize=9
        )
    title = re.split("[,:]", at.reason)[0]
    for axes, size in ((ax, 6), (ax.inset_axes([0.33, 0.02, 0.34, 0.25]), 9)):
        axes.plot(*city.shot, "*", color="#E67E00", markersize=size + 5, label="shot" if axes is ax else None)
        if not at.reason:
            outline = Ellipse.outline(at.ellipse, at.position_m, points=72)
            axes.fill(*outline.T, color="#B00020", alpha=0.25, label="95 %" if axes is ax else None)
            axes.plot(*at.position_m, "+", color="#B00020", markersize=size, label="place" if axes is ax else None)
            title = f"{outcome.error_m:.1f} m off, half axis {at.ellipse.major_m:.0f} m"
        axes.set_aspect("equal")
    half = 30.0 if at.reason else max(10.0, 1.1 * (outcome.error_m + at.ellipse.major_m))
    axes.set(xlim=city.shot[0] + half * np.array([-1, 1]), ylim=city.shot[1] + half * np.array([-1, 1]))
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"{2 * half:.0f} m", fontsize=8, pad=2)
    ax.set(xlim=(-620, 620), ylim=(-1090, 620), xticks=[-500, 0, 500], yticks=[-500, 0, 500])
    ax.set_title(title, fontsize=10)


def main() -> None:
    """Measure, write the report and draw the picture: the cities that six devices heard best and worst, and four."""
    matplotlib.use("Agg")
    content, shown = measured()
    tables.write_json("reports/location.json", content)
    order = sorted(shown, key=lambda each: each.error_m)
    chosen = [order[int(i)] for i in np.linspace(0, len(order) - 1, SHOWN)]
    figure, axes = plt.subplots(2, SHOWN // 2, figsize=(11, 10.5), layout="constrained")
    for ax, outcome in zip(axes.flat, chosen, strict=True):
        draw(ax, outcome)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(OUT, dpi=80)


if __name__ == "__main__":
    main()
