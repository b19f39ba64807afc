"""How good automatic onsets are: on simulated recordings, whose shots are known, and on those that people tagged."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from gunshot import tags
from gunshot.base import audio, processes
from gunshot.dataset import onsets
from gunshot.models.scores import bootstrap, metrics
from gunshot.simulate import corpus

SEED = 20_260  # of the recordings measured on; nothing was tuned on them
BANDS = 4  # of distance, equally wide in log: together they are distributed as the corpus's distances
PER_BAND = 200  # recordings
FAST_S = 0.25  # shots closer than this are of a burst
COLLAR_S = {"burst": 0.015, "elsewhere": 0.05}
CONTROL_DRAWS = 20
GROUP_DRAWS = 2000
CONFIDENCE = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # edges of the bins in which confidence is compared with what is right


def collars(starts: np.ndarray, *, sr: int) -> np.ndarray:
    """Return how far an onset may lie from each true one, in samples: 15 ms where shots are fast, 50 ms elsewhere."""
    if not len(starts):
        return np.zeros(0)
    gap = np.diff(starts, prepend=-np.inf, append=np.inf)
    fast = np.minimum(gap[:-1], gap[1:]) < FAST_S * sr
    return np.where(fast, COLLAR_S["burst"], COLLAR_S["elsewhere"]) * sr


def pattern(starts: list[int], *, sr: int) -> str:
    """Return burst for 3 shots or more at a cyclic rate, else series, pair, single or none."""
    if len(starts) >= 3 and float(np.median(np.diff(starts))) < FAST_S * sr:
        return "burst"
    return ("none", "single", "pair")[len(starts)] if len(starts) < 3 else "series"


def count_matches(starts: list[int], tagged: list[tags.Tag], n: int, rng: np.random.Generator, *, sr: int) -> dict:
    """Return a recording's counts: shots, onsets found, how many match one to one, and the same by chance.

    ``chance`` is the mean over draws of as many onsets, anywhere in the recording's `n` samples. ``right`` says of
    each onset found whether it has a shot.
    """
    truth, within = np.array(starts, np.int64), collars(np.array(starts), sr=sr)
    pairs = metrics.match_onsets(truth, np.array([tag.start for tag in tagged]), collar=within)
    draws = np.sort(rng.integers(max(1, n), size=(CONTROL_DRAWS, len(tagged))), axis=1)
    chance = [len(metrics.match_onsets(truth, draw, collar=within)) for draw in draws]
    right = np.isin(np.arange(len(tagged)), pairs[:, 1])
    return {
        "pattern": pattern(starts, sr=sr),
        "shots": len(starts),
        "found": len(tagged),
        "matched": len(pairs),
        "chance": float(np.mean(chance)),
        "confidence": [tag.confidence for tag in tagged],
        "right": right.tolist(),
    }


def bands(distance_m: tuple[float, float]) -> list[tuple[float, float]]:
    """Return the bands of distance in m, from near to far."""
    edges = np.geomspace(*distance_m, BANDS + 1).round(1).tolist()
    return list(pairwise([distance_m[0], *edges[1:-1], distance_m[1]]))


def _simulated(task: tuple[int, int], found_in: dict, simulated: dict, sr: int) -> dict:
    band, index = task
    low, high = bands(simulated["distance_m"])[band]
    recording = corpus.render("gun", index, corpus.Corpus(SEED, simulated["duration_s"], (low, high), sr))
    rng = np.random.default_rng([SEED, band, index])
    tagged = _without_drowned(recording.shots, onsets.find(recording.pcm, sr=sr, **found_in), sr=sr)
    return {"distance_m": f"{low:g} to {high:g}"} | count_matches(
        recording.starts, tagged, len(recording.pcm), rng, sr=sr
    )


def _without_drowned(shots: list[dict], tagged: list[tags.Tag], *, sr: int) -> list[tags.Tag]:
    """Return the onsets found but for those of shots that drown: these are neither asked for nor false."""
    every = np.array([shot["onset"] for shot in shots])
    pairs = metrics.match_onsets(every, np.array([tag.start for tag in tagged]), collar=collars(every, sr=sr))
    drowned = {int(j) for i, j in pairs if not shots[i]["heard"]}
    return [tag for j, tag in enumerate(tagged) if j not in drowned]


def simulated(
    *, sr: int, duration_s: tuple[float, float], distance_m: tuple[float, float], options: dict, workers: int
) -> Iterator[dict]:
    """Yield the counts of `BANDS` x `PER_BAND` simulated gun recordings; `options` are the section `tags`.

    The seed is none of params.yaml's, so that no recording is one that models are trained on.
    """
    tasks = [(band, band * PER_BAND + i) for band in range(BANDS) for i in range(PER_BAND)]
    shape = {"duration_s": duration_s, "distance_m": distance_m}
    yield from processes.in_order(_simulated, tasks, options, shape, sr, workers=workers, batch=10)


def _real(row: dict, found_in: dict, raw: Path, sr: int) -> dict:
    pcm = audio.read_pcm(raw / row["path"], sr=sr)
    tagged = onsets.find(pcm, sr=sr, **found_in)
    rng = np.random.default_rng([SEED, row["number"]])
    counts = count_matches([tag.start for tag in row["tags"]], tagged, len(pcm), rng, sr=sr)
    return {"path": row["path"], "recording_group": row["recording_group"], "source": row["source"]} | counts


def real(
    recordings: pd.DataFrame, tagged: dict[str, list[tags.Tag]], raw: Path, *, sr: int, options: dict, workers: int
) -> Iterator[dict]:
    """Yield the counts of the recordings below `raw` that `tagged` names and confirms, in the order of their paths."""
    rows = recordings[[tags.state(tagged.get(path)) == "confirmed" for path in recordings["path"]]]
    listed = rows.sort_values("path").to_dict("records")
    tasks = [row | {"tags": tagged[row["path"]], "number": i} for i, row in enumerate(listed)]
    yield from processes.in_order(_real, tasks, options, raw, sr, workers=workers)


def match_rates(rows: pd.DataFrame) -> dict:
    """Return precision, recall and F1 of recordings' counts, the counts, and the same of onsets drawn at random."""
    shots, tagged, matched = (int(rows[column].sum()) for column in ("shots", "found", "matched"))
    chance = metrics.found_and_missed(rows["chance"].sum(), shots, tagged)
    counts = {"shots": shots, "found": tagged, "matched": matched, "recordings": len(rows)}
    if "recording_group" in rows:
        counts["groups"] = int(rows["recording_group"].nunique())
    return {**_shown(metrics.found_and_missed(matched, shots, tagged)), **counts, "control": _shown(chance)}


def _shown(rates: dict[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(rate) else round(float(rate), 4) for name, rate in rates.items()}


def _by(rows: pd.DataFrame, column: str) -> dict[str, dict]:
    return {str(value): match_rates(part) for value, part in rows.groupby(column, sort=False)}


def by_confidence(rows: pd.DataFrame) -> list[dict]:
    """Return for each bin of confidence how many onsets have it, their mean confidence, and the share that is right."""
    confidence = np.array([c for row in rows["confidence"] for c in row], np.float64)
    right = np.array([r for row in rows["right"] for r in row], bool)
    place = np.clip(np.digitize(confidence, CONFIDENCE) - 1, 0, len(CONFIDENCE) - 2)
    return [
        {
            "from": low,
            "to": high,
            "onsets": int(np.sum(place == i)),
            "confidence": round(float(confidence[place == i].mean()), 4),
            "right": round(float(right[place == i].mean()), 4),
        }
        for i, (low, high) in enumerate(pairwise(CONFIDENCE))
        if np.any(place == i)
    ]


def over_groups(rows: pd.DataFrame) -> dict[str, float]:
    """Return the mean F1 of recording groups, and the 95 % interval of all recordings' F1 by a bootstrap over groups.

    Where one group holds many shots, copies of one shot perhaps, this says what F1 itself hides.
    """
    counts = rows.groupby("recording_group")[["matched", "shots", "found"]].sum().to_numpy()
    rng = np.random.default_rng(SEED)
    low, high = bootstrap.interval(lambda count: _f1(count @ counts), [len(counts)], rng, draws=GROUP_DRAWS)
    return _shown({"f1_mean_of_groups": _f1(counts).mean(), "f1_lower": low, "f1_upper": high})


def _f1(counts: np.ndarray) -> np.ndarray:
    """Return F1 of matched, shots and found [shape=(..., 3)]."""
    return 2 * counts[..., 0] / (counts[..., 1] + counts[..., 2])


def report(simulated_rows: list[dict], real_rows: list[dict]) -> dict:
    """Return reports/tagging.json: ``simulated`` and ``real``, the latter None where no recording is tagged.

    The figures of ``simulated`` itself are those of bursts; ``all`` has every simulated recording, and those by
    pattern, by distance, and bursts by distance. ``real`` has every recording tagged, then by pattern and source.
    """
    simulated = pd.DataFrame(simulated_rows)
    fast = simulated[simulated["pattern"] == "burst"]
    content: dict = {
        "simulated": {
            **match_rates(fast),
            "collar_s": COLLAR_S["burst"],
            "by_distance_m": _by(fast, "distance_m"),
            "all": {
                **match_rates(simulated),
                "collar_s": COLLAR_S,
                "by_pattern": _by(simulated, "pattern"),
                "by_distance_m": _by(simulated, "distance_m"),
                "by_confidence": by_confidence(simulated),
            },
        },
        "real": None,
    }
    if real_rows:
        tagged = pd.DataFrame(real_rows)
        by = {"by_pattern": _by(tagged, "pattern"), "by_source": _by(tagged, "source")}
        by_path = {row["path"]: {key: row[key] for key in ("shots", "found", "matched")} for row in real_rows}
        content["real"] = {
            **match_rates(tagged),
            **over_groups(tagged),
            "collar_s": COLLAR_S,
            **by,
            "by_confidence": by_confidence(tagged),
            "by_path": by_path,
        }
    return content
