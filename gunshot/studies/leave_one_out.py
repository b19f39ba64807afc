"""Data sets left out in turn: what is found of each at a rate of false incidents, by networks that never heard it.

Each real recording is heard once by each seed's networks, as `gunshot detect` hears a file but after quiet of its own,
since many are cut at their shot; and never by one that was trained on its data set, which is its upstream source, or on
its recording group. One threshold on calibrated logits counts for all of them.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from gunshot import features
from gunshot.base import audio, processes
from gunshot.detect import detector, listener
from gunshot.models.model import load_once
from gunshot.models.scores import bootstrap, metrics
from gunshot.studies.cross_validation import (
    Folders,
    Network,
    Sections,
    chunks,
    recorded,
    trained,
    validate,
    write_pool,
)

ALONE = 10  # recording groups with shots, for a data set to be left out alone; the rest is left out together
COUNTED = 5  # recording groups with shots, for a data set to count in the mean
REST = "the rest"
# Where recall is measured: at so many false incidents an hour over all that was left out, or where validation chose.
POINTS = {"at_1_per_hour": 1.0, "at_5_per_hour": 5.0, "at_validation": None}
GRID = np.arange(-6.0, 16.01, 0.125)  # calibrated logits at which incidents are counted


class Heard(NamedTuple):
    """Recordings as networks of one seed heard them.

    Rows of `files` have the columns y, upstream, recording_group, duration_s and score, that of the highest window;
    `incidents` [shape=(files, len(GRID) + 1), dtype=int64] are those at each threshold of GRID, and at the one that
    validation chose for the network.
    """

    files: pd.DataFrame
    incidents: np.ndarray


def turns(recordings: pd.DataFrame) -> pd.Series:
    """Return in which turn each recording is left out, by index: data sets with many groups of shots alone, then REST.

    A data set is whole in one turn. Those without a shot join, the longest first, the turn that has least environment.

    Parameters
    ----------
    recordings : with the columns class, upstream, recording_group and duration_s
    """
    gun = recordings[recordings["class"] == "gun"]
    groups = gun.groupby("upstream")["recording_group"].nunique()
    turn = {name: name if count >= ALONE else REST for name, count in groups.items()}
    env = recordings[recordings["class"] == "env"].groupby("upstream")["duration_s"].sum()
    total = dict.fromkeys(sorted(set(turn.values())), 0.0)
    for name, duration_s in env.sort_values(ascending=False, kind="stable").items():
        turn.setdefault(name, min(total, key=total.get))
        total[turn[name]] += duration_s
    return recordings["upstream"].map(turn).rename("turn")


def leave_one_out(folders: Folders, p: Sections, *, seeds: int) -> dict:
    """Return `figures` of all real recordings, each left out once for each of `seeds` networks.

    Raises
    ------
    ValueError
        There are no real recordings with shots; or as for `cross_validation.chunks`.
    """
    chunks(folders)  # what is missing is said before any work
    recordings, _ = recorded(folders)
    if not (recordings["class"] == "gun").any():
        raise ValueError(f"{folders.tagged}: class=gun must be there among the real recordings; import some with shots")
    recordings = recordings.assign(turn=turns(recordings))
    parts = [part for _, part in recordings.groupby("turn", sort=True)]
    with tempfile.TemporaryDirectory() as name:
        write_pool(recordings, folders, p, Path(name))
        wanted = [
            # Sets that took the same recording have its group in common.
            Network(Path(name, f"{seed}-{number}"), seed, frozenset(part["recording_group"]))
            for seed in range(p.network.seed, p.network.seed + seeds)
            for number, part in enumerate(parts)
        ]
        models = tqdm(trained(wanted, folders, Path(name), p), total=len(wanted), desc="leave-one-out", unit="network")
        heard = []
        for part, model in zip(parts * seeds, models, strict=True):
            point = validate(model, {folders.streams_val: "simulated"}, p)
            heard.append(hear_all(part, model, point["logit"], folders.raw, p))
    by_seed = (zip(*heard[i : i + len(parts)], strict=True) for i in range(0, len(heard), len(parts)))
    every = [Heard(pd.concat(files, ignore_index=True), np.concatenate(incidents)) for files, incidents in by_seed]
    return figures(every, np.random.default_rng(0))


def hear_all(recordings: pd.DataFrame, model: Path, logit: float, raw: Path, p: Sections, *, workers: int = 2) -> Heard:
    """Return recordings below `raw` as a model hears them, whose mean logit of operation is `logit`."""
    paths = [raw / path for path in recordings["path"]]
    heard = processes.in_order(hear, paths, model, logit, p, workers=workers, batch=8)
    score, incidents = zip(*heard, strict=True)
    files = recordings.assign(y=(recordings["class"] == "gun").astype(int), score=score)
    return Heard(files.reset_index(drop=True), np.array(incidents))


def hear(path: Path, model: Path, logit: float, p: Sections) -> tuple[float, list[int]]:
    """Return a recording's highest score of a window, 0 where it has none, and its incidents as `Heard` has them."""
    loaded = load_once(model)
    slope, intercept = (loaded.report["calibration"][key] for key in ("slope", "intercept"))
    pcm = audio.read_pcm(path, sr=p.audio.sr)
    log_mel = features.of_file(path, sr=p.audio.sr, min_length=p.features.n_fft, **p.features.model_dump())
    logits = [*((GRID - intercept) / slope), logit]
    ear = listener.Listener(loaded, logits, p, before=features.quiet(log_mel, 1))
    (pushed, some), (ended, rest) = ear.push(pcm), ear.finish()
    which = [np.r_[a[:, detector.WHICH], b[:, detector.WHICH]] for a, b in zip(pushed, ended, strict=True)]
    score = loaded.score_of(np.r_[some, rest], windows=1)
    return float(score.max(initial=0.0)), [len(np.unique(numbers)) for numbers in which]


def figures(every: Sequence[Heard], rng: np.random.Generator) -> dict:
    """Return what networks of several seeds find, as leave_one_out.json has it.

    Recall is the share of the files with shots that raise an incident, at each of POINTS: ``recall_at_1_per_hour``, and
    so on. It is the mean over the data sets that count, and over the seeds; their standard deviation ends in ``_sd``.
    ``sources`` have it for each data set with shots, with 95 % intervals over its recording groups (``_low``,
    ``_high``), and the AUC against all environment; ``environment`` has the false incidents an hour of each data set.

    Parameters
    ----------
    every : of each seed, all with the same files in the same order
    """
    files = every[0].files
    gun, env = (np.flatnonzero(files["y"] == value) for value in (1, 0))
    raised = np.stack([heard.incidents[:, _places(heard)] for heard in every])  # [seeds, files, points]
    hours = _hours(files.iloc[env])
    sources = [_source(every, raised, part, env, rng) for _, part in files.iloc[gun].groupby("upstream", sort=True)]
    recalls = [(raised[:, part.index] > 0).mean(axis=1) for _, part in files.iloc[gun].groupby("upstream", sort=True)]
    counted = [recall for recall, row in zip(recalls, sources, strict=True) if row["counts"]]
    false = raised[:, env].sum(axis=1)  # [seeds, points]
    return {
        "seeds": len(every),
        "hours": hours,
        "env_files": len(env),
        "gun_files": len(gun),
        **(_mean_and_spread("recall", np.mean(counted, axis=0)) if counted else {}),
        **_mean_and_spread("false_incidents_per_hour", false / hours),
        "false_incidents_per_hour_at_validation_upper": metrics.rate_upper(int(false[:, -1].max()), hours),
        "sources": sources,
        "environment": [
            {"source": name, "left_out": part["turn"].iloc[0], "groups": part["recording_group"].nunique(),
             "hours": _hours(part)}
            | _mean_and_spread("false_incidents_per_hour", raised[:, part.index].sum(axis=1) / _hours(part))
            for name, part in files.iloc[env].groupby("upstream", sort=True)
        ],
    }  # fmt: skip


def _hours(files: pd.DataFrame) -> float:
    return float(files["duration_s"].sum() / 3600)


def _mean_and_spread(name: str, values: np.ndarray) -> dict[str, float | None]:
    """Return mean and standard deviation over the seeds at each of POINTS of `values` [shape=(seeds, points)]."""
    out = {}
    for point, column in zip(POINTS, values.T, strict=True):
        out[f"{name}_{point}"] = float(column.mean())
        out[f"{name}_{point}_sd"] = float(column.std(ddof=1)) if len(column) > 1 else None
    return out


def _places(heard: Heard) -> list[int]:
    """Return for each of POINTS its column of `incidents`: the lowest of GRID from which upward the rate is kept.

    Where not even the highest keeps it, it is the highest.
    """
    env = (heard.files["y"] == 0).to_numpy()
    rate = heard.incidents[env, : len(GRID)].sum(axis=0) / _hours(heard.files[env])
    places = []
    for limit in POINTS.values():
        too_many = np.flatnonzero(rate > limit) if limit is not None else [len(GRID) - 1]
        places.append(min(int(too_many[-1]) + 1 if len(too_many) else 0, len(GRID) - (limit is not None)))
    return places


def _source(
    every: Sequence[Heard], raised: np.ndarray, part: pd.DataFrame, env: np.ndarray, rng: np.random.Generator
) -> dict:
    """Return the row of a data set, whose files with shots are `part`; `env` are the places of those without."""
    shares = (raised[:, part.index] > 0).mean(axis=0)  # over the seeds [files, points]
    group, names = pd.factorize(part["recording_group"])
    low, high = bootstrap.interval(lambda count: np.average(shares, axis=0, weights=count[group]), [len(names)], rng)
    both = np.r_[part.index, env]
    auc = [metrics.auc(*(heard.files[name].to_numpy()[both] for name in ("y", "score"))) for heard in every]
    row = {
        "source": part["upstream"].iloc[0], "left_out": part["turn"].iloc[0], "groups": len(names),
        "gun_files": len(part), "counts": len(names) >= COUNTED, "auc": float(np.mean(auc)),
        "auc_sd": float(np.std(auc, ddof=1)) if len(auc) > 1 else None,
    }  # fmt: skip
    row |= _mean_and_spread("recall", (raised[:, part.index] > 0).mean(axis=1))
    for point, *bounds in zip(POINTS, low.tolist(), high.tolist(), strict=True):
        row |= dict(zip((f"recall_{point}_low", f"recall_{point}_high"), bounds, strict=True))
    return row
