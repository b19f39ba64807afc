"""What ten chosen near misses a day teach, against ten drawn: python -m tests.site.teaching, after `dvc repro`.

Near misses are windows without shots in which the network may hear one, of the training side's simulated environment.
A place has KINDS kinds of them, the second half as often as the first, the third a third as often, and so on; half of
the windows of each are what its device hears, A_DAY of them in a day, and half are held out. After each day a site
verifier's weights are taught by all labels so far, as `gunshot calibrate` teaches them. The gain is the share of
held-out near misses that they take away where LOST of the windows of held-out shots are lost. Writes
reports/teaching.json.

The choice was made on places of other seeds, 10 to 15, where k-center taught less.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gunshot.base import params, pipeline, tables
from gunshot.models.model import Model, load_model
from gunshot.site import trunk
from gunshot.site.lessons import _fit
from gunshot.site.teaching import ASKED_FOR, most_teaching
from gunshot.site.verifier import ASKED, pooled

REPORT, SEEDS = Path("reports/teaching.json"), (0, 1, 2)
MORE = range(100, 140)  # seeds, since three places say little
KINDS, LEAST = 6, 10  # LEAST: windows of a kind
DAYS, A_DAY = 6, 60
WAYS = "chosen", "drawn", "doubt"  # doubt: the ten nearest to the operating point
STRENGTH, LOST = 1e-2, 0.05  # scikit-learn's C; share of windows with held-out shots


def near_misses(model: Model, hop: int) -> dict[str, np.ndarray]:
    """Return pools, logits, labels and whether they are shots, of windows in which the network may hear a shot."""
    every, y, table = tables.features(pipeline.output("featurize"), "train")
    rows = np.r_[np.flatnonzero(y == 0), np.flatnonzero(y)[::13]]
    logits = np.concatenate([model.logit(np.array(every[part], np.float32)) for part in tqdm(_parts(rows))])
    heard = np.rint(logits / model.step) >= ASKED
    rows, of_model = rows[heard], trunk.of_model(model, hop=hop)
    pools = [pooled(of_model.vectors(model.codes(np.array(every[part], np.float32)))) for part in tqdm(_parts(rows))]
    return {"pools": np.concatenate(pools), "logits": logits[heard], "is_shot": y[rows].astype(bool),
            "label": table["label"].to_numpy()[rows].astype(str)}  # fmt: skip


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    return np.array_split(rows, -(-len(rows) // 256))


class Place:
    """A place of some kinds of near misses, drawn by a seed: what its device hears, and what is held out."""

    def __init__(self, every: dict[str, np.ndarray], seed: int):
        self._rng, self._every, is_shot = np.random.default_rng(seed), every, every["is_shot"]
        names, counts = np.unique(every["label"][~is_shot], return_counts=True)
        kinds = self._rng.permutation(names[(counts >= LEAST) & (names != "any_short_sound")])[:KINDS]
        self._often = 1 / np.arange(1, KINDS + 1)
        self._often /= self._often.sum()
        rows = [self._rng.permutation(np.flatnonzero((every["label"] == kind) & ~is_shot)) for kind in kinds]
        self._heard = [each[: len(each) // 2] for each in rows]
        held = [self._rng.choice(each[len(each) // 2 :], round(1000 * often))
                for each, often in zip(rows, self._often, strict=True)]  # fmt: skip
        shots = self._rng.permutation(np.flatnonzero(is_shot))
        pools = every["pools"]
        self._held, self._shots, self._held_shots = pools[np.concatenate(held)], pools[shots[::2]], pools[shots[1::2]]
        self.days = [self._day() for _ in range(DAYS)]

    def _day(self) -> np.ndarray:
        kinds = self._rng.choice(KINDS, size=A_DAY, p=self._often)
        return np.array([self._rng.choice(self._heard[kind]) for kind in kinds])

    def curve(self, point: float, by: str) -> list[float]:
        """Return the gain after each day, by the labels of all days so far."""
        rng, labelled, out = np.random.default_rng(0), [], []
        for today in self.days:
            doubt, pools = np.abs(self._every["logits"][today] - point), self._every["pools"]
            asked = {"chosen": most_teaching(doubt, pools[today], ASKED_FOR), "drawn": rng.permutation(A_DAY),
                     "doubt": np.argsort(doubt, kind="stable")}[by][:ASKED_FOR]  # fmt: skip
            labelled += today[asked].tolist()
            out.append(self._gain(pools[labelled]))
        return out

    def _gain(self, taught: np.ndarray) -> float:
        weights = _fit(taught, self._shots, STRENGTH).astype(np.int64)
        own, fired = (np.einsum("npw,pw->n", x, weights) for x in (self._held, self._held_shots))
        return float((own < np.quantile(fired, LOST)).mean())


def needed(gains: list[float], wanted: float) -> int | None:
    """Return how many labels give a gain for the first time, or None."""
    return next((ASKED_FOR * (day + 1) for day, each in enumerate(gains) if each >= wanted), None)


def curves(every: dict[str, np.ndarray], seeds: Iterable[int], point: float) -> dict:
    """Return the gains of places after each day, and how many labels the mean of drawn ones is worth when chosen."""
    by = {name: [Place(every, seed).curve(point, name) for seed in seeds] for name in WAYS}
    mean = {name: np.mean(each, axis=0).tolist() for name, each in by.items()}
    labels = {str(ASKED_FOR * (day + 1)): needed(mean["chosen"], each) for day, each in enumerate(mean["drawn"])}
    return {"seeds": list(seeds), **by, "mean": mean, "labels_for_the_gain_of_so_many_drawn": labels}


def main() -> None:
    """Measure, print and write the report."""
    p = params.load("detector")
    model = load_model(pipeline.models()["int8"])
    every = near_misses(model, p.detector.hop)
    counts = {"near_misses": int((~every["is_shot"]).sum()), "shots": int(every["is_shot"].sum())}
    three, more = (curves(every, seeds, model.threshold()) for seeds in (SEEDS, MORE))
    tables.write_json(REPORT, counts | {"three": three, "more": more})
    print(counts, *(each["mean"] | each["labels_for_the_gain_of_so_many_drawn"] for each in (three, more)), sep="\n")


if __name__ == "__main__":
    main()
