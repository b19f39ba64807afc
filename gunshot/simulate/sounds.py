"""Short sounds that are no shot, dry, as a `Generator` draws them: blasts, struck bodies, voices, faults."""

import numpy as np
from numpy.random import Generator
from scipy import signal

from gunshot.simulate.physics import friedlander, n_wave
from gunshot.simulate.signals import (
    add,
    burst,
    db,
    drift,
    envelope,
    log_uniform,
    modes,
    noise,
    tone,
    uniform,
    unit_peak,
    voice,
)
from gunshot.simulate.textures import texture


def _struck(rng: Generator, sr: int, *, low_hz, decay_s, click: float, count=(3, 12), spread=(1, 4)) -> np.ndarray:
    """Return a struck body: the contact's noise and the body's modes."""
    y = modes(rng, sr, low_hz=log_uniform(rng, low_hz), count=int(rng.integers(*count)), spread=uniform(rng, spread),
              decay_s=log_uniform(rng, decay_s))  # fmt: skip
    hit = burst(rng, sr, attack_s=0.0003, decay_s=log_uniform(rng, (0.0008, 0.012)), slope_db=uniform(rng, (-6, 2)),
                band=(log_uniform(rng, (80, 1500)), 8000))  # fmt: skip
    y = np.r_[y, np.zeros(max(0, len(hit) - len(y)))]
    add(y, hit, 0, click * log_uniform(rng, (0.3, 3)))
    return y


def _clatter(rng: Generator, sr: int, hits: list[np.ndarray], span_s: float) -> np.ndarray:
    """Return hits that follow each other within `span_s`."""
    y = np.zeros(int(span_s * sr) + max(map(len, hits)))
    for k, hit in enumerate(hits):
        add(y, hit, int(k > 0) * int(sr * span_s * rng.random()), log_uniform(rng, (0.1, 1)))
    return y


def firework(rng: Generator, sr: int) -> np.ndarray:
    """A shell bursts: a long soft blast, before it at times a whistle, after it at times a crackle."""
    t = np.arange(int(0.3 * sr)) / sr
    y = friedlander(t, peak=1, positive_s=log_uniform(rng, (0.003, 0.02)), decay=uniform(rng, (0.5, 1.5)))
    add(y, burst(rng, sr, attack_s=0.002, decay_s=0.04, band=(60, 2000)), 0, log_uniform(rng, (0.05, 0.6)))
    whistle, crackle = np.zeros(0), np.zeros(0)
    if rng.random() < 0.35:
        x = np.linspace(0, 1, int(sr * uniform(rng, (0.3, 1.2))))
        f = log_uniform(rng, (800, 3500)) * 2 ** (uniform(rng, (-1, 0.5)) * x)
        whistle = uniform(rng, (0.05, 0.5)) * tone(f, sr, np.array([1, 0.3])) * np.sin(np.pi * x)
    if rng.random() < 0.5:
        snaps = [burst(rng, sr, attack_s=0.0002, decay_s=0.003, band=(800, 8000)) for _ in range(rng.integers(5, 40))]
        crackle = uniform(rng, (0.1, 0.8)) * _clatter(rng, sr, snaps, uniform(rng, (0.3, 1.5)))
    return np.r_[whistle, y, crackle]


def banger(rng: Generator, sr: int) -> np.ndarray:
    """A firecracker: a short blast, little powder, paper that tears."""
    y = friedlander(np.arange(int(0.05 * sr)) / sr, peak=1, positive_s=log_uniform(rng, (0.0002, 0.0015)), decay=1)
    paper = burst(rng, sr, attack_s=0.0005, decay_s=log_uniform(rng, (0.001, 0.01)), band=(800, 8000), slope_db=0)
    add(y, paper, 0, log_uniform(rng, (0.02, 0.5)))
    return y


def thunder(rng: Generator, sr: int) -> np.ndarray:
    """Claps that roll: low noise under a ragged envelope."""
    n = int(sr * uniform(rng, (0.8, 3)))
    ragged = np.exp(drift(rng, n, sr, rate_hz=log_uniform(rng, (4, 40)), depth=1))
    y = noise(rng, n, sr, slope_db=uniform(rng, (-9, -3)), band=(20, log_uniform(rng, (100, 2500)))) * ragged
    return y * envelope(n, sr, attack_s=log_uniform(rng, (0.01, 0.4)), decay_s=uniform(rng, (0.3, 1)))


def explosion(rng: Generator, sr: int) -> np.ndarray:
    """A distant blast or a demolition: a slow wave, then rumble and debris."""
    t = np.arange(int(sr * 1.5)) / sr
    y = friedlander(t, peak=1, positive_s=log_uniform(rng, (0.02, 0.08)), decay=1)
    rumble = burst(rng, sr, attack_s=uniform(rng, (0.02, 0.2)), decay_s=uniform(rng, (0.2, 0.6)), band=(20, 300))
    add(y, rumble, 0, log_uniform(rng, (0.5, 4)))
    return y


def clap(rng: Generator, sr: int) -> np.ndarray:
    """One pair of hands: a short noise with a resonance between the palms."""
    f = log_uniform(rng, (600, 2800))
    return burst(rng, sr, attack_s=0.0006, decay_s=log_uniform(rng, (0.002, 0.012)), band=(f / 2, f * 2.5), slope_db=0)


def balloon(rng: Generator, sr: int) -> np.ndarray:
    """A balloon pops: an N-wave with as long a period as the balloon is wide, and rubber's noise."""
    t = np.arange(int(0.02 * sr)) / sr
    y = friedlander(t, peak=1, positive_s=log_uniform(rng, (0.0003, 0.0012)), decay=0.3)
    add(y, burst(rng, sr, attack_s=0.001, decay_s=0.0025, band=(500, 8000)), 0, uniform(rng, (0.05, 0.4)))
    return y


def bag(rng: Generator, sr: int) -> np.ndarray:
    """A paper or plastic bag is burst: a slower pulse than a balloon's, and much rustle."""
    y = friedlander(np.arange(int(0.05 * sr)) / sr, peak=1, positive_s=log_uniform(rng, (0.0008, 0.004)), decay=0.5)
    rustle = burst(rng, sr, attack_s=0.001, decay_s=log_uniform(rng, (0.004, 0.04)), band=(700, 8000), slope_db=0)
    add(y, rustle, 0, log_uniform(rng, (0.05, 0.6)))
    return y


def whip(rng: Generator, sr: int) -> np.ndarray:
    """A whip cracks: the swish of the thong, then a short N-wave of its tip and what the loop makes after it."""
    crack = n_wave(np.arange(int(0.02 * sr)) / sr, peak=1, duration_s=log_uniform(rng, (0.0001, 0.0006)))
    for _ in range(rng.integers(0, 3)):
        add(crack, crack[:64].copy(), int(sr * uniform(rng, (0.0004, 0.01))), uniform(rng, (0.1, 0.7)))
    swish = burst(rng, sr, attack_s=uniform(rng, (0.03, 0.15)), decay_s=0.01, band=(500, 6000), slope_db=0)
    return np.r_[log_uniform(rng, (0.003, 0.1)) * swish, crack]


def backfire(rng: Generator, sr: int) -> np.ndarray:
    """A car's exhaust: a soft pulse through a pipe."""
    return np.convolve(
        friedlander(np.arange(600) / sr, peak=1, positive_s=log_uniform(rng, (0.002, 0.01)), decay=1),
        modes(rng, sr, low_hz=log_uniform(rng, (60, 250)), count=6, spread=3, decay_s=log_uniform(rng, (0.01, 0.06))),
    )


def handling(rng: Generator, sr: int) -> np.ndarray:
    """A gun or a tool in the hand: clicks, springs and slides of small metal parts."""
    parts = [_struck(rng, sr, low_hz=(700, 5000), decay_s=(0.001, 0.03), click=1.0) for _ in range(rng.integers(1, 6))]
    y = _clatter(rng, sr, parts, log_uniform(rng, (0.02, 0.25)))
    slide = burst(rng, sr, attack_s=uniform(rng, (0.01, 0.08)), decay_s=uniform(rng, (0.01, 0.05)),
                  band=(log_uniform(rng, (500, 3000)), 8000), slope_db=0)  # fmt: skip
    if rng.random() < 0.6:
        add(y, slide, int(rng.integers(0, len(y))), log_uniform(rng, (0.03, 0.5)))
    return y


def door(rng: Generator, sr: int) -> np.ndarray:
    """A door slams: a big low body, the latch before it."""
    y = _struck(rng, sr, low_hz=(45, 220), decay_s=(0.03, 0.15), click=0.6, spread=(2, 5))
    latch = _struck(rng, sr, low_hz=(600, 2500), decay_s=(0.003, 0.02), click=1.0)
    return np.r_[latch[:2000] * log_uniform(rng, (0.02, 0.4)), np.zeros(int(sr * uniform(rng, (0, 0.05)))), y]


def knock(rng: Generator, sr: int) -> np.ndarray:
    """Knuckles on wood, chalk on a board, a box put down."""
    return _struck(rng, sr, low_hz=(90, 900), decay_s=(0.006, 0.05), click=0.8)


def hammer(rng: Generator, sr: int) -> np.ndarray:
    """A hammer on nail, wood or steel."""
    return _struck(rng, sr, low_hz=(200, 3000), decay_s=(0.005, 0.2), click=1.2)


def nail_gun(rng: Generator, sr: int) -> np.ndarray:
    """A nail gun: the piston's blow, the wood, then air that leaves the cylinder."""
    y = _struck(rng, sr, low_hz=(150, 2500), decay_s=(0.003, 0.03), click=1.5)
    hiss = burst(rng, sr, attack_s=uniform(rng, (0.002, 0.02)), decay_s=log_uniform(rng, (0.01, 0.08)), slope_db=0,
                 band=(log_uniform(rng, (500, 3000)), 8000))  # fmt: skip
    y = np.r_[y, np.zeros(len(hiss))]
    add(y, hiss, int(sr * uniform(rng, (0.001, 0.02))), log_uniform(rng, (0.05, 0.8)))
    return y


def plank(rng: Generator, sr: int) -> np.ndarray:
    """A plank, a book or a box slaps flat on the ground."""
    return _struck(rng, sr, low_hz=(50, 500), decay_s=(0.005, 0.04), click=2.0, spread=(2, 5))


def tray(rng: Generator, sr: int) -> np.ndarray:
    """A tray of dishes falls: many ringing bodies at once."""
    hits = [_struck(rng, sr, low_hz=(300, 4000), decay_s=(0.01, 0.25), click=0.8) for _ in range(rng.integers(3, 12))]
    return _clatter(rng, sr, hits, uniform(rng, (0.1, 0.8)))


def dropped(rng: Generator, sr: int) -> np.ndarray:
    """Something falls and bounces, each bounce sooner and softer: a plate, a tool, a cartridge case."""
    hit = _struck(rng, sr, low_hz=(120, 5000), decay_s=(0.005, 0.2), click=0.7)
    gap, loss = uniform(rng, (0.08, 0.35)), uniform(rng, (0.45, 0.8))
    y = np.zeros(int(sr * gap * 3) + len(hit))
    for k, at in enumerate(np.r_[0.0, np.cumsum(gap * loss ** np.arange(rng.integers(1, 7)))]):
        add(y, hit, min(len(y), int(at * sr)), loss ** (1.5 * k))
    return y


def glass(rng: Generator, sr: int) -> np.ndarray:
    """Glass breaks: a crack, then many ringing shards."""
    count = int(rng.integers(6, 20))
    shards = [_struck(rng, sr, low_hz=(1500, 6500), decay_s=(0.005, 0.08), click=0.2) for _ in range(count)]
    crack = burst(rng, sr, attack_s=0.0003, decay_s=uniform(rng, (0.005, 0.04)), band=(400, 8000), slope_db=0)
    return _clatter(rng, sr, [crack, *shards], uniform(rng, (0.1, 0.7)))


def basketball(rng: Generator, sr: int) -> np.ndarray:
    """A ball bounces: a thud and the ball's ring."""
    return _struck(rng, sr, low_hz=(60, 400), decay_s=(0.02, 0.08), click=0.4, count=(2, 6))


def footstep(rng: Generator, sr: int) -> np.ndarray:
    """Heel, then sole, on anything from gravel to floorboards; or a hoof."""
    heel = _struck(rng, sr, low_hz=(60, 900), decay_s=(0.004, 0.03), click=1.0)
    sole = burst(rng, sr, attack_s=0.01, decay_s=uniform(rng, (0.01, 0.04)), band=(log_uniform(rng, (100, 2000)), 8000))
    return np.r_[heel, uniform(rng, (0, 0.6)) * sole]


def bark(rng: Generator, sr: int) -> np.ndarray:
    """A dog, and other animals that call shortly."""
    n = int(sr * log_uniform(rng, (0.07, 0.35)))
    y = voice(rng, n, sr, f0_hz=log_uniform(rng, (150, 1000)), glide=0.6, breath=log_uniform(rng, (0.05, 2)),
              tract=uniform(rng, (0.9, 2)))  # fmt: skip
    return np.tanh(y * log_uniform(rng, (1, 6))) * np.sin(np.pi * np.linspace(0, 1, n) ** uniform(rng, (0.3, 0.8)))


def cry(rng: Generator, sr: int) -> np.ndarray:
    """A baby, a rooster, a cat, a cow: a long call with a gliding pitch."""
    n = int(sr * log_uniform(rng, (0.25, 1.5)))
    y = voice(rng, n, sr, f0_hz=log_uniform(rng, (80, 900)), glide=uniform(rng, (0.1, 1)),
              breath=log_uniform(rng, (0.02, 0.5)), tract=uniform(rng, (1.1, 1.8)))  # fmt: skip
    return np.tanh(y * log_uniform(rng, (1, 8))) * np.sin(np.pi * np.linspace(0, 1, n)) ** uniform(rng, (0.1, 0.6))


def speech(rng: Generator, sr: int) -> np.ndarray:
    """A syllable: at times a stop or a hiss, then a vowel."""
    n = int(sr * uniform(rng, (0.08, 0.35)))
    vowel = voice(rng, n, sr, f0_hz=log_uniform(rng, (80, 320)), glide=0.3, breath=0.1, tract=uniform(rng, (0.9, 1.4)))
    vowel *= np.sin(np.pi * np.linspace(0, 1, n)) ** 0.5
    onset = burst(rng, sr, attack_s=log_uniform(rng, (0.0005, 0.05)), decay_s=log_uniform(rng, (0.003, 0.05)),
                  band=(log_uniform(rng, (300, 4000)), 8000), slope_db=0)  # fmt: skip
    return np.r_[log_uniform(rng, (0.02, 0.7)) * onset, vowel]


def sneeze(rng: Generator, sr: int) -> np.ndarray:
    """A sneeze or a cough: a burst of breath through the mouth, a voiced end."""
    n = int(sr * uniform(rng, (0.15, 0.5)))
    y = voice(rng, n, sr, f0_hz=log_uniform(rng, (120, 450)), glide=0.5, breath=log_uniform(rng, (0.5, 6)),
              tract=uniform(rng, (0.9, 1.5)))  # fmt: skip
    hiss = noise(rng, n, sr, band=(log_uniform(rng, (400, 2500)), 8000))
    y += log_uniform(rng, (0.03, 0.5)) * hiss
    return y * envelope(n, sr, attack_s=log_uniform(rng, (0.003, 0.05)), decay_s=uniform(rng, (0.04, 0.15)))


def horn(rng: Generator, sr: int) -> np.ndarray:
    """A car horn, a whistle, a beep, a bell."""
    n, x = int(sr * log_uniform(rng, (0.08, 1.2))), uniform(rng, (1.18, 1.34))
    f = np.full(n, log_uniform(rng, (250, 3500)))
    gains = rng.random(14) * np.arange(1, 15) ** -uniform(rng, (0, 2))
    y = tone(f, sr, gains) + rng.integers(0, 2) * tone(f * x, sr, gains)
    y *= envelope(n, sr, attack_s=log_uniform(rng, (0.001, 0.03)), decay_s=log_uniform(rng, (0.1, 10)))
    y[-80:] *= np.linspace(1, 0, 80)
    return y


def jack(rng: Generator, sr: int) -> np.ndarray:
    """One blow of a jackhammer, a rattle, a machine."""
    return _struck(rng, sr, low_hz=(60, 1200), decay_s=(0.003, 0.03), click=1.5)


def tick(rng: Generator, sr: int) -> np.ndarray:
    """A clock, a key, a mouse: a very short knock."""
    return _struck(rng, sr, low_hz=(800, 6000), decay_s=(0.0008, 0.012), click=1.0)


def plosive(rng: Generator, sr: int) -> np.ndarray:
    """Breath on the microphone: a thump with no treble."""
    return burst(rng, sr, attack_s=log_uniform(rng, (0.003, 0.03)), decay_s=log_uniform(rng, (0.01, 0.08)), slope_db=-6,
                 band=(15, log_uniform(rng, (60, 500))))  # fmt: skip


def gust(rng: Generator, sr: int) -> np.ndarray:
    """A gust of wind on the microphone."""
    return burst(rng, sr, attack_s=log_uniform(rng, (0.02, 0.4)), decay_s=log_uniform(rng, (0.05, 0.3)), slope_db=-9,
                 band=(15, log_uniform(rng, (80, 1500))))  # fmt: skip


def bump(rng: Generator, sr: int) -> np.ndarray:
    """A knock on the microphone or its stand."""
    return _struck(rng, sr, low_hz=(25, 300), decay_s=(0.01, 0.12), click=0.3, count=(1, 5))


def click(rng: Generator, sr: int) -> np.ndarray:
    """A plug, a switch, a lost sample: a step or a spike without any room."""
    y = np.zeros(int(sr * 0.05))
    y[: rng.integers(1, 40)] = 1.0
    pole = np.exp(-1 / (sr * log_uniform(rng, (0.0002, 0.02))))
    return unit_peak(signal.lfilter([1, -1], [1, -pole], y) + db(-60) * rng.standard_normal(len(y)))


def drum(rng: Generator, sr: int) -> np.ndarray:
    """A drum: a skin whose pitch falls after the stroke, the stick, at times snares or a cymbal's hiss."""
    f0, decay_s = log_uniform(rng, (35, 450)), log_uniform(rng, (0.02, 0.35))
    t = np.arange(int(6 * decay_s * sr)) / sr
    fall = 1 + uniform(rng, (0, 1.5)) * np.exp(-t / log_uniform(rng, (0.004, 0.05)))
    y = np.zeros(len(t))
    for ratio in (1, 1.59, 2.14, 2.3, 2.65)[: rng.integers(1, 6)]:  # of an ideal membrane
        y += rng.random() * np.sin(2 * np.pi * np.cumsum(ratio * f0 * fall) / sr) * np.exp(-t / decay_s * ratio**0.5)
    y = unit_peak(y)
    stick = burst(rng, sr, attack_s=0.0003, decay_s=log_uniform(rng, (0.0008, 0.01)), band=(300, 8000), slope_db=-2)
    add(y, stick, 0, log_uniform(rng, (0.05, 1)))
    if rng.random() < 0.6:
        hiss = burst(rng, sr, attack_s=log_uniform(rng, (0.0003, 0.004)), decay_s=log_uniform(rng, (0.01, 0.3)),
                     band=(log_uniform(rng, (200, 4000)), 8000), slope_db=uniform(rng, (-3, 3)))  # fmt: skip
        y = np.r_[y, np.zeros(max(0, len(hiss) - len(y)))]
        add(y, hiss, 0, log_uniform(rng, (0.1, 3)))
    return y


def laugh(rng: Generator, sr: int) -> np.ndarray:
    """A laugh or a fit of coughs: a few short breathy syllables, each softer."""
    f0, tract, gap = log_uniform(rng, (110, 500)), uniform(rng, (0.9, 1.5)), log_uniform(rng, (0.12, 0.3))
    breath, y = log_uniform(rng, (0.1, 5)), np.zeros(int(sr * 2))
    for k in range(rng.integers(2, 8)):
        n = int(sr * gap * uniform(rng, (0.3, 0.8)))
        x = voice(rng, n, sr, f0_hz=f0 * 2 ** uniform(rng, (-0.2, 0.2)), glide=0.3, breath=breath, tract=tract)
        x *= envelope(n, sr, attack_s=log_uniform(rng, (0.002, 0.03)), decay_s=uniform(rng, (0.03, 0.12)))
        add(y, unit_peak(x), int(sr * gap * k), uniform(rng, (0.5, 0.95)) ** k)
    return y


def wheels(rng: Generator, sr: int) -> np.ndarray:
    """Wheels over a joint of rails or a sill, a lorry's empty body: two or four heavy blows, and rattle."""
    blow = _struck(rng, sr, low_hz=(60, 900), decay_s=(0.01, 0.2), click=1.0, spread=(2, 5))
    y, gap = np.zeros(int(sr * 1.2)), log_uniform(rng, (0.05, 0.4))
    for k in range(2 * int(rng.integers(1, 3))):
        add(y, blow, int(sr * gap * (k % 2 + 2.5 * (k // 2))), uniform(rng, (0.5, 1)))
    rattle = burst(
        rng, sr, attack_s=0.01, decay_s=uniform(rng, (0.05, 0.2)), band=(log_uniform(rng, (200, 3000)), 8000)
    )
    add(y, rattle, 0, log_uniform(rng, (0.03, 0.5)))
    return y


def splash(rng: Generator, sr: int) -> np.ndarray:
    """Something falls into water, a wave breaks: a slap, then spray and bubbles."""
    slap = burst(rng, sr, attack_s=log_uniform(rng, (0.001, 0.03)), decay_s=log_uniform(rng, (0.01, 0.1)),
                 band=(log_uniform(rng, (60, 600)), 8000), slope_db=uniform(rng, (-5, 0)))  # fmt: skip
    spray = burst(rng, sr, attack_s=uniform(rng, (0.02, 0.15)), decay_s=uniform(rng, (0.05, 0.2)),
                  band=(log_uniform(rng, (500, 3000)), 8000), slope_db=uniform(rng, (-2, 2)))  # fmt: skip
    y = np.r_[slap, np.zeros(len(spray))]
    add(y, spray, 0, log_uniform(rng, (0.1, 1)))
    drops = [modes(rng, sr, low_hz=log_uniform(rng, (300, 3000)), count=1, spread=0, decay_s=0.012) for _ in range(4)]
    add(y, _clatter(rng, sr, drops, uniform(rng, (0.1, 0.4))), int(0.05 * sr), log_uniform(rng, (0.02, 0.3)))
    return y


def grain(rng: Generator, sr: int) -> np.ndarray:
    """Any short sound that is no blast: noise, tones, pulses and struck bodies, each under an envelope of its own."""
    n = int(sr * log_uniform(rng, (0.03, 0.7)))
    y = np.zeros(n)
    for _ in range(rng.integers(1, 4)):
        low, fastest_s = log_uniform(rng, (80, 3500)), 0.0005
        match rng.integers(6):
            case 4 | 5:
                fastest_s = 0.002
                x = texture(rng, n, sr)
            case 0:
                fastest_s = 0.004  # faster, it would be a blast
                x = noise(rng, n, sr, slope_db=uniform(rng, (-6, 6)), band=(low, low * 2 ** uniform(rng, (0.2, 4))))
            case 1:
                f = log_uniform(rng, (70, 2500)) * 2 ** (
                    uniform(rng, (-1, 1)) * np.linspace(0, 1, n)
                    + drift(rng, n, sr, rate_hz=15, depth=uniform(rng, (0, 0.2)))
                )
                x = tone(f, sr, rng.random(16) * np.arange(1, 17) ** -uniform(rng, (0, 2)))
            case 2:
                pulses = np.zeros(n)
                pulses[:: max(2, int(sr / log_uniform(rng, (12, 300))))] = 1.0
                body = _struck(rng, sr, low_hz=(100, 4000), decay_s=(0.001, 0.02), click=uniform(rng, (0, 1)))
                x = signal.oaconvolve(pulses, body)[:n]
            case _:
                body = _struck(rng, sr, low_hz=(80, 4000), decay_s=(0.01, 0.3), click=uniform(rng, (0, 0.5)))
                x = np.r_[body, np.zeros(max(0, n - len(body)))][:n]
        shape = envelope(n, sr, attack_s=log_uniform(rng, (fastest_s, 0.15)), decay_s=log_uniform(rng, (0.004, 0.5)))
        y += log_uniform(rng, (0.2, 1)) * unit_peak(x * shape)
    if rng.random() < 0.3:
        y = np.tanh(unit_peak(y) * log_uniform(rng, (1, 10)))
    y[-64:] *= np.linspace(1, 0, 64)
    return y
