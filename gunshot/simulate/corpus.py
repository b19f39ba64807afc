"""The simulated corpus: recordings that depend on seed, class and index alone, rendered by several processes."""

import csv
import itertools
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import signal
from tqdm import tqdm

from gunshot.base import audio, processes, tables
from gunshot.base.files import atomic
from gunshot.simulate import events, gunfire
from gunshot.simulate.beds import BEDS
from gunshot.simulate.channel import channel
from gunshot.simulate.events import ANY, EVENTS, schedule
from gunshot.simulate.levels import LOUDEST_S, around, heard, loudest_db, peak_db, rms_db
from gunshot.simulate.microphone import PASCAL
from gunshot.simulate.scenes import SCENES
from gunshot.simulate.signals import db, uniform, unit_rms
from gunshot.simulate.soundscape import PLACES, weather
from gunshot.simulate.weapons import WEAPONS

CLASSES = ("gun", "env")
PARTS = ("shock", "reflections", "microphone", "negatives", "codec")
RECORDED_DB = 3.0  # the rise in the recording, at least
QUIET_DB = (-10.0, 35.0)  # dB SPL of a bed that a recordist avoided
EVENT_S = 0.25  # after its onset, in which a shot's level is taken for its SNR


@dataclass(frozen=True)
class Corpus:
    """What sets a corpus: the keys of the section `simulate` that change its bytes."""

    seed: int
    duration_s: tuple[float, float]
    distance_m: tuple[float, float]
    sr: int
    without: tuple[str, ...] = ()  # of PARTS, to learn what each is worth

    def microphone(self) -> dict[str, bool]:
        """Return what kind of microphone hears it."""
        return {"ideal": "microphone" in self.without, "codecs": "codec" not in self.without}

    def scene(self, kind: str):
        """Return the scene of that kind; None, a free field, without reflections."""
        return None if "reflections" in self.without else SCENES[kind]


@dataclass(frozen=True)
class Recording:
    """One recording: `pcm` int16 [shape=(n,)], `pressure` [shape=(n,)] of its sources at the microphone, in Pa,
    `starts` of its heard shots in samples, `shots`, rows of tables.CORPUS_SHOT but for the path, and where it holds
    none `events`, rows of tables.CORPUS_EVENT but for the path: its bed, and what sounds in it.
    """

    label: str
    pcm: np.ndarray
    pressure: np.ndarray
    starts: list[int]
    shots: list[dict]
    events: list[dict]


def _place(rng: np.random.Generator, distance_m: float, scene: str | None = None) -> tuple[str, str]:
    """Return a drawn place and one of its scenes in which a source may be that far; of a scene where it is given."""
    places = [(name, kind) for name, place in PLACES.items() for kind in place.reaches(distance_m)]
    places = [(name, kind) for name, kind in places if scene in (None, kind)]
    if not places:
        raise ValueError(
            f"distance={distance_m:g} m must be at most {SCENES[scene].reach_m:.0f} m in the scene {scene}"
        )
    return places[rng.integers(len(places))]


def _alone(fired: gunfire.Gunfire, responses: list[np.ndarray], n: int, sr: int) -> np.ndarray:
    """Return a shot by itself, of gain 1, at the microphone from its onset on [shape=(m,)], in Pa."""
    first = replace(fired, arrivals_s=fired.arrivals_s[:1], gains=np.ones(1))
    wet = sum(signal.oaconvolve(dry, y)[:n] for (dry, _), y in zip(first.paths(n, sr), responses, strict=True))
    return wet[first.rows(sr)[0]["onset"] :]


def fire(
    rng: np.random.Generator,
    name: str,
    distance_m: float,
    corpus: Corpus,
    *,
    scene: str | None = None,
    angle_deg: float | None = None,
) -> Recording:
    """Return a recording of a weapon (a key of WEAPONS) in a scene; scene and angle are drawn where None.

    Examples
    --------
    >>> corpus = Corpus(seed=1, duration_s=(2.0, 2.0), distance_m=(50.0, 50.0), sr=16000)
    >>> shots = fire(np.random.default_rng(1), "AK-47", 50.0, corpus, scene="street", angle_deg=90.0)
    >>> shots.label, shots.pcm.dtype, shots.pcm.shape
    ('assault_rifle', dtype('int16'), (32000,))
    >>> len(shots.starts) == len(shots.shots) >= 1
    True
    """
    sr = corpus.sr
    duration_s, air = uniform(rng, corpus.duration_s), weather(rng)
    n = int(duration_s * sr)
    place, kind = _place(rng, distance_m, scene)
    angle = None if angle_deg is None else float(np.deg2rad(angle_deg))
    shock = "shock" not in corpus.without
    fired = gunfire.draw(rng, name, distance_m, sr, duration_s=duration_s, air=air, angle=angle, shock=shock)
    paths, rows = fired.paths(n, sr), fired.rows(sr)
    starts = np.array([row["onset"] for row in rows])
    bed = PLACES[place].bed(rng, n, sr)
    wet, bed, pcm, responses = channel(
        rng, paths, np.zeros(n), bed, starts, scene=corpus.scene(kind), air=air, sr=sr, **corpus.microphone()
    )
    alone = _alone(fired, responses, n, sr)
    common = {"place": place, "scene": kind, "temperature_c": air.temperature_c, "humidity": air.humidity}
    for row, start, gain in zip(rows, starts, fired.gains, strict=True):
        # An overloaded microphone may not record what rises at it.
        rises = heard(wet + bed, start, sr) and heard(pcm, start, sr, least_db=RECORDED_DB)
        row["heard"] = start == starts[0] or rises
        row["snr_db"] = rms_db(wet[start : start + int(EVENT_S * sr)]) - rms_db(bed)
        row["peak_db_spl"] = peak_db(gain * alone / PASCAL)
        row.update(common)
    return Recording(WEAPONS[name].kind, pcm, wet, [row["onset"] for row in rows if row["heard"]], rows, [])


def gun(rng: np.random.Generator, index: int, corpus: Corpus) -> Recording:
    """Return a recording of one weapon in a scene; the kinds of weapon take turns."""
    name = gunfire.weapon(rng, index)
    return fire(rng, name, gunfire.distance(rng, corpus.distance_m), corpus)


def _rows(
    label: str, distance_m: float, starts: np.ndarray, wet: np.ndarray, beds: list[str], bed: np.ndarray, sr: int
) -> list[dict]:
    """Return a row for the bed, and one for each event of a kind: from where to where and how loud it sounds."""
    rows = [
        {"start": 0, "stop": len(bed), "label": "+".join(beds), "kind": "bed", "distance_m": 0.0,
         "level_db": rms_db(bed / PASCAL), "snr_db": 0.0}
    ]  # fmt: skip
    for start, after in itertools.pairwise([*starts.tolist(), len(wet)]):
        stop = min(max(after, start + int(LOUDEST_S * sr)), len(wet))
        own = wet[start:stop]
        rest_db = rms_db(around(bed, start + int(np.argmax(np.abs(own))), sr))
        rows.append({
            "start": start, "stop": stop, "label": label, "kind": "event", "distance_m": distance_m,
            "level_db": peak_db(own / PASCAL), "snr_db": loudest_db(own, sr) - rest_db,
        })  # fmt: skip
    return rows


def env(rng: np.random.Generator, index: int, corpus: Corpus) -> Recording:
    """Return a recording without a shot: an event, any short sound, a place or a bed alone, in turns."""
    sr = corpus.sr
    n = int(uniform(rng, corpus.duration_s) * sr)
    (turn, third), air = divmod(index, 3), weather(rng)
    distance_m = events.distance(rng, corpus.distance_m)
    paths, contact, onsets = [], np.zeros(n), np.zeros(0, int)
    place = list(PLACES)[turn // 2 % len(PLACES)]
    kind, beds = str(rng.choice(PLACES[place].scenes)), None
    if third == 2 and turn % 2:
        label = list(BEDS)[turn // 2 % len(BEDS)]
        beds, bed = [label], PASCAL * db(uniform(rng, PLACES[place].level_db)) * unit_rms(BEDS[label](rng, n, sr))
    elif third == 2 or "negatives" in corpus.without:
        label = place
    else:
        # Kinds take turns in half of the recordings; every sixth has any short sound.
        label = ANY if third and turn % 2 else list(EVENTS)[turn // (1 + third) % len(EVENTS)]
        place, kind = _place(rng, distance_m)
        dry, onsets = schedule(rng, EVENTS[label], n, sr)
        if EVENTS[label].contact:
            contact = dry
        else:
            paths = [(dry, distance_m)]
    if beds is None:
        beds = PLACES[place].draw(rng)
        # Half of the events are recorded close, or in quiet, as people record them: as far above the rest as shots are.
        level_db = uniform(rng, QUIET_DB) if len(onsets) and rng.random() < 0.5 else None
        bed = PLACES[place].bed(rng, n, sr, beds, level_db)
    wet, bed, pcm, _ = channel(
        rng, paths, contact, bed, onsets, scene=corpus.scene(kind), air=air, sr=sr, **corpus.microphone()
    )
    rows = _rows(label, distance_m if paths else 0.0, onsets, wet, beds, bed, sr)
    common = {"place": place, "scene": kind, "temperature_c": air.temperature_c, "humidity": air.humidity}
    return Recording(label, pcm, wet, [], [], [row | common for row in rows])


def render(class_: str, index: int, corpus: Corpus) -> Recording:
    """Return recording `index` of a class; the same for the same arguments, whoever renders it and when.

    Examples
    --------
    >>> corpus = Corpus(seed=1, duration_s=(1.2, 2.4), distance_m=(2.0, 1500.0), sr=16000)
    >>> np.array_equal(render("env", 0, corpus).pcm, render("env", 0, corpus).pcm)
    True
    """
    rng = np.random.default_rng([corpus.seed, CLASSES.index(class_), index])
    return {"gun": gun, "env": env}[class_](rng, index, corpus)


def _save(task: tuple[str, int], out: Path, corpus: Corpus) -> tuple[dict, Recording]:
    class_, index = task
    recording = render(class_, index, corpus)
    below = Path(class_, recording.label, f"{index:05d}.wav")
    audio.write_pcm(out / below, recording.pcm, sr=corpus.sr)
    row = {
        "path": (Path(out.name) / below).as_posix(),
        "class": class_,
        "label": recording.label,
        "recording_group": f"simulated:{class_}:{index:05d}",
        "source": "simulated",
        "upstream": "simulated",
        "licence": "CC0-1.0",
        "sr_found": corpus.sr,
        "duration_s": len(recording.pcm) / corpus.sr,
        "sha256": audio.sha256(recording.pcm),
    }
    return row, replace(
        recording, pcm=recording.pcm[:0], pressure=recording.pressure[:0]
    )  # what goes back to the parent


def write(
    out: Path, corpus: Corpus, *, gun_recordings: int, env_recordings: int, workers: int
) -> tuple[int, int, float]:
    """Write a corpus to the folder `out`: wavs, then tags.csv, shots.csv and events.csv, then
    recordings.csv.

    What an earlier run left there is removed first, so that a run that was killed leaves no table and the next
    one the same bytes. Returns the numbers of recordings and of tagged shots, and the duration in s.
    """
    for table in ("recordings.csv", "tags.csv", "shots.csv", "events.csv"):
        (out / table).unlink(missing_ok=True)
    for class_ in CLASSES:
        shutil.rmtree(out / class_, ignore_errors=True)
    tasks = [("gun", i) for i in range(gun_recordings)] + [("env", i) for i in range(env_recordings)]
    results = processes.in_order(_save, tasks, out, corpus, workers=workers)
    rendered = list(tqdm(results, total=len(tasks), desc="simulate", unit="recording"))
    with atomic(out / "tags.csv") as part, part.open("w", newline="") as file:
        tagged = ([row["path"], *recording.starts] for row, recording in rendered if recording.starts)
        csv.writer(file, lineterminator="\n").writerows(tagged)
    fired = [{"path": row["path"], **shot} for row, recording in rendered for shot in recording.shots]
    tables.write(out / "shots.csv", tables.frame(fired, tables.CORPUS_SHOT).round(3))
    sounding = ({"path": row["path"], **event} for row, recording in rendered for event in recording.events)
    tables.write(out / "events.csv", tables.frame(sounding, tables.CORPUS_EVENT).round(3))
    recordings = tables.frame((row for row, _ in rendered), tables.RECORDING)
    tables.write(out / "recordings.csv", recordings)
    return len(rendered), len(fired), float(recordings["duration_s"].sum())
