"""What a place teaches a site verifier: its own sounds that may pass for shots, beside shots of the training set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from gunshot.base import tables
from gunshot.detect import listener
from gunshot.models.model import Model
from gunshot.site import rehearsal, trunk
from gunshot.site.heard import Heard, Sections, decided
from gunshot.site.hours import Hours, Span, lay
from gunshot.site.rehearsal import Decides
from gunshot.site.verifier import ASKED, Verifier, pooled

SHOTS = 2000  # windows of the training set, at most, in which the network may hear a shot
UNDER = 0.7  # share of them that the place sounds under
MOST_WEIGHT = 127  # of int8
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)  # scikit-learn's C: the less, the more even the weights
CHOSEN_AT = 0.02  # share of windows with shots that count as the place's own where a strength is chosen
LOSSES = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)  # as many, the strictest first: a shot has several windows
MOST_FOLDS = 10  # parts into which stretches and kinds of shots are dealt, at most


@dataclass(frozen=True)
class Lesson:
    """Windows in which the network may hear a shot, as the trunk gives them.

    Attributes
    ----------
    pools : np.ndarray [shape=(n, POOLS, width)], int64, see `verifier.pooled`
    fold : np.ndarray [shape=(n,)], of a place: the stretch of its hours; of shots: the number of their kind of weapon
    """

    pools: np.ndarray
    fold: np.ndarray


def shots(features: Path, model: Model, ground: np.ndarray, rng: Generator, *, hop: int) -> Lesson:
    """Return shots of the training set, most of them with a place's own sound under them at its own level.

    Parameters
    ----------
    features : folder of what the stage featurize wrote
    ground : np.ndarray [shape=(n, n_mels, n_frames)], int8, codes of a place's windows
    hop : frames from one window to the next

    Raises
    ------
    ValueError
        There is no such folder, its log-mels are of another shape than the model hears, or it hears no shot in them.
    """
    if not (features / "train.csv").exists():
        raise ValueError(f"{features / 'train.csv'}: no such file; make it with `dvc repro featurize`")
    every, y, table = tables.features(features, "train")
    if every.shape[1:] != model.window:
        raise ValueError(f"{features}: log-mels of {every.shape[1:]} must be of {model.window}, as {model.path} hears")
    rows = np.sort(rng.permutation(np.flatnonzero(y))[:SHOTS])
    log_mel = np.array(every[rows], np.float32)
    if len(ground):
        under = rng.random(len(rows)) < UNDER
        drawn = ground[rng.integers(len(ground), size=int(under.sum()))].astype(np.float32)
        place_db = (drawn - model.code_zero) * model.code_db
        log_mel[under] = 10 * np.log10(10 ** (log_mel[under] / 10) + 10 ** (place_db / 10))
    heard = np.rint(model.logit(log_mel) / model.step) >= ASKED
    if not heard.any():
        raise ValueError(f"{model.path}: hears none of {len(rows)} shots of {features} over the place's own sound")
    vectors = trunk.of_model(model, hop=hop).vectors(model.codes(log_mel[heard]))
    return Lesson(pooled(vectors), np.unique(table["label"].to_numpy()[rows[heard]], return_inverse=True)[1])


def own(
    recordings: Sequence[Heard], hours: Hours, undecided: Sequence[Span], model: Model, p: listener.Sections
) -> Lesson:
    """Return the windows of a place's hours in which the network may hear a shot.

    Parameters
    ----------
    undecided : where nobody said that there was no shot: what is there teaches nothing
    """
    s, edges, at = listener.settings(model, p, logit=0.0), hours.edges(), 0.0
    middle = (s.first + s.stop) / 2 - s.lead  # of where a window seeks shots, frames
    pools, fold = [], []
    for span in hours.spans:
        kept = recordings[span.recording].windows
        time_s = (kept.at * s.hop + middle) * p.features.hop_length / p.audio.sr
        inside = (span.start_s <= time_s) & (time_s < span.stop_s)
        for doubt in undecided:
            if doubt.recording == span.recording:
                inside &= (time_s < doubt.start_s) | (time_s >= doubt.stop_s)
        pools.append(pooled(kept.vectors[inside]))
        fold.append(np.searchsorted(edges[1:-1], at + time_s[inside] - span.start_s, side="right"))
        at += span.stop_s - span.start_s
    return Lesson(np.concatenate(pools), np.concatenate(fold))


@dataclass(frozen=True)
class School:
    """What teaches a site verifier beside its place.

    Attributes
    ----------
    features : folder of the training set's log-mels
    streams : folder of the validation side's streams, whose shots say how strict it may be
    """

    features: Path
    streams: Path
    rng: Generator


@dataclass(frozen=True)
class Learned:
    """A site verifier, and what is known of it.

    Attributes
    ----------
    loss : of LOSSES
    windows : how many of the place's own taught it
    counts : np.ndarray [shape=(stretches, thresholds)], how often a person is woken in stretches whose windows taught
        nothing. No proof: the strength was chosen by the windows of all, and their sound lies under the shots
    recall : what `rehearsal.recall` gives, with it and without it at the operating point
    """

    verifier: Verifier
    loss: float
    windows: int
    counts: np.ndarray
    recall: dict


@dataclass(frozen=True)
class _Fit:
    """Weights by the strength that `_fits` chose, of all that was taught and without each fold, and the shots' sums."""

    whole: tuple[np.ndarray, np.ndarray]
    folds: list[tuple[np.ndarray, np.ndarray]]

    def verifier(self, loss: float, positions: int, fold: int | None = None) -> Verifier:
        """Return the verifier that takes a share `loss` of shots for the place's own, or fewer; that of a fold."""
        weights, sums = self.whole if fold is None else self.folds[fold]
        return Verifier(weights, -int(sums[int(loss * len(sums))]), positions)


def teach(
    recordings: Sequence[Heard], hours: Hours, left_out: Sequence[Span], undecided: Sequence[Span],
    school: School, model: Model, p: Sections, logits: np.ndarray,
) -> Learned | None:  # fmt: skip
    """Return the strictest site verifier that a place's hours teach and that keeps the recall; None where none does.

    So it is too where one stretch alone raises anything: what it teaches could not be measured.

    Parameters
    ----------
    left_out : what is no part of the hours
    undecided : as for `own`
    logits : the mean logits that are tried, the operating point among them

    Raises
    ------
    ValueError
        As for `shots` and `rehearsal.play`.
    """
    of_model, point = trunk.of_model(model, hop=p.detector.hop), model.threshold()
    place, edges = own(recordings, hours, undecided, model, p), hours.edges()
    if of_model is None or len(np.unique(place.fold)) < 2:
        return None
    ground = np.concatenate([heard.windows.ground for heard in recordings])
    fit = _fits(place, shots(school.features, model, ground, school.rng, hop=p.detector.hop), len(edges) - 1)
    scenes = rehearsal.play(hours, recordings, school.streams, model, p)
    for loss in LOSSES:
        verifier = fit.verifier(loss, of_model.positions)
        by = {rehearsal.BEFORE: Decides(point), rehearsal.AFTER: Decides(point, verifier)}
        if rehearsal.keeps(recall := rehearsal.recall(scenes, model, by, p)):
            break
    else:
        return None
    counts = []
    for number in range(len(edges) - 1):
        here = {span.recording for span in hours.back(edges[number], edges[number + 1])}
        others = fit.verifier(loss, of_model.positions, number % len(fit.folds))
        again = [decided(x, others, model, logits, point, p) if i in here else x for i, x in enumerate(recordings)]
        counts.append(lay(again, left_out, sr=p.audio.sr).counts()[number])
    return Learned(verifier, loss, len(place.fold), np.stack(counts), recall)


def _fits(place: Lesson, fired: Lesson, stretches: int) -> _Fit:
    """Return weights of the strength by which the fewest of a place's windows pass in folds that taught nothing.

    A fold are some stretches of the place and some kinds of weapon: it is measured by what the others teach.
    """
    folds = min(stretches, MOST_FOLDS)
    own, fire, tried = place.fold % folds, fired.fold % folds, []
    for strength in STRENGTHS:
        every = [_fit(place.pools[own != k], fired.pools[fire != k], strength) for k in range(folds)]
        sums = [_sums(fired.pools[fire == k], weights) for k, weights in enumerate(every)]
        passed = 0
        for k, weights in enumerate(every):
            if len(sums[k]):  # there may be fewer kinds of weapon than folds
                passed += int((_sums(place.pools[own == k], weights) >= sums[k][int(CHOSEN_AT * len(sums[k]))]).sum())
        tried.append((passed, strength, every))
    _, strength, every = min(tried, key=lambda one: one[:2])
    whole = _fit(place.pools, fired.pools, strength)
    return _Fit(
        (whole, _sums(fired.pools, whole)),
        [(weights, _sums(fired.pools[fire != k], weights)) for k, weights in enumerate(every)],
    )


def _sums(pools: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return weighted sums of windows, in order, int64 [shape=(n,)]."""
    return np.sort(np.einsum("npw,pw->n", pools, weights.astype(np.int64)))


def _fit(a: np.ndarray, b: np.ndarray, strength: float) -> np.ndarray:
    """Return the weights, int8 [shape=(POOLS, width)], of a regularised logistic regression that tells b from a.

    Of shots, `b`, the weighted sum is higher. Without anything to tell them from, all weights are 0.
    """
    from sklearn.linear_model import LogisticRegression  # a second to import: only where it is used

    shape = b.shape[1:]
    if not len(a):
        return np.zeros(shape, np.int8)
    x = np.concatenate([a, b]).reshape(len(a) + len(b), -1).astype(np.float64)
    spread = x.std(axis=0)
    z = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    y = np.repeat([0, 1], [len(a), len(b)])
    fitted = LogisticRegression(C=strength, class_weight="balanced", max_iter=300).fit(z, y)
    weights = np.where(spread > 0, fitted.coef_[0] / np.where(spread > 0, spread, 1.0), 0.0).reshape(shape)
    return np.rint(weights * (MOST_WEIGHT / max(np.abs(weights).max(), 1e-12))).astype(np.int8)
