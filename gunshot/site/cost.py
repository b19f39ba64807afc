"""What another threshold costs on the validation streams, as the pipeline wrote it: in them, not at the site."""

from pathlib import Path

from gunshot.base import tables
from gunshot.site.rehearsal import AFTER, BEFORE

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
    if not file.exists():
        raise ValueError(f"{file}: no such file; make it with `dvc repro operate`")
    table = tables.read(file, COLUMNS)
    table = table[(table["origin"] == "simulated") & (table["model"] == model)]
    rows = {key: table[(table["logit"] - logit).abs() < 1e-6] for key, logit in points.items()}
    if missing := [points[key] for key, part in rows.items() if not len(part)]:
        raise ValueError(f"{file}: model={model} has no row of logit={missing[0]:g}; make it with `dvc repro operate`")
    shots = int(rows[BEFORE]["shots"].iloc[0])
    values = {
        key: {name: float(part[name].iloc[0]) for name in ("recall", "recall_lower")} for key, part in rows.items()
    }
    return {"shots": shots} | values


def in_words(cost: dict) -> str:
    """Return it as a line of text."""
    before, after = cost[BEFORE], cost[AFTER]
    return (
        f"recall of {cost['shots']} clear shots of the validation streams: "
        f"{before['recall']:.1%} -> {after['recall']:.1%} "
        f"(at least {before['recall_lower']:.1%} -> {after['recall_lower']:.1%})"
    )
