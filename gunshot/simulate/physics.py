"""The equations of a shot in air: blast, bullet, shock wave, absorption, ground. DOC/simulator.md has their sources."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import fft, optimize, special

PRESSURE = 101_325.0  # Pa, at sea level
KELVIN = 273.15


@dataclass(frozen=True)
class Air:
    """What the weather makes of the air; `humidity` is relative, in percent."""

    temperature_c: float = 20.0
    humidity: float = 50.0

    @property
    def speed(self) -> float:
        """The speed of sound in m/s, of dry air."""
        return float(331.3 * np.sqrt(1 + self.temperature_c / KELVIN))


@dataclass(frozen=True)
class Bullet:
    """A bullet on a flat path. Its drag coefficient falls with the root of its speed, so that the root of the speed
    falls evenly with the way (McCoy, Modern Exterior Ballistics, chapter 5); two published speeds set it.
    """

    muzzle_speed: float  # m/s
    speed_at_100_m: float
    calibre_m: float
    length_m: float

    @cached_property
    def loss(self) -> float:
        """What the root of the speed loses a metre."""
        return (np.sqrt(self.muzzle_speed) - np.sqrt(self.speed_at_100_m)) / 100

    def speed(self, x_m):
        """Return the speed in m/s at `x_m` from the muzzle, while it is supersonic."""
        return (np.sqrt(self.muzzle_speed) - self.loss * x_m) ** 2

    def time(self, x_m):
        """Return the time of flight in s to `x_m` from the muzzle, while it is supersonic."""
        return x_m / np.sqrt(self.muzzle_speed * self.speed(x_m))


@dataclass(frozen=True)
class Shock:
    """A bullet's shock wave at a microphone."""

    lead_s: float  # before the muzzle blast
    path_m: float  # from where it left the bullet
    peak: float  # Pa
    duration_s: float


def friedlander(t: np.ndarray, *, peak: float, positive_s: float, decay: float) -> np.ndarray:
    """Return the pressure of a blast at times `t` [shape=(n,)] in s after its arrival (Friedlander 1946)."""
    x = np.maximum(t, 0.0) / positive_s
    return np.where(t >= 0, peak * (1 - x) * np.exp(-decay * x), 0.0)


def n_wave(t: np.ndarray, *, peak: float, duration_s: float) -> np.ndarray:
    """Return an N-wave at times `t` [shape=(n,)] in s after its arrival."""
    return np.where((t >= 0) & (t <= duration_s), peak * (1 - 2 * t / duration_s), 0.0)


def whitham(mach: float, miss_m: float, calibre_m: float, length_m: float, speed: float) -> tuple[float, float]:
    """Return peak in Pa and duration in s of a bullet's N-wave `miss_m` from its path; `speed` is that of sound.

    Whitham 1952, with the constants of a bullet's shape as in Stoughton 1997 and Maher 2007.
    """
    m = mach**2 - 1
    peak = 0.53 * PRESSURE * m**0.125 * calibre_m / (miss_m**0.75 * length_m**0.25)
    duration = 1.82 * mach * miss_m**0.25 * calibre_m / (speed * m**0.375 * length_m**0.25)
    return peak, duration


def shock(bullet: Bullet, angle: float, distance_m: float, air: Air) -> Shock | None:
    """Return the shock wave at `distance_m` and `angle` (rad) from the line of fire; None outside the Mach cone.

    The wave leaves the path where the way to the microphone makes the angle acos(c / v) with it: there the sum of the
    bullet's time and the sound's is least (Fermat), and it exists only where that place lies in front of the muzzle
    and the bullet is still supersonic.
    """
    c = air.speed
    if bullet.muzzle_speed <= c or np.cos(angle) <= c / bullet.muzzle_speed:
        return None
    ahead, miss_m = distance_m * np.cos(angle), max(distance_m * np.sin(angle), 0.1)  # a bullet misses by its width
    subsonic = (np.sqrt(bullet.muzzle_speed) - np.sqrt(c)) / bullet.loss

    def slope(x):
        return c / bullet.speed(x) - (ahead - x) / np.hypot(ahead - x, miss_m)

    end = min(subsonic, ahead)  # beyond the microphone the slope is positive
    if slope(0.0) >= 0 or slope(end) <= 0:
        return None
    x = optimize.brentq(slope, 0.0, end)
    path_m, mach = float(np.hypot(ahead - x, miss_m)), float(bullet.speed(x) / c)
    if mach < 1.01:  # at Mach 1 the wave's length has no bound
        return None
    lead_s = distance_m / c - float(bullet.time(x)) - path_m / c
    return Shock(lead_s, path_m, *whitham(mach, miss_m, bullet.calibre_m, bullet.length_m, c))


def absorption_db(f_hz: np.ndarray, distance_m: float, air: Air) -> np.ndarray:
    """Return the air's absorption in dB over a distance, at frequencies [shape=(bins,)] (ISO 9613-1:1993, 3 to 5)."""
    f, kelvin = np.asarray(f_hz, float), air.temperature_c + KELVIN
    relative = kelvin / 293.15
    saturation = 10 ** (-6.8346 * (273.16 / kelvin) ** 1.261 + 4.6151)
    h = air.humidity * saturation  # molar concentration of water vapour, percent
    oxygen = 24 + 4.04e4 * h * (0.02 + h) / (0.391 + h)
    nitrogen = relative**-0.5 * (9 + 280 * h * np.exp(-4.170 * (relative ** (-1 / 3) - 1)))
    relaxing = 0.01275 * np.exp(-2239.1 / kelvin) / (oxygen + f**2 / oxygen)
    relaxing += 0.1068 * np.exp(-3352.0 / kelvin) / (nitrogen + f**2 / nitrogen)
    return distance_m * 8.686 * f**2 * (1.84e-11 * relative**0.5 + relative**-2.5 * relaxing)


def turbulence(f_hz: np.ndarray, distance_m: float, air: Air, *, index: float, scale_m: float) -> np.ndarray:
    """Return the variance of a wave's phase and level behind a turbulent atmosphere [shape=(bins,)].

    ``sqrt(pi) / 2 index k^2 r L`` for turbulence of a Gaussian spectrum, `index` the variance of the refractive index
    (1e-8 calm, 1e-5 sun and wind), `scale_m` its length L (Daigle, Piercy and Embleton 1983). The mean field falls by
    exp(-variance / 2); what it loses is scattered.
    """
    k = 2 * np.pi * np.asarray(f_hz, float) / air.speed
    return np.sqrt(np.pi) / 2 * index * k**2 * distance_m * scale_m


def ground(
    f_hz: np.ndarray, *, distance_m: float, source_m: float, microphone_m: float, resistivity: float, air: Air
) -> tuple[np.ndarray, float]:
    """Return the ground's reflection relative to the direct sound, complex [shape=(bins,)], and its delay in s.

    A spherical wave over a ground of one impedance (Weyl and van der Pol, as in Attenborough 1988); the impedance from
    the flow `resistivity` in kPa s/m^2 (Delany and Bazley 1970): fresh snow 10, grass 200, asphalt 20,000. `source_m`
    and `microphone_m` are heights. Spectra follow NumPy's sign; the delay is not in them.
    """
    direct = np.hypot(distance_m, source_m - microphone_m)
    bounced = np.hypot(distance_m, source_m + microphone_m)
    f = np.maximum(np.asarray(f_hz, float), 1.0)
    impedance = 1 + 9.08 * (f / resistivity) ** -0.75 + 11.9j * (f / resistivity) ** -0.73
    sine, admittance = (source_m + microphone_m) / bounced, 1 / impedance
    plane = (sine - admittance) / (sine + admittance)
    w = (1 + 1j) / 2 * np.sqrt(2 * np.pi * f / air.speed * bounced) * (sine + admittance)
    spherical = plane + (1 - plane) * (1 + 1j * np.sqrt(np.pi) * w * special.wofz(w))
    return np.conj(spherical) * direct / bounced, float(bounced - direct) / air.speed


def delayed(spectrum: np.ndarray, delay_s: float, sr: int) -> np.ndarray:
    """Return the causal FIR [shape=(2 * (bins - 1),)] of a spectrum [shape=(bins,)] after a delay.

    What rings before time 0 is cut off, so that nothing is heard before the direct sound.
    """
    size = 2 * (len(spectrum) - 1)
    y = fft.irfft(spectrum * np.exp(-2j * np.pi * fft.rfftfreq(size, 1 / sr) * delay_s), size)
    y[size // 2 :] = 0
    return y
