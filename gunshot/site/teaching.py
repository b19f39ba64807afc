"""Which windows a person should be asked about: those that would teach most."""

import dataclasses
from pathlib import Path

import numpy as np
from scipy.spatial.distance import cdist
from tqdm import tqdm

from gunshot import features
from gunshot.base import audio
from gunshot.detect import listener
from gunshot.field import queue
from gunshot.field.queue import Sections
from gunshot.models.model import Model
from gunshot.site import trunk
from gunshot.site.verifier import pooled
from gunshot.tags.catalogue import Catalogue

ASKED_FOR = 10  # recordings that a person is asked about before all others
WIDE = 4  # times as many as are asked for: the most doubtful, which those that are asked about stand for


def most_teaching(doubt: np.ndarray, vectors: np.ndarray, count: int) -> np.ndarray:
    """Return the numbers of the windows that would teach most, the first one first, int64 [shape=(at most count,)].

    Of the WIDE times `count` most doubtful they are those that stand for all: again and again the one is taken that
    brings these nearest to one that is taken, on average. So a sound that comes each minute is asked about first, and
    once; one that is like no other waits. What is furthest from all (k-center) taught less.

    Parameters
    ----------
    doubt : np.ndarray [shape=(n,)], the less, the more doubtful; of equal ones the first comes first
    vectors : np.ndarray [shape=(n, ...)], what a model has of each; each number counts by its spread

    Raises
    ------
    ValueError
        `doubt` and `vectors` are not of one length, or `count` is below 0.

    Notes
    -----
    Greedy facility location: G. Nemhauser, L. Wolsey and M. Fisher, An analysis of approximations for maximizing
    submodular set functions, 1978; K. Wei, R. Iyer and J. Bilmes, Submodularity in data subset selection and active
    learning, 2015.
    """
    if len(doubt) != len(vectors) or count < 0:
        raise ValueError(f"doubt={len(doubt)}, vectors={len(vectors)} must be as many, count={count} at least 0")
    wide = np.argsort(doubt, kind="stable")[: WIDE * count]
    if not len(wide):
        return wide
    x = vectors[wide].reshape(len(wide), -1).astype(np.float64)
    spread = x.std(axis=0)
    apart = cdist(*[x / np.where(spread > 0, spread, 1.0)] * 2)
    taken, nearest = [], np.full(len(wide), apart.max())
    for _ in range(min(count, len(wide))):
        left = np.minimum(nearest, apart).sum(axis=1)
        left[taken] = np.inf
        taken.append(int(left.argmin()))
        nearest = np.minimum(nearest, apart[taken[-1]])
    return wide[taken]


def first(listed: Catalogue, scores: dict[str, float], model: Model, p: Sections, *, count: int) -> Catalogue:
    """Return recordings of the field with those first that would teach most, of the unconfirmed ones; the rest stays.

    `listed` is in the order of doubt; `scores` has those that can be read. A recording counts by its highest window.
    Of a model without a trunk, as a forest, nothing is reordered.
    """
    of_model = trunk.of_model(model, hop=p.detector.hop)
    if of_model is None:
        return listed
    states = queue.states(listed)
    doubtful = [key for key in listed.recordings if states[key] != "confirmed" and key in scores][: WIDE * count]
    vectors, keys = [], []
    for key in tqdm(doubtful, desc="compare"):
        try:
            vectors.append(_highest(listed.recordings[key], model, of_model, p))
        except (OSError, audio.AudioError):  # it may be gone by now
            continue
        keys.append(key)
    chosen = [keys[i] for i in most_teaching(np.arange(len(keys)), np.array(vectors), count)]
    order = dict.fromkeys([*chosen, *listed.recordings])
    return dataclasses.replace(listed, recordings={key: listed.recordings[key] for key in order})


def _highest(file: Path, model: Model, of_model: trunk.Trunk, p: Sections) -> np.ndarray:
    """Return the vectors of a recording's highest window, pooled over positions."""
    options = {"sr": p.audio.sr, "min_length": p.features.n_fft, **p.features.model_dump()}
    mel = listener.whole(features.of_file(file, **options), listener.settings(model, p, logit=0.0))
    at = int(model.window_logits(mel, hop=p.detector.hop).argmax()) * p.detector.hop
    codes = model.codes(mel[None, :, at : at + model.window[1]])
    return pooled(of_model.vectors(codes))[0]
