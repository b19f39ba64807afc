"""What detectors did on test streams: recall and false incidents an hour with their bounds, and by what they heard."""

import numpy as np
import pandas as pd

from gunshot.alarms.clear import CLEAR_DB, CLEAR_M
from gunshot.alarms.det import det, lowest
from gunshot.alarms.operate import against
from gunshot.base import tables
from gunshot.models.scores import bootstrap, metrics

KEYS = ("path", "origin", "kind", "model")
FOUND = {**tables.STREAM_SHOT, **dict.fromkeys(KEYS, str), "clear": bool, "found": bool, "delay_s": float}
BACKGROUND = "background"  # what sounds in a simulated stream where no event does
CAUSES = ("origin", "model", "of", "label", "false_incidents", "events", "hours", "false_incidents_per_event",
          "false_incidents_per_event_upper", "false_incidents_per_hour", "false_incidents_per_hour_upper")  # fmt: skip
FALSE = ("onset_s", "score", "incident", "opens", "place", "label", "cause", "recording_group")
CLOSEST = (*KEYS, "logit", *FALSE)
KINDS = 20  # that come closest to an incident, of a model and an origin


def summary(
    curve: pd.DataFrame,
    shots: pd.DataFrame,
    false_onsets: pd.DataFrame,
    hours: pd.DataFrame,
    rng: np.random.Generator,
    *,
    limit: float,
) -> dict:
    """Return what one model does on one origin's streams at its operating point.

    Parameters
    ----------
    curve : what `det` gives of it; for the recall at other thresholds
    shots, false_onsets : rows of `score_stream`
    hours : recording_group and hours, of the unique material of quiet streams
    limit : of false incidents an hour; `recall_at_limit` is the recall at the threshold that keeps it on these very
        streams, to compare models by
    """
    quiet, clear = false_onsets["kind"] == "quiet", shots[shots["clear"]]
    incidents = false_onsets[quiet & false_onsets["opens"]]
    total, count, onsets = float(hours["hours"].sum()), len(incidents), int(quiet.sum())
    hits = int(clear["found"].sum())
    delays = clear["delay_s"].dropna()
    heard = clear[clear["heard"].astype(bool)]
    firings = clear.groupby(["path", "firing"])["found"].any()
    low, high = _rate_interval(hours, incidents, rng)
    return {
        "hours": total,
        "recall": hits / len(clear) if len(clear) else None,
        "recall_lower": metrics.share_lower(hits, len(clear)) if len(clear) else None,
        "false_incidents_per_hour": count / total if total else None,
        "false_incidents_per_hour_upper": metrics.rate_upper(count, total) if total else None,
        "delay_p50_s": float(delays.median()) if len(delays) else None,
        "delay_p95_s": float(delays.quantile(0.95)) if len(delays) else None,
        "false_incidents": count,
        "false_incidents_per_hour_low": low,
        "false_incidents_per_hour_high": high,
        "false_onsets": onsets,
        "false_onsets_per_hour": onsets / total if total else None,
        "groups": len(hours),
        "shots": len(clear),
        "shots_heard": len(heard),
        "recall_of_heard": float(heard["found"].mean()) if len(heard) else None,
        "shots_of_any_level": len(shots),
        "recall_of_any_level": float(shots["found"].mean()) if len(shots) else None,
        "firings": len(firings),
        "recall_of_firings": float(firings.mean()) if len(firings) else None,
        "recall_of_firings_lower": metrics.share_lower(int(firings.sum()), len(firings)) if len(firings) else None,
        "false_incidents_beside_shots": int(false_onsets["opens"].sum()) - count,
        "recall_at_limit": _recall_at(curve, limit),
    }


def _recall_at(curve: pd.DataFrame, limit: float) -> float | None:
    """Return the recall at the lowest threshold that keeps a limit of false incidents an hour, to compare models by."""
    logit = lowest(curve, "false_incidents_per_hour", limit)
    return None if logit is None else float(curve.loc[curve["logit"] == logit, "recall"].iloc[0])


def _rate_interval(hours: pd.DataFrame, incidents: pd.DataFrame, rng: np.random.Generator) -> tuple:
    """Return the 2.5 and 97.5 percentiles of incidents an hour when recording groups are drawn with replacement.

    Each is of the recording group in which it opens.
    """
    if not len(hours):
        return None, None
    false = hours["recording_group"].map(incidents.groupby("recording_group").size()).fillna(0).to_numpy()
    length = hours["hours"].to_numpy()

    def rate(count: np.ndarray) -> float:
        return (count * false).sum() / (count * length).sum()

    low, high = bootstrap.interval(rate, [len(hours)], rng, draws=1000)
    return float(low), float(high)


DISTANCES_M = (0, 10, 25, 50, 100, 200, 400, 800, 1600)
SNRS_DB = (-100, 0, 10, 20, 30, 40, 60, 80, 200)


def by(shots: pd.DataFrame, column: str, edges: tuple[float, ...] | None = None) -> pd.DataFrame:
    """Return shots, found, recall and its lower bound for each origin, model and value, or bin, of a column."""
    key = shots[column] if edges is None else pd.cut(shots[column], edges, right=False, labels=edges[:-1])
    rows = [
        {"origin": origin, "model": model, column: value, "shots": len(part), "found": int(part["found"].sum()),
         "recall": part["found"].mean(), "recall_lower": metrics.share_lower(int(part["found"].sum()), len(part))}
        for (origin, model, value), part in shots.groupby(["origin", "model", key], observed=True)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["origin", "model", column, "shots", "found", "recall", "recall_lower"])


def causes(incidents: pd.DataFrame, events: pd.DataFrame, names: list[str], *, sr: int) -> pd.DataFrame:
    """Return how often each sound of quiet streams opened an incident, a row for each origin, model and label.

    The columns are CAUSES: false incidents, events, the hours in which these sound, and false incidents per event and
    per such hour with their upper bounds. An incident counts once, for what sounded at its first onset. A sound that
    opened none has a row too. All beds of simulated streams are one, BACKGROUND: hardly two have the same sounds.

    Parameters
    ----------
    incidents : false onsets, rows of `score_stream`, that open one on a quiet stream
    events : rows of tables.STREAM_EVENT of quiet streams, with their origin and their length, samples
    """
    keys = ["origin", "of", "label"]
    laid = _kinds(events.rename(columns={"kind": "of"})).groupby(keys)
    laid = laid.agg(events=("label", "size"), hours=("samples", lambda n: n.sum() / sr / 3600)).reset_index()
    raised = _kinds(incidents.rename(columns={"cause": "of"}))
    counts = raised.groupby([*keys, "model"]).size().rename("false_incidents").reset_index()
    table = laid.merge(pd.DataFrame({"model": names}), how="cross").merge(counts, on=[*keys, "model"], how="outer")
    table = table.fillna({"false_incidents": 0, "events": 0, "hours": 0.0})
    table = table.astype({"false_incidents": int, "events": int})
    for rate, each in (("false_incidents_per_event", "events"), ("false_incidents_per_hour", "hours")):
        pairs = list(zip(table["false_incidents"].tolist(), table[each].tolist(), strict=True))
        table[rate] = [count / n if n else np.nan for count, n in pairs]
        table[f"{rate}_upper"] = [metrics.rate_upper(count, n) if n else np.nan for count, n in pairs]
    by = ["origin", "model", "false_incidents", "false_incidents_per_event_upper"]
    ascending = [True, True, False, False]
    return table[list(CAUSES)].sort_values(by, ascending=ascending, kind="stable", ignore_index=True)


def _kinds(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows in which the label of every simulated bed is BACKGROUND."""
    bed = rows["of"].eq("bed") & rows["origin"].eq("simulated")
    return rows.assign(label=rows["label"].mask(bed, BACKGROUND))


def places(incidents: pd.DataFrame, quiet: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return hours, false incidents an hour and their upper bound for each origin, known place and model.

    Parameters
    ----------
    incidents : as of `causes`
    quiet : rows of tables.STREAM
    """
    hours = quiet[quiet["place"] != ""].groupby(["origin", "place"])["unique_s"].sum() / 3600
    raised = incidents.groupby(["origin", "place", "model"]).size()
    rows = []
    for (origin, place), h in hours.items():
        for model in names:
            count = int(raised.get((origin, place, model), 0))
            rows.append((origin, place, model, h, count, count / h, metrics.rate_upper(count, h)))
    rates = ["false_incidents_per_hour", "false_incidents_per_hour_upper"]
    return pd.DataFrame(rows, columns=["origin", "place", "model", "hours", "false_incidents", *rates])


def figures(
    counts: pd.DataFrame,
    shots: pd.DataFrame,
    false_onsets: pd.DataFrame,
    streams: pd.DataFrame,
    events: pd.DataFrame,
    *,
    closest: pd.DataFrame | None = None,
    names: list[str],
    limit: float,
    sr: int,
) -> dict[str, dict]:
    """Return ``figures`` of test streams, what `summary` gives by origin and model, and ``tables`` by name.

    Parameters
    ----------
    counts, shots, false_onsets, closest : pd.DataFrame
        All rows that `score_stream` gave of `streams`; `events` is theirs, rows of tables.STREAM_EVENT.
    limit : as for `summary`
    """
    shots = shots if len(shots) else tables.frame([], FOUND)
    false = false_onsets if len(false_onsets) else pd.DataFrame(columns=[*KEYS, *FALSE]).astype({"opens": bool})
    alone = false["origin"] == "simulated"  # each simulated stream is a recording group
    false = false.assign(recording_group=false["path"].where(alone, false["recording_group"]))
    incidents = false[false["opens"] & (false["kind"] == "quiet")]
    curve = det(counts, streams)
    quiet = streams[streams["kind"] == "quiet"]
    laid = events.merge(quiet[["path", "origin"]], on="path").assign(samples=lambda t: t["stop"] - t["start"])
    hours = group_hours(quiet, laid)
    by_origin, rng = {}, np.random.default_rng(0)
    for origin in tables.ORIGINS:
        by_origin[origin] = {}
        for name in names:
            rows = {
                key: part[(part["origin"] == origin) & (part["model"] == name)]
                for key, part in (("curve", curve), ("shots", shots), ("false_onsets", false))
            }
            by_origin[origin][name] = summary(**rows, hours=hours[hours["origin"] == origin], rng=rng, limit=limit)
    pair = (
        {origin: by_origin[origin][name] for origin in tables.ORIGINS if name in names} for name in ("float", "int8")
    )
    by_origin["int8_against_float"] = against(*pair)
    clear = shots[shots["clear"].astype(bool)]
    loud, near = shots["peak_snr_db"] >= CLEAR_DB, shots["distance_m"] <= CLEAR_M
    kept = {
        "det": curve, "false_onsets": false, "closest": kinds_closest(closest),
        "causes": causes(incidents, laid, names, sr=sr),
        "false_by_place": places(incidents, quiet, names),
        "by_distance": by(shots[loud & (shots["origin"] == "simulated")], "distance_m", DISTANCES_M),
        "by_snr": by(shots[near], "peak_snr_db", SNRS_DB),
        **{f"by_{column}": by(clear, column) for column in ("place", "weapon", "scene", "pattern")},
        "shots": shots[["path", "model", "onset", "weapon", "distance_m", "peak_snr_db", "clear", "found", "delay_s"]],
    }  # fmt: skip
    return {"figures": by_origin, "tables": kept}


def kinds_closest(closest: pd.DataFrame | None) -> pd.DataFrame:
    """Return the KINDS kinds of sounds that come closest to an incident, for each origin and model, the closest first.

    Each kind has one row: that of its sound which passes the highest threshold.

    Parameters
    ----------
    closest : rows of `score_stream`
    """
    if closest is None or not len(closest):
        return pd.DataFrame(columns=list(CLOSEST))
    by_threshold = closest.sort_values("logit", ascending=False, kind="stable")
    each = by_threshold.drop_duplicates(["origin", "model", "label", "cause"])
    return each.groupby(["origin", "model"], sort=False).head(KINDS).reset_index(drop=True)[list(CLOSEST)]


def group_hours(quiet: pd.DataFrame, laid: pd.DataFrame) -> pd.DataFrame:
    """Return the hours of unique material in quiet streams by origin and recording group, for a bootstrap.

    A simulated stream is a group of its own; a real one holds recordings of several groups.
    """
    simulated = quiet[quiet["origin"] == "simulated"]
    simulated = pd.DataFrame(
        {"origin": "simulated", "recording_group": simulated["path"], "hours": simulated["unique_s"] / 3600}
    )
    real = laid[laid["path"].isin(quiet.loc[quiet["origin"] == "real", "path"])]
    samples = real.groupby("recording_group")["samples"].sum()
    # Where recordings are joined they share a moment: the streams' unique hours are shared out.
    share = quiet.loc[quiet["origin"] == "real", "unique_s"].sum() / 3600 / max(samples.sum(), 1)
    return pd.concat(
        [simulated, pd.DataFrame({"origin": "real", "recording_group": samples.index, "hours": samples.values * share})]
    )


def in_words(row: dict) -> str:
    """Return a row of `summary` as a line of text."""
    count, upper = row["false_incidents_per_hour"], row["false_incidents_per_hour_upper"]
    rate = f"{count:.2f} false incidents/h (at most {upper:.2f}) in {row['hours']:.2f} h"
    if row["recall"] is None:
        return rate
    late = f", p95 {row['delay_p95_s']:.2f} s late" if row["delay_p95_s"] is not None else ""
    return (
        f"{row['recall']:.1%} of {row['shots']} shots (at least {row['recall_lower']:.1%}), "
        f"{row['recall_of_firings']:.1%} of {row['firings']} firings (at least {row['recall_of_firings_lower']:.1%})"
        f"{late}, {rate}"
    )
