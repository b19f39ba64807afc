"""The images of a board, as its bridge has them on its disk: the one on trial, and how far the board is with it.

The board's own word is the last one: it looks at what is signed itself, and says what it runs. What it was told, and
that it ran a trial, is in `images/slots.json`, so that a bridge which was killed goes on.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gunshot.device import board_image
from gunshot.device.board_image import SILENT, WAIT_S, Delivery, Report
from gunshot.device.images import MOST_OVER, Images, Slot
from gunshot.device.releases import Stage, Wanted
from gunshot.signing import manifests

# What no board has: it says that it does not know it, and with that what runs.
PROBE = board_image.order(Wanted.back, bytes(manifests.SIZE))
BY_ITSELF = "the board did, as it does in the fourth start of a trial, or where the image is damaged"
OFFERED_S = 120.0  # from an offer on a trial is brought to a board: a hub that wants it so offers it each 10 s

log = logging.getLogger("gunshot")


class BoardSlots(Images):
    """The images of a bridge's folder, with parameters and errors as `Images` has them. It is used in one thread.

    `clock` is the monotonic one, s.
    """

    def __init__(
        self, folder: Path, hardware: str, trusted: Mapping[str, Ed25519PublicKey] | None = None,
        *, clock: Callable[[], float] = time.monotonic,
    ):  # fmt: skip
        super().__init__(folder, hardware, trusted)
        self._delivery: Delivery | None = None
        self._start: int | None = None  # of the board, by its last message
        self._said: int | None = None  # by its last report
        self._asked, self._asked_s = 0, -WAIT_S  # how often it was asked what runs; when last
        self._clock, self._offered_s = clock, -math.inf  # when the trial was offered last
        if trial := self.state.trial:
            self._deliver(trial)

    @property
    def is_on_trial(self) -> bool:
        """Return whether the board has run the trial, and has not said that it went back."""
        return self.state.trial is not None and self.state.trial.has_run

    @property
    def is_asking(self) -> bool:
        """Return whether what this start of the board runs is not known yet, and the board may still say so."""
        return self._start != self._said and self._asked < SILENT

    @property
    def note(self) -> str:
        """Return what the board still has to do with the trial."""
        trial = self.state.trial
        if trial is None or (trial.has_run and trial.wanted == Wanted.install):
            return ""
        if trial.wanted != Wanted.install:
            return f"the board has yet to say that it does so: {trial.wanted}"
        return f"{self._delivery.next} of {self.manifest(trial).size} bytes are on the board"

    def stage(self, trial: Slot) -> Stage:
        """Return how far a trial is: the board has run it, or is still to get it."""
        return Stage.trial if trial.has_run else Stage.fetching

    def offered(self) -> None:
        """Note that the hub offers the trial: from now on it is brought to the board, for OFFERED_S."""
        self._offered_s = self._clock()

    def has_room(self) -> bool:
        """Return whether none is on trial: of a board's two slots one is kept. The trial, which is older, ends."""
        if self.state.trial:
            self.end_trial("another one comes")
        return self.state.trial is None

    def adopt(self, slot: Slot) -> None:
        """Put an image on trial that is on the disk; the board is still to get it, but for one that has run."""
        super().adopt(slot)
        self.offered()
        self._only(slot)
        if self._delivery is None:
            self._deliver(slot)

    def keep(self) -> None:
        """Have the board keep the trial; it is kept once the board says so."""
        self._want(Wanted.keep)

    def end_trial(self, why: str) -> None:
        """Have the board end the trial; it is over once the board says so."""
        if self.state.trial.wanted != Wanted.back:
            log.info("the board's trial is to end: %s", why)
            self._want(Wanted.back)

    def calm(self) -> None:
        """Note that the hub has a message: a board counts a trial's starts itself, whatever the hub has."""

    def release(self, report: Report) -> str | None:
        """Return the version of the model in the image that a report says runs; None where that came another way."""
        slots = filter(None, (self.state.trial, self.state.kept))
        return next((board_image.version(slot.content) for slot in slots if _runs(report, slot)), None)

    def hear(self, report: Report) -> bool:
        """Take a report of the board; return whether there is news of the last roll-out."""
        self._said, self._asked, before = report.session, 0, self.state.last
        kept, trial = self.state.kept, self.state.trial
        if kept and not any(_runs(report, slot) for slot in (kept, trial) if slot):  # another board, or flashed anew
            self._note("the board keeps another image", kept=None, least=0)
        if trial and trial.wanted != Wanted.back and trial.board not in (None, report.device):
            self._begin_anew(trial)
        elif trial:
            self._delivery.hear(report)
            if self._delivery.ended:
                self._end(trial, self._delivery.ended)
            elif self._delivery.runs and not trial.has_run:
                has_run = trial.model_copy(update={"has_run": True, "board": report.device})
                self._note("the board runs the trial", trial=has_run, last=(trial.order, Stage.trial, ""))
        return self.state.last != before

    def heard(self, start: int) -> None:
        """Note that the board sent another message than a report, of this start; if it is well the hub says."""
        if start != self._start:
            self._start, self._asked = start, 0

    def outgoing(self, now_s: float) -> bytes:
        """Return what is to be sent now; `now_s` is the monotonic clock's."""
        if self._delivery and not self._delivery.is_calm and self._is_wanted(now_s):
            sent = self._delivery.outgoing(now_s)
            self._asked += bool(sent)  # a report answers it
            return sent
        if not self.is_asking or now_s - self._asked_s < WAIT_S:
            return b""
        self._asked, self._asked_s = self._asked + 1, now_s
        if self._asked == SILENT:
            log.warning("the board says of no image: was it built with a key (GUNSHOT_OTA_KEY)? It takes none")
        return PROBE

    def _is_wanted(self, now_s: float) -> bool:
        """Return whether the hub still offers the trial, or the board may have it: it is told what becomes of that."""
        is_known = self._delivery.was_whole or self.state.trial.wanted != Wanted.install
        return is_known or now_s - self._offered_s < OFFERED_S

    def _want(self, wanted: Wanted) -> None:
        self._note(f"the board is told to: {wanted}", trial=self.state.trial.model_copy(update={"wanted": wanted}))
        self._delivery.want(wanted)

    def _begin_anew(self, trial: Slot) -> None:
        """Bring a trial to another board than ran it, which no hub has watched with it."""
        anew = Slot(manifest=trial.manifest, order=trial.order)
        self._note("another board is at the line", trial=anew, last=(trial.order, Stage.fetching, ""))
        self._delivery = None
        self._deliver(anew)

    def _deliver(self, trial: Slot) -> None:
        """Begin to bring the trial to the board, or go on; where it is not whole here it is to be fetched again.

        One that the board may have is told by its manifest alone.
        """
        try:
            image = self._image(trial)
        except (ValueError, OSError) as e:
            log.warning("an image for the board cannot be used: %s", e)
            if not trial.has_run and trial.wanted == Wanted.install:
                self._note("it is to be fetched anew", trial=None)
                return
            image = None
        more = {"wanted": trial.wanted, "has_run": trial.has_run}
        self._delivery = Delivery(image, trial.content, keeps=False, **more)

    def _end(self, trial: Slot, how: str) -> None:
        """Note what became of the trial."""
        self._delivery = None
        stage, _, rule = how.partition(": ")
        changed = {"trial": None, "last": (trial.order, stage, f"{rule}: the board refuses it")}
        if stage == Stage.kept:
            kept, (number, _) = Slot(manifest=trial.manifest), board_image.mark(trial.content)
            changed |= {"kept": kept, "least": number, "last": (trial.order, stage, "")}
        elif stage == Stage.back:
            why = "" if trial.wanted == Wanted.back else BY_ITSELF
            changed |= {"over": (*self.state.over, trial.order)[-MOST_OVER:], "last": (trial.order, stage, why)}
        elif how == board_image.LOST:
            changed |= {"last": (trial.order, Stage.refused, "unknown: board and bridge have lost it")}
        if self._note(f"the board has ended its trial: {how}", **changed):
            self._only()


def _runs(report: Report, slot: Slot) -> bool:
    """Return whether a report says that a slot's image runs."""
    return (report.running, report.hash) == board_image.mark(slot.content)
