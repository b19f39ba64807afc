"""Candidate and champion on the same test streams: what each found, by shot and by slice, and exact tests of that.

A pair of one shot counts where only one of the two found it: under the hypothesis that the candidate is no worse, the
shots that it lost are at most half of those pairs (McNemar 1947, exact). The same binomial test compares two Poisson
counts over the same hours (Przyborowski and Wilenski 1940). Shots of one firing count as independent, which makes the
tests stricter than their level says. A comparison without a champion states figures and no test.
"""

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from gunshot import features
from gunshot.alarms import summary
from gunshot.alarms.clear import CLEAR_DB, CLEAR_M
from gunshot.alarms.score import score_streams
from gunshot.base import params, tables
from gunshot.detect import listener
from gunshot.models.model import model_cost, read_operating_point, read_report
from gunshot.models.scores import metrics

CANDIDATE, CHAMPION = "candidate", "champion"
AXES = {  # the column that slices shots, and the edges of its bands; `_of_axis` says which shots
    "origin": ("origin", None),
    "place": ("place", None),
    "weapon": ("weapon", None),
    "distance": ("distance_m", summary.DISTANCES_M),  # bands in m
    "snr": ("peak_snr_db", summary.SNRS_DB),  # in dB
}
NEGATIVE = "negative"  # the axis of false incidents: what sounded when one was raised
SHOWN = ["path", "origin", "onset", "firing", "weapon", "place", "distance_m", "peak_snr_db", "clear"]


class Sections(listener.Sections, Protocol):
    """The sections of params.yaml that two models are compared by."""

    promotion: params.Promotion


@dataclass(frozen=True)
class Contender:
    """Candidate or champion: its model's path, operating point and report, and the SHA-256 of these files by name."""

    path: Path
    operating: dict
    report: dict
    sha256: dict[str, str]

    @property
    def logit(self) -> float:
        """Return the mean logit at which it is operated."""
        return self.operating["logit"]


def contender(path: Path) -> Contender:
    """Return a model with report.json and operating.json beside it; FileNotFoundError names what is missing."""
    stated, operating = read_report(path), read_operating_point(path)
    beside = (path, path.with_name("report.json"), path.with_name("operating.json"))
    return Contender(path, operating, stated, {file.name: _sha256(file) for file in beside})


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def streams_sha256(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each table of a folder of streams: the same plan gives the same streams."""
    return {name: _sha256(folder / name) for name in sorted(tables.STREAM_TABLES)}


def worse(lost: int, won: int) -> float:
    """Return the one-sided, exact p-value of a test that the candidate is worse; 1 where nothing differs.

    It is the probability of `lost` heads or more in ``lost + won`` throws of a fair coin. `lost` and `won` are shots
    that one of the two alone found, or false incidents of candidate and champion over the same hours.
    """
    return float(binomtest(lost, lost + won, alternative="greater").pvalue) if lost + won else 1.0


def difference_lower(lost: int, won: int, cases: int) -> float:
    """Return a 95 % lower bound of the gain in recall, ``(won - lost) / cases``; NaN without cases.

    It is exact and cautious: bounds of 97.5 % (Clopper and Pearson) of the share won and of the share lost.
    """
    if not cases:
        return float("nan")
    low = binomtest(won, cases, alternative="greater").proportion_ci(0.975, "exact").low
    high = binomtest(lost, cases, alternative="less").proportion_ci(0.975, "exact").high
    return float(low - high)


def holm(p: np.ndarray) -> np.ndarray:
    """Return p-values adjusted for how many are tested, however they depend on each other (Holm 1979)."""
    p, order = np.asarray(p, float), np.argsort(p, kind="stable")
    out = np.empty(len(p))
    out[order] = np.minimum(np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order]), 1)
    return out


def paired(shots: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each shot, with whether candidate and champion found it, from rows for each shot and model."""
    parts = {name: part.reset_index(drop=True) for name, part in shots.groupby("model", sort=False)}
    first = next(iter(parts.values()))
    for part in parts.values():
        if not part[["path", "onset"]].equals(first[["path", "onset"]]):
            raise ValueError("shots of candidate and champion must be those of the same streams, in the same order")
    hits = {name: part["found"].astype(bool) for name, part in parts.items()}
    return first.drop(columns=["model", "found", "delay_s"]).assign(**hits)


def raised_by(incidents: pd.DataFrame, *, collar_s: float) -> pd.DataFrame:
    """Return a row for each false incident, with whether candidate and champion raised it.

    Incidents of both that open within the collar are one.
    """
    rows = []
    for _, part in incidents.groupby("path", sort=True):
        mine, other = (part[part["model"] == name].sort_values("onset_s") for name in (CANDIDATE, CHAMPION))
        pairs = metrics.match_onsets(mine["onset_s"].to_numpy(), other["onset_s"].to_numpy(), collar=collar_s)
        both, known = set(pairs[:, 0]), set(pairs[:, 1])
        rows += [row | {CANDIDATE: True, CHAMPION: i in both} for i, row in enumerate(mine.to_dict("records"))]
        rows += [
            row | {CANDIDATE: False, CHAMPION: True} for i, row in enumerate(other.to_dict("records")) if i not in known
        ]
    return pd.DataFrame(rows, columns=[*summary.KEYS, *summary.FALSE, CANDIDATE, CHAMPION]).drop(columns="model")


def tested(shots: pd.DataFrame) -> dict:
    """Return counts of rows of `paired`: all, found by each, lost and won by the candidate alone; and the test's p."""
    cases, mine = len(shots), shots[CANDIDATE]
    row = {"cases": cases, CANDIDATE: int(mine.sum()), CHAMPION: None, "lost": None, "won": None, "p": None}
    if CHAMPION not in shots:
        return row
    other = shots[CHAMPION]
    lost, won = int((other & ~mine).sum()), int((mine & ~other).sum())
    return row | {CHAMPION: int(other.sum()), "lost": lost, "won": won, "p": worse(lost, won)}


def _of_axis(shots: pd.DataFrame, axis: str) -> pd.DataFrame:
    """Return the shots that an axis slices: clear ones, but by distance all loud ones, and by SNR all near ones."""
    loud, near = shots["peak_snr_db"] >= CLEAR_DB, shots["distance_m"] <= CLEAR_M
    return shots[{"distance": loud, "snr": near}.get(axis, loud & near)]


def shot_slices(shots: pd.DataFrame) -> list[dict]:
    """Return what `tested` gives for each slice of rows of `paired`, with its axis and its name, such as place=street.

    An axis with one value has no slice: its test would be the overall one again.
    """
    rows = []
    for axis, (column, edges) in AXES.items():
        part = _of_axis(shots, axis)
        key = part[column]
        if edges is not None:
            labels = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
            key = pd.cut(key, edges, right=False, labels=labels)
        elif key.nunique() < 2:
            continue
        for value, part_shots in part[key != ""].groupby(key, observed=True, sort=True):
            rows.append({"axis": axis, "name": f"{axis}={value}"} | tested(part_shots))
    return rows


def negative_slices(incidents: pd.DataFrame, events: pd.DataFrame, names: list[str]) -> list[dict]:
    """Return for each kind of sound on quiet streams how many there are, and how many incidents it opened by model.

    Parameters
    ----------
    incidents : false onsets, rows of `score_stream`, that open one on a quiet stream
    events : columns tables.STREAM_EVENT and origin, of quiet streams
    """
    heard = events["label"].where(events["kind"].eq("event") | events["origin"].eq("real"), summary.BACKGROUND)
    known = incidents["cause"].eq("event") | incidents["origin"].eq("real")
    raised = incidents["label"].where(known, summary.BACKGROUND)
    counts = pd.crosstab(raised, incidents["model"]) if len(incidents) else pd.DataFrame()
    rows = []
    for label, cases in heard.value_counts().sort_index().items():
        opened = {name: int(counts[name].get(label, 0)) if name in counts else 0 for name in names}
        row = {"axis": NEGATIVE, "name": f"{NEGATIVE}={label}", "cases": int(cases), CHAMPION: None, "p": None}
        rows.append(row | opened | ({"p": worse(opened[CANDIDATE], opened[CHAMPION])} if CHAMPION in opened else {}))
    return rows


def judged(rows: list[dict], *, min_cases: int) -> list[dict]:
    """Return slices with `small`, whether the cases are too few to test, and `p_holm`, None where there is no test."""
    rows = [row | {"small": row["cases"] < min_cases, "p_holm": None} for row in rows]
    family = [row for row in rows if not row["small"] and row["p"] is not None]
    for row, p in zip(family, holm(np.array([row["p"] for row in family])), strict=True):
        row["p_holm"] = float(p)
    return rows


def own_params(contender: Contender, p: Sections) -> SimpleNamespace:
    """Return the sections with which a contender's operating point was chosen; collar and limit are those of `p`.

    ValueError where its operating.json does not state them.
    """
    if "params" not in contender.operating:
        raise ValueError(
            f"{contender.path.with_name('operating.json')}: params=None must be stated; run `dvc repro operate` anew"
        )
    measured = {name: getattr(p.detector, name) for name in ("collar_s", "max_false_incidents_per_hour")}
    stated = contender.operating["params"]
    # Of a champion whose limit counted onsets: which that was does not matter here.
    decides = {name: value for name, value in stated["detector"].items() if name != "max_fa_per_hour"}
    stated = stated | {"detector": decides | measured}
    own = {name: params.SECTIONS[name].model_validate(values) for name, values in stated.items()}
    if "context" not in own:  # of a champion that hears chunks alone
        own["context"] = params.Context(frames=features.chunk_frames(SimpleNamespace(**own)), before=0)
    return SimpleNamespace(**vars(p) | own)


def scored(
    contenders: dict[str, Contender], table: pd.DataFrame, folder: Path, p: Sections, *, workers: int = 2
) -> Iterator[dict]:
    """Yield what `score_streams` yields for each contender, at its own operating point and with its own sections."""
    for name, contender in contenders.items():
        points = {name: contender.logit}
        yield from score_streams(
            table, folder, {name: contender.path}, points, own_params(contender, p), workers=workers
        )


def compare(
    contenders: dict[str, Contender], rows: dict[str, pd.DataFrame], table: pd.DataFrame, folder: Path, p: Sections
) -> dict:
    """Return the comparison as JSON can hold it.

    Parameters
    ----------
    contenders : the candidate and, where there is one, the champion
    rows : what `scored` gave, gathered
    table : rows of tables.STREAM; `folder` is theirs
    """
    names = list(contenders)
    kinds = table[["path", "origin", "kind"]].rename(columns={"kind": "stream"})
    events = tables.read(folder / "events.csv", tables.STREAM_EVENT).merge(kinds, on="path")
    summed = summary.figures(
        **rows, streams=table, events=events.drop(columns=["origin", "stream"]), names=names,
        limit=p.detector.max_false_incidents_per_hour, sr=p.audio.sr,
    )  # fmt: skip
    shots = rows["shots"] if len(rows["shots"]) else tables.frame([], summary.FOUND).assign(model=CANDIDATE)
    shots, false = paired(shots), summed["tables"]["false_onsets"]
    incidents = false[false["opens"]]
    clear, quiet = shots[shots["clear"].astype(bool)], incidents[incidents["kind"] == "quiet"]
    apart = raised_by(incidents, collar_s=p.detector.collar_s)
    counts = {name: int((quiet["model"] == name).sum()) for name in names}
    hours = float(table.loc[table["kind"] == "quiet", "unique_s"].sum() / 3600)
    recall = tested(clear)
    lower = difference_lower(recall["lost"], recall["won"], recall["cases"]) if CHAMPION in contenders else None
    return {
        "streams": streams_sha256(folder),
        "models": {
            name: {
                "sha256": one.sha256, "logit": one.logit, "cost": model_cost(one.report), "operating": one.operating
            }
            for name, one in contenders.items()
        },
        "same": CHAMPION in contenders and contenders[CANDIDATE].sha256 == contenders[CHAMPION].sha256,
        "figures": {origin: summed["figures"][origin] for origin in ("simulated", "real")},
        "recall": recall | {"difference_lower": lower},
        "false_incidents": {
            "hours": hours, **counts,
            "p": worse(counts[CANDIDATE], counts[CHAMPION]) if CHAMPION in counts else None,
        },
        "slices": judged(shot_slices(shots), min_cases=p.promotion.min_cases),
        "negatives": judged(
            negative_slices(quiet, events[events["stream"] == "quiet"], names), min_cases=p.promotion.min_cases
        ),
        "det": _rows(summed["tables"]["det"]),
        "closest": _rows(summed["tables"]["closest"]),
        "shots": _rows(shots[[*SHOWN, *names]]),
        "raised": _rows(apart if CHAMPION in contenders else apart.drop(columns=CHAMPION)),
    }  # fmt: skip


def _rows(table: pd.DataFrame) -> list[dict]:
    """Return rows as JSON can hold them: NaN and infinity are null."""
    return json.loads(table.to_json(orient="records", double_precision=12))
