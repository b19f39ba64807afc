"""How exactly a model tells the shots of simulated bursts: `python -m tests.bursts [MODEL]`; fails below the goal."""

import sys
from pathlib import Path

import numpy as np

from gunshot.alarms.score import matched
from gunshot.base import params, pipeline
from gunshot.detect import listener
from gunshot.models.model import load_model
from gunshot.models.scores import metrics
from gunshot.simulate import corpus

GOAL = 0.9  # F1
COLLAR_S = 0.025
APART_S, FARTHEST_M = 0.1, 200.0  # of shots: at least, at most
SEED, RENDERED = 1_000_000, 900  # no corpus is rendered from this seed


def main(path: Path) -> int:
    p = params.load("audio", "chunks", "context", "features", "detector", "simulate")
    model = load_model(path)
    logit = model.threshold()
    source = corpus.Corpus(SEED, p.simulate.duration_s, p.simulate.distance_m, p.audio.sr)
    right, heard, onsets, bursts = 0, 0, 0, 0
    for i in range(RENDERED):
        recording = corpus.render("gun", i, source)
        if not is_burst(recording.shots, p.audio.sr):
            continue
        ear = listener.Listener(model, [logit], p)
        rows = np.concatenate([ear.push(recording.pcm)[0][0], ear.finish()[0][0]])
        counts = compared(ear.times(rows)[0], recording.shots, p.audio.sr)
        right, heard, onsets = np.array([right, heard, onsets]) + counts
        bursts += 1
    rates = metrics.found_and_missed(int(right), int(heard), int(onsets))
    print(
        f"{bursts} bursts of {heard} heard shots {1000 * APART_S:g} ms or more apart within {FARTHEST_M:g} m, collar "
        f"{1000 * COLLAR_S:g} ms: precision {rates['precision']:.3f}, recall {rates['recall']:.3f}, "
        f"F1 {rates['f1']:.3f}; the goal {GOAL:g} is {'met' if rates['f1'] >= GOAL else 'missed'}"
    )
    return int(not rates["f1"] >= GOAL)


def is_burst(shots: list[dict], sr: int) -> bool:
    """Return whether there are two shots or more, near and far enough apart."""
    onsets = np.array([shot["onset"] for shot in shots])
    near = all(shot["distance_m"] <= FARTHEST_M for shot in shots)
    return len(shots) > 1 and near and bool((np.diff(onsets) >= APART_S * sr).all())


def compared(onset_s: np.ndarray, shots: list[dict], sr: int) -> tuple[int, int, int]:
    """Return how many heard shots were told, how many there are, and how many onsets count.

    A shot that does not rise from what sounds before it need not be told; an onset at it does not count.
    """
    first_s, blast_s = (np.array([shot[name] for shot in shots]) / sr for name in ("onset", "blast"))
    heard = np.array([shot["heard"] for shot in shots])
    pairs, false = matched(onset_s, first_s, blast_s, collar_s=COLLAR_S)
    right = int(heard[pairs[:, 0]].sum())
    return right, int(heard.sum()), right + int(false.sum())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else pipeline.models()["int8"]))
