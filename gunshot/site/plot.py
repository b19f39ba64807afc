"""A site's false incidents an hour against the threshold, as a picture."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from gunshot.base.files import atomic
from gunshot.models.model import Model
from gunshot.site import threshold
from gunshot.site.calibration import Calibration

COLOURS = {"curve": "#0072B2", "chosen": "#D55E00", "other": "#667"}
SCORES = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
SPACE = 0.12  # of a logit's axis between two scores that are written


def write(file: Path, site: str, done: Calibration, model: Model) -> None:
    """Write a PNG of false incidents an hour against the threshold, with the one that was chosen."""
    with matplotlib.rc_context({"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}):
        figure = Figure(figsize=(9.6, 4.6), layout="constrained")
        draw(figure.subplots(), site, done, model)
        with atomic(file) as part:
            figure.savefig(part, format="png", dpi=100)


def draw(ax: Axes, site: str, done: Calibration, model: Model, *, legend: bool = True) -> None:
    """Draw it on axes: the curve with its bound, limit, operating point, the threshold, what held-out hours give."""
    logit, hours = done.rows["logit"].to_numpy(), done.hours.duration_s / 3600
    rate, upper = (done.rows[name].to_numpy() for name in (threshold.RATE, threshold.UPPER))
    ax.fill_between(logit, rate, upper, color=COLOURS["curve"], alpha=0.18, lw=0, label="its 95 % bound", step="mid")
    ax.step(logit, rate, color=COLOURS["curve"], where="mid", label=f"all {hours:.2f} h, on which it was chosen")
    ax.axhline(done.limit, color=COLOURS["other"], ls="--", lw=1, label=f"limit, {done.limit:g}/h")
    ax.axvline(
        done.point, color=COLOURS["other"], ls=":", lw=1.4, label=f"operating point, {_score(model, done.point)}"
    )
    ax.axvline(done.logit, color=COLOURS["chosen"], lw=1.4, label=f"threshold here, {_score(model, done.logit)}")
    held = done.held_out
    ax.errorbar(
        done.logit, held.rate, yerr=[[0], [held.upper - held.rate]], fmt="o", capsize=4, color=COLOURS["chosen"],
        label="held-out hours, with their bound",
    )  # fmt: skip
    least = 1 / hours
    ax.set_yscale("symlog", linthresh=least, linscale=0.6)  # 0 is the figure that everybody hopes for
    ax.set_ylim(-0.08 * least, 1.6 * max(upper.max(), held.upper))
    ax.yaxis.set_major_locator(FixedLocator([0, *(10.0**k for k in range(-3, 5) if 10.0**k >= least / 2)]))
    ax.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
    _scores(ax, logit, model)
    ax.set_title(f"{site}: false incidents an hour", loc="left", fontsize=10.5, fontweight="bold", parse_math=False)
    ax.set_ylabel("false incidents an hour")
    if legend:
        ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _score(model: Model, logit: float) -> str:
    return f"{float(model.calibrated(logit)):.3f}"


def _scores(ax: Axes, logit: np.ndarray, model: Model) -> None:
    """Write scores under an axis of logits, as far as they have room."""
    places, written = [model.threshold(score) for score in SCORES], []
    room = SPACE * (logit[-1] - logit[0]) / 2
    for place, score in zip(places, SCORES, strict=True):
        if logit[0] <= place <= logit[-1] and (not written or place - written[-1][0] >= room):
            written.append((place, f"{score:g}"))
    ax.set_xticks([place for place, _ in written], [text for _, text in written])
    ax.set_xlim(logit[0], logit[-1])
    ax.set_xlabel("threshold: the score that opens an incident")
