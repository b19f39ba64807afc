"""From a source to a recording: the way through air, ground and scene to the microphone. The same for both classes."""

import numpy as np
from numpy.random import Generator
from scipy import signal

from gunshot.simulate import physics
from gunshot.simulate.microphone import microphone
from gunshot.simulate.rooms import Room
from gunshot.simulate.scenes import Outdoors
from gunshot.simulate.signals import add, burst, db, log_uniform, minimum_phase, uniform


def _bins(sr: int) -> int:
    return 1 + 512 * sr // 16_000


def _direct(rng: Generator, distance_m: float, sr: int, air: physics.Air, *, hidden: bool) -> np.ndarray:
    """Return the way through the air [shape=(n,)]; where hidden, around a corner: 25 dB at most (Maekawa 1968)."""
    f = np.linspace(0, sr / 2, _bins(sr))
    gain_db = -physics.absorption_db(f, distance_m, air)
    if hidden:
        slope = uniform(rng, (0.5, 2))
        gain_db -= np.minimum(25, 10 * slope * np.log10(1 + (f / log_uniform(rng, (300, 4000))) ** 2))
    return minimum_phase(gain_db) / distance_m


def _turbulence(rng: Generator, distance_m: float, sr: int, air: physics.Air) -> np.ndarray:
    """Return what a turbulent atmosphere makes of the direct sound [shape=(n,)]: a mean field, and what it scatters."""
    f = np.linspace(0, sr / 2, _bins(sr))
    variance = physics.turbulence(
        f, distance_m, air, index=log_uniform(rng, (1e-8, 1e-5)), scale_m=log_uniform(rng, (0.3, 3))
    )
    mean = minimum_phase(-np.minimum(4.343 * variance, 60))
    decay_s = log_uniform(rng, (2e-4, 2e-3)) * np.sqrt(distance_m / 100)
    scattered = rng.standard_normal(int(5 * decay_s * sr) + 2)
    scattered *= np.exp(-np.arange(len(scattered)) / (decay_s * sr))
    lost_db = 10 * np.log10(np.maximum(-np.expm1(-variance), 1e-6))
    scattered = np.convolve(scattered / np.sqrt(np.sum(scattered**2)), minimum_phase(lost_db))
    return np.r_[mean, np.zeros(max(0, len(scattered) - len(mean)))][: len(scattered)] + scattered


def _ground(rng: Generator, scene: Outdoors, distance_m: float, sr: int, air: physics.Air) -> np.ndarray:
    """Return the ground's reflection [shape=(n,)] relative to the direct sound."""
    heights = {"source_m": uniform(rng, (0.5, 2.0)), "microphone_m": log_uniform(rng, (0.3, 10.0))}
    f = np.linspace(0, sr / 2, _bins(sr))
    resistivity = log_uniform(rng, scene.resistivity)
    return physics.delayed(*physics.ground(f, distance_m=distance_m, resistivity=resistivity, air=air, **heights), sr)


def impulse_response(
    rng: Generator, scene: Outdoors | Room | None, distance_m: float, sr: int, air: physics.Air
) -> np.ndarray:
    """Return what reaches the microphone of a click of 1 at 1 m [shape=(n,)]; sample 0 is the first arrival.

    A free field (`scene` None) spreads and absorbs, nothing else.
    """
    direct = _direct(rng, distance_m, sr, air, hidden=scene is not None and rng.random() < 0.35)
    if scene is None:
        return direct
    y = scene.response(rng, distance_m, sr, air)
    if isinstance(scene, Outdoors):
        add(y, _ground(rng, scene, distance_m, sr, air), 0)
        direct = signal.oaconvolve(direct, _turbulence(rng, distance_m, sr, air))
    # Rough ground, the body, whatever stands around: a short dense scatter in every scene.
    near = burst(rng, sr, attack_s=0.0005, decay_s=log_uniform(rng, (0.001, 0.06)), band=(100, 9000), slope_db=-1)
    add(y, near / np.sqrt(np.sum(near**2)), 0, float(db(uniform(rng, (-34, 8)))))
    return signal.oaconvolve(y, direct)[: len(y)].astype(np.float32)


def channel(
    rng: Generator,
    paths: list[tuple[np.ndarray, float]],
    contact: np.ndarray,
    bed: np.ndarray,
    onsets: np.ndarray,
    *,
    scene: Outdoors | Room | None,
    air: physics.Air,
    sr: int,
    **kind,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return what reaches the microphone of dry sources in a scene [shape=(n,)], in Pa, the bed there [shape=(n,)], in
    Pa, the recording, int16 [shape=(n,)], and each path's impulse response [shape=(m,)], 0 of what does not sound.

    Parameters
    ----------
    paths : dry sources in Pa at 1 m [shape=(n,)], and how far each comes through the scene in m
    contact : a source [shape=(n,)] at the microphone itself, outside the scene, in Pa
    bed : the background [shape=(n,)] in Pa; made softer where an event would not stand out from it by 6 dB
    onsets : where an event starts, in samples
    kind : of microphone, see `microphone`
    """
    wet, responses = contact, []
    for dry, path_m in paths:
        responses.append(impulse_response(rng, scene, path_m, sr, air) if dry.any() else np.zeros(1, np.float32))
        wet = wet + signal.oaconvolve(dry, responses[-1])[: len(dry)]
    gain, near = 1.0, int(0.05 * sr)
    for onset in onsets:
        level = np.abs(bed[max(0, onset - near) : onset + near]).max()
        gain = min(gain, db(-12) * np.abs(wet[onset : onset + near]).max() / max(level, 1e-12))
    return wet, gain * bed, microphone(rng, wet + gain * bed, sr, onsets, **kind), responses
