"""Backgrounds: what goes on sounding behind a shot, or without one."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from scipy import signal

from gunshot.simulate.signals import (
    add,
    burst,
    db,
    drift,
    envelope,
    log_uniform,
    modes,
    noise,
    swell,
    tone,
    uniform,
    unit_peak,
    unit_rms,
    voice,
)
from gunshot.simulate.textures import texture

Bed = Callable[[Generator, int, int], np.ndarray]


def _scatter(rng: Generator, n: int, sr: int, grains: list[np.ndarray], rate_hz: float, spread_db: float) -> np.ndarray:
    """Return grains at Poisson times [shape=(n,)], each with a level of its own."""
    count = int(rng.poisson(rate_hz * n / sr))
    y = np.zeros(n)
    for grain in grains:
        clicks = np.zeros(n)
        share = count // len(grains) + 1
        np.add.at(clicks, rng.integers(0, n, share), db(spread_db * rng.standard_normal(share)))
        y += signal.oaconvolve(clicks, grain)[:n]
    return y


def traffic(rng: Generator, n: int, sr: int) -> np.ndarray:
    """Far traffic and a few vehicles that pass: tyres and engine under a Lorentzian of time."""
    y = noise(rng, n, sr, slope_db=uniform(rng, (-9, -4)), band=(30, log_uniform(rng, (400, 3000))))
    t = np.arange(n) / sr
    for _ in range(rng.integers(0, 4)):
        near = 1 / (1 + ((t - uniform(rng, (-1, t[-1] + 1))) / log_uniform(rng, (0.3, 3))) ** 2)
        car = noise(rng, n, sr, slope_db=uniform(rng, (-6, -1)), band=(80, log_uniform(rng, (800, 5000))))
        y = y + log_uniform(rng, (0.5, 5)) * near * (car + uniform(rng, (0, 1)) * unit_rms(engine(rng, n, sr)))
    return y


def wind(rng: Generator, n: int, sr: int) -> np.ndarray:
    """Gusts: low noise, and leaves that follow it."""
    gust = swell(rng, n, sr, rate_hz=log_uniform(rng, (0.3, 4)), depth_db=uniform(rng, (1, 8)))
    low = noise(rng, n, sr, slope_db=uniform(rng, (-12, -5)), band=(15, log_uniform(rng, (80, 800))))
    leaves = noise(rng, n, sr, slope_db=-2, band=(log_uniform(rng, (400, 2000)), 8000))
    return low * gust + log_uniform(rng, (0.01, 1)) * leaves * gust ** uniform(rng, (0.5, 1.5))


def rain(rng: Generator, n: int, sr: int) -> np.ndarray:
    """A hiss and single drops."""
    y = noise(rng, n, sr, slope_db=uniform(rng, (-4, 2)), band=(log_uniform(rng, (100, 1500)), 9000))
    drops = [burst(rng, sr, attack_s=0.0003, decay_s=log_uniform(rng, (0.0008, 0.01)),
                   band=(log_uniform(rng, (200, 3000)), 8000)) for _ in range(3)]  # fmt: skip
    return y + log_uniform(rng, (0.3, 6)) * _scatter(rng, n, sr, drops, log_uniform(rng, (5, 400)), 6)


def fire(rng: Generator, n: int, sr: int) -> np.ndarray:
    """A fire: a low rumble and crackles of all sizes."""
    y = noise(rng, n, sr, slope_db=-6, band=(40, log_uniform(rng, (300, 3000))))
    snaps = [burst(rng, sr, attack_s=0.0001, decay_s=log_uniform(rng, (0.0005, 0.012)), slope_db=uniform(rng, (-4, 2)),
                   band=(log_uniform(rng, (200, 3000)), 8000)) for _ in range(4)]  # fmt: skip
    return y + log_uniform(rng, (1, 20)) * _scatter(rng, n, sr, snaps, log_uniform(rng, (3, 80)), 9)


def water(rng: Generator, n: int, sr: int) -> np.ndarray:
    """A stream, a tap or waves: swelling noise and bubbles."""
    swelling = swell(rng, n, sr, rate_hz=log_uniform(rng, (0.3, 12)), depth_db=uniform(rng, (0, 7)))
    y = noise(rng, n, sr, slope_db=uniform(rng, (-5, 1)), band=(log_uniform(rng, (50, 800)), 8000)) * swelling
    bubbles = [modes(rng, sr, low_hz=log_uniform(rng, (300, 3000)), count=1, spread=0, decay_s=0.012) for _ in range(4)]
    return y + log_uniform(rng, (0.05, 2)) * _scatter(rng, n, sr, bubbles, log_uniform(rng, (5, 150)), 6)


def birds(rng: Generator, n: int, sr: int) -> np.ndarray:
    """A few birds that sing chirps and trills over a faint wood."""
    y = 0.05 * noise(rng, n, sr, slope_db=-3, band=(100, 8000))
    for _ in range(rng.integers(1, 5)):
        f0, length = log_uniform(rng, (900, 6000)), int(sr * log_uniform(rng, (0.02, 0.4)))
        x = np.linspace(0, 1, length)
        curve = uniform(rng, (-0.6, 0.6)) * x + uniform(rng, (0, 0.3)) * np.sin(2 * np.pi * rng.integers(1, 12) * x)
        chirp = tone(f0 * 2**curve, sr, np.array([1, uniform(rng, (0, 0.4))])) * np.sin(np.pi * x) ** 0.7
        gap, start, gain = length * uniform(rng, (1.1, 4)), int(rng.integers(0, n)), log_uniform(rng, (0.1, 1))
        for k in range(rng.integers(1, 16)):
            add(y, chirp, min(n, int(start + k * gap)), gain)
    return y


def insects(rng: Generator, n: int, sr: int) -> np.ndarray:
    """Crickets or cicadas: a high narrow band, pulsed."""
    t, f = np.arange(n) / sr, log_uniform(rng, (2000, 7000))
    pulse = signal.square(2 * np.pi * log_uniform(rng, (8, 80)) * t, uniform(rng, (0.2, 0.8))) > 0
    chirping = (np.sin(2 * np.pi * uniform(rng, (0.5, 3)) * t) > uniform(rng, (-1, 0.6))) * pulse
    y = noise(rng, n, sr, band=(f, f * 1.1)) * (uniform(rng, (0, 0.5)) + chirping)
    return y + log_uniform(rng, (0.02, 0.5)) * noise(rng, n, sr, slope_db=-4, band=(60, 8000))


def babble(rng: Generator, n: int, sr: int) -> np.ndarray:
    """A crowd, or children: many voices at once, none to be understood."""
    y, tract, f0 = np.zeros(n), uniform(rng, (0.9, 1.5)), log_uniform(rng, (90, 350))
    for _ in range(rng.integers(3, 10)):
        speech = voice(rng, n, sr, f0_hz=f0 * log_uniform(rng, (0.7, 1.5)), glide=0.5, breath=0.2, tract=tract)
        y += speech * np.maximum(0, drift(rng, n, sr, rate_hz=uniform(rng, (5, 9)), depth=1) + 0.2)
    return unit_rms(y) + log_uniform(rng, (0.05, 0.7)) * noise(rng, n, sr, slope_db=-5, band=(80, 4000))


def hum(rng: Generator, n: int, sr: int) -> np.ndarray:
    """Mains, a fan, an air conditioner: harmonics and steady noise."""
    f = np.full(n, rng.choice([50.0, 60.0, log_uniform(rng, (20, 400))]))
    gains = rng.random(20) * np.arange(1, 21) ** -uniform(rng, (0.3, 2))
    y = noise(rng, n, sr, slope_db=uniform(rng, (-9, 0)), band=(30, log_uniform(rng, (300, 8000))))
    return y + log_uniform(rng, (0.03, 4)) * unit_rms(tone(f, sr, gains))


def engine(rng: Generator, n: int, sr: int) -> np.ndarray:
    """An engine, a rotor, a saw: pulses at a wandering rate through a resonant body."""
    f0 = log_uniform(rng, (8, 160))
    f = f0 * 2 ** (drift(rng, n, sr, rate_hz=1, depth=uniform(rng, (0, 0.2))))
    phase = np.cumsum(f) / sr
    firing = np.diff(np.floor(phase), prepend=0.0) * (1 + uniform(rng, (0, 0.5)) * rng.standard_normal(n))
    grain = burst(rng, sr, attack_s=log_uniform(rng, (0.0003, 0.01)), decay_s=log_uniform(rng, (0.15, 1.5)) / f0 / 3,
                  band=(40, log_uniform(rng, (200, 6000))))  # fmt: skip
    y = unit_rms(signal.oaconvolve(firing, grain)[:n])
    return y + log_uniform(rng, (0.05, 1)) * noise(rng, n, sr, slope_db=-4, band=(60, log_uniform(rng, (600, 8000))))


def music(rng: Generator, n: int, sr: int) -> np.ndarray:
    """Notes and chords on a beat, often with drums."""
    y, beat = np.zeros(n), int(sr * uniform(rng, (0.15, 0.6)))
    gains = rng.random(12) * np.arange(1, 13) ** -uniform(rng, (0.3, 2))
    root, decay_s, attack_s = log_uniform(rng, (60, 500)), log_uniform(rng, (0.1, 2)), log_uniform(rng, (0.002, 0.1))
    scale = root * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12, 16, 19]) / 12)
    drums = [hit for hit in (
        modes(rng, sr, low_hz=log_uniform(rng, (45, 120)), count=2, spread=1, decay_s=0.1),
        burst(rng, sr, attack_s=0.0005, decay_s=log_uniform(rng, (0.02, 0.1)), band=(300, 7000)),
        burst(rng, sr, attack_s=0.0005, decay_s=log_uniform(rng, (0.01, 0.1)), band=(3000, 8000), slope_db=3),
    ) if rng.random() < 0.5]  # fmt: skip
    length = int(min(2.0, 4 * decay_s) * sr)
    for start in range(int(rng.integers(0, beat)), n, beat):
        for _ in range(rng.integers(0, 3)):
            note = tone(np.full(length, rng.choice(scale)), sr, gains)
            add(y, note * envelope(length, sr, attack_s=attack_s, decay_s=decay_s), start)
        for hit in drums:
            if rng.random() < 0.5:
                add(y, hit, start, uniform(rng, (0.3, 2)))
    return y + 0.01 * noise(rng, n, sr, slope_db=-3, band=(50, 8000))


def siren(rng: Generator, n: int, sr: int) -> np.ndarray:
    """A siren: a rich tone that sweeps or alternates."""
    t, rate = np.arange(n) / sr, log_uniform(rng, (0.1, 5))
    sweep = rng.choice([np.sin, signal.sawtooth, signal.square])(2 * np.pi * rate * t)
    f = log_uniform(rng, (450, 1500)) * 2 ** (uniform(rng, (0.1, 0.6)) * sweep)
    y = tone(f, sr, rng.random(8) * np.arange(1, 9) ** -uniform(rng, (0.3, 2)))
    return unit_rms(y) + log_uniform(rng, (0.03, 1)) * traffic(rng, n, sr)


def pulsing(rng: Generator, n: int, sr: int) -> np.ndarray:
    """A rotor, a pump, wheels on rails, a printer: noise in pulses of one shape, more or less regular."""
    rate = log_uniform(rng, (1.5, 45))
    phase = np.cumsum(rate * 2 ** drift(rng, n, sr, rate_hz=2, depth=uniform(rng, (0, 0.25)))) / sr
    shape = np.exp(-(phase % 1) * log_uniform(rng, (0.7, 15)))
    if rng.random() < 0.4:
        shape = shape * np.minimum(1, (phase % 1) * log_uniform(rng, (4, 40)))
    low = log_uniform(rng, (30, 1500))
    y = noise(rng, n, sr, slope_db=uniform(rng, (-8, 2)), band=(low, low * 2 ** uniform(rng, (1, 6)))) * shape
    y = unit_rms(y) + log_uniform(rng, (0.03, 1)) * noise(rng, n, sr, slope_db=uniform(rng, (-6, 0)), band=(60, 8000))
    return y + uniform(rng, (0, 1)) * unit_rms(tone(np.full(n, log_uniform(rng, (40, 900))), sr, rng.random(8)))


def grinding(rng: Generator, n: int, sr: int) -> np.ndarray:
    """A drill, a saw, a grinder: a whine with harmonics in rough noise, under changing load."""
    f = log_uniform(rng, (100, 1500)) * 2 ** drift(rng, n, sr, rate_hz=2, depth=uniform(rng, (0, 0.2)))
    y = unit_rms(tone(f, sr, rng.random(16) * np.arange(1, 17) ** -uniform(rng, (0, 1.2))))
    y = y + log_uniform(rng, (0.3, 3)) * noise(rng, n, sr, slope_db=uniform(rng, (-3, 3)), band=(200, 8000))
    return y * swell(rng, n, sr, rate_hz=log_uniform(rng, (0.5, 20)), depth_db=uniform(rng, (0, 5)))


def quiet(rng: Generator, n: int, sr: int) -> np.ndarray:
    """Next to nothing: faint noise of any colour, sometimes with single ticks."""
    y = noise(rng, n, sr, slope_db=uniform(rng, (-9, 2)), band=(20, log_uniform(rng, (500, 9000))))
    tick = unit_peak(burst(rng, sr, attack_s=0.0002, decay_s=0.002, band=(500, 8000)))
    return y + uniform(rng, (0, 6)) * _scatter(rng, n, sr, [tick], 0.5, 6)


BEDS: dict[str, Bed] = {
    bed.__name__: bed
    for bed in (
        traffic,
        wind,
        rain,
        fire,
        water,
        birds,
        insects,
        babble,
        hum,
        engine,
        music,
        siren,
        grinding,
        pulsing,
        quiet,
        texture,
    )
}
