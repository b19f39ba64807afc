"""Ways to explain the onsets of one shot: a place and a time, and which devices heard no direct sound.

A device's onset is ``T + d (1 + s) / c`` plus an error: T the shot's time, d the way, c the speed of sound at the given
temperature, s a share by which sound is slower in truth, common to all devices, with a prior from the temperature's
error. An explanation leaves devices out: a blocked path makes an onset late, a shock wave early. Each explanation is a
least-squares fit. It weighs as much as its evidence (Laplace's approximation: MacKay 2003, Information Theory, chapter
27), so that a device that may be late, or may not, widens the ellipse and need not be decided on.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

LATE, EARLY = 0.15, 0.02  # shares of devices that hear no direct sound, before anything is known
LATE_S, EARLY_S = 0.03, 0.1  # half of them are off by less
CARRIED = 3  # explanations from which one device more is left out
SAME_M = 1.0  # places closer than this are one
SINGULAR = 1e12  # condition of the information beyond which a fit has no place
EVALUATIONS = 60  # of a fit, at most
PLACE, WAY, SLOW = slice(0, 2), 2, 3  # of a state: east and north in m, c T in m, s in standard deviations


@dataclass(frozen=True)
class Scene:
    """What was heard of one shot, and where: `place` [shape=(n, 2)] in m, `onset_s` and `error_s` (1 sigma), which is
    clock and onset together [shape=(n,)]; the `speed` of sound in m/s; `slow`, the standard deviation of s.
    """

    place: np.ndarray
    onset_s: np.ndarray
    error_s: np.ndarray
    speed: float
    slow: float

    def residual_s(self, state: np.ndarray) -> np.ndarray:
        """Return how late each onset is for a state, s [shape=(n,)]."""
        way_m = np.hypot(*(self.place - state[PLACE]).T)
        return self.onset_s - (state[WAY] + way_m * (1 + self.slow * state[SLOW])) / self.speed

    def slope_s(self, state: np.ndarray) -> np.ndarray:
        """Return the derivatives of `residual_s` by the state [shape=(n, 4)]."""
        gap = self.place - state[PLACE]
        way_m = np.hypot(*gap.T)
        toward = (1 + self.slow * state[SLOW]) * gap / np.maximum(way_m, 1e-6)[:, None]
        return np.c_[toward, -np.ones(len(way_m)), -self.slow * way_m] / self.speed


@dataclass(frozen=True)
class Explanation:
    """A state that fits [shape=(4,)], its covariance [shape=(4, 4)], the numbers of the devices left out, the fit's
    chi-square, and the logarithm of its evidence.
    """

    state: np.ndarray
    covariance: np.ndarray
    left_out: tuple[int, ...]
    chi2: float
    evidence: float

    @property
    def place(self) -> np.ndarray:
        """The place of the shot in m [shape=(2,)]."""
        return self.state[PLACE]


def _starts(scene: Scene, kept: np.ndarray) -> np.ndarray:
    """Return the states at which fits start [shape=(2, 4)]: both roots of Bancroft's equation (1985), in the plane.

    With ``<a, b> = a0 b0 + a1 b1 - a2 b2``, a device's ``a = (east, north, c t)`` and the shot's ``v = (place, c T)``,
    ``<a - v, a - v> = 0`` is linear in v but for ``<v, v>``. Three devices can have two places: both are starts.
    """
    rows = np.c_[scene.place[kept], scene.speed * scene.onset_s[kept]]
    origin = rows.min(axis=0) - np.ptp(rows, axis=0).max() - 1.0  # about their mean the rows would be dependent
    rows, sign = rows - origin, np.array([1.0, 1.0, -1.0])
    inverse = np.linalg.pinv(rows)
    p, q = sign * (inverse @ (rows**2 @ sign / 2)), sign * inverse.sum(axis=1)
    roots = np.roots([q @ (sign * q) / 2, p @ (sign * q) - 1, p @ (sign * p) / 2]).real
    return np.array([[*(p + root * q + origin), 0.0] for root in roots])


def _fit(scene: Scene, kept: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Return the state of the least chi-square near a start, its covariance, and chi-square; None if it is singular."""

    def residual(state):
        return np.r_[(scene.residual_s(state) / scene.error_s)[kept], state[SLOW]]

    def slope(state):
        return np.vstack([(scene.slope_s(state) / scene.error_s[:, None])[kept], [0, 0, 0, 1]])

    fit = optimize.least_squares(residual, start, slope, method="lm", max_nfev=EVALUATIONS)
    information = fit.jac.T @ fit.jac
    if not np.all(np.isfinite(information)) or np.linalg.cond(information) > SINGULAR:
        return None
    return fit.x, np.linalg.inv(information), 2 * fit.cost


def _evidence(
    scene: Scene, state: np.ndarray, covariance: np.ndarray, chi2: float, left_out: tuple[int, ...], reach_m: float
) -> float:
    """Return the logarithm of an explanation's evidence: the density of the onsets, over all places within reach.

    How late a device is has the density of Lomax, ``1 / (a (1 + r / a)^2)``: half of it within a, and a long tail.
    """
    out = list(left_out)
    kept = np.delete(np.arange(len(scene.place)), out)
    prior = -np.log(np.pi * reach_m**2) - np.log(reach_m) - np.log(2 * np.pi) / 2  # of place, c T, and s
    total = prior - chi2 / 2 + np.linalg.slogdet(2 * np.pi * covariance)[1] / 2
    total += np.sum(np.log((1 - LATE - EARLY) / (np.sqrt(2 * np.pi) * scene.error_s[kept])))
    slope, residual = scene.slope_s(state)[out], scene.residual_s(state)[out]
    spread = np.sqrt(scene.error_s[out] ** 2 + np.einsum("ni,ij,nj->n", slope, covariance, slope))
    is_late, size = special.ndtr(residual / spread), np.abs(residual)
    late = LATE * is_late / (LATE_S * (1 + size / LATE_S) ** 2)
    early = EARLY * (1 - is_late) / (EARLY_S * (1 + size / EARLY_S) ** 2)
    return float(total + np.sum(np.log(late + early)))


def chance(scene: Scene, *, reach_m: float) -> float:
    """Return the logarithm of the evidence that the onsets have nothing to do with each other."""
    return -len(scene.place) * float(np.log(reach_m / scene.speed))


def explain(scene: Scene, *, reach_m: float, fewest: int) -> list[Explanation]:
    """Return explanations of a scene, the best first; of those that leave out two devices or more not all are tried.

    Parameters
    ----------
    reach_m : a place is at most so far from each device whose onset it explains
    fewest : devices that are kept at least
    """
    n, out, level = len(scene.place), [], [()]
    while level:
        here = [fit for left_out in level for fit in _fits(scene, left_out, reach_m)]
        out += here
        carried = [each.left_out for each in sorted(here, key=lambda each: -each.evidence)[:CARRIED]]
        # One that is late by much may send all fits with it out of reach: then each of the level is carried on.
        carried = (carried or level) if n - len(level[0]) > fewest else []
        level = sorted({tuple(sorted({*left_out, i})) for left_out in carried for i in range(n) if i not in left_out})
    return sorted(out, key=lambda each: -each.evidence)


def _fits(scene: Scene, left_out: tuple[int, ...], reach_m: float) -> list[Explanation]:
    """Return the places on which the kept devices agree as well as they can, each place once."""
    kept = np.delete(np.arange(len(scene.place)), list(left_out))
    fits: list[Explanation] = []
    for start in _starts(scene, kept):
        fit = _fit(scene, kept, start)
        if fit is None or np.hypot(*(scene.place[kept] - fit[0][PLACE]).T).max() > reach_m:
            continue
        if all(np.hypot(*(each.place - fit[0][PLACE])) > SAME_M for each in fits):
            fits.append(Explanation(*fit[:2], left_out, fit[2], _evidence(scene, *fit, left_out, reach_m)))
    return fits
