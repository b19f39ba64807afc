"""The simulated corpus: recordings that depend on seed, class and index alone, rendered by several processes."""

import csv
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gunshot import audio, processes, tables
from gunshot.simulate import shots
from gunshot.simulate.beds import BEDS
from gunshot.simulate.channel import channel
from gunshot.simulate.events import EVENTS, schedule
from gunshot.simulate.signals import log_uniform, uniform

CLASSES = ("gun", "env")


@dataclass(frozen=True)
class Corpus:
    """What sets a corpus: the keys of the section `simulate` that change its bytes."""

    seed: int
    duration_s: tuple[float, float]
    distance_m: tuple[float, float]
    sr: int


@dataclass(frozen=True)
class Recording:
    """One recording: `pcm` int16 [shape=(n,)], `starts` of its shots in samples."""

    label: str
    pcm: np.ndarray
    starts: list[int]


def _bed(rng: np.random.Generator, n: int, sr: int, kind: str | None = None) -> np.ndarray:
    return BEDS[kind or rng.choice(list(BEDS))](rng, n, sr)


def gun(rng: np.random.Generator, index: int, corpus: Corpus) -> Recording:
    """Return a recording of one gun in a scene; the weapons take turns."""
    sr, duration_s = corpus.sr, uniform(rng, corpus.duration_s)
    n, distance_m = int(duration_s * sr), log_uniform(rng, corpus.distance_m)
    label = list(shots.WEAPONS)[index % len(shots.WEAPONS)]
    weapon = shots.WEAPONS[label]
    shot = shots.shot(rng, weapon, distance_m, sr)
    arrivals_s = shots.firing(rng, weapon, duration_s)
    gains = 10 ** (rng.normal(0, 0.7, len(arrivals_s)) / 20)
    paths = [shots.train(shot.blast, arrivals_s + (shot.lead_s or 0.0), gains, n, sr)]
    if shot.lead_s is not None:
        paths.append(shots.train(shot.shock, arrivals_s, gains, n, sr))
    starts = (arrivals_s * sr).astype(int)
    pcm = channel(rng, paths, np.zeros(n), _bed(rng, n, sr), starts, distance_m=distance_m, sr=sr)
    return Recording(label, pcm, starts.tolist())


def env(rng: np.random.Generator, index: int, corpus: Corpus) -> Recording:
    """Return a recording without a shot: every third a bed alone, the others with one kind of event, in turns."""
    sr, (low, high) = corpus.sr, corpus.distance_m
    n = int(uniform(rng, corpus.duration_s) * sr)
    turn, third = divmod(index, 3)
    if third == 2:
        label = list(BEDS)[turn % len(BEDS)]
        bed, none = _bed(rng, n, sr, label), np.zeros(0, int)
        return Recording(label, channel(rng, [], np.zeros(n), bed, none, distance_m=low, sr=sr), [])
    label = list(EVENTS)[(2 * turn + third) % len(EVENTS)]
    event = EVENTS[label]
    # Half are near, since most of these sources are; the others come from as far as shots do.
    distance_m = log_uniform(rng, (low / 4, high) if rng.random() < 0.5 else (low / 4, min(20.0, high)))
    dry, onsets = schedule(rng, event, n, sr)
    paths, contact = ([], dry) if event.contact else ([dry], np.zeros(n))
    return Recording(label, channel(rng, paths, contact, _bed(rng, n, sr), onsets, distance_m=distance_m, sr=sr), [])


def render(class_: str, index: int, corpus: Corpus) -> Recording:
    """Return recording `index` of a class; the same for the same arguments, whoever renders it and when."""
    rng = np.random.default_rng([corpus.seed, CLASSES.index(class_), index])
    return {"gun": gun, "env": env}[class_](rng, index, corpus)


def _save(task: tuple[str, int], out: Path, corpus: Corpus) -> tuple[dict, list[int]]:
    class_, index = task
    made = render(class_, index, corpus)
    below = Path(class_, made.label, f"{index:05d}.wav")
    audio.write_pcm(out / below, made.pcm, sr=corpus.sr)
    row = {
        "path": (Path(out.name) / below).as_posix(),
        "class": class_,
        "label": made.label,
        "recording_group": f"simulated:{class_}:{index:05d}",
        "source": "simulated",
        "upstream": "simulated",
        "licence": "CC0-1.0",
        "sr_found": corpus.sr,
        "duration_s": len(made.pcm) / corpus.sr,
        "sha256": audio.sha256(made.pcm),
    }
    return row, made.starts


def write(
    out: Path, corpus: Corpus, *, gun_recordings: int, env_recordings: int, workers: int
) -> tuple[int, int, float]:
    """Write a corpus to the folder `out`: wavs, then tags.csv, then recordings.csv.

    What an earlier run left there is removed first, so that a run that was killed leaves no table and the next
    one the same bytes. Returns the numbers of recordings and of tagged shots, and the duration in s.
    """
    for table in ("recordings.csv", "tags.csv"):
        (out / table).unlink(missing_ok=True)
    for class_ in CLASSES:
        shutil.rmtree(out / class_, ignore_errors=True)
    tasks = [("gun", i) for i in range(gun_recordings)] + [("env", i) for i in range(env_recordings)]
    results = processes.in_order(_save, tasks, out, corpus, workers=workers)
    made = list(tqdm(results, total=len(tasks), desc="simulate", unit="recording"))
    with audio.atomic(out / "tags.csv") as part, part.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([row["path"], *starts] for row, starts in made if starts)
    recordings = tables.frame((row for row, _ in made), tables.RECORDING)
    tables.write(out / "recordings.csv", recordings)
    return len(made), sum(len(starts) for _, starts in made), float(recordings["duration_s"].sum())
