"""What ten chosen near misses a day teach, against ten drawn: python -m tests.site.teaching, after `dvc repro`.

Near misses are windows without shots in which the network may hear one, of the training side's simulated environment:
half of the recording groups are what a device hears in days of 60, half are held out. After each day a site verifier's
weights are taught by all labels so far, as `gunshot calibrate` teaches them, and their gain is the share of held-out
near misses that they take away where one in a hundred held-out shots is lost. Writes reports/teaching.json.
"""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from gunshot.base import params, pipeline, tables
from gunshot.models.model import Model, load_model
from gunshot.site import trunk
from gunshot.site.lessons import _fit
from gunshot.site.teaching import most_teaching
from gunshot.site.verifier import ASKED, pooled

REPORT, SEEDS = Path("reports/teaching.json"), 3
DAYS, A_DAY, ASKED_FOR = 12, 60, 10
STRENGTH, LOST = 1e-3, 0.01  # scikit-learn's C; share of held-out shots


def near_misses(model: Model, hop: int, side: str = "train") -> tuple[np.ndarray, ...]:
    """Return pools, logits, classes and recording groups of a side's windows in which the network may hear a shot."""
    every, y, table = tables.features(pipeline.output("featurize"), side)
    rows = np.r_[np.flatnonzero(y == 0), np.flatnonzero(y)[:: max(1, int(y.sum()) // 2000)]]
    logits = np.concatenate([model.logit(np.array(every[part], np.float32)) for part in tqdm(_parts(rows))])
    steps = np.rint(logits / model.step)
    rows, logits = rows[steps >= ASKED], logits[steps >= ASKED]
    of_model = trunk.of_model(model, hop=hop)
    pools = [pooled(of_model.vectors(model.codes(np.array(every[part], np.float32)))) for part in tqdm(_parts(rows))]
    groups = np.unique(table["recording_group"].to_numpy()[rows], return_inverse=True)[1]
    return np.concatenate(pools), logits, y[rows].astype(bool), groups


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    return np.array_split(rows, -(-len(rows) // 256))


def gain(taught: np.ndarray, shots: np.ndarray, held: np.ndarray, held_shots: np.ndarray) -> float:
    """Return the share of held-out near misses that weights taught by labelled ones take away."""
    weights = _fit(taught, shots, STRENGTH).astype(np.int64)
    (own, fired) = (np.einsum("npw,pw->n", x, weights) for x in (held, held_shots))
    return float((own < np.quantile(fired, LOST)).mean())


def curve(pools, logits, is_shot, groups, point: float, *, chosen: bool, seed: int) -> list[float]:
    """Return the gain after each day, by the labels of all days so far."""
    rng = np.random.default_rng(seed)
    sides = rng.permutation(groups.max() + 1)[groups] % 2 == 0
    heard, held = (rng.permutation(np.flatnonzero(side & ~is_shot)) for side in (sides, ~sides))
    shots, held_shots = pools[sides & is_shot], pools[~sides & is_shot]
    labelled, out = [], []
    for day in range(DAYS):
        today = heard[day * A_DAY : (day + 1) * A_DAY]
        doubt = np.abs(logits[today] - point)
        asked = most_teaching(doubt, pools[today], ASKED_FOR) if chosen else rng.permutation(len(today))[:ASKED_FOR]
        labelled += today[asked].tolist()
        out.append(gain(pools[labelled], shots, pools[held], held_shots))
    return out


def needed(gains: list[float], wanted: float) -> int | None:
    """Return how many labels give a gain for the first time, or None."""
    return next((ASKED_FOR * (day + 1) for day, each in enumerate(gains) if each >= wanted), None)


def main() -> None:
    """Measure, print and write the report."""
    p = params.load("detector")
    model = load_model(pipeline.models()["int8"])
    pools, logits, is_shot, groups = near_misses(model, p.detector.hop)
    print(f"{(~is_shot).sum()} near misses, {is_shot.sum()} shots")
    rows = []
    for seed in range(SEEDS):
        by = {name: curve(pools, logits, is_shot, groups, model.threshold(), chosen=name == "chosen", seed=seed)
              for name in ("chosen", "drawn")}  # fmt: skip
        wanted = by["drawn"][-1]
        rows.append({"seed": seed, **by, "labels": {name: needed(each, wanted) for name, each in by.items()}})
        print(rows[-1], flush=True)
    counts = {"near_misses": int((~is_shot).sum()), "shots": int(is_shot.sum()), "a_day": A_DAY, "asked": ASKED_FOR}
    tables.write_json(REPORT, counts | {"seeds": rows})


if __name__ == "__main__":
    main()
