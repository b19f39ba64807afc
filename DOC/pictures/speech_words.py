"""Measures whether words are recognised in a verifier's evidence: python DOC/pictures/speech_words.py FOLDER LABELS.

FOLDER has spoken commands of Picovoice/speech-to-intent-benchmark, and LABELS is that repository's label.json. Needs
`pip install pocketsphinx`, a recogniser with its model of English. Sound is made anew from the int8 log-mel that the
verifier hears, by Griffin and Lim. A command's labels name some of its words: printed is how many of these are missed,
which is at most the word error rate. DOC/privacy.md quotes it.
"""

import json
import sys
from pathlib import Path

import librosa
import numpy as np
import pocketsphinx

from gunshot import features
from gunshot.base import audio, params, pipeline
from gunshot.models.model import load_model

ITERATIONS = 64
MOST = 30  # commands, by name: a decoder takes some seconds for each


def anew(pcm: np.ndarray, model, p) -> np.ndarray:
    """Return sound of the same log-mel, int16 [shape=(n,)]."""
    f, sr = p.features, p.audio.sr
    codes = model.codes(features.log_mel(pcm, sr=sr, **f.model_dump())).astype(np.float32)
    power = 10 ** ((codes - model.code_zero) * model.code_db / 10)
    shape = {"sr": sr, "n_fft": f.n_fft, "hop_length": f.hop_length, "center": False, "n_iter": ITERATIONS}
    heard = librosa.feature.inverse.mel_to_audio(power, **shape, fmin=f.fmin, fmax=f.fmax)
    return np.int16(heard / np.abs(heard).max() * 16000)


def missed(pcm: np.ndarray, words: list[str]) -> int:
    """Return how many words are not among those that the recogniser heard."""
    decoder = pocketsphinx.Decoder(samprate=16000)
    decoder.start_utt()
    decoder.process_raw(pcm.tobytes(), full_utt=True)
    decoder.end_utt()
    heard = decoder.hyp().hypstr.split() if decoder.hyp() else []
    return sum(word not in heard for word in words)


def main(folder: Path, labels: Path) -> None:
    """Measure the first commands of a folder."""
    p, model = params.load("audio", "features"), load_model(pipeline.models()["int8"])
    stated, counts = json.loads(labels.read_text()), np.zeros(3, int)
    for file in sorted(folder.glob("*.ogg"))[:MOST]:
        words = " ".join(stated[f"{file.stem}.wav"]["slots"].values()).split()
        pcm = audio.to_int16(np.concatenate(list(audio.blocks(file, sr=p.audio.sr, repair=True))))
        counts += len(words), missed(pcm, words), missed(anew(pcm, model, p), words)
    words, *both = counts.tolist()
    original, resynthesised = (count / words for count in both)
    print(f"{words} words; missed in the originals {original:.1%}, in sound of the log-mel {resynthesised:.1%}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
