"""What the verifier learns from: the incidents of the detector in recordings and in streams, right ones and false."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from gunshot import features
from gunshot.alarms.score import matched
from gunshot.base import audio, processes, seeds
from gunshot.detect import detector, opinion
from gunshot.detect.listener import Listener
from gunshot.models.model import import_libraries, load_once
from gunshot.models.verifier import windows

KEPT = ["class", "label", "recording_group", "source"]  # of a file, for each of its examples


def sources(chunks: pd.DataFrame) -> list[dict]:
    """Return a row for each file of a table of chunks: file, class, recording_group, source, and its shots in samples.

    Parameters
    ----------
    chunks : columns CHUNK and `file`, the wav that holds the recording or its changed copy
    """
    rows = []
    for file, part in chunks.groupby("file", sort=True):
        shots = (part["start"] + part["onset"])[part["onset"] >= 0]
        same = {key: part[key].iloc[0] for key in ("class", "label", "recording_group", "source")}
        rows.append({"file": file, "cut": False, "shots": np.unique(shots), **same})
    return rows


def streams(folder: Path) -> list[dict]:
    """Return the same of a side's streams without shots: their sounds are as a device hears them, and long."""
    rows = []
    for file in sorted(folder.glob("*/quiet/*.wav")):
        source, group = file.relative_to(folder).parts[0], f"streams:{file.relative_to(folder)}"
        known = {"class": "env", "label": "", "recording_group": group, "source": source, "shots": np.zeros(0, int)}
        rows.append({"file": str(file), "cut": True, **known})
    return rows


def beds(folder: Path, p: opinion.Sections) -> list[np.ndarray]:
    """Return the log-mels of a side's streams without shots [shape=(n_mels, frames)] each.

    ValueError where there is none, or one is shorter than verifier.frames.
    """
    mel, out = {"sr": p.audio.sr, **p.features.model_dump()}, []
    for row in streams(folder):
        out.append(features.log_mel(audio.read_pcm(row["file"], sr=p.audio.sr), **mel))
        if (length := out[-1].shape[1]) < p.verifier.frames:
            least = ((p.verifier.frames - 1) * p.features.hop_length + p.features.n_fft) / p.audio.sr
            raise ValueError(
                f"{row['file']}: {length} frames must be verifier.frames={p.verifier.frames} or more, {least:.1f} s; "
                "make streams of it anew with `dvc repro`"
            )
    if not out:
        raise ValueError(f"{folder}: streams without shots=0 must be 1 at least; make them with `dvc repro`")
    return out


def of_source(source: dict, model: Path, logit: float, beds: list, p: opinion.Sections) -> np.ndarray:
    """Return what the verifier may hear of the incidents in one file, float32 [shape=(n, n_mels, verifier.frames)].

    Of each incident that opens at a mean logit it is the shot of the highest score; in a file with shots, of those that
    are shots. Of a stream each is heard twice: as it is, and cut as a recording is.
    """
    pcm = audio.read_pcm(source["file"], sr=p.audio.sr)
    log_mel = features.log_mel(pcm, sr=p.audio.sr, **p.features.model_dump())
    before = None if source["cut"] else features.quiet(log_mel, 1)
    ear = Listener(load_once(model), [logit], p, before=before)
    (shots,) = opinion.let_through(pcm, ear)
    if source["class"] == "gun":
        truth = source["shots"] / p.audio.sr
        right = matched(ear.times(shots)[0], truth, truth, collar_s=p.detector.collar_s)[0][:, 1]
        shots = shots[np.sort(right)]
    best = opinion.highest(shots[:, detector.WHICH], shots[:, detector.LOGIT_SUM])
    rng, out = seeds.generator(p.verifier.seed, f"verifier/{source['file']}"), []
    for frame in opinion.frames(ear.times(shots[best])[0], p).clip(0, log_mel.shape[1] - 1).tolist():
        if source["cut"]:
            shape = {"before": p.verifier.before, "n_frames": p.verifier.frames}
            out.append(windows.around(log_mel, frame, **shape))
        heard = windows.cut(log_mel, frame, rng) if source["cut"] else (log_mel, frame)
        out.append(windows.example(*heard, beds, rng, p.verifier))
    return np.stack(out) if out else np.zeros((0, p.features.n_mels, p.verifier.frames), np.float32)


def gathered(
    listed: Iterable[dict], model: Path, logit: float, beds: list, p: opinion.Sections, *, workers: int = 2
) -> tuple[np.ndarray, pd.DataFrame]:
    """Return the examples of files, in order, and a row for each: class, label, recording_group and source."""
    listed, rows, parts = list(listed), [], []
    import_libraries([model])
    heard = processes.in_order(of_source, listed, model, logit, beds, p, workers=workers, batch=16)
    for source, x in zip(listed, heard, strict=True):
        parts.append(x)
        rows += [{key: source[key] for key in KEPT}] * len(x)
    none = np.zeros((0, p.features.n_mels, p.verifier.frames), np.float32)
    return np.concatenate([none, *parts]), pd.DataFrame(rows, columns=KEPT)
