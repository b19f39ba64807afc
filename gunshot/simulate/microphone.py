"""From pressure to a recording: capsule, self-noise, overload, gain control, band limit, codec, level."""

import io
from dataclasses import dataclass

import numpy as np
import soundfile as sf
from numpy.random import Generator
from scipy import signal

from gunshot.base import audio
from gunshot.simulate.signals import db, log_uniform, minimum_phase, noise, uniform, unit_peak

DC_HZ = 10.0  # of a detector's converter: below, its digital high-pass takes the offset away
PASCAL = 20e-6  # of 0 dB SPL
DEVICES = 0.4  # share of recordings that a detector makes,
USABLE = (
    3e-4,
    0.4,
)  # unless what it recorded is softer than this share of full scale, or this share of it is at full scale


def _response(rng: Generator, sr: int) -> np.ndarray:
    """Return a drawn capsule and its housing: high-pass, tilt, resonances."""
    f = np.linspace(0, sr / 2, 1 + 512 * sr // 16_000) + 1.0
    gain_db = -10 * rng.integers(1, 4) * np.log10(1 + (log_uniform(rng, (20, 300)) / f) ** 2)
    gain_db += uniform(rng, (-2.5, 2.5)) * np.log2(np.clip(f, 100, 8000) / 1000)
    for _ in range(rng.integers(0, 4)):
        width = np.log2(f / log_uniform(rng, (100, 7500))) / uniform(rng, (0.1, 0.8))
        gain_db += uniform(rng, (-8, 10)) * np.exp(-0.5 * width**2)
    return minimum_phase(gain_db)


def _full_scale(rng: Generator, y: np.ndarray) -> float:
    """Return the pressure in Pa that overloads: of a MEMS microphone its acoustic overload point, else set by hand.

    A hand sets the gain by what it hears, whatever that is, so that clipping says nothing about the source.
    """
    peak = float(np.abs(y).max())
    if rng.random() < 0.2:
        return float(np.sqrt(2) * PASCAL * db(uniform(rng, (112, 138))))
    return peak * float(db(np.clip(rng.normal(-6, 9), -30, 15)))


def _overload(rng: Generator, y: np.ndarray, sr: int) -> np.ndarray:
    """Return `y`, in shares of full scale, as an overloaded input leaves it, hard or soft.

    What lasts stays below, by gain riding; no more than 30 dB are cut off. The excess charges the coupling capacitor:
    the zero line is pushed away and comes back within 5 to 80 ms.
    """
    size = np.abs(y)
    limit = max(1.0, 2 * float(np.quantile(size[::7], 0.9)), float(size.max() * db(-30)))
    if size.max() <= limit:
        return y
    if rng.random() < 0.5:
        pole = np.exp(-1 / (sr * log_uniform(rng, (0.005, 0.08))))
        excess = np.maximum(size - limit, 0.0)
        pushed = signal.lfilter([1 - pole], [1, -pole], excess)
        depth = limit * log_uniform(rng, (0.05, 1)) * min(1.0, excess.max() / limit)
        y = y + rng.choice([-1, 1]) * depth * unit_peak(pushed)
    return np.clip(y, -limit, limit) if rng.random() < 0.6 else limit * np.tanh(y / limit)


def _gain_control(rng: Generator, y: np.ndarray, sr: int) -> np.ndarray:
    """Return `y` after an automatic gain that follows its level within 5 ms to 0.5 s, or a limiter, its peaks."""
    settling, share = 1 / (sr * log_uniform(rng, (0.005, 0.5))), uniform(rng, (0.1, 0.8))
    if rng.random() < 0.5:
        return y * (_peaks(y, settling) + 0.05) ** -share
    pole = np.exp(-settling)
    level = signal.lfilter([1 - pole], [1, -pole], np.abs(y), zi=[pole * np.mean(np.abs(y[: sr // 4]))])[0]
    return y * (level + 1e-3) ** -share


def _peaks(y: np.ndarray, settling: float) -> np.ndarray:
    """Return what a peak meter shows [shape=(n,)]: up at once, down by the factor exp(-settling) a sample."""
    fall = settling * np.arange(len(y))
    return np.exp(np.maximum.accumulate(np.log(np.abs(y) + 1e-6) + fall) - fall)


def _band_limit(rng: Generator, y: np.ndarray, sr: int) -> np.ndarray:
    """Return `y` as a source of a lower rate leaves it, 8 kHz the lowest; at times in 8 bits of a logarithmic scale."""
    sos = signal.cheby2(8, uniform(rng, (30, 70)), min(log_uniform(rng, (4000, 8000)), 0.49 * sr), fs=sr, output="sos")
    y = signal.sosfilt(sos, y)
    if rng.random() < 0.25:
        y = unit_peak(y)
        y = np.sign(y) * np.expm1(np.rint(127 * np.log1p(255 * np.abs(y)) / np.log(256)) / 127 * np.log(256)) / 255
    return y


def codec(y: np.ndarray, sr: int, name: str, compression: float) -> np.ndarray:
    """Return `y` [shape=(n,)] through MP3 or Vorbis and back, as libsndfile encodes it; compression 0 to 1.

    Not Opus: it searches its pulses with `rcpps` and `rsqrtps`, whose last bits each maker of processors chooses.
    """
    format, subtype = {"mp3": ("MP3", "MPEG_LAYER_III"), "vorbis": ("OGG", "VORBIS")}[name]
    file = io.BytesIO()
    sf.write(file, y, sr, format=format, subtype=subtype, compression_level=compression)
    file.seek(0)
    decoded = sf.read(file, dtype="float32")[0][: len(y)]
    return np.pad(decoded, (0, len(y) - len(decoded)))


def _edited(rng: Generator, y: np.ndarray, sr: int, onsets: np.ndarray) -> np.ndarray:
    """Return `y` as an editor leaves it: silence before a cut, after another, hard or faded. Onsets stay inside."""
    n, fades = len(y), (0.003, 0.1)
    gain = np.ones(n)
    if rng.random() < 0.25:
        first = int(onsets[0]) if len(onsets) else int(n * rng.random())
        close = first - int(sr * uniform(rng, (0.001, 0.06)))
        cut = max(0, min(first, close if rng.random() < 0.5 else int(first * rng.random())))
        ramp = min(int(sr * log_uniform(rng, fades)), cut)
        gain[: cut - ramp] = 0.0
        gain[cut - ramp : cut] = np.linspace(0, 1, ramp + 1)[1:]
    if rng.random() < 0.25:
        last = int(onsets[-1]) + int(0.1 * sr) if len(onsets) else 0
        cut = int(uniform(rng, (min(last, n), n)))
        ramp = min(int(sr * log_uniform(rng, fades)), n - cut)
        gain[cut:] = 0.0
        gain[cut : cut + ramp] = np.linspace(1, 0, ramp)
    return y * gain


def microphone(
    rng: Generator, y: np.ndarray, sr: int, onsets: np.ndarray = (), *, ideal: bool = False, codecs: bool = True
) -> np.ndarray:
    """Return sound [shape=(n,)] in Pa as a recording, int16 [shape=(n,)]; an ideal microphone only sets the level.

    Everything is drawn without regard to what sounds. A share DEVICES is recorded by a detector's own microphone, the
    others as people make recordings, with self-noise of 0 to 40 dB SPL.
    """
    if not ideal and rng.random() < DEVICES:
        pcm = Device.draw(rng, sr).record(rng, y, sr)
        level = np.abs(audio.to_float(pcm))
        if level.max() > USABLE[0] and np.mean(level > 0.98) < USABLE[1]:
            return pcm
    if not ideal:
        y = signal.oaconvolve(y, _response(rng, sr))[: len(y)]
        self_noise = PASCAL * db(uniform(rng, (0, 40)))
        y = y + self_noise * noise(rng, len(y), sr, slope_db=uniform(rng, (-4, 2)), band=(30, 9000))
        y = unit_peak(_overload(rng, y / _full_scale(rng, y), sr))
        if rng.random() < 0.5:  # tape, preamplifier, another's noise below a mix
            y = y + db(uniform(rng, (-90, -40))) * noise(
                rng, len(y), sr, slope_db=uniform(rng, (-4, 2)), band=(30, 9000)
            )
        if rng.random() < 0.55:
            y = unit_peak(_gain_control(rng, y, sr))
        if codecs and rng.random() < 0.25:
            y = _band_limit(rng, y, sr)
        y = _edited(rng, y, sr, onsets)
        if codecs and rng.random() < 0.25:
            y = codec(unit_peak(y), sr, str(rng.choice(["mp3", "vorbis"])), uniform(rng, (0.3, 0.99)))
    peak_db = -min(35.0, rng.exponential(12)) if rng.random() < 0.8 else 0.0
    return audio.to_int16(unit_peak(y) * db(peak_db))


@dataclass(frozen=True)
class Device:
    """A detector's microphone and converter, the same for as long as it hangs.

    `response` is the capsule's [shape=(taps,)], `full_scale` the pressure in Pa that overloads it: what is louder is
    clipped, hard; then a high-pass takes the offset away. Nothing is edited, coded or scaled by what sounds, but that a
    few devices have an automatic gain.
    """

    response: np.ndarray
    self_noise_db: float  # dB SPL
    slope_db: float  # of the self-noise, an octave
    full_scale: float
    gain_control: bool

    @classmethod
    def draw(cls, rng: Generator, sr: int) -> "Device":
        """Return a drawn device: MEMS microphones have 20 to 40 dB SPL of noise and overload at 115 to 135 dB SPL."""
        response, self_noise_db = _response(rng, sr), uniform(rng, (20, 40))
        full_scale = PASCAL * float(db(uniform(rng, (115, 135))))
        return cls(response, self_noise_db, uniform(rng, (-4, 2)), full_scale, rng.random() < 0.1)

    @property
    def floor(self) -> float:
        """The RMS in Pa of what it adds: self-noise, dither and rounding, half a bit together."""
        return float(np.hypot(PASCAL * db(self.self_noise_db), 0.5 * self.full_scale / audio.FULL_SCALE))

    def record(self, rng: Generator, y: np.ndarray, sr: int) -> np.ndarray:
        """Return sound [shape=(n,)] in Pa as this device records it, int16 [shape=(n,)].

        The converter dithers with a triangular density (Lipshitz, Wannamaker and Vanderkooy 1992), so that what is
        softer than its last bit is not lost, and silence is not digital.
        """
        y = signal.oaconvolve(y, self.response.astype(np.float32))[: len(y)]
        y += PASCAL * float(db(self.self_noise_db)) * noise(rng, len(y), sr, slope_db=self.slope_db, band=(30, 9000))
        y = np.clip(y / self.full_scale, -1, 1)
        if self.gain_control:
            y = _gain_control(rng, y, sr)
        y = signal.lfilter(*signal.butter(1, DC_HZ, "highpass", fs=sr), y)
        dither = rng.random(len(y), dtype=np.float32) - rng.random(len(y), dtype=np.float32)
        return audio.to_int16(y + dither / audio.FULL_SCALE)
