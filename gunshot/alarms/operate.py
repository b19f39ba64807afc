"""Where a detector is operated: the threshold that keeps a limit of false alarms an hour on validation streams."""

import hashlib
from pathlib import Path

import pandas as pd

from gunshot.alarms.det import lowest
from gunshot.base import tables
from gunshot.base.files import atomic


def operate(curve: pd.DataFrame, *, limit: float) -> dict:
    """Return the operating point of one model, and whether the limit of false alarms an hour is proven there.

    The point is the lowest mean logit from which upward every origin keeps the limit: there recall is highest. Where no
    logit keeps it, the point is the highest of GRID. The limit is proven where every origin's upper bound keeps it too.

    Parameters
    ----------
    curve : what `det.det` gives of one model on validation streams
    """
    rated = lowest(curve, "fa_per_hour", limit)
    logit = float(curve["logit"].max()) if rated is None else rated
    at = curve[curve["logit"] == logit]
    keys = ("hours", "false", "fa_per_hour", "fa_per_hour_upper", "recall", "recall_lower")
    return {
        "logit": logit,
        "proof": "proven" if (at["fa_per_hour_upper"] <= limit).all() else "unproven",
        "fa_per_hour_limit": limit,
        "validation": {row["origin"]: {key: row[key] for key in keys} for row in at.to_dict("records")},
    }


def against(one: dict[str, dict], other: dict[str, dict]) -> dict[str, dict]:
    """Return by origin how far recall falls from one model to the other, and whether false alarms stay in bounds.

    In bounds is a rate up to the first model's upper bound. Each model runs at its own operating point. An origin
    without hours, or without a clear shot, is left out.

    Parameters
    ----------
    one, other : by origin hours, recall, fa_per_hour and fa_per_hour_upper
    """
    changes = {}
    for origin in one.keys() & other.keys():
        a, b = one[origin], other[origin]
        if a["hours"] and pd.notna(a["recall"]):
            kept = b["fa_per_hour"] <= a["fa_per_hour_upper"]
            changes[origin] = {"recall_drop": a["recall"] - b["recall"], "fa_per_hour_within_bound": bool(kept)}
    return {origin: changes[origin] for origin in tables.ORIGINS if origin in changes}


def in_words(validation: dict[str, dict]) -> str:
    """Return recall and false alarms an hour by origin as text; `validation` is that of `operate`."""
    return "; ".join(
        f"{origin} {v['recall']:.1%} of shots, {v['fa_per_hour']:.2f} false alarms/h (at most "
        f"{v['fa_per_hour_upper']:.2f}) in {v['hours']:.2f} h"
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
