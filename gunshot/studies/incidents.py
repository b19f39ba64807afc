"""False incidents of models in three kinds of hour, never mixed: simulated, of places, and of sounds cut close."""

from pathlib import Path

import pandas as pd

from gunshot.base import tables
from gunshot.models.model import read_operating_point
from gunshot.models.scores import metrics
from gunshot.studies import recordings

PLACE_S = 20.0  # a recording without a shot that lasts so long is of a place; a shorter one is a sound, cut close
RATE = ("false_incidents_per_hour", "false_incidents_per_hour_upper")
ON_STREAMS = ("hours", "recall", "recall_lower", *RATE)


def incidents(folders: list[Path], paths: dict[str, Path], on_streams: dict, p: recordings.Sections) -> dict[str, dict]:
    """Return by model what `of_model` gives, each at its operating point.

    Parameters
    ----------
    folders : labelled recordings, of any layout, which the models should never have been trained on
    paths : the models, by name
    on_streams : what reports/streams.json holds: simulated streams at the same points

    Raises
    ------
    ValueError
        More files were rejected than quality.max_rejected allows.
    """
    listed, rejected = recordings.sources(folders)
    points = {name: read_operating_point(path)["logit"] for name, path in paths.items()}
    scores = recordings.score_files(listed, paths, p, rejected=rejected, title="incidents", logits=points)
    tables.check_rejected(scores.rejected, len(listed), limit=p.quality.max_rejected, where="this message")
    simulated = {name: {key: on_streams["simulated"][name][key] for key in ON_STREAMS} for name in paths}
    return {name: {"simulated": simulated[name]} | of_model(scores.files, name) for name in paths}


def of_model(files: pd.DataFrame, name: str) -> dict[str, dict]:
    """Return a model's false incidents an hour in ``places`` and in ``hard``, with the recall of the files with shots.

    An hour of ``hard`` is an hour of barks, doors and cries end to end: what counts there is ``kinds``, of how many
    recordings of each label one or more raise an incident. Bounds are one-sided, of 95 %.

    Parameters
    ----------
    files : of `recordings.Scores`, heard by this model
    """
    gun, env = files[files["y"] == 1], files[files["y"] == 0]
    raised, found = env[f"{name}_incidents"], int((gun[f"{name}_incidents"] > 0).sum())
    shots = {"files_with_shots": len(gun), "recall": found / len(gun) if len(gun) else None,
             "recall_lower": metrics.share_lower(found, len(gun)) if len(gun) else None}  # fmt: skip
    kinds = {"places": env["duration_s"] >= PLACE_S, "hard": env["duration_s"] < PLACE_S}
    out = {key: shots | _rate(env[chosen], raised[chosen]) for key, chosen in kinds.items()}
    return out | {"hard": out["hard"] | {"kinds": _kinds(env[kinds["hard"]], name)}}


def _rate(env: pd.DataFrame, raised: pd.Series) -> dict[str, float | int | None]:
    hours, count = float(env["duration_s"].sum() / 3600), int(raised.sum())
    rate = (count / hours, metrics.rate_upper(count, hours)) if hours else (None, None)
    return {"hours": hours, "groups": env["recording_group"].nunique(), "false_incidents": count} | dict(
        zip(RATE, rate, strict=True)
    )


def _kinds(env: pd.DataFrame, name: str) -> list[dict]:
    rows = []
    for label, part in env.groupby("label", sort=True):
        n, k = len(part), int((part[f"{name}_incidents"] > 0).sum())
        rows.append({"label": label, "groups": part["recording_group"].nunique(), "recordings": n, "with_incident": k,
                     "share": k / n, "share_lower": metrics.share_lower(k, n),
                     "share_upper": 1 - metrics.share_lower(n - k, n)})  # fmt: skip
    return sorted(rows, key=lambda row: (-row["share_lower"], -row["share"], row["label"]))
