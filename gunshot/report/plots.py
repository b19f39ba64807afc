"""The report's plots as matplotlib figures, and a figure as SVG to stand inside a page."""

import html
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from scipy.stats import norm

from gunshot import features
from gunshot.base import audio, params
from gunshot.base.files import atomic

CLASSES = ("ENV", "GUN")  # by y
WIDTH = 9.6  # inches: 922 px in a page
LINES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", ":"))  # Okabe and Ito; dashes tell too
FILLS = ("#8a94a0", "#6a3d9a")  # ENV, GUN
STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that every machine lays out alike
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#667",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e4e7ea",
    "legend.frameon": False,
    "lines.linewidth": 1.7,
    "svg.fonttype": "none",  # text stays text: it can be searched, and read aloud
    "svg.hashsalt": "gunshot",
}
DET_TICKS = np.array([0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8])


def panels(label: str, *, height: float, count: int, width: float = WIDTH, **kwargs) -> tuple[Figure, np.ndarray]:
    """Return a figure and its panels side by side. Sizes are in inches; `label` is its text alternative."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.set_label(label)
    return figure, figure.subplots(1, count, squeeze=False, **kwargs)[0]


def _lines(figures: dict) -> Iterator[tuple[str, dict, dict]]:
    """Yield of each model its name, its metrics, and the colour and dash of its line as keywords."""
    for i, (model, metrics) in enumerate(figures["metrics"].items()):
        colour, dash = LINES[i % len(LINES)]
        yield model, metrics, {"color": colour, "linestyle": dash}


def _mark(ax, x: float, y: float, line: dict, **kwargs) -> None:
    ax.plot([x], [y], "o", color=line["color"], markersize=6, markeredgecolor="white", zorder=5, **kwargs)


@matplotlib.rc_context(STYLE)
def roc_det(figures: dict) -> Figure:
    """Return two panels: the ROC, its left edge drawn again on a logarithmic axis, and the DET curve on probit axes."""
    figure, (roc, det) = panels(
        "ROC and DET curves; " + "; ".join(f"{model}: AUC {m['auc']:.4f}" for model, m, _ in _lines(figures)),
        height=4.5,
        count=2,
    )
    inset = roc.inset_axes((0.4, 0.13, 0.57, 0.48))
    floor = 0.5 / max(m["environment"] for m in figures["metrics"].values())
    for model, metrics, line in _lines(figures):
        curve, point = figures["curves"][model]["roc"], ("false_rate_at_threshold", "recall_at_threshold")
        x, y = (metrics[key] for key in point)
        for ax, low in ((roc, 0.0), (inset, floor)):
            ax.plot(curve["fpr"].clip(lower=low), curve["tpr"], label=model, **line)
            _mark(ax, max(x, low), y, line)
        curve = figures["curves"][model]["det"]
        miss, false = (np.clip(v, floor, 1 - floor) for v in (curve["fnr"], curve["fpr"]))
        det.plot(norm.ppf(false), norm.ppf(miss), label=model, **line)
        _mark(det, norm.ppf(np.clip(x, floor, 1 - floor)), norm.ppf(np.clip(1 - y, floor, 1 - floor)), line)
    roc.set(title="ROC", xlabel="false rate", ylabel="recall", xlim=(-0.01, 1), ylim=(0, 1.01))
    inset.set(xscale="log", xlim=(floor, 1), ylim=(0, 1.02))
    inset.set_title("the same, logarithmic", fontsize=8.5, weight="normal")
    inset.tick_params(labelsize=8)
    for axis in (roc.xaxis, roc.yaxis, inset.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    inset.xaxis.set_major_formatter(lambda v, _: f"{100 * v:g} %")
    _probit(det, low=min(max(floor, 0.0007), 0.008), point=figures["point"])
    return figure


def _probit(ax, *, low: float, point: str) -> None:
    ticks, limits = DET_TICKS[low <= DET_TICKS], (norm.ppf(low), norm.ppf(0.85))
    names = [f"{100 * t:g}" for t in ticks]
    ax.set(title="DET", xlabel="false rate, %", ylabel="missed shots, %", xlim=limits, ylim=limits)
    ax.set_xticks(norm.ppf(ticks), names)
    ax.set_yticks(norm.ppf(ticks), names)
    ax.legend(loc="upper right", title=f"● {point}")


@matplotlib.rc_context(STYLE)
def thresholds(figures: dict) -> Figure:
    """Return precision and recall against the threshold, one panel a model, the point where it decides marked."""
    figure, axes = panels(
        "Precision and recall against the threshold; "
        + "; ".join(f"{model}: {figures['point']} {m['threshold']:.3f}" for model, m, _ in _lines(figures)),
        height=3.2,
        count=len(figures["metrics"]),
        sharey=True,
    )
    for ax, (model, metrics, _) in zip(axes, _lines(figures), strict=True):
        curve, point = figures["curves"][model]["threshold"], metrics["threshold"]
        ax.plot(curve["threshold"], curve["recall"], color=FILLS[1], label="recall")
        ax.plot(curve["threshold"], curve["precision"], color="#333", linestyle="--", label="precision")
        ax.axvline(point, color="#B00020", linewidth=1.2, label=figures["point"])
        ax.set(title=f"{model}: {point:.3f}", xlabel="threshold", xlim=(0, 1), ylim=(0, 1.02))
    axes[0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return figure


def _confusion(figures: dict, model: str) -> np.ndarray:
    """Return counts [shape=(actual, decided)] at a model's point, GUN before ENV."""
    predictions, point = figures["predictions"], figures["metrics"][model]["threshold"]
    decided = predictions[model] >= point
    return np.array([[int(np.sum((predictions["y"] == a) & (decided == d))) for d in (1, 0)] for a in (1, 0)])


@matplotlib.rc_context(STYLE | {"axes.grid": False, "axes.spines.left": False, "axes.spines.bottom": False})
def confusion(figures: dict) -> Figure:
    """Return a confusion matrix a model, where it decides. The darker, the larger the share of the class."""
    counts = {model: _confusion(figures, model) for model in figures["metrics"]}
    figure, axes = panels(
        "Confusion matrices; "
        + "; ".join(
            f"{model}: {c[0, 0]} of {c[0].sum()} GUN and {c[1, 1]} of {c[1].sum()} ENV right"
            for model, c in counts.items()
        ),
        height=3.0,
        count=len(counts),
    )
    for ax, (model, count) in zip(axes, counts.items(), strict=True):
        share = count / count.sum(axis=1, keepdims=True)
        ax.imshow(share, cmap="Purples", vmin=0, vmax=1.15)
        for (row, column), n in np.ndenumerate(count):
            colour = "white" if share[row, column] > 0.55 else "#222"
            text = f"{n:,}\n{100 * share[row, column]:.1f} %"
            ax.text(column, row, text, ha="center", va="center", color=colour, fontsize=11)
        ax.set_xticks([0, 1], CLASSES[::-1])
        ax.set_yticks([0, 1], CLASSES[::-1])
        ax.tick_params(length=0)
        ax.set(title=model, xlabel="decided", ylabel="actual")
    return figure


@matplotlib.rc_context(STYLE)
def histograms(figures: dict) -> Figure:
    """Return histograms of scores, one panel a model: the share of each class on a logarithmic axis."""
    predictions = figures["predictions"]
    figure, axes = panels(
        f"Histograms of the scores by class, with the {figures['point']}", height=3.2, count=len(figures["metrics"]),
        sharey=True,
    )  # fmt: skip
    bins = np.linspace(0, 1, 41)
    for ax, (model, metrics, _) in zip(axes, _lines(figures), strict=True):
        for y, (name, colour) in enumerate(zip(CLASSES, FILLS, strict=True)):
            score = predictions.loc[predictions["y"] == y, model].clip(0, 1)
            weights = np.full(len(score), 1 / len(score))
            ax.hist(score, bins, weights=weights, histtype="stepfilled", fc=(colour, 0.3), ec=colour, label=name)
        ax.axvline(metrics["threshold"], color="#B00020", linewidth=1.2, label=figures["point"])
        ax.set(title=model, xlabel="score", xlim=(0, 1), yscale="log")
    axes[0].set_ylabel("share of the class")
    axes[0].yaxis.set_major_formatter(lambda v, _: f"{100 * v:g} %")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return figure


@matplotlib.rc_context(STYLE)
def history(table: pd.DataFrame) -> Figure:
    """Return losses and learning rate by epoch. The columns of `table`: epoch, loss, val_loss, learning_rate."""
    figure, (loss, rate) = panels(
        f"Training and validation loss, and learning rate, over {len(table)} epochs",
        height=3.2,
        count=2,
        width_ratios=(2, 1),
    )
    loss.plot(table["epoch"], table["loss"], color=LINES[0][0], label="training")
    loss.plot(table["epoch"], table["val_loss"], color=LINES[1][0], linestyle="--", label="validation")
    if table["val_loss"].notna().any():
        best = table.loc[table["val_loss"].idxmin()]
        _mark(loss, best["epoch"], best["val_loss"], {"color": LINES[1][0]}, label="lowest", linestyle="none")
    loss.set(title="Loss", xlabel="epoch", ylim=(0, None))
    loss.legend()
    rate.plot(table["epoch"], table["learning_rate"], color="#333", drawstyle="steps-mid")
    rate.set(title="Learning rate", xlabel="epoch", ylim=(0, None))
    for ax in (loss, rate):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


@matplotlib.rc_context(STYLE | {"axes.grid": False})
def importances(values: np.ndarray) -> Figure:
    """Return a heat map of importances [shape=(n_mels, frames)], mel band against frame."""
    band, frame = np.unravel_index(np.argmax(values), values.shape)
    figure, (ax, bands) = panels(
        f"Heat map of the forest's importances, the greatest at mel band {band} and frame {frame}",
        height=4.2,
        count=2,
        width_ratios=(2.4, 1),
        sharey=True,
    )
    image = ax.imshow(values, origin="lower", aspect="auto", cmap="Purples", vmin=0, interpolation="nearest")
    figure.colorbar(image, ax=ax, pad=0.02, format=PercentFormatter(1, decimals=1, symbol=" %"))
    ax.set(title="By mel band and frame", xlabel="frame", ylabel="mel band")
    bands.barh(np.arange(len(values)), values.sum(axis=1), color=FILLS[1], alpha=0.7)
    bands.set(title="By mel band", xlabel="share of all importance")
    bands.xaxis.set_major_formatter(lambda v, _: f"{100 * v:g} %")
    return figure


def svg(figure: Figure, *, prefix: str) -> str:
    """Return a figure as an <svg> element for a page: the same bytes for the same data.

    All its ids begin with `prefix`, so that they are unique in the page. The figure's label is its text alternative.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{html.escape(figure.get_label())}"', 1)


class Sections(Protocol):
    """The sections of params.yaml that a plot of a recording reads."""

    audio: params.Audio
    features: params.Features
    detector: params.Detector


def detection(
    path: Path,
    title: str,
    samples: np.ndarray,
    starts: np.ndarray,
    scores: np.ndarray,
    onsets: np.ndarray,
    *,
    threshold: float,
    goes_on: float,
    p: Sections,
) -> None:
    """Write a PNG of a recording over time: its waveform, its log-mel, and the scores of its windows.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,)], float32, at least one frame
    starts, scores : np.ndarray [shape=(windows,)]
        Of the chunks on which windows decide, in s, and what they decide.
    onsets : np.ndarray [shape=(shots,)], in s
    threshold, goes_on : the score at which an incident opens, and the lower one down to which it goes on
    """
    sr, hop = p.audio.sr, p.features.hop_length
    log_mel = features.log_mel(audio.to_int16(samples), sr=sr, **p.features.model_dump())
    low, high = _envelope(samples)
    duration = (log_mel.shape[1] - 1) * hop / sr + p.features.n_fft / sr
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 6.0), layout="constrained")
        wave, mel, score = figure.subplots(3, 1, sharex=True, height_ratios=[1, 1.3, 1])
        wave.fill_between(np.arange(len(low)) * 160 / sr, low, high, color=LINES[0][0], linewidth=0.4)
        wave.set(ylim=(-1, 1), ylabel="amplitude")
        title = (
            title if len(title) <= 100 else f"{title[:60]} ... {title[-30:]}"
        )  # a longer one leaves the axes no room
        wave.set_title(title, parse_math=False)  # a file's name, in which $ is a letter
        image = mel.imshow(
            log_mel,
            origin="lower",
            aspect="auto",
            extent=(0, duration, 0, log_mel.shape[0]),
            cmap="magma",
            vmin=max(-100, log_mel.max() - 80),
        )
        mel.grid(False)
        mel.set(ylabel="mel band")
        figure.colorbar(image, ax=mel, label="dB", pad=0.01)
        middle = starts + p.audio.chunk_length / sr / 2
        score.plot(middle, scores, color=LINES[1][0], marker="o" if len(scores) == 1 else None)  # a line needs two
        score.axhline(threshold, color="#667", linestyle=":")
        score.axhline(goes_on, color="#667", linestyle="--", linewidth=0.8)
        score.set(
            ylim=(0, 1.02),
            ylabel="score",
            xlabel="time (s); a score stands at its chunk's middle",
            xlim=(0, duration),
        )
        for onset in onsets:
            for ax in (wave, mel, score):
                ax.axvline(onset, color="#009E73", linewidth=1.2)
        score.set_title(
            f"{len(onsets)} onset(s), green; an incident opens at {threshold:.3f} (dotted), goes on at {goes_on:.3f} "
            "(dashed); steady fire lower still"
        )
        with atomic(path) as part, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # of a name; a box stands for it
            figure.savefig(part, format="png", dpi=120)


def _envelope(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return lowest and highest sample of each 10 ms: a long recording is not drawn sample by sample."""
    at = np.arange(0, len(samples), 160)
    return np.minimum.reduceat(samples, at), np.maximum.reduceat(samples, at)
