"""What another threshold costs on the validation streams, as the pipeline wrote it: in them, not at the site."""

from pathlib import Path

import pandas as pd

from gunshot.base import tables
from gunshot.site.rehearsal import AFTER, BEFORE

KEPT = 0.5  # of the recall at the operating point, at least: where a threshold leaves less, the device is deaf
COLUMNS = {"origin": str, "model": str, "logit": float, "shots": int, "recall": float, "recall_lower": float}


def on_streams(file: Path, model: str | None, points: dict[str, float]) -> dict:
    """Return the recall of clear simulated shots at the mean logits BEFORE and AFTER, and of how many shots it is.

    Parameters
    ----------
    file : what the stage operate wrote
    model : its name there; None where it has none

    Raises
    ------
    ValueError
        There is no such file, or no row of the model at a logit.
    """
    table = _rows(file, model)
    rows = {key: table[(table["logit"] - logit).abs() < 1e-6] for key, logit in points.items()}
    if missing := [points[key] for key, part in rows.items() if not len(part)]:
        raise ValueError(f"{file}: model={model} has no row of logit={missing[0]:g}; make it with `dvc repro operate`")
    shots = int(rows[BEFORE]["shots"].iloc[0])
    values = {
        key: {name: float(part[name].iloc[0]) for name in ("recall", "recall_lower")} for key, part in rows.items()
    }
    return {"shots": shots} | values


def kept(file: Path, model: str | None, point: float) -> list[float]:
    """Return the mean logits from the operating point upward, as far as each keeps KEPT of its recall; upward.

    Raises
    ------
    ValueError
        As for `on_streams`; or no clear shot is found at the operating point, so that nothing is known.
    """
    at = on_streams(file, model, {BEFORE: point, AFTER: point})[BEFORE]["recall"]
    if not at > 0:
        raise ValueError(f"{file}: recall={at} at the operating point of model={model} must be above 0")
    recall = _rows(file, model).set_index("logit")["recall"].sort_index()
    above = recall[recall.index > point + 1e-6]
    return [point, *above.index[(above >= KEPT * at).cummin()].tolist()]


def check(site: str, cost: dict, *, where: str) -> None:
    """Raise ValueError where a threshold leaves less than KEPT of the recall at the operating point, or that has none.

    Parameters
    ----------
    cost : of `on_streams`, or of `rehearsal.figures`
    where : whose shots these are
    """
    before, after = (cost[name]["recall"] for name in (BEFORE, AFTER))
    if after > 0 and after >= KEPT * before:
        return
    if not before:
        raise ValueError(
            f"{site}: the operating point itself has no recall of clear shots {where}, so nobody can say what this "
            "threshold costs. No profile was written. Hang the device where less sounds, or train a network that finds "
            "shots there"
        )
    raise ValueError(
        f"{site}: this threshold leaves a recall of {after:.1%} of clear shots {where}, of {before:.1%} at the "
        f"operating point: it must leave {KEPT:.0%} of that, or the device is deaf. No profile was written. Seek what "
        "raises the incidents with `gunshot detect` and hang the device elsewhere, allow more with "
        "--max-false-incidents-per-hour, or train with these sounds as negatives"
    )


def in_words(cost: dict) -> str:
    """Return it as a line of text."""
    before, after = cost[BEFORE], cost[AFTER]
    return (
        f"recall of {cost['shots']} clear shots of the validation streams: "
        f"{before['recall']:.1%} -> {after['recall']:.1%} "
        f"(at least {before['recall_lower']:.1%} -> {after['recall_lower']:.1%})"
    )


def _rows(file: Path, model: str | None) -> pd.DataFrame:
    if not file.exists():
        raise ValueError(f"{file}: no such file; make it with `dvc repro operate`")
    table = tables.read(file, COLUMNS)
    return table[(table["origin"] == "simulated") & (table["model"] == model)]
