"""What a device does with offers of a roll-out: it checks each, fetches an image by parts, and says how far it is."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import pydantic
import yaml

from gunshot.base.files import shown
from gunshot.device import clock, orders, releases
from gunshot.device.images import Images
from gunshot.device.orders import RefusedError
from gunshot.device.releases import MOST_BYTES, MOST_NOTE, PART, Offer, Report, Stage, Wanted
from gunshot.device.slots import unpack
from gunshot.signing import keys, manifests
from gunshot.signing.manifests import Manifest

SECTIONS = ("audio", "features", "context", "detector")  # in which an image was measured: a device must have the same

log = logging.getLogger("gunshot")


class Installer:
    """The roll-outs of a device's session. It is used in one thread.

    Parameters
    ----------
    folder : the device's; the key that offers must be of is in it
    name : the device's
    slots : its images
    p : the SECTIONS of params.yaml that it runs with; None: a board's bridge, which cannot look into an image
    error_us : how far the clock of this machine may be off, or None
    """

    def __init__(
        self, folder: Path, name: str, slots: Images, p: object | None,
        *, error_us: Callable[[], int | None] = clock.error_us,
    ):  # fmt: skip
        self._name, self._slots, self._p, self._error_us = name, slots, p, error_us
        self._key = keys.public(folder / orders.KEY) if (folder / orders.KEY).exists() else None
        self._offer: Offer | None = None  # of the image that is being fetched
        self._next = 0  # the part of it that is missing
        self._reports: list[bytes] = []

    @property
    def is_stale(self) -> bool:
        """Return whether the device is to start again, with another image."""
        return self._slots.is_stale

    def calm(self) -> None:
        """Note that the hub has a message of this session."""
        self._slots.calm()

    def again(self) -> None:
        """Say how far the last roll-out is, as the hub may not know it."""
        if last := self._slots.state.last:
            id, stage, note = last
            self._say(id, Stage(stage), note=note)

    def outgoing(self) -> list[bytes]:
        """Return what is to be said now."""
        out, self._reports = self._reports, []
        return out

    def take(self, payload: bytes) -> None:
        """Do what an offer wants, or write a part of the image that is being fetched."""
        try:
            part, content = releases.decode(payload)
        except ValueError as e:
            return log.warning("%s", e)
        if part is not None:
            return self._add(part, content)
        id = releases.claimed(content)
        try:
            offer = self._verified(content)
            if self._knows_time() and offer.not_before_us > time.time_ns() // 1000:
                return log.warning("roll-out %s: %s came before its time, and is passed over", id, offer.wanted)
            self._follow(offer)
        except RefusedError as e:
            self._refuse(id, e)
        except OSError as e:  # a full disk must not end a device that listens
            self._refuse(id, RefusedError("disk", str(e)))
        return None

    def _say(self, id: str, stage: Stage, *, part: int | None = None, note: str = "") -> None:
        self._reports.append(Report(id=id, stage=stage, part=part, note=shown(note)[:MOST_NOTE]).encode())

    def _refuse(self, id: str | None, why: RefusedError) -> None:
        log.warning("roll-out %s is refused: %s", id, why)
        self._offer = None
        if id:
            self._say(id, Stage.refused, note=str(why))

    def _knows_time(self) -> bool:
        return self._error_us() is not None

    def _verified(self, content: bytes) -> Offer:
        """Return an offer of the hub to this device that is good now; RefusedError else."""
        if self._key is None:
            raise RefusedError("key", f"this device has no {orders.KEY}; copy it from a new `gunshot hub enrol`")
        offer = releases.verify(content, self._key)
        if offer.device != self._name:
            raise RefusedError("device", f"it is for {offer.device}, and this is {self._name}")
        if self._knows_time() and offer.expires_us < time.time_ns() // 1000:
            raise RefusedError("expired", f"it was good until {offer.expires_us / 1e6:.3f}")
        return offer

    def _follow(self, offer: Offer) -> None:
        state, trial = self._slots.state, self._slots.state.trial
        is_here = trial is not None and trial.order == offer.id
        if not is_here and state.kept and state.kept.manifest == offer.manifest:
            self._say(offer.id, Stage.kept)
        elif offer.wanted == Wanted.back:
            if is_here:
                self._slots.end_trial(f"{offer.person} wants it")
            self._offer = None
            if is_here and self._slots.state.trial:  # a board is yet to go back
                return self._say_trial()
            self._slots.put_over(offer.id)
            self._say(offer.id, Stage.back)
        elif is_here:
            self._slots.offered()
            if offer.wanted == Wanted.keep and self._slots.is_on_trial:
                self._slots.keep()
            self._say_trial() if self._slots.state.trial else self._say(offer.id, Stage.kept)
        elif offer.id in state.over:
            raise RefusedError("over", "it was taken back before")
        elif offer.wanted == Wanted.install:
            self._install(offer)
        else:
            raise RefusedError("unknown", "it has no such image on trial")
        return None

    def _say_trial(self) -> None:
        trial = self._slots.state.trial
        self._say(trial.order, self._slots.stage(trial), note=self._slots.note)

    def _install(self, offer: Offer) -> None:
        """Begin to fetch an image, or go on; RefusedError where this device takes it from nobody."""
        manifest = self._manifest(offer)
        trial = self._slots.state.trial
        if trial and trial.manifest == offer.manifest and trial.wanted != Wanted.back:  # of one that was stopped
            self._slots.adopt(trial.model_copy(update={"order": offer.id, "starts": 0}))
            return self._say_trial()
        if not self._slots.has_room():  # and will be offered it again
            return self._say(offer.id, Stage.fetching, note=self._slots.note)
        self._offer, size = offer, self._slots.begin(bytes.fromhex(offer.manifest))
        self._next = min(size, manifest.size) // PART
        if size >= manifest.size:
            return self._finish(offer)
        log.info("image %s for %s: from part %d on", manifest.version, shown(offer.person), self._next)
        return self._say(offer.id, Stage.fetching, part=self._next)

    def _manifest(self, offer: Offer) -> Manifest:
        try:
            manifest = manifests.read(bytes.fromhex(offer.manifest), self._slots.trusted.values())
        except ValueError as e:
            raise RefusedError("manifest", str(e)) from None
        if manifest is None:
            raise RefusedError("operator", "its manifest must be signed by one whose key this device has")
        if manifest.device != self._slots.hardware:
            raise RefusedError("hardware", f"it is for {manifest.device}, and this is {self._slots.hardware}")
        if manifest.number < self._slots.state.least:
            why = f"number {manifest.number} must be at least {self._slots.state.least}, which it keeps"
            raise RefusedError("older", why)
        if manifest.size > MOST_BYTES:
            raise RefusedError("length", f"{manifest.size} bytes must be {MOST_BYTES} at most")
        return manifest

    def _add(self, part: releases.ImagePart, content: bytes) -> None:
        """Write the part that is missing, and ask for the next one; others are passed over."""
        offer = self._offer
        if offer is None or (part.id, part.number) != (offer.id, self._next):
            return
        try:
            size = self._manifest(offer).size  # by now it may be older than what the device keeps
            expected = min(PART, size - self._next * PART)
            if len(content) != expected:
                raise RefusedError("image", f"part {part.number} must have {expected} bytes")
            self._slots.add(bytes.fromhex(offer.manifest), content, at=self._next * PART)
            self._next += 1
            if self._next * PART >= size:
                self._finish(offer)
            else:
                self._say(offer.id, Stage.fetching, part=self._next)
        except RefusedError as e:
            self._refuse(offer.id, e)
        except OSError as e:
            self._refuse(offer.id, RefusedError("disk", str(e)))
        return None

    def _finish(self, offer: Offer) -> None:
        """Put the image on trial; RefusedError where it is not what was signed, or was measured with other params."""
        self._offer = None
        try:
            self._slots.finish(bytes.fromhex(offer.manifest), offer.id, self._check_params)
        except RefusedError:
            raise
        except ValueError as e:
            raise RefusedError("image", str(e)) from None
        log.info("an image for %s is here, and on trial from the next start on", shown(offer.person))

    def _check_params(self, image: bytes) -> None:
        """RefusedError where an image was measured with other SECTIONS than this device runs with.

        ValueError where it is none. What is in a board's nobody here can see.
        """
        if self._p is None:
            return
        contents = unpack(image)
        try:
            stated = yaml.safe_load(contents["params.yaml"])
            others = [name for name in SECTIONS if not _is_same(getattr(self._p, name), stated[name])]
        except (yaml.YAMLError, UnicodeError, KeyError, TypeError) as e:
            raise RefusedError("params", f"its params.yaml must have {', '.join(SECTIONS)}: {e}") from None
        if others:
            raise RefusedError(
                "params", f"{', '.join(others)} must be as this device has them; update gunshot here first"
            )


def _is_same(section: pydantic.BaseModel, stated: dict) -> bool:
    try:
        return type(section).model_validate(stated) == section
    except pydantic.ValidationError:
        return False
