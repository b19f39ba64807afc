"""Measures what several devices gain: python DOC/pictures/fusion.py, after `dvc repro`, in the project's folder.

Writes reports/fusion.json, which DOC/hub.md quotes, and that page's picture.
"""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt

from gunshot.base import params, pipeline, processes, tables
from gunshot.hub import worlds
from gunshot.models.model import load_once
from gunshot.models.scores import metrics

OUT = Path(__file__).with_name("fusion.png")
SEED, DEVICES, WORLD_S, EVENTS_PER_MIN = 3, 6, 120.0, 1.0
COUNTS = {"quiet": 30, "shots": 10}
NEEDED = (1, 2, 3)
LOGITS = np.arange(0.0, 9.01, 0.25)  # at which each device opens an incident
LIMITS = (1.0, 5.0)  # false cases an hour


def heard(task: tuple[str, int], path: Path, p, logits: list[float]) -> tuple[str, int, np.ndarray, np.ndarray]:
    """Return of a world its kind, its firings, and by devices, needed ones and logits false cases and firings found."""
    kind, index = task
    shape = {"devices": DEVICES, "sr": p.audio.sr, "world_s": WORLD_S, "events_per_min": EVENTS_PER_MIN}
    world = worlds.render(SEED, index, kind, **shape)
    false, hits = (np.zeros((DEVICES, len(NEEDED), len(logits)), int) for _ in range(2))
    for i, incidents in enumerate(worlds.hear(world, load_once(path), logits, p)):
        for n in range(1, DEVICES + 1):
            some = [each for each in incidents if each.device < n]
            for k, needed in enumerate(NEEDED[:n]):
                false[n - 1, k, i], firings = worlds.raised(world, some, needed=needed)
                hits[n - 1, k, i] = len(firings)
    return kind, len(world.snr_db), false, hits


def measured() -> dict:
    """Return the report."""
    p = params.load("audio", "chunks", "context", "features", "detector")
    path = pipeline.models()["int8"]
    logits = [*LOGITS.tolist(), load_once(path).threshold(None)]
    tasks = [(kind, i) for kind, count in COUNTS.items() for i in range(count)]
    every = list(processes.in_order(heard, tasks, path, p, logits, workers=2))
    hours, firings = COUNTS["quiet"] * WORLD_S / 3600, sum(one[1] for one in every)
    false = sum(one[2] for one in every if one[0] == "quiet")
    hits = sum(one[3] for one in every if one[0] == "shots")
    rows = []
    for n in range(1, DEVICES + 1):
        for k, needed in enumerate(NEEDED[:n]):
            curve = [
                point(logit, int(f), int(h), hours, firings)
                for logit, f, h in zip(logits, false[n - 1, k], hits[n - 1, k], strict=True)
            ]
            rows.append({"devices": n, "needed": needed, "operating_point": curve.pop(), "curve": curve})
            for limit in LIMITS:
                rows[-1][f"at_{limit:g}_per_hour"] = lowest(curve, limit)
    return {"seed": SEED, "hours": hours, "firings": firings, "rows": rows}


def point(logit: float, false: int, hits: int, hours: float, firings: int) -> dict:
    """Return what a site's devices find at a mean logit."""
    return {
        "logit": logit,
        "false_cases_per_hour": round(false / hours, 3),
        "false_cases_per_hour_upper": round(metrics.rate_upper(false, hours), 3),
        "recall": round(hits / firings, 4),
        "recall_lower": round(metrics.share_lower(hits, firings), 4),
    }


def lowest(curve: list[dict], limit: float) -> dict | None:
    """Return the lowest point of a curve from which upward the rate is kept; None where the highest breaks it."""
    kept = None
    for each in reversed(curve):
        if each["false_cases_per_hour"] > limit:
            break
        kept = each
    return kept


def draw(content: dict) -> None:
    """Draw recall of firings against false cases an hour, for one device and for some of six."""
    figure, ax = plt.subplots(figsize=(8, 5), layout="constrained")
    colours = {(1, 1): "#777777", (6, 1): "#B00020", (6, 2): "#1B5E7A", (6, 3): "#2E7D32"}
    for row in content["rows"]:
        if colour := colours.get((row["devices"], row["needed"])):
            rate, recall = (
                np.array([each[key] for each in row["curve"]]) for key in ("false_cases_per_hour", "recall")
            )
            least = 0.5 / content["hours"]
            label = f"{row['needed']} of {row['devices']} devices"
            ax.plot(np.maximum(rate, least), 100 * recall, ".-", color=colour, label=label)
            now = row["operating_point"]
            ax.plot(max(now["false_cases_per_hour"], least), 100 * now["recall"], "o", color=colour, markersize=10)
    ax.set(xscale="log", xlabel="false cases an hour (leftmost: none)", ylabel="firings found, %", ylim=(0, 100))
    ax.grid(alpha=0.3)
    ax.legend(title="a circle: at the operating point", frameon=False)
    figure.savefig(OUT, dpi=80)


def main() -> None:
    """Measure, write the report and draw the picture."""
    matplotlib.use("Agg")
    content = measured()
    tables.write_json("reports/fusion.json", content)
    draw(content)


if __name__ == "__main__":
    main()
