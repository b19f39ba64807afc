"""Where a shot was fired: from several devices' onsets of it to a place with an ellipse, or to why there is none."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from gunshot.hub import explanations
from gunshot.hub.explanations import PLACE, WAY, Explanation, Scene
from gunshot.simulate.physics import KELVIN, Air

ONSET_ERROR_S = 0.003  # 1 sigma of a detector's onset on sound that reaches it directly
UNREAD_C, UNREAD_ERROR_C = 15.0, 15.0  # of the air, where nobody read a thermometer
REACH_M = 1500.0  # a shot is heard no further
MAX_AXIS_M = 100.0  # the longest half axis that is still a place
FEWEST = 3  # devices that give a place; one more checks it
NEAR_M = 50.0  # places closer than this, or than three standard deviations, share one ellipse
UNLIKELY = 0.05  # the weight of explanations that are not counted, at most
IN_LINE = 0.05  # the spread of devices across their line, as a share of that along it
CONTRADICT = 0.001  # a chi-square less probable than this
INSIDE = 0.95  # of an ellipse
SCALE = float(np.sqrt(stats.chi2.ppf(INSIDE, 2)))


@dataclass(frozen=True)
class Arrival:
    """One device's onset of a shot. `clock_error_s` (1 sigma) is None where the clock is not disciplined."""

    device: str
    east_m: float
    north_m: float
    onset_s: float
    clock_error_s: float | None
    onset_error_s: float = ONSET_ERROR_S

    def __post_init__(self):
        for name in ("east_m", "north_m", "onset_s"):
            if not np.isfinite(getattr(self, name)):
                raise ValueError(f"device {self.device}: {name}={getattr(self, name)} must be a number")
        for name in ("clock_error_s", "onset_error_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise ValueError(f"device {self.device}: {name}={value} must be above 0")


@dataclass(frozen=True)
class Ellipse:
    """The ellipse that holds the shot with a probability of 95 %: half axes in m, and the bearing of the longer one in
    degrees from north over east, 0 to 180.
    """

    major_m: float
    minor_m: float
    bearing_deg: float

    @classmethod
    def from_covariance(cls, covariance: np.ndarray) -> "Ellipse":
        """Return the ellipse of a covariance in m^2 [shape=(2, 2)], east before north."""
        variance, axes = np.linalg.eigh(covariance)
        minor_m, major_m = SCALE * np.sqrt(variance)
        return cls(float(major_m), float(minor_m), float(np.rad2deg(np.arctan2(*axes[:, 1])) % 180))

    def outline(self, centre_m: np.ndarray, *, points: int) -> np.ndarray:
        """Return points of it around a centre, counterclockwise, in m [shape=(points, 2)]."""
        turn, bearing = np.linspace(0, 2 * np.pi, points, endpoint=False), np.deg2rad(self.bearing_deg)
        along, across = self.major_m * np.cos(turn), self.minor_m * np.sin(turn)
        east, north = np.sin(bearing), np.cos(bearing)
        return centre_m + np.c_[along * east - across * north, along * north + across * east]


@dataclass(frozen=True)
class Location:
    """Where a shot was fired, or the `reason` for which there is no place; then `position_m` and what follows is None.

    `position_m` [shape=(2,)] is east and north in m, `covariance` [shape=(2, 2)] in m^2, `time_s` when it was fired.
    `residuals_s` says of each device with a clock how late its onset is for the best explanation, and is empty where
    there is none. `left_out` says of each device that was not counted why. `checked` is false where three devices gave
    the place: any three onsets do, so that nothing says whether these are right.
    """

    reason: str = ""
    position_m: np.ndarray | None = None
    time_s: float | None = None
    covariance: np.ndarray | None = None
    ellipse: Ellipse | None = None
    residuals_s: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    checked: bool = False


def locate(
    arrivals: Sequence[Arrival],
    *,
    temperature_c: float,
    temperature_error_c: float,
    reach_m: float = REACH_M,
    max_axis_m: float = MAX_AXIS_M,
) -> Location:
    """Return where the shot of these onsets was fired.

    The ways to explain the onsets (see `explanations`) are weighed, and those near the best give one mean and one
    covariance. A device is left out where most of this weight says so.

    Parameters
    ----------
    arrivals : onsets of one shot, one a device
    temperature_c, temperature_error_c : of the air, and its error (1 sigma): 5 degrees are 0.9 % of the speed of sound
    reach_m : how far from any device that heard it directly a shot can be
    max_axis_m : an ellipse with a longer half axis is no place

    Raises
    ------
    ValueError
        A device is named twice, or the temperature has no speed of sound.
    """
    _check(arrivals, temperature_c, temperature_error_c)
    left_out = {a.device: "its clock is not disciplined" for a in arrivals if a.clock_error_s is None}
    usable = [a for a in arrivals if a.clock_error_s is not None]
    names = [a.device for a in usable]
    if len(usable) < FEWEST:
        clocks = f"{len(usable)} device{'s' * (len(usable) != 1)} with a disciplined clock"
        return Location(f"{clocks}: {FEWEST} or more must hear a shot", left_out=left_out)
    start_s = min(a.onset_s for a in usable)
    scene = Scene(
        np.array([[a.east_m, a.north_m] for a in usable]),
        np.array([a.onset_s - start_s for a in usable]),
        np.array([np.hypot(a.clock_error_s, a.onset_error_s) for a in usable]),
        Air(temperature_c).speed,
        temperature_error_c / (2 * (temperature_c + KELVIN)),  # the speed grows with the root of the temperature
    )
    if _in_line(scene.place):
        return Location("the devices stand in a line: either side of it fits", left_out=left_out)
    ways = explanations.explain(scene, reach_m=reach_m, fewest=FEWEST)
    if not ways:
        return Location(f"no place within {reach_m:g} m of the devices fits the onsets", left_out=left_out)
    consistent = [way for way in ways if _is_consistent(way, len(usable))]
    best = (consistent or ways)[0]
    residuals = dict(zip(names, scene.residual_s(best.state).tolist(), strict=True))
    if not consistent or (len(usable) > FEWEST and best.evidence < explanations.chance(scene, reach_m=reach_m)):
        reason = "the devices contradict each other: no place fits the onsets of enough of them"
        return Location(reason, residuals_s=residuals, left_out=left_out)
    near, weight, other = _weighed(consistent)
    if other:
        places = " and ".join("({:.0f} m, {:.0f} m)".format(*way.place) for way in (best, other))
        return Location(f"two places are possible, {places}", residuals_s=residuals, left_out=left_out)
    mean, covariance = _mixed(near, weight)
    contradicting = _contradicting(near, weight, len(usable))
    left_out |= {names[i]: _contradiction(residuals[names[i]]) for i in contradicting}
    if contradicting and len(usable) - len(contradicting) <= FEWEST:
        reason = f"the devices contradict each other: {FEWEST} that agree would not be checked"
        return Location(reason, residuals_s=residuals, left_out=left_out)
    if _in_line(np.delete(scene.place, contradicting, axis=0)):
        reason = "the devices that agree stand in a line: either side of it fits"
        return Location(reason, residuals_s=residuals, left_out=left_out)
    ellipse = Ellipse.from_covariance(covariance[PLACE, PLACE])
    if ellipse.major_m > max_axis_m:
        reason = f"the ellipse's half axis of {ellipse.major_m:.0f} m must be at most {max_axis_m:g} m"
        return Location(reason, residuals_s=residuals, left_out=left_out)
    return Location(
        position_m=mean[PLACE],
        time_s=start_s + float(mean[WAY]) / scene.speed,
        covariance=covariance[PLACE, PLACE],
        ellipse=ellipse,
        residuals_s=residuals,
        left_out=left_out,
        checked=len(usable) - len(contradicting) > FEWEST,
    )


def _check(arrivals: Sequence[Arrival], temperature_c: float, temperature_error_c: float) -> None:
    """Raise ValueError for what no shot can be located from, as `locate` says."""
    names = [a.device for a in arrivals]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"device {name} has {names.count(name)} onsets, it must have one of a shot")
    if not -KELVIN < temperature_c < np.inf:
        raise ValueError(f"temperature_c={temperature_c} must be above {-KELVIN}")
    if not 0 < temperature_error_c < np.inf:
        raise ValueError(f"temperature_error_c={temperature_error_c} must be above 0")


def _in_line(place: np.ndarray) -> bool:
    """Return whether places [shape=(n, 2)] lie in a line, or as good as."""
    along, across = np.linalg.svd(place - place.mean(axis=0), compute_uv=False)
    return bool(across <= IN_LINE * along)


def _is_consistent(way: Explanation, devices: int) -> bool:
    """Return whether the kept devices of an explanation agree, by its chi-square."""
    free = max(1, devices - len(way.left_out) - FEWEST)
    return bool(stats.chi2.sf(way.chi2, free) >= CONTRADICT)


def _weighed(ways: list[Explanation]) -> tuple[list[Explanation], np.ndarray, Explanation | None]:
    """Return the explanations near the best, their weights, of sum 1, and the best of the others where they count.

    What is UNLIKELY does not count: the others together, or the least likely of those near.
    """
    weight = np.exp([way.evidence - ways[0].evidence for way in ways])
    weight /= weight.sum()
    near = np.array([_is_near(way, ways[0]) for way in ways])
    other = ways[int(np.argmin(near))] if weight[~near].sum() > UNLIKELY else None
    place = np.flatnonzero(near)
    total = np.cumsum(weight[place])
    place = place[: 1 + np.searchsorted(total / total[-1], 1 - UNLIKELY)]
    return [ways[i] for i in place], weight[place] / weight[place].sum(), other


def _is_near(way: Explanation, best: Explanation) -> bool:
    """Return whether two explanations are of one place."""
    gap = way.place - best.place
    covariance = (way.covariance + best.covariance)[PLACE, PLACE]
    return bool(np.hypot(*gap) <= NEAR_M or gap @ np.linalg.solve(covariance, gap) <= 9)


def _mixed(ways: list[Explanation], weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean [shape=(4,)] and covariance [shape=(4, 4)] of the states of explanations by weight [shape=(n,)]."""
    states = np.array([way.state for way in ways])
    mean = weight @ states
    spread = [way.covariance + np.outer(way.state - mean, way.state - mean) for way in ways]
    return mean, np.tensordot(weight, spread, 1)


def _contradicting(ways: list[Explanation], weight: np.ndarray, devices: int) -> list[int]:
    """Return the numbers of the devices that most of the weight leaves out."""
    out = np.array([[i in way.left_out for i in range(devices)] for way in ways])
    return np.flatnonzero(weight @ out > 0.5).tolist()


def _contradiction(residual_s: float) -> str:
    """Return why a device is left out, by how late its onset is, s."""
    if residual_s > 0:
        return f"late by {1000 * residual_s:.0f} ms: an echo, no line of sight, or a wrong clock or place"
    return f"early by {-1000 * residual_s:.0f} ms: a shock wave, another sound, or a wrong clock or place"
