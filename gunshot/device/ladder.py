"""A device raises its threshold, and never lowers it, by its own incidents: in its first days, and after them.

Its ladder are the thresholds that it may have: the operating point, and above it as far as it still hears enough. Where
it has a site's profile, the lowest is that one's, and the others are those above. It leaves a rung upward where its
incidents prove, by `Odds`, that they come more often there than its limit allows. Incidents within REST_S of one that
counted are one occasion with it: who fires may fire again. An incident that goes on counts again each REST_S. No
person's word reaches a device: what was confirmed counts like what was dismissed.

Where they keep the limit in each hour, as Poisson, and none goes on beyond REST_S, it leaves a rung by ALPHA at most.
An average that keeps the limit is not enough: a part of each day that breaks it takes a device up.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pydantic

from gunshot.base.files import WriteError, atomic
from gunshot.detect import listener
from gunshot.detect.listener import Listener
from gunshot.device import near
from gunshot.device.odds import RATES, Odds
from gunshot.models.model import Model

FILE = "ladder.json"  # in the device's folder
ALPHA = 0.01  # at most, the probability that a device ever leaves a rung where each of its hours keeps the limit
REST_S = 1800.0
HOUR_S = 3600.0
Positive = Annotated[float, pydantic.Field(ge=0)]

log = logging.getLogger("gunshot")


class Ear(Listener):
    """A listener at all rungs of a ladder, and at each rung's near misses, which gives what those of one rung decide.

    Attributes
    ----------
    rung : its number, from 0 on
    logits : np.ndarray [shape=(windows,)], int16, those of the last push's windows, in steps
    """

    def __init__(self, model: Model, logits: Sequence[float], p: listener.Sections, *, rung: int = 0):
        self.rung, self._count, self.logits = rung, len(logits), np.zeros(0, np.int16)
        super().__init__(model, [*logits, *(logit - near.BELOW for logit in logits)], p)

    def push(self, samples: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Return what `Listener.push` does, of this rung and of its near misses."""
        every, self.logits = super().push(samples)
        return self._of_rung(every), self.logits

    def closed(self) -> list[np.ndarray]:
        """Return what `Listener.closed` does, of this rung and of its near misses."""
        return self._of_rung(super().closed())

    def _of_rung(self, every: list[np.ndarray]) -> list[np.ndarray]:
        return [every[self.rung], every[self._count + self.rung]]


@dataclass(frozen=True)
class Rungs:
    """Which thresholds a device may have.

    Attributes
    ----------
    logits : as mean logits, upward, at least one
    limit : of incidents an hour
    profile : the signature of the site's profile that has the lowest; empty where that is the operating point
    site : where it hangs, as its folder says; None: not known
    """

    logits: tuple[float, ...]
    limit: float
    profile: str = ""
    site: str | None = None


class _Saved(pydantic.BaseModel):
    """What FILE says, of one model and its `Rungs`."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    model: str
    limit: float
    logits: list[float]
    profile: str  # the last one that there was
    site: str | None = None
    rung: Annotated[int, pydantic.Field(ge=0)]
    rest_s: Positive
    hours: Positive
    ratios: Annotated[list[Positive], pydantic.Field(min_length=len(RATES), max_length=len(RATES))]


class Ladder:
    """Where a device is on its ladder. It is kept in the device's folder, over restarts.

    At another site, with another model or a new profile, it begins anew. Where only its rungs or its limit are others,
    as a file may be away once, it begins at the lowest rung that is not below where it went up to, or keeps that where
    none is as high.

    What was heard since it was last saved is forgotten where the power fails, its incidents with its time.

    Parameters
    ----------
    folder : the device's
    model : the number of its model, as a birth has it

    Attributes
    ----------
    rung : where it is, from 0 on
    """

    def __init__(self, folder: Path, rungs: Rungs, *, model: str):
        self._file, self.rungs, self._model = folder / FILE, rungs, model
        self.rung, self._rest_s, self._odds, self._profile = 0, 0.0, Odds(rungs.limit), rungs.profile
        if saved := self._read():
            self._go_on(saved)
        self._still_s = 0.0  # that an incident has gone on since it opened, or counted

    @property
    def top(self) -> int:
        """Return the number of the highest rung."""
        return len(self.rungs.logits) - 1

    @property
    def logit(self) -> float:
        """Return the mean logit that opens an incident."""
        return self.rungs.logits[self.rung]

    @property
    def has_left_profile(self) -> bool:
        """Return whether it was by a site's profile that the threshold was, and is no more."""
        return bool(self.rungs.profile and self.rung)

    def push(self, heard_s: float, *, opened: bool, is_open: bool) -> bool:
        """Return whether it goes up a rung, after so many seconds, at whose end an incident opened, or is open.

        Where the incident that proved it is open, it goes up when that has ended, so as not to cut it in two.
        """
        if self.rung == self.top:
            return False
        self._odds.wait(max(0.0, heard_s - self._rest_s) / HOUR_S)
        self._rest_s = max(0.0, self._rest_s - heard_s)
        self._still_s = self._still_s + heard_s if is_open and not opened else 0.0
        again = self._still_s >= REST_S
        if again or (opened and not self._rest_s):
            self._odds.count()
            self._rest_s, self._still_s = REST_S, 0.0
        if self._odds.value < 1 / ALPHA or (is_open and not again):
            return False
        self.rung += 1
        self._odds = Odds(self.rungs.limit)
        self.save()
        return True

    def save(self) -> None:
        """Keep where it is, and what it knows; a disk that is full must not silence a device."""
        state = {"rung": self.rung, "rest_s": self._rest_s, "hours": self._odds.hours, "ratios": self._odds.ratios}
        rungs = asdict(self.rungs) | {"logits": list(self.rungs.logits), "profile": self._profile}
        saved = _Saved(model=self._model, **rungs, **state)
        try:
            with atomic(self._file) as part:
                part.write_text(saved.model_dump_json() + "\n")
        except WriteError as e:
            log.warning("a restart will forget what it knows of its threshold: %s", e)

    def _read(self) -> _Saved | None:
        """Return what was saved of this model, site and profile; None where nothing was, or it cannot be read."""
        try:
            saved = _Saved.model_validate_json(self._file.read_text())
            if saved.rung >= len(saved.logits):
                raise ValueError(f"rung={saved.rung} must be less than the {len(saved.logits)} of its ladder")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as e:
            log.warning("%s: cannot be read, its threshold begins anew: %s", self._file, str(e).splitlines()[0])
            return None
        same = (saved.model, saved.site) == (self._model, self.rungs.site)
        if not same or self.rungs.profile not in ("", saved.profile):
            log.info("%s: is of another model, site or profile; its threshold begins anew", self._file)
            return None
        return saved

    def _go_on(self, saved: _Saved) -> None:
        """Begin where it was, as far as its rungs are the same."""
        self._profile = saved.profile  # also where it cannot be used now: what comes back is not a new one
        if (saved.logits, saved.limit) == (list(self.rungs.logits), self.rungs.limit):
            self.rung, self._rest_s = saved.rung, saved.rest_s
            self._odds = Odds(saved.limit, saved.ratios, saved.hours)
            return
        if not saved.rung:  # nothing was proven: a profile's own threshold goes with the profile
            return
        logit = saved.logits[saved.rung]
        if logit > self.rungs.logits[-1]:
            self.rungs = replace(self.rungs, logits=(*self.rungs.logits, logit))
        self.rung = next(i for i, one in enumerate(self.rungs.logits) if one >= logit)
        log.info("%s: is of another ladder or limit; it goes on at rung %d of %d", self._file, self.rung, self.top)
