"""Simulated worlds: a site's devices hear the same shots and the same hard negatives. What fusion is measured on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from scipy import signal

from gunshot.base import seeds
from gunshot.detect import detector, listener
from gunshot.hub import fusion, plane
from gunshot.models.model import Model
from gunshot.simulate import events, gunfire, shots
from gunshot.simulate.channel import impulse_response
from gunshot.simulate.events import EVENTS
from gunshot.simulate.levels import peak_snr_db
from gunshot.simulate.microphone import Device
from gunshot.simulate.physics import Air
from gunshot.simulate.scenes import SCENES
from gunshot.simulate.signals import add, uniform
from gunshot.simulate.soundscape import PLACES, weather
from gunshot.simulate.streams import BOUT_S, FIRING_S, FIRST_S, GAP_S, KINDS, nearest_m, turns
from gunshot.simulate.weapons import WEAPONS

SITES = ("calm_street", "busy_street", "square", "park", "schoolyard", "bus_station", "harbour")  # PLACES outdoors
HALF_M, APART_M = 100.0, 50.0  # devices stand in a square of twice this, so far apart at least
AROUND_M, NEAR_M = 50.0, 10.0  # beyond that square sources may be, and no gun is nearer to a device
SPREAD_DB = 4.0  # of each device's bed around the site's level, either way
ORIGIN = (47.0, 8.0)  # degrees, where the middle of the square lies
STREET_S, STREET, GUN_S = 36, {"firework": (2, 9), "door_slam": (10, 14)}, (14, 34)  # between these times each begins
COLLAR_S = 0.2  # an onset this close to a shot's is of it


@dataclass(frozen=True)
class World:
    """What a site's devices record, int16 [shape=(devices, n)], and where they stand, m [shape=(devices, 2)].

    `onset_s` [shape=(shots, devices)] is when each shot first arrives at each device, and `firing` [shape=(shots,)] of
    which firing it is. `snr_db` [shape=(firings, devices)] is the peak SNR of a firing's loudest shot.
    """

    pcm: np.ndarray
    place: np.ndarray
    onset_s: np.ndarray
    firing: np.ndarray
    snr_db: np.ndarray


@dataclass(frozen=True)
class _Site:
    place: np.ndarray
    scene: str
    air: Air
    sr: int

    def way_m(self, source: np.ndarray) -> np.ndarray:
        """Return how far each device is from a source [shape=(2,)], m [shape=(devices,)]."""
        return np.linalg.norm(self.place - source, axis=1)

    def wet(self, rng: Generator, paths: list[tuple[np.ndarray, float]]) -> np.ndarray:
        """Return the sum of dry sources, each from so many m away [shape=(m,)]."""
        scene = SCENES[self.scene]
        parts = [
            signal.oaconvolve(dry.astype(np.float32), impulse_response(rng, scene, way_m, self.sr, self.air))
            for dry, way_m in paths
        ]
        y = np.zeros(max(map(len, parts)), np.float32)
        for part in parts:
            add(y, part, 0)
        return y


def render(seed: int, index: int, kind: str, *, devices: int, sr: int, world_s: float, events_per_min: float) -> World:
    """Return world `index` of a kind, one of KINDS; the same for the same arguments.

    Each device has a bed and a microphone of its own; what happens is heard by all that it reaches. Hard negatives come
    as in streams, all kinds in turn; those that sound at a microphone itself, at one device alone.
    """
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r} must be one of {', '.join(KINDS)}")
    rng = seeds.generator(seed, f"worlds/{kind}/{index}")
    site, y = _beds(rng, SITES[index % len(SITES)], devices, int(world_s * sr), sr)
    for label in turns(seed, "worlds", kind, index, events_per_min * world_s / 60):
        _event(rng, site, label, y)
    return _recorded(rng, site, y, _shots(rng, site, index, y) if kind == "shots" else [])


def street(seed: int, *, devices: int, sr: int) -> World:
    """Return a calm street: fireworks, a door, and then a gun, which may fire more than once."""
    rng = seeds.generator(seed, "worlds/street")
    site, y = _beds(rng, "calm_street", devices, STREET_S * sr, sr)
    for label, (start_s, stop_s) in STREET.items():
        _event(rng, site, label, y[:, start_s * sr : stop_s * sr])
    rows = _shots(rng, site, 0, y[:, GUN_S[0] * sr : GUN_S[1] * sr])
    return _recorded(rng, site, y, [(onset_s + GUN_S[0], snr_db) for onset_s, snr_db in rows])


def _beds(rng: Generator, where: str, devices: int, n: int, sr: int) -> tuple[_Site, np.ndarray]:
    """Return where devices stand, and what goes on sounding at each [shape=(devices, n)], Pa."""
    place = PLACES[where]
    site = _Site(_ground(rng, devices), str(rng.choice(place.scenes)), weather(rng), sr)
    names, level_db = place.draw(rng), uniform(rng, place.level_db)
    beds = [place.bed(rng, n, sr, names, level_db + uniform(rng, (-SPREAD_DB, SPREAD_DB))) for _ in range(devices)]
    return site, np.stack(beds).astype(np.float32)


def _recorded(rng: Generator, site: _Site, y: np.ndarray, rows: list[tuple[np.ndarray, np.ndarray]]) -> World:
    """Return what devices record of `y` [shape=(devices, n)], Pa, in which the firings `rows` are."""
    pcm = np.stack([Device.draw(rng, site.sr).record(rng, one, site.sr) for one in y])
    onset_s = [row[0] for row in rows]
    firing = np.repeat(np.arange(len(rows)), [len(each) for each in onset_s]).astype(int)
    snr_db = np.reshape([row[1] for row in rows], (len(rows), len(y)))
    return World(pcm, site.place, np.concatenate([*onset_s, np.zeros((0, len(y)))]), firing, snr_db)


def _ground(rng: Generator, devices: int) -> np.ndarray:
    while True:
        place = rng.uniform(-HALF_M, HALF_M, (devices, 2))
        apart = np.linalg.norm(place[:, None] - place, axis=2) + np.diag(np.full(devices, np.inf))
        if apart.min() >= APART_M:
            return place


def _source(rng: Generator, site: _Site, nearest: float) -> np.ndarray:
    """Return where something sounds [shape=(2,)], m, no nearer than that to any device."""
    half = HALF_M + max(AROUND_M, nearest)
    while True:
        at = rng.uniform(-half, half, 2)
        if site.way_m(at).min() >= nearest:
            return at


def _event(rng: Generator, site: _Site, label: str, y: np.ndarray) -> None:
    """Let a bout of one kind of event sound at each device that it reaches, in `y` [shape=(devices, n)], Pa."""
    event, sr = EVENTS[label], site.sr
    dry, starts = events.bout(rng, event, int(uniform(rng, BOUT_S) * sr), sr)
    dry, at = dry[starts[0] :], int(rng.integers(0, y.shape[1]))
    if event.contact:
        add(y[rng.integers(len(y))], dry.astype(np.float32), at)
        return
    way_m = site.way_m(_source(rng, site, nearest_m(label)))
    for one, far_m in zip(y, way_m.tolist(), strict=True):
        late = at + int(far_m / site.air.speed * sr)
        if far_m <= SCENES[site.scene].reach_m and late < len(one):
            add(one, site.wet(rng, [(dry, far_m)]), late)


def _shots(rng: Generator, site: _Site, index: int, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Let guns fire in `y` [shape=(devices, n)], Pa; return of each firing the onsets [shape=(shots, devices)] in s and
    the peak SNR [shape=(devices,)].
    """
    rest, rows, at_s = y.copy(), [], uniform(rng, FIRST_S)
    while at_s + FIRING_S + 2 < y.shape[1] / site.sr:
        name, at = gunfire.weapon(rng, index + len(rows)), _source(rng, site, NEAR_M)
        pattern, fired_s = shots.firing(rng, WEAPONS[name], FIRING_S)
        fired_s, gains = fired_s - fired_s[0], 10 ** (rng.normal(0, 0.7, len(fired_s)) / 20)
        gun, line_of_fire = int(rng.integers(2**32)), rng.uniform(-np.pi, np.pi)
        onset_s, snr_db = np.zeros((len(fired_s), len(y))), np.zeros(len(y))
        for i, way_m in enumerate(site.way_m(at).tolist()):
            east, north = site.place[i] - at
            angle = float(abs(np.angle(np.exp(1j * (np.arctan2(north, east) - line_of_fire)))))
            # The same gun for each device: only what its place changes differs.
            shot = shots.shot(np.random.default_rng(gun), WEAPONS[name], way_m, site.sr, air=site.air, angle=angle)
            onset_s[:, i] = at_s + way_m / site.air.speed - shot.lead_s + fired_s
            first = int(onset_s[0, i] * site.sr)
            arrivals_s = onset_s[:, i] - first / site.sr
            heard = gunfire.Gunfire(name, way_m, shot, pattern, arrivals_s, gains)
            wet = site.wet(rng, heard.paths(int((arrivals_s[-1] + shot.lead_s + 0.2) * site.sr), site.sr))
            snr_db[i] = peak_snr_db(wet, rest[i], first, site.sr)
            add(y[i], wet, first)
        rows.append((onset_s, snr_db))
        at_s += fired_s[-1] + uniform(rng, GAP_S)
    return rows


class Incident(NamedTuple):
    """What one device heard, as `fusion.groups` takes it; `onset_s` [shape=(onsets,)] in s."""

    device: int
    earliest_us: int
    latest_us: int
    latitude: float
    longitude: float
    onset_s: np.ndarray


def hear(world: World, model: Model, logits: Sequence[float], p: listener.Sections) -> list[list[Incident]]:
    """Return the incidents of all devices at each mean logit."""
    out: list[list[Incident]] = [[] for _ in logits]
    stands = plane.degrees(world.place, origin=ORIGIN)
    for device, (pcm, stand) in enumerate(zip(world.pcm, stands.tolist(), strict=True)):
        ear = listener.Listener(model, logits, p)
        pushed, ended = ear.push(pcm)[0], ear.finish()[0]
        for incidents, *parts in zip(out, pushed, ended, strict=True):
            rows = np.concatenate(parts)
            onset_s, which = ear.times(rows)[0], rows[:, detector.WHICH]
            for own_s in (onset_s[which == number] for number in np.unique(which)):
                first_us, last_us = (int(1e6 * one_s) for one_s in (own_s.min(), own_s.max()))
                incidents.append(Incident(device, first_us, last_us, *stand, own_s))
    return out


def raised(world: World, incidents: Sequence[Incident], *, needed: int) -> tuple[int, set[int]]:
    """Return how many cases of `needed` devices or more hold no shot, and which firings the others hold."""
    false, hits = 0, set()
    for group in fusion.groups(list(incidents)):
        if len({each.device for each in group}) >= needed:
            firings = set().union(*(_firings(world, each) for each in group))
            false += not firings
            hits |= firings
    return false, hits


def _firings(world: World, incident: Incident) -> set[int]:
    near = np.abs(world.onset_s[:, incident.device, None] - incident.onset_s) <= COLLAR_S
    return set(world.firing[near.any(axis=1)].tolist())
