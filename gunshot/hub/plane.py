"""Latitude and longitude to metres east and north of an origin, and back: the plane that touches WGS 84 there.

A point is projected straight down onto the plane. A distance d from the origin loses d^3 / 6R^2: 4 mm at 10 km. Heights
are left out: a device 20 m above a shot 100 m away hears it 6 ms later than the plane says, one 400 m away 1.5 ms.
"""

import numpy as np

RADIUS_M = 6_378_137.0  # WGS 84, at the equator
FLATTENING = 1 / 298.257223563
SQUARED = FLATTENING * (2 - FLATTENING)  # eccentricity
STEPS = 6  # of `degrees`; each makes the error a thousandth at 10 km


def earth(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Return points on the ellipsoid, given in degrees, in m from the earth's centre [shape=(..., 3)]."""
    lat, lon = np.deg2rad(lat), np.deg2rad(lon)
    across = RADIUS_M / np.sqrt(1 - SQUARED * np.sin(lat) ** 2)
    x, y = across * np.cos(lat) * np.cos(lon), across * np.cos(lat) * np.sin(lon)
    return np.stack([x, y, (1 - SQUARED) * across * np.sin(lat)], axis=-1)


def middle(lat: np.ndarray, lon: np.ndarray) -> tuple[float, float]:
    """Return the mean of points in degrees [shape=(n,)], also of those on both sides of the date line."""
    turned = (np.asarray(lon, float) - lon[0] + 180) % 360 - 180
    return float(np.mean(lat)), float(lon[0] + np.mean(turned))


def metres(lat: np.ndarray, lon: np.ndarray, *, origin: tuple[float, float]) -> np.ndarray:
    """Return metres east and north [shape=(..., 2)] of an origin, its latitude and longitude in degrees.

    Raises
    ------
    ValueError
        A latitude is not from -90 to 90, or the origin within a degree of a pole.

    Examples
    --------
    An arc minute of latitude is about a nautical mile:

    >>> metres(45 + 1 / 60, 7.0, origin=(45.0, 7.0)).round(1).tolist()
    [0.0, 1852.3]
    """
    if not np.all(np.abs(lat) <= 90):
        raise ValueError(f"lat={np.ravel(lat)[np.argmax(~(np.abs(np.ravel(lat)) <= 90))]} must be from -90 to 90")
    if abs(origin[0]) > 89:
        raise ValueError(f"origin={origin} must be at most 89 degrees from the equator: east has no meaning at a pole")
    at_lat, at_lon = np.deg2rad(origin)
    gap = earth(np.asarray(lat, float), np.asarray(lon, float)) - earth(*np.array(origin, float))
    east = [-np.sin(at_lon), np.cos(at_lon), 0.0]
    north = [-np.sin(at_lat) * np.cos(at_lon), -np.sin(at_lat) * np.sin(at_lon), np.cos(at_lat)]
    return gap @ np.array([east, north]).T


def degrees(place_m: np.ndarray, *, origin: tuple[float, float]) -> np.ndarray:
    """Return latitude and longitude in degrees [shape=(..., 2)] of metres east and north of an origin.

    It is the inverse of `metres`, by steps along the meridian and the parallel.
    """
    place_m, point = np.asarray(place_m, float), np.broadcast_to(np.array(origin, float), np.shape(place_m)).copy()
    across = RADIUS_M / np.sqrt(1 - SQUARED * np.sin(np.deg2rad(origin[0])) ** 2)
    along = across * (1 - SQUARED) / (1 - SQUARED * np.sin(np.deg2rad(origin[0])) ** 2)
    for _ in range(STEPS):
        gap = place_m - metres(point[..., 0], point[..., 1], origin=origin)
        point[..., 0] += np.rad2deg(gap[..., 1] / along)
        point[..., 1] += np.rad2deg(gap[..., 0] / (across * np.cos(np.deg2rad(origin[0]))))
    return point
