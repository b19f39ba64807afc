"""The images of a device on its disk: the one that it keeps, and one on trial; which of them a start runs.

An image is a zip: the model with its report and its operating point, and the params.yaml that it was made with. It is
signed by an operator (`gunshot.signing.manifests`). What a start runs is looked at whole first, so that a loss of power
at any byte leaves the image of before; without any it is the model of this machine's own pipeline. `images/slots.json`
says which is which, and is written whole or not at all.
"""

import fcntl
import hashlib
import io
import logging
import os
import weakref
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import pydantic
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gunshot.device.orders import Id
from gunshot.device.topics import U32
from gunshot.signing import keys, manifests, record
from gunshot.signing.manifests import Manifest

FOLDER, STATE = "images", "slots.json"  # in a device's folder
LOCK = "images.lock"  # beside FOLDER, which may be deleted
OPERATORS = "operators"  # there too: the public keys of those whose images it takes, NAME.pem each
CLASS = "linux"  # of the devices that `gunshot device run` makes
NAMES = MODEL, *_ = ("model.tflite", "report.json", "operating.json", "params.yaml")  # of an image
MOST_BYTES = 16 * 2**20  # of an image, and of what is in it
MOST_STARTS = 3  # of a trial of which the hub never has a message: after them it is over
MOST_OVER = 100  # roll-outs that it remembers to be over

log = logging.getLogger("gunshot")


class Slot(pydantic.BaseModel):
    """An image that is on the disk; its manifest is kept with it."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    manifest: Annotated[str, pydantic.Field(pattern="^[0-9a-f]{288}$")]  # in hexadecimal
    order: Id | None = None  # of a trial: the roll-out that brought it
    starts: int = 0  # of a trial: those of which the hub had no message


class State(pydantic.BaseModel):
    """What slots.json says."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    kept: Slot | None = None  # None: the model of this machine's own pipeline
    trial: Slot | None = None
    least: U32 = 0  # an image with a smaller number is refused for good
    over: tuple[Id, ...] = ()  # roll-outs that were taken back: none of them begins again
    last: tuple[Id, str, str] | None = None  # the last roll-out, what became of it, and why


class Slots:
    """The images of a device's folder; one process at a time has them, as it has the outbox.

    Parameters
    ----------
    folder : the device's
    trusted : the operators' keys; by default those in the folder's OPERATORS

    Raises
    ------
    ValueError
        Another process has them, or slots.json is damaged.
    """

    def __init__(self, folder: Path, trusted: Mapping[str, Ed25519PublicKey] | None = None):
        self.folder = folder / FOLDER
        self._lock = weakref.finalize(self, os.close, _locked(folder / LOCK))  # a second start would count as one more
        self.trusted = keys.trusted(folder / OPERATORS) if trusted is None else dict(trusted)
        self.state = self._load()
        self.running: Slot | None = None  # since the last `boot`
        self._chosen: str | None = None  # by it, whether it could be used or not

    @property
    def is_stale(self) -> bool:
        """Return whether another image is to run than the one that `boot` chose."""
        return self._lock.alive and self._chosen != _manifest(self.state.trial or self.state.kept)

    @property
    def is_on_trial(self) -> bool:
        """Return whether what runs is the trial."""
        return self.state.trial is not None and _manifest(self.running) == self.state.trial.manifest

    def manifest(self, slot: Slot) -> Manifest:
        """Return what a slot's manifest says; ValueError where no operator signed it."""
        manifest = manifests.read(bytes.fromhex(slot.manifest), self.trusted.values())
        if manifest is None:
            raise ValueError("no operator whom this device trusts signed it")
        return manifest

    def boot(self) -> Path | None:
        """Choose what this start runs, and return the path of its model; None: the machine's own."""
        self.running = path = None
        for slot in filter(None, (self._counted(), self.state.kept)):
            try:
                path = self._unpacked(slot)
            except (ValueError, OSError) as e:
                log.warning("an image cannot be used: %s", e)
                if slot == self.state.trial:
                    self.end_trial(f"it cannot be used: {e}")
                continue
            self.running = slot
            break
        self._chosen = _manifest(self.state.trial or self.state.kept)
        return path

    def _counted(self) -> Slot | None:
        """Return the trial, whose start is counted on the disk before it can fail; None where it is not to run now."""
        trial = self.state.trial
        if trial and trial.starts >= MOST_STARTS:
            return self.end_trial(f"in {MOST_STARTS} starts the hub had no message of it")
        try:
            if trial:
                self._save(trial=trial.model_copy(update={"starts": trial.starts + 1}))
        except OSError as e:  # uncounted it could fail for ever
            log.warning("the image of before runs this time, as the start of the one on trial cannot be noted: %s", e)
            return None
        return self.state.trial

    def calm(self) -> None:
        """Note that the hub has a message of this start: a trial's starts are counted anew."""
        if self.is_on_trial and self.state.trial.starts:
            try:
                self._save(trial=self.state.trial.model_copy(update={"starts": 0}))
            except OSError as e:  # the next message does it
                log.warning("that the hub has a message of the image on trial cannot be noted: %s", e)

    def end_trial(self, why: str) -> None:
        """Run the image of before from the next start on, and never this trial again.

        On a full disk that holds for this process: another one may run the trial again, and is told anew.
        """
        order = self.state.trial.order
        over = (*self.state.over, order)[-MOST_OVER:]
        ended = {"trial": None, "over": over, "last": (order, "back", why[:200])}
        try:
            self._save(**ended)
        except OSError as e:
            log.warning("that a trial is over cannot be noted: %s", e)
            self.state = self.state.model_copy(update=ended)

    def put_over(self, order: str) -> None:
        """Note that a roll-out is over which never came here."""
        if order not in self.state.over:
            self._save(over=(*self.state.over, order)[-MOST_OVER:], last=(order, "back", ""))

    def keep(self) -> None:
        """Keep the trial for good: from now on what is older is refused."""
        trial = self.state.trial
        number = self.manifest(trial).number
        kept = Slot(manifest=trial.manifest)
        self._save(kept=kept, trial=None, least=number, last=(trial.order, "kept", ""))
        self.running, self._chosen = kept, kept.manifest
        for file in self.folder.iterdir():  # the image of before, and what never was whole
            if file.is_file() and file.name not in (STATE, _name(kept)):
                with suppress(OSError):  # it takes room, and harms nothing
                    file.unlink()

    def close(self) -> None:
        """Let another process have them; in this one no other image is to run."""
        self._lock()

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

    def finish(self, manifest: bytes, order: str, check: Callable[[dict[str, bytes]], None]) -> None:
        """Put an image on trial that is here whole; `check` looks at what is in it.

        ValueError, and it is gone, where it is not what was signed, or `check` raises one.
        """
        incoming, slot = self._incoming(manifest), Slot(manifest=manifest.hex(), order=order)
        try:
            check(self._check(incoming.read_bytes(), slot))
        except ValueError:
            incoming.unlink()
            raise
        os.replace(incoming, self.folder / _name(slot))
        self.adopt(slot)

    def adopt(self, slot: Slot) -> None:
        """Put an image on trial that is on the disk."""
        self._save(trial=slot, last=(slot.order, "trial", ""))

    def _unpacked(self, slot: Slot) -> Path:
        """Return the path of a slot's model, out of its image; ValueError or OSError where that is not whole."""
        contents = self._check((self.folder / _name(slot)).read_bytes(), slot)
        folder = self.folder / "running"
        for name, content in contents.items():
            record.write(folder / name, content)
        return folder / MODEL

    def _check(self, image: bytes, slot: Slot) -> dict[str, bytes]:
        """Return what is in an image, by name; ValueError where it is not what an operator signed."""
        manifest = self.manifest(slot)
        if (len(image), hashlib.sha256(image).hexdigest()) != (manifest.size, manifest.sha256):
            raise ValueError(f"{len(image)} bytes must be the {manifest.size} that were signed")
        return unpack(image)

    def _incoming(self, manifest: bytes) -> Path:
        return self.folder / f"{hashlib.sha256(manifest).hexdigest()[:32]}.incoming"

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
        record.write(self.folder / STATE, state.model_dump_json().encode())
        self.state = state


def _locked(file: Path) -> int:
    """Return the handle of a file that no other process has; ValueError where one does."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        os.close(handle)
        raise ValueError(f"{file}: {e.strerror}; is `gunshot device run` running there already?") from None
    return handle


def _manifest(slot: Slot | None) -> str | None:
    return slot and slot.manifest


def _name(slot: Slot) -> str:
    return f"{hashlib.sha256(bytes.fromhex(slot.manifest)).hexdigest()[:32]}.image"


def pack(contents: Mapping[str, bytes]) -> bytes:
    """Return an image of files by NAMES: the same bytes for the same files."""
    if set(contents) != set(NAMES):
        raise ValueError(f"an image must hold {', '.join(NAMES)}, not {', '.join(sorted(contents))}")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in NAMES:
            entry = zipfile.ZipInfo(name)  # of 1980, as no zip is older
            entry.create_system = 3  # Unix, wherever it is written
            archive.writestr(entry, contents[name])
    return out.getvalue()


def unpack(image: bytes) -> dict[str, bytes]:
    """Return the files of an image by NAMES; ValueError where it has others, or too much."""
    try:
        with zipfile.ZipFile(io.BytesIO(image)) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
            if sorted(sizes) != sorted(NAMES) or sum(sizes.values()) > MOST_BYTES:
                raise ValueError(f"an image must hold {', '.join(NAMES)}, {MOST_BYTES} bytes at most")
            return {name: archive.read(name) for name in NAMES}
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as e:
        raise ValueError(f"an image must be a zip: {e}") from None
