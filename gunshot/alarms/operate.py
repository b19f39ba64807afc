"""Where a detector is operated: the threshold that keeps a limit of false incidents an hour on validation streams."""

import hashlib
from pathlib import Path

import pandas as pd

from gunshot.alarms.det import lowest
from gunshot.base import tables
from gunshot.base.files import atomic


def operate(curve: pd.DataFrame, *, limit: float) -> dict:
    """Return the operating point of one model, and whether the limit of false incidents an hour is proven there.

    The point is the lowest mean logit from which upward every origin keeps the limit: there recall is highest. Where no
    logit keeps it, the point is the highest of GRID. The limit is proven where every origin's upper bound keeps it too.

    Parameters
    ----------
    curve : what `det.det` gives of one model on validation streams
    """
    rated = lowest(curve, "false_incidents_per_hour", limit)
    logit = float(curve["logit"].max()) if rated is None else rated
    at = curve[curve["logit"] == logit]
    rate = ("false_incidents_per_hour", "false_incidents_per_hour_upper")
    keys = ("hours", "false_onsets", "false_incidents", *rate, "recall", "recall_lower")
    return {
        "logit": logit,
        "proof": "proven" if (at["false_incidents_per_hour_upper"] <= limit).all() else "unproven",
        "false_incidents_per_hour_limit": limit,
        "validation": {row["origin"]: {key: row[key] for key in keys} for row in at.to_dict("records")},
    }


def against(one: dict[str, dict], other: dict[str, dict]) -> dict[str, dict]:
    """Return by origin how far recall falls from one model to the other, and whether false incidents stay in bounds.

    In bounds is a rate up to the first model's upper bound. Each model runs at its own operating point. An origin
    without hours, or without a clear shot, is left out.

    Parameters
    ----------
    one, other : by origin hours, recall, false_incidents_per_hour and false_incidents_per_hour_upper
    """
    changes = {}
    for origin in one.keys() & other.keys():
        a, b = one[origin], other[origin]
        if a["hours"] and pd.notna(a["recall"]):
            kept = bool(b["false_incidents_per_hour"] <= a["false_incidents_per_hour_upper"])
            changes[origin] = {"recall_drop": a["recall"] - b["recall"], "false_incidents_per_hour_within_bound": kept}
    return {origin: changes[origin] for origin in tables.ORIGINS if origin in changes}


def in_words(validation: dict[str, dict]) -> str:
    """Return recall and false incidents an hour by origin as text; `validation` is that of `operate`."""
    return "; ".join(
        f"{origin} {v['recall']:.1%} of shots, {v['false_incidents_per_hour']:.2f} false incidents/h (at most "
        f"{v['false_incidents_per_hour_upper']:.2f}) in {v['hours']:.2f} h"
        for origin, v in validation.items()
    )


def note_read(log: Path, model: Path, plan: Path) -> None:
    """Log that a model was scored on the test streams: one line for each model and plan, by their SHA-256.

    Whoever looks at test streams often enough tunes on them; the log is in Git, whose history dates each line.
    """
    line = ",".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in (model, plan))
    lines = log.read_text().splitlines() if log.exists() else ["model_sha256,streams_sha256"]
    if line not in lines:
        with atomic(log) as part:
            part.write_text("\n".join([*lines, line]) + "\n")
