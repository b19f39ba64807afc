"""Whether a place has changed: a half hour stands out from all days that its device has heard there.

Of each half hour, by UTC, there are two figures: the noise that nine of ten of its seconds pass, and the share of its
seconds with a window of a logit of LOW or more. What is usual at each time of a day
is the median of the first WEEK days. From then on the highest excess over it of each whole day is kept, and after as
many days again a half hour above all of them is a change. It begins within an hour of what made it: the half hour in
which that began may not be wholly so, the next one is.

Its false alarms: where days are exchangeable, whatever their hours do, the first day after D has the highest excess of
all with a probability of 1 / (D + 1) at most. So of two figures there are at most 2 (1 / (WEEK + 1) + ... + 1 / D)
days with a false alarm until day D on average: 2 ln(D / WEEK), or less. No independence of hours is asked for.

A change ends with the first half hour that is at the old days' highest excess again. Its own days count as days do: a
sound that was told is a part of the place from the next day on, but the change goes on as long as the sound does.

Source: the rule is that of records, A. Renyi, Theorie des elements saillants d'une suite d'observations, 1962.
"""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pydantic

from gunshot.base.files import WriteError, atomic
from gunshot.device.messages import CHANGES, Changed

FILE = "change.json"  # in the device's folder
PART_S, PARTS = 1800, 48  # a half hour, and how many a day has
WEEK = 7  # days that say what is usual; as many more are heard before it says anything
WHOLE = 40  # half hours of a day, at least, or it is none
LEAST_S = 1620  # of a half hour that are heard, at least, or it is none
QUIETEST = 0.1  # of a half hour's seconds that the noise does not pass
LOW = -1  # steps of a logit, as of what a site verifier takes for the place's own: those count with and without one
NONE = -(2**15)  # steps of a logit: no window ended

log = logging.getLogger("gunshot")
Row = Annotated[list[tuple[float, float] | None], pydantic.Field(min_length=PARTS, max_length=PARTS)]


class _Now(pydantic.BaseModel):
    """The change that there is."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    what: Annotated[int, pydantic.Field(ge=1, le=2)]
    since: int  # s since 1970
    bar: float  # the excess that it stands above


class _Saved(pydantic.BaseModel):
    """What FILE says, of one model and site."""

    model_config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)

    model: str
    site: str | None = None
    profile: str = ""  # the signature of the last one that there was
    week: list[Row] = []  # of the first days
    highest: tuple[float | None, float | None] = (None, None)  # of each figure, of the days after them
    days: Annotated[int, pydantic.Field(ge=0)] = 0  # how many
    day: int = 0  # the one that is not over, since 1970
    today: Row = [None] * PARTS
    now: _Now | None = None


class Watch:
    """A device's watch over its place. It is kept in the device's folder, over restarts, half hour by half hour.

    At another site, or with another model, it begins anew. A new profile ends a change: it was made since.

    Parameters
    ----------
    folder : the device's
    model : the number of its model, as a birth has it
    site : where it hangs, or None: not known
    profile : the signature of its site's profile; empty: there is none that it can use

    Attributes
    ----------
    turned : whether a change began or ended since, where there is a profile: it is to be left, or taken up again
    """

    def __init__(self, folder: Path, *, model: str, site: str | None = None, profile: str = ""):
        self._file, self.turned, self._has_profile = folder / FILE, False, bool(profile)
        self._state = self._read(model, site) or _Saved(model=model, site=site)
        if profile and profile != self._state.profile:
            self._state.profile, self._state.now = profile, None
        self._usual = _usual(self._state.week)
        self._part, self._seconds = None, []  # the half hour that is heard, and what `figures` takes of its seconds
        self._squares, self._count, self._logit = 0, 0, NONE  # of the second that is heard

    @property
    def changed(self) -> Changed | None:
        """Return the change that there is, as a heartbeat tells it."""
        now = self._state.now
        return now and Changed(now.what, now.since)

    def push(self, pcm: np.ndarray, logits: np.ndarray, unix_s: float, *, sr: int) -> bool:
        """Return whether a change began or ended.

        Parameters
        ----------
        pcm : np.ndarray [shape=(n,)], int16, further samples, of which the last was heard at `unix_s`
        logits : np.ndarray [shape=(m,)], int16, of the windows that ended with them, in steps
        """
        turned, part = False, int(unix_s // PART_S)
        if part != self._part:
            if self._part is not None and len(self._seconds) >= LEAST_S:
                turned = self.hear(self._part, *figures(self._seconds))
                self._save()
            self._part, self._seconds = part, []
        self._squares += int(np.square(pcm.astype(np.int64)).sum())
        self._count += len(pcm)
        self._logit = max(self._logit, *logits.tolist(), NONE)
        if self._count >= sr:
            self._seconds.append((10 * math.log10(max(self._squares / self._count, 1e-3)), self._logit))
            self._squares, self._count, self._logit = 0, 0, NONE
        return turned

    def hear(self, part: int, noise_db: float, share: float) -> bool:
        """Return whether a change began or ended with a half hour, by its number since 1970 and its figures."""
        day, at = divmod(part, PARTS)
        if day != self._state.day:
            self._end_day()
            self._state.day = day
        self._state.today[at] = noise_db, share
        turned = self._judge(part, np.array([noise_db, share]) - self._usual[at])
        self.turned |= turned and self._has_profile
        return turned

    def _end_day(self) -> None:
        """Keep of a day that is over what it teaches. One with too few half hours raises the highest excess alone."""
        state, row = self._state, self._state.today
        state.today = [None] * PARTS
        is_whole = sum(one is not None for one in row) >= WHOLE
        if len(state.week) < WEEK:
            state.week += [row] if is_whole else []
            self._usual = _usual(state.week)
            return
        excess = np.nan_to_num(_numbers(row) - self._usual, nan=-np.inf).max(axis=0)
        old = [-np.inf if one is None else one for one in state.highest]
        state.highest = tuple(float(x) if np.isfinite(x) else None for x in np.maximum(old, excess))
        state.days += is_whole

    def _judge(self, part: int, excess: np.ndarray) -> bool:
        """Return whether a half hour begins a change, or ends one, by how far its figures pass what is usual."""
        state = self._state
        if state.days < WEEK or None in state.highest:
            return False
        if state.now:
            if not excess[state.now.what - 1] <= state.now.bar:
                return False
            state.now = None
            log.info("the place is as it was before its change")
            return True
        above = excess > np.array(state.highest)
        if not above.any():
            return False
        what = int(above.argmax()) + 1
        state.now = _Now(what=what, since=part * PART_S, bar=state.highest[what - 1])
        log.warning("the place has changed: %s than on any of %d days", CHANGES[what - 1], state.days + WEEK)
        return True

    def _save(self) -> None:
        """Keep what it knows; a disk that is full must not silence a device."""
        try:
            with atomic(self._file) as file:
                file.write_text(self._state.model_dump_json() + "\n")
        except WriteError as e:
            log.warning("a restart will forget what it knows of its place: %s", e)

    def _read(self, model: str, site: str | None) -> _Saved | None:
        """Return what was saved of this model and site; None where nothing was, or it cannot be read."""
        try:
            saved = _Saved.model_validate_json(self._file.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as e:
            log.warning("%s: cannot be read, it begins anew: %s", self._file, str(e).splitlines()[0])
            return None
        if (saved.model, saved.site) != (model, site):
            log.info("%s: is of another model or site; it begins anew", self._file)
            return None
        return saved


def figures(seconds: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the two figures of a half hour, by the noise in dB and the highest logit in steps of its seconds."""
    noise, logit = np.array(seconds).T
    return float(np.quantile(noise, QUIETEST)), float((logit >= LOW).mean())


def _usual(week: list[Row]) -> np.ndarray:
    """Return what is usual in each half hour of a day, NaN where nobody knows [shape=(PARTS, 2)]."""
    out = np.full((PARTS, 2), np.nan)
    if len(week) == WEEK:
        heard = np.array([_numbers(row) for row in week])
        known = ~np.isnan(heard[..., 0]).all(axis=0)
        out[known] = np.nanmedian(heard[:, known], axis=0)
    return out


def _numbers(row: Row) -> np.ndarray:
    return np.array([(np.nan, np.nan) if one is None else one for one in row])
