"""False incidents of models in three kinds of hour, never mixed: simulated, of places, and of sounds cut close."""

from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from tqdm import tqdm

from gunshot import features
from gunshot.base import audio, params, processes, tables
from gunshot.detect import listener, recording
from gunshot.models.model import import_libraries, load_once, read_operating_point
from gunshot.models.scores import metrics
from gunshot.studies import recordings

PLACE_S = 20.0  # a recording without a shot that lasts so long is of a place; a shorter one is a sound, cut close
RATE = ("false_incidents_per_hour", "false_incidents_per_hour_upper")
ON_STREAMS = ("hours", "recall", "recall_lower", *RATE)


class Sections(listener.Sections, Protocol):
    """The sections of params.yaml that false incidents are measured by."""

    quality: params.Quality


def incidents(
    folders: list[Path], paths: dict[str, Path], on_streams: dict, p: Sections, *, workers: int = 2
) -> dict[str, dict]:
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
    rows = []
    import_libraries(paths.values())
    heard = processes.in_order(hear, listed, paths, points, p, workers=workers, batch=4)
    for row, bad in tqdm(heard, total=len(listed), desc="incidents", unit="file"):
        rows += [row] if row else []
        rejected += bad
    refused = tables.frame(rejected, tables.REJECTED)
    tables.check_rejected(refused, len(listed), limit=p.quality.max_rejected, where="this message")
    simulated = {name: {key: on_streams["simulated"][name][key] for key in ON_STREAMS} for name in paths}
    return {name: {"simulated": simulated[name]} | of_model(pd.DataFrame(rows), name) for name in paths}


def hear(
    source: dict, paths: dict[str, Path], points: dict[str, float], p: listener.Sections
) -> tuple[dict | None, list[dict]]:
    """Return a recording's row for `of_model`, and rows of tables.REJECTED.

    It is heard as `gunshot detect` hears it, but after quiet of its own: many are cut at their shot.
    """
    row = {"y": int(source["class"] == "gun")} | {key: source[key] for key in ("label", "recording_group")}
    file, mel = Path(source["file"]), p.features.model_dump()
    try:
        log_mel = features.of_file(file, sr=p.audio.sr, min_length=p.features.n_fft, repair=True, **mel)
        for name, path in paths.items():
            ear = listener.Listener(load_once(path), [points[name]], p, before=features.quiet(log_mel, 1))
            part = recording.joined(recording.listen(file, ear))
            row |= {"duration_s": len(part.samples) / p.audio.sr, f"{name}_incidents": len(np.unique(part.incident))}
    except audio.AudioError as e:
        return None, [{"file": e.path, "value": e.value, "rule": e.rule}]
    return row, []


def of_model(files: pd.DataFrame, name: str) -> dict[str, dict]:
    """Return a model's false incidents an hour in ``places`` and in ``hard``, with the recall of the files with shots.

    An hour of ``hard`` is an hour of barks, doors and cries end to end: what counts there is ``kinds``, of how many
    recordings of each label one or more raise an incident. Bounds are one-sided, of 95 %.

    Parameters
    ----------
    files : rows of `hear`
    """
    gun, env = files[files["y"] == 1], files[files["y"] == 0]
    raised, hits = env[f"{name}_incidents"], int((gun[f"{name}_incidents"] > 0).sum())
    shots = {"files_with_shots": len(gun), "recall": hits / len(gun) if len(gun) else None,
             "recall_lower": metrics.share_lower(hits, len(gun)) if len(gun) else None}  # fmt: skip
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
