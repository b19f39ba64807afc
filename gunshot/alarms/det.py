"""The DET curve on streams: recall of clear shots against false incidents an hour, at each threshold."""

import pandas as pd

from gunshot.models.scores import metrics


def det(counts: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each origin, model and mean logit: recall of clear shots against false incidents an hour.

    Shots are those of streams of the kind shots; false incidents those of the kind quiet, whose unique hours count.
    """
    hours = table[table["kind"] == "quiet"].groupby("origin")["unique_s"].sum() / 3600
    rows = []
    for (origin, model, logit), part in counts.groupby(["origin", "model", "logit"], sort=True):
        quiet, shots = part[part["kind"] == "quiet"], part[part["kind"] == "shots"]
        h, false = float(hours.get(origin, 0.0)), int(quiet["false_incidents"].sum())
        hits, total = int(shots["hits"].sum()), int(shots["shots"].sum())
        rows.append(
            {
                "origin": origin, "model": model, "logit": logit, "hours": h,
                "false_onsets": int(quiet["false_onsets"].sum()), "false_incidents": false,
                "false_incidents_per_hour": false / h if h else float("nan"),
                "false_incidents_per_hour_upper": metrics.rate_upper(false, h), "shots": total, "hits": hits,
                "recall": hits / total if total else float("nan"),
                "recall_lower": metrics.share_lower(hits, total),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def lowest(curve: pd.DataFrame, column: str, limit: float) -> float | None:
    """Return the lowest mean logit from which upward all rows keep a limit; None where not even the highest does."""
    kept = (curve[column] <= limit).groupby(curve["logit"]).all().sort_index()
    bad = kept.index[~kept]
    above = kept.index[kept.index > bad.max()] if len(bad) else kept.index
    return float(above.min()) if len(above) else None
