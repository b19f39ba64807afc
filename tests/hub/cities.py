"""Drawn cities with a shot, and what their devices hear of it: a truth that shares no code with the fit."""

import numpy as np

from gunshot.hub.location import Arrival

TEMPERATURE = {"temperature_c": 15.0, "temperature_error_c": 5.0}
HALF_M = 500.0
CLOCK_S, ONSET_S = 0.005, 0.003


def city(rng: np.random.Generator, devices: int) -> tuple[np.ndarray, np.ndarray]:
    """Devices, each 200 to 500 m from its nearest [shape=(devices, 2)], and a shot in the box around them, m."""
    while True:
        place = rng.uniform(-HALF_M, HALF_M, (devices, 2))
        apart = np.hypot(*(place[:, None] - place).T) + np.diag(np.full(devices, np.inf))
        if np.all((apart.min(axis=0) >= 200) & (apart.min(axis=0) <= 500)):
            return place, rng.uniform(place.min(axis=0), place.max(axis=0))


def onsets(rng: np.random.Generator, place: np.ndarray, shot: np.ndarray, *, time_s: float = 0.0) -> np.ndarray:
    """Onsets with errors of clock, detector and temperature, s [shape=(devices,)]."""
    speed = 331.3 * np.sqrt(1 + (15.0 + 5.0 * rng.standard_normal()) / 273.15)
    error = rng.normal(0, np.hypot(CLOCK_S, ONSET_S), len(place))
    return time_s + np.linalg.norm(place - shot, axis=1) / speed + error


def arrivals(place: np.ndarray, onset_s: np.ndarray, *, clock_error_s: float | None = CLOCK_S) -> list[Arrival]:
    """Arrivals of devices named a, b, c, ..."""
    names = "abcdefghijklmnopqrstuvwxyz"
    return [
        Arrival(name, *xy, float(t), clock_error_s) for name, xy, t in zip(names, place.tolist(), onset_s, strict=False)
    ]
