"""From a source to a recording: the scene it sounds in, the microphone that hears it. The same for both classes."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy import signal

from gunshot import audio
from gunshot.simulate import physics
from gunshot.simulate.signals import add, burst, db, log_uniform, minimum_phase, noise, uniform, unit_peak

OVERSAMPLING = 4


@dataclass(frozen=True)
class Scene:
    """A place. Delays are after the direct sound; `tail_db` is the diffuse sound's energy at the place's own radius."""

    kind: str
    echoes: tuple[float, float]  # how many discrete reflections
    spread_s: tuple[float, float]  # within which they arrive
    reflectivity: tuple[float, float]
    rt60_s: tuple[float, float]
    tail_db: tuple[float, float]
    build_s: tuple[float, float]  # time that the diffuse sound takes to build up
    radius_m: float  # where direct and diffuse sound meet
    resistivity: tuple[float, float]  # of the ground to flow, kPa s/m^2


SCENES = (
    Scene("field", (0, 4), (0.1, 0.9), (0.02, 0.2), (0.5, 2.5), (-40, -8), (0.01, 0.15), 150, (50, 2000)),
    Scene("street", (6, 30), (0.04, 0.4), (0.3, 0.85), (0.5, 2.5), (-20, 2), (0.005, 0.05), 30, (5000, 30_000)),
    Scene("forest", (30, 120), (0.08, 0.4), (0.02, 0.2), (0.6, 2.2), (-20, 2), (0.01, 0.1), 40, (10, 300)),
    Scene("room", (8, 40), (0.008, 0.06), (0.3, 0.9), (0.15, 1.3), (-14, 6), (0.0, 0.005), 3, (5000, 200_000)),
    Scene("yard", (3, 12), (0.02, 0.2), (0.2, 0.8), (0.3, 1.5), (-30, -3), (0.005, 0.04), 40, (500, 30_000)),
)


def _path_filter(rng: Generator, distance_m: float, sr: int, air: physics.Air, *, clear: bool) -> np.ndarray:
    f = np.linspace(0, sr / 2, _bins(sr))
    gain_db = -physics.absorption_db(f, distance_m, air)
    if (
        not clear and rng.random() < 0.35
    ):  # no line of sight: treble is lost around corners, 25 dB at most (Maekawa 1968)
        slope = uniform(rng, (0.5, 2))
        gain_db -= np.minimum(25, 10 * slope * np.log10(1 + (f / log_uniform(rng, (300, 4000))) ** 2))
    return minimum_phase(gain_db)


def _bins(sr: int) -> int:
    return 1 + 512 * sr // 16_000


def _ground(rng: Generator, scene: Scene, distance_m: float, sr: int, air: physics.Air) -> np.ndarray:
    """Return the ground's reflection [shape=(n,)] relative to the direct sound."""
    heights = {"source_m": uniform(rng, (0.5, 2.0)), "microphone_m": log_uniform(rng, (0.3, 10.0))}
    f = np.linspace(0, sr / 2, _bins(sr))
    resistivity = log_uniform(rng, scene.resistivity)
    return physics.delayed(*physics.ground(f, distance_m=distance_m, resistivity=resistivity, air=air, **heights), sr)


def _arrivals(rng: Generator, scene: Scene, distance_m: float, speed: float) -> tuple[np.ndarray, np.ndarray]:
    """Return delays in s and gains of direct sound and echoes, the direct sound first."""
    count = int(rng.integers(scene.echoes[0], scene.echoes[1] + 1))
    # Echo density grows with time in every scene; the square root puts fewer of them early.
    delays = uniform(rng, scene.spread_s) * np.sqrt(rng.random(count)) + 0.0005
    reflectivity = uniform(rng, scene.reflectivity)
    order = 1 + delays / max(scene.spread_s[1], 1e-3) * 2
    spreading = distance_m / (distance_m + speed * delays)
    gains = reflectivity**order * spreading**0.7 * rng.uniform(0.3, 1.0, count) * rng.choice([-1, 1, 1], count)
    return np.r_[0.0, delays], np.r_[1.0, gains]


def _tail(rng: Generator, scene: Scene, n: int, sr: int) -> np.ndarray:
    """Return diffuse sound of energy 1 [shape=(n,)]: low frequencies decay slower than high ones."""
    t = np.arange(n) / sr
    rt60 = log_uniform(rng, scene.rt60_s)
    split = log_uniform(rng, (500, 3000))
    y = noise(rng, n, sr, band=(60, split)) * 10 ** (-3 * t / rt60)
    high = noise(rng, n, sr, band=(split, 9000)) * 10 ** (-3 * t / (rt60 * uniform(rng, (0.25, 0.8))))
    y = y + uniform(rng, (0.3, 1.2)) * high
    y *= 1 - np.exp(-t / max(uniform(rng, scene.build_s), 1e-4))
    return y / np.sqrt(np.sum(y**2))


def impulse_response(rng: Generator, scene: Scene | None, distance_m: float, sr: int, air: physics.Air) -> np.ndarray:
    """Return what reaches the microphone of a click of 1 at 1 m [shape=(n,)]; sample 0 is the first arrival.

    A free field (`scene` None) spreads and absorbs, nothing else.
    """
    direct = _path_filter(rng, distance_m, sr, air, clear=scene is None) / distance_m
    if scene is None:
        return direct
    delays, gains = _arrivals(rng, scene, distance_m, air.speed)
    n = int(sr * min(1.2, 0.05 + max(delays.max(), 0.75 * scene.rt60_s[1])))
    fine = np.zeros(n * OVERSAMPLING)
    np.add.at(fine, np.minimum((delays * sr * OVERSAMPLING).astype(int), len(fine) - 1), gains)
    sos = signal.cheby2(8, 60, 0.96 * sr / 2, fs=sr * OVERSAMPLING, output="sos")
    # One impulse of the fine grid weighs OVERSAMPLING fine samples after decimation.
    early = signal.sosfilt(sos, fine)[::OVERSAMPLING] * OVERSAMPLING
    add(early, _ground(rng, scene, distance_m, sr, air), 0)
    diffuse_db = uniform(rng, scene.tail_db) + 10 * np.log10(distance_m / scene.radius_m) * uniform(rng, (0.5, 1.2))
    early += db(min(diffuse_db, 10.0)) * _tail(rng, scene, n, sr)
    # Rough ground, the body, whatever stands around: a short dense scatter in every scene.
    near = burst(rng, sr, attack_s=0.0005, decay_s=log_uniform(rng, (0.002, 0.03)), band=(100, 9000), slope_db=-1)
    add(early, near / np.sqrt(np.sum(near**2)), 0, float(db(uniform(rng, (-24, 2)))))
    return signal.oaconvolve(early, direct)[:n].astype(np.float32)


def _response(rng: Generator, sr: int) -> np.ndarray:
    """Return a drawn microphone: high-pass, tilt, resonances."""
    f = np.linspace(0, sr / 2, _bins(sr)) + 1.0
    gain_db = -10 * rng.integers(1, 4) * np.log10(1 + (log_uniform(rng, (20, 300)) / f) ** 2)
    gain_db += uniform(rng, (-2.5, 2.5)) * np.log2(np.clip(f, 100, 8000) / 1000)
    for _ in range(rng.integers(0, 4)):
        width = np.log2(f / log_uniform(rng, (100, 7500))) / uniform(rng, (0.1, 0.8))
        gain_db += uniform(rng, (-8, 10)) * np.exp(-0.5 * width**2)
    return minimum_phase(gain_db)


def _overload(rng: Generator, y: np.ndarray, sr: int) -> np.ndarray:
    """Return `y` (peak 1) after a drawn overload, hard or soft; gain riding keeps what lasts below it.

    The excess charges the coupling capacitor: the zero line is pushed away and comes back within 5 to 80 ms.
    """
    limit = max(float(db(-uniform(rng, (1, 26)))), 2 * float(np.quantile(np.abs(y[::7]), 0.9)))
    if rng.random() < 0.5:
        pole = np.exp(-1 / (sr * log_uniform(rng, (0.005, 0.08))))
        excess = np.maximum(np.abs(y) - limit, 0.0)
        pushed = signal.lfilter([1 - pole], [1, -pole], excess)
        depth = limit * log_uniform(rng, (0.05, 1)) * min(1.0, excess.max() / limit)
        y = y + rng.choice([-1, 1]) * depth * unit_peak(pushed)
    return np.clip(y, -limit, limit) if rng.random() < 0.6 else limit * np.tanh(y / limit)


def _gain_control(rng: Generator, y: np.ndarray, sr: int) -> np.ndarray:
    """Return `y` after an automatic gain that follows its level within 5 ms to 0.5 s."""
    pole = np.exp(-1 / (sr * log_uniform(rng, (0.005, 0.5))))
    level = signal.lfilter([1 - pole], [1, -pole], np.abs(y), zi=[pole * np.mean(np.abs(y[: sr // 4]))])[0]
    return y * (level + 1e-3) ** -uniform(rng, (0.1, 0.5))


def _band_limit(rng: Generator, y: np.ndarray, sr: int) -> np.ndarray:
    """Return `y` as a source of a lower rate, or a codec of a low bit rate, leaves it."""
    sos = signal.cheby2(8, uniform(rng, (30, 70)), min(log_uniform(rng, (4000, 8000)), 0.49 * sr), fs=sr, output="sos")
    y = signal.sosfilt(sos, y)
    if rng.random() < 0.25:  # 8 bits on a logarithmic scale
        y = unit_peak(y)
        y = np.sign(y) * np.expm1(np.rint(127 * np.log1p(255 * np.abs(y)) / np.log(256)) / 127 * np.log(256)) / 255
    return y


def microphone(rng: Generator, y: np.ndarray, sr: int) -> np.ndarray:
    """Return sound [shape=(n,)] in any unit as a recording, int16 [shape=(n,)].

    Response, self-noise, overload, gain control, band limit and level are drawn without regard to what sounds.
    """
    y = unit_peak(signal.oaconvolve(y, _response(rng, sr))[: len(y)])
    y = y + db(uniform(rng, (-90, -40))) * noise(rng, len(y), sr, slope_db=uniform(rng, (-4, 2)), band=(30, 9000))
    if rng.random() < 0.45:
        y = _overload(rng, unit_peak(y), sr)
    if rng.random() < 0.35:
        y = _gain_control(rng, y, sr)
    if rng.random() < 0.35:
        y = _band_limit(rng, y, sr)
    peak_db = -min(35.0, rng.exponential(12)) if rng.random() < 0.8 else 0.0
    return audio.to_int16(unit_peak(y) * db(peak_db))


def channel(
    rng: Generator,
    paths: list[tuple[np.ndarray, float]],
    contact: np.ndarray,
    bed: np.ndarray,
    onsets: np.ndarray,
    *,
    scene: Scene,
    air: physics.Air,
    sr: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what reaches the microphone of dry sources in a scene [shape=(n,)], in the sources' unit, the bed there
    [shape=(n,)], in the same, and the recording, int16 [shape=(n,)].

    Parameters
    ----------
    paths : dry sources at 1 m [shape=(n,)], and how far each comes through the scene in m
    contact : a source [shape=(n,)] at the microphone itself, outside the scene
    bed : the background [shape=(n,)]; its level is drawn
    onsets : where an event starts, in samples; each stands out from the bed by 6 dB at least
    """
    wet = unit_peak(contact)
    for dry, path_m in paths:
        if dry.any():
            wet = wet + signal.oaconvolve(dry, impulse_response(rng, scene, path_m, sr, air))[: len(dry)]
    if not len(onsets):
        return wet, bed, microphone(rng, bed, sr)
    peak = np.abs(wet).max(initial=1e-12)
    distance_m = max((path_m for _, path_m in paths), default=2.0)
    snr_db = np.clip(uniform(rng, (20, 85)) - 7 * np.log10(max(distance_m, 2) / 2), 3, 65)
    gain = peak * db(-snr_db) / max(float(np.quantile(np.abs(bed), 0.99)), 1e-12)
    near = int(0.05 * sr)
    for onset in onsets:
        level = np.abs(bed[max(0, onset - near) : onset + near]).max()
        gain = min(gain, db(-6) * np.abs(wet[onset : onset + near]).max() / max(level, 1e-12))
    return wet, gain * bed, microphone(rng, wet + gain * bed, sr)
