"""The images of a device on its disk: how they come there whole, and what is known of them.

An image is signed by an operator (`gunshot.signing.manifests`). `images/slots.json` says which one is kept and which is
on trial, and is written whole or not at all. Who runs them is another matter: this machine (`slots`), or a board at its
serial line (`board_slots`).
"""

import fcntl
import hashlib
import logging
import os
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import pydantic
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gunshot.device.orders import Id
from gunshot.device.releases import Stage, Wanted
from gunshot.device.topics import IMAGE, U32
from gunshot.signing import keys, manifests, record
from gunshot.signing.manifests import Manifest

FOLDER, STATE = "images", "slots.json"  # in a device's folder
LOCK = "images.lock"  # beside FOLDER, which may be deleted
OPERATORS = "operators"  # there too: the public keys of those whose images it takes, NAME.pem each
CLASS = "linux"  # of the devices that `gunshot device run` makes; that of a board is its own
MOST_OVER = 100  # roll-outs that it remembers to be over

log = logging.getLogger("gunshot")


class Slot(pydantic.BaseModel):
    """An image that is on the disk; its manifest is kept with it."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    manifest: Annotated[str, pydantic.Field(pattern="^[0-9a-f]{288}$")]  # in hexadecimal
    order: Id | None = None  # of a trial: the roll-out that brought it
    starts: int = 0  # of a trial: those of which the hub had no message
    wanted: Wanted = Wanted.install  # of a board's trial: what the board is to be told
    has_run: bool = False  # of a board's trial
    board: U32 | None = None  # the number of the board that ran it

    @property
    def content(self) -> bytes:
        """Return the manifest's bytes."""
        return bytes.fromhex(self.manifest)


class State(pydantic.BaseModel):
    """What slots.json says."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    kept: Slot | None = None  # None: the model of this machine's own pipeline, or what a board was flashed with
    trial: Slot | None = None
    least: U32 = 0  # an image with a smaller number is refused for good
    over: tuple[Id, ...] = ()  # roll-outs that were taken back: none of them begins again
    last: tuple[Id, str, str] | None = None  # the last roll-out, what became of it, and why


class Images:
    """The images of a device's folder; one process at a time has them, as it has the outbox.

    Parameters
    ----------
    folder : the device's
    hardware : the class of devices that it takes images for
    trusted : the operators' keys; by default those in the folder's OPERATORS

    Raises
    ------
    ValueError
        Another process has them, or slots.json is damaged.

    Attributes
    ----------
    note : str
        What a board still has to do.
    """

    note = ""

    def __init__(self, folder: Path, hardware: str, trusted: Mapping[str, Ed25519PublicKey] | None = None):
        self.folder, self.hardware = folder / FOLDER, hardware
        self._lock = weakref.finalize(self, os.close, _locked(folder / LOCK))  # a second start would count as one more
        self.trusted = keys.trusted(folder / OPERATORS) if trusted is None else dict(trusted)
        self.state = self._load()

    def stage(self, trial: Slot) -> Stage:
        """Return how far a trial is."""
        return Stage.trial

    def manifest(self, slot: Slot) -> Manifest:
        """Return what a slot's manifest says; ValueError where no operator signed it."""
        manifest = manifests.read(slot.content, self.trusted.values())
        if manifest is None:
            raise ValueError("no operator whom this device trusts signed it")
        return manifest

    def put_over(self, order: str) -> None:
        """Note that a roll-out is over which never came here."""
        if order not in self.state.over:
            self._save(over=(*self.state.over, order)[-MOST_OVER:], last=(order, "back", ""))

    def offered(self) -> None:
        """Note that the hub offers the trial, which is here."""

    def has_room(self) -> bool:
        """Return whether another image can come beside the one on trial."""
        return True

    def begin(self, manifest: bytes) -> int:
        """Return how many bytes of an image are here already; what is of another one goes."""
        incoming = self._incoming(manifest)
        self.folder.mkdir(exist_ok=True)
        for file in self.folder.glob("*.incoming"):
            if file != incoming:
                file.unlink()
        return incoming.stat().st_size if incoming.exists() else 0

    def add(self, manifest: bytes, content: bytes, *, at: int) -> None:
        """Write a part of an image, from a byte on; on the disk before this returns."""
        handle = os.open(self._incoming(manifest), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.ftruncate(handle, at)  # what a kill left of a part
            os.lseek(handle, at, os.SEEK_SET)
            view = memoryview(content)
            while view:
                view = view[os.write(handle, view) :]
            os.fsync(handle)
        finally:
            os.close(handle)

    def finish(self, manifest: bytes, order: str, check: Callable[[bytes], None]) -> None:
        """Put an image on trial that is here whole; `check` looks at it.

        ValueError, and it is gone, where it is not what was signed, or `check` raises one.
        """
        incoming, slot = self._incoming(manifest), Slot(manifest=manifest.hex(), order=order)
        image = incoming.read_bytes()
        try:
            self._check(image, slot)
            check(image)
        except ValueError:
            incoming.unlink()
            raise
        os.replace(incoming, self.folder / _name(slot))
        self.adopt(slot)

    def adopt(self, slot: Slot) -> None:
        """Put an image on trial that is on the disk."""
        self._save(trial=slot, last=(slot.order, self.stage(slot), ""))

    def close(self) -> None:
        """Let another process have them."""
        self._lock()

    def _image(self, slot: Slot) -> bytes:
        """Return a slot's image; ValueError or OSError where that is not whole."""
        image = (self.folder / _name(slot)).read_bytes()
        self._check(image, slot)
        return image

    def _check(self, image: bytes, slot: Slot) -> None:
        """ValueError where an image is not what an operator signed."""
        manifest = self.manifest(slot)
        if (len(image), hashlib.sha256(image).hexdigest()) != (manifest.size, manifest.sha256):
            raise ValueError(f"{len(image)} bytes must be the {manifest.size} that were signed")

    def _incoming(self, manifest: bytes) -> Path:
        return self.folder / f"{hashlib.sha256(manifest).hexdigest()[:32]}.incoming"

    def _only(self, *slots: Slot) -> None:
        """Delete all images but those of slots, and what never was whole."""
        for file in self.folder.iterdir():
            if file.is_file() and file.name not in (STATE, *map(_name, slots)):
                with suppress(OSError):  # it takes room, and harms nothing
                    file.unlink()

    def _load(self) -> State:
        file = self.folder / STATE
        try:
            return State.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            return State()
        except pydantic.ValidationError as e:
            remedy = f"delete {self.folder}: then it runs its own model, and takes older images too"
            raise ValueError(f"{file}: must be what this device wrote; {remedy}: {e}") from None

    def _save(self, **changed) -> None:
        state = self.state.model_copy(update=changed)
        record.write(self.folder / STATE, state.model_dump_json(exclude_defaults=True).encode())
        self.state = state

    def _note(self, what: str, **changed) -> bool:
        """Save, or on a full disk hold it for this process alone: another one is told anew. Return whether it did."""
        try:
            self._save(**changed)
        except OSError as e:
            log.warning("%s: that cannot be noted: %s", what, e)
            self.state = self.state.model_copy(update=changed)
            return False
        return True


def _locked(file: Path) -> int:
    """Return the handle of a file that no other process has; ValueError where one does."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        os.close(handle)
        raise ValueError(f"{file}: {e.strerror}; is `gunshot device` running there already?") from None
    return handle


def _name(slot: Slot) -> str:
    return f"{hashlib.sha256(slot.content).hexdigest()[:32]}.image"


def takes(hardware: str) -> str:
    """Return what a device says in its birth that takes images for a class of devices."""
    return IMAGE if hardware == CLASS else f"{IMAGE}:{hardware}"
