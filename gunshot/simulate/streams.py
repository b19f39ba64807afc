"""Long continuous audio, as a device hears it that hangs in one place: the bed goes on, events come, guns may fire."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from scipy import signal

from gunshot.base import seeds, tables
from gunshot.simulate import events, gunfire
from gunshot.simulate.channel import impulse_response
from gunshot.simulate.events import EVENTS
from gunshot.simulate.levels import around, heard, loudest_db, peak_db, peak_snr_db, rms_db
from gunshot.simulate.microphone import PASCAL, Device
from gunshot.simulate.physics import Air
from gunshot.simulate.scenes import SCENES
from gunshot.simulate.signals import add, db, join, uniform
from gunshot.simulate.soundscape import PLACES, weather

KINDS = ("quiet", "shots")
BED_S, FADE_S = (15.0, 40.0), (1.0, 3.0)  # of a stretch of the bed, and of the cross-fade into it
BED_SPREAD_DB = 5.0  # of a stretch's level around the stream's own, either way
NEAR_DB_SPL = 132.0  # a source is no nearer than where its peak has this: nobody sets fireworks off at a detector
BOUT_S = (0.5, 8.0)  # within which the events of one bout start
FIRST_S = (2.0, 10.0)  # of the first firing
GAP_S = (6.0, 15.0)  # from a firing's last shot to the next one's first
FIRING_S = 8.0  # a firing is shorter
SPL_DB = -20 * float(np.log10(PASCAL))  # of 1 Pa


@dataclass(frozen=True)
class Stream:
    """One stream: `pcm` int16 [shape=(n,)], `row` with what is known of it, `shots` and `events` that were laid.

    The rows have the columns of tables.STREAM_TABLES, but for the path.
    """

    pcm: np.ndarray
    row: dict
    shots: list[dict]
    events: list[dict]


@dataclass(frozen=True)
class _Stand:
    """Where a device hangs."""

    place: str
    scene: str
    air: Air
    sr: int
    reach: tuple[float, float]  # how far a source may be, m
    level_db: float  # of the bed, dB SPL
    floor_db: float  # of what the device adds, re 1 Pa

    def hear(self, rng: Generator, paths: list[tuple[np.ndarray, float]]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return each path's dry source with an impulse response of its own."""
        return [(dry, impulse_response(rng, SCENES[self.scene], way_m, self.sr, self.air)) for dry, way_m in paths]


def _wet(paths: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return the sum of dry sources of one length, each through its impulse response [shape=(n + tail,)]."""
    parts = [signal.oaconvolve(dry.astype(np.float32), response) for dry, response in paths]
    y = np.zeros(max(map(len, parts)), np.float32)
    for x in parts:
        add(y, x, 0)
    return y


def _bed(rng: Generator, stand: _Stand, n: int) -> tuple[np.ndarray, list[dict]]:
    """Return the background [shape=(n,), dtype=float32] in Pa, stretch after stretch, and a row for each."""
    y, rows, start, fade = np.zeros(n, np.float32), [], 0, 0
    while start + fade < n:
        following = int(uniform(rng, FADE_S) * stand.sr)
        length = fade + int(uniform(rng, BED_S) * stand.sr) + following
        names = PLACES[stand.place].draw(rng)
        level_db = stand.level_db + uniform(rng, (-BED_SPREAD_DB, BED_SPREAD_DB))
        x = PLACES[stand.place].bed(rng, length, stand.sr, names, level_db).astype(np.float32)
        join(y, x, start, fade)
        rows.append(_row(start, min(n, start + length), "+".join(names), "bed", 0.0, SPL_DB + rms_db(x)))
        start, fade = start + length - following, following
    return y, rows


def _row(start: int, stop: int, label: str, kind: str, distance_m: float, level_db: float, snr_db: float = 0.0) -> dict:
    return {
        "start": start, "stop": stop, "label": label, "kind": kind, "distance_m": distance_m, "level_db": level_db,
        "snr_db": snr_db, "recording": "", "source_start": -1,
    }  # fmt: skip


def place(seed: int, side: str, kind: str, index: int) -> str:
    """Return where a stream's device hangs: all of PLACES take turns over a side's streams, in a drawn order."""
    order = seeds.generator(seed, f"streams/{side}/{kind}/places").permutation(list(PLACES))
    return str(order[index % len(order)])


def turns(seed: int, side: str, kind: str, index: int, rate: float) -> list[str]:
    """Return the kinds of event of a stream, a Poisson number of mean `rate`: all take turns over a side's streams."""
    rng = seeds.generator(seed, f"streams/{side}/{kind}/turns")
    order, counts = rng.permutation(list(EVENTS)), rng.poisson(rate, index + 1)
    before = int(counts[:-1].sum())
    return [str(order[(before + i) % len(order)]) for i in range(counts[-1])]


def nearest_m(label: str) -> float:
    """Return how near an event may be, in m; where a scene does not reach as far, it does not happen."""
    return float(db(EVENTS[label].level_db[1] - NEAR_DB_SPL))


def _event(rng: Generator, stand: _Stand, label: str, bed: np.ndarray) -> tuple[np.ndarray, dict]:
    """Return a bout of one kind of event at the microphone [shape=(m,)] in Pa, and its row: where it is laid."""
    sr, event = stand.sr, EVENTS[label]
    dry, starts = events.bout(rng, event, int(uniform(rng, BOUT_S) * sr), sr)
    dry, at = dry[starts[0] :], int(rng.integers(0, len(bed)))
    distance_m = 0.0 if event.contact else max(nearest_m(label), events.distance(rng, stand.reach))
    y = dry.astype(np.float32) if event.contact else _wet(stand.hear(rng, [(dry, distance_m)]))
    y = y[: len(bed) - at]
    sounding = np.flatnonzero(np.abs(y) > 1e-3 * np.abs(y).max())
    stop = at + 1 + int(sounding.max(initial=0))
    rest_db = rms_db(around(bed, at + int(np.argmax(np.abs(y))), sr))
    snr_db = loudest_db(y, sr) - max(rest_db, stand.floor_db)
    return y, _row(at, stop, label, "event", distance_m, SPL_DB + peak_db(y), snr_db)


def _firing(rng: Generator, stand: _Stand, turn: int, start_s: float):
    """Return a firing from `start_s` on: the sample from which it is laid, its sound in Pa [shape=(m,)], that of one
    shot alone [shape=(m,)], both from that sample on, and a row for each shot, with its gain.
    """
    sr, start = stand.sr, int(start_s * stand.sr)
    name = gunfire.weapon(rng, turn)
    drawn = gunfire.draw(rng, name, gunfire.distance(rng, stand.reach), sr, duration_s=FIRING_S, air=stand.air)
    first_s = start_s - start / sr
    fired = replace(drawn, arrivals_s=drawn.arrivals_s - drawn.arrivals_s[0] + first_s)
    n = int((fired.arrivals_s[-1] + fired.shot.lead_s + 0.2) * sr)
    heard = stand.hear(rng, fired.paths(n, sr))
    single = replace(fired, arrivals_s=fired.arrivals_s[:1], gains=np.ones(1))
    alone = _wet([(dry, response) for (dry, _), (_, response) in zip(single.paths(n, sr), heard, strict=True)])
    rows = [
        row | {"gain_db": float(20 * np.log10(gain))} for row, gain in zip(fired.rows(sr), fired.gains, strict=True)
    ]
    return start, _wet(heard), alone, rows


def _shots(rng: Generator, stand: _Stand, index: int, y: np.ndarray) -> tuple[np.ndarray, list[dict]]:
    """Return gunfire [shape=(n,)] in Pa, to sound over `y` [shape=(n,)], and a row for each shot."""
    sr, guns, rows, at_s = stand.sr, np.zeros_like(y), [], uniform(rng, FIRST_S)
    firing = 0
    while True:
        start, wet, alone, fired = _firing(rng, stand, index + firing, at_s)
        last_s = (start + fired[-1]["blast"]) / sr
        if last_s + 1 > len(y) / sr:
            return guns, rows
        add(guns, wet, start)
        for row in fired:
            gain_db, onset = row.pop("gain_db"), start + row["onset"]
            snr_db = gain_db + peak_snr_db(alone[fired[0]["onset"] :], y, onset, sr, floor_db=stand.floor_db)
            places = {key: start + row[key] if row[key] >= 0 else -1 for key in ("onset", "shock", "blast")}
            levels = {"peak_db_spl": SPL_DB + gain_db + peak_db(alone), "peak_snr_db": snr_db}
            where = {"scene": stand.scene, "place": stand.place, "recording": "", "firing": firing}
            rows.append(row | places | levels | where)
        firing, at_s = firing + 1, last_s + uniform(rng, GAP_S)


def render(
    seed: int,
    side: str,
    index: int,
    kind: str,
    *,
    sr: int,
    stream_s: float,
    events_per_min: float,
    distance_m: tuple[float, float],
) -> Stream:
    """Return stream `index` of a side and a kind; the same for the same arguments, whoever renders it and when.

    Parameters
    ----------
    seed, side, index, kind : of tables.SIDES and of KINDS; no two streams share a draw
    stream_s : how long it is
    events_per_min : bouts of hard negatives; all kinds take turns
    distance_m : how far sources may be, in m; all at the scene's reach where it is nearer than both

    Raises
    ------
    ValueError
        An unknown side or kind.

    Examples
    --------
    Ten seconds without a shot, with four hard negatives a minute:

    >>> reach = {"events_per_min": 4.0, "distance_m": (20.0, 200.0)}
    >>> stream = render(1, "test", 0, "quiet", sr=16000, stream_s=10.0, **reach)
    >>> stream.pcm.shape, stream.shots
    ((160000,), [])
    """
    for name, value, known in (("side", side, tables.SIDES), ("kind", kind, KINDS)):
        if value not in known:
            raise ValueError(f"{name}={value!r} must be one of {', '.join(known)}")
    rng, n = seeds.generator(seed, f"streams/{side}/{kind}/{index}"), int(stream_s * sr)
    where = place(seed, side, kind, index)
    scene = str(rng.choice(PLACES[where].scenes))
    reach = tuple(min(limit, SCENES[scene].reach_m) for limit in distance_m)
    air, device = weather(rng), Device.draw(rng, sr)
    level_db = uniform(rng, PLACES[where].level_db)
    stand = _Stand(where, scene, air, sr, reach, level_db, 20 * np.log10(device.floor))
    bed, rows = _bed(rng, stand, n)
    y = bed.copy()
    for label in turns(seed, side, kind, index, events_per_min * stream_s / 60):
        if not EVENTS[label].contact and nearest_m(label) > reach[1]:
            continue
        wet, row = _event(rng, stand, label, bed)
        add(y, wet, row["start"])
        rows.append(row)
    shots = []
    if kind == "shots":
        guns, shots = _shots(rng, stand, index, y)
        y += guns
        shots = [row | {"heard": heard(y, row["onset"], sr)} for row in shots]
    group = f"streams:{side}:{kind}:{index:05d}"
    row = {
        "side": side, "origin": "simulated", "kind": kind, "index": index, "place": where, "scene": scene,
        "duration_s": n / sr, "unique_s": n / sr, "full_scale_db_spl": SPL_DB + float(20 * np.log10(device.full_scale)),
        "gain_control": device.gain_control, "recording_group": group,
    }  # fmt: skip
    rows.sort(key=lambda row: row["start"])
    return Stream(
        device.record(rng, y, sr), row, *([r | {"recording_group": group} for r in part] for part in (shots, rows))
    )
