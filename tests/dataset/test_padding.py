"""What a window lacks of sound tells nobody whether a shot is in it."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from gunshot import features
from gunshot.base import params, processes, seeds
from gunshot.dataset import chunks
from gunshot.simulate import corpus

P = params.load("audio", "features", "context", "chunks", "simulate", path=Path(__file__).parents[2] / "params.yaml")
MADE = corpus.Corpus(77, P.simulate.duration_s, P.simulate.distance_m, P.audio.sr)
RECORDINGS = [("gun", i) for i in range(60)] + [("env", i) for i in range(100)]  # in the shares of params.yaml
L, HOP, N_FFT = P.audio.chunk_length, P.features.hop_length, P.features.n_fft


def padding(item: tuple[str, int]) -> list[np.ndarray]:
    """Rows of a recording's chunks: whether it is of shots, its number, its samples, frames missing before and after.

    Twice: chunks of environment begin anywhere, as the stage has them, and the first with the recording.
    """
    class_, index = item
    recording, rng = corpus.render(class_, index, MADE), seeds.generator(P.chunks.seed, f"{class_}{index}")
    pcm, onsets = recording.pcm, [shot["onset"] for shot in recording.shots if shot["heard"]]
    row = {"path": "a.wav", "class": class_, "label": "l", "recording_group": "g", "source": "s"}
    _, own = chunks.of_recording(row, pcm, onsets, rng, P)
    starts = np.array([chunk["start"] for chunk in own], int)
    fixed = starts if class_ == "gun" else chunks.at_hop(len(pcm), hop=P.chunks.env_hop, chunk_length=L)
    tables = []
    for begins in (starts, fixed):
        first = begins[:, None] + (np.arange(P.context.frames) - P.context.before) * HOP
        before, after = (first < 0).sum(axis=1), (first + N_FFT > len(pcm)).sum(axis=1)
        assert np.array_equal(features.windows(pcm, begins, P)[1], before + after)
        whose = np.tile([class_ == "gun", index + 1000 * (class_ == "gun"), len(pcm)], (len(begins), 1))
        tables.append(np.column_stack([whose, before, after]))
    return tables


def auc(table: np.ndarray, columns: list[int]) -> float:
    """The AUC of a classifier of these columns, on recordings that it was not fitted on."""
    judge = HistGradientBoostingClassifier(max_depth=3, max_iter=40, min_samples_leaf=40, random_state=0)
    y, groups, folds = table[:, 0], table[:, 1], GroupKFold(5, shuffle=True, random_state=0)
    score = cross_val_predict(judge, table[:, columns], y, groups=groups, cv=folds, method="predict_proba")
    return float(roc_auc_score(y, score[:, 1]))


@pytest.mark.slow
def test_padding_and_duration_are_no_label():
    parts = list(processes.in_order(padding, RECORDINGS, workers=2))
    anywhere, fixed = (np.concatenate(part) for part in zip(*parts, strict=True))
    assert auc(anywhere, [3, 4]) <= 0.55 and auc(anywhere, [2, 3, 4]) <= 0.55
    # That it can tell: where all begin with their recording, what they lack gives them away.
    assert auc(fixed, [3, 4]) > auc(anywhere, [3, 4]) + 0.05
